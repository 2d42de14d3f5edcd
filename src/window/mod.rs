//! Windows: the samples of one asset between two event times, for one prediction.
//!
//! A pure event-time algorithm. `lateness` and the order of arrival alone decide what a window
//! holds; `now` only decides when a window whose asset has fallen silent is let go.
//!
//! A time window `[end - length, end)` closes when a sample at or after `end + lateness` has
//! come. Ends are multiples of `hop` since the epoch, so a restart finds the same windows. A
//! count window closes with its last row: when every tag has its value for that event time, or
//! a later row has begun.

mod count;
mod span;
#[cfg(test)]
mod tests;
mod windower;

use crate::asset::AssetId;
use crate::sample::Quality;
use crate::time::Timestamp;
use crate::verdict::PredictionId;

pub use self::windower::{Mark, WindowSpec, Windower};

/// One sample inside a window. `value` is NaN exactly when `quality` is bad.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    pub time: Timestamp,
    pub value: f64,
    pub quality: Quality,
}

/// A closed window.
#[derive(Clone, Debug, PartialEq)]
pub struct Window {
    pub prediction: PredictionId,
    pub asset: AssetId,
    pub start: Timestamp,
    /// Exclusive for time windows; the time of the last row for count windows.
    pub end: Timestamp,
    /// One column a model tag, in the model's order; each in time order, times distinct.
    /// Time windows also bring the last point before `start`, where there is one, so that
    /// gaps at the beginning can be filled.
    pub columns: Vec<Vec<Point>>,
    /// Count windows: the distinct event times, oldest first. Empty for time windows.
    pub rows: Vec<Timestamp>,
    /// When the newest sample arrived.
    pub arrived: Timestamp,
}

/// What became of a sample.
#[must_use = "late samples are counted"]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// No prediction reads this tag.
    Unwatched,
    Accepted,
    /// Same tag and time as before; the newer value stands.
    Replaced,
    /// Every window it belongs to has closed.
    Late,
}

impl Admission {
    /// Several predictions may read a tag; the sample is late only if it was for all of them.
    fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::Accepted, _) | (_, Self::Accepted) => Self::Accepted,
            (Self::Replaced, _) | (_, Self::Replaced) => Self::Replaced,
            (Self::Late, _) | (_, Self::Late) => Self::Late,
            (Self::Unwatched, Self::Unwatched) => Self::Unwatched,
        }
    }
}

/// A tag's points in time order.
#[derive(Clone, Debug, Default)]
struct Column(std::collections::VecDeque<Point>);

impl Column {
    /// Puts `point` in its place; `false` if it replaced one of the same time.
    fn insert(&mut self, point: Point) -> bool {
        match self.0.back() {
            Some(last) if last.time >= point.time => {
                let at = self.0.partition_point(|other| other.time < point.time);
                if let Some(same) = self.0.get_mut(at).filter(|same| same.time == point.time) {
                    *same = point;
                    return false;
                }
                self.0.insert(at, point);
            }
            _ => self.0.push_back(point),
        }
        true
    }

    /// Copies the points of `[from, to)`, and before them the last one before `from` if `lead`.
    fn slice(&self, from: Timestamp, to: Timestamp, lead: bool) -> Vec<Point> {
        let first = self.0.partition_point(|point| point.time < from);
        let end = self.0.partition_point(|point| point.time < to);
        let first = if lead { first.saturating_sub(1) } else { first };
        self.0.range(first.min(end)..end).copied().collect()
    }

    /// Forgets what lies before `from`, but for the last such point if `lead`.
    fn forget_before(&mut self, from: Timestamp, lead: bool) {
        let first = self.0.partition_point(|point| point.time < from);
        self.0.drain(..if lead { first.saturating_sub(1) } else { first });
    }
}
