//! Numbers about the daemon itself: counted where things happen, read at one place.
//!
//! [`Meters`] holds what the wiring counts. [`Overview`] gathers it with the ledger, the
//! sources, the models and the store, and renders Prometheus metrics and the status message.

mod encode;
mod page;
mod share;

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry as Exposition;

use crate::alert::AlertCounts;
use crate::alert::wire::{Liveness, ModelStatus, OutboxStatus, StatusBody, StoreStatus};
use crate::certificates::Certificates;
use crate::drift::Watcher;
use crate::feedback::Feedback;
use crate::health::Roster;
use crate::ledger::Ledger;
use crate::live::Shadows;
use crate::model::Models;
use crate::reload::Report;
use crate::standing::Standing;
use crate::store::Store;
use crate::time::Timestamp;

/// Latencies kept for percentiles.
const RECENT: usize = 10_000;

#[derive(Debug)]
pub struct Meters {
    pub windows: AtomicU64,
    pub late_samples: AtomicU64,
    pub alerts_raised: AtomicU64,
    pub alerts_cleared: AtomicU64,
    pub published: AtomicU64,
    pub refused: AtomicU64,
    /// Retained states of a backlog that newer ones had replaced.
    pub superseded: AtomicU64,
    /// Transitions that were not told at once, too much happened, ...
    pub held: AtomicU64,
    /// ... those that a newer one of the same alert made needless, ...
    pub merged: AtomicU64,
    /// ... and how many wait now.
    pub holding: AtomicU64,
    /// Versions that a person put in another's place while the daemon ran.
    pub activations: AtomicU64,
    /// Versions that were taken back, by hand or because they failed.
    pub rollbacks: AtomicU64,
    /// Turns of the main loop; the watchdog is fed while it moves.
    pub heartbeat: AtomicU64,
    alerts: Mutex<AlertCounts>,
    latency: Histogram,
    recent: Mutex<VecDeque<Duration>>,
}

impl Default for Meters {
    fn default() -> Self {
        Self {
            windows: AtomicU64::new(0),
            late_samples: AtomicU64::new(0),
            alerts_raised: AtomicU64::new(0),
            alerts_cleared: AtomicU64::new(0),
            published: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            superseded: AtomicU64::new(0),
            held: AtomicU64::new(0),
            merged: AtomicU64::new(0),
            holding: AtomicU64::new(0),
            activations: AtomicU64::new(0),
            rollbacks: AtomicU64::new(0),
            heartbeat: AtomicU64::new(0),
            alerts: Mutex::default(),
            latency: Histogram::new(exponential_buckets(0.000_25, 2.0, 16)),
            recent: Mutex::default(),
        }
    }
}

pub fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Relaxed);
}

impl Meters {
    /// From the arrival of the deciding sample to the broker's confirmation of the alert.
    pub fn alert_latency(&self, latency: Duration) {
        self.latency.observe(latency.as_secs_f64());
        let mut recent = self.recent.lock().expect(UNPOISONED);
        if recent.len() == RECENT {
            recent.pop_front();
        }
        recent.push_back(latency);
    }

    /// The given share (0 to 1) of the recent alerts were faster than this.
    pub fn alert_latency_quantile(&self, share: f64) -> Option<Duration> {
        let mut sorted: Vec<Duration> =
            self.recent.lock().expect(UNPOISONED).iter().copied().collect();
        sorted.sort_unstable();
        let last = sorted.len().checked_sub(1)?;
        #[expect(clippy::cast_possible_truncation, reason = "a share of at most RECENT")]
        #[expect(clippy::cast_sign_loss, reason = "shares are positive")]
        let at = (share.clamp(0.0, 1.0) * last as f64).round() as usize;
        Some(sorted[at])
    }

    /// How many alerts stand in each state.
    pub fn set_alerts(&self, counts: AlertCounts) {
        *self.alerts.lock().expect(UNPOISONED) = counts;
    }

    pub fn alerts(&self) -> AlertCounts {
        *self.alerts.lock().expect(UNPOISONED)
    }
}

const UNPOISONED: &str = "no code panics while it holds a meter";

