//! `andon explain`: why an alert was raised, from the buffer: each tag's part of the score, and its
//! course through the window.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use serde::Serialize;

use super::recorded;
use crate::alert::{AlertRecord, Cause};
use crate::config;
use crate::sample::Sample;
use crate::store::Archive;
use crate::tag::Registry;
use crate::time::Timestamp;
use crate::verdict::{Evidence, Explanation, ModelIdentity, Region};

/// Transitions that are looked through, the newest.
const EVENTS: usize = 50_000;
/// Width of the longest bar, and of a tag's course.
const BAR: usize = 24;
const COURSE: usize = 48;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The alert: its id or the id's beginning, as `andon history --json` and the messages have it;
    /// or ASSET/PREDICTION for the newest one of these.
    alert: String,
    /// The configuration: its `store.path` is read.
    #[arg(long, value_name = "FILE", default_value = "/etc/andon/andon.toml")]
    config: PathBuf,
    /// The buffer, instead of the configuration's. The daemon may be running.
    #[arg(long, value_name = "FILE")]
    buffer: Option<PathBuf>,
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Report {
    alert_id: String,
    asset: String,
    prediction: String,
    text: String,
    raised_at: Option<Timestamp>,
    score: f64,
    threshold: f64,
    window: Evidence,
    model: Option<ModelIdentity>,
    explanation: Explanation,
    /// Where in the picture it was worst, where the model tells.
    region: Option<Region>,
    /// What was written, where the model reads texts; its words then stand in `tags`.
    note: Option<String>,
    tags: Vec<Reason>,
}

#[derive(Debug, Serialize)]
struct Reason {
    tag: String,
    value: Option<f64>,
    share: f64,
    /// Within the window, as stored; a missing value is null.
    samples: Vec<(Timestamp, Option<f64>)>,
}

pub(super) fn main(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let path = match &arguments.buffer {
        Some(path) => path.clone(),
        None => {
            let loaded = config::load(&arguments.config, config::environment())
                .map_err(|wrong| anyhow::anyhow!("\n{wrong}"))?;
            loaded.settings.store.path
        }
    };
    let report = recorded::runtime()?.block_on(async {
        // A box with cameras alone has no samples.
        let (archive, registry) = recorded::open_archive(&path).await?;
        report(&archive, &registry, &arguments.alert).await
    })?;
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print!("{}", draw(&report));
    }
    Ok(ExitCode::SUCCESS)
}

async fn report(archive: &Archive, registry: &Registry, wanted: &str) -> anyhow::Result<Report> {
    let events = archive.alert_events(Timestamp::MIN, Timestamp::MAX, EVENTS).await?;
    let read = |event: &crate::store::AlertEvent| {
        let record: AlertRecord = serde_json::from_str(&event.state).ok()?;
        Some((event.cause.clone(), record))
    };
    let about = |record: &AlertRecord| {
        record.alert_id.starts_with(wanted)
            || wanted == format!("{}/{}", record.asset, record.prediction)
    };
    let mut found = events.iter().filter_map(read).filter(|(_, record)| about(record)).peekable();
    let (_, newest) = found.peek().with_context(|| {
        format!("no alert `{wanted}` in the history; give its id, or ASSET/PREDICTION")
    })?;
    let newest = newest.clone();
    // The window and score of the raise: a clear has written its own over them.
    let raise = found
        .filter(|(_, record)| record.alert_id == newest.alert_id)
        .find(|(cause, _)| *cause == Cause::Raised.as_str())
        .map_or_else(|| newest.clone(), |(_, record)| record);
    let mut tags = Vec::new();
    for reason in &newest.contributions {
        // A word that is written like a tag is none.
        let known = registry.lookup(&newest.asset, &reason.tag).filter(|_| newest.note.is_none());
        let samples = match known {
            Some(tag) => archive.read_tag(tag, raise.evidence.start, after(raise.evidence)).await?,
            None => Vec::new(),
        };
        let told = |sample: &Sample| (sample.time, Some(sample.value).filter(|v| v.is_finite()));
        tags.push(Reason {
            tag: reason.tag.clone(),
            value: reason.value,
            share: reason.share,
            samples: samples.iter().map(told).collect(),
        });
    }
    if raise.raised_at.is_none() {
        bail!("`{wanted}` was shelved and never raised: there is nothing to explain");
    }
    Ok(Report {
        alert_id: newest.alert_id,
        asset: newest.asset,
        prediction: newest.prediction,
        text: newest.text,
        raised_at: raise.raised_at,
        score: raise.score,
        threshold: raise.threshold,
        window: raise.evidence,
        model: newest.model.as_deref().cloned(),
        explanation: newest.explanation,
        region: newest.region,
        note: newest.note.map(|note| note.to_string()),
        tags,
    })
}

