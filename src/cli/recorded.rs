//! Where recorded samples come from: the box's own buffer, or a CSV file. Both are fed to
//! replays in the same way, whoever asks for it.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::alert::Transition;
use crate::config;
use crate::model::{self, Loaded};
use crate::replay::Replay;
use crate::sample::Sample;
use crate::settings::Settings;
use crate::store::{Archive, Extent};
use crate::table::{self, Columns, Table};
use crate::tag::{Registry, TagId};
use crate::time::Timestamp;

/// How often the main loop looks at the clock: what it may have missed before a block came.
const TICK: Duration = Duration::from_millis(20);
const ROWS_A_LOOK: u64 = 256;

/// The stretch of the buffer that is wanted.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Stretch {
    /// Begin here, RFC 3339. Default: the whole buffer.
    #[arg(long, value_name = "TIME", value_parser = time, conflicts_with = "last")]
    from: Option<Timestamp>,
    /// End before this, RFC 3339. Default: the end of the buffer.
    #[arg(long, value_name = "TIME", value_parser = time)]
    to: Option<Timestamp>,
    /// Begin so long before the end: 7d.
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    last: Option<Duration>,
    /// The buffer, instead of the configuration's `store.path`. The daemon may be running.
    #[arg(long, value_name = "FILE")]
    pub(super) buffer: Option<PathBuf>,
}

impl Stretch {
    pub(super) fn is_given(&self) -> bool {
        self.from.is_some() || self.to.is_some() || self.last.is_some() || self.buffer.is_some()
    }

    /// `[from, to)`, within what the buffer holds.
    pub(super) fn within(&self, extent: Extent) -> anyhow::Result<(Timestamp, Timestamp)> {
        let after_all = extent.last.saturating_add(Duration::from_nanos(1));
        let to = self.to.map_or(after_all, |to| to.min(after_all));
        let from = match (self.from, self.last) {
            (Some(from), _) => from,
            (None, Some(last)) => to.saturating_sub(last),
            (None, None) => extent.first,
        };
        if from >= to {
            bail!("nothing lies between {from} and {to}; the buffer ends at {}", extent.last);
        }
        Ok((from, to))
    }
}

/// A CSV file instead of the buffer.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Csv {
    /// Recorded rows with a header, instead of the buffer. A column is a tag's if it has the name
    /// that a prediction or rule reads, apart from case, punctuation and a unit in brackets.
    #[arg(long, value_name = "FILE.csv")]
    pub(super) csv: Option<PathBuf>,
    /// The asset of all rows.
    #[arg(long, value_name = "NAME", requires = "csv", conflicts_with = "group")]
    asset: Option<String>,
    /// Column of the asset's name.
    #[arg(long, value_name = "COLUMN", requires = "csv")]
    group: Option<String>,
    /// Column of event times: RFC 3339, or seconds since 1970. Without it rows follow evenly.
    #[arg(long, value_name = "COLUMN", requires = "csv")]
    time: Option<String>,
    /// Time between two rows of an asset, without --time.
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration, default_value = "1s")]
    every: Duration,
    /// A tag's column, where the names have nothing in common.
    #[arg(long = "column", value_name = "TAG=COLUMN", value_parser = super::pair, requires = "csv")]
    columns: Vec<(String, String)>,
}

/// A configuration as far as a replay needs it: the models are loaded, nothing else is opened.
pub(super) struct Configured {
    pub(super) settings: Settings,
    pub(super) models: Loaded,
}

pub(super) fn configured(
    file: &Path,
    change: impl FnOnce(&mut Settings) -> anyhow::Result<()>,
) -> anyhow::Result<Configured> {
    let loaded = config::load(file, config::environment()).map_err(|wrong| anyhow!("\n{wrong}"))?;
    let mut settings = loaded.settings;
    change(&mut settings)?;
    let models = model::load(&settings).map_err(|errors| {
        let all: Vec<String> = errors.iter().map(ToString::to_string).collect();
        anyhow!("{}", all.join("\n"))
    })?;
    Ok(Configured { settings, models })
}

/// Feeds the samples of `[from, to)` and those of the time before it that the replay needs;
/// `each` gets the transitions from `from` on.
pub(super) async fn feed_buffer(
    archive: &Archive,
    replay: &mut Replay,
    settings: &Settings,
    (from, to): (Timestamp, Timestamp),
    mut each: impl FnMut(Transition) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    // A sample of a block may have come so long before the block's newest.
    let slack = settings.store.commit_interval.saturating_add(TICK);
    let bar = spans(from, to);
    let mut out = Vec::new();
    let mut failed = None;
    let mut received_to = None;
    let first = from.saturating_sub(replay.warm_up());
    let take = |samples: Vec<Sample>, received: Timestamp| {
        if let Some(newest) = samples.last() {
            bar.set_position(newest.time.since(from).as_secs());
        }
        replay.advance(received.saturating_sub(slack), &mut out);
        replay.feed(samples, received, &mut out);
        received_to = received_to.max(Some(received));
        failed = out.drain(..).filter(|t| is_within(t, from)).try_for_each(&mut each).err();
        failed.is_none()
    };
    archive.scan(first, to, take).await?;
    if let Some(error) = failed {
        return Err(error);
    }
    if let Some(received) = received_to {
        replay.advance(received, &mut out);
    }
    bar.finish_and_clear();
    if archive.damaged_blocks() > 0 {
        eprintln!("andon: {} damaged blocks were passed over", archive.damaged_blocks());
    }
    out.drain(..).filter(|t| is_within(t, from)).try_for_each(each)
}

