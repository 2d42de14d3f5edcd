//! What a value costs. A figure, not a test: `cargo test --release --test modbus_poller -- --ignored --nocapture cpu`

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use andon::health::SourceHealth;
use andon::ledger::Ledger;
use andon::modbus::Poller;
use andon::tag::Registry;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::server::{Plc, serve};
use crate::support::device;

const SLAVES: usize = 20;
const VALUES: usize = 50;
const SPAN: Duration = Duration::from_secs(10);

/// CPU nanoseconds of the calling thread so far.
fn cpu() -> u64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    stat.split_whitespace().next().unwrap().parse().unwrap()
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

#[test]
#[ignore = "a measurement of ten seconds"]
fn cpu_of_twenty_slaves_of_fifty_floats_at_ten_hertz() {
    let (ports, known) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        runtime().block_on(async {
            let mut all = Vec::new();
            for _ in 0..SLAVES {
                all.push(serve(Arc::new(Plc::with_words(vec![0x41BC; 100]))).await);
            }
            ports.send(all).unwrap();
            loop {
                let before = cpu();
                sleep(Duration::from_secs(5)).await;
                println!("test servers: {} us of CPU a second", (cpu() - before) / 5000);
            }
        });
    });
    let ports = known.recv().unwrap();
    let names: Vec<(String, String)> =
        (0..VALUES).map(|i| (format!("t{i}"), format!("holding:{}", 2 * i))).collect();
    let registers: Vec<_> = names.iter().map(|(t, a)| (t.as_str(), a.as_str(), "f32")).collect();
    runtime().block_on(async {
        let registry = Arc::new(Registry::new(100_000));
        let ledger = Arc::new(Ledger::default());
        let (sender, mut batches) = mpsc::channel(256);
        let token = CancellationToken::new();
        for (index, port) in ports.into_iter().enumerate() {
            let settings = format!("asset = \"press-{index}\"\ninterval = \"100ms\"");
            let poller = Poller {
                devices: vec![device(port, &settings, &registers)],
                registry: Arc::clone(&registry),
                ledger: Arc::clone(&ledger),
                health: vec![Arc::new(SourceHealth::new("modbus"))],
                batches: sender.clone(),
            };
            tokio::spawn(poller.run(token.clone()));
        }
        let warm = Instant::now();
        while warm.elapsed() < Duration::from_secs(1) {
            batches.recv().await.unwrap();
        }
        let (begin, before, mut values) = (Instant::now(), cpu(), 0);
        let mut last = vec![None; SLAVES * VALUES];
        let mut jitter = Vec::new();
        while begin.elapsed() < SPAN {
            let batch = batches.recv().await.unwrap();
            values += batch.samples.len();
            let sample = batch.samples[0];
            if let Some(earlier) = last[sample.tag.0 as usize].replace(sample.time) {
                let gap = sample.time.since(earlier);
                jitter.push(gap.abs_diff(Duration::from_millis(100)));
            }
        }
        let nanos = (cpu() - before) as f64;
        jitter.sort();
        let mut line = String::new();
        write!(
            line,
            "{values} values, {:.3} us of CPU a value (poller and this loop)",
            nanos / 1e3 / values as f64
        )
        .unwrap();
        write!(
            line,
            ", interval jitter p50 {:?} p99 {:?}",
            jitter[jitter.len() / 2],
            jitter[jitter.len() * 99 / 100]
        )
        .unwrap();
        println!("{line}");
    });
}
