//! Alerts as cards: what, since when, why, who says so, and what a person can do.

use maud::{Markup, html};

use super::words::Words;
use super::{ago, link, number};
use crate::api::shape::{Alert, AssetState, Reason};
use crate::time::Timestamp;

/// Reasons shown; the rest stands in the alert's message.
const REASONS: usize = 3;

pub(super) fn render(alerts: &[Alert], words: &Words, now: Timestamp) -> Markup {
    html! {
        @if alerts.is_empty() { p.none { (words.no_alerts) } }
        @for alert in alerts { (card(alert, words, now)) }
    }
}

fn card(alert: &Alert, words: &Words, now: Timestamp) -> Markup {
    let state = match alert.state.as_str() {
        "active" => AssetState::Alert,
        "acknowledged" => AssetState::Acknowledged,
        "cleared" => AssetState::Cleared,
        _ => AssetState::Shelved,
    };
    let (class, shape) = super::words::sign(state);
    let who = alert.model.as_deref().unwrap_or(words.rule);
    html! {
        article class={"card " (class)} data-asset=(alert.asset) data-prediction=(alert.prediction) {
            h3 {
                span.shape aria-hidden="true" { (shape) } " "
                a href=(link(&alert.asset)) { (alert.asset) } " – " (words.state(state))
            }
            p.text { (alert.text) }
            @if let Some(note) = alert.note.as_deref().filter(|note| !alert.text.contains(note)) {
                blockquote.note { (note) }
            }
            p {
                (alert.prediction) " (" (who)
                @if let Some(device) = &alert.device { " · " (device) }
                ") " (words.says) ": " (words.score) " " (number(alert.score)) ", " (words.limit) " " (number(alert.threshold))
                @if let Some(raised) = alert.raised_at {
                    " · " (words.since) " " (super::moment(raised)) " (" (ago(raised, now)) ")"
                }
            }
            @if !alert.contributions.is_empty() { (reasons(&alert.contributions, words)) }
            @if let Some(by) = &alert.acknowledged_by { p { (words.seen_by) " " (by) } }
            @if let (Some(by), Some(until)) = (&alert.shelved_by, alert.shelved_until) {
                p { (by) " · " (words.until) " " (super::moment(until)) }
            }
            @if let Some(comment) = &alert.comment { p { "“" (comment) "”" } }
            p.actions {
                @match state {
                    AssetState::Alert | AssetState::Cleared => {
                        (button(alert, "acknowledge", words.acknowledge))
                        (button(alert, "shelve", words.shelve))
                    }
                    AssetState::Acknowledged => (button(alert, "shelve", words.shelve)),
                    _ => (button(alert, "unshelve", words.unshelve)),
                }
                span role="alert" {}
            }
        }
    }
}

fn button(alert: &Alert, action: &str, word: &str) -> Markup {
    html! {
        button id={(action) "-" (alert.asset) "-" (alert.prediction)}
            data-action=(action) data-alert=(alert.alert_id) { (word) }
    }
}

fn reasons(reasons: &[Reason], words: &Words) -> Markup {
    let whole: f64 = reasons.iter().map(|reason| reason.share.abs()).sum();
    html! {
        p { (words.because) }
        ul.reasons {
            @for reason in reasons.iter().take(REASONS) {
                @let percent = if whole > 0.0 { reason.share.abs() / whole * 100.0 } else { 0.0 };
                li {
                    meter min="0" max="100" value=(format!("{percent:.0}")) {}
                    " " (reason.tag)
                    @if let Some(value) = reason.value { " = " (number(value)) }
                    " (" (format!("{percent:.0}")) " %)"
                }
            }
        }
    }
}
