//! The golden pair: inputs whose outputs are known. A model that answers otherwise is refused.

use std::sync::Arc;

use serde::Deserialize;

use super::items::{Items, ItemsRef};
use super::session::RunError;
use super::trust::Files;
use crate::frame::FrameSpec;

#[derive(Debug, thiserror::Error)]
pub enum GoldenError {
    #[error("{file} cannot be read: {message}")]
    Unreadable { file: String, message: String },
    #[error("{file}: item {item} of `input` is no {expected}, which the card's layout takes")]
    WrongKind { file: String, item: usize, expected: &'static str },
    #[error("{file}: item {item} of `{part}` has {got} numbers, expected {expected}")]
    WrongLength { file: String, part: &'static str, item: usize, got: usize, expected: usize },
    #[error(
        "{file}: item {item} number {number}: expected {expected}, got {got} \
         (tolerance {tolerance}); this is not the model, or not the runtime, that was tested"
    )]
    Different { file: String, item: usize, number: usize, expected: f64, got: f64, tolerance: f64 },
    #[error("{file}: {message}")]
    NotRun { file: String, message: String },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Golden {
    input: Vec<Nested>,
    output: Vec<Nested>,
}

#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum Nested {
    Number(f64),
    Text(String),
    List(Vec<Nested>),
}

impl Nested {
    /// A text is no number, and shows as one that no answer equals.
    pub(super) fn flatten(&self, out: &mut Vec<f64>) {
        match self {
            Self::Number(number) => out.push(*number),
            Self::Text(_) => out.push(f64::NAN),
            Self::List(items) => items.iter().for_each(|item| item.flatten(out)),
        }
    }

    fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::List(items) => match items.as_slice() {
                [only] => only.text(),
                _ => None,
            },
            Self::Number(_) => None,
        }
    }
}

/// The inputs of `file`, one after the other: as `none` of them are.
pub(super) fn inputs(
    files: &Files,
    file: &str,
    length: usize,
    none: Items,
) -> Result<Items, GoldenError> {
    let (name, golden) = read(files, file)?;
    gathered(&name, &golden, length, none)
}

fn read(files: &Files, file: &str) -> Result<(String, Golden), GoldenError> {
    let name = files.path(file).display().to_string();
    let unreadable = |message: String| GoldenError::Unreadable { file: name.clone(), message };
    let text = files.read(file).map_err(|error| unreadable(error.to_string()))?;
    let golden = serde_json::from_slice(&text).map_err(|error| unreadable(error.to_string()))?;
    Ok((name, golden))
}

fn gathered(
    name: &str,
    golden: &Golden,
    length: usize,
    mut items: Items,
) -> Result<Items, GoldenError> {
    let wrong = |item: usize, expected: &'static str| GoldenError::WrongKind {
        file: name.to_owned(),
        item,
        expected,
    };
    for (item, input) in golden.input.iter().enumerate() {
        let items = match &mut items {
            Items::Numbers(items) => items,
            Items::Texts(texts) => {
                texts.push(Arc::from(input.text().ok_or_else(|| wrong(item, "text"))?));
                continue;
            }
        };
        let mut numbers = Vec::with_capacity(length);
        input.flatten(&mut numbers);
        if numbers.iter().any(|number| number.is_nan()) {
            return Err(wrong(item, "list of numbers"));
        }
        if numbers.len() != length {
            let (got, expected, file) = (numbers.len(), length, name.to_owned());
            return Err(GoldenError::WrongLength { file, part: "input", item, got, expected });
        }
        #[expect(clippy::cast_possible_truncation, reason = "models take f32")]
        items.extend(numbers.iter().map(|number| *number as f32));
    }
    Ok(items)
}

/// A model at work: whole items in, numbers out, and how many of them an item has.
pub(super) type Run<'a> = &'a mut dyn FnMut(ItemsRef<'_>, &mut Vec<f64>) -> Result<usize, RunError>;

/// The golden pair, read.
#[derive(Debug)]
pub(super) struct Pair {
    file: String,
    tolerance: f64,
    /// Numbers an item takes; a text is one.
    length: usize,
    items: Items,
    output: Vec<Vec<f64>>,
}

impl Pair {
    pub(super) fn read(
        files: &Files,
        file: &str,
        tolerance: f64,
        spec: &FrameSpec,
    ) -> Result<Self, GoldenError> {
        let length = spec.item_len();
        let (file, golden) = read(files, file)?;
        if golden.input.is_empty() || golden.input.len() != golden.output.len() {
            let (inputs, outputs) = (golden.input.len(), golden.output.len());
            let message = format!("expected as many outputs as inputs, got {inputs} and {outputs}");
            return Err(GoldenError::Unreadable { file, message });
        }
        let items = gathered(&file, &golden, length, Items::none(spec.layout))?;
        let flat = |nested: &Nested| {
            let mut numbers = Vec::new();
            nested.flatten(&mut numbers);
            numbers
        };
        let output = golden.output.iter().map(flat).collect();
        Ok(Self { file, tolerance, length, items, output })
    }

    /// Runs the items one by one and, where there are several, together.
    pub(super) fn check(&self, run: Run<'_>) -> Result<(), GoldenError> {
        for (item, input) in self.items.lend().chunks(self.length).enumerate() {
            self.compare(run, input, item)?;
        }
        if self.output.len() > 1 { self.compare(run, self.items.lend(), 0) } else { Ok(()) }
    }

    /// Runs `items`, the golden ones from `first` on.
    fn compare(&self, run: Run<'_>, items: ItemsRef<'_>, first: usize) -> Result<(), GoldenError> {
        let file = || self.file.clone();
        let mut out = Vec::new();
        let width = run(items, &mut out)
            .map_err(|error| GoldenError::NotRun { file: file(), message: error.to_string() })?;
        for (row, item) in out.chunks(width).zip(first..) {
            let expected = &self.output[item];
            if expected.len() != width {
                let (got, expected) = (expected.len(), width);
                let part = "output";
                return Err(GoldenError::WrongLength { file: file(), part, item, got, expected });
            }
            for (number, (got, expected)) in row.iter().zip(expected).enumerate() {
                let allowed = self.tolerance * expected.abs().max(1.0);
                if (got - expected).abs() <= allowed {
                    continue;
                }
                let (got, expected, tolerance) = (*got, *expected, self.tolerance);
                let file = file();
                return Err(GoldenError::Different {
                    file,
                    item,
                    number,
                    expected,
                    got,
                    tolerance,
                });
            }
        }
        Ok(())
    }
}
