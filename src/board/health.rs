//! The box itself: sources, models, and what became of every sample.

use maud::{Markup, html};

use super::words::Words;
use super::{ago, number};
use crate::alert::wire::ConfigState;
use crate::api::Desk;
use crate::certificates::Matter;
use crate::time::Timestamp;

/// What keeps the box from its work now; on every page, because no alert is no good news then.
pub(super) fn troubles(desk: &Desk, words: &Words) -> Markup {
    let overview = &desk.overview;
    let sources: Vec<_> = overview.sources.list().iter().map(|source| source.snapshot()).collect();
    let lost: Vec<_> = sources.iter().filter(|source| !source.connected).collect();
    let store = overview.store.stats();
    let certificates = overview.certificates.matters(Timestamp::now());
    let config = overview.config.status();
    let settled = config.state == ConfigState::Current && certificates.is_empty();
    let stored = !store.disk_failing && !store.clock_doubted;
    if settled && lost.is_empty() && overview.publishing() && stored {
        return html! {};
    }
    html! {
        ul.troubles role="status" {
            @for error in &config.errors { li { strong { (words.config_refused) } " " (error) } }
            @if !config.restart.is_empty() {
                li { strong { (words.config_waits) } " " (config.restart.join(", ")) }
            }
            @for source in lost {
                li {
                    strong { (source.name) } " " (words.disconnected)
                    @if let Some(error) = &source.last_error { " – " (error) }
                }
            }
            @if !overview.publishing() {
                li { (words.unpublished) @if store.outbox > 0 { " " (words.outbox) ": " (store.outbox) } }
            }
            @if store.disk_failing { li { (words.unwritable) } }
            @if store.clock_doubted { li { (words.clock_doubted) } }
            @for (certificate, matter) in certificates {
                li {
                    strong { (certificate.file.display()) } " (" (certificate.subject) ") "
                    @match matter {
                        Matter::NotYet => { (words.certificate_not_yet) " " (certificate.not_before) }
                        Matter::Ends(_) | Matter::Ended => { (words.certificate_ends) " " (certificate.not_after) }
                    }
                }
            }
        }
    }
}

pub(super) fn render(desk: &Desk, words: &Words, now: Timestamp) -> Markup {
    let status = desk.overview.status();
    let rows = [
        (words.received, status.ledger.received),
        (words.stored, status.ledger.stored),
        (words.rejected, status.ledger.rejected_total()),
        (words.shed, status.ledger.shed_total()),
    ];
    html! {
        h1 { (words.health) }
        h2 { (words.sources) }
        table {
            thead { tr { th { (words.sources) } th {} th { (words.messages) } th { (words.per_second) } th { (words.errors) } th { (words.last_data) } } }
            tbody {
                @for source in &status.sources {
                    tr class=(if source.connected { "good" } else { "bad" }) {
                        th scope="row" { (source.name) }
                        td {
                            (if source.connected { words.connected } else { words.disconnected })
                            @if let (false, Some(error)) = (source.connected, &source.last_error) { " – " (error) }
                        }
                        td { (source.messages) }
                        td data-rate-of=(source.name) data-count=(source.messages) { "–" }
                        td { (source.errors) }
                        td { @if let Some(last) = source.last_data { (ago(last, now)) } @else { "–" } }
                    }
                }
            }
        }
        h2 { (words.models) }
        table {
            thead { tr { th { (words.model) } th { (words.device) } th { (words.inferences) } th { (words.shed) } th { (words.errors) } th { "⌀ ms" } } }
            tbody {
                @for stats in desk.overview.models.all() {
                    @let stats = stats.snapshot();
                    @let mean = stats.latency_sum.as_secs_f64() * 1e3 / (stats.batches.max(1) as f64);
                    tr class=(if stats.healthy { "good" } else { "bad" }) {
                        th scope="row" { (stats.identity.name) " " (stats.identity.version) }
                        td { (stats.identity.device) }
                        td { (stats.inferences) }
                        td { (stats.replaced) }
                        td { (stats.unhealthy + stats.failed) @if let Some(error) = &stats.last_error { " – " (error) } }
                        td { (number(mean)) }
                    }
                }
            }
        }
        h2 { (words.samples) }
        table {
            tbody {
                @for (word, count) in rows { tr { th scope="row" { (word) } td { (count) } } }
                @for (reason, count) in status.ledger.rejected.iter().filter(|(_, count)| *count > 0) {
                    tr { th scope="row" { (words.rejected) ": " (reason.as_str()) } td { (count) } }
                }
                @for (reason, count) in status.ledger.shed.iter().filter(|(_, count)| *count > 0) {
                    tr { th scope="row" { (words.shed) ": " (reason.as_str()) } td { (count) } }
                }
                tr { th scope="row" { (words.outbox) } td { (status.outbox.waiting) } }
                tr { th scope="row" { (words.dead_letters) } td { (status.outbox.dead) } }
                tr { th scope="row" { (words.disk) } td { (number(status.store.bytes as f64 / 1e6)) " MB" } }
            }
        }
    }
}
