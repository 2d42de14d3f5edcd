//! The machines: a paced or unpaced MQTT publisher, and the subscriber who times the alerts.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::{Bytes, BytesMut};
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{Connect, Filter, Packet, PubAck, Publish, Subscribe};

/// Packets handed to the socket in one write when nothing paces the load.
const BURST: usize = 64;
/// Unacknowledged messages of the QoS 1 publisher.
const IN_FLIGHT: u64 = 5_000;

pub(crate) enum Payload {
    Json { assets: usize, tags: usize },
    Number { topics: usize },
}

pub(crate) struct Load {
    pub(crate) qos: u8,
    /// `usize::MAX`: as fast as the broker takes them.
    pub(crate) messages_per_second: usize,
    /// So many at once, every so often, in the place of an even pace.
    pub(crate) burst: Option<(usize, Duration)>,
    pub(crate) seconds: u64,
    pub(crate) payload: Payload,
}

pub(crate) struct Sent {
    pub(crate) messages: u64,
    pub(crate) elapsed: Duration,
}

impl Load {
    pub(crate) fn run(&self, port: u16, latencies: &Latencies) -> anyhow::Result<Sent> {
        let mut stream = connect(port, "bench-load")?;
        let acknowledged = Arc::new(Mutex::new(0u64));
        let counter = Arc::clone(&acknowledged);
        let mut reader = stream.try_clone()?;
        std::thread::spawn(move || count_acks(&mut reader, &counter));
        let began = Instant::now();
        let mut messages = 0u64;
        let mut noise = Noise(42);
        let mut out = BytesMut::with_capacity(64 * 1024);
        while began.elapsed() < Duration::from_secs(self.seconds) {
            let due = self.due(began.elapsed(), messages);
            if due == 0 {
                std::thread::sleep(Duration::from_micros(200));
                continue;
            }
            for _ in 0..due {
                self.write(messages, &mut noise, &mut out, latencies)?;
                messages += 1;
            }
            stream.write_all(&out)?;
            out.clear();
            while self.qos == 1 && messages - *acknowledged.lock().expect("no panic") > IN_FLIGHT {
                std::thread::sleep(Duration::from_micros(100));
            }
        }
        Ok(Sent { messages, elapsed: began.elapsed() })
    }

    fn due(&self, elapsed: Duration, sent: u64) -> usize {
        if let Some((size, every)) = self.burst {
            let bursts = elapsed.as_nanos() / every.as_nanos() + 1;
            return (bursts as u64 * size as u64).saturating_sub(sent).min(BURST as u64) as usize;
        }
        if self.messages_per_second == usize::MAX {
            return BURST;
        }
        let target = elapsed.as_secs_f64() * self.messages_per_second as f64;
        (target as u64).saturating_sub(sent).min(BURST as u64) as usize
    }

    fn write(
        &self,
        number: u64,
        noise: &mut Noise,
        out: &mut BytesMut,
        latencies: &Latencies,
    ) -> anyhow::Result<()> {
        let (topic, body) = match self.payload {
            Payload::Json { assets, tags } => {
                let asset = number as usize % assets;
                let millis = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis() as u64;
                // Rows of one asset must differ in time, at any rate.
                let time = latencies.next_row(asset, millis);
                let mut body = format!("{{\"ts\":{time},\"values\":{{");
                for tag in 0..tags {
                    let comma = if tag == 0 { "" } else { "," };
                    body += &format!("{comma}\"t{tag}\":{:.2}", noise.next());
                }
                body += "}}";
                (format!("plant/line1/asset-{asset}/telemetry"), body)
            }
            Payload::Number { topics } => {
                let topic = number as usize % topics;
                (
                    format!("plant/asset-{}/t{}", topic / 10, topic % 10),
                    format!("{:.2}", noise.next()),
                )
            }
        };
        let qos = if self.qos == 1 { QoS::AtLeastOnce } else { QoS::AtMostOnce };
        let mut publish = Publish::new(topic, qos, body.into_bytes(), None);
        publish.pkid = if self.qos == 1 { (number % 65_000 + 1) as u16 } else { 0 };
        publish.write(out).map_err(|error| anyhow::anyhow!("{error:?}"))?;
        Ok(())
    }
}

fn count_acks(stream: &mut TcpStream, counter: &Mutex<u64>) {
    let mut packets = Packets::default();
    while let Some(batch) = packets.read(stream) {
        let acks = batch.iter().filter(|packet| matches!(packet, Packet::PubAck(_))).count();
        *counter.lock().expect("no panic") += acks as u64;
    }
}

/// When each row was published, and how long its alert took.
#[derive(Clone, Default)]
pub(crate) struct Latencies(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    last: HashMap<usize, u64>,
    published: HashMap<(usize, u64), Instant>,
    taken: Vec<f64>,
}

impl Latencies {
    /// Of alerts.
    pub(crate) fn listen(port: u16) -> anyhow::Result<Self> {
        Self::subscribe(port, "bench/+/alert/+/event")
    }

