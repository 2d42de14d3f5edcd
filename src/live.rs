//! The state of this moment, for whoever looks: newest readings, scores and alerts.
//!
//! The watch writes it as it goes; the API and the board read copies. Nothing here decides
//! anything, and nothing is lost when nobody reads.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::watch;

use crate::alert::{AlertRecord, AlertState, Transition};
use crate::asset::{AssetId, NamePattern};
use crate::drift::{Subject, Watcher};
use crate::feedback::{Comparison, Feedback};
use crate::model::{LoadedPrediction, ModelStats};
use crate::sample::{Quality, Sample};
use crate::settings::{Direction, Rule, RuleKind, Settings, TagSettings};
use crate::tag::TagId;
use crate::time::Timestamp;
use crate::verdict::{ModelIdentity, PredictionId, Verdict};

/// The newest reading of a tag.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reading {
    /// Event time.
    pub time: Timestamp,
    pub received: Timestamp,
    pub value: f64,
    pub quality: Quality,
}

/// The newest verdict on an asset.
#[derive(Clone, Debug, PartialEq)]
pub struct Score {
    /// Begin and end of its window, event time.
    pub from: Timestamp,
    pub at: Timestamp,
    pub score: f64,
    pub label: Option<Arc<str>>,
}

/// A prediction or a rule, as people know it.
#[derive(Clone, Debug)]
pub struct Judge {
    pub id: PredictionId,
    pub name: String,
    pub assets: Vec<NamePattern>,
    /// The plant's names of the tags it reads.
    pub tags: Vec<String>,
    pub model: Option<Arc<ModelIdentity>>,
    pub rule: Option<RuleKind>,
    pub raise: Option<f64>,
    pub clear: Option<f64>,
    pub direction: Direction,
}

/// A model that sees what another one sees, and predicts nothing.
#[derive(Debug)]
pub struct Shadow {
    /// The one that predicts.
    pub active: Arc<ModelIdentity>,
    pub stats: Arc<ModelStats>,
    pub by: String,
    /// Both have been compared since then.
    pub since: Timestamp,
    pub comparison: Comparison,
    /// What labels say of it.
    pub feedback: Feedback,
}

/// By prediction.
pub type Shadows = BTreeMap<PredictionId, Shadow>;

#[derive(Debug)]
pub struct Live {
    judges: Mutex<Arc<[Judge]>>,
    tags: Mutex<TagPatterns>,
    readings: Mutex<Vec<Option<Reading>>>,
    scores: Mutex<BTreeMap<(AssetId, PredictionId), Score>>,
    /// When the last picture came that a model looks at.
    pictures: Mutex<BTreeMap<AssetId, Timestamp>>,
    alerts: Mutex<BTreeMap<(String, String), AlertRecord>>,
    moves: watch::Sender<u64>,
    drift: Arc<Mutex<Watcher>>,
    feedback: Arc<Mutex<Feedback>>,
    shadows: Arc<Mutex<Shadows>>,
}

impl Live {
    /// Without predictions and rules, until [`retune`](Self::retune).
    pub fn new(settings: &Settings) -> Self {
        Self {
            judges: Mutex::new(Arc::default()),
            tags: Mutex::new(patterns(&settings.tag)),
            readings: Mutex::default(),
            scores: Mutex::default(),
            pictures: Mutex::default(),
            alerts: Mutex::default(),
            moves: watch::Sender::new(0),
            drift: Arc::new(Mutex::new(Watcher::new(settings.drift.clone(), Vec::new()))),
            feedback: Arc::default(),
            shadows: Arc::default(),
        }
    }

    /// Other predictions, rules and tags from now on.
    pub fn retune(&self, judges: Vec<Judge>, tags: &[TagSettings]) {
        lock(&self.scores).retain(|(_, id), _| judges.iter().any(|judge| judge.id == *id));
        *lock(&self.judges) = judges.into();
        *lock(&self.tags) = patterns(tags);
    }

