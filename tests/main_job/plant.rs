//! A plant for the tests: a broker in this process, a machine that publishes, a person who listens.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use andon::ledger::Totals;
use andon::pipeline::{self, Plan, Running};
use andon::reload::{Applied, Tuning};
use andon::{config, model};
use rumqttc::NetworkOptions;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{Packet, Publish};
use rumqttc::v5::{AsyncClient, Event, EventLoop, MqttOptions};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;

use super::PATIENCE;

pub(crate) struct Plant {
    pub(crate) broker: SocketAddr,
    pub(crate) folder: tempfile::TempDir,
    machine: AsyncClient,
    heard: mpsc::Receiver<Publish>,
}

impl Plant {
    pub(crate) async fn new(rules: &str) -> Self {
        let broker = andon::demo::broker::start().await.expect("a broker");
        let folder = tempfile::tempdir().expect("a folder");
        let text = format!(
            r#"
[broker.plant]
url = "mqtt://{broker}"
client_id = "andon"
[publish]
broker = "plant"
prefix = "site"
[[mqtt]]
broker = "plant"
topic = "plant/{{asset}}/telemetry"
payload = "json"
time = "ts"
values = "values"
[store]
path = {:?}
commit_interval = "50ms"
[http]
listen = "127.0.0.1:0"
{rules}"#,
            folder.path().join("andon.db"),
        );
        std::fs::write(folder.path().join("andon.toml"), text).expect("a configuration");
        let (machine, heard) = listen(broker, "site/+/alert/+/event").await;
        Self { broker, folder, machine, heard }
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.folder.path().join("andon.toml")
    }

    /// Changes the configuration before the daemon reads it.
    pub(crate) fn rewrite(&self, change: impl FnOnce(&str) -> String) {
        let text = std::fs::read_to_string(self.config()).expect("a configuration");
        std::fs::write(self.config(), change(&text)).expect("writable");
    }

    /// A reading at `second` of the test's event time.
    pub(crate) async fn send(&self, asset: &str, second: i64, values: &[(&str, f64)]) {
        let values: serde_json::Map<String, Value> =
            values.iter().map(|(tag, value)| ((*tag).into(), (*value).into())).collect();
        let body = serde_json::json!({ "ts": 1_700_000_000_000 + second * 1000, "values": values });
        self.publish(&format!("plant/{asset}/telemetry"), body.to_string().as_bytes()).await;
    }

    pub(crate) async fn publish(&self, topic: &str, body: &[u8]) {
        let sent = self.machine.publish(topic, QoS::AtLeastOnce, false, body.to_vec()).await;
        sent.expect("the machine's client runs");
    }

    /// The daemon's next start finds no broker where the configuration says.
    pub(crate) fn lose_broker(&self) {
        let broker = self.broker.to_string();
        self.rewrite(|text| text.replace(&broker, "127.0.0.1:1"));
    }

    /// A reading that the broker keeps for whoever subscribes later; resolves when it is kept.
    pub(crate) async fn retain(&self, asset: &str, second: i64, temperature: f64) {
        let ts = 1_700_000_000_000 + second * 1000;
        let body = serde_json::json!({ "ts": ts, "values": { "temperature": temperature } });
        let topic = format!("plant/{asset}/telemetry");
        let sent = self.machine.publish(&topic, QoS::AtLeastOnce, true, body.to_string()).await;
        sent.expect("the machine's client runs");
        let (_client, mut heard) = listen(self.broker, &topic).await;
        let kept = tokio::time::timeout(PATIENCE, heard.recv()).await;
        kept.expect("the retained reading").expect("the listener runs");
    }

    pub(crate) async fn command(&self, asset: &str, prediction: &str, body: &str) {
        self.publish(&format!("site/{asset}/alert/{prediction}/command"), body.as_bytes()).await;
    }

    pub(crate) async fn next_event(&mut self, asset: &str, prediction: &str) -> Value {
        let publish = tokio::time::timeout(PATIENCE, self.heard.recv())
            .await
            .expect("an event within the test's patience")
            .expect("the listener runs");
        let topic = format!("site/{asset}/alert/{prediction}/event");
        assert_eq!(publish.topic, topic.as_bytes());
        serde_json::from_slice(&publish.payload).expect("events are JSON")
    }

    /// Everything that has been told and not yet looked at, in order.
    pub(crate) async fn events_so_far(&mut self) -> Vec<Value> {
        // The broker hands on in order, so all that was told before the marker comes before it.
        let marker = "site/marker/alert/marker/event";
        self.publish(marker, b"{}").await;
        let mut events = Vec::new();
        loop {
            let publish = tokio::time::timeout(PATIENCE, self.heard.recv())
                .await
                .expect("the marker within the test's patience")
                .expect("the listener runs");
            if publish.topic == marker.as_bytes() {
                return events;
            }
            events.push(serde_json::from_slice(&publish.payload).expect("events are JSON"));
        }
    }

    /// The retained state, as somebody sees it who subscribes now.
    pub(crate) async fn retained(&self, asset: &str, prediction: &str) -> Value {
        let topic = format!("site/{asset}/alert/{prediction}");
        let (_client, mut heard) = listen(self.broker, &topic).await;
        let publish = tokio::time::timeout(PATIENCE, heard.recv()).await;
        let publish = publish.expect("a retained state").expect("the listener runs");
        serde_json::from_slice(&publish.payload).expect("states are JSON")
    }

