//! Alert policies, and rules on tags without a model.

use super::super::{path, wording};
use super::{Check, charts, names, predictions};
use crate::alert::{PLACEHOLDERS, UnknownPlaceholder, check_template};
use crate::settings::{AlertPolicy, Direction, Rule, RuleKind, Settings};

pub(super) fn check_rules(check: &mut Check<'_>, settings: &Settings) {
    for (index, rule) in settings.rule.iter().enumerate() {
        check_rule(check, &path::element("rule", index), rule);
    }
}

/// What can be said of a policy without the model's card.
pub(super) fn check_policy(check: &mut Check<'_>, at: &str, policy: &AlertPolicy) {
    for (name, value) in [("raise", policy.raise), ("clear", policy.clear)] {
        if value.is_some_and(|value| !value.is_finite()) {
            check.error(
                &path::child(at, name),
                format!("`{name}` is not a number that a score can reach"),
                format!("write for instance {name} = 0.8"),
            );
        }
    }
    if let (Some(raise), Some(clear), Some(direction)) =
        (policy.raise, policy.clear, policy.direction)
    {
        check_hysteresis(check, at, ("raise", raise), clear, direction);
    }
    for (name, value) in [("n", policy.n), ("m", policy.m)] {
        if value == Some(0) {
            check.error(
                &path::child(at, name),
                format!("`{name}` counts verdicts, from 1"),
                "n = 2 with m = 3 alerts when 2 of the last 3 verdicts agree",
            );
        }
    }
    if let (Some(n), Some(m)) = (policy.n, policy.m)
        && n > m
        && m > 0
    {
        check.error(
            &path::child(at, "n"),
            format!("{n} of the last {m} verdicts can never be"),
            "`n` is at most `m`",
        );
    }
    if let Some(severity) = policy.severity
        && !(1..=1000).contains(&severity)
    {
        check.error(
            &path::child(at, "severity"),
            format!("{severity} is outside 1 to 1000"),
            "1 to 332 is low, 333 to 665 medium, from 666 high",
        );
    }
    if let Some(text) = &policy.text {
        check_text(check, &path::child(at, "text"), text);
    }
}

fn check_hysteresis(
    check: &mut Check<'_>,
    at: &str,
    (name, raise): (&str, f64),
    clear: f64,
    direction: Direction,
) {
    let (contradiction, side) = match direction {
        Direction::Above => (clear > raise, "below"),
        Direction::Below => (clear < raise, "above"),
    };
    if contradiction {
        check.error(
            &path::child(at, "clear"),
            format!("the alert would be raised at {raise:?} and be over at {clear:?} already"),
            format!("`clear` lies {side} `{name}`, or is left out"),
        );
    }
}

fn check_text(check: &mut Check<'_>, at: &str, text: &str) {
    if let Err(UnknownPlaceholder(name)) = check_template(text) {
        let help = match wording::nearest(&name, &PLACEHOLDERS) {
            Some(meant) => format!("did you mean `{{{meant}}}`?"),
            None => format!("filled in are: {{{}}}", PLACEHOLDERS.join("}, {")),
        };
        check.error(at, format!("`{{{name}}}` is nothing that could be filled in"), help);
    }
}

