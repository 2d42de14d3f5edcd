//! Frames: a window turned into what the model takes; resampled, gap-filled, normalised.
//!
//! `docs/model-card.md` defines every number here; a data scientist must get the same ones.

mod image;
mod kept;
mod series;
mod spec;
mod text;

use std::sync::Arc;
use std::time::Duration;

pub use self::image::{Colour, ImageInput, ImageOrder, Resize};
use self::series::{Cells, fill_cells, is_measured, row_times};
pub use self::spec::{
    Bins, FeatureInput, FrameSpec, InputSettings, Layout, Normalise, Order, SpecError, TagInput,
    Threshold, complete,
};
pub use self::text::TextInput;
use crate::asset::AssetId;
use crate::feature::{Feature, Signal, Spectra, Statistic};
use crate::note;
use crate::picture::{self, Limits, Picture};
use crate::settings::{Extent, Fill};
use crate::snapshot::{Fate, Showing};
use crate::time::Timestamp;
use crate::verdict::{Evidence, PredictionId, Region};
use crate::window::{Point, Window};

/// One item for the model.
#[derive(Clone, Debug)]
pub struct Frame {
    pub prediction: PredictionId,
    pub asset: AssetId,
    pub evidence: Evidence,
    /// Normalised, in the tensor's order, without the batch. Empty for layout `text`.
    pub values: Vec<f32>,
    /// Present exactly for layout `text`: as it came.
    pub text: Option<Arc<str>>,
    /// The last measured value of each tag inside the window, in its unit.
    pub latest: Vec<Option<f64>>,
    pub arrived: Timestamp,
    pub spec: Arc<FrameSpec>,
    /// What `values` or `text` are still to be made of.
    pub picture: Option<Showing>,
    /// The part of the picture that `values` show.
    pub shown: Region,
    /// What was looked at, while somebody wants it in small.
    pub decoded: Option<Picture>,
}

impl Frame {
    /// A picture or text that is still to be read: a window of its own.
    pub fn of_picture(
        prediction: PredictionId,
        asset: AssetId,
        arrived: Timestamp,
        spec: Arc<FrameSpec>,
        picture: Showing,
    ) -> Self {
        let evidence = Evidence { start: arrived, end: arrived, samples: 1, coverage: 1.0 };
        let (values, latest, picture) = (Vec::new(), Vec::new(), Some(picture));
        Self {
            prediction,
            asset,
            evidence,
            values,
            text: None,
            latest,
            arrived,
            spec,
            picture,
            shown: Region::WHOLE,
            decoded: None,
        }
    }

    /// Makes what the model takes where a picture or text waits for it; false where nothing comes
    /// out, and it has met its end. Takes milliseconds.
    pub fn develop(&mut self) -> bool {
        let Some(waiting) = &self.picture else { return true };
        let made = if let Some(image) = &self.spec.image {
            picture::decode(&waiting.bytes, Limits::default())
                .map(|decoded| {
                    (self.values, self.shown) = (image.tensor(&decoded), image.shown(&decoded));
                    self.decoded = waiting.keeper.is_some().then_some(decoded);
                })
                .map_err(|error| error.to_string())
        } else {
            note::read(&waiting.bytes)
                .map(|text| self.text = Some(text.into()))
                .map_err(|error| error.to_string())
        };
        match made {
            Ok(()) => true,
            Err(error) => {
                waiting.end(Fate::Refused(error));
                false
            }
        }
    }
}

/// Why a window is not shown to the model.
#[must_use = "a window that is not looked at is counted"]
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Unfit {
    #[error("no measured value in the window")]
    Empty,
    #[error("{}", stale(tag, *age))]
    Stale { tag: String, age: Option<Duration> },
    #[error("coverage {coverage:.2} is below {needed:.2}{}", without(missing))]
    Thin {
        coverage: f64,
        needed: f64,
        /// The tags without a measured value.
        missing: Vec<String>,
    },
}

fn stale(tag: &str, age: Option<Duration>) -> String {
    age.map_or_else(
        || format!("`{tag}` has no measured value"),
        |age| format!("the newest value of `{tag}` is {} old", humantime::format_duration(age)),
    )
}

