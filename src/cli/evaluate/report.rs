//! All that `andon evaluate` has to say; its JSON is what `--json` prints.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::truth::{Judged, Reading};
use crate::asset::AssetId;
use crate::evaluate::{
    Alarms, Answered, Binary, ClassFigures, Classes, Scored, Track, ValueFigures, alarms,
};
use crate::frame::Threshold;
use crate::model::{Card, OutputKind, OutputSettings};
use crate::rehearsal::Losses;
use crate::settings::Direction;
use crate::verdict::ModelIdentity;

#[derive(Clone, Debug, Serialize)]
pub(super) struct Report {
    pub(super) model: ModelIdentity,
    pub(super) task: String,
    pub(super) unit: Option<String>,
    pub(super) data: Data,
    pub(super) losses: Losses,
    /// Windows with an answer and a label.
    pub(super) windows: usize,
    /// Alert or not. For a `value`: whether the truth is beyond the alert's threshold too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) binary: Option<Binary>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) classes: Option<ClassReport>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) value: Option<ValueReport>,
    /// By the card's whole alert rule. Only where rows have times.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) alarms: Option<Alarms>,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct Data {
    pub(super) file: String,
    pub(super) label: String,
    pub(super) rows: usize,
    /// With a label.
    pub(super) assets: usize,
    /// Whether times are true, and not just the order of rows.
    pub(super) timed: bool,
    /// Columns of the file that nothing read.
    pub(super) unread: Vec<String>,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct ClassReport {
    #[serde(flatten)]
    pub(super) table: Classes,
    pub(super) accuracy: Option<f64>,
    pub(super) figures: Vec<ClassFigures>,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct ValueReport {
    pub(super) every_window: ValueFigures,
    /// The last window of each asset: the protocol of most papers on remaining life.
    pub(super) last_window: ValueFigures,
}

pub(super) struct Parts<'a> {
    pub(super) identity: ModelIdentity,
    pub(super) card: &'a Card,
    pub(super) threshold: Threshold,
    pub(super) data: Data,
    pub(super) losses: Losses,
    pub(super) judged: &'a [Judged],
    /// Labels say which class, not just whether something is wrong.
    pub(super) classes: bool,
    /// Of a false positive and of a false negative.
    pub(super) costs: [f64; 2],
    pub(super) horizon: Duration,
}

impl Report {
    pub(super) fn new(parts: Parts<'_>) -> anyhow::Result<Self> {
        let Parts { identity, card, threshold, data, losses, judged, costs, horizon, .. } = parts;
        if judged.is_empty() {
            anyhow::bail!(
                "no window has both an answer and a label: {} rows of {} assets; {}",
                data.rows,
                data.assets,
                why_not(losses),
            );
        }
        let positive = |truth| is_positive(truth, card, threshold);
        let scored: Vec<Scored> = judged
            .iter()
            .map(|one| Scored { score: one.score, positive: positive(one.truth) })
            .collect();
        let classes = (parts.classes && card.output.labels.len() > 2)
            .then(|| classes(&card.output.labels, judged));
        let probable =
            card.output.kind == OutputKind::Probability && threshold.direction == Direction::Above;
        Ok(Self {
            model: identity,
            task: card.task.clone(),
            unit: card.output.unit.clone(),
            losses,
            windows: judged.len(),
            binary: Binary::new(&scored, threshold.raise, threshold.direction, costs, probable),
            classes: classes.flatten(),
            value: values(judged),
            alarms: data.timed.then(|| alarms(&tracks(judged, positive), horizon)),
            data,
        })
    }
}

fn why_not(losses: Losses) -> String {
    let Losses { late, empty, stale, thin, unhealthy, failed } = losses;
    format!(
        "{late} readings late, {empty} windows empty, {stale} stale, {thin} thin, \
         {unhealthy} answers impossible, {failed} failed; are there as many rows as a window needs?"
    )
}

pub(super) fn is_positive(truth: Reading, card: &Card, threshold: Threshold) -> bool {
    match truth {
        Reading::Value(value) => threshold.is_reached(value),
        Reading::Class(class) => {
            let OutputSettings { labels, positive, .. } = &card.output;
            if positive.is_empty() {
                return class == 1;
            }
            labels.get(class).is_some_and(|label| positive.contains(label))
        }
    }
}

fn classes(labels: &[String], judged: &[Judged]) -> Option<ClassReport> {
    let mut table = Classes::new(labels);
    for one in judged {
        let answer = one.label.as_deref()?;
        let answer = labels.iter().position(|label| label == answer)?;
        if let Reading::Class(truth) = one.truth {
            table.count(truth, answer);
        }
    }
    let figures = (0..labels.len()).map(|class| table.figures(class)).collect();
    Some(ClassReport { accuracy: table.accuracy(), figures, table })
}

fn values(judged: &[Judged]) -> Option<ValueReport> {
    let answered = |one: &Judged| match one.truth {
        Reading::Value(truth) => Some(Answered { answer: one.score, truth }),
        Reading::Class(_) => None,
    };
    let every: Vec<Answered> = judged.iter().filter_map(answered).collect();
    // Windows of an asset stand in their order of time.
    let last: BTreeMap<AssetId, Answered> =
        judged.iter().filter_map(|one| Some((one.asset, answered(one)?))).collect();
    let last: Vec<Answered> = last.into_values().collect();
    Some(ValueReport {
        every_window: ValueFigures::new(&every)?,
        last_window: ValueFigures::new(&last)?,
    })
}

fn tracks(judged: &[Judged], positive: impl Fn(Reading) -> bool) -> Vec<Track> {
    let mut tracks: BTreeMap<AssetId, Track> = BTreeMap::new();
    for one in judged {
        let track = tracks.entry(one.asset).or_default();
        track.windows.push((one.end, positive(one.truth)));
        track.raises.extend(one.raised.then_some(one.end));
    }
    tracks.into_values().collect()
}
