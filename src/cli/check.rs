//! `andon check`: every error at once, each with file, line and column.

use std::path::Path;
use std::process::ExitCode;

use crate::config::Diagnostics;
use crate::model::{self, LoadError};
use crate::pipeline::Plan;
use crate::settings::Settings;
use crate::config;

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
            let located = errors.iter().map(|error| {
                loaded.source.error(&place(error, &loaded.settings), error.to_string())
            });
            if let Some(diagnostics) = Diagnostics::new(located.collect()) {
                eprintln!("{diagnostics}");
            }
            Ok(None)
        }
    }
}

/// The setting that a model's error is about.
fn place(error: &LoadError, settings: &Settings) -> String {
    let of = |name: &str| settings.prediction.iter().position(|prediction| prediction.name == name);
    match error {
        LoadError::Runtime(_) => "runtime.library".into(),
        LoadError::Model { prediction, .. } => {
            of(prediction).map_or_else(String::new, |at| format!("prediction[{at}].model"))
        }
        LoadError::Setting { prediction, key, .. } => {
            of(prediction).map_or_else(String::new, |at| format!("prediction[{at}].{key}"))
        }
        LoadError::Card(_) | LoadError::Session { .. } | LoadError::Golden(_) => String::new(),
    }
}
