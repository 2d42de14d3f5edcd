//! `andon replay`: recorded samples through a configuration; alerts as JSON lines.

use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use tokio::time::Instant;

use super::recorded::{self, Csv, Stretch};
use crate::alert::Transition;
use crate::alert::wire::Wire;
use crate::replay::Replay;
use crate::settings::Settings;
use crate::tag::Registry;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The configuration: its predictions, rules, tags and models.
    #[arg(long, value_name = "FILE", default_value = "/etc/andon/andon.toml")]
    config: PathBuf,
    #[command(flatten)]
    stretch: Stretch,
    #[command(flatten)]
    csv: Csv,
}

pub(super) fn main(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let recorded::Configured { settings, models } =
        recorded::configured(&arguments.config, |_| Ok(()))?;
    let started = Instant::now();
    let wire = wire(&settings);
    let mut stdout = BufWriter::new(std::io::stdout().lock());
    let mut lines = 0_u64;
    let mut tell = |transition: Transition| -> anyhow::Result<()> {
        // The event; the second message is the same as retained state.
        if let Some(event) = wire.messages(&transition).first() {
            stdout.write_all(&event.body)?;
            stdout.write_all(b"\n")?;
            lines += 1;
        }
        Ok(())
    };
    let counts = if arguments.csv.csv.is_some() {
        if arguments.stretch.is_given() {
            anyhow::bail!("--csv and a stretch of the buffer exclude each other");
        }
        let registry = Arc::new(Registry::new(settings.limits.tags));
        let mut replay = Replay::new(&settings, models, Arc::clone(&registry));
        recorded::feed_csv(&arguments.csv, &mut replay, &settings, &registry, &mut tell)?;
        replay.counts()
    } else {
        let path = arguments.stretch.buffer.as_ref().unwrap_or(&settings.store.path);
        recorded::runtime()?.block_on(async {
            let (archive, registry, extent) = recorded::open_buffer(path).await?;
            let stretch = arguments.stretch.within(extent)?;
            let mut replay = Replay::new(&settings, models, registry);
            recorded::feed_buffer(&archive, &mut replay, &settings, stretch, &mut tell).await?;
            anyhow::Ok(replay.counts())
        })?
    };
    stdout.flush().context("the alerts cannot be written")?;
    let seconds = started.elapsed().as_secs_f64();
    eprintln!(
        "{} samples ({} refused, {} late), {} windows ({} unfit, {} unhealthy, {} failed), \
         {lines} events in {seconds:.1} s",
        counts.samples,
        counts.refused,
        counts.late,
        counts.windows,
        counts.unfit,
        counts.unhealthy,
        counts.failed,
    );
    Ok(ExitCode::SUCCESS)
}

/// Writes events as the daemon does; without `[publish]` the site's name is the prefix.
fn wire(settings: &Settings) -> Wire {
    let site = settings.site.name.clone();
    let prefix = settings.publish.as_ref().map_or_else(|| site.clone(), |it| it.prefix.clone());
    Wire { prefix, site, station: None }
}
