//! How often a model was right, and in which way it was not.

use serde::{Deserialize, Serialize};

/// What a labelled verdict was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Cell {
    TruePositive,
    FalsePositive,
    TrueNegative,
    FalseNegative,
}

impl Cell {
    pub const fn of(said_bad: bool, was_bad: bool) -> Self {
        match (said_bad, was_bad) {
            (true, true) => Self::TruePositive,
            (true, false) => Self::FalsePositive,
            (false, false) => Self::TrueNegative,
            (false, true) => Self::FalseNegative,
        }
    }

    pub const fn was_bad(self) -> bool {
        matches!(self, Self::TruePositive | Self::FalseNegative)
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TruePositive => "true_positive",
            Self::FalsePositive => "false_positive",
            Self::TrueNegative => "true_negative",
            Self::FalseNegative => "false_negative",
        }
    }
}

/// Labelled verdicts by what they were; "positive" is "bad".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Confusion {
    pub true_positives: u64,
    pub false_positives: u64,
    pub true_negatives: u64,
    pub false_negatives: u64,
}

impl Confusion {
    pub(super) fn add(&mut self, cell: Cell) {
        *self.cell(cell) += 1;
    }

    pub(super) fn take(&mut self, cell: Cell) {
        let count = self.cell(cell);
        *count = count.saturating_sub(1);
    }

    fn cell(&mut self, cell: Cell) -> &mut u64 {
        match cell {
            Cell::TruePositive => &mut self.true_positives,
            Cell::FalsePositive => &mut self.false_positives,
            Cell::TrueNegative => &mut self.true_negatives,
            Cell::FalseNegative => &mut self.false_negatives,
        }
    }

    pub const fn total(&self) -> u64 {
        self.true_positives + self.false_positives + self.true_negatives + self.false_negatives
    }

    /// Of the verdicts that said "bad", the share that was. Nothing where none did.
    pub fn precision(&self) -> Option<f64> {
        share(self.true_positives, self.true_positives + self.false_positives)
    }

    /// Of what was bad, the share that was said to be. Nothing where nothing was.
    pub fn recall(&self) -> Option<f64> {
        share(self.true_positives, self.true_positives + self.false_negatives)
    }

    /// The harmonic mean of both: `2 TP / (2 TP + FP + FN)`.
    pub fn f1(&self) -> Option<f64> {
        let twice = 2 * self.true_positives;
        share(twice, twice + self.false_positives + self.false_negatives)
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts of labels")]
fn share(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_those_of_the_textbook_and_nothing_is_divided_by_nothing() {
        let none = Confusion::default();
        assert_eq!((none.precision(), none.recall(), none.f1()), (None, None, None));
        let some = Confusion {
            true_positives: 6,
            false_positives: 2,
            true_negatives: 90,
            false_negatives: 4,
        };
        assert_eq!((some.total(), some.precision(), some.recall()), (102, Some(0.75), Some(0.6)));
        let f1 = some.f1().expect("there are bad ones");
        assert!((f1 - 2.0 * 0.75 * 0.6 / 1.35).abs() < 1e-12, "{f1}");
    }
}