/// A count window's end is the time of its last row.
fn after(window: Evidence) -> Timestamp {
    window.end.saturating_add(std::time::Duration::from_nanos(1))
}

fn draw(report: &Report) -> String {
    let mut text = format!("{}\n", report.text);
    if let Some(raised) = report.raised_at {
        text += &format!("raised {raised}, alert {}\n", report.alert_id);
    }
    if let Some(model) = &report.model {
        text += &format!("model {} {} on {}\n", model.name, model.version, model.device);
    }
    let window = &report.window;
    text += &format!(
        "score {}, limit {}; window {} to {}, {} samples, {:.0} % measured\n",
        short(report.score),
        short(report.threshold),
        window.start,
        window.end,
        window.samples,
        window.coverage * 100.0
    );
    if let Some(note) = &report.note {
        text += &format!("“{note}”\n");
    }
    if let Some(region) = &report.region {
        let percent = |share: f32| share * 100.0;
        text += &format!(
            "worst at {region}, in a box of {:.0} by {:.0} % of the picture\n",
            percent(region.width),
            percent(region.height)
        );
    }
    text += match report.explanation {
        Explanation::Direct if report.tags.is_empty() => "",
        Explanation::Direct => "What each tag made of the score:\n",
        Explanation::Exact => "What each tag added to the score of ordinary windows (exact):\n",
        Explanation::Sampled => "What each tag added to the score of ordinary windows (sampled):\n",
        Explanation::Words => "What the score loses without each word:\n",
        Explanation::Pending => "The reasons are being worked out.\n",
        Explanation::Late => "The reasons could not be worked out in time.\n",
        Explanation::Failed => "The model could not answer what it takes to explain this.\n",
    };
    let longest = report.tags.iter().map(|reason| reason.share.abs()).fold(0.0, f64::max);
    let wide = report.tags.iter().map(|reason| reason.tag.chars().count()).max().unwrap_or(0);
    for reason in &report.tags {
        let value = reason.value.map_or_else(|| "-".to_owned(), short);
        text += &format!(
            "  {:wide$}  {:>10}  {:<BAR$} {:>+10.4}  {}\n",
            reason.tag,
            value,
            bar(reason.share, longest),
            reason.share,
            course(&reason.samples)
        );
    }
    text
}

/// Full for what pushed towards the alert, light for what held it back.
fn bar(share: f64, longest: f64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "a terminal's width")]
    let part = if longest > 0.0 { share.abs() / longest * BAR as f64 } else { 0.0 };
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to BAR")]
    let cells = part.round() as usize;
    if share < 0.0 { "░".repeat(cells) } else { "█".repeat(cells) }
}

/// A tag's course, low to high; a gap where values are missing.
fn course(samples: &[(Timestamp, Option<f64>)]) -> String {
    const STEPS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let values = || samples.iter().filter_map(|(_, value)| *value);
    let (low, high) = values().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
        (low.min(value), high.max(value))
    });
    let chunk = samples.len().div_ceil(COURSE).max(1);
    let step = |samples: &[(Timestamp, Option<f64>)]| {
        let known: Vec<f64> = samples.iter().filter_map(|(_, value)| *value).collect();
        if known.is_empty() {
            return ' ';
        }
        #[expect(clippy::cast_precision_loss, reason = "few samples")]
        let mean = known.iter().sum::<f64>() / known.len() as f64;
        let part = if high > low { (mean - low) / (high - low) } else { 0.5 };
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 7")]
        STEPS[(part * 7.0).round() as usize]
    };
    let line: String = samples.chunks(chunk).map(step).collect();
    if low > high { line } else { format!("{line} {} to {}", short(low), short(high)) }
}

fn short(number: f64) -> String {
    let text = format!("{number:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
