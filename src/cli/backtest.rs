//! `andon backtest`: what another configuration or model would have said of the box's last days,
//! beside what was said.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use serde::Serialize;

use super::recorded::{self, Configured, Stretch};
use super::{client, evaluate};
use crate::alert::{AlertRecord, Cause, Transition};
use crate::evaluate::{Comparison, Spell, compare, false_alarms};
use crate::replay::Replay;
use crate::settings::Settings;
use crate::store::Archive;
use crate::table::{Columns, Table};
use crate::time::Timestamp;

/// Transitions that the history keeps at most.
const EVENTS: usize = 50_000;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The new configuration.
    #[arg(long, value_name = "FILE", default_value = "/etc/andon/andon.toml")]
    config: PathBuf,
    /// A model instead of the one of the same name: its version folder. Only the predictions that
    /// use it are compared.
    #[arg(long, value_name = "DIR")]
    model: Option<PathBuf>,
    /// The old configuration, replayed as well. Default: what the box said, from its history.
    #[arg(long, value_name = "FILE")]
    old: Option<PathBuf>,
    #[command(flatten)]
    stretch: Stretch,
    /// What really happened, CSV with the columns `asset` and `time`: tells false alarms.
    #[arg(long, value_name = "FILE.csv")]
    truth: Option<PathBuf>,
    /// An alert this long before what happened still announces it.
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration, default_value = "1h")]
    horizon: Duration,
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Report {
    from: Timestamp,
    to: Timestamp,
    days: f64,
    predictions: BTreeMap<String, Line>,
}

#[derive(Debug, Serialize)]
struct Line {
    #[serde(flatten)]
    comparison: Comparison,
    old_a_day: f64,
    new_a_day: f64,
    /// Absent without `--truth`.
    false_alarms: Option<FalseAlarms>,
}

#[derive(Debug, Serialize)]
struct FalseAlarms {
    old_a_day: f64,
    new_a_day: f64,
}

pub(super) fn main(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let report = recorded::runtime()?.block_on(backtest(arguments))?;
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print(&report);
    }
    Ok(ExitCode::SUCCESS)
}

async fn backtest(arguments: &Arguments) -> anyhow::Result<Report> {
    let new = recorded::configured(&arguments.config, |settings| match &arguments.model {
        Some(folder) => only_with(settings, folder),
        None => Ok(()),
    })?;
    let judges: Vec<String> = names(&new.settings);
    let path = arguments.stretch.buffer.as_ref().unwrap_or(&new.settings.store.path).clone();
    let (archive, _, extent) = recorded::open_buffer(&path).await?;
    let (from, to) = arguments.stretch.within(extent)?;
    let (old, old_judges) = match &arguments.old {
        Some(file) => {
            let old = recorded::configured(file, |_| Ok(()))?;
            let judges = names(&old.settings);
            (replayed(&path, old, (from, to)).await?, judges)
        }
        None => (history(&archive, from, to).await?, Vec::new()),
    };
    let is_asked = |spell: &Spell| arguments.model.is_none() || judges.contains(&spell.prediction);
    let old: Vec<Spell> = old.into_iter().filter(is_asked).collect();
    let mut found = compare(old, replayed(&path, new, (from, to)).await?);
    for name in judges.iter().chain(old_judges.iter().filter(|_| arguments.model.is_none())) {
        found.entry(name.clone()).or_default();
    }
    let truth = arguments.truth.as_deref().map(events).transpose()?;
    #[expect(clippy::cast_precision_loss, reason = "counts of alerts")]
    let line = |comparison: Comparison, days: f64| {
        let a_day = |count: usize| count as f64 / days;
        let false_alarms = truth.as_ref().map(|events| {
            let matched = &comparison.matched;
            let old = comparison.only_old.iter().chain(matched.iter().map(|(old, _)| old));
            let new = comparison.only_new.iter().chain(matched.iter().map(|(_, new)| new));
            FalseAlarms {
                old_a_day: a_day(false_alarms(old, events, arguments.horizon)),
                new_a_day: a_day(false_alarms(new, events, arguments.horizon)),
            }
        });
        Line {
            old_a_day: a_day(comparison.old),
            new_a_day: a_day(comparison.new),
            false_alarms,
            comparison,
        }
    };
    let days = to.since(from).as_secs_f64() / 86_400.0;
    let predictions =
        found.into_iter().map(|(name, comparison)| (name, line(comparison, days))).collect();
    Ok(Report { from, to, days, predictions })
}

/// Leaves the predictions that use the model of the same name, with the one in `folder`.
fn only_with(settings: &mut Settings, folder: &std::path::Path) -> anyhow::Result<()> {
    let (models, reference) = evaluate::place(folder)?;
    let name = |reference: &str| reference.split('/').next().unwrap_or_default().to_owned();
    let wanted = name(&reference);
    settings.prediction.retain(|prediction| name(&prediction.model) == wanted);
    if settings.prediction.is_empty() {
        bail!("--model: no prediction of the configuration uses a model `{wanted}`");
    }
    for prediction in &mut settings.prediction {
        prediction.model.clone_from(&reference);
    }
    settings.rule.clear();
    settings.runtime.models = models;
    Ok(())
}

