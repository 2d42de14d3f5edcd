//! Reasons: how much each tag moved the score.
//!
//! The model is asked again with some of the tags replaced by those of ordinary windows, and the
//! Shapley values of its answers say what each tag did ([`Shapley`]). Reconstruction models carry
//! their reasons in their error. Of a text, each word is left out once ([`Words`]). Of a picture, the
//! model's own map says where it is worst ([`Map`]).

mod region;
mod shapley;
mod words;

pub use self::region::Map;
pub use self::shapley::Shapley;
pub use self::words::Words;
use crate::frame::{FrameSpec, Layout};
use crate::settings::Direction;
use crate::verdict::Contribution;

/// A row in which every tag stands at its training mean: the background of a card without one.
pub fn mean_row(spec: &FrameSpec) -> Vec<f32> {
    let mut row = vec![0.0; spec.item_len()];
    for tag in 0..spec.tags.len() {
        for_cells(spec, tag, |cell, column| row[cell] = spec.columns[column].neutral);
    }
    row
}

/// Each tag's part of a mean squared error; the parts add up to it.
pub fn error_by_tag(spec: &FrameSpec, input: &[f32], output: &[f64]) -> Vec<f64> {
    let count = input.len().max(1);
    #[expect(clippy::cast_precision_loss, reason = "counts of cells")]
    let weight = 1.0 / count as f64;
    let mut parts = vec![0.0; spec.tags.len()];
    for (tag, part) in parts.iter_mut().enumerate() {
        for_cells(spec, tag, |cell, _| {
            let error = f64::from(input[cell]) - output[cell];
            // A feature of two tags belongs to both by halves.
            *part += error * error * weight / readers(spec, cell);
        });
    }
    parts
}

/// Contributions, strongest first. `pushes` are what each tag added to the score.
pub fn contributions(
    spec: &FrameSpec,
    latest: &[Option<f64>],
    pushes: &[f64],
    direction: Direction,
) -> Vec<Contribution> {
    let sign = sign(direction);
    let mut found: Vec<Contribution> = spec
        .plant_tags
        .iter()
        .zip(latest)
        .zip(pushes)
        .filter(|(_, push)| push.is_finite())
        .map(|((tag, value), push)| Contribution {
            tag: tag.clone(),
            value: *value,
            share: sign * push + 0.0,
        })
        .collect();
    found.sort_by(|a, b| b.share.total_cmp(&a.share));
    found
}

/// What turns a push on the score into one towards the alert.
const fn sign(direction: Direction) -> f64 {
    match direction {
        Direction::Above => 1.0,
        Direction::Below => -1.0,
    }
}

fn for_cells(spec: &FrameSpec, tag: usize, mut change: impl FnMut(usize, usize)) {
    match spec.layout {
        Layout::Series => (0..spec.rows).for_each(|row| change(spec.cell(row, tag), tag)),
        Layout::Latest => change(tag, tag),
        // No tags: nothing is asked about them.
        Layout::Image | Layout::Text => {}
        Layout::Features => {
            for (column, feature) in spec.features.iter().enumerate() {
                if feature.reads(tag) {
                    change(column, column);
                }
            }
        }
    }
}

fn readers(spec: &FrameSpec, cell: usize) -> f64 {
    match spec.layout {
        Layout::Features if matches!(spec.features[cell], crate::feature::Feature::OfTwo { of: [a, b], .. } if a != b) => {
            2.0
        }
        _ => 1.0,
    }
}

#[cfg(test)]
mod tests;
