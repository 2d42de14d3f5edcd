//! Models that give no answers that can be used, or always the same one, to alerts of their own kind.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::retune::id_of;
use super::{Bound, Watch};
use crate::settings::DriftSettings;
use crate::time::Timestamp;
use crate::verdict::{Evidence, PredictionId, Verdict};

const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// A model is well again when so long nothing was wrong with it.
const QUIET: Duration = Duration::from_secs(10);

/// What was seen of the models at the last look.
#[derive(Debug, Default)]
pub(super) struct Ailing {
    looked: Option<Instant>,
    models: BTreeMap<PredictionId, Patient>,
}

#[derive(Clone, Copy, Debug)]
struct Patient {
    /// Answers that could not be used, so far.
    lost: u64,
    /// Since then nothing was wrong; absent while something is.
    well_since: Option<Instant>,
    /// What was said last; nothing yet after a start.
    told: Option<bool>,
}

impl Watch {
    pub(super) fn look_at_the_models(&mut self, now: Timestamp) {
        let at = Instant::now();
        if self.ailing.looked.is_some_and(|looked| at - looked < LOOK_INTERVAL) {
            return;
        }
        self.ailing.looked = Some(at);
        let settings = self.live.drift().settings().clone();
        if !(settings.enabled && settings.alerts) {
            return;
        }
        for index in 0..self.predictions.len() {
            self.look_at(index, at, now);
        }
    }

    fn look_at(&mut self, index: usize, at: Instant, now: Timestamp) {
        let Bound { loaded, model } = &self.predictions[index];
        let id = loaded.id;
        let stats = model.stats().snapshot();
        let lost = stats.unhealthy + stats.failed;
        let stuck = self.live.drift().stuck(id);
        let patient = self.ailing.models.entry(id).or_insert(Patient {
            lost: 0,
            well_since: Some(at),
            told: None,
        });
        // Another version begins to count anew.
        let lost_more = lost > patient.lost;
        patient.lost = lost;
        let wrong = if lost_more || !stats.healthy {
            Some(stats.last_error.unwrap_or_else(|| "it fails".into()))
        } else {
            stuck.map(|stuck| {
                let asset = self.registry.asset_name(stuck.asset);
                format!(
                    "it has answered {} to {} other readings of {} in a row",
                    stuck.score,
                    stuck.times,
                    asset.as_deref().unwrap_or("an asset"),
                )
            })
        };
        if wrong.is_some() {
            patient.well_since = None;
        } else if patient.well_since.is_none() {
            patient.well_since = Some(at);
        }
        let ill = match patient.well_since {
            None => true,
            Some(since) if at - since >= QUIET => false,
            Some(_) => return,
        };
        if patient.told.replace(ill) != Some(ill) {
            self.tell_of_the_model(index, wrong, now);
        }
    }

    fn tell_of_the_model(&mut self, index: usize, wrong: Option<String>, now: Timestamp) {
        let loaded = &self.predictions[index].loaded;
        let (model, name) = (loaded.model.clone(), DriftSettings::model_of(&loaded.name));
        let verdict = Verdict {
            prediction: id_of(&mut self.names, &name),
            asset: self.registry.intern_asset(self.flood.asset()),
            evidence: Evidence { start: now, end: now, samples: 0, coverage: 1.0 },
            score: f64::from(u8::from(wrong.is_some())),
            label: wrong.map(Into::into),
            contributions: Vec::new(),
            region: None,
            subject: None,
            model: Some(model),
            arrived: now,
        };
        if let Some(transition) = self.book.apply(&verdict, self.flood.asset(), now) {
            self.commit(&transition);
        }
    }

    /// The alerts that this module raises.
    pub(super) fn model_alerts(&mut self) -> Vec<PredictionId> {
        let names: Vec<String> = self.model_alert_names().collect();
        names.iter().map(|name| id_of(&mut self.names, name)).collect()
    }

    pub(super) fn is_model_alert(&self, name: &str) -> bool {
        self.model_alert_names().any(|alert| alert == name)
    }

    fn model_alert_names(&self) -> impl Iterator<Item = String> {
        self.predictions.iter().map(|bound| DriftSettings::model_of(&bound.loaded.name))
    }
}
