//! `andon model health`: how the models do, and how far their data are from the training.

use std::process::ExitCode;

use anyhow::bail;
use serde_json::Value;

use super::client::{Daemon, items, table, text, whole};

#[derive(Debug, clap::Args)]
pub(super) struct Health {
    /// A prediction or a model; without it all of them.
    name: Option<String>,
    #[command(flatten)]
    daemon: Daemon,
}

pub(super) fn main(arguments: &Health) -> anyhow::Result<ExitCode> {
    let all = arguments.daemon.get("/api/v1/models/health", &[])?;
    let asked = |health: &&Value| {
        let named = |name: &String| health["prediction"] == **name || health["model"] == **name;
        arguments.name.as_ref().is_none_or(named)
    };
    let shown: Vec<Value> = items(&all).filter(asked).cloned().collect();
    if let (true, Some(name)) = (shown.is_empty(), &arguments.name) {
        let known: Vec<_> = items(&all).map(|health| text(&health["prediction"])).collect();
        bail!("no prediction or model is called `{name}`; there are: {}", known.join(", "));
    }
    if arguments.daemon.json {
        return whole(&Value::Array(shown));
    }
    if shown.is_empty() {
        println!("The configuration has no prediction.");
    }
    for health in &shown {
        print(health);
    }
    Ok(ExitCode::SUCCESS)
}

fn print(health: &Value) {
    println!(
        "{}: {} {} on {}, data {}",
        text(&health["prediction"]),
        text(&health["model"]),
        text(&health["version"]),
        text(&health["device"]),
        text(&health["state"]),
    );
    println!(
        "  {} inferences, {} unfit, {} wait, {} shed, {} errors; p50 {} ms, p99 {} ms",
        text(&health["inferences"]),
        text(&health["unfit"]),
        text(&health["waiting"]),
        text(&health["shed"]),
        text(&health["errors"]),
        figure(&health["latency_p50_ms"]),
        figure(&health["latency_p99_ms"]),
    );
    if let Some(reason) = health["last_unfit"].as_str() {
        println!("  the last window it was not asked about: {reason}");
    }
    if let Some(error) = health["last_error"].as_str() {
        println!("  last error: {error}");
    }
    let mut rows =
        table(&["asset", "tag", "state", "missing", "out of range", "psi", "ks", "frames"]);
    for asset in items(&health["assets"]) {
        for feature in items(&asset["features"]) {
            rows.add_row([
                text(&asset["asset"]),
                text(&feature["tag"]),
                text(&feature["state"]),
                percent(&feature["missing"]),
                percent(&feature["outside"]),
                figure(&feature["psi"]),
                figure(&feature["ks"]),
                text(&asset["frames"]),
            ]);
        }
    }
    if rows.is_empty() {
        println!("  no frames yet\n");
    } else {
        println!("{rows}\n");
    }
}

fn figure(value: &Value) -> String {
    value.as_f64().map_or_else(|| "-".to_owned(), |value| format!("{value:.3}"))
}

fn percent(value: &Value) -> String {
    value.as_f64().map_or_else(|| "-".to_owned(), |share| format!("{:.1} %", share * 100.0))
}
