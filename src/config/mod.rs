//! The configuration file: one TOML file, overridden by `ANDON__…` environment variables,
//! checked as a whole.
//!
//! [`load`] reports every error at once, each with file, line, column and what to write
//! instead. The `config` crate merges the layers; a spanned parse of the same text keeps where
//! each setting stands, so that a later check in another room can point there too
//! ([`Source::error`]).

mod diagnostic;
mod document;
mod environment;
mod fault;
mod map;
mod node;
mod path;
mod peel;
mod source;
mod validate;
mod wording;

use std::fs;
use std::path::{Path, PathBuf};

use crate::settings::Settings;

pub use self::diagnostic::{Diagnostic, Diagnostics, Severity};
pub use self::environment::environment;
#[cfg(any(test, fuzzing))]
pub(crate) use self::map::register_map;
pub use self::source::{Place, Source};

/// Longer files are refused: nobody wrote them.
const MAX_BYTES: usize = 16 * 1024 * 1024;

/// A configuration that passed every check of this room.
#[derive(Clone, Debug)]
pub struct Loaded {
    pub settings: Settings,
    /// Where each setting stands, for errors that only show later.
    pub source: Source,
    /// What is suspicious and still works.
    pub warnings: Vec<Diagnostic>,
}

/// The files that make up the configuration at `path`.
pub fn files(path: &Path) -> Vec<PathBuf> {
    vec![path.to_owned()]
}

/// Reads and checks `path`, overridden by the `ANDON__…` variables in `environment`.
pub fn load(
    path: &Path,
    environment: impl Iterator<Item = (String, String)>,
) -> Result<Loaded, Diagnostics> {
    let file = path.display().to_string();
    let bytes = fs::read(path).map_err(|error| unreadable(&file, &error))?;
    let text = match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => return Err(not_utf8(&file, error.as_bytes(), &error.utf8_error())),
    };
    load_text(&file, &text, environment)
}

/// Checks `text` as if it stood in `file`.
pub fn load_text(
    file: &str,
    text: &str,
    environment: impl Iterator<Item = (String, String)>,
) -> Result<Loaded, Diagnostics> {
    let mut source = Source::new(file, text);
    if let Some(refusal) = refuse_whole(&source, text) {
        return Err(Diagnostics::of(refusal));
    }
    let document = document::parse(text, &mut source)?;
    let (layers, mut found) = environment::layers(environment, &mut source);
    let merged = document::merge(document, layers, &source, &mut found);
    let mut typed = peel::deserialise(merged, &source);
    found.extend(typed.errors);
    if let Some(settings) = &mut typed.settings {
        found.extend(map::read_all(settings, &mut source));
        found.extend(validate::validate(settings, &source, &typed.silenced));
    }
    let (errors, warnings): (Vec<_>, Vec<_>) =
        found.into_iter().partition(|diagnostic| diagnostic.severity == Severity::Error);
    match (typed.settings, Diagnostics::new(errors)) {
        (Some(mut settings), None) => {
            map::name_units(&mut settings);
            let warnings = Diagnostics::new(warnings).map_or_else(Vec::new, Diagnostics::into_vec);
            Ok(Loaded { settings, source, warnings })
        }
        (_, Some(errors)) => Err(errors.joined(warnings)),
        (None, None) => {
            Err(Diagnostics::of(source.error("", "the file cannot be read as settings")))
        }
    }
}

fn refuse_whole(source: &Source, text: &str) -> Option<Diagnostic> {
    if text.is_empty() {
        return Some(source.error("", "the file is empty").with_help(
            "say at least where the machines speak: a [broker.<name>] with `url` and an [[mqtt]] \
             with `broker`, `topic` and `payload`, or a [[modbus]]; the package's \
             config/andon.toml shows every setting",
        ));
    }
    (text.len() > MAX_BYTES).then(|| {
        source
            .error("", format!("the file has {} bytes; at most {MAX_BYTES} are read", text.len()))
            .with_help("is this the configuration file?")
    })
}

fn unreadable(file: &str, error: &std::io::Error) -> Diagnostics {
    let diagnostic = Source::new(file, "").error("", format!("cannot read the file: {error}"));
    Diagnostics::of(match error.kind() {
        std::io::ErrorKind::NotFound => diagnostic.with_help(format!(
            "write one: copy the package's config/andon.toml to {file} and change the broker's \
             url, the topics and the prefix; `andon check --config {file}` then checks it"
        )),
        std::io::ErrorKind::PermissionDenied => {
            diagnostic.with_help("the daemon's user needs the right to read it")
        }
        std::io::ErrorKind::IsADirectory => {
            diagnostic.with_help(format!("name the file itself: {file}/andon.toml"))
        }
        _ => diagnostic,
    })
}

fn not_utf8(file: &str, bytes: &[u8], error: &std::str::Utf8Error) -> Diagnostics {
    let text = String::from_utf8_lossy(bytes);
    let source = Source::new(file, &text);
    let at = error.valid_up_to();
    let byte = bytes[at];
    Diagnostics::of(
        source
            .error_at(at..at + 1, "", format!("the byte 0x{byte:02x} is not UTF-8"))
            .with_help("save the file as UTF-8; Latin-1 letters such as ä or ° become two bytes"),
    )
}
