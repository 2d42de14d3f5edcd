//! Another configuration while the daemon runs: only what differs is touched.
//!
//! [`Tuning`] is the way to the running stages, `follow` watches the file and the signal, and
//! [`Report`] is what the log, the status message, the metrics and the board say of it. Which
//! change takes effect how is decided in [`settings::change`](crate::settings::change).

mod follow;
mod report;

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Context;
use tokio::sync::{mpsc, oneshot};

pub use self::follow::{Follower, Stamp};
pub use self::report::{Papers, Reloads, Report};
use crate::model::LoadedPrediction;
use crate::mqtt::Publisher;
use crate::settings::change::{Change, applicable, changes};
use crate::settings::{Prediction, Settings};
use crate::sources::Reorder;
use crate::verdict::ModelIdentity;
use crate::watch::Retune;

/// The way to the stages that can be changed while they run.
#[derive(Debug)]
pub struct Tuning {
    /// As they are in effect.
    pub settings: Settings,
    /// Of the predictions that run.
    pub models: BTreeMap<String, Arc<ModelIdentity>>,
    pub sources: mpsc::Sender<Reorder>,
    pub watch: mpsc::Sender<Retune>,
    pub publisher: Option<Publisher>,
    pub report: Arc<Report>,
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
        if touches(&["rule", "tag", "prediction", "publish"]) {
            self.retune(&merged, predictions).await?;
        }
        if let (Some(publisher), Some(publish)) = (&self.publisher, &merged.publish)
            && let Some(broker) = merged.broker.get(&publish.broker)
            && self.settings.broker.get(&publish.broker) != Some(broker)
        {
            publisher.redial(broker.clone());
        }
        if touches(&["broker", "mqtt", "modbus"]) {
            let (done, answer) = oneshot::channel();
            let reorder = Reorder { settings: merged.clone(), done };
            self.sources.send(reorder).await.context("the sources have ended")?;
            let outcome = answer.await.context("the sources have ended")?;
            outcome.map_err(anyhow::Error::msg).context("the sources stay as they were")?;
        }
        self.settings = merged;
        Ok(applied)
    }

    /// A threshold is for one model: where the repository has another one by now, the alert
    /// changes with it, at the next start.
    fn keep_changed_models(&self, merged: &mut Settings, predictions: &[LoadedPrediction]) {
        let runs = |prediction: &Prediction| {
            let loaded = predictions.iter().find(|loaded| loaded.name == prediction.name);
            let running = self.models.get(&prediction.name);
            loaded
                .zip(running)
                .is_none_or(|(loaded, running)| loaded.model.sha256 == running.sha256)
        };
        for (prediction, kept) in merged.prediction.iter_mut().zip(&self.settings.prediction) {
            if !runs(prediction) {
                *prediction = kept.clone();
            }
        }
    }

    async fn retune(
        &self,
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
        let (done, answer) = oneshot::channel();
        let retune = Retune {
            tags: merged.tag.clone(),
            rules: merged.rule.clone(),
            predictions: predictions.iter().filter(changed).cloned().collect(),
            verdicts: merged.publish.as_ref().is_some_and(|publish| publish.verdicts),
            done,
        };
        self.watch.send(retune).await.context("the main loop has ended")?;
        answer.await.context("the main loop has ended")
    }
}