    /// Waits until nobody who subscribes sees a state any more.
    pub(crate) async fn no_retained(&self, asset: &str, prediction: &str) {
        let topic = format!("site/{asset}/alert/{prediction}");
        let emptied = async {
            loop {
                let (client, mut heard) = listen(self.broker, &topic).await;
                // What is retained comes before anything that is published after subscribing.
                client.publish(&topic, QoS::AtLeastOnce, false, "marker").await.expect("sent");
                match heard.recv().await {
                    Some(publish) if publish.payload == "marker" => return,
                    _ => {}
                }
            }
        };
        tokio::time::timeout(PATIENCE, emptied).await.expect("the retained state is emptied");
    }
}

pub(crate) async fn listen(
    broker: SocketAddr,
    filter: &str,
) -> (AsyncClient, mpsc::Receiver<Publish>) {
    static NUMBER: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let id = format!("test-{number}");
    let mut options = MqttOptions::new(id, broker.ip().to_string(), broker.port());
    options.set_keep_alive(Duration::from_secs(10));
    let mut network = NetworkOptions::new();
    network.set_tcp_nodelay(true);
    options.set_network_options(network);
    let (client, mut events) = AsyncClient::new(options, 100);
    client.subscribe(filter, QoS::AtLeastOnce).await.expect("queued");
    subscribed(&mut events).await;
    let (heard, receiver) = mpsc::channel(100);
    tokio::spawn(async move {
        while let Ok(event) = events.poll().await {
            if let Event::Incoming(Packet::Publish(publish)) = event
                && heard.send(publish).await.is_err()
            {
                return;
            }
        }
    });
    (client, receiver)
}

async fn subscribed(events: &mut EventLoop) {
    let confirmed = async {
        loop {
            let event = events.poll().await.expect("the broker is there");
            if matches!(event, Event::Incoming(Packet::SubAck(_))) {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, confirmed).await.expect("a SUBACK");
}

/// The daemon in this process, as `andon run` starts it.
pub(crate) struct Daemon(Running);

impl Daemon {
    pub(crate) async fn start(plant: &Plant) -> Self {
        let daemon = Self::start_unready(plant).await;
        daemon.until_ready().await;
        daemon
    }

    pub(crate) async fn until_ready(&self) {
        let ready = async {
            while self.0.overview.ready().is_err() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, ready).await.expect("the daemon gets ready");
    }

    /// Started, whether or not its peers are there.
    pub(crate) async fn start_unready(plant: &Plant) -> Self {
        let loaded =
            config::load(&plant.config(), std::iter::empty()).expect("a good configuration");
        let Ok(models) = model::load(&loaded.settings) else { panic!("no model is named") };
        let running = pipeline::start(Plan { settings: loaded.settings, models }).await;
        Self(running.expect("the daemon starts"))
    }

    /// What a reload of the plant's file does.
    pub(crate) async fn reload(&mut self, plant: &Plant) -> Applied {
        let loaded =
            config::load(&plant.config(), std::iter::empty()).expect("a good configuration");
        let applied = self.tuning().apply(&loaded.settings, &[]);
        tokio::time::timeout(PATIENCE, applied).await.expect("in time").expect("applied")
    }

    /// The way to change what runs, which `andon run` gives to its follower.
    pub(crate) fn tuning(&mut self) -> &mut Tuning {
        self.0.tuning.as_mut().expect("nobody has taken it")
    }

    /// The stage that ended by itself, if one does.
    pub(crate) async fn failed_within(&mut self, time: Duration) -> Option<&'static str> {
        tokio::time::timeout(time, self.0.failed()).await.ok()
    }

    pub(crate) async fn get(&self, path: &str) -> String {
        self.ask(&format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"))
            .await
    }

    /// Sends a command on an alert; `headers` end in CRLF each.
    pub(crate) async fn post(&self, path: &str, headers: &str, body: &str) -> String {
        let length = body.len();
        self.ask(&format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\
             Content-Length: {length}\r\n\r\n{body}"
        ))
        .await
    }

    /// Where the HTTP port is.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.0.http.expect("HTTP is on"))
    }

    /// The connection to the HTTP port, with nothing said yet.
    pub(crate) async fn connect(&self) -> tokio::net::TcpStream {
        let address = self.0.http.expect("HTTP is on");
        tokio::net::TcpStream::connect(address).await.expect("a connection")
    }

    async fn ask(&self, request: &str) -> String {
        String::from_utf8(self.ask_bytes(request).await).expect("text")
    }

    async fn ask_bytes(&self, request: &str) -> Vec<u8> {
        let mut stream = self.connect().await;
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.expect("an answer");
        answer
    }

    /// An answer that is no text: its head, and its body.
    pub(crate) async fn get_bytes(&self, path: &str) -> (String, Vec<u8>) {
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        let mut head = self.ask_bytes(&request).await;
        let end = head.windows(4).position(|end| end == b"\r\n\r\n").expect("a head") + 4;
        let body = head.split_off(end);
        (String::from_utf8(head).expect("a head is text"), body)
    }

    pub(crate) fn stored(&self) -> u64 {
        self.0.overview.ledger.totals().stored
    }

    /// Drains, and gives the ledger as it stands then.
    pub(crate) async fn stop(self) -> Totals {
        let ledger = self.0.overview.ledger.clone();
        tokio::time::timeout(PATIENCE, self.0.stop()).await.expect("in time").expect("in order");
        ledger.totals()
    }
}
