//! What control charts need to know.

use super::super::path;
use super::Check;
use super::alerts::word;
use crate::settings::{ChartSettings, Rule, RuleKind};

/// Fewer readings say too little of a process, more are never needed.
const READINGS: std::ops::RangeInclusive<u32> = 20..=10_000;

pub(super) fn check(check: &mut Check<'_>, at: &str, rule: &Rule) {
    let at = path::child(at, "chart");
    let capability = rule.when == RuleKind::Capability;
    let Some(chart) = &rule.chart else {
        if capability {
            check.error(
                &path::child(&at, "upper"),
                "a capability is that of keeping a specification: `lower`, `upper` or both",
                "chart = { lower = 9.8, upper = 10.2 }",
            );
        }
        return;
    };
    if rule.when.chart_limit().is_none() {
        check.error(
            &at,
            format!("`chart` does not belong to when = \"{}\"", word(rule.when)),
            "charts are shewhart, ewma, cusum, nelson and capability",
        );
        return;
    }
    if capability {
        specification(check, &at, chart);
    } else {
        process(check, &at, chart);
    }
    for (name, value) in [("baseline", chart.baseline), ("readings", chart.readings)] {
        if value.is_some_and(|value| !READINGS.contains(&value)) {
            check.error(
                &path::child(&at, name),
                "expected 20 to 10000 readings",
                format!("{name} = 100"),
            );
        }
    }
}

fn specification(check: &mut Check<'_>, at: &str, chart: &ChartSettings) {
    let numbers = [chart.lower, chart.upper];
    let is_odd = numbers.iter().flatten().any(|limit| !limit.is_finite());
    let is_turned = chart.lower.zip(chart.upper).is_some_and(|(lower, upper)| lower >= upper);
    if numbers == [None, None] || is_odd || is_turned {
        check.error(
            &path::child(at, "upper"),
            "a specification has a `lower` or an `upper` limit, or the one below the other",
            "chart = { lower = 9.8, upper = 10.2 }",
        );
    }
}

fn process(check: &mut Check<'_>, at: &str, chart: &ChartSettings) {
    if chart.mean.is_some() != chart.sigma.is_some() {
        let (has, lacks) = if chart.mean.is_some() { ("mean", "sigma") } else { ("sigma", "mean") };
        check.error(
            &path::child(at, has),
            format!("`{has}` without `{lacks}`"),
            "give both, or leave both out: the first readings tell",
        );
    }
    let mut within = |name: &str, value: Option<f64>, is_right: fn(f64) -> bool, help: &str| {
        if value.is_some_and(|value| !is_right(value)) {
            check.error(&path::child(at, name), "out of its range", help);
        }
    };
    within("mean", chart.mean, f64::is_finite, "in the tag's unit: mean = 10.0");
    within("sigma", chart.sigma, |it| it.is_finite() && it > 0.0, "above 0: sigma = 0.2");
    within("weight", chart.weight, |it| it > 0.0 && it <= 1.0, "above 0, at most 1: weight = 0.2");
    within("slack", chart.slack, |it| it.is_finite() && it >= 0.0, "in sigmas: slack = 0.5");
    if let Some(rules) = &chart.rules
        && (rules.is_empty() || rules.iter().any(|rule| !(1..=8).contains(rule)))
    {
        check.error(&path::child(at, "rules"), "Nelson's rules are 1 to 8", "rules = [1, 2, 3]");
    }
}
