//! `andon status`, `tags`, `history` and `quarantine`: what the running daemon sees.

use std::process::ExitCode;
use std::time::Duration;

use serde_json::Value;

use super::client::{Daemon, List, items, table, text, time, whole};
use super::remote;

#[derive(Debug, clap::Args)]
pub(super) struct Tags {
    /// Assets; `*` stands for any run of characters.
    #[arg(default_value = "*")]
    asset: String,
    /// Tags; `*` stands for any run of characters.
    #[arg(default_value = "*")]
    tag: String,
    #[command(flatten)]
    daemon: Daemon,
}

#[derive(Debug, clap::Args)]
pub(super) struct Newest {
    /// How many, the newest.
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u16).range(0..=1000))]
    limit: u16,
    #[command(flatten)]
    daemon: Daemon,
}

pub(super) fn status(daemon: &Daemon) -> anyhow::Result<ExitCode> {
    let status = daemon.get("/api/v1/status", &[])?;
    if daemon.json {
        return whole(&status);
    }
    println!("andon {}, up since {}", text(&status["version"]), time(&status["started"]));
    configuration(&status["config"]);
    let ledger = &status["ledger"];
    println!(
        "samples: {} received = {} stored + {} rejected + {} shed + {} in flight",
        text(&ledger["received"]),
        text(&ledger["stored"]),
        sum(&ledger["rejected"]),
        sum(&ledger["shed"]),
        text(&ledger["in_flight"]),
    );
    for (kind, reasons) in [("rejected", &ledger["rejected"]), ("shed", &ledger["shed"])] {
        for (reason, count) in reasons.as_object().into_iter().flatten() {
            if count.as_u64() > Some(0) {
                println!("  {kind}: {reason} {count}");
            }
        }
    }
    let (alerts, outbox, store) = (&status["alerts"], &status["outbox"], &status["store"]);
    println!(
        "alerts: {} active, {} seen, {} over and not seen, {} shelved; {} messages wait, {} refused",
        text(&alerts["active"]),
        text(&alerts["acknowledged"]),
        text(&alerts["cleared"]),
        text(&alerts["shelved"]),
        text(&outbox["waiting"]),
        text(&outbox["dead"]),
    );
    println!(
        "buffer: {:.1} MB, {}{}\n",
        store["bytes"].as_f64().unwrap_or_default() / 1e6,
        if store["writable"] == true { "writable" } else { "CANNOT BE WRITTEN" },
        match time(&store["oldest"]) {
            oldest if oldest.is_empty() => String::new(),
            oldest => format!(", from {oldest}"),
        }
    );
    let mut sources =
        table(&["source", "connected", "messages", "errors", "last data", "last error"]);
    for source in items(&status["sources"]) {
        let connected = source["connected"] == true;
        let error = text(&source["last_error"]);
        sources.add_row([
            text(&source["name"]),
            if connected { "yes" } else { "NO" }.to_owned(),
            text(&source["messages"]),
            text(&source["errors"]),
            time(&source["last_data"]),
            // What lies behind a source that is there must not read as if it were now.
            if connected && !error.is_empty() { format!("before: {error}") } else { error },
        ]);
    }
    println!("{sources}");
    if items(&status["models"]).next().is_none() {
        return Ok(ExitCode::SUCCESS);
    }
    let mut models =
        table(&["model", "version", "device", "inferences", "unfit", "shed", "errors"]);
    for model in items(&status["models"]) {
        models.add_row(
            ["name", "version", "device", "inferences", "unfit", "shed", "errors"]
                .map(|field| text(&model[field])),
        );
    }
    println!("\n{models}");
    for model in items(&status["models"]) {
        if let Some(reason) = model["last_unfit"].as_str() {
            let name = text(&model["name"]);
            println!("{name}: the last window it was not asked about: {reason}");
        }
        if let Some(line) = remote::line(&model["remote"]) {
            println!("{}: model server {line}", text(&model["name"]));
        }
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) fn tags(arguments: &Tags) -> anyhow::Result<ExitCode> {
    let list = List {
        path: "/api/v1/tags",
        query: &[("asset", &arguments.asset), ("tag", &arguments.tag)],
        none: "No tags.",
        head: ["asset", "tag", "value", "unit", "quality", "age"],
    };
    list.show(&arguments.daemon, |tag| {
        let age = tag["age"].as_f64().unwrap_or_default();
        let age = Duration::from_secs_f64(age.max(0.0).round());
        [
            text(&tag["asset"]),
            text(&tag["tag"]),
            text(&tag["value"]),
            text(&tag["unit"]),
            text(&tag["quality"]),
            humantime::format_duration(age).to_string(),
        ]
    })
}

pub(super) fn history(arguments: &Newest) -> anyhow::Result<ExitCode> {
    let list = List {
        path: "/api/v1/history",
        query: &[("limit", &arguments.limit.to_string())],
        none: "No alert has been raised.",
        head: ["time", "asset", "prediction", "what", "by", "score", "text"],
    };
    list.show(&arguments.daemon, |event| {
        let alert = &event["alert"];
        [
            time(&event["at"]),
            text(&alert["asset"]),
            text(&alert["prediction"]),
            text(&event["cause"]),
            text(&event["by"]),
            text(&alert["score"]),
            text(&alert["text"]),
        ]
    })
}

pub(super) fn quarantine(arguments: &Newest) -> anyhow::Result<ExitCode> {
    let list = List {
        path: "/api/v1/quarantine",
        query: &[("limit", &arguments.limit.to_string())],
        none: "Every payload could be read.",
        head: ["time", "topic", "reason", "what is wrong", "bytes", "begins with"],
    };
    list.show(&arguments.daemon, |payload| {
        let head = text(&payload["head"]);
        let shown = |c: char| if c.is_control() { '·' } else { c };
        let head: String = head.chars().take(40).map(shown).collect();
        [
            time(&payload["received"]),
            text(&payload["topic"]),
            text(&payload["reason"]),
            text(&payload["detail"]),
            text(&payload["length"]),
            head,
        ]
    })
}

fn configuration(config: &Value) {
    println!(
        "configuration: {}, in effect since {}",
        text(&config["state"]),
        time(&config["loaded"])
    );
    for error in items(&config["errors"]) {
        println!("  {}", text(error));
    }
    let waiting: Vec<String> = items(&config["restart"]).map(text).collect();
    if !waiting.is_empty() {
        println!("  needs a restart: {}", waiting.join(", "));
    }
}

fn sum(reasons: &Value) -> u64 {
    reasons.as_object().into_iter().flatten().filter_map(|(_, count)| count.as_u64()).sum()
}
