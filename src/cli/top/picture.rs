//! What `andon top` shows, as lines of text; pure.

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::cli::client::{items, plain, text, time};

/// The daemon's answers of one moment.
pub(super) struct Look {
    pub(super) at: Instant,
    pub(super) status: Value,
    pub(super) alerts: Value,
    pub(super) tags: Value,
}

impl Look {
    pub(super) fn to_json(&self) -> Value {
        json!({ "status": self.status, "alerts": self.alerts, "tags": self.tags })
    }
}

/// How a line stands out; words and signs say the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    Plain,
    Head,
    Bad,
    Quiet,
}

/// At most as many alerts, so that tags are seen too.
const ALERTS: usize = 8;

/// One picture of `width` by `height` characters; `before` gives the rates.
pub(super) fn lines(
    look: &Look,
    before: Option<&Look>,
    (width, height): (usize, usize),
) -> Vec<(Tone, String)> {
    let mut page = Vec::new();
    head(&mut page, look, before);
    sources(&mut page, look, before);
    models(&mut page, look, before);
    alerts(&mut page, look);
    tags(&mut page, look);
    page.truncate(height);
    for (_, line) in &mut page {
        *line = plain(line).chars().take(width).collect();
    }
    page
}

fn head(page: &mut Vec<(Tone, String)>, look: &Look, before: Option<&Look>) {
    let status = &look.status;
    let started = time(&status["started"]);
    let title = format!("andon {}  up since {started} UTC  q quits", text(&status["version"]));
    page.push((Tone::Head, title));
    let ledger = |look: &Look| look.status["ledger"]["received"].as_u64();
    let (store, outbox) = (&status["store"], &status["outbox"]);
    page.push((
        Tone::Plain,
        format!(
            "samples {}{}  outbox {}  refused {}  buffer {:.1} MB",
            text(&status["ledger"]["received"]),
            rate(look, before, ledger),
            text(&outbox["waiting"]),
            text(&outbox["dead"]),
            store["bytes"].as_f64().unwrap_or_default() / 1e6,
        ),
    ));
    if store["writable"] == false {
        page.push((Tone::Bad, "✕ the buffer cannot be written".to_owned()));
    }
    let config = &status["config"];
    if config["state"] != "current" {
        page.push((Tone::Bad, format!("✕ configuration: {}", text(&config["state"]))));
        page.extend(
            items(&config["errors"]).map(|error| (Tone::Bad, format!("  {}", text(error)))),
        );
    }
}

fn sources(page: &mut Vec<(Tone, String)>, look: &Look, before: Option<&Look>) {
    page.push((Tone::Quiet, row(&["SOURCE", "STATE", "MESSAGES", "RATE", "ERRORS", ""])));
    for (at, source) in items(&look.status["sources"]).enumerate() {
        let connected = source["connected"] == true;
        let of = |look: &Look| {
            let then = &look.status["sources"][at];
            (then["name"] == source["name"]).then(|| then["messages"].as_u64()).flatten()
        };
        let error = if connected { String::new() } else { text(&source["last_error"]) };
        let cells = [
            &*text(&source["name"]),
            if connected { "● on" } else { "✕ OFF" },
            &*text(&source["messages"]),
            &*rate(look, before, of),
            &*text(&source["errors"]),
            &*error,
        ];
        page.push((if connected { Tone::Plain } else { Tone::Bad }, row(&cells)));
    }
}

fn models(page: &mut Vec<(Tone, String)>, look: &Look, before: Option<&Look>) {
    if items(&look.status["models"]).next().is_none() {
        return;
    }
    page.push((Tone::Quiet, row(&["MODEL", "DEVICE", "ANSWERS", "RATE", "ERRORS", "UNFIT"])));
    for (at, model) in items(&look.status["models"]).enumerate() {
        let of = |look: &Look| look.status["models"][at]["inferences"].as_u64();
        let name = format!("{} {}", text(&model["name"]), text(&model["version"]));
        let cells = [
            &*name,
            &*text(&model["device"]),
            &*text(&model["inferences"]),
            &*rate(look, before, of),
            &*text(&model["errors"]),
            &*text(&model["unfit"]),
        ];
        page.push((Tone::Plain, row(&cells)));
    }
}

