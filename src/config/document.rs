//! The file as TOML: syntax errors with their place, the place of every setting, and the merge
//! with what the environment overrides.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use config::{Config, ConfigError, Value, ValueKind};
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use super::diagnostic::{Diagnostic, Diagnostics};
use super::environment::Layer;
use super::node::Node;
use super::path;
use super::source::{Source, Spot};

/// The names that `config` may take as a path are the bare ones; others are no settings anyway.
pub(super) type Table = HashMap<String, Value>;

/// Parses `text` and writes the place of every setting into `source`.
pub(super) fn parse(text: &str, source: &mut Source) -> Result<Table, Diagnostics> {
    let (document, errors) = DeTable::parse_recoverable(text);
    let mut found: Vec<Diagnostic> = Vec::new();
    for error in &errors {
        let span = error.span().unwrap_or(0..0);
        let diagnostic = syntax_error(source, text, &span, error.message());
        // One slip often upsets the parser several times on its line.
        if found.iter().all(|earlier| earlier.line != diagnostic.line) {
            found.push(diagnostic);
        }
    }
    let mut reader = Reader { source, found };
    let table = reader.table("", document.into_inner());
    Diagnostics::new(reader.found).map_or(Ok(table), Err)
}

fn syntax_error(source: &Source, text: &str, span: &Range<usize>, message: &str) -> Diagnostic {
    let diagnostic = source.error_at(span.clone(), "", format!("not valid TOML: {message}"));
    if message.starts_with("duplicate key") {
        let key = &text[span.clone()];
        return source
            .error_at(span.clone(), "", format!("`{key}` stands here a second time"))
            .with_help("keep one of the two; several of a kind are written [[mqtt]], [[rule]], …");
    }
    if message.contains("string values must be quoted") {
        return source
            .error_at(span.clone(), "", "not valid TOML: neither a number, nor true or false")
            .with_help("texts stand in quotes: name = \"press-3\"");
    }
    if message.starts_with("invalid basic string") {
        return diagnostic.with_help("a text ends on its line, and \\ is written \\\\");
    }
    diagnostic
}

struct Reader<'a> {
    source: &'a mut Source,
    found: Vec<Diagnostic>,
}

impl Reader<'_> {
    fn table(&mut self, parent: &str, table: DeTable<'_>) -> Table {
        let mut values = Table::new();
        for (key, value) in table {
            let path = path::child(parent, key.get_ref());
            let spot = Spot { key: Some(key.span()), value: value.span() };
            match value.get_ref() {
                DeValue::Table(_) => self.source.put_first(path.clone(), spot),
                DeValue::Array(array) if is_growing(&path, array) => {
                    self.source.put_first(path.clone(), spot);
                }
                _ => self.source.put(path.clone(), spot),
            }
            if let Some(value) = self.value(&path, value) {
                values.insert(key.into_inner().into_owned(), value);
            }
        }
        values
    }

    fn value(&mut self, path: &str, value: Spanned<DeValue<'_>>) -> Option<Value> {
        let span = value.span();
        let kind = match value.into_inner() {
            DeValue::String(text) => ValueKind::String(text.into_owned()),
            DeValue::Integer(number) => {
                match i64::from_str_radix(number.as_str(), number.radix()) {
                    Ok(number) => ValueKind::I64(number),
                    Err(_) => return self.too_large(&span, path),
                }
            }
            DeValue::Float(number) => match number.as_str().parse::<f64>() {
                Ok(value) if value.is_finite() || is_spelt_out(number.as_str()) => {
                    ValueKind::Float(value)
                }
                _ => return self.too_large(&span, path),
            },
            DeValue::Boolean(value) => ValueKind::Boolean(value),
            DeValue::Datetime(time) => ValueKind::String(time.to_string()),
            DeValue::Table(table) => ValueKind::Table(self.table(path, table)),
            DeValue::Array(array) => {
                let mut values = Vec::with_capacity(array.len());
                let first = if is_growing(path, &array) { self.source.elements(path) } else { 0 };
                for (index, value) in (first..).zip(array) {
                    let path = path::element(path, index);
                    self.source.put(path.clone(), Spot { key: None, value: value.span() });
                    values.push(self.value(&path, value)?);
                }
                ValueKind::Array(values)
            }
        };
        Some(Value::new(None, kind))
    }

    fn too_large(&mut self, span: &Range<usize>, path: &str) -> Option<Value> {
        let message = "the number is too large";
        self.found.push(self.source.error_at(span.clone(), path, message));
        None
    }
}

/// A list such as `[[rule]]`: each file adds to it.
fn is_growing(path: &str, array: &DeArray<'_>) -> bool {
    path::is_bare(path) && array.iter().all(|item| item.get_ref().is_table())
}

/// `more` over `base`: tables are joined, lists of tables at the top grow, the rest is replaced.
pub(super) fn lay_over(base: &mut Table, more: Table) {
    join(base, more, true);
}

fn join(base: &mut Table, more: Table, at_top: bool) {
    for (key, value) in more {
        let Some(old) = base.get_mut(&key) else {
            base.insert(key, value);
            continue;
        };
        match (&mut old.kind, value.kind) {
            (ValueKind::Table(old), ValueKind::Table(new)) => join(old, new, false),
            (ValueKind::Array(old), ValueKind::Array(new))
                if at_top && old.iter().chain(&new).all(is_table) =>
            {
                old.extend(new);
            }
            (old, new) => *old = new,
        }
    }
}

fn is_table(value: &Value) -> bool {
    matches!(value.kind, ValueKind::Table(_))
}

fn is_spelt_out(number: &str) -> bool {
    number.contains("inf") || number.contains("nan")
}

/// The file with the environment laid over it. Names at the top that `config` would take as a
/// path (`"store.path"` in quotes) are reported and left out.
pub(super) fn merge(
    mut file: Table,
    layers: Vec<Layer>,
    source: &Source,
    found: &mut Vec<Diagnostic>,
) -> Node {
    file.retain(|key, _| {
        let bare = path::is_bare(key);
        if !bare {
            let message = format!("unknown setting {key:?}");
            found.push(
                source
                    .error_at_key(&path::child("", key), message)
                    .with_help("tables and settings at the top are written without quotes"),
            );
        }
        bare
    });
    let mut builder = Config::builder().add_source(FileLayer(Arc::new(file)));
    for layer in layers {
        builder = builder.add_source(layer);
    }
    let merged = builder.build().expect("layers in memory always collect");
    Node::from_value(merged.cache)
}

#[derive(Clone, Debug)]
struct FileLayer(Arc<Table>);

impl config::Source for FileLayer {
    fn clone_into_box(&self) -> Box<dyn config::Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Table, ConfigError> {
        Ok(Table::clone(&self.0))
    }
}
