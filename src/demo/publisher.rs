//! The line's MQTT gateway: sends the spindles' readings as they come.
//!
//! One JSON message a spindle and reading, QoS 1. Like every plant it also has its moods: one
//! spindle's accelerometer sends packed bursts, and one gateway cuts a message short at times.

use std::fmt::Write;
use std::net::SocketAddr;
use std::time::Duration;

use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::{AsyncClient, EventLoop};
use tokio_util::sync::CancellationToken;

use super::client;
use super::plant::{Plant, Reading, SPINDLE_TAGS, SPINDLES};
use super::settings::PREFIX;
use crate::time::Timestamp;

pub(super) const BURST_ASSET: &str = SPINDLES[0];
pub(super) const BURST_VALUES: usize = 1_024;
pub(super) const BURST_RATE: f64 = 6_400.0;
const BURST_EVERY: Duration = Duration::from_secs(2);
const GARBLED_ASSET: &str = SPINDLES[1];
const GARBLED_EVERY: Duration = Duration::from_secs(5);
const RECONNECT_AFTER: Duration = Duration::from_millis(200);

pub(super) struct Publisher {
    client: AsyncClient,
    next_burst: Option<Timestamp>,
    next_garbled: Option<Timestamp>,
    /// Messages that the full queue had no room for.
    dropped: u64,
}

impl Publisher {
    /// The event loop must be [driven](drive) beside.
    pub(super) fn new(broker: SocketAddr) -> (Self, EventLoop) {
        let (client, events) = client::connect("demo-line1-gateway", broker);
        (Self { client, next_burst: None, next_garbled: None, dropped: 0 }, events)
    }

    /// Sends the spindles' share of `readings`.
    pub(super) fn publish(&mut self, readings: &[Reading]) {
        let spindles = readings.iter().filter(|reading| SPINDLES.contains(&reading.asset));
        let spindles: Vec<Reading> = spindles.copied().collect();
        for row in spindles.chunks(SPINDLE_TAGS.len()) {
            self.send(row[0].asset, "telemetry", telemetry(row).into_bytes());
        }
    }

    /// Sends what falls due only now and then.
    pub(super) fn extras(&mut self, plant: &mut Plant, now: Timestamp) {
        if due(&mut self.next_burst, BURST_EVERY, now) {
            let values = plant.vibration_burst(BURST_ASSET, BURST_VALUES, BURST_RATE);
            let body = values.into_iter().flat_map(f32::to_le_bytes).collect();
            self.send(BURST_ASSET, "vibration-raw", body);
        }
        if due(&mut self.next_garbled, GARBLED_EVERY, now) {
            let body = format!(r#"{{"ts":{},"values":{{"speed":11"#, now.as_millis());
            self.send(GARBLED_ASSET, "telemetry", body.into_bytes());
        }
    }

    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }

    fn send(&mut self, asset: &str, leaf: &str, body: Vec<u8>) {
        let topic = format!("{PREFIX}/{asset}/{leaf}");
        if self.client.try_publish(topic, QoS::AtLeastOnce, false, body).is_err() {
            self.dropped += 1;
        }
    }
}

/// Keeps the connection going until `stop`.
pub(super) async fn drive(mut events: EventLoop, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            event = events.poll() => if let Err(error) = event {
                tracing::debug!(%error, "the demonstration's gateway lost its broker");
                tokio::time::sleep(RECONNECT_AFTER).await;
            }
        }
    }
}

/// `{"ts":1700000000000,"values":{"speed":4210,"load":66.1}}`; a sensor that has dropped out
/// gives `null`.
fn telemetry(row: &[Reading]) -> String {
    let mut body = format!(r#"{{"ts":{},"values":{{"#, row[0].time.as_millis());
    for (at, reading) in row.iter().enumerate() {
        let comma = if at == 0 { "" } else { "," };
        let written = if reading.value.is_finite() {
            write!(body, r#"{comma}"{}":{}"#, reading.tag, reading.value)
        } else {
            write!(body, r#"{comma}"{}":null"#, reading.tag)
        };
        written.expect("a string takes everything");
    }
    body.push_str("}}");
    body
}

/// The first time is one period after the start.
fn due(next: &mut Option<Timestamp>, every: Duration, now: Timestamp) -> bool {
    match *next {
        Some(time) if now < time => false,
        Some(_) => {
            *next = Some(now.saturating_add(every));
            true
        }
        None => {
            *next = Some(now.saturating_add(every));
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sensor_without_a_number_sends_null() {
        let reading = |tag, value| Reading {
            time: Timestamp::from_millis(1_700_000_000_000),
            asset: "spindle-1",
            tag,
            value,
        };
        let row = [reading("speed", 4210.0), reading("load", 66.1), reading("vibration", f64::NAN)];
        assert_eq!(
            telemetry(&row),
            r#"{"ts":1700000000000,"values":{"speed":4210,"load":66.1,"vibration":null}}"#
        );
    }

    #[test]
    fn extras_fall_due_once_a_period() {
        let mut next = None;
        let mut due_at = |secs| due(&mut next, Duration::from_secs(2), Timestamp::from_secs(secs));
        let answers: Vec<bool> = (0..6).map(&mut due_at).collect();
        assert_eq!(answers, [false, false, true, false, true, false]);
    }
}
