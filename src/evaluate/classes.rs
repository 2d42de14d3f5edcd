//! Several classes: who is taken for whom.

use serde::Serialize;

use super::binary::Confusion;
use super::ratio;

/// Counts by true class (row) and answered class (column), in the order of `labels`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Classes {
    pub labels: Vec<String>,
    pub confusion: Vec<Vec<usize>>,
}

/// One class against all others.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ClassFigures {
    /// How many are truly of this class.
    pub support: usize,
    pub precision: Option<f64>,
    pub recall: Option<f64>,
    pub f1: Option<f64>,
}

impl Classes {
    pub fn new(labels: &[String]) -> Self {
        let confusion = vec![vec![0; labels.len()]; labels.len()];
        Self { labels: labels.to_vec(), confusion }
    }

    /// Both by their place in `labels`.
    pub fn count(&mut self, truth: usize, answer: usize) {
        self.confusion[truth][answer] += 1;
    }

    pub fn accuracy(&self) -> Option<f64> {
        let right = (0..self.labels.len()).map(|class| self.confusion[class][class]).sum();
        ratio(right, self.confusion.iter().flatten().sum())
    }

    pub fn figures(&self, class: usize) -> ClassFigures {
        let right = self.confusion[class][class];
        let support: usize = self.confusion[class].iter().sum();
        let answered: usize = self.confusion.iter().map(|row| row[class]).sum();
        let confusion = Confusion {
            true_positives: right,
            false_positives: answered - right,
            false_negatives: support - right,
            true_negatives: 0,
        };
        ClassFigures {
            support,
            precision: confusion.precision(),
            recall: confusion.recall(),
            f1: confusion.f1(),
        }
    }
}
