//! Drift: limits that can be reached, and names that its alerts need.

use super::{Check, alerts, names};
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
    alerts::severity(check, "drift.severity", drift.severity, 300);
    if drift.enabled && drift.alerts {
        reserved(check, settings);
    }
}

fn reserved(check: &mut Check<'_>, settings: &Settings) {
    for (at, name) in names::judges(settings) {
        let taken = settings.prediction.iter().find_map(|other| {
            let drift = DriftSettings::alert_of(&other.name) == *name;
            let errors = DriftSettings::errors_of(&other.name) == *name;
            let model = DriftSettings::model_of(&other.name) == *name;
            let what = (drift.then_some("drift alert"))
                .or(errors.then_some("error alert"))
                .or(model.then_some("model's alert"))?;
            Some((what, &other.name))
        });
        if let Some((what, other)) = taken {
            let message = format!("the name {name:?} is that of the {what} of {other:?}");
            check.error(&at, message, "write another name, or `alerts = false` in [drift]");
        }
    }
}
