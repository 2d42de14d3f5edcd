//! Numbers about the daemon itself: counted where things happen, read at one place.
//!
//! [`Meters`] holds what the wiring counts. [`Overview`] gathers it with the ledger, the
//! sources, the models and the store, and renders Prometheus metrics and the status message.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry as Exposition;

use crate::alert::wire::{ModelStatus, OutboxStatus, StatusBody, StoreStatus};
use crate::health::SourceHealth;
use crate::ledger::Ledger;
use crate::model::ModelStats;
use crate::store::Store;
use crate::verdict::ModelIdentity;

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
    /// Turns of the main loop; the watchdog is fed while it moves.
    pub heartbeat: AtomicU64,
    unfit: Mutex<BTreeMap<&'static str, u64>>,
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
            heartbeat: AtomicU64::new(0),
            unfit: Mutex::default(),
            latency: Histogram::new(exponential_buckets(0.000_25, 2.0, 16)),
            recent: Mutex::default(),
        }
    }
}

pub fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Relaxed);
}

impl Meters {
    /// A window that no model was asked about, and why.
    pub fn unfit(&self, reason: &'static str) {
        *self.unfit.lock().expect(UNPOISONED).entry(reason).or_default() += 1;
    }

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

    fn unfit_counts(&self) -> BTreeMap<&'static str, u64> {
        self.unfit.lock().expect(UNPOISONED).clone()
    }
}

const UNPOISONED: &str = "no code panics while it holds a meter";

/// Everything there is to know about the running daemon.
#[derive(Clone)]
pub struct Overview {
    pub ledger: Arc<Ledger>,
    pub meters: Arc<Meters>,
    pub sources: Vec<Arc<SourceHealth>>,
    pub models: Vec<(Arc<ModelIdentity>, Arc<ModelStats>)>,
    pub store: Store,
    pub link: Option<tokio::sync::watch::Receiver<bool>>,
}

impl fmt::Debug for Overview {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Overview").finish_non_exhaustive()
    }
}

impl Overview {
    pub fn publishing(&self) -> bool {
        self.link.as_ref().is_none_or(|link| *link.borrow())
    }
}
