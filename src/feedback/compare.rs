//! Two models on the same frames: what each says, and which alerts each would have raised.

use std::collections::{BTreeMap, VecDeque};

use crate::alert::{AlertBook, AlertSpec, Cause};
use crate::asset::AssetId;
use crate::frame::Threshold;
use crate::time::Timestamp;
use crate::verdict::Verdict;

/// Frames that only one of the two has answered yet. Beyond it the oldest are given up.
const HALVES: usize = 4096;
/// Frames kept to be looked at, of each kind.
const LAST: usize = 10;

/// What both said of one frame.
#[derive(Clone, Debug, PartialEq)]
pub struct Pair {
    pub asset: AssetId,
    /// Of the window.
    pub end: Timestamp,
    pub active: f64,
    pub shadow: f64,
    /// Whether each score is at or beyond its own limit.
    pub active_bad: bool,
    pub shadow_bad: bool,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Compared {
    /// Frames that both have answered.
    pub both: u64,
    /// Of those, where both said the same of good or bad.
    pub agreed: u64,
    /// Where only that one said "bad".
    pub only_active: u64,
    pub only_shadow: u64,
    /// Absolute differences of the scores.
    pub difference_sum: f64,
    pub difference_max: f64,
    /// Alerts that each raised on those frames, by its own rule, begun at the same frame.
    pub active_alerts: u64,
    pub shadow_alerts: u64,
    /// Frames that one of the two did not answer, whatever the reason; known only when newer ones
    /// have pushed them out.
    pub alone: u64,
    /// Frames that are none for the shadow: too thin or stale by its own card.
    pub unfit: u64,
    /// The newest frames, and the newest on which the two differ, oldest first.
    pub last: VecDeque<Pair>,
    pub differing: VecDeque<Pair>,
}

impl Compared {
    #[expect(clippy::cast_precision_loss, reason = "counts of frames")]
    pub fn agreement(&self) -> Option<f64> {
        (self.both > 0).then(|| self.agreed as f64 / self.both as f64)
    }

    #[expect(clippy::cast_precision_loss, reason = "counts of frames")]
    pub fn difference_mean(&self) -> Option<f64> {
        (self.both > 0).then(|| self.difference_sum / self.both as f64)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Active,
    Shadow,
}

/// The comparison on one prediction.
#[derive(Debug)]
pub struct Comparison {
    active: Judge,
    shadow: Judge,
    /// By the window's end, so that the oldest is first. Without a verdict: the shadow was not
    /// asked, and there is nothing to wait for.
    halves: BTreeMap<(Timestamp, AssetId), Option<(Side, Verdict)>>,
    figures: Compared,
}

/// One model's rule: a book that nobody reads aloud.
#[derive(Debug)]
struct Judge {
    threshold: Threshold,
    book: AlertBook,
}

impl Judge {
    fn new(spec: AlertSpec) -> Self {
        let raise = spec.policy.raise.unwrap_or(f64::INFINITY);
        let direction = spec.policy.direction.unwrap_or_default();
        let threshold = Threshold { raise, direction };
        Self { threshold, book: AlertBook::new("", vec![spec]) }
    }

    /// Whether an alert was raised with it.
    fn raises(&mut self, verdict: &Verdict) -> bool {
        let moved = self.book.apply(verdict, "", verdict.evidence.end);
        moved.is_some_and(|transition| transition.cause == Cause::Raised)
    }
}

impl Comparison {
    /// With the alert rules of both.
    pub fn new(active: AlertSpec, shadow: AlertSpec) -> Self {
        Self {
            active: Judge::new(active),
            shadow: Judge::new(shadow),
            halves: BTreeMap::new(),
            figures: Compared::default(),
        }
    }

    pub const fn figures(&self) -> &Compared {
        &self.figures
    }

    /// The window is no frame by the shadow's card.
    pub fn unfit(&mut self, asset: AssetId, end: Timestamp) {
        self.figures.unfit += 1;
        self.keep((end, asset), None);
    }

    /// One of the two has answered.
    pub fn answered(&mut self, side: Side, verdict: &Verdict) {
        let key = (verdict.evidence.end, verdict.asset);
        match self.halves.remove(&key) {
            Some(None) => {}
            Some(Some((other, half))) if other != side => match side {
                Side::Active => self.met(verdict, &half),
                Side::Shadow => self.met(&half, verdict),
            },
            _ => {
                let half = Verdict { contributions: Vec::new(), subject: None, ..verdict.clone() };
                self.keep(key, Some((side, half)));
            }
        }
    }

