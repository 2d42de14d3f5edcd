//! Verdicts to the memory of the labels, labels to their verdicts, and what those show to alerts
//! of their own.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::{Bound, Watch};
use crate::alert::wire::decode_level;
use crate::alert::{AlertRecord, AlertState};
use crate::feedback::{About, Joined, Judged, Label, Placed, Raise, Unplaced};
use crate::frame::Threshold;
use crate::message::{CommandMessage, Origin};
use crate::model::LoadedPrediction;
use crate::settings::DriftSettings;
use crate::time::Timestamp;
use crate::verdict::{PredictionId, Verdict};

/// Raises read back after a start, so that their alerts can be labelled.
const RAISES: usize = 1000;

/// A label whose sender waits for the answer.
#[derive(Debug)]
pub struct LabelOrder {
    pub label: Label,
    pub from: Origin,
    pub reply: oneshot::Sender<Result<Placed, Unplaced>>,
}

pub(super) fn all(predictions: &[Bound]) -> Vec<Judged> {
    judged(predictions.iter().map(|bound| &bound.loaded))
}

pub(super) fn judged<'a>(predictions: impl Iterator<Item = &'a LoadedPrediction>) -> Vec<Judged> {
    let judged = |loaded: &LoadedPrediction| {
        let raise = loaded.policy.raise?;
        let direction = loaded.policy.direction.unwrap_or_default();
        Some(Judged {
            id: loaded.id,
            name: loaded.name.clone(),
            model: format!("{}/{}", loaded.model.name, loaded.model.version),
            threshold: Threshold { raise, direction },
        })
    };
    predictions.filter_map(judged).collect()
}

/// `bad: true_positive of root/1.0.0`
fn told(bad: bool, placed: &Placed) -> String {
    let word = if bad { "bad" } else { "good" };
    match placed {
        Placed::Joined(joined) if joined.repeated => format!("{word}: said before"),
        Placed::Joined(joined) => format!("{word}: {} of {}", joined.cell.as_str(), joined.model),
        Placed::Waiting => format!("{word}: waits for its verdict"),
    }
}

impl Watch {
    /// A verdict that may be labelled later, or for which a label waits.
    pub(super) fn remember(&mut self, verdict: &Verdict, now: Timestamp) {
        let joined = self.live.feedback().judged(verdict, now);
        for joined in joined {
            self.placed(&joined, now);
        }
    }

    pub(super) fn label(
        &mut self,
        label: &Label,
        from: &Origin,
        now: Timestamp,
    ) -> Result<Placed, Unplaced> {
        let object = match &label.about {
            About::Window { asset, prediction, .. } => format!("{asset}/{prediction}"),
            About::Alert { alert_id } => format!("alert {alert_id}"),
        };
        let latest = now.saturating_add(self.future);
        let registry = Arc::clone(&self.registry);
        let asset_of = |name: &str| registry.lookup_asset(name);
        let placed = self.live.feedback().label(label, asset_of, latest, now);
        match &placed {
            Ok(placed) => self.roll.done(&object, from, &told(label.bad, placed)),
            Err(error) => self.roll.refused(&object, from, error),
        }
        if let Ok(Placed::Joined(joined)) = &placed {
            self.placed(joined, now);
        }
        placed
    }

    /// A label that came over MQTT.
    pub(super) fn labelled(&mut self, message: &CommandMessage, now: Timestamp) {
        let (asset, prediction) = (decode_level(&message.asset), decode_level(&message.prediction));
        if !self.looks_after(&asset, &prediction) {
            return;
        }
        match Label::parse(&message.body, Some((&asset, &prediction))) {
            Ok(label) => match self.label(&label, &message.from, now) {
                Ok(_counted) => {}
                Err(error) => {
                    tracing::debug!(%asset, %prediction, %error, "A label joins no verdict.");
                }
            },
            Err(error) => {
                self.live.feedback().malformed();
                self.roll.refused(&format!("{asset}/{prediction}"), &message.from, &error);
                tracing::warn!(%asset, %prediction, %error, "A label cannot be read.");
            }
        }
    }

    fn placed(&mut self, joined: &Joined, now: Timestamp) {
        self.label_shadow(joined, joined.cell.was_bad(), now);
        let Some(finding) = &joined.finding else { return };
        let Some(bound) = self.predictions.get(usize::from(joined.prediction.0)) else { return };
        let (model, name) =
            (bound.loaded.model.clone(), DriftSettings::errors_of(&bound.loaded.name));
        let Some(at) = self.names.iter().position(|known| **known == *name) else { return };
        let verdict = Verdict {
            prediction: PredictionId(u16::try_from(at).expect("ids are given by `id_of`")),
            asset: joined.asset,
            evidence: finding.evidence,
            score: finding.score,
            label: Some(finding.text.as_str().into()),
            contributions: Vec::new(),
            region: None,
            subject: None,
            model: Some(model),
            arrived: now,
        };
        let asset = self.asset_name(joined.asset);
        if let Some(transition) = self.book.apply(&verdict, &asset, now) {
            self.commit(&transition);
        }
    }

    /// A raise can be labelled by its id.
    pub(super) fn note_raise(&self, record: &AlertRecord) {
        let Some(end) = record.raised_at.filter(|_| record.state != AlertState::Normal) else {
            return;
        };
        let (Ok(prediction), Some(asset)) =
            (self.prediction_id(&record.prediction), self.registry.lookup_asset(&record.asset))
        else {
            return;
        };
        let start = if record.evidence.end == end { record.evidence.start } else { end };
        let alert_id = record.alert_id.clone();
        self.live.feedback().raised(Raise { alert_id, prediction, asset, start, end, label: None });
    }

    /// Counts and raises of earlier lives.
    pub(super) async fn recall_labels(&mut self) -> anyhow::Result<()> {
        match self.counts.read() {
            Ok(kept) => {
                let mut feedback = self.live.feedback();
                feedback.restore(kept, |name| self.registry.intern_asset(name));
                feedback.judge(all(&self.predictions));
            }
            Err(error) => {
                tracing::error!(%error, "The counts of labels begin anew.");
                self.live.feedback().judge(all(&self.predictions));
            }
        }
        let events = self.store.alert_events(Timestamp::MIN, Timestamp::MAX, RAISES).await?;
        for event in events.iter().rev().filter(|event| event.cause == "raised") {
            if let Ok(record) = serde_json::from_str(&event.state) {
                self.note_raise(&record);
            }
        }
        Ok(())
    }

    /// Writes the counts down where they have changed; the loop does not wait for it.
    pub(super) fn save_labels(&mut self) -> Option<tokio::task::JoinHandle<()>> {
        let name_of = |asset| self.registry.asset_name(asset).map(|name| name.to_string());
        let kept = self.live.feedback().keep(name_of);
        let counts = self.counts.changed(&kept)?;
        Some(tokio::task::spawn_blocking(move || {
            if let Err(error) = counts.write(&kept) {
                tracing::warn!(%error, "The counts of labels cannot be written down.");
            }
        }))
    }
}
