//! One prediction: its verdicts, the labels that wait for them, and what both came to.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use super::confusion::{Cell, Confusion};
use super::errors::Errors;
use super::journal::{Journal, Place, Seen};
use super::past::{Labelled, Past};
use super::{Joined, Judged, Placed, Raise, Unplaced};
use crate::asset::AssetId;
use crate::drift::Finding;
use crate::time::Timestamp;
use crate::verdict::{Evidence, PredictionId, Verdict};

/// Verdicts remembered of one prediction, of all its assets together: about 2 MiB.
const VERDICTS: usize = 65_536;
/// Labels of one asset that wait for their verdicts.
const WAITING: usize = 256;

/// What labels said, for another life: by prediction, and there by model as `<name>/<version>`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Kept {
    pub counts: BTreeMap<String, Counts>,
    /// The newest labels that are counted there, oldest first.
    pub labels: BTreeMap<String, BTreeMap<String, Vec<KeptLabel>>>,
}

pub(super) type Counts = BTreeMap<String, Confusion>;

/// Asset, end of the window, and whether it was bad.
pub type KeptLabel = (String, Timestamp, bool);

/// What is known of one prediction.
#[derive(Clone, Debug, PartialEq)]
pub struct Figures {
    pub prediction: PredictionId,
    pub name: String,
    /// The one that predicts.
    pub model: String,
    pub confusion: Confusion,
    /// Of models that predicted before it.
    pub earlier: Vec<(String, Confusion)>,
    /// Of the last labels of each asset together; nothing without labels.
    pub recent_errors: Option<f64>,
    /// Assets on which a rise of errors stands.
    pub risen: usize,
    /// Labels that wait for their verdicts.
    pub waiting: usize,
    /// Labels that joined no verdict, by [`Unplaced::WORDS`].
    pub unplaced: Vec<(&'static str, u64)>,
}

#[derive(Debug)]
pub(super) struct Record {
    judged: Judged,
    versions: Vec<(String, Confusion)>,
    /// Place of the one that predicts.
    version: u16,
    assets: BTreeMap<AssetId, Asset>,
    /// Whose verdicts are remembered, in the order in which they came.
    order: VecDeque<AssetId>,
    past: Past,
    unplaced: [u64; Unplaced::WORDS.len()],
}

#[derive(Debug, Default)]
struct Asset {
    journal: Journal,
    waiting: VecDeque<(Timestamp, bool)>,
    errors: Errors,
    labelled: u64,
}

impl Record {
    pub(super) fn new(judged: Judged, kept: Counts) -> Self {
        let model = judged.model.clone();
        let mut record = Self {
            judged,
            versions: kept.into_iter().collect(),
            version: 0,
            assets: BTreeMap::new(),
            order: VecDeque::new(),
            past: Past::default(),
            unplaced: [0; Unplaced::WORDS.len()],
        };
        record.version = record.version_of(&model);
        record
    }

    /// Another model or limit from now on. Another model's errors are its own.
    pub(super) fn replace(&mut self, judged: Judged) {
        if judged.model != self.judged.model {
            self.version = self.version_of(&judged.model);
            for asset in self.assets.values_mut() {
                (asset.errors, asset.labelled) = (Errors::default(), 0);
            }
        }
        self.judged = judged;
    }

    fn version_of(&mut self, model: &str) -> u16 {
        let known = self.versions.iter().position(|(name, _)| name == model);
        let at = known.unwrap_or_else(|| {
            self.versions.push((model.to_owned(), Confusion::default()));
            self.versions.len() - 1
        });
        u16::try_from(at).unwrap_or(u16::MAX)
    }

    pub(super) fn name(&self) -> &str {
        &self.judged.name
    }

    /// A label of an earlier life.
    pub(super) fn recall(&mut self, model: &str, asset: AssetId, end: Timestamp, bad: bool) {
        let version = self.version_of(model);
        self.past.note((asset, end), Labelled { bad, version });
    }

    /// The newest labels by model, oldest first.
    pub(super) fn labels(
        &self,
        name_of: impl Fn(AssetId) -> Option<String>,
    ) -> BTreeMap<String, Vec<KeptLabel>> {
        let mut labels: BTreeMap<String, Vec<KeptLabel>> = BTreeMap::new();
        for ((asset, end), Labelled { bad, version }) in self.past.all() {
            let Some(name) = name_of(asset) else { continue };
            let (model, _) = &self.versions[usize::from(version)];
            labels.entry(model.clone()).or_default().push((name, end, bad));
        }
        labels
    }

    pub(super) fn keep(&self) -> Counts {
        self.versions.iter().filter(|(_, confusion)| confusion.total() > 0).cloned().collect()
    }

    pub(super) fn judged(&mut self, verdict: &Verdict, now: Timestamp) -> Vec<Joined> {
        let Evidence { start, end, .. } = verdict.evidence;
        let bad = self.judged.threshold.is_reached(verdict.score);
        let seen = Seen { start, end, bad, label: None, version: self.version };
        let seen = self.as_labelled(verdict.asset, seen);
        self.remember(verdict.asset, seen);
        let Some(asset) = self.assets.get_mut(&verdict.asset) else { return Vec::new() };
        let due = asset.waiting.partition_point(|(time, _)| *time <= end);
        let due: Vec<_> = asset.waiting.drain(..due).collect();
        let join = |(time, bad)| match self.label(verdict.asset, time, bad, now) {
            Ok(Placed::Joined(joined)) => Some(joined),
            // It is counted.
            Ok(Placed::Waiting) | Err(_) => None,
        };
        due.into_iter().filter_map(join).collect()
    }

