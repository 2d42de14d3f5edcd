//! What the book must know about each prediction and rule.

use std::time::Duration;

use crate::settings::{AlertPolicy, Direction, Rule, RuleKind};
use crate::verdict::PredictionId;

/// The alert of one prediction or rule.
#[derive(Clone, Debug)]
pub struct AlertSpec {
    pub id: PredictionId,
    pub name: String,
    /// Complete: `raise` is present.
    pub policy: AlertPolicy,
    pub kind: AlertKind,
}

/// Where the score comes from; it decides the alert's default sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AlertKind {
    Prediction,
    Rule {
        when: RuleKind,
        tag: String,
    },
    /// The data no longer look like those of the training; the label says which.
    Drift,
    /// More alerts change than anyone can read; the label says how many.
    Flood,
    /// A model gives no answers that can be used; the label says what it does.
    Model,
    /// A prediction is wrong more often than it was, as labels say; the label says how often.
    Errors,
}

impl AlertSpec {
    /// The alert of a model. `policy` is the card's, overlaid with the configuration's.
    pub fn prediction(id: PredictionId, name: impl Into<String>, policy: AlertPolicy) -> Self {
        Self { id, name: name.into(), policy, kind: AlertKind::Prediction }
    }

    /// The alert of a plain rule: `raise` and the direction come from the rule itself.
    pub fn rule(id: PredictionId, rule: &Rule) -> Self {
        let mut policy = rule.alert.clone();
        policy.raise = Some(threshold(rule));
        policy.direction =
            Some(if rule.when.is_below() { Direction::Below } else { Direction::Above });
        let kind = AlertKind::Rule { when: rule.when, tag: rule.tag.clone() };
        Self { id, name: rule.name.clone(), policy, kind }
    }
}

/// The limit of the rule's score: of the value, of the rate, or of the seconds without change
/// or reading. A rule without the setting that it needs never alerts.
fn threshold(rule: &Rule) -> f64 {
    match rule.when {
        RuleKind::Above | RuleKind::Rate => rule.limit.unwrap_or(f64::INFINITY),
        RuleKind::Below => rule.limit.unwrap_or(f64::NEG_INFINITY),
        kind if kind.chart_limit().is_some() => {
            rule.limit.or(kind.chart_limit()).unwrap_or(f64::INFINITY)
        }
        _ => rule.span.as_ref().map_or(f64::INFINITY, Duration::as_secs_f64),
    }
}
