//! Another configuration while the loop runs: what is remembered stays.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::{Bound, Watch};
use crate::alert::AlertSpec;
use crate::alert::rules::RuleBook;
use crate::live::Judge;
use crate::model::{LoadedPrediction, ModelWorker};
use crate::settings::{Rule, TagSettings};
use crate::share::Shares;
use crate::time::Timestamp;
use crate::verdict::PredictionId;

/// What the loop takes over from a new configuration.
#[derive(Debug)]
pub struct Retune {
    pub tags: Vec<TagSettings>,
    pub rules: Vec<Rule>,
    /// Predictions that run and have another alert rule or model now; the others stay.
    pub predictions: Vec<LoadedPrediction>,
    /// The models of those predictions, where they are other ones; their windows are the same.
    pub workers: Vec<ModelWorker>,
    /// Every verdict is published as well.
    pub verdicts: bool,
    pub shares: Shares,
    /// Models that no prediction uses any more.
    pub done: oneshot::Sender<Vec<ModelWorker>>,
}

impl Watch {
    /// Windows, readings and the states of alerts stay; a rule that is gone ends its alerts.
    pub(super) fn retune(&mut self, retune: Retune, now: Timestamp) {
        let Retune { tags, rules, predictions, workers, verdicts, shares, done } = retune;
        self.streams = verdicts;
        self.inspector.retune(tags.clone());
        for wanted in predictions {
            if let Some(bound) = self.predictions.iter_mut().find(|b| b.loaded.name == wanted.name)
            {
                let swapped = workers.get(wanted.worker).map(ModelWorker::handle);
                let loaded = &mut bound.loaded;
                *loaded = LoadedPrediction { id: loaded.id, worker: loaded.worker, ..wanted };
                if let Some(model) = swapped {
                    bound.model = model;
                    self.live.drift().replace(super::drift::subject(loaded));
                }
                self.windower.remember(loaded.id, super::history(loaded));
            }
        }
        let rules: Vec<(PredictionId, Rule)> =
            rules.into_iter().map(|rule| (id_of(&mut self.names, &rule.name), rule)).collect();
        self.compare_anew(now);
        self.live.feedback().judge(super::labels::all(&self.predictions));
        let mut specs = specs(&self.predictions, &rules);
        let drift = self.live.drift().settings().clone();
        specs.extend(super::drift::specs(&drift, &self.predictions, &mut self.names));
        specs.push(self.flood_spec());
        self.live.retune(judges(&self.predictions, &rules), &tags);
        let old = std::mem::replace(&mut self.rules, RuleBook::new(rules));
        self.introduce_again(old, now);
        for transition in self.book.retune(specs, now) {
            self.commit(&transition);
        }
        self.reshare(shares, now);
        self.expect_named(now);
        self.workers.extend(workers);
        // Whoever asked may have gone.
        let _ = done.send(self.retired());
    }

    /// Takes out the models that no prediction asks any more; what waits there is still answered.
    fn retired(&mut self) -> Vec<ModelWorker> {
        let used = |worker: &ModelWorker| {
            let stats = Arc::clone(worker.handle().stats());
            self.predictions.iter().any(|bound| Arc::ptr_eq(bound.model.stats(), &stats))
        };
        let (used, retired) = std::mem::take(&mut self.workers).into_iter().partition(used);
        self.workers = used;
        retired
    }

    fn introduce_again(&mut self, old: RuleBook, now: Timestamp) {
        let known = self.registry.tags_from(0).into_iter().filter(|(id, _)| id.0 < self.known_tags);
        let known: Vec<_> = known.collect();
        for (id, info) in &known {
            self.inspector.attach(*id, &info.asset_name, &info.name);
            self.rules.attach(*id, info.asset, &info.asset_name, &info.name);
        }
        self.rules.inherit(old);
        let readings = self.live.readings();
        for (id, _) in known {
            if readings.get(id.0 as usize).is_some_and(Option::is_some) {
                self.rules.expect(id, now);
            }
        }
        self.expect_named(now);
    }
}

/// A name keeps its id for as long as the process lives.
pub(super) fn id_of(names: &mut Vec<Arc<str>>, name: &str) -> PredictionId {
    let known = names.iter().position(|known| **known == *name);
    let at = known.unwrap_or_else(|| {
        names.push(Arc::from(name));
        names.len() - 1
    });
    PredictionId(u16::try_from(at).expect("fewer than 65,536 predictions and rules"))
}

pub(super) fn specs(predictions: &[Bound], rules: &[(PredictionId, Rule)]) -> Vec<AlertSpec> {
    let prediction = |bound: &Bound| {
        let LoadedPrediction { id, name, policy, .. } = &bound.loaded;
        AlertSpec::prediction(*id, name.clone(), policy.clone())
    };
    let rules = rules.iter().map(|(id, rule)| AlertSpec::rule(*id, rule));
    predictions.iter().map(prediction).chain(rules).collect()
}

pub(super) fn judges(predictions: &[Bound], rules: &[(PredictionId, Rule)]) -> Vec<Judge> {
    let predictions = predictions.iter().map(|bound| Judge::from(&bound.loaded));
    predictions.chain(rules.iter().map(|(id, rule)| Judge::rule(*id, rule))).collect()
}
