//! `andon demo`: a simulated plant and the daemon that watches it, in one terminal.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use super::run;
use crate::demo::{Demo, FaultPlan, Latency, SEED, Summary};
use crate::lifecycle::{self, DRAIN_DEADLINE, Signals};
use crate::model;
use crate::pipeline::{self, Plan};
use crate::reload::{Follower, Stamp};
use crate::telemetry::Overview;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// How long to run, such as 20s or 5m; without it until Ctrl-C.
    #[arg(long = "for", value_name = "TIME", value_parser = humantime::parse_duration)]
    length: Option<Duration>,
    /// Print no alerts; end with one JSON object on the last line.
    #[arg(long)]
    json: bool,
    /// Where the database and the configuration go; emptied first.
    #[arg(long, value_name = "FOLDER", default_value = ".demo")]
    dir: PathBuf,
    /// The model repository.
    #[arg(long, value_name = "FOLDER", default_value = "models")]
    models: PathBuf,
}

pub(super) fn main(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    run::runtime()?.block_on(show(arguments))
}

async fn show(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let mut signals = Signals::install()?;
    forget_last_demo(&arguments.dir)?;
    let faults = FaultPlan::demo();
    let mut demo = Demo::start(SEED, faults, &arguments.dir, &arguments.models).await?;
    let settings = demo.settings();
    let models = match model::load(&settings) {
        Ok(models) => models,
        Err(errors) => {
            errors.iter().for_each(|error| eprintln!("andon: {error}"));
            return Ok(ExitCode::FAILURE);
        }
    };
    let before = Stamp::of(demo.settings_path());
    let hangups = lifecycle::hangups()?;
    let mut running = pipeline::start(Plan { settings, models }).await?;
    if let Some(tuning) = running.tuning.take() {
        let follower = Follower::new(demo.settings_path().to_owned(), before, tuning, hangups);
        tokio::spawn(follower.run(running.stopping()));
    }
    let overview = running.overview.clone();
    let narrator = demo.narrator().await?;
    let told = tokio_util::sync::CancellationToken::new();
    let json = arguments.json;
    if !json {
        print!("{}", demo.header(running.http, arguments.length));
    }
    let listening = tokio::spawn({
        let told = told.clone();
        async move {
            if json {
                narrator.run(&mut std::io::sink(), told).await
            } else {
                narrator.run(&mut std::io::stdout(), told).await
            }
        }
    });
    demo.run_plant();
    tokio::select! {
        () = wait(arguments.length) => {}
        _ = signals.recv() => {}
    }
    demo.stop().await;
    tokio::time::timeout(DRAIN_DEADLINE, running.stop()).await??;
    told.cancel();
    let _heard = listening.await??;
    let summary = summary(&overview);
    if json {
        println!("{}", summary.to_json());
    } else {
        print!("\n{summary}");
    }
    Ok(ExitCode::SUCCESS)
}

async fn wait(length: Option<Duration>) {
    match length {
        Some(length) => tokio::time::sleep(length).await,
        None => std::future::pending().await,
    }
}

fn forget_last_demo(dir: &std::path::Path) -> anyhow::Result<()> {
    for file in ["andon.db", "andon.db-wal", "andon.db-shm"] {
        match std::fs::remove_file(dir.join(file)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
    }
    Ok(())
}

fn summary(overview: &Overview) -> Summary {
    let totals = overview.ledger.totals();
    let millis = |share| {
        let latency = overview.meters.alert_latency_quantile(share)?;
        Some((latency.as_secs_f64() * 1e6).round() / 1e3)
    };
    let counts = overview.counts();
    Summary {
        samples_received: totals.received,
        samples_stored: totals.stored,
        rejected: totals.rejected_total(),
        shed: totals.shed_total(),
        windows: counts.windows,
        inferences: counts.inferences,
        alerts_raised: counts.alerts_raised,
        alerts_cleared: counts.alerts_cleared,
        alerts_published: counts.published,
        alert_latency_ms: Latency { p50: millis(0.5), p99: millis(0.99) },
    }
}
