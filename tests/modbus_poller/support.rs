//! A poller under test, and what comes out of it.

use std::sync::Arc;
use std::time::Duration;

use andon::health::SourceHealth;
use andon::ledger::Ledger;
use andon::modbus::Poller;
use andon::sample::Batch;
use andon::settings::ModbusDevice;
use andon::tag::Registry;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

/// Generous, because it only ends a test that has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Tag, address and type.
pub(crate) type Rows<'a> = &'a [(&'a str, &'a str, &'a str)];

pub(crate) struct Bench {
    pub(crate) registry: Arc<Registry>,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) health: Vec<Arc<SourceHealth>>,
    pub(crate) batches: mpsc::Receiver<Batch>,
    token: CancellationToken,
    task: JoinHandle<()>,
}

/// A device with registers of `(tag, address, type)`; `settings` are further lines of TOML.
pub(crate) fn device(port: u16, settings: &str, registers: &[(&str, &str, &str)]) -> ModbusDevice {
    device_at(&format!("tcp://127.0.0.1:{port}"), settings, registers)
}

/// The same behind any address.
pub(crate) fn device_at(
    address: &str,
    settings: &str,
    registers: &[(&str, &str, &str)],
) -> ModbusDevice {
    let mut text = format!("address = \"{address}\"\n{settings}\n");
    if !settings.contains("asset") {
        text.insert_str(0, "asset = \"press\"\n");
    }
    for (tag, address, kind) in registers {
        text +=
            &format!("[[register]]\ntag = \"{tag}\"\naddress = \"{address}\"\ntype = \"{kind}\"\n");
    }
    toml::from_str(&text).unwrap()
}

pub(crate) fn start(devices: Vec<ModbusDevice>) -> Bench {
    start_with(devices, 1000, 64)
}

pub(crate) fn start_with(devices: Vec<ModbusDevice>, tags: usize, capacity: usize) -> Bench {
    let registry = Arc::new(Registry::new(tags));
    let ledger = Arc::new(Ledger::default());
    let health: Vec<_> = devices
        .iter()
        .map(|device| Arc::new(SourceHealth::new(format!("modbus:{}", device.asset))))
        .collect();
    let (sender, batches) = mpsc::channel(capacity);
    let token = CancellationToken::new();
    let poller = Poller {
        devices,
        registry: Arc::clone(&registry),
        ledger: Arc::clone(&ledger),
        health: health.clone(),
        batches: sender,
    };
    let task = tokio::spawn(poller.run(token.clone()));
    Bench { registry, ledger, health, batches, token, task }
}

impl Bench {
    pub(crate) async fn batch(&mut self) -> Batch {
        timeout(PATIENCE, self.batches.recv()).await.expect("a batch in time").expect("a poller")
    }

    /// The values of the next batch by tag name, NaN where bad, checking that all samples agree
    /// in time.
    pub(crate) async fn values(&mut self) -> Vec<(String, f64)> {
        let batch = self.batch().await;
        assert!(batch.receipt.is_none() && batch.messages == 0 && !batch.stale);
        assert!(batch.samples.iter().all(|sample| sample.time == batch.samples[0].time));
        let name = |sample: &andon::sample::Sample| {
            let info = self.registry.tag(sample.tag).unwrap();
            (info.name.to_string(), sample.value)
        };
        batch.samples.iter().map(name).collect()
    }

    /// Batches up to and with the first whose values satisfy `wanted`.
    pub(crate) async fn until(&mut self, wanted: impl Fn(&[f64]) -> bool) -> Vec<Vec<f64>> {
        let deadline = Instant::now() + PATIENCE;
        let mut seen = Vec::new();
        loop {
            let values: Vec<f64> =
                self.values().await.into_iter().map(|(_, value)| value).collect();
            let found = wanted(&values);
            seen.push(values);
            if found {
                return seen;
            }
            assert!(Instant::now() < deadline, "never came: {seen:?}");
        }
    }

    /// The poller ends when it is told to.
    pub(crate) async fn stop(self) {
        self.token.cancel();
        timeout(PATIENCE, self.task).await.expect("it ends").expect("it does not panic");
    }
}

impl Bench {
    /// The poller ends by itself.
    pub(crate) async fn ended(self) {
        timeout(PATIENCE, self.task).await.expect("it ends").expect("it does not panic");
    }
}
