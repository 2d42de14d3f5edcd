//! `andon model remove`: a version out of the repository, whole or not at all.
//!
//! What is in use stays: as the running daemon says it, or, where none answers, as the files do
//! that the next start reads.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{anyhow, bail};
use serde_json::Value;

use crate::cli::client::{Daemon, items};
use crate::config;
use crate::model::{self, Active, stock};
use crate::settings::Settings;
use crate::time::Timestamp;

/// Where it lay.
pub(super) fn remove(daemon: &Daemon, name: &str, version: &str) -> anyhow::Result<PathBuf> {
    let loaded = config::load(daemon.config(), config::environment())
        .map_err(|diagnostics| anyhow!("{diagnostics}"))?;
    let settings = loaded.settings;
    let folder = model::find(&settings.runtime.models, &format!("{name}/{version}"))?;
    let used = match daemon.get_if_there("/api/v1/models")? {
        Some(models) => told(&models, name),
        None => written(&settings, name, Timestamp::now())?,
    };
    let pinned = settings.prediction.iter().find(|p| p.model == format!("{name}/{version}"));
    if let Some(prediction) = pinned {
        bail!(
            "{name} {version} stays: prediction `{}` names it in the configuration",
            prediction.name
        );
    }
    if let Some(why) = used.get(version) {
        bail!("{name} {version} stays: {why}");
    }
    stock::discard(&folder)?;
    Ok(folder)
}

/// Versions in use, and why they stay.
type Used = BTreeMap<String, &'static str>;

/// As the daemon lists them.
fn told(models: &Value, name: &str) -> Used {
    let own = items(models).filter(|model| model["name"] == name);
    let used = own.filter_map(|model| {
        let why = match model["state"].as_str()? {
            "predicting" => "it predicts; activate another version first",
            "previous" => {
                "it takes over again if the version on trial fails; wait for the trial's end"
            }
            "shadow" => "it is a shadow; end that with `andon model shadow --end` first",
            _ => return None,
        };
        Some((model["version"].as_str()?.to_owned(), why))
    });
    used.collect()
}

/// As the next start would have them.
fn written(settings: &Settings, name: &str, now: Timestamp) -> anyhow::Result<Used> {
    const START: &str =
        "the next start takes it; with the daemon running, activate another version first";
    let mut used = Used::new();
    let predicts = settings.prediction.iter().any(|prediction| prediction.model == name);
    let active = Active::beside(&settings.store.path)?;
    match active.of(name) {
        Some(choice) => {
            if let Some(previous) = &choice.previous
                && now < choice.at.saturating_add(settings.runtime.trial)
            {
                used.insert(previous.clone(), "the version after it was activated only lately");
            }
            used.insert(choice.version.clone(), START);
        }
        None if predicts => {
            let highest = model::find(&settings.runtime.models, name)?;
            let version = highest.file_name().map(|name| name.to_string_lossy().into_owned());
            used.extend(version.map(|version| (version, START)));
        }
        None => {}
    }
    if let Some(shadow) = Active::shadows_beside(&settings.store.path)?.of(name) {
        used.insert(shadow.version.clone(), "the next start loads it as a shadow");
    }
    Ok(used)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_the_daemon_uses_stays_and_the_rest_may_go() {
        let model = |name: &str, version: &str, state: &str| json!({ "name": name, "version": version, "state": state });
        let models = json!([
            model("root", "1.0.0", "previous"),
            model("root", "1.1.0", "predicting"),
            model("root", "1.2.0", "shadow"),
            model("root", "1.3.0", "offered"),
            model("root", "1.4.0", "loaded"),
            model("other", "1.3.0", "predicting"),
        ]);
        let used: Vec<String> = told(&models, "root").into_keys().collect();
        assert_eq!(used, ["1.0.0", "1.1.0", "1.2.0"]);
    }
}
