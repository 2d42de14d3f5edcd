//! The figures of docs/benchmarks.md: one JSON line each, on standard output.
//!
//! `cargo bench --bench pipeline [-- NAME…]`, names as in `SCENARIOS`. Needs Debian's mosquitto, a
//! release binary beside this one and ONNX Runtime (`make bench` sees to both). Everything
//! runs on loopback and stops by itself.

#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::cast_possible_truncation,
    reason = "a benchmark reads the clock and prints figures"
)]

mod daemon;
mod drift;
mod feed;
mod frames;
mod load;
mod modbus;
mod oip;
mod reopen;

use std::time::Duration;

use daemon::{Broker, Daemon, Usage};
use load::{Latencies, Load, Payload};

const SECONDS: u64 = 10;
const ASSETS: usize = 100;
const TAGS: usize = 10;

type Scenario = fn() -> anyhow::Result<()>;

const SCENARIOS: &[(&str, Scenario)] = &[
    ("start", start),
    ("json-20k-qos0", || json_paced("json-20k-qos0", 0, 2_000)),
    ("json-20k-qos1", || json_paced("json-20k-qos1", 1, 2_000)),
    ("json-200k-qos0", || json_paced("json-200k-qos0", 0, 20_000)),
    ("json-200k-qos1", || json_paced("json-200k-qos1", 1, 20_000)),
    ("json-800k-qos0", || json_paced("json-800k-qos0", 0, 80_000)),
    ("json-400k-qos1", || json_paced("json-400k-qos1", 1, 40_000)),
    ("json-flood-qos0", || json_paced("json-flood-qos0", 0, usize::MAX)),
    ("json-flood-qos1", || json_paced("json-flood-qos1", 1, usize::MAX)),
    ("number-10k", || number_paced("number-10k", 10_000)),
    ("number-flood", || number_paced("number-flood", usize::MAX)),
    ("modbus-20x100-10hz", modbus::many_registers),
    ("modbus-20x50-10hz", modbus::many_floats),
    ("modbus-1x1000-1hz", modbus::many_tags),
    ("feed", feed::run),
    ("oip", oip::run),
    ("swap-20k", || frames::swaps("swap-20k", 2_000)),
    ("swap-200k", || frames::swaps("swap-200k", 20_000)),
    ("shadow-burst", || frames::shadow("shadow-burst")),
    ("drift", drift::run),
    ("reopen-1gb", reopen::run),
];

fn main() -> anyhow::Result<()> {
    let wanted: Vec<String> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    for (name, scenario) in SCENARIOS {
        if wanted.is_empty() || wanted.iter().any(|wanted| name.contains(wanted.as_str())) {
            scenario()?;
        }
    }
    Ok(())
}

/// Prints one figure.
pub(crate) fn figure(scenario: &str, name: &str, value: f64, unit: &str) {
    let value = (value * 1e4).round() / 1e4;
    let line =
        serde_json::json!({ "scenario": scenario, "figure": name, "value": value, "unit": unit });
    println!("{line}");
}

fn start() -> anyhow::Result<()> {
    let broker = Broker::start()?;
    let mut starts = Vec::new();
    for _ in 0..5 {
        let daemon = Daemon::start(&daemon::json_config(broker.port, 0))?;
        starts.push(daemon.started_in.as_secs_f64() * 1e3);
        daemon.stop()?;
    }
    starts.sort_unstable_by(f64::total_cmp);
    figure("start", "ready_p50", starts[starts.len() / 2], "ms");
    Ok(())
}

fn json_paced(name: &str, qos: u8, messages_per_second: usize) -> anyhow::Result<()> {
    let config = |port| daemon::json_config(port, qos);
    let load = Load {
        qos,
        messages_per_second,
        burst: None,
        seconds: SECONDS,
        payload: Payload::Json { assets: ASSETS, tags: TAGS },
    };
    paced(name, &config, &load, TAGS as f64, "sample")
}

fn number_paced(name: &str, messages_per_second: usize) -> anyhow::Result<()> {
    let load = Load {
        qos: 0,
        messages_per_second,
        burst: None,
        seconds: SECONDS,
        payload: Payload::Number { topics: ASSETS * TAGS },
    };
    paced(name, &daemon::number_config, &load, 1.0, "message")
}

fn paced(
    name: &str,
    config: &dyn Fn(u16) -> String,
    load: &Load,
    samples_per_message: f64,
    unit: &str,
) -> anyhow::Result<()> {
    let broker = Broker::start()?;
    let daemon = Daemon::start(&config(broker.port))?;
    let latencies = Latencies::listen(broker.port)?;
    let before = daemon.usage()?;
    let sent = load.run(broker.port, &latencies)?;
    let drained = daemon.wait_until_idle(Duration::from_secs(60))?;
    let after = daemon.usage()?;
    let used = Usage::between(&before, &after);
    let stored = used.stored as f64;
    let elapsed = sent.elapsed.as_secs_f64();
    figure(name, "sent", sent.messages as f64 * samples_per_message / elapsed, "samples/s");
    figure(name, "stored", stored / (elapsed + drained.as_secs_f64()), "samples/s");
    let lost = sent.messages as f64 * samples_per_message - stored;
    figure(name, "not_delivered_by_broker", lost.max(0.0), "samples");
    figure(name, "cpu", used.cpu_us / stored, &format!("us/{unit}"));
    figure(name, "written", used.written as f64 / stored, &format!("bytes/{unit}"));
    figure(name, "rss", after.rss as f64 / 1e6, "MB");
    if let Some((p50, p99, count)) = latencies.quantiles() {
        figure(name, "publish_to_alert_p50", p50, "ms");
        figure(name, "publish_to_alert_p99", p99, "ms");
        figure(name, "alert_messages", count as f64, "messages");
    }
    daemon.stop()?;
    Ok(())
}
