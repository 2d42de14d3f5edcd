//! The configuration: the files as they run, or as they are refused, with what is wrong at its
//! line, and what the next start would change.

use maud::{Markup, html};

use super::words::Words;
use super::{ago, moment};
use crate::alert::wire::ConfigState;
use crate::api::Desk;
use crate::config::{Diagnostic, Severity, Sheet, masked};
use crate::time::Timestamp;

/// Lines shown of one file.
const LINES: usize = 5000;
/// A line is shown to this many characters.
const WIDE: usize = 400;

pub(super) fn render(desk: &Desk, words: &Words, now: Timestamp) -> Markup {
    let (status, papers) = (desk.overview.config.status(), desk.overview.config.papers());
    let refused = status.state == ConfigState::Refused;
    let shown = if papers.refused.is_empty() { &papers.running } else { &papers.refused };
    html! {
        h1 { (words.config) }
        p {
            (words.in_effect) " " (moment(status.loaded)) " (" (ago(status.loaded, now)) ")"
            @if refused { " – " (words.runs_on) }
        }
        @if papers.findings.is_empty() { p.none { (words.no_findings) } } @else {
            ul.findings {
                @for found in papers.findings.iter() {
                    li class=(class(found)) {
                        @match sheet_of(shown, found) {
                            Some(sheet) if found.line > 0 => {
                                a href={"#L" (sheet) "-" (found.line)} {
                                    (found.file) ":" (found.line) ":" (found.column)
                                }
                            }
                            _ => (found.file),
                        }
                        ": " (masked(&found.message))
                    }
                }
            }
        }
        @if !papers.waiting.is_empty() {
            h2 { (words.config_waits) }
            table {
                tbody {
                    @for change in papers.waiting.iter() {
                        tr { td { (masked(&change.to_string())) } }
                    }
                }
            }
        }
        @for (at, sheet) in shown.iter().enumerate() { (file(at, sheet, &papers.findings)) }
        @if !papers.refused.is_empty() {
            details id="running" {
                summary { (words.what_runs) }
                @for (at, sheet) in papers.running.iter().enumerate() {
                    (file(shown.len() + at, sheet, &[]))
                }
            }
        }
    }
}

fn sheet_of(sheets: &[Sheet], found: &Diagnostic) -> Option<usize> {
    sheets.iter().position(|sheet| sheet.file == found.file)
}

fn file(at: usize, sheet: &Sheet, findings: &[Diagnostic]) -> Markup {
    let own = |line: usize| {
        findings.iter().filter(move |found| found.file == sheet.file && found.line == line)
    };
    html! {
        h2 { (sheet.file) }
        pre.sheet tabindex="0" {
            @for (number, text) in (1..).zip(sheet.text.lines().take(LINES)) {
                @let wrong = own(number).next().is_some();
                span id={"L" (at) "-" (number)} class=(if wrong { "line wrong" } else { "line" }) {
                    (format!("{number:>5} │ {}\n", readable(text)))
                }
                @for found in own(number) { (finding(found)) }
            }
            @if sheet.text.lines().nth(LINES).is_some() { "    … │\n" }
        }
    }
}

/// Tabs become spaces, so that the caret stands where it should.
fn readable(line: &str) -> String {
    let clean = |c: char| if c.is_control() { ' ' } else { c };
    masked(line).chars().take(WIDE).map(clean).collect()
}

fn finding(found: &Diagnostic) -> Markup {
    let column = found.column.clamp(1, WIDE);
    let carets = "^".repeat(found.width().min(WIDE));
    html! {
        span class={"finding " (class(found))} {
            (format!("      │ {}{carets}\n", " ".repeat(column - 1)))
            (format!("      │ {}: {}\n", found.severity, masked(&found.message)))
            @if let Some(help) = &found.help { (format!("      │ help: {help}\n")) }
        }
    }
}

fn class(found: &Diagnostic) -> &'static str {
    match found.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    }
}