    fn remember(&mut self, asset: AssetId, verdict: Seen) {
        if !self.assets.entry(asset).or_default().journal.insert(verdict) {
            return;
        }
        self.order.push_back(asset);
        if self.order.len() > VERDICTS
            && let Some(oldest) = self.order.pop_front()
            && let Some(asset) = self.assets.get_mut(&oldest)
        {
            asset.journal.forget_oldest();
        }
    }

    pub(super) fn label(
        &mut self,
        asset_id: AssetId,
        time: Timestamp,
        bad: bool,
        now: Timestamp,
    ) -> Result<Placed, Unplaced> {
        let asset = self.assets.entry(asset_id).or_default();
        let unplaced = match asset.journal.find(time) {
            Place::At(at) => return Ok(Placed::Joined(self.join(asset_id, at, bad, now))),
            Place::After if asset.waiting.len() < WAITING => {
                let at = asset.waiting.partition_point(|(waiting, _)| *waiting <= time);
                asset.waiting.insert(at, (time, bad));
                return Ok(Placed::Waiting);
            }
            Place::After => Unplaced::Crowded,
            Place::Before => Unplaced::TooOld(time),
            Place::Between => Unplaced::NoWindow(time),
        };
        self.count(&unplaced);
        Err(unplaced)
    }

    /// The alert itself says that its verdict was "bad", also where that is forgotten.
    pub(super) fn label_raise(&mut self, raise: &mut Raise, bad: bool, now: Timestamp) -> Joined {
        let Raise { asset, start, end, label, .. } = *raise;
        let journal = self.assets.get_mut(&asset).map(|asset| &mut asset.journal);
        if let Some(seen) = journal.and_then(|journal| journal.ending(end)) {
            let before = *seen;
            seen.label = Some(bad);
            return self.settle(asset, before, bad, now);
        }
        raise.label = Some(bad);
        let seen = Seen { start, end, bad: true, label, version: self.version };
        let seen = if label.is_none() { self.as_labelled(asset, seen) } else { seen };
        self.settle(asset, seen, bad, now)
    }

    /// A verdict of which an earlier life knew more.
    fn as_labelled(&self, asset: AssetId, seen: Seen) -> Seen {
        let Some(Labelled { bad, version }) = self.past.of((asset, seen.end)) else { return seen };
        Seen { label: Some(bad), version, ..seen }
    }

    fn join(&mut self, asset_id: AssetId, at: usize, was_bad: bool, now: Timestamp) -> Joined {
        let asset = self.assets.entry(asset_id).or_default();
        let seen = asset.journal.get(at);
        let before = *seen;
        seen.label = Some(was_bad);
        self.settle(asset_id, before, was_bad, now)
    }

    /// Counts a verdict, as it was before this label.
    fn settle(&mut self, asset_id: AssetId, seen: Seen, was_bad: bool, now: Timestamp) -> Joined {
        let Seen { start, end, version, label: before, .. } = seen;
        let asset = self.assets.entry(asset_id).or_default();
        let cell = Cell::of(seen.bad, was_bad);
        let (model, confusion) = &mut self.versions[usize::from(version)];
        if let Some(before) = before {
            confusion.take(Cell::of(seen.bad, before));
        }
        confusion.add(cell);
        self.past.note((asset_id, end), Labelled { bad: was_bad, version });
        let mut finding = None;
        // A correction comes too late for the stream of errors.
        if before.is_none() && version == self.version {
            asset.labelled += 1;
            let wrong = matches!(cell, Cell::FalsePositive | Cell::FalseNegative);
            finding = asset.errors.update(wrong).map(|(score, text)| Finding {
                score,
                text,
                contributions: Vec::new(),
                evidence: Evidence { start: start.min(now), end: now, samples: 0, coverage: 1.0 },
            });
        }
        Joined {
            prediction: self.judged.id,
            asset: asset_id,
            start,
            end,
            cell,
            model: model.clone(),
            repeated: before == Some(was_bad),
            finding,
        }
    }

    pub(super) fn count(&mut self, unplaced: &Unplaced) {
        self.unplaced[unplaced.index()] += 1;
    }

    pub(super) fn figures(&self) -> Figures {
        let version = usize::from(self.version);
        let labelled = || self.assets.values().filter(|asset| asset.labelled > 0);
        #[expect(clippy::cast_precision_loss, reason = "counts of labels")]
        let weigh = |asset: &Asset| asset.labelled.min(64) as f64;
        let weight: f64 = labelled().map(weigh).sum();
        let errors: f64 = labelled().map(|asset| weigh(asset) * asset.errors.share()).sum();
        let others = self.versions.iter().enumerate();
        let earlier = others.filter(|(at, (_, c))| *at != version && c.total() > 0);
        Figures {
            prediction: self.judged.id,
            name: self.judged.name.clone(),
            model: self.judged.model.clone(),
            confusion: self.versions[version].1,
            earlier: earlier.map(|(_, version)| version.clone()).collect(),
            recent_errors: (weight > 0.0).then(|| errors / weight),
            risen: self.assets.values().filter(|asset| asset.errors.stands()).count(),
            waiting: self.assets.values().map(|asset| asset.waiting.len()).sum(),
            unplaced: Unplaced::WORDS.into_iter().zip(self.unplaced).collect(),
        }
    }
}
