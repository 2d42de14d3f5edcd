//! `andon run`: the daemon, from its configuration to its exit code.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;

use super::{check, log};
use crate::lifecycle::{self, DRAIN_DEADLINE, Signals};
use crate::pipeline::{self, Running};
use crate::plan::Checked;
use crate::reload::{Follower, Stamp};

pub(super) fn main(config: &Path) -> anyhow::Result<ExitCode> {
    // Before it is read, so that no later change is missed.
    let before = Stamp::of(config);
    let Some(checked) = check::checked(config) else {
        return Ok(ExitCode::FAILURE);
    };
    log::start(&checked.settings.log)?;
    runtime()?.block_on(serve(config, before, checked))
}

/// One thread for the main loop and its adapters: a hop between threads costs more than the
/// work. Ingest, the models and SQLite have threads of their own.
pub(super) fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the async runtime does not start")
}

async fn serve(config: &Path, before: Stamp, checked: Checked) -> anyhow::Result<ExitCode> {
    let mut signals = Signals::install().context("signals cannot be caught")?;
    let hangups = lifecycle::hangups().context("signals cannot be caught")?;
    let (sheets, warnings) = (checked.source.sheets().to_vec(), checked.warnings.clone());
    let mut running = pipeline::start(checked.into_plan()).await?;
    running.overview.config.started_with(&sheets, &warnings);
    tracing::info!(http = running.url.as_deref().unwrap_or_default(), "Andon is running.");
    lifecycle::ready("running");
    let watchdog =
        tokio::spawn(lifecycle::watchdog(Arc::clone(&running.overview.meters), running.token()));
    if let Some(tuning) = running.tuning.take() {
        let follower = Follower::new(config.to_owned(), before, tuning, hangups);
        tokio::spawn(follower.run(running.stopping()));
    }
    let code = until_stopped(running, &mut signals).await;
    watchdog.abort();
    Ok(code)
}

/// A signal asks for a drain and exit code 0; a stage that ends by itself is a failure.
async fn until_stopped(mut running: Running, signals: &mut Signals) -> ExitCode {
    let code = tokio::select! {
        signal = signals.recv() => {
            tracing::info!(signal, "Stopping: draining what is under way.");
            ExitCode::SUCCESS
        }
        stage = running.failed() => {
            tracing::error!(stage, "A stage ended by itself; the daemon stops.");
            ExitCode::FAILURE
        }
    };
    lifecycle::stopping();
    tokio::select! {
        outcome = tokio::time::timeout(DRAIN_DEADLINE, running.stop()) => match outcome {
            Ok(Ok(())) => code,
            Ok(Err(error)) => {
                tracing::error!(error = format!("{error:#}"), "The drain failed.");
                ExitCode::FAILURE
            }
            Err(_) => {
                tracing::error!(limit = ?DRAIN_DEADLINE, "The drain took too long; what is left stays unacknowledged.");
                ExitCode::FAILURE
            }
        },
        signal = signals.recv() => {
            tracing::warn!(signal, "A second signal: leaving at once.");
            ExitCode::FAILURE
        }
    }
}