    fn keep(&mut self, key: (Timestamp, AssetId), half: Option<(Side, Verdict)>) {
        self.halves.insert(key, half);
        if self.halves.len() > HALVES
            && let Some((_, Some(_))) = self.halves.pop_first()
        {
            self.figures.alone += 1;
        }
    }

    fn met(&mut self, active: &Verdict, shadow: &Verdict) {
        let pair = Pair {
            asset: active.asset,
            end: active.evidence.end,
            active: active.score,
            shadow: shadow.score,
            active_bad: self.active.threshold.is_reached(active.score),
            shadow_bad: self.shadow.threshold.is_reached(shadow.score),
        };
        let figures = &mut self.figures;
        figures.both += 1;
        figures.active_alerts += u64::from(self.active.raises(active));
        figures.shadow_alerts += u64::from(self.shadow.raises(shadow));
        let difference = (active.score - shadow.score).abs();
        figures.difference_sum += difference;
        figures.difference_max = figures.difference_max.max(difference);
        match (pair.active_bad, pair.shadow_bad) {
            (true, false) => figures.only_active += 1,
            (false, true) => figures.only_shadow += 1,
            _ => figures.agreed += 1,
        }
        if pair.active_bad != pair.shadow_bad {
            keep(&mut figures.differing, pair.clone());
        }
        keep(&mut figures.last, pair);
    }
}

fn keep(kept: &mut VecDeque<Pair>, pair: Pair) {
    if kept.len() == LAST {
        kept.pop_front();
    }
    kept.push_back(pair);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::AlertPolicy;
    use crate::verdict::{Evidence, PredictionId};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_secs(1_700_000_000 + second)
    }

    fn verdict(asset: u32, second: i64, score: f64) -> Verdict {
        Verdict {
            prediction: PredictionId(0),
            asset: AssetId(asset),
            evidence: Evidence {
                start: at(second - 1),
                end: at(second),
                samples: 1,
                coverage: 1.0,
            },
            score,
            label: None,
            contributions: Vec::new(),
            region: None,
            subject: None,
            model: None,
            arrived: at(second),
        }
    }

    fn spec(raise: f64, n: u32) -> AlertSpec {
        let policy =
            AlertPolicy { raise: Some(raise), n: Some(n), m: Some(n), ..AlertPolicy::default() };
        AlertSpec::prediction(PredictionId(0), "wear", policy)
    }

    #[test]
    fn frames_are_compared_whoever_answers_first_and_alerts_follow_each_rule() {
        let mut comparison = Comparison::new(spec(0.5, 1), spec(0.8, 2));
        // Second, active, shadow: the shadow wants two in a row.
        let frames = [
            (1, 0.9, 0.9),
            (2, 0.1, 0.7),
            (3, 0.6, 0.9),
            (4, 0.7, 0.9),
            (5, 0.2, 0.1),
            (6, 0.4, 0.8),
        ];
        for (second, active, shadow) in frames {
            let mut both = [
                (Side::Active, verdict(1, second, active)),
                (Side::Shadow, verdict(1, second, shadow)),
            ];
            if second % 2 == 0 {
                both.reverse();
            }
            both.iter().for_each(|(side, verdict)| comparison.answered(*side, verdict));
        }
        comparison.answered(Side::Active, &verdict(2, 6, 0.9));
        let figures = comparison.figures();
        assert_eq!((figures.both, figures.agreed), (6, 5));
        assert_eq!((figures.only_active, figures.only_shadow), (0, 1));
        assert_eq!((figures.active_alerts, figures.shadow_alerts), (2, 1));
        assert!((figures.difference_max - 0.6).abs() < 1e-12);
        assert!((figures.difference_mean().unwrap() - 1.6 / 6.0).abs() < 1e-12);
        assert_eq!(figures.last.len(), 6);
        let differing: Vec<_> = figures.differing.iter().map(|pair| pair.end).collect();
        assert_eq!(differing, [at(6)]);
    }

    #[test]
    fn what_only_one_answers_is_given_up_and_counted() {
        let mut comparison = Comparison::new(spec(0.5, 1), spec(0.5, 1));
        for second in 0..5000 {
            comparison.answered(Side::Active, &verdict(1, second, 0.1));
        }
        assert_eq!(comparison.figures().alone, 5000 - 4096);
        assert_eq!(comparison.figures().agreement(), None);
        comparison.answered(Side::Shadow, &verdict(1, 4999, 0.1));
        assert_eq!(comparison.figures().agreement(), Some(1.0));
        let before = comparison.figures().clone();
        comparison.unfit(AssetId(1), at(6000));
        comparison.answered(Side::Active, &verdict(1, 6000, 0.1));
        assert_eq!(*comparison.figures(), Compared { unfit: 1, ..before }, "nothing is waited for");
    }
}
