//! Predictions: names, models, windows and device chains.

use std::collections::BTreeMap;

use super::super::{path, wording};
use super::{Check, alerts, names};
use crate::settings::{Extent, Prediction, Settings, WindowSettings};

const DEVICES: [&str; 4] = ["tensorrt", "cuda", "openvino", "cpu"];

pub(super) fn check(check: &mut Check<'_>, settings: &Settings) {
    unique_names(check, settings);
    for (index, prediction) in settings.prediction.iter().enumerate() {
        check_prediction(check, &path::element("prediction", index), prediction);
    }
}

/// Predictions and rules share the topics, so they share the names.
fn unique_names(check: &mut Check<'_>, settings: &Settings) {
    let predictions = settings.prediction.iter().map(|p| p.name.as_str()).enumerate();
    let rules = settings.rule.iter().map(|r| r.name.as_str()).enumerate();
    let all = predictions
        .map(|(index, name)| ("prediction", "the prediction's name", index, name))
        .chain(rules.map(|(index, name)| ("rule", "the rule's name", index, name)));
    let mut known: BTreeMap<&str, String> = BTreeMap::new();
    let count = settings.prediction.len() + settings.rule.len();
    if u16::try_from(count).is_err() {
        check.error(
            "rule",
            format!("{count} predictions and rules; 65535 are the most"),
            "use `*`",
        );
    }
    for (table, what, index, name) in all {
        let at = path::child(&path::element(table, index), "name");
        names::level(check, &at, what, name);
        if let Some(first) = known.get(name) {
            let place = check.source.line_of(first, &at);
            check.error(
                &at,
                format!("the name {name:?} is taken, {place}"),
                "predictions and rules need names of their own: topics and alert ids hold them",
            );
        } else {
            known.insert(name, at);
        }
    }
}

fn check_prediction(check: &mut Check<'_>, at: &str, prediction: &Prediction) {
    check_assets(check, at, &prediction.assets);
    check_model(check, &path::child(at, "model"), &prediction.model);
    let tags = path::child(at, "tags");
    for (model_tag, plant_tag) in &prediction.tags {
        names::tag(check, &path::child(&tags, model_tag), plant_tag);
    }
    check_window(check, &path::child(at, "window"), &prediction.window);
    alerts::check_policy(check, &path::child(at, "alert"), &prediction.alert);
    if let Some(devices) = &prediction.devices {
        check_devices(check, &path::child(at, "devices"), devices);
    }
    let most = Prediction::MOST_SNAPSHOTS;
    if prediction.snapshots > most {
        check.error(
            &path::child(at, "snapshots"),
            format!("{} pictures of each asset are too many to keep", prediction.snapshots),
            format!("leave it out for 20; {most} are the most"),
        );
    }
}

pub(super) fn check_assets(check: &mut Check<'_>, at: &str, assets: &[String]) {
    let at = path::child(at, "assets");
    if assets.is_empty() {
        check.error(&at, "no asset is watched", "name them, `*` allowed: assets = [\"press-*\"]");
    }
    for (index, asset) in assets.iter().enumerate() {
        names::pattern(check, &path::element(&at, index), "the asset", asset);
    }
}

fn check_model(check: &mut Check<'_>, at: &str, model: &str) {
    let parts: Vec<&str> = model.split('/').collect();
    let odd = |part: &&str| {
        part.trim().is_empty() || part.starts_with('.') || part.contains(['\\', '\0'])
    };
    if parts.len() > 2 || parts.iter().any(odd) {
        check.error(
            at,
            format!("{model:?} is no model of the repository"),
            "write \"<name>\" for the highest version or \"<name>/<version>\"; the folder itself \
             is runtime.models",
        );
    }
}

fn check_window(check: &mut Check<'_>, at: &str, window: &WindowSettings) {
    for (name, extent) in [("length", window.length), ("hop", window.hop)] {
        if matches!(extent, Some(Extent::Rows(0))) || is_no_time(extent) {
            check.error(
                &path::child(at, name),
                format!("a {name} of nothing"),
                "write a time such as \"30s\" or a number of rows such as 64",
            );
        }
    }
    let hop = path::child(at, "hop");
    match (window.length, window.hop) {
        (Some(Extent::Time(length)), Some(Extent::Time(hop_time))) if hop_time > length => {
            gap(check, &hop);
        }
        (Some(Extent::Rows(length)), Some(Extent::Rows(hop_rows))) if hop_rows > length => {
            gap(check, &hop);
        }
        (Some(Extent::Time(_)), Some(Extent::Rows(_)))
        | (Some(Extent::Rows(_)), Some(Extent::Time(_))) => check.error(
            &hop,
            "`hop` and `length` are of different kinds",
            "write both as times (\"30s\") or both as numbers of rows (64)",
        ),
        _ => {}
    }
    if let Some(coverage) = window.coverage
        && !(0.0..=1.0).contains(&coverage)
    {
        check.error(
            &path::child(at, "coverage"),
            format!("{coverage:?} is no share"),
            "write a number from 0 to 1: 0.5 is the half",
        );
    }
    if window.period.is_some_and(|period| period.is_zero()) {
        check.error(
            &path::child(at, "period"),
            "rows need some time between them",
            "write \"100ms\", or leave it out for rows as they come",
        );
    }
    if let (Some(Extent::Time(length)), Some(period)) = (window.length, window.period)
        && period > length
    {
        check.error(
            &path::child(at, "period"),
            "the window is shorter than the time between two rows",
            "make `period` a fraction of `length`",
        );
    }
}

fn is_no_time(extent: Option<Extent>) -> bool {
    matches!(extent, Some(Extent::Time(time)) if time.is_zero())
}

fn gap(check: &mut Check<'_>, hop: &str) {
    check.error(
        hop,
        "`hop` is longer than `length`: what lies between two windows would never be looked at",
        "make it as long as `length`, or shorter for windows that overlap",
    );
}

fn check_devices(check: &mut Check<'_>, at: &str, devices: &[String]) {
    if devices.is_empty() {
        check.error(at, "the model has nothing to run on", "write [\"cpu\"] or leave it out");
    }
    for (index, device) in devices.iter().enumerate() {
        if !DEVICES.contains(&device.as_str()) {
            let help = match wording::nearest(device, &DEVICES) {
                _ if device.eq_ignore_ascii_case("gpu") => "an NVIDIA card is \"cuda\"".into(),
                Some(meant) => format!("did you mean \"{meant}\"?"),
                None => format!("known are: {}", DEVICES.join(", ")),
            };
            check.error(&path::element(at, index), format!("unknown device {device:?}"), help);
        }
    }
}
