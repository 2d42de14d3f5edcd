//! Frames to models that predict nothing yet, and what those say to the comparison.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::{Bound, Watch};
use crate::alert::AlertSpec;
use crate::asset::AssetId;
use crate::feedback::{About, Comparison, Feedback, Joined, Label, Side};
use crate::frame::{self, Frame};
use crate::live::Shadow;
use crate::model::{Answers, LoadedPrediction, ModelHandle, ModelWorker};
use crate::snapshot::Snapshot;
use crate::time::Timestamp;
use crate::verdict::Verdict;
use crate::window::Window;

/// Another shadow for one model.
#[derive(Debug)]
pub struct Reshadow {
    /// The name, whatever its version; what shadows it ends.
    pub model: String,
    /// The predictions with the candidate in it; none, to have no shadow.
    pub predictions: Vec<LoadedPrediction>,
    pub workers: Vec<ModelWorker>,
    pub by: String,
    pub done: oneshot::Sender<()>,
}

/// A candidate as the loop needs it.
pub(super) struct Shadowing {
    pub(super) loaded: LoadedPrediction,
    model: ModelHandle,
    by: String,
}

impl Shadowing {
    /// A look of its own: what becomes of it is nothing to the picture, or to who sent that.
    pub(super) fn show(&self, asset: AssetId, picture: &Snapshot) {
        let Snapshot { kind, asset: name, arrived, bytes, .. } = picture;
        let copy = Snapshot::new(*kind, Arc::clone(name), *arrived, bytes.clone(), |_| {});
        let LoadedPrediction { id, spec, .. } = &self.loaded;
        for showing in copy.shared(1) {
            let frame = Frame::of_picture(*id, asset, *arrived, Arc::clone(spec), showing);
            let _counted_by_the_model = self.model.submit(frame);
        }
    }
}

impl Watch {
    pub(super) fn reshadow(&mut self, reshadow: Reshadow, now: Timestamp) {
        let Reshadow { model, predictions, workers, by, done } = reshadow;
        let own = |bound: &&Bound| bound.loaded.model.name == model;
        let ids: Vec<_> = self.predictions.iter().filter(own).map(|b| b.loaded.id).collect();
        for id in ids {
            self.shadows.remove(&id);
            self.live.shadows().remove(&id);
        }
        self.shadow_workers.retain(|worker| worker.handle().stats().identity.name != model);
        for loaded in predictions {
            let handle = workers[loaded.worker].handle();
            let shadowing = Shadowing { model: handle, loaded, by: by.clone() };
            self.shadows.insert(shadowing.loaded.id, shadowing);
        }
        self.shadow_workers.extend(workers);
        self.compare_anew(now);
        // Whoever asked may have gone.
        let _ = done.send(());
    }

    /// The comparisons whose models or rules have changed begin at nothing.
    pub(super) fn compare_anew(&mut self, now: Timestamp) {
        for (id, shadowing) in &self.shadows {
            let Some(bound) = self.predictions.get(usize::from(id.0)) else { continue };
            let Shadowing { loaded, model, by } = shadowing;
            let active = Arc::clone(&bound.loaded.model);
            let known = |shadow: &Shadow| {
                shadow.active == active && Arc::ptr_eq(&shadow.stats, model.stats())
            };
            if self.live.shadows().get(id).is_some_and(known) {
                continue;
            }
            let spec = |loaded: &LoadedPrediction| {
                AlertSpec::prediction(*id, loaded.name.clone(), loaded.policy.clone())
            };
            let mut feedback = Feedback::default();
            feedback.judge(super::labels::judged(std::iter::once(loaded)));
            let shadow = Shadow {
                active,
                stats: Arc::clone(model.stats()),
                by: by.clone(),
                since: now,
                comparison: Comparison::new(spec(&bound.loaded), spec(loaded)),
                feedback,
            };
            self.live.shadows().insert(*id, shadow);
        }
    }

    /// The shadow of its prediction is shown the window as well, when the models that predict have
    /// got all that came with it.
    pub(super) fn keep_for_shadows(&mut self, window: Window) {
        if self.shadows.contains_key(&window.prediction) {
            self.unshown.push(window);
        }
    }

    pub(super) fn show_shadows(&mut self) {
        for window in std::mem::take(&mut self.unshown) {
            self.show_shadow(&window);
        }
    }

    fn show_shadow(&mut self, window: &Window) {
        let Some(shadowing) = self.shadows.get(&window.prediction) else { return };
        match frame::build(&shadowing.loaded.spec, window, &mut self.scratch) {
            Ok(frame) => {
                let _counted_by_the_model = shadowing.model.submit(frame);
            }
            Err(_) => {
                if let Some(shadow) = self.live.shadows().get_mut(&window.prediction) {
                    shadow.comparison.unfit(window.asset, window.end);
                }
            }
        }
    }

    /// A verdict of the model that predicts.
    pub(super) fn compare(&mut self, verdict: &Verdict) {
        if self.shadows.is_empty() {
            return;
        }
        if let Some(shadow) = self.live.shadows().get_mut(&verdict.prediction)
            && verdict.model.as_ref() == Some(&shadow.active)
        {
            shadow.comparison.answered(Side::Active, verdict);
        }
    }

    /// Shadows have answered.
    pub(super) fn shadowed(&mut self, answers: &Answers, now: Timestamp) {
        let mut shadows = self.live.shadows();
        for verdict in &answers.verdicts {
            if let Some(shadow) = shadows.get_mut(&verdict.prediction)
                && verdict.model.as_ref() == Some(&shadow.stats.identity)
            {
                let _counted = shadow.feedback.judged(verdict, now);
                shadow.comparison.answered(Side::Shadow, verdict);
            }
        }
    }

    /// A label that has joined a verdict is one for the shadow's verdict too.
    pub(super) fn label_shadow(&mut self, joined: &Joined, was_bad: bool, now: Timestamp) {
        if self.shadows.is_empty() {
            return;
        }
        let asset = self.asset_name(joined.asset);
        let Some(shadow) = self.shadows.get(&joined.prediction) else { return };
        let about = About::Window {
            asset: asset.to_string(),
            prediction: shadow.loaded.name.clone(),
            time: joined.end,
        };
        let label = Label { about, bad: was_bad };
        let asset_of = |_: &str| Some(joined.asset);
        if let Some(shadow) = self.live.shadows().get_mut(&joined.prediction) {
            let _counted = shadow.feedback.label(&label, asset_of, Timestamp::MAX, now);
        }
    }
}