fn without(missing: &[String]) -> String {
    match missing {
        [] => String::new(),
        [tag] => format!("; `{tag}` has no measured value"),
        tags => format!("; `{}` have no measured value", tags.join("`, `")),
    }
}

impl Unfit {
    /// The words of the counters, by [`Unfit::index`].
    pub const WORDS: [&'static str; 3] = ["empty", "stale", "thin"];

    pub const fn index(&self) -> usize {
        match self {
            Self::Empty => 0,
            Self::Stale { .. } => 1,
            Self::Thin { .. } => 2,
        }
    }

    pub const fn word(&self) -> &'static str {
        Self::WORDS[self.index()]
    }
}

/// Buffers that live from frame to frame.
#[derive(Default)]
pub struct Scratch {
    cells: Cells,
    values: Vec<f64>,
    seconds: Vec<f64>,
    /// The `latest` value of each tag, as features and layout `latest` see it.
    last: Vec<Option<f64>>,
    spectra: Spectra,
}

/// Turns `window` into a frame, if it is fit to be looked at.
pub fn build(
    spec: &Arc<FrameSpec>,
    window: &Window,
    scratch: &mut Scratch,
) -> Result<Frame, Unfit> {
    let mut latest = Vec::with_capacity(spec.tags.len());
    let seen = look(spec, window, &mut latest, &mut scratch.last)?;
    let mut values: Vec<f32> = Vec::with_capacity(spec.item_len());
    let measured = match spec.layout {
        Layout::Series => series(spec, window, scratch, &mut values),
        Layout::Latest => {
            let columns = spec.columns.iter().zip(&scratch.last);
            values.extend(columns.map(|(column, last)| {
                last.map_or(column.neutral, |value| column.normalised(value))
            }));
            None
        }
        Layout::Features => features(spec, window, scratch, &mut values),
        // Without tags there are no samples: `look` has refused the window.
        Layout::Image | Layout::Text => None,
    };
    let coverage = measured.map_or_else(
        || share(seen.tags, spec.tags.len()),
        |cells| share(cells, spec.rows * spec.tags.len()),
    );
    if coverage < spec.coverage {
        let tags = spec.plant_tags.iter().zip(&latest);
        let missing = tags.filter(|(_, value)| value.is_none()).map(|(tag, _)| tag.clone());
        let (needed, missing) = (spec.coverage, missing.collect());
        return Err(Unfit::Thin { coverage, needed, missing });
    }
    let evidence =
        Evidence { start: window.start, end: window.end, samples: seen.samples, coverage };
    Ok(Frame {
        prediction: window.prediction,
        asset: window.asset,
        evidence,
        values,
        text: None,
        latest,
        arrived: window.arrived,
        spec: Arc::clone(spec),
        picture: None,
        shown: Region::WHOLE,
        decoded: None,
    })
}

struct Seen {
    /// Measured points inside the window.
    samples: u32,
    /// Tags with one.
    tags: usize,
}

/// One pass over the points: what is there, and is it fresh.
fn look(
    spec: &FrameSpec,
    window: &Window,
    latest: &mut Vec<Option<f64>>,
    last: &mut Vec<Option<f64>>,
) -> Result<Seen, Unfit> {
    let mut seen = Seen { samples: 0, tags: 0 };
    let mut first_stale = None;
    last.clear();
    for tag in 0..spec.tags.len() {
        let points = window.columns.get(tag).map_or(&[][..], Vec::as_slice);
        let before = points.iter().take_while(|point| point.time < window.start).count();
        let count = points[before..].iter().filter(|point| is_measured(point)).count();
        seen.samples = seen.samples.saturating_add(u32::try_from(count).unwrap_or(u32::MAX));
        seen.tags += usize::from(count > 0);
        let newest = points.iter().rfind(|point| is_measured(point));
        latest.push(newest.filter(|_| count > 0).map(|point| point.value));
        last.push(newest.filter(|point| counts_as_last(spec, window, point)).map(|p| p.value));
        if let Some(limit) = spec.staleness
            && first_stale.is_none()
        {
            let age = newest.map(|point| window.end.since(point.time));
            if age.is_none_or(|age| age > limit) {
                first_stale = Some(Unfit::Stale { tag: spec.plant_tags[tag].clone(), age });
            }
        }
    }
    match first_stale {
        _ if seen.samples == 0 => Err(Unfit::Empty),
        Some(stale) => Err(stale),
        None => Ok(seen),
    }
}

