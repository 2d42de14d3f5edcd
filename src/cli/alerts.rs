//! `andon alerts`: those that stand, and what a person does with them.

use std::process::ExitCode;

use clap::Subcommand;
use serde_json::{Value, json};

use super::client::{Daemon, segment, table, text, time};
use super::look::{items, whole};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    action: Option<Action>,
    #[command(flatten)]
    daemon: Daemon,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Say that somebody has seen it.
    Ack(Target),
    /// Silence it for a time.
    Shelve {
        #[command(flatten)]
        target: Target,
        /// How long, such as 30m or 8h.
        #[arg(long = "for", value_name = "TIME")]
        span: String,
    },
    /// End its silence.
    Unshelve(Target),
}

#[derive(Debug, clap::Args)]
struct Target {
    asset: String,
    /// The prediction or rule.
    prediction: String,
    /// Who asks.
    #[arg(long, env = "USER")]
    by: String,
    #[arg(long)]
    comment: Option<String>,
    #[command(flatten)]
    daemon: Daemon,
}

pub(super) fn main(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    match &arguments.action {
        None => list(&arguments.daemon),
        Some(Action::Ack(target)) => command(target, "acknowledge", None),
        Some(Action::Shelve { target, span }) => command(target, "shelve", Some(span)),
        Some(Action::Unshelve(target)) => command(target, "unshelve", None),
    }
}

fn list(daemon: &Daemon) -> anyhow::Result<ExitCode> {
    let alerts = daemon.get("/api/v1/alerts", &[])?;
    if daemon.json {
        return whole(&alerts);
    }
    if items(&alerts).next().is_none() {
        println!("No alerts.");
        return Ok(ExitCode::SUCCESS);
    }
    let mut rows =
        table(&["asset", "prediction", "state", "severity", "since", "text", "because of"]);
    for alert in items(&alerts) {
        let reasons: Vec<String> =
            items(&alert["contributions"]).take(2).map(|reason| text(&reason["tag"])).collect();
        rows.add_row([
            text(&alert["asset"]),
            text(&alert["prediction"]),
            text(&alert["state"]),
            text(&alert["severity"]),
            time(&alert["raised_at"]),
            text(&alert["text"]),
            reasons.join(", "),
        ]);
    }
    println!("{rows}");
    Ok(ExitCode::SUCCESS)
}

fn command(target: &Target, action: &str, span: Option<&str>) -> anyhow::Result<ExitCode> {
    let Target { asset, prediction, by, comment, daemon } = target;
    let mut body = json!({ "action": action, "by": by });
    if let Some(comment) = comment {
        body["comment"] = json!(comment);
    }
    if let Some(span) = span {
        body["for"] = json!(span);
    }
    let path = format!("/api/v1/alerts/{}/{}/command", segment(asset), segment(prediction));
    let answer = daemon.post(&path, &body)?;
    if daemon.json {
        return whole(answer.as_ref().unwrap_or(&Value::Null));
    }
    let state = answer.map_or_else(|| "over and seen".to_owned(), |alert| text(&alert["state"]));
    println!("{asset} {prediction}: {state}");
    Ok(ExitCode::SUCCESS)
}
