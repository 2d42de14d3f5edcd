//! What a model has done, and how it is, for status and metrics.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;

use crate::frame::Unfit;
use crate::health::{RemoteHealth, RemoteSnapshot};
use crate::verdict::ModelIdentity;

/// Sizes of latencies, four to each doubling from a microsecond on: the last is minutes.
const LATENCIES: usize = 120;

#[derive(Debug)]
pub struct ModelStats {
    pub identity: Arc<ModelIdentity>,
    /// Of a model that a server runs.
    pub remote: Option<Arc<RemoteHealth>>,
    inferences: AtomicU64,
    batches: AtomicU64,
    explanations: AtomicU64,
    replaced: AtomicU64,
    unfit: [AtomicU64; Unfit::WORDS.len()],
    unhealthy: AtomicU64,
    failed: AtomicU64,
    late: AtomicU64,
    queued: AtomicUsize,
    last_nanos: AtomicU64,
    max_nanos: AtomicU64,
    sum_nanos: AtomicU64,
    inside_nanos: AtomicU64,
    latencies: [AtomicU64; LATENCIES],
    healthy: AtomicBool,
    last_error: Mutex<Option<String>>,
    last_unfit: Mutex<Option<String>>,
}

/// The models that predict, as they are now, and those that did: a swap exchanges them, and what
/// a version has done stays counted.
#[derive(Clone, Debug, Default)]
pub struct Models(Arc<Mutex<Versions>>);

#[derive(Debug, Default)]
struct Versions {
    running: Vec<Arc<ModelStats>>,
    retired: Vec<Arc<ModelStats>>,
}

impl FromIterator<Arc<ModelStats>> for Models {
    fn from_iter<I: IntoIterator<Item = Arc<ModelStats>>>(stats: I) -> Self {
        let running = stats.into_iter().collect();
        Self(Arc::new(Mutex::new(Versions { running, retired: Vec::new() })))
    }
}

impl Models {
    pub fn all(&self) -> Vec<Arc<ModelStats>> {
        self.lock().running.clone()
    }

    /// Frames wait for one of those that predict.
    pub fn wait(&self) -> bool {
        self.lock().running.iter().any(|stats| stats.waiting() > 0)
    }

    /// For sums that must never fall.
    pub fn ever(&self) -> Vec<Arc<ModelStats>> {
        let versions = self.lock();
        versions.running.iter().chain(&versions.retired).cloned().collect()
    }

    /// `gone` go, `new` take their places; those may have been here before.
    pub fn exchange(&self, gone: &[Arc<ModelStats>], new: Vec<Arc<ModelStats>>) {
        let among = |stats: &Arc<ModelStats>, some: &[Arc<ModelStats>]| {
            some.iter().any(|known| Arc::ptr_eq(known, stats))
        };
        let mut versions = self.lock();
        versions.running.retain(|known| !among(known, gone));
        versions.retired.retain(|known| !among(known, &new));
        versions.retired.extend_from_slice(gone);
        versions.running.extend(new);
    }

    fn lock(&self) -> MutexGuard<'_, Versions> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The counts at one moment.
#[derive(Clone, Debug, Serialize)]
pub struct ModelSnapshot {
    #[serde(flatten)]
    pub identity: Arc<ModelIdentity>,
    /// Frames answered, the suppressed ones too.
    pub inferences: u64,
    pub batches: u64,
    /// Alerts-to-be whose reasons were worked out.
    pub explanations: u64,
    /// Frames given up for a newer one of the same asset and prediction.
    pub replaced: u64,
    /// Windows not shown to the model, by [`Unfit`]'s words.
    pub unfit: Vec<(&'static str, u64)>,
    /// Answers suppressed: NaN, infinite, out of range, unknown class.
    pub unhealthy: u64,
    /// Frames lost to errors of the runtime.
    pub failed: u64,
    /// Batches over the card's deadline.
    pub late: u64,
    /// Frames that wait.
    pub queued: usize,
    /// Of a batch.
    pub latency_last: Duration,
    pub latency_max: Duration,
    pub latency_sum: Duration,
    /// Half of the batches since the start took no longer; at most a fifth too high.
    pub latency_p50: Option<Duration>,
    pub latency_p99: Option<Duration>,
    /// The last batch ran and gave believable answers.
    pub healthy: bool,
    pub last_error: Option<String>,
    /// Why a window was not shown to the model, the last time.
    pub last_unfit: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remote: Option<RemoteSnapshot>,
}

impl ModelSnapshot {
    /// Windows not shown to the model, for whatever reason.
    pub fn unfit_total(&self) -> u64 {
        self.unfit.iter().map(|(_, count)| count).sum()
    }
}

impl ModelStats {
    pub(super) fn new(identity: Arc<ModelIdentity>, remote: Option<Arc<RemoteHealth>>) -> Self {
        Self {
            identity,
            remote,
            inferences: AtomicU64::new(0),
            batches: AtomicU64::new(0),
            explanations: AtomicU64::new(0),
            replaced: AtomicU64::new(0),
            unfit: Default::default(),
            unhealthy: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            late: AtomicU64::new(0),
            queued: AtomicUsize::new(0),
            last_nanos: AtomicU64::new(0),
            max_nanos: AtomicU64::new(0),
            sum_nanos: AtomicU64::new(0),
            inside_nanos: AtomicU64::new(0),
            latencies: std::array::from_fn(|_| AtomicU64::new(0)),
            healthy: AtomicBool::new(true),
            last_error: Mutex::new(None),
            last_unfit: Mutex::new(None),
        }
    }

