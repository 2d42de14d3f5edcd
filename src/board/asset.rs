//! One asset: its alerts, what is predicted of it, its last pictures, its tags now and in the last ten
//! minutes.

use std::time::Duration;

use maud::{Markup, html};

use super::alerts::Pictures;
use super::words::{Words, sign};
use super::{ago, alerts, number, snapshots};
use crate::api::shape::{AssetDetail, Judgement, Snapshot, Tag};
use crate::api::{self, Desk, Problem, history};
use crate::time::Timestamp;

/// Trends drawn on one page.
const TRENDS: usize = 24;
/// What the trends span, a little more than the script draws.
const SPAN: Duration = Duration::from_secs(660);
/// Transitions of all assets that are looked through for marks.
const EVENTS: usize = 200;

/// What the buffer adds to the page; without it the page is still one.
#[derive(Default)]
pub(super) struct Besides {
    marks: String,
    snapshots: Vec<Snapshot>,
    pictures: Pictures,
}

impl Besides {
    pub(super) async fn read(desk: &Desk, asset: &AssetDetail, now: Timestamp) -> Self {
        let name = &asset.asset.name;
        Self {
            marks: marks(desk, name, now).await.unwrap_or_default(),
            snapshots: api::snapshots(desk, name, snapshots::SHOWN).await.unwrap_or_default(),
            pictures: api::alert_snapshots(desk, &asset.active).await.unwrap_or_default(),
        }
    }
}

/// When alerts of the asset were raised lately, in event time: milliseconds, apart by commas.
async fn marks(desk: &Desk, name: &str, now: Timestamp) -> Result<String, Problem> {
    let events = history(desk, now.saturating_sub(SPAN), Timestamp::MAX, EVENTS).await?;
    let raised = events.iter().filter(|event| event.alert.asset == name && event.cause == "raised");
    let times = raised.filter_map(|event| Some(event.alert.raised_at?.as_millis().to_string()));
    Ok(times.collect::<Vec<_>>().join(","))
}

/// Where a rule on the tag raises its alert.
fn limit(asset: &AssetDetail, tag: &str) -> Option<f64> {
    let on_tag = |judge: &&Judgement| judge.model.is_none() && judge.tags.iter().any(|t| t == tag);
    asset.judges.iter().filter(on_tag).find_map(|judge| judge.raise)
}

/// The last windows of predictions and rules that read the tag: begin and end in milliseconds.
fn windows(asset: &AssetDetail, tag: &str) -> Option<String> {
    let on_tag = |judge: &&Judgement| judge.tags.iter().any(|t| t == tag);
    let windows: Vec<String> = asset.judges.iter().filter(on_tag).filter_map(window).collect();
    (!windows.is_empty()).then(|| windows.join(","))
}

/// Nothing for a verdict on a single reading.
fn window(judge: &Judgement) -> Option<String> {
    let (from, at) = judge.from.zip(judge.at).filter(|(from, at)| from < at)?;
    Some(format!("{}:{}", from.as_millis(), at.as_millis()))
}

pub(super) fn render(
    asset: &AssetDetail,
    besides: &Besides,
    words: &Words,
    now: Timestamp,
) -> Markup {
    let Besides { marks, snapshots: last, pictures } = besides;
    let (class, shape) = sign(asset.asset.state);
    html! {
        h1 class=(class) {
            span.shape aria-hidden="true" { (shape) } " " (asset.asset.name) " – " (words.state(asset.asset.state))
        }
        (alerts::render(&asset.active, pictures, words, now))
        h2 { (words.judges) }
        table {
            thead { tr { th { (words.what) } th { (words.model) } th { (words.score) } th { (words.limit) } th { (words.age) } } }
            tbody { @for judge in &asset.judges { (judgement(judge, words, now)) } }
        }
        (snapshots::render(last, words, now))
        h2 { (words.trends) }
        (legend(words))
        div.trends {
            @for judge in asset.judges.iter().filter(|judge| judge.model.is_some()) {
                (course(judge, marks, words))
            }
            @for reading in asset.readings.iter().take(TRENDS) {
                figure data-trend-asset=(reading.asset) data-trend-tag=(reading.tag)
                    data-marks=(marks) data-limit=[limit(asset, &reading.tag)]
                    data-windows=[windows(asset, &reading.tag)] {
                    figcaption {
                        strong { (reading.tag) } " "
                        span { (value(reading, words)) }
                    }
                    svg role="img" aria-label=(reading.tag) viewBox="0 0 600 120" preserveAspectRatio="none" {}
                }
            }
        }
        h2 { (words.tag) }
        table {
            thead { tr { th { (words.tag) } th { (words.value) } th { (words.quality) } th { (words.age) } } }
            tbody {
                @for reading in &asset.readings {
                    tr class=(reading.quality) {
                        th scope="row" { (reading.tag) }
                        td { (value(reading, words)) }
                        td { (reading.quality) }
                        td { (format!("{:.0} s", reading.age)) }
                    }
                }
            }
        }
    }
}

/// What the shapes in the trends mean.
fn legend(words: &Words) -> Markup {
    let keys = [
        ("window", words.window),
        ("limit", words.limit),
        ("mark", words.alert_began),
        ("uncertain", words.uncertain),
        ("gap", words.gap),
    ];
    html! {
        ul.legend { @for (key, word) in keys { li { span class={"key " (key)} aria-hidden="true" {} (word) } } }
    }
}

/// A model's score; the script draws its course since the page was opened.
fn course(judge: &Judgement, marks: &str, words: &Words) -> Markup {
    let (Some(score), Some(at)) = (judge.score, judge.at) else { return html! {} };
    html! {
        figure data-score-of=(judge.name) data-score=(score) data-score-at=(at.as_millis())
            data-marks=(marks) data-limit=[judge.raise] data-windows=[window(judge)] {
            figcaption {
                strong { (judge.name) ": " (words.score) } " "
                span { (number(score)) }
            }
            svg role="img" aria-label=(judge.name) viewBox="0 0 600 120" preserveAspectRatio="none" {}
        }
    }
}

fn value(reading: &Tag, words: &Words) -> String {
    let unit = reading.unit.as_deref().unwrap_or_default();
    match reading.value {
        Some(value) => format!("{} {unit}", number(value)),
        None => words.missing.to_owned(),
    }
}

fn judgement(judge: &Judgement, words: &Words, now: Timestamp) -> Markup {
    let sign = if judge.bad == "below" { "<" } else { ">" };
    html! {
        tr {
            th scope="row" { (judge.name) }
            td {
                (judge.model.as_deref().unwrap_or(words.rule))
                @if let Some(device) = &judge.device { " · " (device) }
            }
            td {
                @if let Some(score) = judge.score { (number(score)) } @else { "–" }
                @if let Some(label) = &judge.label { " " (label) }
            }
            td { @if let Some(raise) = judge.raise { (sign) " " (number(raise)) } @else { "–" } }
            td { @if let Some(at) = judge.at { (ago(at, now)) } @else { "–" } }
        }
    }
}
