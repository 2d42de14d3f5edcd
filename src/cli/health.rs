//! `andon model health`: how the models do, and how far their data are from the training.

use std::process::ExitCode;

use anyhow::bail;
use serde_json::Value;

use super::client::{Daemon, items, plain, table, text, time, whole};
use super::remote;

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
    if let Some(line) = remote::line(&health["remote"]) {
        println!("  model server {line}");
    }
    labels(&health["labels"], "");
    if health["shadow"].is_object() {
        shadow(&health["shadow"]);
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

fn shadow(shadow: &Value) {
    let share = |key: &str| percent(&shadow[key]);
    println!(
        "  shadow {} on {}, since {}: {} frames compared, {} agree; only active bad {}, only shadow {}",
        text(&shadow["version"]),
        text(&shadow["device"]),
        time(&shadow["since"]),
        text(&shadow["compared"]),
        share("agreement"),
        text(&shadow["only_active"]),
        text(&shadow["only_shadow"]),
    );
    println!(
        "    score difference mean {}, max {}; alerts: active {}, shadow would have {}",
        figure(&shadow["difference_mean"]),
        figure(&shadow["difference_max"]),
        text(&shadow["active_alerts"]),
        text(&shadow["shadow_alerts"]),
    );
    println!(
        "    {} wait, {} shed, {} unfit, {} answered by one alone, {} errors; p50 {} ms, p99 {} ms",
        text(&shadow["waiting"]),
        text(&shadow["shed"]),
        text(&shadow["unfit"]),
        text(&shadow["alone"]),
        text(&shadow["errors"]),
        figure(&shadow["latency_p50_ms"]),
        figure(&shadow["latency_p99_ms"]),
    );
    if let Some(error) = shadow["last_error"].as_str() {
        println!("    last error: {error}");
    }
    labels(&shadow["labels"], "  shadow's ");
    for pair in items(&shadow["differing"]) {
        let said = |side: &str| {
            let bad = pair[format!("{side}_bad")].as_bool().unwrap_or(false);
            format!("{} ({})", figure(&pair[side]), if bad { "bad" } else { "good" })
        };
        let (asset, end) = (plain(&text(&pair["asset"])), time(&pair["end"]));
        println!("    {end} {asset}: active {}, shadow {}", said("active"), said("shadow"));
    }
}

fn labels(labels: &Value, whose: &str) {
    let cells = ["true_positives", "false_positives", "true_negatives", "false_negatives"];
    let counts = cells.map(|cell| labels[cell].as_u64().unwrap_or(0));
    if counts.iter().sum::<u64>() > 0 {
        let [tp, fp, tn, fn_] = counts;
        println!(
            "  {whose}labels: precision {}, recall {}, F1 {} ({tp} TP, {fp} FP, {tn} TN, {fn_} FN); {} wrong of the last",
            figure(&labels["precision"]),
            figure(&labels["recall"]),
            figure(&labels["f1"]),
            percent(&labels["recent_errors"]),
        );
    }
    if labels["risen"].as_u64().is_some_and(|risen| risen > 0) {
        println!("  it is wrong more often than it was, on {} assets", text(&labels["risen"]));
    }
    for earlier in items(&labels["earlier"]) {
        println!(
            "  {} before: {} labels, precision {}, recall {}",
            text(&earlier["model"]),
            text(&earlier["labels"]),
            figure(&earlier["precision"]),
            figure(&earlier["recall"]),
        );
    }
    let lost = items(&labels["unplaced"]);
    let lost: Vec<_> =
        lost.map(|l| format!("{} {}", text(&l["count"]), text(&l["reason"]))).collect();
    if !lost.is_empty() {
        println!("  {whose}labels without a verdict: {}", lost.join(", "));
    }
}

fn figure(value: &Value) -> String {
    value.as_f64().map_or_else(|| "-".to_owned(), |value| format!("{value:.3}"))
}

fn percent(value: &Value) -> String {
    value.as_f64().map_or_else(|| "-".to_owned(), |share| format!("{:.1} %", share * 100.0))
}