fn check_rule(check: &mut Check<'_>, at: &str, rule: &Rule) {
    use RuleKind::{Above, Below, Flat, Rate, Silent};
    predictions::check_assets(check, at, &rule.assets);
    names::tag(check, &path::child(at, "tag"), &rule.tag);
    if check.is_decided(at) {
        check_limit(check, at, rule);
        check_span(check, at, rule);
        charts::check(check, at, rule);
    }
    let alert = path::child(at, "alert");
    check_policy(check, &alert, &rule.alert);
    if rule.alert.raise.is_some() {
        check.error(
            &path::child(&alert, "raise"),
            "`raise` is not set here: a rule has its `limit`",
            "leave it out",
        );
    }
    check.idle(&alert, "direction", "`when` says it");
    if rule.alert.n.is_some_and(|n| n > 1) && rule.alert.m.is_none() {
        check.error(
            &path::child(&alert, "n"),
            "`n` verdicts of how many? `m` is 1 unless set",
            "add `m`, at least as large as `n`",
        );
    }
    if let (Some(limit), Some(clear)) = (rule.limit, rule.alert.clear)
        && check.is_decided(at)
    {
        match rule.when {
            Above | Rate => {
                check_hysteresis(check, &alert, ("limit", limit), clear, Direction::Above);
            }
            Below => check_hysteresis(check, &alert, ("limit", limit), clear, Direction::Below),
            Flat | Silent => {}
            kind => {
                let direction = if kind.is_below() { Direction::Below } else { Direction::Above };
                check_hysteresis(check, &alert, ("limit", limit), clear, direction);
            }
        }
    }
}

fn check_span(check: &mut Check<'_>, at: &str, rule: &Rule) {
    use RuleKind::{Flat, Rate, Silent};
    let span = path::child(at, "for");
    match (rule.when, rule.span) {
        (Flat | Silent, None) => check.error(
            &span,
            format!("`for` is required when = \"{}\"", word(rule.when)),
            "say how long: for = \"60s\"",
        ),
        (Flat | Silent | Rate, Some(time)) if time.is_zero() => {
            check.error(&span, "a time of nothing", "say how long: for = \"60s\"");
        }
        (Flat | Silent | Rate, _) | (_, None) => {}
        (_, Some(_)) => check.error(
            &span,
            format!("`for` does not belong to when = \"{}\"", word(rule.when)),
            "to wait before the alert, set alert.on_delay",
        ),
    }
}

fn check_limit(check: &mut Check<'_>, at: &str, rule: &Rule) {
    use RuleKind::{Above, Below, Flat, Rate, Silent};
    let path = path::child(at, "limit");
    match (rule.when, rule.limit) {
        (Above | Below | Rate, None) => check.error(
            &path,
            format!("`limit` is required when = \"{}\"", word(rule.when)),
            if rule.when == Rate {
                "in the tag's unit a second: limit = 2.5"
            } else {
                "in the tag's unit: limit = 95"
            },
        ),
        (_, Some(limit)) if !limit.is_finite() => {
            check.error(&path, "the limit is no number that a value can reach", "limit = 95");
        }
        (Rate, Some(limit)) if limit <= 0.0 => check.error(
            &path,
            "a rate's limit lies above 0: it counts up and down alike",
            "in the tag's unit a second: limit = 2.5",
        ),
        (Flat, Some(limit)) if limit < 0.0 => check.error(
            &path,
            "the band that counts as unchanged cannot be below 0",
            "leave it out for 0: not the least change",
        ),
        (Silent, Some(_)) => check.idle(at, "limit", "silence has none"),
        (RuleKind::Nelson, Some(_)) => check.idle(at, "limit", "one broken rule is enough"),
        (kind, Some(limit)) if kind.chart_limit().is_some() && limit <= 0.0 => check.error(
            &path,
            "a chart's limit lies above 0",
            "in sigmas, or as Cpk; leave it out for the usual one",
        ),
        _ => {}
    }
}

pub(super) fn word(kind: RuleKind) -> &'static str {
    match kind {
        RuleKind::Above => "above",
        RuleKind::Below => "below",
        RuleKind::Rate => "rate",
        RuleKind::Flat => "flat",
        RuleKind::Silent => "silent",
        RuleKind::Shewhart => "shewhart",
        RuleKind::Ewma => "ewma",
        RuleKind::Cusum => "cusum",
        RuleKind::Nelson => "nelson",
        RuleKind::Capability => "capability",
    }
}

/// The severity of the box's own alerts.
pub(super) fn severity(check: &mut Check<'_>, key: &str, severity: u16, usual: u16) {
    if !(1..=1000).contains(&severity) {
        let message = format!("the severity {severity} is not between 1 and 1000");
        check.error(key, message, format!("write {usual}"));
    }
}
