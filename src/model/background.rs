//! The background: rows that the model sees ordinarily, against which alerts are explained.

use std::path::PathBuf;
use std::sync::Arc;

use serde::Deserialize;

use super::golden::Nested;
use super::trust::Files;
use crate::explain;
use crate::frame::FrameSpec;

/// Each row multiplies what an explanation costs.
const MOST_ROWS: usize = 64;

#[derive(Debug, thiserror::Error)]
#[error("{}: {message}", file.display())]
pub struct BackgroundError {
    file: PathBuf,
    message: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rows {
    input: Vec<Nested>,
}

/// The rows of `file`; without one a single row of training means.
pub(super) fn read(
    files: &Files,
    file: Option<&str>,
    spec: &FrameSpec,
) -> Result<Arc<[Vec<f32>]>, BackgroundError> {
    let Some(file) = file else { return Ok([explain::mean_row(spec)].into()) };
    let wrong = |message: String| BackgroundError { file: files.path(file), message };
    let text = files.read(file).map_err(|error| wrong(format!("cannot be read: {error}")))?;
    let rows: Rows = serde_json::from_slice(&text).map_err(|error| wrong(error.to_string()))?;
    if !(1..=MOST_ROWS).contains(&rows.input.len()) {
        return Err(wrong(format!("expected 1 to {MOST_ROWS} rows, got {}", rows.input.len())));
    }
    let row = |(at, nested): (usize, Nested)| {
        let mut numbers = Vec::with_capacity(spec.item_len());
        nested.flatten(&mut numbers);
        if numbers.len() != spec.item_len() {
            let (got, expected) = (numbers.len(), spec.item_len());
            return Err(wrong(format!("row {at} has {got} numbers, expected {expected}")));
        }
        if let Some(odd) = numbers.iter().find(|number| !number.is_finite()) {
            return Err(wrong(format!("row {at} holds {odd}, which is no measured value")));
        }
        #[expect(clippy::cast_possible_truncation, reason = "models take f32")]
        Ok(numbers.into_iter().map(|number| number as f32).collect())
    };
    rows.input.into_iter().enumerate().map(row).collect()
}
