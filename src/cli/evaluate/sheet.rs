//! The windows one by one, for the plots.

use std::collections::BTreeMap;

use super::report::is_positive;
use super::truth::{Judged, Reading};
use crate::asset::AssetId;
use crate::frame::Threshold;
use crate::model::{Card, OutputKind};

pub(super) struct Sheet {
    pub(super) threshold: Threshold,
    /// Scores lie from 0 to 1.
    pub(super) probable: bool,
    /// Whether times are true, and not just the order of rows.
    pub(super) timed: bool,
    /// Each asset's in order of time.
    pub(super) points: Vec<Point>,
}

pub(super) struct Point {
    pub(super) asset: String,
    pub(super) seconds: f64,
    pub(super) score: f64,
    pub(super) positive: bool,
    /// The truth, where it is a number.
    pub(super) value: Option<f64>,
}

impl Sheet {
    pub(super) fn new(
        judged: &[Judged],
        names: &BTreeMap<AssetId, String>,
        card: &Card,
        (threshold, timed): (Threshold, bool),
    ) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "a place on an axis")]
        let point = |one: &Judged| Point {
            asset: names.get(&one.asset).cloned().unwrap_or_default(),
            seconds: one.end.as_nanos() as f64 * 1e-9,
            score: one.score,
            positive: is_positive(one.truth, card, threshold),
            value: match one.truth {
                Reading::Value(value) => Some(value),
                Reading::Class(_) => None,
            },
        };
        let probable = card.output.kind == OutputKind::Probability;
        Self { threshold, probable, timed, points: judged.iter().map(point).collect() }
    }
}
