//! When a score becomes an alert.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The alert rule of a prediction. In a model card it is the recommendation; in the
/// configuration it overrides the card setting by setting.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AlertPolicy {
    /// Alert when the score is at or beyond this. Required, in the card or here.
    pub raise: Option<f64>,
    /// Normal again when the score is back beyond this. Default: `raise`.
    pub clear: Option<f64>,
    /// `above`: high scores are bad (default); `below`: low ones, such as remaining life.
    pub direction: Option<Direction>,
    /// `n` of the last `m` verdicts must be beyond `raise`. Default 1 of 1.
    pub n: Option<u32>,
    pub m: Option<u32>,
    /// The condition must hold this long, in event time, before the alert. Default 0s.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "Option<String>")]
    pub on_delay: Option<Duration>,
    /// And this long before it is over. Default 0s.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "Option<String>")]
    pub off_delay: Option<Duration>,
    /// 1 to 1000, as in OPC UA; 1 to 332 low, 333 to 665 medium, from 666 high. Default 500.
    pub severity: Option<u16>,
    /// The alert's sentence; `{asset}`, `{score}`, `{threshold}`, `{tag}`, `{label}`, `{prediction}`, `{note}` and `{place}` are filled in.
    pub text: Option<String>,
}

impl AlertPolicy {
    /// `self`, with `over`'s settings where it has any.
    pub fn overlaid(&self, over: &Self) -> Self {
        Self {
            raise: over.raise.or(self.raise),
            clear: over.clear.or(self.clear),
            direction: over.direction.or(self.direction),
            n: over.n.or(self.n),
            m: over.m.or(self.m),
            on_delay: over.on_delay.or(self.on_delay),
            off_delay: over.off_delay.or(self.off_delay),
            severity: over.severity.or(self.severity),
            text: over.text.clone().or_else(|| self.text.clone()),
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    #[default]
    Above,
    Below,
}

/// An alert on a tag without a model (`[[rule]]`).
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Part of topics and alert ids; unique among predictions and rules.
    pub name: String,
    pub assets: Vec<String>,
    pub tag: String,
    pub when: RuleKind,
    /// `above`, `below`: the limit in the tag's unit. `rate`: units a second, either way.
    /// `flat`: the widest band that still counts as unchanged (default 0).
    pub limit: Option<f64>,
    /// `flat`, `silent`: for how long. `rate`: over which time the change is measured (default 1s).
    #[serde(rename = "for", default, with = "humantime_serde")]
    #[schemars(with = "Option<String>")]
    pub span: Option<Duration>,
    /// `shewhart`, `ewma`, `cusum`, `nelson`, `capability`: what is known of the process.
    pub chart: Option<ChartSettings>,
    /// `raise` comes from `limit` and is not set here.
    #[serde(default)]
    pub alert: AlertPolicy,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RuleKind {
    Above,
    Below,
    Rate,
    Flat,
    Silent,
    /// Control charts: `limit` in sigmas, default 3.
    Shewhart,
    Ewma,
    /// The larger sum in sigmas, default 5.
    Cusum,
    /// Any of Nelson's rules.
    Nelson,
    /// Cpk below `limit`, default 1.33.
    Capability,
}

impl RuleKind {
    /// The limit of a chart that sets none; `None` for what is no chart.
    pub const fn chart_limit(self) -> Option<f64> {
        match self {
            Self::Shewhart | Self::Ewma => Some(3.0),
            Self::Cusum => Some(5.0),
            Self::Nelson => Some(1.0),
            Self::Capability => Some(1.33),
            Self::Above | Self::Below | Self::Rate | Self::Flat | Self::Silent => None,
        }
    }

    /// Low scores are bad.
    pub const fn is_below(self) -> bool {
        matches!(self, Self::Below | Self::Capability)
    }
}

/// What a control chart knows of its process.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ChartSettings {
    /// Of the process when it is well, in the tag's unit; both or none.
    pub mean: Option<f64>,
    pub sigma: Option<f64>,
    /// Without them: so many first readings give them, after every start. Default 100.
    pub baseline: Option<u32>,
    /// `ewma`: weight of the newest reading, default 0.2.
    pub weight: Option<f64>,
    /// `cusum`: deviation that is let pass, in sigmas, default 0.5.
    pub slack: Option<f64>,
    /// `nelson`: which rules, 1 to 8. Default: all.
    pub rules: Option<Vec<u8>>,
    /// `capability`: the limits of the specification, at least one.
    pub lower: Option<f64>,
    pub upper: Option<f64>,
    /// `capability`: over so many readings, default 100.
    pub readings: Option<u32>,
}
