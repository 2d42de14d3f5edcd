//! `andon export`: samples of the buffer as a file for other tools.

mod parquet;
mod partition;

use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;

use self::partition::{Folder, Partition};
use super::recorded::{self, Stretch};
use crate::asset::NamePattern;
use crate::config;
use crate::sample::Sample;
use crate::tag::{Registry, TagId};
use crate::time::Timestamp;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Assets; `*` stands for any run of characters.
    #[arg(default_value = "*")]
    asset: String,
    /// Tags; `*` stands for any run of characters.
    #[arg(default_value = "*")]
    tag: String,
    /// The configuration: its `store.path` is read.
    #[arg(long, value_name = "FILE", default_value = "/etc/andon/andon.toml")]
    config: PathBuf,
    #[command(flatten)]
    stretch: Stretch,
    /// Where to write. Default: standard output.
    #[arg(long, short, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Default: as the name of `--out` ends, else CSV.
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// A folder of Parquet files below `--out`, one an asset and day: `asset=…/date=…/part.parquet`.
    #[arg(long, value_enum, requires = "out")]
    partition: Option<Partition>,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Format {
    Csv,
    Parquet,
}

impl Arguments {
    fn format(&self) -> Format {
        let ending = self.out.as_ref().and_then(|out| out.extension());
        let by_name =
            if ending.is_some_and(|it| it == "parquet") { Format::Parquet } else { Format::Csv };
        self.format.unwrap_or(by_name)
    }
}

pub(super) fn main(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let path = match &arguments.stretch.buffer {
        Some(path) => path.clone(),
        None => {
            let loaded = config::load(&arguments.config, config::environment())
                .map_err(|wrong| anyhow::anyhow!("\n{wrong}"))?;
            loaded.settings.store.path
        }
    };
    if let (Some(Partition::Day), Some(root)) = (arguments.partition, &arguments.out) {
        if matches!(arguments.format, Some(Format::Csv)) {
            anyhow::bail!("--partition writes Parquet; leave `--format csv` out");
        }
        return export(arguments, &path, Rows::Folder(Box::new(Folder::new(root)?)));
    }
    let out: Box<dyn Write + Send> = match &arguments.out {
        Some(file) => Box::new(
            std::fs::File::create(file)
                .with_context(|| format!("--out {}: cannot be written", file.display()))?,
        ),
        None => Box::new(std::io::stdout()),
    };
    export(arguments, &path, Rows::new(arguments.format(), BufWriter::new(out))?)
}

fn export(arguments: &Arguments, path: &Path, mut rows: Rows) -> anyhow::Result<ExitCode> {
    recorded::runtime()?.block_on(async {
        let (archive, registry, extent) = recorded::open_buffer(path).await?;
        let (from, to) = arguments.stretch.within(extent)?;
        let names = Names::of(&registry, &arguments.asset, &arguments.tag);
        let bar = recorded::spans(from, to);
        let mut failed = None;
        let take = |samples: Vec<Sample>, _: Timestamp| {
            if let Some(newest) = samples.last() {
                bar.set_position(newest.time.since(from).as_secs());
            }
            failed = samples.iter().try_for_each(|sample| rows.write(&names, sample)).err();
            failed.is_none()
        };
        archive.scan_all(from, to, take).await?;
        bar.finish_and_clear();
        failed.map_or(Ok(()), Err)
    })?;
    let (count, files) = rows.finish().context("the rows cannot be written")?;
    match files {
        Some(files) => eprintln!("{count} samples in {files} files"),
        None => eprintln!("{count} samples"),
    }
    Ok(ExitCode::SUCCESS)
}

/// By tag id: asset and tag, where they are wanted.
struct Names(Vec<Option<[String; 2]>>);

impl Names {
    fn of(registry: &Registry, asset: &str, tag: &str) -> Self {
        let (asset, tag) = (NamePattern::new(asset), NamePattern::new(tag));
        let wanted = |info: &crate::tag::TagInfo| {
            let is = asset.matches(&info.asset_name) && tag.matches(&info.name);
            is.then(|| [info.asset_name.to_string(), info.name.to_string()])
        };
        Self(registry.tags_from(0).iter().map(|(_, info)| wanted(info)).collect())
    }

    fn get(&self, tag: TagId) -> Option<&[String; 2]> {
        self.0.get(tag.0 as usize)?.as_ref()
    }
}

/// The file as it is written.
enum Rows {
    Csv(Box<csv::Writer<Out>>, u64),
    Parquet(Box<parquet::Rows<Out>>, u64),
    Folder(Box<Folder>),
}

type Out = BufWriter<Box<dyn Write + Send>>;

impl Rows {
    fn new(format: Format, out: Out) -> anyhow::Result<Self> {
        Ok(match format {
            Format::Csv => {
                let mut csv = csv::Writer::from_writer(out);
                csv.write_record(["time", "asset", "tag", "value", "quality"])?;
                Self::Csv(Box::new(csv), 0)
            }
            Format::Parquet => Self::Parquet(Box::new(parquet::Rows::new(out)?), 0),
        })
    }

    fn write(&mut self, names: &Names, sample: &Sample) -> anyhow::Result<()> {
        let Some(name) = names.get(sample.tag) else { return Ok(()) };
        let quality = sample.quality.as_str();
        match self {
            Self::Csv(csv, count) => {
                let [asset, tag] = name;
                // The shortest text that reads back as the same number; nothing where it is missing.
                let value =
                    if sample.value.is_nan() { String::new() } else { sample.value.to_string() };
                csv.write_record([&*sample.time.to_rfc3339(), asset, tag, &value, quality])?;
                *count += 1;
            }
            Self::Parquet(rows, count) => {
                rows.write(name, sample, quality)?;
                *count += 1;
            }
            Self::Folder(folder) => folder.write(name, sample, quality)?,
        }
        Ok(())
    }

    /// How many rows, and files where there are several.
    fn finish(self) -> anyhow::Result<(u64, Option<usize>)> {
        match self {
            Self::Csv(mut csv, count) => {
                csv.flush()?;
                Ok((count, None))
            }
            Self::Parquet(rows, count) => {
                rows.finish()?;
                Ok((count, None))
            }
            Self::Folder(folder) => {
                let (count, files) = folder.finish()?;
                Ok((count, Some(files)))
            }
        }
    }
}