fn names(settings: &Settings) -> Vec<String> {
    let predictions = settings.prediction.iter().map(|prediction| prediction.name.clone());
    predictions.chain(settings.rule.iter().map(|rule| rule.name.clone())).collect()
}

async fn replayed(
    path: &std::path::Path,
    configured: Configured,
    stretch: (Timestamp, Timestamp),
) -> anyhow::Result<Vec<Spell>> {
    let Configured { settings, models } = configured;
    // Each replay numbers what it finds for itself.
    let (archive, registry, _) = recorded::open_buffer(path).await?;
    let mut replay = Replay::new(&settings, models, registry);
    let mut spells = Spells::default();
    let each = |transition: Transition| {
        spells.note(transition.cause, &transition.record);
        Ok(())
    };
    recorded::feed_buffer(&archive, &mut replay, &settings, stretch, each).await?;
    Ok(spells.0.into_values().collect())
}

/// What the box said: alerts that were raised in `[from, to)`.
async fn history(archive: &Archive, from: Timestamp, to: Timestamp) -> anyhow::Result<Vec<Spell>> {
    // The history is ordered by arrival; a raise's own time may lie before it.
    let events = archive.alert_events(Timestamp::MIN, Timestamp::MAX, EVENTS).await?;
    let mut spells = Spells::default();
    for event in events.iter().rev() {
        let record: AlertRecord = serde_json::from_str(&event.state)
            .with_context(|| format!("the history's entry of {} cannot be read", event.at))?;
        let cause = Cause::ALL.iter().find(|cause| cause.as_str() == event.cause);
        if let Some(cause) = cause {
            spells.note(*cause, &record);
        }
    }
    Ok(spells.0.into_values().filter(|spell| (from..to).contains(&spell.raised)).collect())
}

/// Alerts by id.
#[derive(Default)]
struct Spells(BTreeMap<String, Spell>);

impl Spells {
    fn note(&mut self, cause: Cause, record: &AlertRecord) {
        if let (Cause::Raised | Cause::Suppressed, Some(raised)) = (cause, record.raised_at) {
            let spell = || Spell {
                asset: record.asset.clone(),
                prediction: record.prediction.clone(),
                raised,
                cleared: None,
            };
            self.0.entry(record.alert_id.clone()).or_insert_with(spell);
        }
        if let Some(spell) = self.0.get_mut(&record.alert_id) {
            spell.cleared = record.cleared_at;
        }
    }
}

fn events(file: &std::path::Path) -> anyhow::Result<BTreeMap<String, Vec<Timestamp>>> {
    let columns =
        Columns { group: Some("asset".into()), time: Some("time".into()), ..Columns::default() };
    let mut table = Table::open(file, columns)?;
    let mut events: BTreeMap<String, Vec<Timestamp>> = BTreeMap::new();
    while let Some(row) = table.next_row()? {
        events.entry(row.group.unwrap_or_default()).or_default().push(row.time);
    }
    Ok(events)
}

fn print(report: &Report) {
    println!("{} to {} ({:.2} days)\n", report.from, report.to, report.days);
    let mut head =
        vec!["prediction", "old", "new", "same", "only old", "only new", "old a day", "new a day"];
    let has_truth = report.predictions.values().any(|line| line.false_alarms.is_some());
    if has_truth {
        head.extend(["old false a day", "new false a day"]);
    }
    let mut lines = client::table(&head);
    for (name, line) in &report.predictions {
        let Comparison { old, new, matched, only_old, only_new } = &line.comparison;
        let mut row = vec![name.clone()];
        row.extend(
            [*old, *new, matched.len(), only_old.len(), only_new.len()].map(|n| n.to_string()),
        );
        let false_alarms = line.false_alarms.as_ref().map(|it| [it.old_a_day, it.new_a_day]);
        let rates = [line.old_a_day, line.new_a_day].into_iter();
        row.extend(
            rates.chain(false_alarms.into_iter().flatten()).map(|rate| format!("{rate:.2}")),
        );
        lines.add_row(row);
    }
    println!("{lines}");
    let mut spells = client::table(&["only", "prediction", "asset", "raised", "over"]);
    for (name, line) in &report.predictions {
        let accounts = [("old", &line.comparison.only_old), ("new", &line.comparison.only_new)];
        for (account, spell) in
            accounts.iter().flat_map(|(name, list)| list.iter().map(move |it| (*name, it)))
        {
            let over = spell.cleared.map_or_else(|| "-".to_owned(), |it| it.to_string());
            spells.add_row([
                account.to_owned(),
                name.clone(),
                spell.asset.clone(),
                spell.raised.to_string(),
                over,
            ]);
        }
    }
    if spells.row_count() > 0 {
        println!("\n{spells}");
    }
}
