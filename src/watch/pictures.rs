//! Pictures and texts go to the models without a window: each to every prediction that takes them.

use std::sync::Arc;

use super::{Bound, Watch};
use crate::frame::Frame;
use crate::model::LoadedPrediction;
use crate::snapshot::{Fate, Snapshot};

impl Watch {
    pub(super) fn show_all(&self, pictures: Vec<Snapshot>, stale: bool) {
        for picture in pictures {
            if stale {
                picture.end(Fate::Stale);
            } else {
                self.show(picture);
            }
        }
    }

    /// Each prediction that takes its kind of this asset looks at it.
    fn show(&self, picture: Snapshot) {
        let (kind, asset, arrived) = (picture.kind, Arc::clone(&picture.asset), picture.arrived);
        let takes = |loaded: &LoadedPrediction| {
            loaded.spec.takes() == Some(kind)
                && loaded.assets.iter().any(|pattern| pattern.matches(&asset))
        };
        let id = self.registry.intern_asset(&asset);
        for shadowing in self.shadows.values().filter(|shadowing| takes(&shadowing.loaded)) {
            shadowing.show(id, &picture);
        }
        let takers: Vec<&Bound> =
            self.predictions.iter().filter(|bound| takes(&bound.loaded)).collect();
        for (bound, showing) in takers.iter().zip(picture.shared(takers.len())) {
            let LoadedPrediction { id: prediction, spec, .. } = &bound.loaded;
            let frame = Frame::of_picture(*prediction, id, arrived, Arc::clone(spec), showing);
            // One that has stopped drops it, and the broker delivers it again.
            let _counted_by_its_fate = bound.model.submit(frame);
        }
    }
}
