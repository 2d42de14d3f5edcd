//! Reads the alerts from the broker, as any subscriber would, and tells them in words.
//!
//! It knows the daemon only by its topics and bodies.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::time::Duration;

use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::Packet;
use rumqttc::v5::{AsyncClient, Event, EventLoop};
use serde::Deserialize;
use tokio_util::sync::CancellationToken;

use super::client;
use super::settings::PREFIX;
use crate::time::Timestamp;
use crate::verdict::Contribution;

const RECONNECT_AFTER: Duration = Duration::from_millis(200);
/// Contributions that are told; the rest is small.
const REASONS: usize = 3;

/// What the narrator has heard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Heard {
    pub raised: u64,
    pub cleared: u64,
    /// Other changes: acknowledged, shelved.
    pub other: u64,
    /// Events that could not be read.
    pub unreadable: u64,
}

/// A transition, as it stands in an event's body.
#[derive(Clone, Debug, Deserialize)]
struct Transition {
    data: Alert,
}

#[derive(Clone, Debug, Deserialize)]
struct Alert {
    asset: String,
    prediction: String,
    state: String,
    #[serde(default)]
    previous_state: Option<String>,
    severity: u16,
    text: String,
    raised_at: Option<Timestamp>,
    changed_at: Timestamp,
    #[serde(default)]
    cleared_at: Option<Timestamp>,
    #[serde(default)]
    score: Option<f64>,
    #[serde(default)]
    threshold: Option<f64>,
    #[serde(default)]
    window: Option<Window>,
    #[serde(default)]
    model: Option<Model>,
    #[serde(default)]
    contributions: Vec<Contribution>,
    #[serde(default)]
    historical: bool,
}

#[derive(Clone, Debug, Deserialize)]
struct Window {
    start: Timestamp,
    end: Timestamp,
    samples: u32,
    coverage: f64,
}

#[derive(Clone, Debug, Deserialize)]
struct Model {
    name: String,
    version: String,
    device: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Raised,
    Cleared,
    Other,
}

/// A subscriber of all alert events of the demonstration's line.
pub struct Narrator {
    client: AsyncClient,
    events: EventLoop,
}

impl Narrator {
    /// Subscribes, and returns once the broker has confirmed it: no later event is missed.
    pub async fn connect(broker: SocketAddr) -> io::Result<Self> {
        let (client, events) = client::connect("demo-narrator", broker);
        let mut narrator = Self { client, events };
        loop {
            match narrator.events.poll().await.map_err(io::Error::other)? {
                Event::Incoming(Packet::ConnAck(_)) => narrator.subscribe(),
                Event::Incoming(Packet::SubAck(_)) => return Ok(narrator),
                _ => {}
            }
        }
    }

    /// Tells every event until `stop`.
    pub async fn run(mut self, out: &mut impl Write, stop: CancellationToken) -> io::Result<Heard> {
        let mut heard = Heard::default();
        loop {
            let event = tokio::select! {
                () = stop.cancelled() => return Ok(heard),
                event = self.events.poll() => event,
            };
            match event {
                Ok(Event::Incoming(Packet::Publish(publish))) => {
                    heard.tell(&publish.payload, out)?;
                }
                Ok(Event::Incoming(Packet::ConnAck(_))) => self.subscribe(),
                Ok(_) => {}
                Err(error) => {
                    tracing::debug!(%error, "the demonstration's narrator lost its broker");
                    tokio::time::sleep(RECONNECT_AFTER).await;
                }
            }
        }
    }

    fn subscribe(&self) {
        let filter = format!("{PREFIX}/+/alert/+/event");
        if let Err(error) = self.client.try_subscribe(filter, QoS::AtLeastOnce) {
            tracing::warn!(%error, "the demonstration's narrator could not subscribe");
        }
    }
}

