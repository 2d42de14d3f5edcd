//! From the configuration file to what can be run: every error at once, each with its place.
//!
//! `andon check`, `andon run` and every reload read a file here and nowhere else.

use std::path::Path;

use crate::config::{self, Diagnostic, Diagnostics, Source};
use crate::http;
use crate::modbus;
use crate::model::{self, LoadError, Loaded, LoadedPrediction};
use crate::settings::{Settings, Tls};
use crate::tls;

/// A configuration that has been checked, with its models loaded.
pub struct Plan {
    pub settings: Settings,
    pub models: Loaded,
}

/// A configuration without an error.
pub struct Checked {
    pub settings: Settings,
    /// Absent when they were not asked for.
    pub models: Option<Loaded>,
    pub source: Source,
    pub warnings: Vec<Diagnostic>,
}

/// Checks `file` and everything that it names.
pub fn read(file: &Path) -> Result<Checked, Diagnostics> {
    read_with(file, |_| true)
}

/// The same while `running` runs: models that are the same are not loaded a second time.
pub fn reread(file: &Path, running: &Settings) -> Result<Checked, Diagnostics> {
    read_with(file, |settings| {
        settings.prediction != running.prediction || settings.runtime != running.runtime
    })
}

fn read_with(
    file: &Path,
    wants_models: impl FnOnce(&Settings) -> bool,
) -> Result<Checked, Diagnostics> {
    let config::Loaded { settings, source, warnings } = config::load(file, config::environment())?;
    let mut found = request_plans(&settings, &source);
    if let Err(error) = http::Guard::prepare(&settings.http) {
        found.push(source.error("http.token_file", error.to_string()));
    }
    found.extend(tls_files(&settings, &source));
    let mut models = None;
    if wants_models(&settings) {
        match model::load(&settings) {
            Ok(loaded) => {
                found.extend(pictures(&loaded, &source));
                models = Some(loaded);
            }
            Err(errors) => found.extend(
                errors
                    .iter()
                    .map(|error| source.error(&place(error, &settings), error.to_string())),
            ),
        }
    }
    match Diagnostics::new(found) {
        None => Ok(Checked { settings, models, source, warnings }),
        Some(errors) => Err(errors.joined(warnings)),
    }
}

/// Predictions that would wait for ever: nothing brings pictures to a running daemon.
fn pictures(loaded: &Loaded, source: &Source) -> Vec<Diagnostic> {
    let wants = |prediction: &&LoadedPrediction| prediction.spec.image.is_some();
    let unfed = |prediction: &LoadedPrediction| {
        let message = "the model takes pictures, and no source of a running daemon brings any; \
                       leave the prediction out, and use the model with `andon evaluate`";
        source.error(&format!("prediction[{}].model", prediction.id.0), message.to_owned())
    };
    loaded.predictions.iter().filter(wants).map(unfed).collect()
}

/// Whether each Modbus device's registers can be read with requests that the protocol allows.
fn request_plans(settings: &Settings, source: &Source) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    for (at, device) in settings.modbus.iter().enumerate() {
        for error in modbus::Plan::build(device).err().into_iter().flatten() {
            let place = error.register.map_or_else(
                || format!("modbus[{at}].{}", error.field),
                |register| format!("modbus[{at}].register[{register}].{}", error.field),
            );
            found.push(source.error(&place, error.message));
        }
    }
    found
}

/// Whether the files of each encrypted link can be used.
fn tls_files(settings: &Settings, source: &Source) -> Vec<Diagnostic> {
    let brokers = settings.broker.iter();
    let brokers = brokers.map(|(name, broker)| (format!("broker.{name}.tls"), &broker.tls));
    let devices = settings.modbus.iter().enumerate();
    let devices = devices.map(|(at, device)| (format!("modbus[{at}].tls"), &device.tls));
    let unfit = |(place, tls): (String, &Option<Tls>)| {
        let error = tls::client_config(tls.as_ref()?).err()?;
        Some(source.error(&place, error.to_string()))
    };
    brokers.chain(devices).filter_map(unfit).collect()
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
        LoadError::Active(_)
        | LoadError::Repository { .. }
        | LoadError::Card(_)
        | LoadError::Session { .. }
        | LoadError::Golden(_)
        | LoadError::Background(_) => String::new(),
    }
}
