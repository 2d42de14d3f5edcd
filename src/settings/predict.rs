//! Predictions: a model bound to assets.

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::de::{Deserialize, Deserializer, Error};
use serde::ser::{Serialize, Serializer};

use super::AlertPolicy;

/// `[[prediction]]`
#[derive(Clone, Debug, PartialEq, serde::Deserialize, serde::Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Prediction {
    /// Part of topics and alert ids; unique among predictions and rules.
    pub name: String,
    /// `<name>` (the highest version) or `<name>/<version>` in the model repository.
    pub model: String,
    /// Assets it watches; `*` stands for any run of characters.
    pub assets: Vec<String>,
    /// Model tag = plant tag, where the plant uses another name.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
    /// Overrides of the card's window, setting by setting.
    #[serde(default)]
    pub window: WindowSettings,
    /// Overrides of the card's decision, setting by setting.
    #[serde(default)]
    pub alert: AlertPolicy,
    /// Override of the card's device chain, such as `["cuda", "cpu"]`.
    pub devices: Option<Vec<String>>,
    /// Of a model that takes pictures: so many of the last ones of each asset are kept in small with
    /// what it said, beside those that raised an alert. 0 keeps none.
    #[serde(default = "snapshots")]
    #[schemars(range(max = 1000))]
    pub snapshots: u32,
}

impl Prediction {
    /// The most that `snapshots` may be.
    pub const MOST_SNAPSHOTS: u32 = 1000;
}

const fn snapshots() -> u32 {
    20
}

/// A window's settings; in the card all that the model needs, in the configuration only what differs.
#[derive(Clone, Debug, Default, PartialEq, serde::Deserialize, serde::Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct WindowSettings {
    /// `"30s"` of event time, or `64` rows (distinct event times of the asset).
    pub length: Option<Extent>,
    /// From one window to the next, of the same kind as `length`. Default: `length`.
    pub hop: Option<Extent>,
    /// How long after its end a time window still takes samples. Default 0s.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "Option<String>")]
    pub lateness: Option<Duration>,
    /// Time between two rows of a resampled series. Absent: rows as they came.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "Option<String>")]
    pub period: Option<Duration>,
    /// What stands in a gap. Default: `last`.
    pub fill: Option<Fill>,
    /// Longest gap that is filled. Default: the window's length.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "Option<String>")]
    pub max_gap: Option<Duration>,
    /// Least share of measured cells, 0 to 1; thinner windows are not looked at. Default 0.5.
    pub coverage: Option<f64>,
    /// Oldest that the newest sample of any tag may be at the window's end. Default: the window's length.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "Option<String>")]
    pub staleness: Option<Duration>,
}

impl WindowSettings {
    /// `self`, with `over`'s settings where it has any.
    pub fn overlaid(&self, over: &Self) -> Self {
        Self {
            length: over.length.or(self.length),
            hop: over.hop.or(self.hop),
            lateness: over.lateness.or(self.lateness),
            period: over.period.or(self.period),
            fill: over.fill.or(self.fill),
            max_gap: over.max_gap.or(self.max_gap),
            coverage: over.coverage.or(self.coverage),
            staleness: over.staleness.or(self.staleness),
        }
    }
}

/// A stretch of event time, or a number of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    Time(Duration),
    Rows(u32),
}

impl JsonSchema for Extent {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Extent".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "anyOf": [{ "type": "string" }, { "type": "integer", "minimum": 1 }]
        })
    }
}

impl Serialize for Extent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Time(span) => serializer.collect_str(&humantime::format_duration(*span)),
            Self::Rows(rows) => serializer.serialize_u32(*rows),
        }
    }
}

impl<'de> Deserialize<'de> for Extent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Extent;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a duration such as \"30s\" or a number of rows such as 64")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Extent, E> {
                humantime::parse_duration(text)
                    .map(Extent::Time)
                    .map_err(|_| E::invalid_value(serde::de::Unexpected::Str(text), &self))
            }

            fn visit_i64<E: Error>(self, rows: i64) -> Result<Extent, E> {
                u32::try_from(rows)
                    .map(Extent::Rows)
                    .map_err(|_| E::invalid_value(serde::de::Unexpected::Signed(rows), &self))
            }

            fn visit_u64<E: Error>(self, rows: u64) -> Result<Extent, E> {
                u32::try_from(rows)
                    .map(Extent::Rows)
                    .map_err(|_| E::invalid_value(serde::de::Unexpected::Unsigned(rows), &self))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, serde::Serialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Fill {
    /// Leave the gap: the cell is masked and holds the feature's training mean.
    None,
    /// Hold the last value.
    #[default]
    Last,
    /// Straight line between the neighbours; the last value at the end.
    Linear,
}
