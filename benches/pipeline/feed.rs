//! The daemon's own limit: decoded batches fed to the pipeline in this process, without a wire.
//!
//! Everything behind the sources runs: inspection, windows, the classifier, the store.

use std::sync::Arc;
use std::time::{Duration, Instant};

use andon::model;
use andon::pipeline::{self, Plan};
use andon::sample::{Batch, Sample};
use andon::settings::Settings;
use andon::tag::TagId;
use andon::time::Timestamp;

use super::load::Noise;
use super::{ASSETS, SECONDS, TAGS, figure};

/// Messages in one batch, as they come near the limit.
const MESSAGES: usize = 400;
/// Distinct values; drawing noise would cost more than the pipeline.
const VALUES: usize = 10_007;

pub(crate) fn run() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let text = format!(
        "[store]\npath = {:?}\n[runtime]\nmodels = {:?}\n[http]\nlisten = \"127.0.0.1:0\"\n\
         [[prediction]]\nname = \"conv\"\nmodel = \"bench-conv1d\"\nassets = [\"*\"]\n",
        folder.path().join("andon.db"),
        concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/models"),
    );
    let settings: Settings = toml::from_str(&text)?;
    let models = model::load(&settings).map_err(|errors| anyhow::anyhow!("{errors:?}"))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(measure(Plan { settings, models }))
}

async fn measure(plan: Plan) -> anyhow::Result<()> {
    let running = pipeline::start(plan).await?;
    let mut tags = Vec::new();
    for asset in 0..ASSETS {
        for tag in 0..TAGS {
            tags.push(running.registry.intern(&format!("asset-{asset}"), &format!("t{tag}"))?);
        }
    }
    let ledger = Arc::clone(&running.overview.ledger);
    let feed = running.feed.clone();
    let counted = Arc::clone(&ledger);
    let machines = std::thread::spawn(move || {
        machines(&tags, |batch| {
            counted.receive(batch.samples.len() as u64);
            feed.blocking_send(batch).is_ok()
        })
    });
    let began = Instant::now();
    tokio::time::sleep(Duration::from_secs(SECONDS)).await;
    let at_end = ledger.totals();
    let elapsed = began.elapsed().as_secs_f64();
    let overview = running.overview.clone();
    running.stop().await?;
    drop(machines);
    figure("feed", "stored", at_end.stored as f64 / elapsed, "samples/s");
    figure("feed", "shed", overview.ledger.totals().shed_total() as f64, "samples");
    figure("feed", "inferences", overview.counts().inferences as f64 / elapsed, "1/s");
    Ok(())
}

fn machines(tags: &[TagId], mut send: impl FnMut(Batch) -> bool) {
    let mut noise = Noise(42);
    let values: Vec<f64> = (0..VALUES).map(|_| (noise.next() * 100.0).round() / 100.0).collect();
    let start = Timestamp::now();
    let began = Instant::now();
    let mut message = 0usize;
    while began.elapsed() < Duration::from_secs(SECONDS) {
        let mut samples = Vec::with_capacity(MESSAGES * TAGS);
        for _ in 0..MESSAGES {
            let (row, asset) = (message / ASSETS, message % ASSETS);
            let time = start.saturating_add(Duration::from_micros(row as u64 * 50));
            for tag in 0..TAGS {
                let value = values[(message * TAGS + tag) % VALUES];
                samples.push(Sample::new(tags[asset * TAGS + tag], time, value));
            }
            message += 1;
        }
        let batch = Batch {
            samples: Arc::new(samples),
            pictures: Vec::new(),
            received: Timestamp::now(),
            messages: 0,
            receipt: None,
            stale: false,
        };
        if !send(batch) {
            return;
        }
    }
}
