//! What happens to frames, and how soon each has its verdict, while versions are swapped and while
//! a candidate looks on: every verdict is published, and held against what was sent.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use super::daemon::{self, Broker, Daemon, Repository};
use super::load::{Latencies, Load, Payload, Sent};
use super::{ASSETS, SECONDS, TAGS, figure};

/// The bench model's window and hop.
const WINDOW: usize = 64;
const HOP: usize = 16;
const BETWEEN_SWAPS: Duration = Duration::from_millis(250);
/// A burst is so many rows of every asset at once.
const BURST_ROWS: usize = 64;
const BETWEEN_BURSTS: Duration = Duration::from_millis(500);

/// First the load alone, then the same with a swap every quarter of a second.
pub(crate) fn swaps(name: &str, messages_per_second: usize) -> anyhow::Result<()> {
    let load = steady(messages_per_second);
    for swapping in [false, true] {
        let how = if swapping { "swapping" } else { "alone" };
        let setup = Setup::new()?;
        let (daemon, latencies) = (Arc::new(setup.daemon()?), setup.latencies()?);
        let (over, swapper) = (Arc::new(AtomicBool::new(false)), Arc::clone(&daemon));
        let ended = Arc::clone(&over);
        let swaps = std::thread::spawn(move || -> anyhow::Result<Vec<f64>> {
            let mut took = Vec::new();
            while swapping && !ended.load(Relaxed) {
                std::thread::sleep(BETWEEN_SWAPS);
                let version = if took.len().is_multiple_of(2) { "1.1.0" } else { "1.0.0" };
                let began = Instant::now();
                swapper.post("/api/v1/models/bench-conv1d/activate", &asked(version))?;
                took.push(began.elapsed().as_secs_f64() * 1e3);
            }
            Ok(took)
        });
        let sent = load.run(setup.broker.port, &latencies)?;
        over.store(true, Relaxed);
        let took = swaps.join().map_err(|_| anyhow::anyhow!("the swaps panicked"))??;
        setup.tell(&format!("{name}-{how}"), &daemon, &latencies, &sent)?;
        if swapping {
            figure(name, "swaps", took.len() as f64, "swaps");
            figure(name, "swap_worst", took.iter().copied().fold(0.0, f64::max), "ms");
        }
    }
    Ok(())
}

/// Bursts of windows, without a shadow and with one, three times in turn.
pub(crate) fn shadow(name: &str) -> anyhow::Result<()> {
    let load = Load { burst: Some((BURST_ROWS * ASSETS, BETWEEN_BURSTS)), ..steady(usize::MAX) };
    for round in 1..=3 {
        for shadowed in [false, true] {
            let how = if shadowed { "shadowed" } else { "alone" };
            let setup = Setup::new()?;
            let (daemon, latencies) = (setup.daemon()?, setup.latencies()?);
            if shadowed {
                daemon.post("/api/v1/models/bench-conv1d/shadow", &asked("1.1.0"))?;
            }
            let sent = load.run(setup.broker.port, &latencies)?;
            setup.tell(&format!("{name}-{how}-{round}"), &daemon, &latencies, &sent)?;
        }
    }
    Ok(())
}

fn steady(messages_per_second: usize) -> Load {
    Load {
        qos: 1,
        messages_per_second,
        burst: None,
        seconds: SECONDS,
        payload: Payload::Json { assets: ASSETS, tags: TAGS },
    }
}

fn asked(version: &str) -> String {
    format!("{{\"version\":\"{version}\",\"by\":\"bench\"}}")
}

struct Setup {
    broker: Broker,
    repository: Repository,
}

impl Setup {
    fn new() -> anyhow::Result<Self> {
        let repository = Repository::of("bench-conv1d", &["1.0.0", "1.1.0"])?;
        Ok(Self { broker: Broker::start()?, repository })
    }

    fn daemon(&self) -> anyhow::Result<Daemon> {
        let config = daemon::json_config(self.broker.port, 1)
            .replace("[publish]\n", "[publish]\nverdicts = true\n");
        let models: &Path = self.repository.path();
        let daemon = Daemon::start_with(daemon::folder()?, &config, models)?;
        // The lowest predicts at first, so that there is a candidate.
        daemon.post("/api/v1/models/bench-conv1d/activate", &asked("1.0.0"))?;
        Ok(daemon)
    }

    fn latencies(&self) -> anyhow::Result<Latencies> {
        Latencies::verdicts(self.broker.port)
    }

    fn tell(
        &self,
        name: &str,
        daemon: &Daemon,
        latencies: &Latencies,
        sent: &Sent,
    ) -> anyhow::Result<()> {
        daemon.wait_until_idle(Duration::from_secs(60))?;
        let windows: usize = (0..ASSETS)
            .map(|asset| {
                let rows = (sent.messages as usize + ASSETS - 1 - asset) / ASSETS;
                if rows < WINDOW { 0 } else { (rows - WINDOW) / HOP + 1 }
            })
            .sum();
        let sum = |metric: &str| -> anyhow::Result<f64> {
            Ok(daemon.metric(metric)?.iter().map(|(_, value)| value).sum())
        };
        figure(name, "windows", windows as f64, "frames");
        // Of the version that predicts at the end.
        figure(name, "frames_shed", sum("andon_frames_replaced_total")?, "frames");
        let Some((p50, p99, verdicts)) = latencies.quantiles() else {
            anyhow::bail!("no verdict came");
        };
        figure(name, "without_a_verdict", windows as f64 - verdicts as f64, "frames");
        figure(name, "publish_to_verdict_p50", p50, "ms");
        figure(name, "publish_to_verdict_p99", p99, "ms");
        figure(name, "publish_to_verdict_worst", latencies.worst(), "ms");
        Ok(())
    }
}
