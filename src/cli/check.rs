//! `andon check`: every error at once, each with file, line and column.

use std::path::Path;
use std::process::ExitCode;

use crate::config::Diagnostics;
use crate::pipeline::Plan;
use crate::{config, model};

pub(super) fn main(file: &Path) -> anyhow::Result<ExitCode> {
    let Some(plan) = plan(file)? else {
        return Ok(ExitCode::FAILURE);
    };
    let settings = &plan.settings;
    println!(
        "{}: good. {} MQTT subscriptions, {} Modbus devices, {} predictions, {} rules.",
        file.display(),
        settings.mqtt.len(),
        settings.modbus.len(),
        settings.prediction.len(),
        settings.rule.len(),
    );
    Ok(ExitCode::SUCCESS)
}

/// A configuration whose models have been loaded too, or `None` after printing what is wrong.
pub(super) fn plan(file: &Path) -> anyhow::Result<Option<Plan>> {
    let loaded = match config::load(file, std::env::vars()) {
        Ok(loaded) => loaded,
        Err(diagnostics) => {
            eprintln!("{diagnostics}");
            return Ok(None);
        }
    };
    for warning in &loaded.warnings {
        eprintln!("{warning}");
    }
    match model::load(&loaded.settings) {
        Ok(models) => Ok(Some(Plan { settings: loaded.settings, models })),
        Err(errors) => {
            let located = errors.into_iter().map(|error| {
                let diagnostic = loaded.source.error(&error.path, error.message);
                match error.help {
                    Some(help) => diagnostic.with_help(help),
                    None => diagnostic,
                }
            });
            if let Some(diagnostics) = Diagnostics::new(located.collect()) {
                eprintln!("{diagnostics}");
            }
            Ok(None)
        }
    }
}
