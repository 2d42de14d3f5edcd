//! What a model wants to see: the card's input section, checked and made ready for the hot path.

use std::time::Duration;

use serde::Deserialize;

use super::image::ImageInput;
use super::text::TextInput;
use crate::feature::{Feature, Operation, Statistic};
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

#[derive(Default)]
struct Problems(Vec<SpecError>);

impl Problems {
    fn add(&mut self, key: impl Into<String>, message: impl Into<String>) {
        self.0.push(SpecError { key: key.into(), message: message.into() });
    }
}

fn check_input(input: &InputSettings, problems: &mut Problems) -> Vec<Feature> {
    if input.text.is_some() && input.layout != Layout::Text {
        problems.add("input.text", "goes with layout `text`; leave it out");
    }
    let whole = matches!(input.layout, Layout::Image | Layout::Text);
    if whole && !input.tag.is_empty() {
        problems.add("input.tag", "layouts `image` and `text` have no tags; leave them out");
    }
    match (&input.image, input.layout) {
        (Some(image), Layout::Image) => {
            for (key, message) in image.problems() {
                problems.add(format!("input.image.{key}"), message);
            }
        }
        (None, Layout::Image) => {
            let message = "missing; layout `image` needs [input.image] with `width` and `height`";
            problems.add("input.image", message);
        }
        (Some(_), _) => problems.add("input.image", "goes with layout `image`; leave it out"),
        (None, _) => {}
    }
    if input.tag.is_empty() && !whole {
        problems.add("input.tag", "there is none; write one [[input.tag]] for each tag");
    }
    for (index, tag) in input.tag.iter().enumerate() {
        if tag.name.is_empty() {
            problems.add(format!("input.tag[{index}].name"), "missing; write the tag's name");
        } else if input.tag[..index].iter().any(|earlier| earlier.name == tag.name) {
            let message = format!("`{}` stands twice; each tag has one entry", tag.name);
            problems.add(format!("input.tag[{index}].name"), message);
        }
        if tag.bins.as_ref().is_some_and(|bins| !bins.is_sound()) {
            let message = "expected rising edges, and one share more than edges, which make up 1";
            problems.add(format!("input.tag[{index}].bins"), message);
        }
    }
    if input.layout != Layout::Series && input.order == Order::ChannelsFirst {
        problems.add("input.order", "only a series has an order; leave it out");
    }
    match (input.layout, input.feature.is_empty()) {
        (Layout::Features, true) => {
            problems.add("input.feature", "layout `features` needs [[input.feature]] entries");
        }
        (Layout::Series | Layout::Latest | Layout::Image | Layout::Text, false) => {
            problems.add("input.feature", "only layout `features` has features; leave them out");
        }
        _ => {}
    }
    let tag_index = |name: &str| input.tag.iter().position(|tag| tag.name == name);
    let mut features = Vec::with_capacity(input.feature.len());
    for (index, feature) in input.feature.iter().enumerate() {
        match resolve(feature, tag_index) {
            Ok(feature) => features.push(feature),
            Err((key, message)) => problems.add(format!("input.feature[{index}].{key}"), message),
        }
    }
    features
}

fn resolve(
    feature: &FeatureInput,
    tag_index: impl Fn(&str) -> Option<usize>,
) -> Result<Feature, (&'static str, String)> {
    let known = |key: &'static str, name: &str| {
        tag_index(name).ok_or((key, format!("no [[input.tag]] is named `{name}`")))
    };
    match (&feature.statistic, feature.expression) {
        (Some(word), None) => {
            let name = feature.tag.as_deref().ok_or(("tag", "missing; write the tag".into()))?;
            if !feature.of.is_empty() || feature.factor.is_some() {
                return Err((
                    "of",
                    "`of` and `factor` go with `expression`; leave them out".into(),
                ));
            }
            let statistic = Statistic::from_word(word, feature.low_hz, feature.high_hz)
                .map_err(|message| ("statistic", message))?;
            Ok(Feature::OfTag { tag: known("tag", name)?, statistic })
        }
        (None, Some(operation)) => {
            let [a, b] = feature.of.as_slice() else {
                return Err(("of", "expected two tags, such as [\"speed\", \"torque\"]".into()));
            };
            if feature.tag.is_some() || feature.low_hz.is_some() || feature.high_hz.is_some() {
                return Err(("tag", "`tag` and bands go with `statistic`; leave them out".into()));
            }
            let of = [known("of", a)?, known("of", b)?];
            Ok(Feature::OfTwo { operation, of, factor: feature.factor.unwrap_or(1.0) })
        }
        _ => Err(("statistic", "write either `statistic` or `expression`".into())),
    }
}

