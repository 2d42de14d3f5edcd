//! How good a model is: figures from scores and truths.
//!
//! Pure arithmetic with the definitions of scikit-learn, which `docs/evaluate.md` lists; the
//! golden figures in `tests/data/evaluate` come from it.

mod alarms;
mod binary;
mod classes;
mod compare;
mod value;

pub use self::alarms::{Alarms, Track, alarms};
pub use self::binary::{Binary, Confusion, Curve, Operating, Ranking, Scored};
pub use self::classes::{ClassFigures, Classes};
pub use self::compare::{Comparison, Spell, compare, false_alarms};
pub use self::value::{Answered, ValueFigures};

#[expect(clippy::cast_precision_loss, reason = "counts of rows")]
pub(crate) fn ratio(part: usize, whole: usize) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

#[cfg(test)]
mod tests;
