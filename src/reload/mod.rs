//! Another configuration while the daemon runs: only what differs is touched.
//!
//! [`Tuning`] is the way to the running stages, `follow` watches the file and the signal, and
//! [`Report`] is what the log, the status message, the metrics and the board say of it. Which
//! change takes effect how is decided in [`settings::change`](crate::settings::change).

mod follow;
mod report;
mod shadow;
mod stock;
mod swap;
mod trial;

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Context;
use tokio::sync::{mpsc, oneshot};

pub use self::follow::{Follower, Stamp};
pub use self::report::{Papers, Reloads, Report};
pub use self::stock::{Keep, Stock, Stocked};
pub use self::swap::{Swap, SwapDesk, SwapEnds, SwapError, Swaps};
use self::trial::BY_ITSELF;
use crate::model::{LoadedPrediction, ModelWorker};
use crate::mqtt::Publisher;
use crate::settings::change::{Change, applicable, changes};
use crate::settings::{Prediction, Settings};
use crate::share::Shares;
use crate::sources::Reorder;
use crate::watch::Retune;

/// The way to the stages that can be changed while they run.
#[derive(Debug)]
pub struct Tuning {
    /// As they are in effect.
    pub settings: Settings,
    /// The predictions that run, by name.
    pub running: BTreeMap<String, LoadedPrediction>,
    pub sources: mpsc::Sender<Reorder>,
    pub watch: mpsc::Sender<Retune>,
    pub publisher: Option<Publisher>,
    pub report: Arc<Report>,
    /// Other versions of models.
    pub swaps: Swaps,
}

/// What a reload did, and what it left for the next start.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Applied {
    pub done: Vec<Change>,
    pub left: Vec<Change>,
}

impl Tuning {
    /// Puts `wanted` into effect as far as that goes without a restart. `predictions` are those
    /// of `wanted`; none, where they are as they were.
    pub async fn apply(
        &mut self,
        wanted: &Settings,
        predictions: &[LoadedPrediction],
    ) -> anyhow::Result<Applied> {
        let mut merged = applicable(&self.settings, wanted);
        self.keep_changed_models(&mut merged, predictions);
        let applied =
            Applied { done: changes(&self.settings, &merged), left: changes(&merged, wanted) };
        let touches = |sections: &[&str]| {
            let section = |change: &Change| change.key.split('.').next().map(str::to_owned);
            applied.done.iter().filter_map(section).any(|name| sections.contains(&name.as_str()))
        };
        if touches(&["rule", "tag", "prediction", "publish", "share"]) {
            self.retune(&merged, predictions).await?;
        }
        if let (Some(publisher), Some(publish)) = (&self.publisher, &merged.publish)
            && let Some(broker) = merged.broker_as_box(&publish.broker)
            && self.settings.broker_as_box(&publish.broker).as_ref() != Some(&broker)
        {
            publisher.redial(broker);
        }
        if touches(&["broker", "mqtt", "modbus", "folder", "share"]) {
            let (done, answer) = oneshot::channel();
            let reorder = Reorder { settings: merged.clone(), done };
            self.sources.send(reorder).await.context("the sources have ended")?;
            let outcome = answer.await.context("the sources have ended")?;
            outcome.map_err(anyhow::Error::msg).context("the sources stay as they were")?;
        }
        self.report.shared(merged.share.clone());
        self.settings = merged;
        Ok(applied)
    }

    /// A threshold is for one model: where the repository has another one by now, the alert
    /// changes with it, at the next start.
    fn keep_changed_models(&self, merged: &mut Settings, predictions: &[LoadedPrediction]) {
        let runs = |prediction: &Prediction| {
            let loaded = predictions.iter().find(|loaded| loaded.name == prediction.name);
            let running = self.running.get(&prediction.name);
            loaded
                .zip(running)
                .is_none_or(|(loaded, running)| loaded.model.sha256 == running.model.sha256)
        };
        for (prediction, kept) in merged.prediction.iter_mut().zip(&self.settings.prediction) {
            if !runs(prediction) {
                *prediction = kept.clone();
            }
        }
    }

    async fn retune(
        &mut self,
        merged: &Settings,
        predictions: &[LoadedPrediction],
    ) -> anyhow::Result<()> {
        let changed = |loaded: &&LoadedPrediction| {
            let of = |settings: &Settings| {
                let same = |prediction: &&Prediction| prediction.name == loaded.name;
                settings.prediction.iter().find(same).cloned()
            };
            of(merged) != of(&self.settings)
        };
        let changed: Vec<LoadedPrediction> = predictions.iter().filter(changed).cloned().collect();
        let _none = self.tell_watch(merged, changed.clone(), Vec::new()).await?;
        for loaded in changed {
            // Its comparison was with another alert rule.
            self.drop_shadow(&loaded.model.name, BY_ITSELF).await;
            // What a trial would go back to has another alert rule by now.
            self.swaps.trials.retain(|trial| trial.name != loaded.model.name);
            self.running.insert(loaded.name.clone(), loaded);
        }
        self.tell_trials();
        Ok(())
    }

    /// Gives the main loop its predictions anew; the models that it no longer uses come back.
    async fn tell_watch(
        &self,
        settings: &Settings,
        predictions: Vec<LoadedPrediction>,
        workers: Vec<ModelWorker>,
    ) -> anyhow::Result<Vec<ModelWorker>> {
        let (done, answer) = oneshot::channel();
        let retune = Retune {
            tags: settings.tag.clone(),
            rules: settings.rule.clone(),
            predictions,
            workers,
            verdicts: settings.publish.as_ref().is_some_and(|publish| publish.verdicts),
            shares: Shares::new(settings.share.as_ref()),
            done,
        };
        self.watch.send(retune).await.context("the main loop has ended")?;
        answer.await.context("the main loop has ended")
    }
}
