//! `andon tail`: readings, verdicts or alerts, a line each, as they come.
//!
//! The API is asked in turns. Every transition of an alert is told; of a tag or a verdict that
//! changes more often than it is asked, the newest.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use clap::ValueEnum;
use serde_json::{Value, json};

use super::client::{Daemon, items, plain, text, time};
use crate::api::segment;

/// Transitions of alerts that are asked for each time.
const TRANSITIONS: &str = "1000";

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[arg(default_value = "samples")]
    what: What,
    /// Only these assets; `*` stands for any run of characters.
    #[arg(long, default_value = "*")]
    asset: String,
    /// Only these tags, predictions or rules; `*` stands for any run of characters.
    #[arg(long, default_value = "*")]
    name: String,
    /// Between two looks.
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = humantime::parse_duration)]
    every: Duration,
    /// End after so many lines.
    #[arg(long, value_name = "N")]
    lines: Option<usize>,
    #[command(flatten)]
    daemon: Daemon,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum What {
    /// The newest reading of each tag, whenever there is another.
    Samples,
    /// What predictions and rules say of each window.
    Verdicts,
    /// What happens to alerts.
    Alerts,
}

pub(super) fn main(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let mut seen = Seen::default();
    let mut left = arguments.lines.unwrap_or(usize::MAX);
    // Where nobody answers at the beginning, the address may be wrong; later the daemon restarts.
    let mut fresh = seen.news(arguments.what, &look(arguments)?);
    let mut away = false;
    loop {
        for line in fresh.iter().take(left) {
            print(arguments, line)?;
        }
        left = left.saturating_sub(fresh.len());
        io::stdout().flush()?;
        if left == 0 {
            return Ok(ExitCode::SUCCESS);
        }
        std::thread::sleep(arguments.every);
        fresh = match look(arguments) {
            Ok(found) => {
                away = false;
                seen.news(arguments.what, &found)
            }
            Err(error) => {
                if !std::mem::replace(&mut away, true) {
                    eprintln!("andon: {error:#}; waiting");
                }
                Vec::new()
            }
        };
    }
}

/// What stands now, the oldest first.
fn look(arguments: &Arguments) -> anyhow::Result<Vec<Value>> {
    let Arguments { asset, name, daemon, .. } = arguments;
    let wanted = |value: &Value, key: &str, pattern: &str| {
        crate::asset::NamePattern::new(pattern).matches(value[key].as_str().unwrap_or_default())
    };
    match arguments.what {
        What::Samples => {
            let tags = daemon.get("/api/v1/tags", &[("asset", asset), ("tag", name)])?;
            Ok(items(&tags).cloned().collect())
        }
        What::Alerts => {
            let events = daemon.get("/api/v1/history", &[("limit", TRANSITIONS)])?;
            let mine = |event: &&Value| {
                wanted(&event["alert"], "asset", asset)
                    && wanted(&event["alert"], "prediction", name)
            };
            let mut events: Vec<Value> = items(&events).filter(mine).cloned().collect();
            events.reverse();
            Ok(events)
        }
        What::Verdicts => {
            let assets = daemon.get("/api/v1/assets", &[])?;
            let mut verdicts = Vec::new();
            for found in items(&assets).filter(|found| wanted(found, "name", asset)) {
                let owner = text(&found["name"]);
                let whole = daemon.get(&format!("/api/v1/assets/{}", segment(&owner)), &[])?;
                let mine =
                    |judge: &&Value| wanted(judge, "name", name) && !judge["score"].is_null();
                for judge in items(&whole["judges"]).filter(mine) {
                    let mut judge = judge.clone();
                    judge["asset"] = json!(owner);
                    verdicts.push(judge);
                }
            }
            Ok(verdicts)
        }
    }
}

/// What has been told.
#[derive(Debug, Default)]
struct Seen {
    /// Of each tag or judge, the newest time.
    newest: BTreeMap<String, String>,
    /// The transitions that the last answer held; absent before the first.
    transitions: Option<BTreeSet<String>>,
}

impl Seen {
    /// What of `found` has not been told. Past transitions of alerts are no news at the beginning.
    fn news(&mut self, what: What, found: &[Value]) -> Vec<Value> {
        if what == What::Alerts {
            let key = |event: &Value| {
                let alert = &event["alert"];
                let parts = [&event["at"], &event["cause"], &alert["alert_id"], &alert["state"]];
                parts.map(text).join(" ")
            };
            let now: BTreeSet<String> = found.iter().map(key).collect();
            let before = self.transitions.replace(now);
            let new = |event: &&Value| {
                before.as_ref().is_some_and(|before| !before.contains(&key(event)))
            };
            return found.iter().filter(new).cloned().collect();
        }
        let (name, at) = if what == What::Samples { ("tag", "time") } else { ("name", "at") };
        let mut new = |value: &&Value| {
            let key = format!("{}\n{}", text(&value["asset"]), text(&value[name]));
            let at = text(&value[at]);
            self.newest.insert(key, at.clone()) != Some(at)
        };
        found.iter().filter(|value| new(value)).cloned().collect()
    }
}

fn print(arguments: &Arguments, line: &Value) -> anyhow::Result<()> {
    if arguments.daemon.json {
        println!("{line}");
        return Ok(());
    }
    let parts = match arguments.what {
        What::Samples => {
            let value = match &line["value"] {
                Value::Null => "missing".to_owned(),
                value => format!("{} {}", text(value), text(&line["unit"])),
            };
            vec![
                time(&line["time"]),
                text(&line["asset"]),
                text(&line["tag"]),
                value.trim_end().to_owned(),
                text(&line["quality"]),
            ]
        }
        What::Verdicts => vec![
            time(&line["at"]),
            text(&line["asset"]),
            text(&line["name"]),
            format!("{} {}", text(&line["score"]), text(&line["label"])).trim_end().to_owned(),
            format!("limit {}", text(&line["raise"])),
        ],
        What::Alerts => {
            let alert = &line["alert"];
            vec![
                time(&line["at"]),
                text(&alert["asset"]),
                text(&alert["prediction"]),
                text(&line["cause"]),
                text(&line["by"]),
                text(&alert["text"]),
            ]
        }
    };
    println!("{}", plain(&parts.join("  ")));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reading_is_told_once() {
        let mut seen = Seen::default();
        let reading = |at: &str| json!({ "asset": "a", "tag": "t", "time": at });
        assert_eq!(seen.news(What::Samples, &[reading("1")]).len(), 1);
        assert_eq!(seen.news(What::Samples, &[reading("1")]).len(), 0);
        assert_eq!(seen.news(What::Samples, &[reading("2")]).len(), 1);
    }

    #[test]
    fn past_transitions_are_no_news_and_each_new_one_is_told_once() {
        let mut seen = Seen::default();
        let event = |at: u32, cause: &str| json!({ "at": at, "cause": cause, "alert": {} });
        assert!(seen.news(What::Alerts, &[event(1, "raised")]).is_empty());
        let both = [event(1, "raised"), event(2, "cleared")];
        assert_eq!(seen.news(What::Alerts, &both), [event(2, "cleared")]);
        assert!(seen.news(What::Alerts, &both).is_empty());
    }
}
