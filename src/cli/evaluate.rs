//! `andon evaluate`: a model over a CSV file, on the daemon's own path, and the figures.

mod course;
mod folder;
mod page;
mod plots;
mod print;
mod report;
mod sheet;
mod truth;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};

use self::report::{Data, Report};
use self::sheet::Sheet;
use self::truth::{Labels, Reading, Truths};
use super::recorded;
use crate::asset::AssetId;
use crate::frame::{Layout, Threshold};
use crate::model::{self, Card, Loaded};
use crate::note;
use crate::rehearsal::Rehearsal;
use crate::settings::{AlertPolicy, Prediction, Settings, WindowSettings};
use crate::table::{Columns, Table};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The model's version folder, or the folder of all its versions (the highest one is taken).
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// Recorded rows, CSV with a header. A column is a tag's if it has its name, apart from case,
    /// punctuation and a unit in brackets.
    /// For a model of pictures: a folder of JPEG and PNG files. For a model of texts: CSV with --text.
    #[arg(long, value_name = "FILE.csv|FOLDER")]
    data: PathBuf,
    /// Column of the truth: 0 or 1, a label of the card, or the value.
    #[arg(long, value_name = "COLUMN", default_value = "label")]
    label: String,
    /// Column of the texts, for a model that reads them.
    #[arg(long, value_name = "COLUMN", default_value = "text")]
    text: String,
    /// Of pictures: CSV with the columns `file` (below the folder of --data) and --label's.
    #[arg(long, value_name = "FILE.csv")]
    labels: Option<PathBuf>,
    /// Column that tells one asset (unit, run, part) from another.
    #[arg(long, value_name = "COLUMN")]
    group: Option<String>,
    /// Column of event times: RFC 3339, or seconds since 1970. Without it rows follow evenly.
    #[arg(long, value_name = "COLUMN")]
    time: Option<String>,
    /// Time between two rows of an asset, without --time. Default: the card's period, else 1s.
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration, conflicts_with = "time")]
    every: Option<Duration>,
    /// A tag's column, where the names have nothing in common.
    #[arg(long = "column", value_name = "TAG=COLUMN", value_parser = super::pair)]
    columns: Vec<(String, String)>,
    /// Words of a tag's column: the first stands for 0, the next for 1, and so on.
    #[arg(long, value_name = "TAG=A,B,C", value_parser = super::pair)]
    words: Vec<(String, String)>,
    /// Alert threshold instead of the card's.
    #[arg(long, value_name = "SCORE", allow_negative_numbers = true)]
    threshold: Option<f64>,
    /// An alert this long before an event still announces it.
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration, default_value = "1h")]
    horizon: Duration,
    /// What a false positive and a false negative cost.
    #[arg(long, value_name = "FALSE_ALARM,MISS", value_parser = two_costs, default_value = "1,1")]
    costs: [f64; 2],
    /// `libonnxruntime.so`, where it is not in the usual places.
    #[arg(long, value_name = "FILE")]
    library: Option<PathBuf>,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
    /// Write the report with plots to this file.
    #[arg(long, value_name = "FILE.html")]
    html: Option<PathBuf>,
}

pub(super) fn main(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let (report, sheet) = evaluate(arguments)?;
    if let Some(file) = &arguments.html {
        std::fs::write(file, page::page(&report, &sheet)?)
            .with_context(|| format!("--html {}: cannot be written", file.display()))?;
    }
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print!("{}", print::Text(&report));
    }
    Ok(ExitCode::SUCCESS)
}

fn evaluate(arguments: &Arguments) -> anyhow::Result<(Report, Sheet)> {
    let (loaded, card) = load(arguments)?;
    let [prediction] = loaded.predictions.as_slice() else { bail!("the model did not load") };
    let window = prediction.window.clone();
    let policy = &prediction.policy;
    let threshold = Threshold {
        raise: policy.raise.context("the alert rule has no `raise`")?,
        direction: policy.direction.unwrap_or_default(),
    };
    let identity = (*prediction.model).clone();
    let labels = Labels::new(&card.output);
    let image = prediction.spec.image.clone();
    let mut course = Course::new(Rehearsal::start(loaded)?);
    match image {
        Some(image) => folder::show(arguments, &image, &labels, &mut course)?,
        None => {
            let table = Table::open(&arguments.data, columns(arguments, &card, &window)?)?;
            feed(table, &arguments.data, &labels, &mut course)?;
        }
    }
    let Course { rehearsal, mut truths, names, rows, classes, unread } = course;
    let (told, losses) = rehearsal.finish();
    truths.sort();
    let data = Data {
        file: arguments.data.display().to_string(),
        label: arguments.label.clone(),
        rows,
        assets: truths.assets(),
        timed: arguments.time.is_some() || arguments.every.is_some(),
        unread,
    };
    let timed = data.timed;
    let judged = truths.judge(&told, &window);
    let report = Report::new(report::Parts {
        identity,
        card: &card,
        threshold,
        data,
        losses,
        judged: &judged,
        classes,
        costs: arguments.costs,
        horizon: arguments.horizon,
    })?;
    Ok((report, Sheet::new(&judged, &names, &card, (threshold, timed))))
}

