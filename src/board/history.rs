//! What happened: the newest transitions of alerts, of a stretch of time if one is asked for.

use maud::{Markup, html};
use serde::Deserialize;

use super::words::Words;
use super::{link, moment, number};
use crate::api::{Desk, Problem, history};
use crate::time::Timestamp;

const ROWS: usize = 200;

/// As the form sends it: a browser's `2026-11-28T17:05` (UTC), or RFC 3339; empty is open.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Stretch {
    #[serde(default)]
    from: String,
    /// Exclusive.
    #[serde(default)]
    to: String,
}

impl Stretch {
    fn moment(text: &str, open: Timestamp) -> Result<Timestamp, Problem> {
        if text.is_empty() {
            return Ok(open);
        }
        let known = [text.to_owned(), format!("{text}:00Z"), format!("{text}Z")];
        known.iter().find_map(|text| Timestamp::parse_rfc3339_clamped(text)).ok_or_else(|| {
            Problem::bad_request(format!("`{text}` is not a time; write 2026-11-28T17:05, in UTC"))
        })
    }
}

pub(super) async fn render(
    desk: &Desk,
    words: &Words,
    asked: &Stretch,
    lang: Option<&str>,
) -> Result<Markup, Problem> {
    let from = Stretch::moment(&asked.from, Timestamp::MIN)?;
    let to = Stretch::moment(&asked.to, Timestamp::MAX)?;
    let events = history(desk, from, to, ROWS).await?;
    Ok(html! {
        h1 { (words.history) }
        form.stretch method="get" action="/history" {
            label { (words.from) " " input #from type="datetime-local" name="from" value=(asked.from); }
            label { (words.until) " " input #to type="datetime-local" name="to" value=(asked.to); }
            @if let Some(lang) = lang { input type="hidden" name="lang" value=(lang); }
            button { (words.show) }
            span { "UTC" }
        }
        table {
            thead { tr { th { (words.time) } th { (words.asset) } th { (words.what) } th { (words.who) } th { (words.score) } th {} } }
            tbody {
                @for event in &events {
                    tr class={"cause-" (event.cause)} {
                        td { (moment(event.at)) }
                        td { a href=(link(&event.alert.asset)) { (event.alert.asset) } }
                        td { (event.alert.prediction) ": " (words.cause(&event.cause)) }
                        td { @if let Some(by) = &event.by { (by) } }
                        td { (number(event.alert.score)) }
                        td { (event.alert.text) }
                    }
                }
            }
        }
        @if events.is_empty() { p.none { (words.no_alerts) } }
    })
}
