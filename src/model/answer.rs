//! From a model's numbers to a score, and whether it can be believed.

use std::sync::Arc;

use super::card::{OutputKind, OutputSettings};

/// What the model says about one frame.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// Finite, and within the card's range.
    pub score: f64,
    pub label: Option<Arc<str>>,
}

/// An answer that cannot be: it is suppressed and counted, never turned into a verdict.
#[must_use = "an answer that is suppressed is counted"]
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Unhealthy {
    #[error("the model answered {0}")]
    NotFinite(f64),
    #[error("the model answered {score}, outside {low} to {high}")]
    OutOfRange { score: f64, low: f64, high: f64 },
    #[error("the model answered class {0}, which has no label")]
    UnknownClass(f64),
    #[error("expected {expected} numbers from the model, got {got}")]
    WrongWidth { expected: usize, got: usize },
}

/// Reads answers as the card says.
#[derive(Clone, Debug)]
pub(super) struct Judge {
    kind: OutputKind,
    pub(super) labels: Vec<Arc<str>>,
    /// Places in `labels`, at least one.
    positive: Vec<usize>,
    column: usize,
    range: [f64; 2],
}

/// Rounding may take a probability this far out of its range.
const SLACK: f64 = 1e-6;

impl Judge {
    pub(super) fn new(output: &OutputSettings) -> Self {
        let everything = [f64::NEG_INFINITY, f64::INFINITY];
        let range = match output.kind {
            OutputKind::Probability => [0.0, 1.0],
            _ => output.range.unwrap_or(everything),
        };
        Self {
            kind: output.kind,
            labels: output.labels.iter().map(|label| Arc::from(label.as_str())).collect(),
            positive: positives(output),
            column: output.column.unwrap_or(0),
            range,
        }
    }

    pub(super) fn position(&self, label: &str) -> Option<usize> {
        self.labels.iter().position(|known| known.as_ref() == label)
    }

    /// NaN for a label that the card does not know, so that the answer is suppressed.
    #[expect(clippy::cast_precision_loss, reason = "a count of classes")]
    pub(super) fn column_of(&self, label: &str) -> f64 {
        self.position(label).map_or(f64::NAN, |column| column as f64)
    }

    /// `row` is what came out for one item, `input` what went in.
    pub(super) fn answer(&self, row: &[f64], input: &[f32]) -> Result<Answer, Unhealthy> {
        let (score, label) = match self.kind {
            OutputKind::Value => (self.pick(row, self.column)?, None),
            OutputKind::Probability if row.len() == 1 => (row[0], None),
            OutputKind::Probability => {
                let all = self.positive.iter().map(|column| self.pick(row, *column));
                let score = all.sum::<Result<f64, _>>()?;
                (score, self.labels.get(self.told(row, score)?).cloned())
            }
            OutputKind::Class => {
                let class = if row.len() == 1 { index(row[0])? } else { highest(row)? };
                #[expect(clippy::cast_precision_loss, reason = "a count of classes")]
                let label = self.labels.get(class).ok_or(Unhealthy::UnknownClass(class as f64))?;
                (f64::from(u8::from(self.positive.contains(&class))), Some(Arc::clone(label)))
            }
            OutputKind::Reconstruction => (mean_squared_error(row, input)?, None),
        };
        if !score.is_finite() {
            return Err(Unhealthy::NotFinite(score));
        }
        let [low, high] = self.range;
        if score < low - SLACK || score > high + SLACK {
            return Err(Unhealthy::OutOfRange { score, low, high });
        }
        Ok(Answer { score: score.clamp(low, high), label })
    }

    /// The highest column; once the positive ones together are more likely than not, the highest of them.
    fn told(&self, row: &[f64], score: f64) -> Result<usize, Unhealthy> {
        let best = highest(row)?;
        if score <= 0.5 || self.positive.contains(&best) {
            return Ok(best);
        }
        let above = |a: usize, b: usize| if row[b] > row[a] { b } else { a };
        Ok(self.positive.iter().copied().reduce(above).unwrap_or(best))
    }

    fn pick(&self, row: &[f64], column: usize) -> Result<f64, Unhealthy> {
        let expected = self.labels.len().max(column + 1);
        row.get(column).copied().ok_or(Unhealthy::WrongWidth { expected, got: row.len() })
    }
}

fn positives(output: &OutputSettings) -> Vec<usize> {
    let place = |label: &String| output.labels.iter().position(|known| known == label);
    let places: Vec<usize> = output.positive.iter().filter_map(place).collect();
    if places.is_empty() { vec![0] } else { places }
}

