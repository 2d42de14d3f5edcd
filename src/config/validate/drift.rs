//! Drift: limits that can be reached, and names that its alerts need.

use super::super::path;
use super::Check;
use crate::settings::{DriftSettings, Settings};

pub(super) fn check(check: &mut Check<'_>, settings: &Settings) {
    let drift = &settings.drift;
    if drift.frames < 20 {
        let message = format!("{} frames say nothing about a distribution", drift.frames);
        check.error("drift.frames", message, "write 20 or more; 1000 is usual");
    }
    for (key, limit) in [
        ("drift.psi", drift.psi),
        ("drift.ks", drift.ks),
        ("drift.missing", drift.missing),
        ("drift.outside", drift.outside),
    ] {
        if limit.is_nan() || limit <= 0.0 {
            check.error(key, format!("the limit {limit} is not above 0"), "write 0.25 or the like");
        }
    }
    if !(1..=1000).contains(&drift.severity) {
        let message = format!("the severity {} is not between 1 and 1000", drift.severity);
        check.error("drift.severity", message, "write 300");
    }
    if drift.enabled && drift.alerts {
        names(check, settings);
    }
}

fn names(check: &mut Check<'_>, settings: &Settings) {
    let predictions = settings.prediction.iter().map(|p| &p.name).enumerate();
    let rules = settings.rule.iter().map(|rule| &rule.name).enumerate();
    let all = predictions
        .map(|(index, name)| ("prediction", index, name))
        .chain(rules.map(|(index, name)| ("rule", index, name)));
    for (table, index, name) in all {
        let taken = settings.prediction.iter().find_map(|other| {
            let drift = DriftSettings::alert_of(&other.name) == *name;
            let errors = DriftSettings::errors_of(&other.name) == *name;
            let what = drift.then_some("drift alert").or(errors.then_some("error alert"))?;
            Some((what, &other.name))
        });
        if let Some((what, other)) = taken {
            let at = path::child(&path::element(table, index), "name");
            let message = format!("the name {name:?} is that of the {what} of {other:?}");
            check.error(&at, message, "write another name, or `alerts = false` in [drift]");
        }
    }
}