/// Everything there is to know about the running daemon.
#[derive(Clone)]
pub struct Overview {
    pub started: Timestamp,
    pub ledger: Arc<Ledger>,
    pub meters: Arc<Meters>,
    pub config: Arc<Report>,
    pub sources: Roster,
    pub models: Models,
    pub drift: Arc<Mutex<Watcher>>,
    pub feedback: Arc<Mutex<Feedback>>,
    pub shadows: Arc<Mutex<Shadows>>,
    pub store: Store,
    pub link: Option<tokio::sync::watch::Receiver<bool>>,
    pub certificates: Arc<Certificates>,
    /// Where several boxes split the site.
    pub standing: Option<Arc<Standing>>,
}

impl fmt::Debug for Overview {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Overview").finish_non_exhaustive()
    }
}

/// The counts that the demo and the status show.
#[derive(Clone, Copy, Debug)]
pub struct Counts {
    pub windows: u64,
    pub inferences: u64,
    pub alerts_raised: u64,
    pub alerts_cleared: u64,
    pub published: u64,
}

impl Overview {
    /// Without a broker to publish to, nothing is missing.
    pub fn publishing(&self) -> bool {
        self.link.as_ref().is_none_or(|link| *link.borrow())
    }

    pub fn counts(&self) -> Counts {
        Counts {
            windows: self.meters.windows.load(Relaxed),
            inferences: self.models.ever().iter().map(|stats| stats.snapshot().inferences).sum(),
            alerts_raised: self.meters.alerts_raised.load(Relaxed),
            alerts_cleared: self.meters.alerts_cleared.load(Relaxed),
            published: self.meters.published.load(Relaxed),
        }
    }

    /// OpenMetrics text.
    pub fn metrics(&self) -> String {
        let mut exposition = Exposition::default();
        exposition.register_collector(Box::new(self.clone()));
        exposition.register(
            "andon_alert_latency_seconds",
            "From the arrival of the deciding sample to the broker's confirmation",
            self.meters.latency.clone(),
        );
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &exposition)
            .expect("writing to a string does not fail");
        text
    }
}

impl Overview {
    /// What the retained status message says.
    pub fn status(&self) -> StatusBody {
        let store = self.store.stats();
        let models = self.models.all();
        let models = models.iter().map(|stats| {
            let (model, stats) = (&stats.identity, stats.snapshot());
            ModelStatus {
                name: model.name.clone(),
                version: model.version.clone(),
                sha256: model.sha256.clone(),
                device: model.device.clone(),
                inferences: stats.inferences,
                shed: stats.replaced,
                errors: stats.unhealthy + stats.failed,
                unfit: stats.unfit_total(),
                last_unfit: stats.last_unfit,
                remote: stats.remote,
            }
        });
        StatusBody {
            state: Liveness::Online,
            version: env!("CARGO_PKG_VERSION").into(),
            started: self.started,
            ledger: self.ledger.totals(),
            alerts: self.meters.alerts(),
            config: self.config.status(),
            share: self.share(),
            sources: self.sources.list().iter().map(|source| source.snapshot()).collect(),
            models: models.collect(),
            outbox: OutboxStatus { waiting: store.outbox, oldest: None, dead: store.dead_letters },
            store: StoreStatus {
                writable: !store.disk_failing,
                bytes: store.db_bytes + store.wal_bytes,
                oldest: store.oldest,
                last_error: None,
            },
        }
    }

    /// Whether the process does its work; `Err` asks for a restart.
    pub fn healthy(&self) -> Result<(), String> {
        match self.store.stats().disk_failing {
            true => Err("the buffer cannot be written".into()),
            false => Ok(()),
        }
    }

    /// Whether everything is connected that the configuration names.
    pub fn ready(&self) -> Result<(), String> {
        let mut missing: Vec<String> = self
            .sources
            .list()
            .iter()
            .map(|source| source.snapshot())
            .filter(|source| !source.connected)
            .map(|source| format!("{} is not connected", source.name))
            .collect();
        if !self.publishing() {
            missing.push("the alert broker is not connected".into());
        }
        if missing.is_empty() { Ok(()) } else { Err(missing.join("; ")) }
    }
}