fn two_costs(text: &str) -> Result<[f64; 2], String> {
    let cost = |text: &str| {
        text.trim().parse().ok().filter(|cost: &f64| (0.0..f64::INFINITY).contains(cost))
    };
    text.split_once(',')
        .and_then(|(alarm, miss)| Some([cost(alarm)?, cost(miss)?]))
        .ok_or_else(|| "expected two numbers from 0 with a comma between: 1,10".into())
}

/// A rehearsal under way, and what is known about its rows.
struct Course {
    rehearsal: Rehearsal,
    truths: Truths,
    names: BTreeMap<AssetId, String>,
    rows: usize,
    /// Labels say which class, not just whether something is wrong.
    classes: bool,
    /// Columns of the file that nothing reads.
    unread: Vec<String>,
}

impl Course {
    fn new(rehearsal: Rehearsal) -> Self {
        Self {
            rehearsal,
            truths: Truths::default(),
            names: BTreeMap::new(),
            rows: 0,
            classes: false,
            unread: Vec::new(),
        }
    }
}

fn feed(mut table: Table, file: &Path, labels: &Labels, course: &mut Course) -> anyhow::Result<()> {
    let bar = recorded::bytes(file);
    course.unread = table.unread();
    while let Some(row) = table.next_row()? {
        let name = row.group.as_deref().unwrap_or("data");
        let asset = match &row.text {
            Some(text) => {
                let text = note::read(text.as_bytes())
                    .map_err(|error| table.bad_text(format!("no text: {error}")))?;
                course.rehearsal.tell(name, row.time, text)
            }
            None => course.rehearsal.feed(name, row.time, &row.values),
        };
        course.names.entry(asset).or_insert_with(|| name.to_owned());
        let read = |text: &String| {
            labels.read(text).map_err(|problem| table.bad_label(row.number, text, problem))
        };
        let truth: Option<Reading> = row.label.as_ref().map(read).transpose()?;
        course.truths.add(asset, row.time, truth);
        course.classes |= row.label.is_some_and(|text| labels.tells_class(&text));
        course.rows += 1;
        if course.rows.is_multiple_of(256) {
            bar.set_position(table.position());
        }
    }
    bar.finish_and_clear();
    Ok(())
}

fn load(arguments: &Arguments) -> anyhow::Result<(Loaded, Card)> {
    let (models, reference) = place(&arguments.model)?;
    let mut settings = Settings::default();
    settings.runtime.library.clone_from(&arguments.library);
    settings.runtime.models = models;
    settings.prediction.push(Prediction {
        name: "evaluate".into(),
        model: reference,
        assets: vec!["*".into()],
        tags: BTreeMap::new(),
        window: WindowSettings::default(),
        alert: AlertPolicy { raise: arguments.threshold, ..AlertPolicy::default() },
        devices: None,
        snapshots: 0,
    });
    let loaded = model::load(&settings).map_err(|errors| {
        let all: Vec<String> = errors.iter().map(ToString::to_string).collect();
        anyhow::anyhow!("{}", all.join("\n")).context(
            "the model does not load (a threshold that its card lacks is given by --threshold)",
        )
    })?;
    let card = loaded.models.first().map(|model| model.card.clone());
    Ok((loaded, card.context("the model did not load")?))
}

/// The repository, and the reference in it, that `folder` means.
pub(super) fn place(folder: &Path) -> anyhow::Result<(PathBuf, String)> {
    let path = std::fs::canonicalize(folder)
        .with_context(|| format!("--model {}: no such folder", folder.display()))?;
    let name = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned());
    let above = |path: &Path| path.parent().map(Path::to_owned);
    let found = if path.join("model.toml").is_file() {
        let of_all = above(&path).unwrap_or_default();
        above(&of_all)
            .zip(name(&of_all))
            .zip(name(&path))
            .map(|((models, name), version)| (models, format!("{name}/{version}")))
    } else {
        above(&path).zip(name(&path))
    };
    found.with_context(|| {
        format!("--model {}: expected <models>/<name>/<version>", folder.display())
    })
}

fn columns(arguments: &Arguments, card: &Card, window: &WindowSettings) -> anyhow::Result<Columns> {
    let tags: Vec<String> = card.input.tag.iter().map(|tag| tag.name.clone()).collect();
    for (tag, _) in arguments.columns.iter().chain(&arguments.words) {
        if !tags.contains(tag) {
            bail!("--column and --words: the model has no tag `{tag}`; it has {}", tags.join(", "));
        }
    }
    let split = |words: &str| words.split(',').map(|word| word.trim().to_owned()).collect();
    let words = arguments.words.iter().map(|(tag, words)| (tag.clone(), split(words)));
    Ok(Columns {
        tags,
        renamed: arguments.columns.iter().cloned().collect(),
        words: words.collect(),
        label: Some(arguments.label.clone()),
        text: (card.input.layout == Layout::Text).then(|| arguments.text.clone()),
        group: arguments.group.clone(),
        time: arguments.time.clone(),
        every: arguments.every.or(window.period).unwrap_or(Duration::from_secs(1)),
    })
}
