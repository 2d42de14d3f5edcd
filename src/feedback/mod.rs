//! What turned out to be true, held against what the models said of it.
//!
//! A [`Label`] comes from outside and joins the verdict whose window covers its time. [`Feedback`]
//! remembers the verdicts that may still be labelled, counts the outcomes of each model's version
//! ([`Confusion`]), and shows each error to the detectors of [`drift`](crate::drift)
//! ([`Errors`]). [`Comparison`] holds two models against each other, without a truth. `docs/labels.md` has the rules and the formulas.

mod compare;
mod confusion;
mod errors;
mod journal;
mod label;
mod past;
mod record;

use std::collections::{BTreeMap, VecDeque};

pub use self::compare::{Compared, Comparison, Pair, Side};
pub use self::confusion::{Cell, Confusion};
pub use self::errors::Errors;
pub use self::label::{About, Label, LabelError};
use self::record::Record;
pub use self::record::{Figures, Kept, KeptLabel};
use crate::asset::AssetId;
use crate::drift::Finding;
use crate::frame::Threshold;
use crate::time::Timestamp;
use crate::verdict::{PredictionId, Verdict};

/// Raises whose alerts can be labelled by their id; older ones go first.
const ALERTS: usize = 4096;
const UNKNOWN: &str = "unknown";

/// A prediction as labels need it.
#[derive(Clone, Debug)]
pub struct Judged {
    pub id: PredictionId,
    pub name: String,
    /// `<name>/<version>` of the model that predicts.
    pub model: String,
    /// Beyond it a verdict says "bad".
    pub threshold: Threshold,
}

/// What became of a label.
#[must_use = "an alert may follow from it"]
#[derive(Clone, Debug, PartialEq)]
pub enum Placed {
    Joined(Joined),
    /// The verdict on that time has not come yet.
    Waiting,
}

/// A verdict with its label.
#[derive(Clone, Debug, PartialEq)]
pub struct Joined {
    pub prediction: PredictionId,
    pub asset: AssetId,
    pub start: Timestamp,
    pub end: Timestamp,
    pub cell: Cell,
    pub model: String,
    /// The verdict had this label already.
    pub repeated: bool,
    /// The errors have changed: a score of 1 or more stands, one of 0 is over.
    pub finding: Option<Finding>,
}

/// Why a label joins no verdict.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unplaced {
    #[error("there is no asset `{0}`")]
    Asset(String),
    #[error("there is no prediction `{0}`; rules and drift alerts take no labels")]
    Prediction(String),
    #[error("there is no alert {0}, or it is too old to be known, or none of a prediction")]
    Alert(String),
    #[error("{0} lies before the oldest verdict that is remembered")]
    TooOld(Timestamp),
    #[error("no verdict's window covers {0}")]
    NoWindow(Timestamp),
    #[error("{0} lies in the future")]
    Future(Timestamp),
    #[error("too many labels wait for their verdicts")]
    Crowded,
}

impl Unplaced {
    /// In metrics and counts.
    pub const WORDS: [&str; 5] = ["too_old", "no_window", "future", "crowded", UNKNOWN];

    const fn index(&self) -> usize {
        match self {
            Self::TooOld(_) => 0,
            Self::NoWindow(_) => 1,
            Self::Future(_) => 2,
            Self::Crowded => 3,
            Self::Asset(_) | Self::Prediction(_) | Self::Alert(_) => 4,
        }
    }
}

/// Who raised an alert, and on what window.
#[derive(Clone, Debug)]
pub struct Raise {
    pub alert_id: String,
    pub prediction: PredictionId,
    pub asset: AssetId,
    pub start: Timestamp,
    pub end: Timestamp,
    /// Of a verdict that is remembered nowhere else.
    pub label: Option<bool>,
}

/// All predictions' verdicts and labels.
#[derive(Debug, Default)]
pub struct Feedback {
    records: BTreeMap<PredictionId, Record>,
    raises: BTreeMap<String, Raise>,
    raised: VecDeque<String>,
    /// Labels that name nothing that is known.
    unknown: u64,
    malformed: u64,
    /// Counts that were kept, of models that have not predicted since the start.
    kept: Kept,
    /// Their labels.
    labels: BTreeMap<String, Vec<(String, AssetId, Timestamp, bool)>>,
}