fn is_within(transition: &Transition, from: Timestamp) -> bool {
    transition.record.changed_at >= from
}

/// Feeds all rows of the file.
pub(super) fn feed_csv(
    csv: &Csv,
    replay: &mut Replay,
    settings: &Settings,
    registry: &Registry,
    mut each: impl FnMut(Transition) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let file = csv.csv.as_deref().context("--csv is missing")?;
    let (mut table, tags) = open(csv, file, settings)?;
    let asset = csv.asset.as_deref().unwrap_or("data");
    let bar = bytes(file);
    let mut out = Vec::new();
    let mut now = Timestamp::MIN;
    while let Some(row) = table.next_row()? {
        if row.number.is_multiple_of(ROWS_A_LOOK) {
            bar.set_position(table.position());
        }
        let asset = row.group.as_deref().unwrap_or(asset);
        now = now.max(row.time);
        let sample = |(tag, value): (&String, &Option<f64>)| -> anyhow::Result<Sample> {
            let id: TagId = registry.intern(asset, tag)?;
            Ok(value.map_or_else(
                || Sample::missing(id, row.time),
                |value| Sample::new(id, row.time, value),
            ))
        };
        let samples = tags.iter().zip(&row.values).map(sample).collect::<Result<Vec<_>, _>>()?;
        replay.advance(now, &mut out);
        replay.feed(samples, now, &mut out);
        out.drain(..).try_for_each(&mut each)?;
    }
    replay.close(&mut out);
    bar.finish_and_clear();
    out.drain(..).try_for_each(each)
}

/// The file with its columns found, and the tags that it holds.
fn open(csv: &Csv, file: &Path, settings: &Settings) -> anyhow::Result<(Table, Vec<String>)> {
    let known = known_tags(settings)?;
    for (tag, _) in &csv.columns {
        if !known.contains(tag) {
            bail!("--column: nothing reads a tag `{tag}`; it would be one of {}", known.join(", "));
        }
    }
    let header = Table::open(file, Columns::default())?.header().to_vec();
    let is_there = |tag: &&String| {
        csv.columns.iter().any(|(renamed, _)| renamed == *tag)
            || table::position(&header, tag).is_some()
    };
    let tags: Vec<String> = known.iter().filter(is_there).cloned().collect();
    if tags.is_empty() {
        bail!(
            "{}: no column is a tag that the configuration reads ({}); the file has {}",
            file.display(),
            known.join(", "),
            header.join(", ")
        );
    }
    let columns = Columns {
        tags: tags.clone(),
        renamed: csv.columns.iter().cloned().collect(),
        group: csv.group.clone(),
        time: csv.time.clone(),
        every: csv.every,
        ..Columns::default()
    };
    Ok((Table::open(file, columns)?, tags))
}

/// What predictions and rules read, by the plant's names.
fn known_tags(settings: &Settings) -> anyhow::Result<Vec<String>> {
    let mut tags: Vec<String> = settings.rule.iter().map(|rule| rule.tag.clone()).collect();
    for prediction in &settings.prediction {
        let folder = model::find(&settings.runtime.models, &prediction.model)?;
        let package = model::Package::read(&folder, &settings.runtime).map_err(|errors| {
            anyhow!("{}", errors.first().map(ToString::to_string).unwrap_or_default())
        })?;
        for tag in &package.card.input.tag {
            tags.push(prediction.tags.get(&tag.name).unwrap_or(&tag.name).clone());
        }
    }
    tags.sort();
    tags.dedup();
    Ok(tags)
}

/// A registry and the buffer that fills it.
pub(super) async fn open_archive(path: &Path) -> anyhow::Result<(Archive, Arc<Registry>)> {
    let registry = Arc::new(Registry::new(usize::MAX));
    Ok((Archive::open(path, &registry).await?, registry))
}

/// The same, for a command that can do nothing without samples.
pub(super) async fn open_buffer(path: &Path) -> anyhow::Result<(Archive, Arc<Registry>, Extent)> {
    let (archive, registry) = open_archive(path).await?;
    let extent = archive.extent().await?.context("the buffer holds no samples")?;
    Ok((archive, registry, extent))
}

/// For commands that read the buffer: one thread is enough.
pub(super) fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}

fn target() -> ProgressDrawTarget {
    if std::io::stderr().is_terminal() {
        ProgressDrawTarget::stderr()
    } else {
        ProgressDrawTarget::hidden()
    }
}

/// How far a file of rows is read.
pub(super) fn bytes(file: &Path) -> ProgressBar {
    let length = std::fs::metadata(file).map_or(0, |data| data.len());
    let style =
        ProgressStyle::with_template("{bar:40} {percent:>3} %  {bytes}/{total_bytes}  {eta}")
            .expect("the template is right");
    ProgressBar::with_draw_target(Some(length), target()).with_style(style)
}

pub(super) fn spans(from: Timestamp, to: Timestamp) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:40} {percent:>3} %  {eta}")
        .expect("the template is right");
    ProgressBar::with_draw_target(Some(to.since(from).as_secs()), target()).with_style(style)
}

fn time(text: &str) -> Result<Timestamp, String> {
    Timestamp::parse_rfc3339(text).ok_or_else(|| "expected 2026-11-23T06:41:23Z".into())
}
