//! The MQTT room against brokers: a scripted one for faults, rumqttd for the whole way.

#![expect(clippy::unwrap_used, reason = "a test may panic, in its helpers too")]

mod egress;
mod faults;
mod ingest;
mod repeats;
mod roundtrip;
mod scripted;

use std::sync::Arc;
use std::time::Duration;

use andon::health::SourceHealth;
use andon::ledger::Ledger;
use andon::message::Quarantined;
use andon::mqtt::{Ingest, IngestParts, Reading};
use andon::sample::Batch;
use andon::settings::{Broker, ByteOrder, PayloadKind, Subscription, TimeUnit};
use andon::tag::Registry;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

/// Nothing here takes long; whatever takes this long hangs.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long a test looks to see that nothing happens.
const LOOK: Duration = Duration::from_millis(150);

async fn within<F: Future>(what: &str, future: F) -> F::Output {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("in vain: {what}"))
}

/// Waits until `condition` holds.
async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    within(what, async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

fn broker(port: u16) -> Broker {
    Broker {
        url: format!("mqtt://127.0.0.1:{port}"),
        client_id: Some("edge".into()),
        username: None,
        password_file: None,
        tls: None,
        keep_alive: Duration::from_secs(30),
        session_expiry: Duration::from_secs(3600),
        receive_maximum: 100,
        max_payload: bytesize::ByteSize::kib(1),
    }
}

/// Bare numbers on `plant/{asset}/{tag}`.
fn numbers(topic: &str, qos: u8) -> Subscription {
    Subscription {
        broker: "plant".into(),
        topic: topic.into(),
        qos,
        payload: PayloadKind::Number,
        asset: None,
        tag: None,
        time: None,
        time_unit: TimeUnit::Millis,
        values: None,
        tag_key: None,
        asset_key: None,
        value_key: None,
        byte_order: ByteOrder::Little,
        sample_rate: None,
        scale: 1.0,
    }
}

/// A running ingest and everything that comes out of it.
struct Running {
    batches: mpsc::Receiver<Batch>,
    quarantine: mpsc::Receiver<Quarantined>,
    registry: Arc<Registry>,
    ledger: Arc<Ledger>,
    health: Arc<SourceHealth>,
    task: JoinHandle<()>,
    stop: DropGuard,
}

impl Running {
    fn start(broker: Broker, subscriptions: Vec<Subscription>) -> Self {
        Self::start_with(broker, subscriptions, |ingest, token| tokio::spawn(ingest.run(token)))
    }

    fn start_on_thread(broker: Broker, subscriptions: Vec<Subscription>) -> Self {
        Self::start_with(broker, subscriptions, |ingest, token| {
            tokio::spawn(ingest.run_on_thread(token))
        })
    }

    fn start_with(
        broker: Broker,
        subscriptions: Vec<Subscription>,
        spawn: impl FnOnce(Ingest, CancellationToken) -> JoinHandle<()>,
    ) -> Self {
        let (batches_out, batches) = mpsc::channel(4);
        let (quarantine_out, quarantine) = mpsc::channel(4);
        let registry = Arc::new(Registry::new(1000));
        let ledger = Arc::new(Ledger::default());
        let health = Arc::new(SourceHealth::new("mqtt:plant"));
        let ingest = Ingest::prepare(IngestParts {
            broker_name: "plant".into(),
            broker,
            reading: Reading { subscriptions, ..Reading::default() },
            site: "site".into(),
            future: Duration::from_secs(300),
            registry: Arc::clone(&registry),
            ledger: Arc::clone(&ledger),
            health: Arc::clone(&health),
            batches: batches_out,
            quarantine: quarantine_out,
        });
        let token = CancellationToken::new();
        let task = spawn(ingest.unwrap(), token.clone());
        let stop = token.drop_guard();
        Self { batches, quarantine, registry, ledger, health, task, stop }
    }

    async fn batch(&mut self) -> Batch {
        within("a batch", self.batches.recv()).await.expect("the ingest runs")
    }

    /// Samples of a batch as (tag, value).
    fn values(&self, batch: &Batch) -> Vec<(String, f64)> {
        let value = |sample: &andon::sample::Sample| {
            (self.registry.tag(sample.tag).unwrap().name.to_string(), sample.value)
        };
        batch.samples.iter().map(value).collect()
    }
}
