//! From the configuration file to what can be run: every error at once, each with its place.
//!
//! `andon check`, `andon run` and every reload read a file here and nowhere else.

mod fit;

use std::path::Path;

use crate::config::{self, Diagnostic, Diagnostics, Examined, Severity, Source};
use crate::http;
use crate::modbus;
use crate::model::{self, LoadError, Loaded, LoadedPrediction};
use crate::settings::{Folder, PayloadKind, Settings, Subscription, Tls};
use crate::snapshot::Kind;
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

impl Checked {
    /// Of what [`read`] has read: it loads the models.
    pub fn into_plan(self) -> Plan {
        Plan { settings: self.settings, models: self.models.expect("`read` loads the models") }
    }
}

/// Checks `file` and everything that it names, as far as the file can be read.
pub fn read(file: &Path) -> Result<Checked, Diagnostics> {
    read_with(file, |_, _| true)
}

/// The same while `running` runs: models that are the same are not loaded a second time, and
/// those of a file with errors not at all.
pub fn reread(file: &Path, running: &Settings) -> Result<Checked, Diagnostics> {
    read_with(file, |settings, good| {
        good && (settings.prediction != running.prediction || settings.runtime != running.runtime)
    })
}

fn read_with(
    file: &Path,
    wants_models: impl FnOnce(&Settings, bool) -> bool,
) -> Result<Checked, Diagnostics> {
    let Examined { settings, source, mut found } = config::examine(file, config::environment())?;
    let earlier: Vec<Diagnostic> = found.iter().filter(|found| is_error(found)).cloned().collect();
    let mut more = request_plans(&settings, &source);
    more.extend(fit::lines(&settings, &source));
    if let Err(error) = http::Guard::prepare(&settings.http) {
        more.push(source.error("http.token_file", error.to_string()));
    }
    more.extend(tls_files(&settings, &source));
    let mut models = None;
    if wants_models(&settings, earlier.is_empty()) {
        let sound = sound(&settings, &earlier);
        match model::load(&sound) {
            Ok(loaded) => {
                more.extend(fit::models(&settings, &loaded, &source));
                more.extend(unfed(&settings, &loaded, &source));
                more.extend(absent(&settings, &loaded, &source));
                models = Some(loaded);
            }
            Err(errors) => more.extend(
                errors
                    .iter()
                    .map(|error| source.error(&place(error, &settings), error.to_string())),
            ),
        }
    }
    // About what is wrong already, they would be echoes.
    more.retain(|echo| !earlier.iter().any(|first| is_about(first, &echo.path)));
    found.extend(more);
    let (errors, warnings): (Vec<_>, Vec<_>) = found.into_iter().partition(is_error);
    match Diagnostics::new(errors) {
        None => {
            let warnings = Diagnostics::new(warnings).map_or_else(Vec::new, Diagnostics::into_vec);
            Ok(Checked { settings, models, source, warnings })
        }
        Some(errors) => Err(errors.joined(warnings)),
    }
}

fn is_error(found: &Diagnostic) -> bool {
    found.severity == Severity::Error
}

/// The entry that a setting belongs to: `modbus[2]` of `modbus[2].register[1].type`.
fn entry(path: &str) -> &str {
    path.split_inclusive(']').next().unwrap_or_default()
}

/// Whether an error is about the entry of `path`, or about something that holds it.
fn is_about(error: &Diagnostic, path: &str) -> bool {
    let (wrong, entry) = (entry(&error.path), entry(path));
    let holds = |outer: &str, inner: &str| {
        inner
            .strip_prefix(outer)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    };
    !wrong.is_empty() && !entry.is_empty() && (holds(wrong, entry) || holds(entry, wrong))
}

/// Without the predictions that are wrong already.
fn sound(settings: &Settings, errors: &[Diagnostic]) -> Settings {
    let mut sound = settings.clone();
    let wrong = |path: &str| errors.iter().any(|error| is_about(error, path));
    let mut at = 0..;
    sound.prediction.retain(|_| {
        let at = at.next().expect("no end");
        !wrong(&format!("prediction[{at}]"))
            && !wrong("runtime.models")
            && !wrong("runtime.library")
            && !wrong("runtime.trusted_keys")
    });
    sound
}

/// Predictions that would wait for ever: nothing brings pictures or texts of their assets.
fn unfed(settings: &Settings, loaded: &Loaded, source: &Source) -> Vec<Diagnostic> {
    let unfed = |prediction: &LoadedPrediction| {
        let kind = prediction.spec.takes()?;
        let at = settings.prediction.iter().position(|known| known.name == prediction.name)?;
        let payload = match kind {
            Kind::Picture => PayloadKind::Image,
            Kind::Text => PayloadKind::Text,
        };
        // What a topic captures is known when it comes.
        let feeds = |subscription: &Subscription| {
            subscription.payload == payload
                && subscription.asset.as_deref().is_none_or(|asset| {
                    prediction.assets.iter().any(|pattern| pattern.matches(asset))
                })
        };
        let watched = |folder: &Folder| {
            prediction.assets.iter().any(|pattern| pattern.matches(&folder.asset))
        };
        let by_folder = kind == Kind::Picture && settings.folder.iter().any(watched);
        if settings.mqtt.iter().any(feeds) || by_folder {
            return None;
        }
        let message = match kind {
            Kind::Picture => {
                "the model takes pictures, and no source brings any of its assets; write an \
                 [[mqtt]] with topic = \"plant/{asset}/camera\" and payload = \"image\", or a \
                 [[folder]] with `path` and `asset`"
            }
            Kind::Text => {
                "the model reads texts, and no source brings any of its assets; write an \
                 [[mqtt]] with topic = \"plant/{asset}/notes\" and payload = \"text\""
            }
        };
        Some(source.error(&format!("prediction[{at}].model"), message.to_owned()))
    };
    loaded.predictions.iter().filter_map(unfed).collect()
}

/// Predictions whose model server gives no answer now.
fn absent(settings: &Settings, loaded: &Loaded, source: &Source) -> Vec<Diagnostic> {
    let gone = |prediction: &LoadedPrediction| {
        let model = &loaded.models[prediction.worker];
        let remote = model.remote().filter(|_| !model.is_there())?.snapshot();
        let at = settings.prediction.iter().position(|known| known.name == prediction.name)?;
        let meanwhile = match remote.has_fallback {
            true => "the local model answers meanwhile",
            false => "there are no verdicts meanwhile",
        };
        let message = format!(
            "the model server {} gave no answer: {}; it is asked again, and {meanwhile}",
            remote.url,
            remote.last_error.unwrap_or_default()
        );
        Some(source.warning(&format!("prediction[{at}].model"), message))
    };
    loaded.predictions.iter().filter_map(gone).collect()
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
    let http = settings.http.tls.as_ref().and_then(|tls| tls::server_config(tls).err());
    let http = http.map(|error| source.error("http.tls", error.to_string()));
    brokers.chain(devices).filter_map(unfit).chain(http).collect()
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