fn highest(row: &[f64]) -> Result<usize, Unhealthy> {
    if let Some(wrong) = row.iter().find(|value| value.is_nan()) {
        return Err(Unhealthy::NotFinite(*wrong));
    }
    let mut best = 0;
    for (at, value) in row.iter().enumerate() {
        if *value > row[best] {
            best = at;
        }
    }
    Ok(best)
}

fn index(class: f64) -> Result<usize, Unhealthy> {
    if class >= 0.0 && class < f64::from(u32::MAX) && class.fract() == 0.0 {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked")]
        return Ok(class as usize);
    }
    Err(Unhealthy::UnknownClass(class))
}

fn mean_squared_error(row: &[f64], input: &[f32]) -> Result<f64, Unhealthy> {
    if row.len() != input.len() || row.is_empty() {
        return Err(Unhealthy::WrongWidth { expected: input.len(), got: row.len() });
    }
    let sum: f64 =
        row.iter().zip(input).map(|(out, value)| (out - f64::from(*value)).powi(2)).sum();
    #[expect(clippy::cast_precision_loss, reason = "a count of cells")]
    let count = row.len() as f64;
    Ok(sum / count)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(kind: OutputKind, labels: &[&str], positive: &[&str]) -> Judge {
        Judge::new(&OutputSettings {
            tensor: "y".into(),
            kind,
            labels: labels.iter().map(ToString::to_string).collect(),
            positive: positive.iter().map(ToString::to_string).collect(),
            unit: None,
            column: None,
            map: None,
            range: None,
        })
    }

    #[test]
    fn a_probability_is_that_of_the_positive_label() {
        let judge = judge(OutputKind::Probability, &["ok", "wear", "crack"], &["wear"]);
        let answer = judge.answer(&[0.1, 0.3, 0.6], &[]).unwrap();
        assert_eq!((answer.score, answer.label.as_deref()), (0.3, Some("crack")));
    }

    #[test]
    fn several_positive_labels_add_up_and_the_likeliest_of_them_is_told() {
        let judge = judge(OutputKind::Probability, &["ok", "wear", "crack"], &["wear", "crack"]);
        let told = |row: [f64; 3]| {
            let answer = judge.answer(&row, &[]).unwrap();
            (answer.score, answer.label.unwrap().to_string())
        };
        assert_eq!(told([0.5, 0.25, 0.25]), (0.5, "ok".into()));
        assert_eq!(told([0.375, 0.25, 0.375]), (0.625, "crack".into()));
        assert_eq!(told([0.0, 0.75, 0.25]), (1.0, "wear".into()));
        assert!(matches!(judge.answer(&[0.5], &[]).map(|a| a.label), Ok(None)));
        let short = judge.answer(&[0.5, 0.5], &[]);
        assert!(matches!(short, Err(Unhealthy::WrongWidth { expected: 3, got: 2 })), "{short:?}");
    }

    #[test]
    fn nan_infinity_and_impossible_probabilities_are_suppressed() {
        let probability = judge(OutputKind::Probability, &[], &[]);
        assert!(matches!(probability.answer(&[f64::NAN], &[]), Err(Unhealthy::NotFinite(_))));
        assert!(matches!(probability.answer(&[1.5], &[]), Err(Unhealthy::OutOfRange { .. })));
        assert_eq!(probability.answer(&[1.000_000_1], &[]).unwrap().score, 1.0);
        let value = judge(OutputKind::Value, &[], &[]);
        assert!(matches!(value.answer(&[f64::INFINITY], &[]), Err(Unhealthy::NotFinite(_))));
    }

    #[test]
    fn a_class_scores_one_when_it_is_the_positive_one() {
        let judge = judge(OutputKind::Class, &["ok", "bad"], &["bad"]);
        assert_eq!(judge.answer(&[1.0], &[]).unwrap().score, 1.0);
        assert_eq!(judge.answer(&[0.9, 0.1], &[]).unwrap().score, 0.0);
        assert!(matches!(judge.answer(&[7.0], &[]), Err(Unhealthy::UnknownClass(_))));
        assert!(matches!(judge.answer(&[-1.0], &[]), Err(Unhealthy::UnknownClass(_))));
    }

    #[test]
    fn a_reconstruction_scores_its_mean_squared_error() {
        let judge = judge(OutputKind::Reconstruction, &[], &[]);
        assert_eq!(judge.answer(&[1.0, 4.0], &[1.0, 2.0]).unwrap().score, 2.0);
        assert!(matches!(judge.answer(&[1.0], &[1.0, 2.0]), Err(Unhealthy::WrongWidth { .. })));
    }
}
