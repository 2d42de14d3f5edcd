//! The time in which a version has to prove itself. The one before it stays loaded and takes over
//! again at the first failure.

use std::sync::Arc;

use tokio::time::Instant;

use super::Tuning;
use crate::model::{LoadedPrediction, ModelSnapshot, ModelStats, ModelWorker};

/// Who the log and the record name where no person asked.
pub(super) const BY_ITSELF: &str = "andon";
/// Batches over the card's deadline before a version counts as too slow: the first ones warm up.
const LATE: u64 = 3;

/// One model's version since its activation.
#[derive(Debug)]
pub(super) struct Trial {
    pub(super) name: String,
    pub(super) begun: Instant,
    /// Of the new version.
    pub(super) stats: Vec<Arc<ModelStats>>,
    /// The predictions as they were.
    pub(super) before: Vec<LoadedPrediction>,
    /// Their models, idle.
    pub(super) retired: Vec<ModelWorker>,
}

impl Trial {
    /// The predictions as they were, with the places of their models.
    pub(super) fn end(self) -> (Vec<LoadedPrediction>, Vec<ModelWorker>) {
        let Self { mut before, retired, .. } = self;
        for loaded in &mut before {
            let own = |worker: &ModelWorker| worker.handle().stats().identity == loaded.model;
            loaded.worker = retired.iter().position(own).unwrap_or(0);
        }
        (before, retired)
    }

    /// A version that nothing was asked of has shown nothing.
    fn was_asked(&self) -> bool {
        self.stats.iter().any(|stats| stats.snapshot().inferences > 0)
    }

    fn fault(&self) -> Option<String> {
        self.stats.iter().find_map(|stats| fault(&stats.snapshot()))
    }
}

impl Tuning {
    /// Which versions are kept loaded, for whoever looks at the repository.
    pub(super) fn tell_trials(&self) {
        let kept = self.swaps.trials.iter().filter_map(|trial| {
            Some((trial.name.clone(), trial.before.first()?.model.version.clone()))
        });
        self.swaps.shelf.keep(kept.collect());
    }

    /// Takes versions back that fail, and lets those be that have proved themselves.
    pub async fn judge_trials(&mut self, now: Instant) {
        let failed = self.swaps.trials.iter().find_map(|trial| {
            let fault = trial.fault()?;
            Some((trial.name.clone(), fault))
        });
        if let Some((name, fault)) = failed {
            tracing::error!(model = name, fault, "A version on trial fails: it is taken back.");
            if let Err(error) = self.roll_back(&name, BY_ITSELF).await {
                tracing::error!(model = name, %error, "It could not be taken back.");
                self.swaps.trials.retain(|trial| trial.name != name);
            }
            self.tell_trials();
            return;
        }
        let (most, before) = (self.settings.runtime.trial, self.swaps.trials.len());
        self.swaps.trials.retain(|trial| {
            let over = now.saturating_duration_since(trial.begun) >= most && trial.was_asked();
            if over {
                tracing::info!(model = trial.name, "A version has proved itself.");
            }
            !over
        });
        if self.swaps.trials.len() < before {
            self.tell_trials();
        }
    }
}

/// Why a version must not go on, if it must not.
fn fault(stats: &ModelSnapshot) -> Option<String> {
    let told = stats.last_error.as_deref().unwrap_or("no reason is known");
    if stats.failed > 0 {
        return Some(format!("the runtime failed on {} frames: {told}", stats.failed));
    }
    if stats.unhealthy > 0 {
        return Some(format!("{} answers cannot be believed: {told}", stats.unhealthy));
    }
    (stats.late > LATE).then(|| format!("{} batches were over the card's deadline", stats.late))
}
