//! The configuration: one TOML file, its drop-ins in `conf.d`, overridden by `ANDON__…`
//! environment variables, checked as a whole.
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
mod mask;
mod node;
mod path;
mod peel;
mod source;
mod validate;
mod wording;

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::settings::Settings;

pub use self::diagnostic::{Diagnostic, Diagnostics, Severity};
pub use self::environment::environment;
#[cfg(any(test, fuzzing))]
pub(crate) use self::map::register_map;
pub use self::mask::masked;
pub use self::source::{Place, Sheet, Source};
pub use self::validate::may_hear;

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

/// As much of a configuration as could be read, with everything that is wrong or suspicious.
#[derive(Clone, Debug)]
pub struct Examined {
    /// What could not be used is left out, or stood in for.
    pub settings: Settings,
    pub source: Source,
    pub found: Vec<Diagnostic>,
}

/// The files that make up the configuration at `path`: itself, then the drop-ins of the
/// folder `conf.d` beside it by name.
pub fn files(path: &Path) -> Vec<PathBuf> {
    std::iter::once(path.to_owned()).chain(drop_ins(path).unwrap_or_default()).collect()
}

fn drop_ins(path: &Path) -> std::io::Result<Vec<PathBuf>> {
    let folder = path.parent().unwrap_or(Path::new("")).join("conf.d");
    let entries = match fs::read_dir(&folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let name = entry?.file_name();
        let shown = name.to_string_lossy();
        if shown.ends_with(".toml") && !shown.starts_with('.') {
            found.push(folder.join(&name));
        }
    }
    found.sort();
    Ok(found)
}

/// Reads and checks `path` and its drop-ins, overridden by the `ANDON__…` variables in
/// `environment`.
pub fn load(
    path: &Path,
    environment: impl Iterator<Item = (String, String)>,
) -> Result<Loaded, Diagnostics> {
    examine(path, environment)?.settle()
}

/// The same, for further checks: `Err` when there are no settings at all.
pub fn examine(
    path: &Path,
    environment: impl Iterator<Item = (String, String)>,
) -> Result<Examined, Diagnostics> {
    let main = read(path)?;
    let folder = |error| unreadable(&path.with_file_name("conf.d").display().to_string(), &error);
    let mut found = Vec::new();
    let mut texts = Vec::new();
    for file in drop_ins(path).map_err(folder)? {
        match read(&file) {
            Ok(text) => texts.push((file.display().to_string(), text)),
            Err(errors) => found.extend(errors.into_vec()),
        }
    }
    match Diagnostics::new(found) {
        Some(errors) => Err(errors),
        None => examine_texts((&path.display().to_string(), &main), &texts, environment),
    }
}

fn read(path: &Path) -> Result<String, Diagnostics> {
    let file = path.display().to_string();
    let bytes = fs::read(path).map_err(|error| unreadable(&file, &error))?;
    String::from_utf8(bytes).map_err(|error| not_utf8(&file, error.as_bytes(), &error.utf8_error()))
}

/// The files as they stand on the disk, with whatever is no UTF-8 replaced; for people to look at.
pub fn sheets(path: &Path) -> Vec<Sheet> {
    let sheet = |file: PathBuf| {
        let bytes = fs::read(&file).ok()?;
        let whole = bytes.len().min(MAX_BYTES);
        Some(Sheet::new(&file.display().to_string(), &String::from_utf8_lossy(&bytes[..whole])))
    };
    files(path).into_iter().filter_map(sheet).collect()
}

/// Checks `text` as if it stood in `file`, without drop-ins.
pub fn load_text(
    file: &str,
    text: &str,
    environment: impl Iterator<Item = (String, String)>,
) -> Result<Loaded, Diagnostics> {
    examine_texts((file, text), &[], environment)?.settle()
}

impl Examined {
    /// Good when nothing in it is an error.
    fn settle(self) -> Result<Loaded, Diagnostics> {
        let Self { settings, source, found } = self;
        let (errors, warnings): (Vec<_>, Vec<_>) =
            found.into_iter().partition(|found| found.severity == Severity::Error);
        match Diagnostics::new(errors) {
            Some(errors) => Err(errors.joined(warnings)),
            None => {
                let warnings = Diagnostics::new(warnings);
                let warnings = warnings.map_or_else(Vec::new, Diagnostics::into_vec);
                Ok(Loaded { settings, source, warnings })
            }
        }
    }
}

/// A main file with its drop-ins, all as (name, text).
fn examine_texts(
    (file, text): (&str, &str),
    drop_ins: &[(String, String)],
    environment: impl Iterator<Item = (String, String)>,
) -> Result<Examined, Diagnostics> {
    let mut source = Source::new(file, text);
    if text.is_empty() && drop_ins.is_empty() {
        return Err(Diagnostics::of(empty(&source)));
    }
    let mut document = document::Table::new();
    let mut unparsed = Vec::new();
    for (at, (file, text)) in
        std::iter::once((file, text)).chain(drop_ins.iter().map(|(f, t)| (&**f, &**t))).enumerate()
    {
        if at > 0 {
            source.turn_to(file, text);
        }
        if let Some(refusal) = too_long(&source, text) {
            unparsed.push(refusal);
            continue;
        }
        match document::parse(text, &mut source) {
            Ok(table) => document::lay_over(&mut document, table),
            Err(errors) => unparsed.extend(errors.into_vec()),
        }
    }
    source.turn_back();
    if let Some(errors) = Diagnostics::new(unparsed) {
        return Err(errors);
    }
    let (layers, mut found) = environment::layers(environment, &mut source);
    let merged = document::merge(document, layers, &source, &mut found);
    let mut typed = peel::deserialise(merged, &source);
    found.extend(typed.errors);
    if let Some(settings) = &mut typed.settings {
        found.extend(map::read_all(settings, &mut source));
        found.extend(validate::validate(settings, &source, &typed.silenced));
    }
    match typed.settings {
        Some(mut settings) => {
            map::name_units(&mut settings);
            Ok(Examined { settings, source, found })
        }
        None => Err(Diagnostics::new(found).unwrap_or_else(|| {
            Diagnostics::of(source.error("", "the file cannot be read as settings"))
        })),
    }
}

fn empty(source: &Source) -> Diagnostic {
    source.error("", "the file is empty").with_help(
        "say at least where the machines speak: a [broker.<name>] with `url` and an [[mqtt]] \
         with `broker`, `topic` and `payload`, or a [[modbus]]; the package's \
         config/andon.toml shows every setting",
    )
}

fn too_long(source: &Source, text: &str) -> Option<Diagnostic> {
    (text.len() > MAX_BYTES).then(|| {
        source
            .error("", format!("the file has {} bytes; at most {MAX_BYTES} are read", text.len()))
            .with_help("is this the configuration file?")
    })
}

fn unreadable(file: &str, error: &std::io::Error) -> Diagnostics {
    let diagnostic = Source::new(file, "").error("", format!("cannot read the file: {error}"));
    Diagnostics::of(match error.kind() {
        ErrorKind::NotFound => diagnostic.with_help(format!(
            "write one: copy the package's config/andon.toml to {file} and change the broker's \
             url, the topics and the prefix; `andon check --config {file}` then checks it"
        )),
        ErrorKind::PermissionDenied => {
            diagnostic.with_help("the daemon's user needs the right to read it")
        }
        ErrorKind::IsADirectory => {
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
