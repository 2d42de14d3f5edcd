//! `andon status`, `tags`, `history` and `quarantine`: what the running daemon sees.

use std::process::ExitCode;

use serde_json::Value;

use super::client::{Daemon, table, text, time};

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
    #[arg(long, value_name = "N", default_value_t = 50)]
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
        sources.add_row([
            text(&source["name"]),
            if source["connected"] == true { "yes" } else { "NO" }.to_owned(),
            text(&source["messages"]),
            text(&source["errors"]),
            time(&source["last_data"]),
            text(&source["last_error"]),
        ]);
    }
    println!("{sources}\n");
    let mut models = table(&["model", "version", "device", "inferences", "shed", "errors"]);
    for model in items(&status["models"]) {
        models.add_row(
            ["name", "version", "device", "inferences", "shed", "errors"]
                .map(|field| text(&model[field])),
        );
    }
    println!("{models}");
    Ok(ExitCode::SUCCESS)
}

pub(super) fn tags(arguments: &Tags) -> anyhow::Result<ExitCode> {
    let query = [("asset", arguments.asset.as_str()), ("tag", arguments.tag.as_str())];
    let tags = arguments.daemon.get("/api/v1/tags", &query)?;
    if arguments.daemon.json {
        return whole(&tags);
    }
    let mut rows = table(&["asset", "tag", "value", "unit", "quality", "age"]);
    for tag in items(&tags) {
        let age = tag["age"].as_f64().unwrap_or_default();
        let age = std::time::Duration::from_secs_f64(age.max(0.0).round());
        rows.add_row([
            text(&tag["asset"]),
            text(&tag["tag"]),
            text(&tag["value"]),
            text(&tag["unit"]),
            text(&tag["quality"]),
            humantime::format_duration(age).to_string(),
        ]);
    }
    println!("{rows}");
    Ok(ExitCode::SUCCESS)
}

pub(super) fn history(arguments: &Newest) -> anyhow::Result<ExitCode> {
    let events =
        arguments.daemon.get("/api/v1/history", &[("limit", &arguments.limit.to_string())])?;
    if arguments.daemon.json {
        return whole(&events);
    }
    let mut rows = table(&["time", "asset", "prediction", "what", "score", "text"]);
    for event in items(&events) {
        let alert = &event["alert"];
        rows.add_row([
            time(&event["at"]),
            text(&alert["asset"]),
            text(&alert["prediction"]),
            text(&event["cause"]),
            text(&alert["score"]),
            text(&alert["text"]),
        ]);
    }
    println!("{rows}");
    Ok(ExitCode::SUCCESS)
}

pub(super) fn quarantine(arguments: &Newest) -> anyhow::Result<ExitCode> {
    let payloads =
        arguments.daemon.get("/api/v1/quarantine", &[("limit", &arguments.limit.to_string())])?;
    if arguments.daemon.json {
        return whole(&payloads);
    }
    let mut rows = table(&["time", "topic", "reason", "what is wrong", "bytes", "begins with"]);
    for payload in items(&payloads) {
        let head: String = text(&payload["head"]).chars().take(40).collect();
        rows.add_row([
            time(&payload["received"]),
            text(&payload["topic"]),
            text(&payload["reason"]),
            text(&payload["detail"]),
            text(&payload["length"]),
            head.escape_debug().to_string(),
        ]);
    }
    println!("{rows}");
    Ok(ExitCode::SUCCESS)
}

pub(super) fn whole(answer: &Value) -> anyhow::Result<ExitCode> {
    println!("{}", serde_json::to_string_pretty(answer)?);
    Ok(ExitCode::SUCCESS)
}

pub(super) fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

fn sum(reasons: &Value) -> u64 {
    reasons.as_object().into_iter().flatten().filter_map(|(_, count)| count.as_u64()).sum()
}
