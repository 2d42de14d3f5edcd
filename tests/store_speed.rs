//! Measurements of the buffer, not tests: `cargo test --release --test store_speed -- --ignored
//! --nocapture --test-threads 1`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so")]

use std::sync::Arc;
use std::time::Duration;

use andon::ledger::Ledger;
use andon::sample::{Batch, Sample};
use andon::settings::StoreSettings;
use andon::store::{AlertChange, AlertKey, Store};
use andon::tag::{Registry, TagId};
use andon::time::Timestamp;
use sqlx::Connection;
use tempfile::TempDir;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

const TAGS: u32 = 1000;

fn noise(index: u64) -> f64 {
    let mixed = index.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (mixed >> 11) as f64 / (1u64 << 53) as f64
}

/// One message of ten tags; values have two decimals.
fn message(number: u64, now: Timestamp) -> Batch {
    let asset = u32::try_from(number % 100).unwrap();
    let time = Timestamp::from_millis(now.as_millis());
    let samples = (0..10).map(|tag| {
        let value = f64::from(tag) * 7.0 + noise(number * 10 + u64::from(tag)) * 4.0;
        Sample::new(TagId(asset * 10 + tag), time, (value * 100.0).round() / 100.0)
    });
    Batch {
        samples: Arc::new(samples.collect()),
        pictures: Vec::new(),
        received: now,
        messages: 0,
        receipt: None,
        stale: false,
    }
}

/// (user + system CPU seconds, bytes given to the block layer) of this process.
fn used() -> (f64, u64) {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: f64 = fields[11..13].iter().map(|ticks| ticks.parse::<f64>().unwrap()).sum();
    let io = std::fs::read_to_string("/proc/self/io").unwrap();
    let written =
        io.lines().find_map(|line| line.strip_prefix("write_bytes: ")).unwrap().parse().unwrap();
    (ticks / 100.0, written)
}

