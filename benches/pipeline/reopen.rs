//! A buffer of a gigabyte, a kill under load, and how long the next start takes.

use std::sync::Arc;
use std::time::Duration;

use andon::ledger::Ledger;
use andon::sample::{Batch, Sample};
use andon::settings::StoreSettings;
use andon::store::Store;
use andon::tag::Registry;
use andon::time::Timestamp;
use tokio_util::sync::CancellationToken;

use super::daemon::{self, Broker, DATABASE, Daemon};
use super::load::{Latencies, Load, Noise, Payload};
use super::{ASSETS, TAGS, figure};

const BYTES: u64 = 1 << 30;
/// Samples of one batch; one at a time, or the store sheds what it cannot keep up with.
const BATCH: usize = 100_000;
const STARTS: usize = 5;

pub(crate) fn run() -> anyhow::Result<()> {
    let mut folder = daemon::folder()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(fill(folder.path().join(DATABASE)))?;
    let broker = Broker::start()?;
    let config = daemon::json_config(broker.port, 1);
    let load = Load {
        qos: 1,
        messages_per_second: 2_000,
        burst: None,
        seconds: 3,
        payload: Payload::Json { assets: ASSETS, tags: TAGS },
    };
    let mut starts = Vec::new();
    for _ in 0..=STARTS {
        let daemon = Daemon::start_in(folder, &config)?;
        starts.push(daemon.started_in.as_secs_f64() * 1e3);
        load.run(broker.port, &Latencies::listen(broker.port)?)?;
        folder = daemon.kill()?;
    }
    // The first one found a buffer that had been closed.
    starts.remove(0);
    starts.sort_unstable_by(f64::total_cmp);
    let size = std::fs::metadata(folder.path().join(DATABASE))?.len();
    figure("reopen-1gb", "buffer", size as f64 / 1e6, "MB");
    figure("reopen-1gb", "ready_after_kill_p50", starts[STARTS / 2], "ms");
    figure("reopen-1gb", "ready_after_kill_worst", starts[STARTS - 1], "ms");
    Ok(())
}

/// Values that no codec makes small, until the file is large enough.
async fn fill(path: std::path::PathBuf) -> anyhow::Result<()> {
    let settings = StoreSettings { path, ..StoreSettings::default() };
    let registry = Arc::new(Registry::new(ASSETS * TAGS));
    let (store, writer) =
        Store::open(&settings, Arc::clone(&registry), Arc::new(Ledger::default())).await?;
    let mut tags = Vec::new();
    for asset in 0..ASSETS {
        for tag in 0..TAGS {
            tags.push(registry.intern(&format!("asset-{asset}"), &format!("t{tag}"))?);
        }
    }
    let token = CancellationToken::new();
    let running = tokio::spawn(writer.run(token.clone()));
    let mut noise = Noise(42);
    let day = Duration::from_secs(86_400);
    let mut time = Timestamp::now().saturating_sub(day);
    while store.stats().db_bytes < BYTES {
        let samples = (0..BATCH).map(|at| {
            if at % tags.len() == 0 {
                time = time.saturating_add(Duration::from_millis(100));
            }
            Sample::new(tags[at % tags.len()], time, noise.next())
        });
        let batch = Batch {
            samples: Arc::new(samples.collect()),
            pictures: Vec::new(),
            received: time,
            messages: 0,
            receipt: None,
            stale: false,
        };
        store.record(batch).await;
        while store.stats().queue_samples > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    token.cancel();
    running.await??;
    Ok(())
}
