//! Numbers: how far the answers lie from the truth.

use serde::Serialize;

/// One answer and its truth, in the same unit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Answered {
    pub answer: f64,
    pub truth: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ValueFigures {
    pub windows: usize,
    pub rmse: f64,
    pub mae: f64,
    /// Mean of answer less truth: above 0 when the model is too hopeful.
    pub bias: f64,
    /// Share of the variance that is explained; absent when all truths are the same.
    pub r2: Option<f64>,
    /// Sum of `exp(-d/13) - 1` for early and `exp(d/10) - 1` for late answers, where `d` is answer
    /// less truth (Saxena et al. 2008): it means something for remaining life only.
    pub cmapss: f64,
}

impl ValueFigures {
    /// Nothing without answers.
    pub fn new(answered: &[Answered]) -> Option<Self> {
        if answered.is_empty() {
            return None;
        }
        #[expect(clippy::cast_precision_loss, reason = "a count of rows")]
        let count = answered.len() as f64;
        let errors = || answered.iter().map(|one| one.answer - one.truth);
        let squares: f64 = errors().map(|d| d * d).sum();
        let mean = answered.iter().map(|one| one.truth).sum::<f64>() / count;
        let variance: f64 = answered.iter().map(|one| (one.truth - mean).powi(2)).sum();
        Some(Self {
            windows: answered.len(),
            rmse: (squares / count).sqrt(),
            mae: errors().map(f64::abs).sum::<f64>() / count,
            bias: errors().sum::<f64>() / count,
            r2: (variance > 0.0).then(|| 1.0 - squares / variance),
            cmapss: errors().map(|d| (if d < 0.0 { -d / 13.0 } else { d / 10.0 }).exp_m1()).sum(),
        })
    }
}