impl Heard {
    /// Counts an event and tells it.
    pub fn tell(&mut self, body: &[u8], out: &mut impl Write) -> io::Result<()> {
        let alert = match serde_json::from_slice::<Transition>(body) {
            Ok(transition) => transition.data,
            Err(error) => {
                self.unreadable += 1;
                return writeln!(out, "An event came that cannot be read: {error}.\n");
            }
        };
        let change = alert.change();
        match change {
            Change::Raised => self.raised += 1,
            Change::Cleared => self.cleared += 1,
            Change::Other => self.other += 1,
        }
        out.write_all(alert.told(change).as_bytes())?;
        out.flush()
    }
}

impl Alert {
    fn change(&self) -> Change {
        let over = |state: &str| state == "normal" || state.starts_with("cleared");
        let was_over = self.previous_state.as_deref().is_none_or(over);
        match (over(&self.state), was_over) {
            (false, true) if self.state == "active" => Change::Raised,
            (true, false) => Change::Cleared,
            _ => Change::Other,
        }
    }

    fn told(&self, change: Change) -> String {
        let time = self.changed_at.to_string();
        let clock = time.get(11..23).unwrap_or(&time);
        let severity = severity_word(self.severity);
        let word = match change {
            Change::Raised => format!("ALERT, {severity}"),
            Change::Cleared => "over".to_owned(),
            Change::Other => self.state.clone(),
        };
        let late = if self.historical { " (from the backlog)" } else { "" };
        let mut lines = vec![format!("{clock}  {}: {word}{late}", self.asset)];
        match change {
            Change::Raised => {
                lines.push(self.text.clone());
                lines.extend(self.measure());
                lines.extend(self.reasons());
                lines.extend(self.source());
            }
            Change::Cleared => lines.push(self.cleared()),
            Change::Other => lines.push(self.text.clone()),
        }
        lines.join("\n              ") + "\n\n"
    }

    fn measure(&self) -> Option<String> {
        let (score, threshold) = (self.score?, self.threshold?);
        let mut line = format!("score {}, threshold {}", short(score), short(threshold));
        if let Some(window) = &self.window {
            let seconds = window.end.since(window.start).as_secs_f64();
            line += &format!(
                "; {} samples in {seconds:.1} s, {:.0} % of them measured",
                window.samples,
                window.coverage * 100.0
            );
        }
        Some(line)
    }

    fn reasons(&self) -> Option<String> {
        let towards = |reason: &&Contribution| reason.share > 0.0;
        let whole: f64 = self.contributions.iter().filter(towards).map(|c| c.share).sum();
        let reasons: Vec<String> = self
            .contributions
            .iter()
            .filter(towards)
            .take(REASONS)
            .map(|reason| {
                let value = reason.value.map(|value| format!(" at {}", short(value)));
                let share = 100.0 * reason.share / whole;
                format!("{}{} ({share:.0} %)", reason.tag, value.unwrap_or_default())
            })
            .collect();
        (!reasons.is_empty()).then(|| format!("because of {}", reasons.join(", ")))
    }

    fn source(&self) -> Option<String> {
        Some(match &self.model {
            Some(model) => {
                format!("says model {} {} on {}", model.name, model.version, model.device)
            }
            None => format!("says rule {}", self.prediction),
        })
    }

    fn cleared(&self) -> String {
        let end = self.cleared_at.unwrap_or(self.changed_at);
        let lasted = self.raised_at.map(|start| end.since(start).as_secs_f64());
        match lasted {
            Some(seconds) => format!("{} is back to normal after {seconds:.1} s", self.prediction),
            None => format!("{} is back to normal", self.prediction),
        }
    }
}

/// OPC UA's thirds of 1 to 1000.
fn severity_word(severity: u16) -> &'static str {
    match severity {
        ..=332 => "low",
        333..=665 => "medium",
        _ => "high",
    }
}

/// Three significant digits, as a person would say it.
fn short(value: f64) -> String {
    let digits = match value.abs() {
        size if size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        size if size >= 1.0 => 2,
        _ => 3,
    };
    format!("{value:.digits$}")
}