/// The figures stand at the columns of the tensor: features, or else tags.
fn check_figures(input: &InputSettings, problems: &mut Problems) -> Vec<Column> {
    let by_feature = input.layout == Layout::Features;
    let figures: Vec<[Option<f64>; 4]> = if by_feature {
        input.feature.iter().map(|f| [f.mean, f.std, f.min, f.max]).collect()
    } else {
        input.tag.iter().map(|t| [t.mean, t.std, t.min, t.max]).collect()
    };
    let place = if by_feature { "feature" } else { "tag" };
    let mut columns = Vec::with_capacity(figures.len());
    for (index, [mean, std, min, max]) in figures.into_iter().enumerate() {
        let mut ask = |figure: &str, value: Option<f64>, why: &str| match value {
            Some(value) if value.is_finite() => value,
            found => {
                let found = if found.is_some() { "not a finite number" } else { "missing" };
                let key = format!("input.{place}[{index}].{figure}");
                problems
                    .add(key, format!("{found}; write its {figure} in the training data, {why}"));
                f64::NAN
            }
        };
        let mean = ask("mean", mean, "which stands in for missing cells");
        let (offset, factor) = match input.normalise {
            Normalise::None => (0.0, 1.0),
            Normalise::Standard => (mean, 1.0 / ask("std", std, "because of `standard`")),
            Normalise::MinMax => {
                let min = ask("min", min, "because of `minmax`");
                (min, 1.0 / (ask("max", max, "because of `minmax`") - min))
            }
        };
        if factor.is_infinite() || factor < 0.0 {
            let key = format!("input.{place}[{index}]");
            problems
                .add(key, "the training data's spread must be above 0; leave a constant tag out");
        }
        #[expect(clippy::cast_possible_truncation, reason = "models take f32")]
        let neutral = ((mean - offset) * factor) as f32;
        columns.push(Column { offset, factor, neutral });
    }
    columns
}

/// The number of rows.
fn check_window(input: &InputSettings, window: &WindowSettings, problems: &mut Problems) -> usize {
    if let Some(coverage) = window.coverage
        && !(0.0..=1.0).contains(&coverage)
    {
        problems.add("window.coverage", format!("{coverage} is no share; write 0.0 to 1.0"));
    }
    match (window.length, window.hop) {
        (Some(Extent::Time(_)), Some(Extent::Rows(_))) => {
            problems.add("window.hop", "`length` is a duration; write a duration here too");
        }
        (Some(Extent::Rows(_)), Some(Extent::Time(_))) => {
            problems.add("window.hop", "`length` is a number of rows; write a number here too");
        }
        (_, Some(Extent::Time(Duration::ZERO) | Extent::Rows(0))) => {
            problems.add("window.hop", "must be above 0");
        }
        _ => {}
    }
    match (window.length, window.period) {
        (None, _) => {
            let message = "missing; write a duration such as \"10s\" or a number of rows";
            problems.add("window.length", message);
            0
        }
        (Some(Extent::Time(Duration::ZERO) | Extent::Rows(0)), _) => {
            problems.add("window.length", "must be above 0");
            0
        }
        (Some(Extent::Rows(_)), Some(_)) => {
            let message = "a number of rows is taken as it came; write `length` as a duration, \
                           or leave `period` out";
            problems.add("window.period", message);
            0
        }
        (Some(Extent::Rows(rows)), None) => rows as usize,
        (Some(Extent::Time(_)), None) => {
            if input.layout == Layout::Series {
                let message = "missing; a series over a time window is resampled: write the time \
                               between two rows";
                problems.add("window.period", message);
            }
            0
        }
        (Some(Extent::Time(length)), Some(period)) => {
            let (length, period) = (length.as_nanos(), period.as_nanos());
            if period == 0 || !length.is_multiple_of(period) {
                let message = "must go a whole number of times into `length`";
                problems.add("window.period", message);
                return 0;
            }
            let rows = length / period;
            if rows > MAX_ROWS {
                let message = format!("makes {rows} rows; the most is {MAX_ROWS}");
                problems.add("window.period", message);
                return 0;
            }
            usize::try_from(rows).expect("checked against MAX_ROWS")
        }
    }
}

const MAX_ROWS: u128 = 1 << 20;