fn counts_as_last(spec: &FrameSpec, window: &Window, point: &Point) -> bool {
    point.time >= window.start
        || (spec.fill != Fill::None
            && spec.max_gap.is_none_or(|gap| window.end.since(point.time) <= gap))
}

#[expect(clippy::cast_precision_loss, reason = "counts of cells")]
fn share(part: usize, whole: usize) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// The number of measured cells.
fn series(
    spec: &FrameSpec,
    window: &Window,
    scratch: &mut Scratch,
    values: &mut Vec<f32>,
) -> Option<usize> {
    row_times(spec, window, &mut scratch.cells.times);
    let mut measured = 0;
    match spec.order {
        Order::ChannelsFirst => {
            for (column, points) in spec.columns.iter().zip(&window.columns) {
                measured += fill_cells(spec, window, points, &mut scratch.cells);
                let cells = &scratch.cells.values;
                values.extend(cells.iter().map(|cell| column.normalised(*cell)));
            }
        }
        Order::RowsFirst => {
            values.resize(spec.item_len(), 0.0);
            let tags = spec.tags.len();
            for (tag, (column, points)) in spec.columns.iter().zip(&window.columns).enumerate() {
                measured += fill_cells(spec, window, points, &mut scratch.cells);
                let places = values[tag..].iter_mut().step_by(tags);
                for (place, cell) in places.zip(&scratch.cells.values) {
                    *place = column.normalised(*cell);
                }
            }
        }
    }
    Some(measured)
}

/// The number of measured cells, where there is a grid.
fn features(
    spec: &FrameSpec,
    window: &Window,
    scratch: &mut Scratch,
    values: &mut Vec<f32>,
) -> Option<usize> {
    values.extend(spec.columns.iter().map(|column| column.neutral));
    let mut cells = 0;
    if spec.period.is_some() {
        row_times(spec, window, &mut scratch.cells.times);
    }
    for (tag, columns) in spec.features_of_tag.iter().enumerate() {
        cells += gather(spec, window, tag, scratch);
        let signal = Signal {
            values: &scratch.values,
            seconds: &scratch.seconds,
            rate: spec.period.map(|period| 1.0 / period.as_secs_f64()),
        };
        let mut analysis = signal.analyse(&mut scratch.spectra);
        for column in columns {
            let Feature::OfTag { statistic, .. } = spec.features[*column] else { continue };
            let value = match statistic {
                Statistic::Last => scratch.last[tag],
                other => analysis.value(other),
            };
            if let Some(value) = value {
                values[*column] = spec.columns[*column].normalised(value);
            }
        }
    }
    for (column, feature) in spec.features.iter().enumerate() {
        if let Feature::OfTwo { operation, of: [a, b], factor } = *feature
            && let (Some(a), Some(b)) = (scratch.last[a], scratch.last[b])
            && let Some(value) = operation.of(a, b)
        {
            values[column] = spec.columns[column].normalised(factor * value);
        }
    }
    let has_grid = spec.period.is_some() || matches!(spec.length, Extent::Rows(_));
    has_grid.then_some(cells)
}

/// Fills `values` and `seconds` with the tag's signal; returns its measured points or cells.
#[expect(clippy::cast_precision_loss, reason = "differences within a window")]
fn gather(spec: &FrameSpec, window: &Window, tag: usize, scratch: &mut Scratch) -> usize {
    let Scratch { cells, values, seconds, .. } = scratch;
    values.clear();
    seconds.clear();
    let Some(points) = window.columns.get(tag) else { return 0 };
    let origin = window.start.as_nanos();
    if spec.period.is_some() {
        let measured = fill_cells(spec, window, points, cells);
        for (value, time) in cells.values.iter().zip(&cells.times) {
            if !value.is_nan() {
                values.push(*value);
                seconds.push((time - origin) as f64 * 1e-9);
            }
        }
        return measured;
    }
    for point in points.iter().filter(|point| point.time >= window.start && is_measured(point)) {
        values.push(point.value);
        seconds.push((point.time.as_nanos() - origin) as f64 * 1e-9);
    }
    values.len()
}

#[cfg(test)]
mod tests;
