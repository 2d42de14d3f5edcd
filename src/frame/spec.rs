//! What a model wants to see: the card's input section, checked and made ready for the hot path.

mod check;

use std::time::Duration;

use serde::Deserialize;

use self::check::{Problems, check_figures, check_input, check_window};
use super::image::ImageInput;
use super::text::TextInput;
use crate::feature::{Feature, Operation};
use crate::settings::{Direction, Extent, Fill, WindowSettings};
use crate::snapshot::Kind;

/// How a window becomes a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Layout {
    /// Rows x tags.
    Series,
    /// One value a feature.
    Features,
    /// The last value of each tag.
    Latest,
    /// One picture.
    Image,
    /// One text.
    Text,
}

/// Order of the dimensions of a series, after the batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    #[default]
    RowsFirst,
    ChannelsFirst,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Normalise {
    #[default]
    None,
    /// `(x - mean) / std`
    Standard,
    /// `(x - min) / (max - min)`
    MinMax,
}

/// `[input]` of a model card.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InputSettings {
    /// Name of the graph's input.
    pub tensor: String,
    pub layout: Layout,
    #[serde(default)]
    pub order: Order,
    #[serde(default)]
    pub normalise: Normalise,
    #[serde(default)]
    pub tag: Vec<TagInput>,
    #[serde(default)]
    pub feature: Vec<FeatureInput>,
    /// Layout `image` only.
    #[serde(default)]
    pub image: Option<ImageInput>,
    /// Layout `text` only.
    #[serde(default)]
    pub text: Option<TextInput>,
}

/// One tag as the model knows it, with figures of the training data in its unit.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TagInput {
    pub name: String,
    pub unit: Option<String>,
    pub mean: Option<f64>,
    pub std: Option<f64>,
    pub min: Option<f64>,
    pub max: Option<f64>,
    pub bins: Option<Bins>,
}

/// How a tag's training data are spread: `edges` between the bins, `shares` of the values.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bins {
    pub edges: Vec<f64>,
    pub shares: Vec<f64>,
}

/// Bins that a tag may have.
const MOST_BINS: usize = 64;

impl Bins {
    /// One more share than edges, edges that rise, shares that make up 1.
    pub fn is_sound(&self) -> bool {
        let Self { edges, shares } = self;
        (1..MOST_BINS).contains(&edges.len())
            && shares.len() == edges.len() + 1
            && edges.iter().all(|edge| edge.is_finite())
            && edges.windows(2).all(|pair| pair[0] < pair[1])
            && shares.iter().all(|share| (0.0..=1.0).contains(share))
            && (shares.iter().sum::<f64>() - 1.0).abs() < 1e-3
    }
}

/// One column of a `features` model, either a `statistic` of a `tag` or an `expression` `of` two.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FeatureInput {
    pub name: Option<String>,
    pub tag: Option<String>,
    pub statistic: Option<String>,
    pub low_hz: Option<f64>,
    pub high_hz: Option<f64>,
    pub expression: Option<Operation>,
    pub of: Vec<String>,
    pub factor: Option<f64>,
    pub mean: Option<f64>,
    pub std: Option<f64>,
    pub min: Option<f64>,
    pub max: Option<f64>,
}

/// Something in a card that cannot be right, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpecError {
    /// Dotted path in the card: `input.tag[2].std`.
    pub key: String,
    pub message: String,
}

/// From which score on an alert may follow, and so reasons are wanted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Threshold {
    pub raise: f64,
    pub direction: Direction,
}

impl Threshold {
    pub fn is_reached(self, score: f64) -> bool {
        match self.direction {
            Direction::Above => score >= self.raise,
            Direction::Below => score <= self.raise,
        }
    }
}

/// A complete recipe for frames.
#[derive(Clone, Debug)]
pub struct FrameSpec {
    pub layout: Layout,
    pub order: Order,
    pub normalise: Normalise,
    pub tags: Vec<TagInput>,
    /// The tags' names in the plant, same order.
    pub plant_tags: Vec<String>,
    pub features: Vec<Feature>,
    /// Present exactly for layout `image`.
    pub image: Option<ImageInput>,
    /// Present exactly for layout `text`.
    pub text: Option<TextInput>,
    pub length: Extent,
    pub period: Option<Duration>,
    pub fill: Fill,
    /// Absent: no limit.
    pub max_gap: Option<Duration>,
    pub coverage: f64,
    /// Absent: not asked.
    pub staleness: Option<Duration>,
    pub explain_from: Option<Threshold>,
    /// Rows of a series (or of resampled features); 0 where there are none.
    pub(crate) rows: usize,
    pub(crate) columns: Vec<Column>,
    /// For each tag, the columns of its statistics.
    pub(crate) features_of_tag: Vec<Vec<usize>>,
}

