//! `andon config`: what is in effect and where it comes from, and what a reload would do.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::{Value, json};

use super::ConfigFile;
use crate::config::{self, Loaded};
use crate::settings::change::changes;
use crate::settings::{reference, schema};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Every setting in effect, with the line or the variable that says so.
    Show {
        #[command(flatten)]
        file: ConfigFile,
        /// Only what is written, no defaults.
        #[arg(long)]
        written: bool,
        /// As JSON, for programs.
        #[arg(long)]
        json: bool,
    },
    /// The JSON Schema of the configuration, for editors.
    Schema,
    /// Every setting with what it takes, its default and its meaning, as Markdown.
    Docs,
    /// What a reload from OLD to NEW would do.
    Diff {
        old: PathBuf,
        new: PathBuf,
        /// As JSON, for programs.
        #[arg(long)]
        json: bool,
    },
}

pub(super) fn main(command: &Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Show { file, written, json } => show(&file.config, *written, *json),
        Command::Schema => {
            println!("{}", serde_json::to_string_pretty(&schema::schema())?);
            Ok(ExitCode::SUCCESS)
        }
        Command::Docs => {
            print!("{}", reference::markdown());
            Ok(ExitCode::SUCCESS)
        }
        Command::Diff { old, new, json } => diff(old, new, *json),
    }
}

fn show(file: &Path, only_written: bool, as_json: bool) -> anyhow::Result<ExitCode> {
    let Some(loaded) = load(file) else { return Ok(ExitCode::FAILURE) };
    let mut settings = Vec::new();
    flatten("", &serde_json::to_value(&loaded.settings)?, &mut settings);
    let rows = settings.into_iter().map(|(path, value)| {
        let origin = origin(&loaded, &path);
        (path, value, origin)
    });
    let rows: Vec<_> = rows.filter(|(.., origin)| !only_written || origin.is_some()).collect();
    if as_json {
        let row = |(path, value, origin): &(String, Value, Option<String>)| json!({ "key": path, "value": value, "origin": origin });
        let rows: Vec<Value> = rows.iter().map(row).collect();
        println!("{}", serde_json::to_string_pretty(&rows)?);
        return Ok(ExitCode::SUCCESS);
    }
    for (path, value, origin) in rows {
        let origin = origin.as_deref().unwrap_or("default");
        println!("{:<60} # {origin}", format!("{path} = {value}"));
    }
    Ok(ExitCode::SUCCESS)
}

fn diff(old: &Path, new: &Path, as_json: bool) -> anyhow::Result<ExitCode> {
    let (Some(old), Some(new)) = (load(old), load(new)) else { return Ok(ExitCode::FAILURE) };
    let changes = changes(&old.settings, &new.settings);
    if as_json {
        println!("{}", serde_json::to_string_pretty(&changes)?);
        return Ok(ExitCode::SUCCESS);
    }
    for change in &changes {
        println!("{change}");
    }
    if changes.is_empty() {
        println!("Nothing changes.");
    }
    Ok(ExitCode::SUCCESS)
}

fn load(file: &Path) -> Option<Loaded> {
    config::load(file, config::environment())
        .inspect_err(|diagnostics| eprintln!("{diagnostics}"))
        .ok()
}

/// Tables and lists of tables become one row a setting, in the order of the sections' names.
fn flatten(path: &str, value: &Value, rows: &mut Vec<(String, Value)>) {
    match value {
        Value::Null => {}
        Value::Object(table) => {
            for (key, value) in table {
                let bare = key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
                let key = if bare { key.clone() } else { format!("{key:?}") };
                let path = if path.is_empty() { key } else { format!("{path}.{key}") };
                flatten(&path, value, rows);
            }
        }
        Value::Array(items) if items.iter().any(Value::is_object) => {
            for (at, item) in items.iter().enumerate() {
                flatten(&format!("{path}[{at}]"), item, rows);
            }
        }
        value => rows.push((path.to_owned(), value.clone())),
    }
}

/// `andon.toml:12:9`, a variable's name, or nothing for a default.
fn origin(loaded: &Loaded, path: &str) -> Option<String> {
    let registers = loaded.settings.modbus.iter().flat_map(|device| &device.register);
    let units = registers.filter(|register| register.unit.is_some()).count();
    // The units of registers stand before what is written as [[tag]].
    let path = match path.strip_prefix("tag[").and_then(|rest| rest.split_once(']')) {
        Some((at, rest)) => match at.parse::<usize>().ok()?.checked_sub(units) {
            Some(at) => format!("tag[{at}]{rest}"),
            None => return Some("the unit of a register".to_owned()),
        },
        None => path.to_owned(),
    };
    let place = loaded.source.has(&path).then(|| loaded.source.locate(&path))?;
    Some(match place.line {
        0 => place.file,
        line => format!("{}:{line}:{}", place.file, place.column),
    })
}
