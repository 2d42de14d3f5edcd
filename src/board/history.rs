//! What happened: the newest transitions of alerts.

use maud::{Markup, html};

use super::words::Words;
use super::{link, moment, number};
use crate::api::{Desk, Problem, history};
use crate::time::Timestamp;

const ROWS: usize = 200;

pub(super) async fn render(desk: &Desk, words: &Words) -> Result<Markup, Problem> {
    let events = history(desk, Timestamp::MIN, Timestamp::MAX, ROWS).await?;
    Ok(html! {
        h1 { (words.history) }
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
