//! Pictures and texts go to the models without a window: each to every prediction that takes them. Pictures
//! come back in small, and go to the store with what was said.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::{Bound, Watch};
use crate::frame::Frame;
use crate::model::LoadedPrediction;
use crate::snapshot::{Fate, Keeper, Remark, Snapshot, Thumbnail};
use crate::store::NewSnapshot;

/// Hands thumbnails to the loop. It never waits: what finds no room is not kept.
pub(super) fn keeper(thumbnails: mpsc::Sender<Thumbnail>) -> Keeper {
    Keeper::new(move |thumbnail| {
        if let Err(error) = thumbnails.try_send(thumbnail) {
            tracing::debug!(%error, "A picture is not kept.");
        }
    })
}

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
        // What becomes of a shadow's look is nothing to who sent the picture.
        let copy = Snapshot::new(kind, Arc::clone(&asset), arrived, picture.bytes.clone(), |_| {});
        let takers: Vec<&Bound> =
            self.predictions.iter().filter(|bound| takes(&bound.loaded)).collect();
        if !takers.is_empty() {
            self.live.pictured(id, arrived);
        }
        for (bound, mut showing) in takers.iter().zip(picture.shared(takers.len())) {
            let LoadedPrediction { id: prediction, spec, snapshots, .. } = &bound.loaded;
            showing.keeper = self.keeper.clone().filter(|_| *snapshots > 0);
            let frame = Frame::of_picture(*prediction, id, arrived, Arc::clone(spec), showing);
            // One that has stopped drops it, and the broker delivers it again.
            let _counted_by_its_fate = bound.model.submit(frame);
        }
        for shadowing in self.shadows.values().filter(|shadowing| takes(&shadowing.loaded)) {
            shadowing.show(id, &copy);
        }
    }

    /// Its verdict has been judged: it came before.
    pub(super) fn keep(&mut self, thumbnail: Thumbnail) {
        let Thumbnail { verdict, jpeg, width, height } = thumbnail;
        let asset = self.asset_name(verdict.asset);
        let Some(bound) = self.predictions.get(usize::from(verdict.prediction.0)) else { return };
        if !self.shares.owns(&asset) {
            return;
        }
        let LoadedPrediction { name, policy, snapshots, .. } = &bound.loaded;
        let at = verdict.evidence.end;
        let alert = self.live.alert(&asset, name).filter(|record| record.raised_at == Some(at));
        let remark = Remark {
            score: verdict.score,
            label: verdict.label,
            raise: policy.raise,
            direction: policy.direction.unwrap_or_default(),
            model: verdict.model,
            region: verdict.region,
        };
        self.store.keep_snapshot(NewSnapshot {
            asset: asset.to_string(),
            prediction: name.clone(),
            at,
            alert_id: alert.map(|record| record.alert_id),
            remark: serde_json::to_string(&remark).expect("a remark holds no map"),
            width,
            height,
            jpeg,
            most: *snapshots,
        });
    }

    /// Assets whose pictures an earlier life has seen stay on the board.
    pub(super) async fn recall_pictures(&self) -> anyhow::Result<()> {
        for (asset, at) in self.store.last_pictures().await? {
            if self.shares.owns(&asset) {
                self.live.pictured(self.registry.intern_asset(&asset), at);
            }
        }
        Ok(())
    }
}
