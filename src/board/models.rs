//! The models: how each prediction does, how its scores are spread, and whether its data still
//! look like those of the training.

use maud::{Markup, html};

use super::words::Words;
use super::{link, moment, number};
use crate::api::health::{AssetHealth, DriftState, LabelHealth, ModelHealth, ScoreSpread};
use crate::api::remote::RemoteBody;
use crate::api::shadow::ShadowHealth;
use crate::api::{self, Desk};

const WIDTH: f64 = 600.0;
const HEIGHT: f64 = 120.0;

pub(super) fn render(desk: &Desk, words: &Words) -> Markup {
    let models = api::health::model_health(desk);
    html! {
        h1 { (words.models) }
        @if models.is_empty() { p.none { (words.no_models) } }
        @for model in &models { (prediction(model, words)) }
    }
}

/// Shape and word say what the colour says.
const fn sign(state: DriftState) -> (&'static str, &'static str) {
    match state {
        DriftState::Unknown => ("silent", "◌"),
        DriftState::Normal => ("normal", "●"),
        DriftState::Near => ("acknowledged", "◆"),
        DriftState::Drifted => ("alert", "▲"),
    }
}

fn state(state: DriftState, words: &Words) -> Markup {
    let (class, shape) = sign(state);
    html! { span.state.(class) { span aria-hidden="true" { (shape) } " " (words.drift[state as usize]) } }
}

fn prediction(health: &ModelHealth, words: &Words) -> Markup {
    let millis = |span: Option<f64>| span.map_or_else(|| "–".to_owned(), number);
    html! {
        h2 { (health.prediction) " – " (state(health.state, words)) }
        table {
            thead { tr {
                th { (words.model) } th { (words.device) } th { "p50 / p99, ms" }
                th { (words.inferences) } th { (words.unfit) } th { (words.waiting) } th { (words.shed) } th { (words.errors) }
            } }
            tbody { tr class=(if health.healthy { "good" } else { "bad" }) {
                th scope="row" { (health.model) " " (health.version) }
                td { (health.device) }
                td { (millis(health.latency_p50_ms)) " / " (millis(health.latency_p99_ms)) }
                td { (health.inferences) }
                td { (health.unfit) }
                td { (health.waiting) }
                td { (health.shed) }
                td {
                    (health.errors)
                    @if let (false, Some(error)) = (health.healthy, &health.last_error) { " – " (error) }
                }
            } }
        }
        @if let Some(server) = &health.remote { (remote(server, words)) }
        @if let Some(reason) = &health.last_unfit { p { (words.last_unfit) ": " (reason) } }
        @if health.labels.total() > 0 { (labels(&health.labels, words)) }
        @if let Some(candidate) = &health.shadow { (shadow(candidate, words)) }
        @for found in &health.assets { (asset(found, health.raise, words)) }
    }
}

fn remote(server: &RemoteBody, words: &Words) -> Markup {
    let (class, shape, word) = match server.breaker {
        "closed" => ("normal", "●", words.remote[0]),
        "open" => ("alert", "▲", words.remote[2]),
        _ => ("acknowledged", "◆", words.remote[1]),
    };
    let failed = server.failures.iter().filter(|(_, count)| **count > 0);
    html! {
        p {
            (words.model_server) " " (server.url) " – "
            span.state.(class) { span aria-hidden="true" { (shape) } " " (word) }
            ". " (words.requests) ": " (server.requests)
            @for (kind, count) in failed { ", " (kind) " " (count) }
            @if server.has_fallback { ". " (words.fallbacks) ": " (server.fallbacks) }
            @if let (true, Some(error)) = (server.breaker != "closed", &server.last_error) { ". " (error) }
        }
    }
}

fn labels(labels: &LabelHealth, words: &Words) -> Markup {
    let share = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), |v| format!("{v:.3}"));
    html! {
        table {
            thead { tr {
                th { (words.labels) } th { (words.precision) } th { (words.recall) } th { "F1" }
                th { "TP" } th { "FP" } th { "TN" } th { "FN" } th { (words.recent_errors) }
            } }
            tbody { tr class=(if labels.risen == 0 { "good" } else { "bad" }) {
                th scope="row" { (labels.total()) }
                td { (share(labels.precision)) }
                td { (share(labels.recall)) }
                td { (share(labels.f1)) }
                td { (labels.true_positives) }
                td { (labels.false_positives) }
                td { (labels.true_negatives) }
                td { (labels.false_negatives) }
                td {
                    (labels.recent_errors.map_or_else(|| "–".to_owned(), |e| format!("{:.0} %", e * 100.0)))
                    @if labels.risen > 0 { " ▲" }
                }
            } }
        }
    }
}

