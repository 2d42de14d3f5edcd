//! Windows: the samples of one asset between two event times, for one prediction.
//!
//! A pure event-time algorithm. `lateness` and the order of arrival alone decide what a window
//! holds; `now` only decides when a window whose asset has fallen silent is let go.

use crate::asset::AssetId;
use crate::sample::Quality;
use crate::time::Timestamp;
use crate::verdict::PredictionId;

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
