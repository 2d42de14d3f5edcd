//! Whether the card's input section can be followed; every problem with its key.

use std::time::Duration;

use super::{Column, FeatureInput, InputSettings, Layout, Normalise, Order, SpecError};
use crate::feature::{Feature, Statistic};
use crate::settings::{Extent, WindowSettings};

#[derive(Default)]
pub(super) struct Problems(pub(super) Vec<SpecError>);

impl Problems {
    fn add(&mut self, key: impl Into<String>, message: impl Into<String>) {
        self.0.push(SpecError { key: key.into(), message: message.into() });
    }
}

pub(super) fn check_input(input: &InputSettings, problems: &mut Problems) -> Vec<Feature> {
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
pub(super) fn check_figures(input: &InputSettings, problems: &mut Problems) -> Vec<Column> {
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
pub(super) fn check_window(
    input: &InputSettings,
    window: &WindowSettings,
    problems: &mut Problems,
) -> usize {
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
