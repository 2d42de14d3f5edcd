//! The label column: what it says, and which window it judges.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::asset::AssetId;
use crate::model::{OutputKind, OutputSettings};
use crate::rehearsal::Told;
use crate::settings::{Extent, WindowSettings};
use crate::time::Timestamp;

/// One label as read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Reading {
    /// A class by its place in the card's labels; 0 and 1 where the card names none.
    Class(usize),
    Value(f64),
}

/// How the card's output says that labels are to be read.
pub(super) struct Labels {
    value: bool,
    names: Vec<String>,
}

impl Labels {
    pub(super) fn new(output: &OutputSettings) -> Self {
        Self { value: output.kind == OutputKind::Value, names: output.labels.clone() }
    }

    /// Whether `text` can only mean one of several classes, and not just that something is wrong.
    pub(super) fn tells_class(&self, text: &str) -> bool {
        self.names.iter().any(|name| name == text)
            || matches!(self.read(text), Ok(Reading::Class(class)) if class > 1)
    }

    /// A problem in words when `text` is no label.
    pub(super) fn read(&self, text: &str) -> Result<Reading, String> {
        if self.value {
            let value: Option<f64> = text.parse().ok().filter(|value: &f64| value.is_finite());
            return value.map(Reading::Value).ok_or_else(|| "no number".into());
        }
        if let Some(class) = self.names.iter().position(|name| name == text) {
            return Ok(Reading::Class(class));
        }
        let number = match text.to_ascii_lowercase().as_str() {
            "true" => Some(1),
            "false" => Some(0),
            _ => text.strip_suffix(".0").unwrap_or(text).parse().ok(),
        };
        let classes = self.names.len().max(2);
        number.filter(|class| *class < classes).map(Reading::Class).ok_or_else(|| {
            if self.names.is_empty() {
                "no label; write 0 or 1".into()
            } else {
                format!("no label of the card; it has {}", self.names.join(", "))
            }
        })
    }
}

/// A window that was answered and has a label.
#[derive(Clone, Debug)]
pub(super) struct Judged {
    pub(super) asset: AssetId,
    pub(super) end: Timestamp,
    pub(super) score: f64,
    pub(super) label: Option<Arc<str>>,
    pub(super) raised: bool,
    pub(super) truth: Reading,
}

/// The rows of each asset by time, each with its label, if it has one.
#[derive(Default)]
pub(super) struct Truths(BTreeMap<AssetId, Vec<(Timestamp, Option<Reading>)>>);

impl Truths {
    pub(super) fn add(&mut self, asset: AssetId, time: Timestamp, truth: Option<Reading>) {
        self.0.entry(asset).or_default().push((time, truth));
    }

    /// Assets with a label.
    pub(super) fn assets(&self) -> usize {
        self.0.values().filter(|rows| rows.iter().any(|(_, truth)| truth.is_some())).count()
    }

    pub(super) fn sort(&mut self) {
        self.0.values_mut().for_each(|rows| rows.sort_by_key(|(time, _)| *time));
    }

    /// A window has the label of its last row; where several rows have that time, the last one that
    /// they have. Call [`Truths::sort`] first.
    pub(super) fn judge(&self, told: &[Told], window: &WindowSettings) -> Vec<Judged> {
        // The end of a time window is not inside it; its start is where the label must lie at least.
        let (inclusive, reach) = match window.length {
            Some(Extent::Time(length)) => (false, Some(length)),
            _ => (true, None),
        };
        let judged = |told: &Told| {
            let rows = self.0.get(&told.asset)?;
            let until = rows
                .partition_point(|(time, _)| *time < told.end || (inclusive && *time == told.end));
            let (time, _) = rows[..until].last()?;
            let at_once = rows[..until].iter().rev().take_while(|(other, _)| other == time);
            let truth = at_once.filter_map(|(_, truth)| *truth).next()?;
            let inside =
                reach.map_or(*time == told.end, |reach| *time >= told.end.saturating_sub(reach));
            inside.then(|| Judged {
                asset: told.asset,
                end: told.end,
                score: told.score,
                label: told.label.clone(),
                raised: told.raised,
                truth,
            })
        };
        told.iter().filter_map(judged).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(kind: OutputKind, names: &[&str]) -> Labels {
        Labels {
            value: kind == OutputKind::Value,
            names: names.iter().map(ToString::to_string).collect(),
        }
    }

    #[test]
    fn labels_are_names_or_numbers_and_nothing_else() {
        let named = labels(OutputKind::Probability, &["ok", "reject"]);
        assert_eq!(named.read("reject"), Ok(Reading::Class(1)));
        assert_eq!(named.read("1.0"), Ok(Reading::Class(1)));
        assert_eq!(named.read("False"), Ok(Reading::Class(0)));
        assert_eq!(named.read("scrap"), Err("no label of the card; it has ok, reject".into()));
        assert!(named.read("2").is_err());
        let unnamed = labels(OutputKind::Reconstruction, &[]);
        assert_eq!(unnamed.read("1"), Ok(Reading::Class(1)));
        assert!(unnamed.read("-1").is_err());
        let value = labels(OutputKind::Value, &[]);
        assert_eq!(value.read("112.5"), Ok(Reading::Value(112.5)));
        assert!(value.read("NaN").is_err());
    }

    #[test]
    fn a_window_has_the_label_of_its_last_row() {
        let at = Timestamp::from_secs;
        let mut truths = Truths::default();
        for second in [2, 0, 1] {
            let class = usize::try_from(second).unwrap();
            truths.add(AssetId(0), at(second), Some(Reading::Class(class)));
        }
        for (truth, second) in [(None, 3), (None, 2), (None, 5)] {
            truths.add(AssetId(0), at(second), truth);
        }
        truths.sort();
        let told =
            |end| Told { asset: AssetId(0), end: at(end), score: 0.0, label: None, raised: false };
        let judged = |end, length| {
            let window = WindowSettings { length: Some(length), ..WindowSettings::default() };
            truths.judge(&[told(end)], &window).first().map(|judged| judged.truth)
        };
        let span = |seconds| Extent::Time(std::time::Duration::from_secs(seconds));
        assert_eq!(judged(1, Extent::Rows(2)), Some(Reading::Class(1)));
        assert_eq!(judged(2, span(2)), Some(Reading::Class(1)));
        assert_eq!(judged(3, span(2)), Some(Reading::Class(2)), "two rows at once, one label");
        assert_eq!(judged(4, span(2)), None, "its last row has no label");
        assert_eq!(judged(9, span(2)), None);
        assert_eq!(judged(9, Extent::Rows(1)), None);
    }
}