async fn open(folder: &TempDir) -> (Store, CancellationToken, tokio::task::JoinHandle<()>) {
    let settings =
        StoreSettings { path: folder.path().join("andon.db"), ..StoreSettings::default() };
    let registry = Arc::new(Registry::new(TAGS as usize));
    let (store, writer) =
        Store::open(&settings, Arc::clone(&registry), Arc::new(Ledger::default())).await.unwrap();
    for tag in 0..TAGS {
        registry.intern(&format!("asset-{}", tag / 10), &format!("t{}", tag % 10)).unwrap();
    }
    let token = CancellationToken::new();
    let run = token.clone();
    let writer = tokio::spawn(async move { writer.run(run).await.unwrap() });
    (store, token, writer)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn bytes_and_cpu_at_20_000_samples_a_second() {
    let folder = TempDir::new_in(".").unwrap();
    let (store, token, writer) = open(&folder).await;
    let (cpu, bytes) = used();
    let start = Instant::now();
    let mut number = 0u64;
    let mut ticks = tokio::time::interval(Duration::from_millis(5));
    while start.elapsed() < Duration::from_secs(60) {
        ticks.tick().await;
        let due = u64::try_from(start.elapsed().as_millis()).unwrap() * 2;
        while number < due {
            store.record(message(number, Timestamp::now())).await;
            number += 1;
        }
    }
    token.cancel();
    writer.await.unwrap();
    let (cpu, bytes) = (used().0 - cpu, used().1 - bytes);
    let samples = number as f64 * 10.0;
    let stats = store.stats();
    println!(
        "20k/s: {samples} samples, {:.2} bytes written a sample ({:.2} in blocks), {:.3} us CPU a \
         sample (feed included), {} commits of {:.1} ms at most, {} checkpoints",
        bytes as f64 / samples,
        stats.block_bytes as f64 / samples,
        cpu * 1e6 / samples,
        stats.commits,
        stats.commit_seconds_max * 1e3,
        stats.checkpoints,
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn cpu_a_sample_in_blocks_of_100_000() {
    let folder = TempDir::new_in(".").unwrap();
    let (store, token, writer) = open(&folder).await;
    let base = Timestamp::now();
    let messages = |round: u64| -> Vec<Batch> {
        (0..100_000)
            .map(|number| {
                let shift = Duration::from_millis((round * 100_000 + number) / 10);
                message(number, base.saturating_add(shift))
            })
            .collect()
    };
    let rounds: Vec<Vec<Batch>> = (0..5).map(messages).collect();
    let (cpu, bytes) = used();
    let start = Instant::now();
    for round in rounds {
        for batch in round {
            store.record(batch).await;
        }
        while store.stats().queue_samples > 500_000 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    token.cancel();
    writer.await.unwrap();
    let took = start.elapsed().as_secs_f64();
    let (cpu, bytes) = (used().0 - cpu, used().1 - bytes);
    let stats = store.stats();
    println!(
        "feed: 5M samples in {took:.2} s, {:.3} us CPU and {:.2} bytes written a sample, {} commits",
        cpu * 1e6 / 5e6,
        bytes as f64 / 5e6,
        stats.commits,
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn time_to_commit_a_change() {
    for folder in [TempDir::new_in(".").unwrap(), TempDir::new_in("/dev/shm").unwrap()] {
        let (store, token, writer) = open(&folder).await;
        for pending in [0u64, 100, 1000] {
            let mut took = Vec::new();
            for round in 0..200u64 {
                for number in 0..pending {
                    store.record(message(round * pending + number, Timestamp::now())).await;
                }
                let message = andon::message::Message {
                    topic: "plant/press-1/alert/wear".into(),
                    body: vec![b'x'; 600].into(),
                    retain: true,
                };
                let change = AlertChange {
                    key: AlertKey { asset: "press-1".into(), prediction: "wear".into() },
                    state: Some("x".repeat(300)),
                    messages: vec![message.clone(), message],
                    at: Timestamp::now(),
                    cause: Some("raised"),
                };
                let start = Instant::now();
                let seqs = store.commit_change(change).await.unwrap();
                took.push(start.elapsed());
                store.delivered(seqs).await;
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            took.sort_unstable();
            println!(
                "commit_change with {} samples pending on {}: median {:?}, p99 {:?}",
                pending * 10,
                folder.path().display(),
                took[100],
                took[197]
            );
        }
        token.cancel();
        writer.await.unwrap();
    }
}

/// A day of 1,000 tags at 1 Hz: a block a second, as `commit_interval = "1s"` makes them. Takes minutes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn one_tag_s_day_of_a_thousand() {
    const DAY: i64 = 86_400;
    // In memory: 86,400 commits would take six minutes of fsync on a disk.
    let folder = TempDir::new_in("/dev/shm").unwrap();
    let ledger = Arc::new(Ledger::default());
    let settings = StoreSettings {
        path: folder.path().join("andon.db"),
        commit_interval: Duration::ZERO,
        commit_samples: TAGS as usize,
        ..StoreSettings::default()
    };
    let registry = Arc::new(Registry::new(TAGS as usize));
    let opened = Store::open(&settings, Arc::clone(&registry), Arc::clone(&ledger)).await;
    let (store, writer) = opened.unwrap();
    for tag in 0..TAGS {
        registry.intern(&format!("asset-{}", tag / 10), &format!("t{}", tag % 10)).unwrap();
    }
    let token = CancellationToken::new();
    let running = tokio::spawn(writer.run(token.clone()));
    let end = Timestamp::from_millis(Timestamp::now().as_millis());
    let start = end.saturating_sub(Duration::from_secs(DAY.unsigned_abs()));
    let begin = Instant::now();
    for second in 0..DAY {
        let now = start.saturating_add(Duration::from_secs(second.unsigned_abs()));
        let time = Timestamp::from_millis(now.as_millis());
        let samples = (0..TAGS).map(|tag| {
            let noise = noise(second.unsigned_abs() * 1000 + u64::from(tag));
            let value = f64::from(tag) * 7.0 + noise * 4.0;
            Sample::new(TagId(tag), time, (value * 100.0).round() / 100.0)
        });
        let samples = Arc::new(samples.collect());
        ledger.receive(u64::from(TAGS));
        let batch = Batch {
            samples,
            pictures: Vec::new(),
            received: now,
            messages: 0,
            receipt: None,
            stale: false,
        };
        store.record(batch).await;
        while ledger.totals().in_flight > 0 {
            tokio::task::yield_now().await;
        }
    }
    println!("fed in {:.0} s, {:?}", begin.elapsed().as_secs_f64(), store.stats());
    let read = async |what: &str| {
        let mut took = Vec::new();
        for tag in (0..TAGS).step_by(50) {
            let begin = Instant::now();
            let samples = store.read_tag(TagId(tag), start, end).await.unwrap();
            took.push(begin.elapsed());
            assert_eq!(samples.len(), 86_400);
        }
        let first = took[0];
        took.sort_unstable();
        println!("{what}: first {first:?}, median {:?}, slowest {:?}", took[10], took[19]);
    };
    let mut other = sqlx::SqliteConnection::connect(&format!("sqlite:{}", settings.path.display()))
        .await
        .unwrap();
    let mut covered = (0i64, 0i64);
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(900) {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let now = sqlx::query_as(
            "SELECT coalesce(max(last_block), 0), (SELECT max(id) FROM block) FROM stretch",
        )
        .fetch_one(&mut other)
        .await
        .unwrap();
        covered = now;
        if covered.1 - covered.0 < 263 {
            break;
        }
    }
    let bytes: (i64, i64) = sqlx::query_as(
        "SELECT (SELECT sum(length(data)) FROM block), (SELECT sum(length(data)) FROM series)",
    )
    .fetch_one(&mut other)
    .await
    .unwrap();
    println!(
        "series up to block {} of {} after {:?}; bytes of blocks, of series: {bytes:?}",
        covered.0,
        covered.1,
        begin.elapsed()
    );
    read("with its series").await;
    sqlx::query("DELETE FROM stretch").execute(&mut other).await.unwrap();
    let begin = Instant::now();
    assert_eq!(store.read_tag(TagId(7), start, end).await.unwrap().len(), 86_400);
    println!("by blocks alone: {:?}", begin.elapsed());
    token.cancel();
    running.await.unwrap().unwrap();
}