    /// How far the data are from those of the training.
    pub fn drift(&self) -> MutexGuard<'_, Watcher> {
        lock(&self.drift)
    }

    /// The same, for whoever only reads the figures.
    pub fn drift_figures(&self) -> Arc<Mutex<Watcher>> {
        Arc::clone(&self.drift)
    }

    /// What labels say of the models.
    pub fn feedback(&self) -> MutexGuard<'_, Feedback> {
        lock(&self.feedback)
    }

    /// The same, for whoever only reads the figures.
    pub fn feedback_figures(&self) -> Arc<Mutex<Feedback>> {
        Arc::clone(&self.feedback)
    }

    pub fn shadows(&self) -> MutexGuard<'_, Shadows> {
        lock(&self.shadows)
    }

    /// The same, for whoever only reads the figures.
    pub fn shadow_figures(&self) -> Arc<Mutex<Shadows>> {
        Arc::clone(&self.shadows)
    }

    pub(crate) fn watch_drift(&self, subjects: Vec<Subject>) {
        let mut drift = lock(&self.drift);
        *drift = Watcher::new(drift.settings().clone(), subjects);
    }

    /// All predictions and rules.
    pub fn judges(&self) -> Arc<[Judge]> {
        Arc::clone(&lock(&self.judges))
    }

    /// Samples have been inspected.
    pub fn note(&self, samples: &[Sample], received: Timestamp) {
        let mut readings = lock(&self.readings);
        for sample in samples {
            let at = sample.tag.0 as usize;
            if at >= readings.len() {
                readings.resize(at + 1, None);
            }
            let slot = &mut readings[at];
            if slot.is_none_or(|reading| reading.time <= sample.time) {
                let Sample { time, value, quality, .. } = *sample;
                *slot = Some(Reading { time, received, value, quality });
            }
        }
    }

    /// A picture has come.
    pub fn pictured(&self, asset: AssetId, at: Timestamp) {
        let mut pictures = lock(&self.pictures);
        let last = pictures.entry(asset).or_insert(at);
        *last = at.max(*last);
    }

    /// The assets that have pictures, and when the last one came.
    pub fn pictures(&self) -> Vec<(AssetId, Timestamp)> {
        lock(&self.pictures).iter().map(|(asset, at)| (*asset, *at)).collect()
    }

    pub fn judged(&self, verdict: &Verdict) {
        if verdict.model.is_some() {
            lock(&self.drift).score(verdict.prediction, verdict.asset, verdict.score);
        }
        let score = Score {
            from: verdict.evidence.start,
            at: verdict.evidence.end,
            score: verdict.score,
            label: verdict.label.clone(),
        };
        lock(&self.scores).insert((verdict.asset, verdict.prediction), score);
    }

    /// An alert has changed.
    pub fn moved(&self, transition: &Transition) {
        self.keep(&transition.record);
        self.moves.send_modify(|moves| *moves += 1);
    }

    /// Alerts as the last life left them.
    pub fn restored<'a>(&self, records: impl Iterator<Item = &'a AlertRecord>) {
        records.for_each(|record| self.keep(record));
        self.moves.send_modify(|moves| *moves += 1);
    }

    fn keep(&self, record: &AlertRecord) {
        let key = (record.asset.clone(), record.prediction.clone());
        let mut alerts = lock(&self.alerts);
        match record.state {
            AlertState::Normal => drop(alerts.remove(&key)),
            _ => drop(alerts.insert(key, record.clone())),
        }
    }

    /// Counts the changes of alerts; wakes whoever waits for one.
    pub fn moves(&self) -> watch::Receiver<u64> {
        self.moves.subscribe()
    }

    pub fn reading(&self, tag: TagId) -> Option<Reading> {
        lock(&self.readings).get(tag.0 as usize).copied().flatten()
    }

    /// The newest readings by tag id.
    pub fn readings(&self) -> Vec<Option<Reading>> {
        lock(&self.readings).clone()
    }

    pub fn score(&self, asset: AssetId, prediction: PredictionId) -> Option<Score> {
        lock(&self.scores).get(&(asset, prediction)).cloned()
    }

    /// The alerts that are not over and done with, the gravest first.
    pub fn alerts(&self) -> Vec<AlertRecord> {
        let mut alerts: Vec<AlertRecord> = lock(&self.alerts).values().cloned().collect();
        let rank = |record: &AlertRecord| {
            let state = match record.state {
                AlertState::Active => 0,
                AlertState::Cleared => 1,
                AlertState::Acknowledged => 2,
                AlertState::Shelved | AlertState::Normal => 3,
            };
            (state, std::cmp::Reverse(record.severity), std::cmp::Reverse(record.raised_at))
        };
        alerts.sort_by_key(rank);
        alerts
    }

    pub fn alert(&self, asset: &str, prediction: &str) -> Option<AlertRecord> {
        lock(&self.alerts).get(&(asset.to_owned(), prediction.to_owned())).cloned()
    }

    /// What the configuration says of a tag: the last entry that matches.
    pub fn tag_settings(&self, asset: &str, tag: &str) -> Option<TagSettings> {
        let matches = |(assets, tags, _): &&(NamePattern, NamePattern, TagSettings)| {
            assets.matches(asset) && tags.matches(tag)
        };
        let tags = Arc::clone(&lock(&self.tags));
        tags.iter().rev().find(matches).map(|(.., settings)| settings.clone())
    }
}

type TagPatterns = Arc<[(NamePattern, NamePattern, TagSettings)]>;

fn patterns(tags: &[TagSettings]) -> TagPatterns {
    let tag = |tag: &TagSettings| {
        (NamePattern::new(&*tag.asset), NamePattern::new(&*tag.name), tag.clone())
    };
    tags.iter().map(tag).collect()
}

impl From<&LoadedPrediction> for Judge {
    fn from(prediction: &LoadedPrediction) -> Self {
        Self {
            id: prediction.id,
            name: prediction.name.clone(),
            assets: prediction.assets.clone(),
            tags: prediction.plant_tags.clone(),
            model: Some(Arc::clone(&prediction.model)),
            rule: None,
            raise: prediction.policy.raise,
            clear: prediction.policy.clear,
            direction: prediction.policy.direction.unwrap_or_default(),
        }
    }
}

impl Judge {
    pub fn rule(id: PredictionId, rule: &Rule) -> Self {
        let below = rule.when.is_below();
        Self {
            id,
            name: rule.name.clone(),
            assets: rule.assets.iter().map(|asset| NamePattern::new(&**asset)).collect(),
            tags: vec![rule.tag.clone()],
            model: None,
            rule: Some(rule.when),
            raise: rule.limit.or(rule.when.chart_limit()),
            clear: rule.alert.clear,
            direction: if below { Direction::Below } else { Direction::Above },
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no code panics while it holds the live state")
}