fn alerts(page: &mut Vec<(Tone, String)>, look: &Look) {
    let count = items(&look.alerts).count();
    page.push((Tone::Quiet, format!("ALERTS {count}")));
    for alert in items(&look.alerts).take(ALERTS) {
        let (tone, sign) = match alert["state"].as_str() {
            Some("active") => (Tone::Bad, "▲"),
            Some("acknowledged") => (Tone::Plain, "◆"),
            Some("cleared") => (Tone::Plain, "△"),
            _ => (Tone::Quiet, "◐"),
        };
        let [state, since] = [text(&alert["state"]), time(&alert["raised_at"])];
        let who = format!("{} {}", text(&alert["asset"]), text(&alert["prediction"]));
        page.push((tone, format!("{sign} {state:<12} {since}  {who}  {}", text(&alert["text"]))));
    }
    if count > ALERTS {
        page.push((Tone::Quiet, format!("  and {} more", count - ALERTS)));
    }
}

/// Bad ones first.
fn tags(page: &mut Vec<(Tone, String)>, look: &Look) {
    page.push((Tone::Quiet, row(&["TAG", "QUALITY", "VALUE", "UNIT", "AGE", ""])));
    let mut tags: Vec<&Value> = items(&look.tags).collect();
    tags.sort_by_key(|tag| tag["quality"] == "good");
    for tag in tags {
        let good = tag["quality"] == "good";
        let name = format!("{} {}", text(&tag["asset"]), text(&tag["tag"]));
        let value =
            tag["value"].as_f64().map_or_else(|| "missing".into(), |value| format!("{value:.6}"));
        let value = value.trim_end_matches('0').trim_end_matches('.');
        let age = format!("{:.0} s", tag["age"].as_f64().unwrap_or_default());
        let cells = [&*name, &*text(&tag["quality"]), value, &*text(&tag["unit"]), &*age, ""];
        page.push((if good { Tone::Plain } else { Tone::Bad }, row(&cells)));
    }
}

fn row([name, state, count, rate, more, rest]: &[&str; 6]) -> String {
    format!("{name:<34} {state:<10} {count:>12} {rate:>10} {more:>8}  {rest}")
}

/// `12.5/s`, from two looks.
fn rate(look: &Look, before: Option<&Look>, count: impl Fn(&Look) -> Option<u64>) -> String {
    let rate = before.and_then(|before| {
        let seconds = look.at.duration_since(before.at).as_secs_f64();
        let more = count(look)?.saturating_sub(count(before)?);
        (seconds > 0.0).then(|| more as f64 / seconds)
    });
    rate.map_or_else(String::new, |rate| format!(" {rate:.1}/s"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn look(at: Instant, messages: u64) -> Look {
        Look {
            at,
            status: json!({
                "version": "1", "started": "2026-11-23T06:41:23.000Z", "config": {"state": "current"},
                "ledger": {"received": messages * 10}, "store": {"writable": true, "bytes": 1e6},
                "outbox": {"waiting": 0, "dead": 0}, "models": [],
                "sources": [
                    {"name": "mqtt:plant", "connected": true, "messages": messages, "errors": 0},
                    {"name": "modbus:a", "connected": false, "messages": 0, "errors": 3,
                     "last_error": "refused\u{1b}[2J"},
                ],
            }),
            alerts: json!([{"state": "active", "asset": "p", "prediction": "hot", "text": "too hot",
                            "raised_at": "2026-11-23T06:41:23.000Z"}]),
            tags: json!([
                {"asset": "p", "tag": "a", "value": 1.5, "unit": "bar", "quality": "good", "age": 0.4},
                {"asset": "p", "tag": "b", "value": null, "unit": null, "quality": "bad", "age": 9.0},
            ]),
        }
    }

    #[test]
    fn a_picture_shows_rates_what_is_off_and_what_is_bad_first() {
        let begin = Instant::now();
        let (before, now) = (look(begin, 100), look(begin + Duration::from_secs(2), 150));
        let page = lines(&now, Some(&before), (120, 50));
        let text: Vec<&str> = page.iter().map(|(_, line)| line.as_str()).collect();
        let text = text.join("\n");
        for part in ["25.0/s", "250.0/s", "✕ OFF", "refused·[2J", "▲ active", "1.5 bar"] {
            let part = part.split(' ').collect::<Vec<_>>();
            let flat = text.split_whitespace().collect::<Vec<_>>();
            assert!(flat.windows(part.len()).any(|words| words == part), "{part:?} in\n{text}");
        }
        assert!(text.find("p b").unwrap() < text.find("p a").unwrap(), "{text}");
        assert!(!text.contains('\u{1b}'));
        assert_eq!(lines(&now, None, (20, 3)).len(), 3);
        assert!(lines(&now, None, (20, 3)).iter().all(|(_, line)| line.chars().count() <= 20));
    }
}