    /// Of verdicts.
    pub(crate) fn verdicts(port: u16) -> anyhow::Result<Self> {
        Self::subscribe(port, "bench/+/verdict/+")
    }

    fn subscribe(port: u16, filter: &str) -> anyhow::Result<Self> {
        let latencies = Self::default();
        let mut stream = connect(port, "bench-alerts")?;
        let mut out = BytesMut::new();
        let filter = Filter::new(filter, QoS::AtLeastOnce);
        let mut subscribe = Subscribe::new(filter, None);
        subscribe.pkid = 1;
        subscribe.write(&mut out).map_err(|error| anyhow::anyhow!("{error:?}"))?;
        stream.write_all(&out)?;
        let theirs = latencies.clone();
        std::thread::spawn(move || theirs.receive(&mut stream));
        Ok(latencies)
    }

    fn receive(&self, stream: &mut TcpStream) {
        let mut packets = Packets::default();
        while let Some(batch) = packets.read(stream) {
            let now = Instant::now();
            for packet in batch {
                let Packet::Publish(publish) = packet else { continue };
                let mut out = BytesMut::new();
                if publish.pkid != 0 && PubAck::new(publish.pkid, None).write(&mut out).is_ok() {
                    let _ = stream.write_all(&out);
                }
                self.note(&publish.payload, now);
            }
        }
    }

    fn note(&self, body: &Bytes, now: Instant) -> Option<()> {
        let event: serde_json::Value = serde_json::from_slice(body).ok()?;
        // Its reasons follow an alert; the alert itself is what is timed.
        if event["type"] == "io.andon.alert.explained.v1" {
            return None;
        }
        let data = &event["data"];
        let asset = data["asset"].as_str()?.strip_prefix("asset-")?.parse().ok()?;
        let end = andon::time::Timestamp::parse_rfc3339(data["window"]["end"].as_str()?)?;
        let row = (asset, u64::try_from(end.as_millis()).ok()?);
        let mut state = self.0.lock().expect("no panic");
        // A row's second verdict would be one too many, and is not heard here.
        let published = state.published.remove(&row)?;
        state.taken.push((now - published).as_secs_f64() * 1e3);
        Some(())
    }

    fn next_row(&self, asset: usize, millis: u64) -> u64 {
        let mut state = self.0.lock().expect("no panic");
        let last = state.last.entry(asset).or_default();
        let time = millis.max(*last + 1);
        *last = time;
        state.published.insert((asset, time), Instant::now());
        time
    }

    pub(crate) fn worst(&self) -> f64 {
        self.0.lock().expect("no panic").taken.iter().copied().fold(0.0, f64::max)
    }

    /// Median and 99th percentile in milliseconds, and how many there were.
    pub(crate) fn quantiles(&self) -> Option<(f64, f64, usize)> {
        let mut taken = self.0.lock().expect("no panic").taken.clone();
        taken.sort_unstable_by(f64::total_cmp);
        let at = |share: f64| taken[((taken.len() - 1) as f64 * share).round() as usize];
        (!taken.is_empty()).then(|| (at(0.5), at(0.99), taken.len()))
    }
}

fn connect(port: u16, id: &str) -> anyhow::Result<TcpStream> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_nodelay(true)?;
    let connect =
        Connect { client_id: id.into(), keep_alive: 0, clean_start: true, properties: None };
    let mut out = BytesMut::new();
    connect.write(&None, &None, &mut out).map_err(|error| anyhow::anyhow!("{error:?}"))?;
    stream.write_all(&out)?;
    let mut connack = [0; 2];
    stream.read_exact(&mut connack)?;
    let mut rest = vec![0; usize::from(connack[1])];
    stream.read_exact(&mut rest)?;
    anyhow::ensure!(rest[1] == 0, "mosquitto refused the connection: {}", rest[1]);
    Ok(stream)
}

#[derive(Default)]
struct Packets(BytesMut);

impl Packets {
    /// All packets that are there; `None` when the connection has ended.
    fn read(&mut self, stream: &mut TcpStream) -> Option<Vec<Packet>> {
        let mut chunk = [0; 64 * 1024];
        let length = stream.read(&mut chunk).ok().filter(|length| *length > 0)?;
        self.0.extend_from_slice(&chunk[..length]);
        let mut packets = Vec::new();
        while let Ok(packet) = Packet::read(&mut self.0, Some(1 << 20)) {
            packets.push(packet);
        }
        Some(packets)
    }
}

/// Roughly normal, seeded.
pub(crate) struct Noise(pub(crate) u64);

impl Noise {
    pub(crate) fn next(&mut self) -> f64 {
        let mut uniform = || {
            self.0 = self
                .0
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 11) as f64 / (1u64 << 53) as f64
        };
        (0..4).map(|_| uniform()).sum::<f64>() * 1.73 - 3.46
    }
}
