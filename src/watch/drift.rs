//! Frames to the drift statistics, and what those find to alerts of their own kind.

use std::sync::Arc;

use super::retune::id_of;
use super::{Bound, Watch};
use crate::alert::{AlertKind, AlertSpec};
use crate::drift::{Finding, Subject};
use crate::frame::Frame;
use crate::model::LoadedPrediction;
use crate::settings::{AlertPolicy, Direction, DriftSettings};
use crate::time::Timestamp;
use crate::verdict::{PredictionId, Verdict};

/// The alert is over when every figure is back below this share of its limit.
const CLEAR: f64 = 0.7;

/// At least: nobody is warned of anything while a model does not answer.
const MODEL_SEVERITY: u16 = 600;

pub(super) fn subjects(predictions: &[Bound]) -> Vec<Subject> {
    predictions.iter().map(|bound| subject(&bound.loaded)).collect()
}

pub(super) fn subject(loaded: &LoadedPrediction) -> Subject {
    Subject::new(loaded.id, &loaded.name, &loaded.spec, loaded.policy.raise)
}

/// What the book must know to raise drift alerts.
pub(super) fn specs(
    settings: &DriftSettings,
    predictions: &[Bound],
    names: &mut Vec<Arc<str>>,
) -> Vec<AlertSpec> {
    if !(settings.enabled && settings.alerts) {
        return Vec::new();
    }
    let mut spec = |name: String, kind| {
        let (id, policy) = (id_of(names, &name), policy(settings));
        AlertSpec { id, name, policy, kind }
    };
    let all = |bound: &Bound| {
        let name = &bound.loaded.name;
        let drift = spec(DriftSettings::alert_of(name), AlertKind::Drift);
        let mut model = spec(DriftSettings::model_of(name), AlertKind::Model);
        model.policy.severity = Some(settings.severity.max(MODEL_SEVERITY));
        [drift, model, spec(DriftSettings::errors_of(name), AlertKind::Errors)]
    };
    predictions.iter().flat_map(all).collect()
}

impl Watch {
    /// Shows a frame to the statistics.
    pub(super) fn look(&mut self, frame: &Frame) {
        let Frame { prediction, asset, evidence, latest, .. } = frame;
        let finding = self.live.drift().observe(*prediction, *asset, evidence, latest);
        if let Some(finding) = finding {
            self.drifted(frame, finding);
        }
    }

    fn drifted(&mut self, frame: &Frame, finding: Finding) {
        let loaded = &self.predictions[usize::from(frame.prediction.0)].loaded;
        let (model, name) = (loaded.model.clone(), DriftSettings::alert_of(&loaded.name));
        let Some(at) = self.names.iter().position(|known| **known == *name) else { return };
        let verdict = Verdict {
            prediction: PredictionId(u16::try_from(at).expect("ids are given by `id_of`")),
            asset: frame.asset,
            evidence: finding.evidence,
            score: finding.score,
            label: Some(finding.text.into()),
            contributions: finding.contributions,
            region: None,
            subject: None,
            model: Some(model),
            arrived: frame.arrived,
        };
        let asset = self.asset_name(frame.asset);
        if let Some(transition) = self.book.apply(&verdict, &asset, Timestamp::now()) {
            self.commit(&transition);
        }
    }
}

fn policy(settings: &DriftSettings) -> AlertPolicy {
    AlertPolicy {
        raise: Some(1.0),
        clear: Some(CLEAR),
        direction: Some(Direction::Above),
        severity: Some(settings.severity),
        ..AlertPolicy::default()
    }
}