fn shadow(shadow: &ShadowHealth, words: &Words) -> Markup {
    let share = |value: Option<f64>| {
        value.map_or_else(|| "–".to_owned(), |share| format!("{:.1} %", share * 100.0))
    };
    let differing = shadow.differing.iter().map(|pair| (pair, true));
    let agreeing = shadow.last.iter().filter(|pair| pair.active_bad == pair.shadow_bad);
    let pairs = differing.chain(agreeing.map(|pair| (pair, false)));
    html! {
        h3 { (words.shadow) " " (shadow.version) ", " (words.since) " " (moment(shadow.since)) ", " (shadow.by) }
        table {
            thead { tr {
                th { (words.compared) } th { (words.agreement) } th { (words.only_active) }
                th { (words.only_shadow) } th { (words.difference) } th { (words.alerts) }
                th { (words.shed) } th { (words.errors) }
            } }
            tbody { tr class=(if shadow.errors == 0 { "good" } else { "bad" }) {
                th scope="row" { (shadow.compared) }
                td { (share(shadow.agreement)) }
                td { (shadow.only_active) }
                td { (shadow.only_shadow) }
                td { (shadow.difference_mean.map_or_else(|| "–".to_owned(), number)) " / " (number(shadow.difference_max)) }
                td { (shadow.active_alerts) " / " (shadow.shadow_alerts) }
                td { (shadow.shed) }
                td {
                    (shadow.errors)
                    @if let (1.., Some(error)) = (shadow.errors, &shadow.last_error) { " – " (error) }
                }
            } }
        }
        @if shadow.labels.total() > 0 { (labels(&shadow.labels, words)) }
        @if shadow.compared > 0 {
            table {
                thead { tr {
                    th { (words.last_compared) } th { (words.asset) } th { (words.score) } th { (words.shadow) } th {}
                } }
                tbody {
                    @for (pair, differs) in pairs {
                        tr {
                            th scope="row" { (moment(pair.end)) }
                            td { (pair.asset) }
                            td { (number(pair.active)) @if pair.active_bad { " ▲" } }
                            td { (number(pair.shadow)) @if pair.shadow_bad { " ▲" } }
                            td { @if differs { "≠" } @else { "=" } }
                        }
                    }
                }
            }
        }
    }
}

fn asset(found: &AssetHealth, raise: Option<f64>, words: &Words) -> Markup {
    let percent = |share: f64| format!("{:.1} %", share * 100.0);
    let figure = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), |v| format!("{v:.3}"));
    html! {
        h3 { a href=(link(&found.asset)) { (found.asset) } " – " (state(found.state, words)) }
        div.health {
            table {
                thead { tr {
                    th { (words.tag) } th { (words.drift_head) } th { (words.missing) }
                    th { (words.outside) } th { "PSI" } th { "KS" }
                } }
                tbody {
                    @for feature in &found.features {
                        tr {
                            th scope="row" { (feature.tag) }
                            td { (state(feature.state, words)) }
                            td { (percent(feature.missing)) }
                            td { (feature.outside.map_or_else(|| "–".to_owned(), percent)) }
                            td { (figure(feature.psi)) }
                            td { (figure(feature.ks)) }
                        }
                    }
                }
            }
            figure {
                figcaption { strong { (words.score) } span { (found.frames) " " (words.frames) } }
                (bars(&found.scores, raise, words))
                small { span { (number(found.scores.from)) } span { (number(found.scores.to)) } }
            }
        }
    }
}

fn bars(spread: &ScoreSpread, raise: Option<f64>, words: &Words) -> Markup {
    let most = f64::from(spread.counts.iter().copied().max().unwrap_or(0).max(1));
    let width = WIDTH / spread.counts.len().max(1) as f64;
    let limit = raise.map(|raise| (raise - spread.from) / (spread.to - spread.from) * WIDTH);
    html! {
        svg role="img" aria-label=(words.score) viewBox={"0 0 " (WIDTH) " " (HEIGHT)} preserveAspectRatio="none" {
            @for (at, count) in spread.counts.iter().enumerate().filter(|(_, count)| **count > 0) {
                @let height = (f64::from(*count) / most * HEIGHT).max(2.0);
                rect.bar x=(format!("{:.1}", at as f64 * width)) y=(format!("{:.1}", HEIGHT - height))
                    width=(format!("{:.1}", width - 2.0)) height=(format!("{height:.1}"))
                    { title { (count) } }
            }
            @if let Some(x) = limit {
                line.limit x1=(format!("{x:.1}")) x2=(format!("{x:.1}")) y1="0" y2=(HEIGHT)
                    { title { (words.limit) } }
            }
        }
    }
}
