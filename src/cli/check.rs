//! `andon check`: every error at once, each with file, line and column.

use std::path::Path;
use std::process::ExitCode;

use crate::config::{self, Diagnostic, Diagnostics, Loaded};
use crate::http;
use crate::modbus;
use crate::model::{self, LoadError};
use crate::pipeline::Plan;
use crate::settings::Settings;

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
    let loaded = match config::load(file, config::environment()) {
        Ok(loaded) => loaded,
        Err(diagnostics) => {
            eprintln!("{diagnostics}");
            return Ok(None);
        }
    };
    for warning in &loaded.warnings {
        eprintln!("{warning}");
    }
    let mut found = request_plans(&loaded);
    if let Err(error) = http::Guard::prepare(&loaded.settings.http) {
        found.push(loaded.source.error("http.token_file", error.to_string()));
    }
    let models = model::load(&loaded.settings);
    if let Err(errors) = &models {
        found.extend(
            errors.iter().map(|error| {
                loaded.source.error(&place(error, &loaded.settings), error.to_string())
            }),
        );
    }
    match (models, Diagnostics::new(found)) {
        (Ok(models), None) => Ok(Some(Plan { settings: loaded.settings, models })),
        (_, diagnostics) => {
            if let Some(diagnostics) = diagnostics {
                eprintln!("{diagnostics}");
            }
            Ok(None)
        }
    }
}

/// Whether each Modbus device's registers can be read with requests that the protocol allows.
fn request_plans(loaded: &Loaded) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    for (at, device) in loaded.settings.modbus.iter().enumerate() {
        for error in modbus::Plan::build(device).err().into_iter().flatten() {
            let place = error.register.map_or_else(
                || format!("modbus[{at}].{}", error.field),
                |register| format!("modbus[{at}].register[{register}].{}", error.field),
            );
            found.push(loaded.source.error(&place, error.message));
        }
    }
    found
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
        LoadError::Repository { .. }
        | LoadError::Card(_)
        | LoadError::Session { .. }
        | LoadError::Golden(_) => String::new(),
    }
}