impl Feedback {
    /// Takes over predictions, those with another model or limit too. Verdicts that were seen keep
    /// what they said.
    pub fn judge(&mut self, predictions: Vec<Judged>) {
        for judged in predictions {
            let counts = self.kept.counts.remove(&judged.name).unwrap_or_default();
            let labels = self.labels.remove(&judged.name).unwrap_or_default();
            if let Some(record) = self.records.get_mut(&judged.id) {
                record.replace(judged);
                continue;
            }
            let id = judged.id;
            let mut record = Record::new(judged, counts);
            for (model, asset, end, bad) in labels {
                record.recall(&model, asset, end, bad);
            }
            self.records.insert(id, record);
        }
    }

    /// Counts of an earlier life; before [`judge`](Self::judge).
    pub fn restore(&mut self, kept: Kept, asset_of: impl Fn(&str) -> AssetId) {
        for (prediction, models) in &kept.labels {
            let own = self.labels.entry(prediction.clone()).or_default();
            for (model, labels) in models {
                let label =
                    |(name, end, bad): &KeptLabel| (model.clone(), asset_of(name), *end, *bad);
                own.extend(labels.iter().map(label));
            }
        }
        self.kept = kept;
    }

    /// The counts for another life, and which labels are in them.
    pub fn keep(&self, name_of: impl Fn(AssetId) -> Option<String>) -> Kept {
        let mut kept = self.kept.clone();
        for record in self.records.values() {
            let (counts, labels) = (record.keep(), record.labels(&name_of));
            if !counts.is_empty() {
                kept.counts.insert(record.name().to_owned(), counts);
            }
            kept.labels.remove(record.name());
            if !labels.is_empty() {
                kept.labels.insert(record.name().to_owned(), labels);
            }
        }
        kept
    }

    /// A model has answered; labels that waited for it join. Gives those that did.
    pub fn judged(&mut self, verdict: &Verdict, now: Timestamp) -> Vec<Joined> {
        let record = self.records.get_mut(&verdict.prediction);
        record.map(|record| record.judged(verdict, now)).unwrap_or_default()
    }

    /// An alert of a prediction was raised: its verdict said "bad".
    pub fn raised(&mut self, raise: Raise) {
        let known = self.records.contains_key(&raise.prediction);
        if !known || self.raises.contains_key(&raise.alert_id) {
            return;
        }
        if self.raised.len() == ALERTS
            && let Some(oldest) = self.raised.pop_front()
        {
            self.raises.remove(&oldest);
        }
        self.raised.push_back(raise.alert_id.clone());
        self.raises.insert(raise.alert_id.clone(), raise);
    }

    /// `asset_of` knows the assets by name, `latest` is how far ahead of now a label may lie.
    pub fn label(
        &mut self,
        label: &Label,
        asset_of: impl Fn(&str) -> Option<AssetId>,
        latest: Timestamp,
        now: Timestamp,
    ) -> Result<Placed, Unplaced> {
        let placed = match &label.about {
            About::Alert { alert_id } => self.label_alert(alert_id, label.bad, now),
            About::Window { asset, prediction, time } => {
                let record = self.records.values_mut().find(|r| r.name() == prediction);
                match (record, asset_of(asset)) {
                    (None, _) => Err(Unplaced::Prediction(prediction.clone())),
                    (Some(record), None) => {
                        let unplaced = Unplaced::Asset(asset.clone());
                        record.count(&unplaced);
                        return Err(unplaced);
                    }
                    (Some(record), Some(asset)) => {
                        if *time > latest {
                            record.count(&Unplaced::Future(*time));
                            return Err(Unplaced::Future(*time));
                        }
                        return record.label(asset, *time, label.bad, now);
                    }
                }
            }
        };
        self.unknown += u64::from(placed.is_err());
        placed
    }

    fn label_alert(&mut self, id: &str, bad: bool, now: Timestamp) -> Result<Placed, Unplaced> {
        let raise = self.raises.get_mut(id);
        let known = raise.and_then(|raise| {
            let record = self.records.get_mut(&raise.prediction)?;
            Some(record.label_raise(raise, bad, now))
        });
        known.map(Placed::Joined).ok_or_else(|| Unplaced::Alert(id.to_owned()))
    }

    /// Something came in that is no label.
    pub fn malformed(&mut self) {
        self.malformed += 1;
    }

    /// Labels that could not be read, and those that named no prediction, asset or alert that is
    /// known.
    pub const fn lost(&self) -> [(&'static str, u64); 2] {
        [("malformed", self.malformed), (UNKNOWN, self.unknown)]
    }

    pub fn figures(&self) -> Vec<Figures> {
        self.records.values().map(Record::figures).collect()
    }
}

#[cfg(test)]
mod tests;
