//! The board: what the plant engineer and the people at the line see in a browser.
//!
//! Every page is rendered here, whole. The script asks for the page's body again when an alert
//! changes and once a second, and puts it in place; so there is one renderer, and without a
//! script the pages still tell the state of the moment they were made.

mod alerts;
mod asset;
mod config;
mod health;
mod history;
mod models;
mod overview;
mod snapshots;
mod words;

use axum::Router;
use axum::extract::rejection::QueryRejection;
use axum::extract::{FromRequestParts, Path, Query, State};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use maud::{DOCTYPE, Markup, html};
use serde::Deserialize;

use self::words::Words;
use crate::api::{self, Desk, Problem};
use crate::time::Timestamp;

const STYLE: &str = include_str!("board.css");
const SCRIPT: &str = include_str!("board.js");
/// The script sends it when it wants the body alone.
const BODY_ONLY: &str = "x-andon-body";

/// The routes of the board.
pub fn router(desk: Desk) -> Router {
    let style = [(header::CONTENT_TYPE, "text/css; charset=utf-8")];
    let script = [(header::CONTENT_TYPE, "text/javascript; charset=utf-8")];
    Router::new()
        .route("/", get(overview))
        .route("/assets/{asset}", get(asset))
        .route("/history", get(history))
        .route("/models", get(models))
        .route("/health", get(health))
        .route("/config", get(config))
        .route("/board.css", get(move || async move { (style, STYLE) }))
        .route("/board.js", get(move || async move { (script, SCRIPT) }))
        .with_state(desk)
}

/// Who reads: in which language, and whether the body alone.
struct Reader {
    words: &'static Words,
    /// Asked for in the address: links hand it on.
    chosen: bool,
    body_only: bool,
}

#[derive(Debug, Deserialize)]
struct View {
    /// `en` or `de`; without it what the browser prefers.
    lang: Option<String>,
}

impl<S: Send + Sync> FromRequestParts<S> for Reader {
    type Rejection = QueryRejection;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, QueryRejection> {
        let Query(View { lang }) = Query::from_request_parts(parts, state).await?;
        let preferred = parts.headers.get(header::ACCEPT_LANGUAGE);
        let preferred = preferred.and_then(|value| value.to_str().ok());
        Ok(Self {
            chosen: lang.is_some(),
            words: Words::of(lang.as_deref().or(preferred).unwrap_or_default()),
            body_only: parts.headers.contains_key(BODY_ONLY),
        })
    }
}

async fn overview(State(desk): State<Desk>, reader: Reader) -> Response {
    let body = overview::render(&desk, reader.words, Timestamp::now()).await;
    page(&desk, &reader, Page { here: "/", title: reader.words.overview, body })
}

async fn asset(State(desk): State<Desk>, Path(name): Path<String>, reader: Reader) -> Response {
    let now = Timestamp::now();
    let Some(asset) = api::asset(&desk, &name, now) else {
        let body = html! { h1 { (reader.words.no_such_asset) ": " (name) } };
        let page = page(&desk, &reader, Page { here: "", title: &name, body });
        return (StatusCode::NOT_FOUND, page).into_response();
    };
    let besides = asset::Besides::read(&desk, &asset, now).await;
    let body = asset::render(&asset, &besides, reader.words, now);
    page(&desk, &reader, Page { here: "", title: &name, body })
}

async fn history(
    State(desk): State<Desk>,
    Query(asked): Query<history::Stretch>,
    reader: Reader,
) -> Result<Response, Problem> {
    let lang = reader.chosen.then_some(reader.words.lang);
    let body = history::render(&desk, reader.words, &asked, lang).await?;
    Ok(page(&desk, &reader, Page { here: "/history", title: reader.words.history, body }))
}

async fn models(State(desk): State<Desk>, reader: Reader) -> Response {
    let body = models::render(&desk, reader.words);
    page(&desk, &reader, Page { here: "/models", title: reader.words.models, body })
}

async fn health(State(desk): State<Desk>, reader: Reader) -> Response {
    let body = health::render(&desk, reader.words, Timestamp::now());
    page(&desk, &reader, Page { here: "/health", title: reader.words.health, body })
}

async fn config(State(desk): State<Desk>, reader: Reader) -> Response {
    let body = config::render(&desk, reader.words, Timestamp::now());
    page(&desk, &reader, Page { here: "/config", title: reader.words.config, body })
}

struct Page<'a> {
    /// The entry of the menu that this is.
    here: &'a str,
    title: &'a str,
    body: Markup,
}

fn page(desk: &Desk, reader: &Reader, page: Page<'_>) -> Response {
    let Reader { words, chosen, body_only } = reader;
    let Page { here, title, body } = page;
    let body = html! { (health::troubles(desk, words)) (body) };
    if *body_only {
        return body.into_response();
    }
    let menu = [
        ("/", words.overview),
        ("/history", words.history),
        ("/models", words.models),
        ("/health", words.health),
        ("/config", words.config),
    ];
    html! {
        (DOCTYPE)
        html lang=(words.lang) {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) " – " (desk.site) }
                link rel="stylesheet" href="/board.css";
                link rel="icon" href="data:,";
                script src="/board.js" defer {}
            }
            body data-lost=(words.lost) data-failed=(words.failed) data-lang=[chosen.then_some(words.lang)] {
                header {
                    strong { (desk.site) }
                    nav {
                        @for (path, name) in menu {
                            a href={(path) @if *chosen { "?lang=" (words.lang) }} aria-current=[(path == here).then_some("page")] { (name) }
                        }
                    }
                    label { (words.your_name) " " input id="by" autocomplete="name" maxlength="128"; }
                    p #lost role="status" {}
                }
                main { (body) }
            }
        }
    }
    .into_response()
}

/// `3 s`, `5 min`, `2 h`, `4 d`: how long ago, as people say it.
fn ago(then: Timestamp, now: Timestamp) -> String {
    let seconds = now.since(then).as_secs();
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// Four digits that count, without an exponent where it can be helped.
fn number(value: f64) -> String {
    let magnitude = value.abs();
    if magnitude != 0.0 && !(1e-3..1e7).contains(&magnitude) {
        return format!("{value:.2e}");
    }
    let decimals = match magnitude {
        1000.0.. => 0,
        100.0.. => 1,
        10.0.. => 2,
        _ => 3,
    };
    format!("{value:.decimals$}")
}

fn moment(at: Timestamp) -> Markup {
    let text = at.to_rfc3339();
    let short = text.get(..19).map_or_else(|| text.clone(), |text| text.replace('T', " "));
    html! { time datetime=(text) { (short) " UTC" } }
}

fn link(asset: &str) -> String {
    format!("/assets/{}", api::segment(asset))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        let texts = [0.0, 1.0736, 97.25, 137.31, 4212.0, 1.0e-5, -2.5e9].map(number);
        assert_eq!(texts, ["0.000", "1.074", "97.25", "137.3", "4212", "1.00e-5", "-2.50e9"]);
    }
}