    /// A window of `asset` was not shown to the model.
    pub fn unfit(&self, asset: &str, reason: &Unfit) {
        self.unfit[reason.index()].fetch_add(1, Relaxed);
        *self.last_unfit.lock().unwrap_or_else(PoisonError::into_inner) =
            Some(format!("{asset}: {reason}"));
    }

    pub(super) fn replaced(&self) {
        self.replaced.fetch_add(1, Relaxed);
    }

    /// Frames that wait for the model.
    pub fn waiting(&self) -> usize {
        self.queued.load(Relaxed)
    }

    pub(super) fn queued(&self, length: usize) {
        self.queued.store(length, Relaxed);
    }

    /// `inside`: how long the runtime itself had of what it took.
    pub(super) fn ran(&self, frames: usize, took: Duration, inside: Duration) {
        let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.inside_nanos.fetch_add(nanos(inside), Relaxed);
        let nanos = nanos(took);
        self.inferences.fetch_add(frames as u64, Relaxed);
        self.batches.fetch_add(1, Relaxed);
        self.last_nanos.store(nanos, Relaxed);
        self.max_nanos.fetch_max(nanos, Relaxed);
        self.sum_nanos.fetch_add(nanos, Relaxed);
        self.latencies[size(took)].fetch_add(1, Relaxed);
    }

    /// How long the runtime itself has had, without making tensors and reading answers.
    pub fn inside(&self) -> Duration {
        Duration::from_nanos(self.inside_nanos.load(Relaxed))
    }

    pub(super) fn explained(&self) {
        self.explanations.fetch_add(1, Relaxed);
    }

    pub(super) fn late(&self) {
        self.late.fetch_add(1, Relaxed);
    }

    pub(super) fn unhealthy(&self) {
        self.unhealthy.fetch_add(1, Relaxed);
    }

    pub(super) fn failed(&self, frames: usize) {
        self.failed.fetch_add(frames as u64, Relaxed);
    }

    /// How the last batch went; returns whether that is news.
    pub(super) fn health(&self, error: Option<&str>) -> bool {
        let healthy = error.is_none();
        if let Some(error) = error {
            *self.last_error.lock().unwrap_or_else(PoisonError::into_inner) =
                Some(error.to_owned());
        }
        self.healthy.swap(healthy, Relaxed) != healthy
    }

    fn quantile(&self, share: f64) -> Option<Duration> {
        let counts = self.latencies.each_ref().map(|count| count.load(Relaxed));
        let total: u64 = counts.iter().sum();
        let mut seen = 0;
        let at = counts.iter().position(|count| {
            seen += count;
            seen as f64 >= share * total as f64
        })?;
        (total > 0).then(|| Duration::from_secs_f64(1e-6 * f64::exp2((at + 1) as f64 / 4.0)))
    }

    pub fn snapshot(&self) -> ModelSnapshot {
        let count = |counter: &AtomicU64| counter.load(Relaxed);
        let nanos = |counter: &AtomicU64| Duration::from_nanos(counter.load(Relaxed));
        ModelSnapshot {
            identity: Arc::clone(&self.identity),
            inferences: count(&self.inferences),
            batches: count(&self.batches),
            explanations: count(&self.explanations),
            replaced: count(&self.replaced),
            unfit: Unfit::WORDS.into_iter().zip(self.unfit.iter().map(count)).collect(),
            unhealthy: count(&self.unhealthy),
            failed: count(&self.failed),
            late: count(&self.late),
            queued: self.queued.load(Relaxed),
            latency_last: nanos(&self.last_nanos),
            latency_max: nanos(&self.max_nanos),
            latency_sum: nanos(&self.sum_nanos),
            latency_p50: self.quantile(0.5),
            latency_p99: self.quantile(0.99),
            healthy: self.healthy.load(Relaxed),
            last_unfit: self.last_unfit.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            last_error: self.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            remote: self.remote.as_deref().map(RemoteHealth::snapshot),
        }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "clamped to the sizes")]
#[expect(clippy::cast_sign_loss, reason = "clamped to the sizes")]
fn size(took: Duration) -> usize {
    let doublings = (took.as_secs_f64() * 1e6).max(1.0).log2();
    ((doublings * 4.0) as usize).min(LATENCIES - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stats() -> ModelStats {
        let identity = ModelIdentity {
            name: "m".into(),
            version: "1".into(),
            sha256: String::new(),
            device: "cpu".into(),
        };
        ModelStats::new(Arc::new(identity), None)
    }

    #[test]
    fn a_shadow_gives_way_while_frames_wait_for_a_model_that_predicts() {
        let (one, other) = (Arc::new(stats()), Arc::new(stats()));
        let models: Models = [Arc::clone(&one), Arc::clone(&other)].into_iter().collect();
        assert!(!models.wait());
        other.queued(3);
        assert!(models.wait());
        models.exchange(&[other], Vec::new());
        assert!(!models.wait(), "a version that was retired has nothing to be waited for");
    }

    #[test]
    fn quantiles_are_at_most_a_fifth_too_high() {
        let stats = stats();
        assert_eq!(stats.snapshot().latency_p50, None);
        (1..=100).for_each(|millis| stats.ran(1, Duration::from_millis(millis), Duration::ZERO));
        let snapshot = stats.snapshot();
        for (quantile, millis) in [(snapshot.latency_p50, 50.0), (snapshot.latency_p99, 99.0)] {
            let ratio = quantile.unwrap().as_secs_f64() * 1e3 / millis;
            assert!((1.0..1.2).contains(&ratio), "{ratio}");
        }
    }
}