/// Turns a value into the model's number: `(x - offset) * factor`, and what stands for none.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Column {
    offset: f64,
    factor: f64,
    pub(crate) neutral: f32,
}

impl Column {
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "models take f32")]
    pub(crate) fn normalised(self, value: f64) -> f32 {
        let scaled = ((value - self.offset) * self.factor) as f32;
        if scaled.is_finite() { scaled } else { self.neutral }
    }
}

impl FrameSpec {
    /// Checks `input` and `window` (already overlaid) together; every problem at once.
    pub fn new(input: &InputSettings, window: &WindowSettings) -> Result<Self, Vec<SpecError>> {
        let mut problems = Problems::default();
        let features = check_input(input, &mut problems);
        let columns = check_figures(input, &mut problems);
        let rows = check_window(input, window, &mut problems);
        if !problems.0.is_empty() {
            return Err(problems.0);
        }
        let length = window.length.expect("check_window asks for a length");
        let span = match length {
            Extent::Time(span) => Some(span),
            Extent::Rows(_) => None,
        };
        let mut features_of_tag = vec![Vec::new(); input.tag.len()];
        for (column, feature) in features.iter().enumerate() {
            if let Feature::OfTag { tag, .. } = feature {
                features_of_tag[*tag].push(column);
            }
        }
        Ok(Self {
            layout: input.layout,
            order: input.order,
            normalise: input.normalise,
            plant_tags: input.tag.iter().map(|tag| tag.name.clone()).collect(),
            tags: input.tag.clone(),
            features,
            image: input.image.clone(),
            text: (input.layout == Layout::Text).then(|| input.text.unwrap_or_default()),
            length,
            period: window.period,
            fill: window.fill.unwrap_or_default(),
            max_gap: window.max_gap.or(span),
            coverage: window.coverage.unwrap_or(DEFAULT_COVERAGE),
            staleness: window.staleness.or(span),
            explain_from: None,
            rows,
            columns,
            features_of_tag,
        })
    }

    /// What it looks at as a whole; nothing where it looks at windows of tags.
    pub const fn takes(&self) -> Option<Kind> {
        match self.layout {
            Layout::Image => Some(Kind::Picture),
            Layout::Text => Some(Kind::Text),
            Layout::Series | Layout::Features | Layout::Latest => None,
        }
    }

    /// Numbers in one frame, or its one text.
    pub fn item_len(&self) -> usize {
        match self.layout {
            Layout::Series => self.rows * self.tags.len(),
            Layout::Features => self.features.len(),
            Layout::Latest => self.tags.len(),
            Layout::Image => self.item_shape().iter().product(),
            Layout::Text => 1,
        }
    }

    /// One frame's dimensions, in the order of the tensor.
    pub fn item_shape(&self) -> Vec<usize> {
        if let Some(image) = &self.image {
            return image.shape();
        }
        match (self.layout, self.order) {
            (Layout::Text, _) => Vec::new(),
            (Layout::Series, Order::RowsFirst) => vec![self.rows, self.tags.len()],
            (Layout::Series, Order::ChannelsFirst) => vec![self.tags.len(), self.rows],
            _ => vec![self.item_len()],
        }
    }

    /// Where a series' cell lies in the frame.
    #[inline]
    pub(crate) fn cell(&self, row: usize, tag: usize) -> usize {
        match self.order {
            Order::RowsFirst => row * self.tags.len() + tag,
            Order::ChannelsFirst => tag * self.rows + row,
        }
    }
}

const DEFAULT_COVERAGE: f64 = 0.5;

/// `window` with every default written out, as the windower and people see it.
pub fn complete(window: &WindowSettings) -> WindowSettings {
    let span = match window.length {
        Some(Extent::Time(span)) => Some(span),
        _ => None,
    };
    WindowSettings {
        length: window.length,
        hop: window.hop.or(window.length),
        lateness: window.lateness.or(Some(Duration::ZERO)),
        period: window.period,
        fill: window.fill.or(Some(Fill::default())),
        max_gap: window.max_gap.or(span),
        coverage: window.coverage.or(Some(DEFAULT_COVERAGE)),
        staleness: window.staleness.or(span),
    }
}
