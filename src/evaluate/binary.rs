//! Two classes: confusion, ranking and thresholds.

use serde::Serialize;

use super::ratio;
use crate::settings::Direction;

/// One answer and its truth.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scored {
    pub score: f64,
    pub positive: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Confusion {
    pub true_positives: usize,
    pub false_positives: usize,
    pub false_negatives: usize,
    pub true_negatives: usize,
}

impl Confusion {
    pub fn accuracy(self) -> Option<f64> {
        ratio(self.true_positives + self.true_negatives, self.total())
    }

    /// Absent when nothing was called positive.
    pub fn precision(self) -> Option<f64> {
        ratio(self.true_positives, self.true_positives + self.false_positives)
    }

    pub fn recall(self) -> Option<f64> {
        ratio(self.true_positives, self.true_positives + self.false_negatives)
    }

    pub fn f1(self) -> Option<f64> {
        let twice = 2 * self.true_positives;
        ratio(twice, twice + self.false_positives + self.false_negatives)
    }

    pub fn total(self) -> usize {
        self.true_positives + self.false_positives + self.false_negatives + self.true_negatives
    }
}

/// What one threshold gives and costs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Operating {
    pub threshold: f64,
    #[serde(flatten)]
    pub confusion: Confusion,
    pub accuracy: Option<f64>,
    pub precision: Option<f64>,
    pub recall: Option<f64>,
    pub f1: Option<f64>,
    /// False positives and false negatives, each times its cost.
    pub cost: f64,
}

/// Points of a curve from the strictest threshold to the laxest.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Curve {
    pub x: Vec<f64>,
    pub y: Vec<f64>,
}

/// Answers in the order of suspicion, equal scores together.
#[derive(Clone, Debug)]
pub struct Ranking {
    direction: Direction,
    /// Score of a step, and how many positives and negatives stand at or beyond it.
    steps: Vec<(f64, usize, usize)>,
}

/// All figures of two classes. Absent where the truth holds one class only.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Binary {
    pub windows: usize,
    pub positives: usize,
    pub roc_auc: Option<f64>,
    /// Average precision.
    pub pr_auc: Option<f64>,
    /// Only where scores are probabilities.
    pub log_loss: Option<f64>,
    pub at_card: Operating,
    /// Chosen on these very answers; absent where the truth holds no positive.
    pub at_best_f1: Option<Operating>,
    pub at_least_cost: Option<Operating>,
}

impl Binary {
    /// `costs` are those of a false positive and of a false negative, `probable` says that scores
    /// are probabilities of the positive. Nothing without answers.
    pub fn new(
        scored: &[Scored],
        raise: f64,
        direction: Direction,
        costs: [f64; 2],
        probable: bool,
    ) -> Option<Self> {
        if scored.is_empty() {
            return None;
        }
        let ranking = Ranking::new(scored, direction);
        let (positives, _) = ranking.totals();
        let best = |worth: fn(&Operating) -> f64| {
            (positives > 0).then(|| ranking.best(costs, worth)).flatten()
        };
        Some(Self {
            windows: scored.len(),
            positives,
            roc_auc: ranking.roc_auc(),
            pr_auc: ranking.average_precision(),
            log_loss: probable.then(|| log_loss(scored)).flatten(),
            at_card: ranking.at(raise, costs),
            at_best_f1: best(|at| at.f1.unwrap_or(0.0)),
            at_least_cost: best(|at| -at.cost),
        })
    }
}

impl Ranking {
    pub fn new(scored: &[Scored], direction: Direction) -> Self {
        let mut sorted: Vec<Scored> = scored.to_vec();
        sorted.sort_by(|a, b| match direction {
            Direction::Above => b.score.total_cmp(&a.score),
            Direction::Below => a.score.total_cmp(&b.score),
        });
        let mut steps: Vec<(f64, usize, usize)> = Vec::new();
        let (mut positives, mut negatives) = (0, 0);
        for one in sorted {
            positives += usize::from(one.positive);
            negatives += usize::from(!one.positive);
            match steps.last_mut() {
                // `==`, so that 0.0 and -0.0 are one step.
                Some(last) if last.0 == one.score => *last = (one.score, positives, negatives),
                _ => steps.push((one.score, positives, negatives)),
            }
        }
        Self { direction, steps }
    }

