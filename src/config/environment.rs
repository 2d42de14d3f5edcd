//! Overrides from the environment: `ANDON__STORE__PATH=/data/andon.db`, and for the first
//! `[[mqtt]]` of the file `ANDON__MQTT__0__TOPIC=…`. Names follow the file's whatever their case.

use std::collections::{BTreeMap, HashMap};

use config::{ConfigError, Value, ValueKind};

use super::diagnostic::Diagnostic;
use super::path;
use super::source::{Source, Variable};

const PREFIX: &str = "ANDON__";
const SEPARATOR: &str = "__";

/// The process's environment, for [`load`](super::load).
pub fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().map(|(name, value)| {
        (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned())
    })
}

/// One variable as a layer over the file.
#[derive(Clone, Debug)]
pub(super) struct Layer {
    path: String,
    variable: String,
    value: String,
}

impl config::Source for Layer {
    fn clone_into_box(&self) -> Box<dyn config::Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<HashMap<String, Value>, ConfigError> {
        let value = Value::new(Some(&self.variable), ValueKind::String(self.value.clone()));
        Ok(HashMap::from([(self.path.clone(), value)]))
    }
}

/// The variables that are meant for us, as layers, in the order of their names.
pub(super) fn layers(
    environment: impl Iterator<Item = (String, String)>,
    source: &mut Source,
) -> (Vec<Layer>, Vec<Diagnostic>) {
    let variables: BTreeMap<String, String> =
        environment.filter(|(name, _)| name.starts_with(PREFIX)).collect();
    let mut layers = Vec::new();
    let mut found = Vec::new();
    for (name, value) in variables {
        let variable = Variable { name: name.clone(), value: value.clone() };
        match path_of(&name[PREFIX.len()..], source) {
            Ok(path) => {
                source.put_variable(path.clone(), variable);
                layers.push(Layer { path, variable: name, value });
            }
            Err(refusal) => found.push(
                source.error_in_variable(&variable, "", refusal.message).with_help(refusal.help),
            ),
        }
    }
    (layers, found)
}

struct Refusal {
    message: String,
    help: String,
}

fn path_of(name: &str, source: &Source) -> Result<String, Refusal> {
    let mut at = String::new();
    for step in name.split(SEPARATOR) {
        if !path::is_bare(step) {
            return Err(Refusal {
                message: "the variable's name is no path to a setting".into(),
                help: "write ANDON__STORE__PATH for `path` in [store], ANDON__MQTT__0__TOPIC for \
                       `topic` in the first [[mqtt]]"
                    .into(),
            });
        }
        at = match (source.child_like(&at, step), step.parse::<usize>()) {
            (Some(child), _) => child,
            (None, Ok(index)) if !at.is_empty() => {
                let count = source.elements(&at);
                if index >= count {
                    return Err(Refusal {
                        message: format!("the file has {count} `{at}`, counted from 0"),
                        help: "a variable can change an entry of the file, not add one".into(),
                    });
                }
                path::element(&at, index)
            }
            (None, _) => path::child(&at, &step.to_lowercase()),
        };
    }
    Ok(at)
}
