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
    /// The alert's sentence; `{asset}`, `{score}`, `{threshold}`, `{tag}` and `{prediction}` are filled in.
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
}