    fn totals(&self) -> (usize, usize) {
        self.steps.last().map_or((0, 0), |(_, positives, negatives)| (*positives, *negatives))
    }

    /// The area by trapezia: ties count half.
    pub fn roc_auc(&self) -> Option<f64> {
        let Curve { x, y } = self.roc()?;
        let points: Vec<(f64, f64)> = x.into_iter().zip(y).collect();
        Some(
            points
                .windows(2)
                .map(|pair| (pair[1].0 - pair[0].0) * (pair[1].1 + pair[0].1) / 2.0)
                .sum(),
        )
    }

    /// `sum((recall[n] - recall[n-1]) * precision[n])`.
    pub fn average_precision(&self) -> Option<f64> {
        let Curve { x: recall, y: precision } = self.precision_recall()?;
        let mut before = 0.0;
        let mut area = 0.0;
        for (recall, precision) in recall.into_iter().zip(precision) {
            area += (recall - before) * precision;
            before = recall;
        }
        Some(area)
    }

    /// False positive rate against true positive rate, from (0, 0) to (1, 1).
    pub fn roc(&self) -> Option<Curve> {
        let (positives, negatives) = self.totals();
        if positives == 0 || negatives == 0 {
            return None;
        }
        let mut curve = Curve { x: vec![0.0], y: vec![0.0] };
        for (_, hits, alarms) in &self.steps {
            curve.x.extend(ratio(*alarms, negatives));
            curve.y.extend(ratio(*hits, positives));
        }
        Some(curve)
    }

    /// Recall against precision.
    pub fn precision_recall(&self) -> Option<Curve> {
        let (positives, _) = self.totals();
        if positives == 0 {
            return None;
        }
        let mut curve = Curve::default();
        for (_, hits, alarms) in &self.steps {
            curve.x.extend(ratio(*hits, positives));
            curve.y.extend(ratio(*hits, hits + alarms));
        }
        Some(curve)
    }

    /// Scores at or beyond `threshold` are called positive.
    pub fn at(&self, threshold: f64, costs: [f64; 2]) -> Operating {
        let reached = self.steps.partition_point(|(score, ..)| match self.direction {
            Direction::Above => *score >= threshold,
            Direction::Below => *score <= threshold,
        });
        let (hits, alarms) =
            reached.checked_sub(1).map_or((0, 0), |at| (self.steps[at].1, self.steps[at].2));
        self.operating(threshold, hits, alarms, costs)
    }

    /// The step that `worth` values most; the strictest of equals.
    pub fn best(&self, costs: [f64; 2], worth: impl Fn(&Operating) -> f64) -> Option<Operating> {
        let mut best: Option<Operating> = None;
        for (score, hits, alarms) in &self.steps {
            let here = self.operating(*score, *hits, *alarms, costs);
            if best.is_none_or(|best| worth(&here) > worth(&best)) {
                best = Some(here);
            }
        }
        best
    }

    #[expect(clippy::cast_precision_loss, reason = "counts of rows")]
    fn operating(&self, threshold: f64, hits: usize, alarms: usize, costs: [f64; 2]) -> Operating {
        let (positives, negatives) = self.totals();
        let confusion = Confusion {
            true_positives: hits,
            false_positives: alarms,
            false_negatives: positives - hits,
            true_negatives: negatives - alarms,
        };
        Operating {
            threshold,
            confusion,
            accuracy: confusion.accuracy(),
            precision: confusion.precision(),
            recall: confusion.recall(),
            f1: confusion.f1(),
            cost: costs[0] * alarms as f64 + costs[1] * (positives - hits) as f64,
        }
    }
}

/// Mean of `-ln` of the probability given to the truth, kept `f64::EPSILON` away from 0 and 1.
fn log_loss(scored: &[Scored]) -> Option<f64> {
    let loss = |one: &Scored| {
        let p = one.score.clamp(f64::EPSILON, 1.0 - f64::EPSILON);
        -(if one.positive { p } else { 1.0 - p }).ln()
    };
    #[expect(clippy::cast_precision_loss, reason = "a count of rows")]
    let count = scored.len() as f64;
    (!scored.is_empty()).then(|| scored.iter().map(loss).sum::<f64>() / count)
}
