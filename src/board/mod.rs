//! The board: what the plant engineer and the people at the line see in a browser.
//!
//! Every page is rendered here, whole. The script asks for the page's body again when an alert
//! changes and once a second, and puts it in place; so there is one renderer, and without a
//! script the pages still tell the state of the moment they were made.

mod alerts;
mod asset;
mod health;
mod history;
mod overview;
mod words;

use axum::Router;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use maud::{DOCTYPE, Markup, html};
use serde::Deserialize;

use self::words::Words;
use crate::api::{self, Desk};
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
        .route("/health", get(health))
        .route("/board.css", get(move || async move { (style, STYLE) }))
        .route("/board.js", get(move || async move { (script, SCRIPT) }))
        .with_state(desk)
}

/// How the reader wants it.
#[derive(Debug, Default, Deserialize)]
struct View {
    /// `en` or `de`; without it what the browser prefers.
    lang: Option<String>,
}

impl View {
    fn words(&self, headers: &HeaderMap) -> &'static Words {
        let preferred = headers.get(header::ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok());
        Words::of(self.lang.as_deref().or(preferred).unwrap_or_default())
    }
}

async fn overview(
    State(desk): State<Desk>,
    Query(view): Query<View>,
    headers: HeaderMap,
) -> Response {
    let words = view.words(&headers);
    let body = overview::render(&desk, words, Timestamp::now());
    page(&desk, words, &headers, Page { here: "/", title: words.overview, body })
}

async fn asset(
    State(desk): State<Desk>,
    Path(name): Path<String>,
    Query(view): Query<View>,
    headers: HeaderMap,
) -> Response {
    let words = view.words(&headers);
    let now = Timestamp::now();
    let Some(asset) = api::asset(&desk, &name, now) else {
        let body = html! { h1 { (words.no_such_asset) ": " (name) } };
        let page = page(&desk, words, &headers, Page { here: "", title: &name, body });
        return (StatusCode::NOT_FOUND, page).into_response();
    };
    let body = asset::render(&asset, words, now);
    page(&desk, words, &headers, Page { here: "", title: &name, body })
}

async fn history(
    State(desk): State<Desk>,
    Query(view): Query<View>,
    headers: HeaderMap,
) -> Response {
    let words = view.words(&headers);
    match history::render(&desk, words).await {
        Ok(body) => {
            page(&desk, words, &headers, Page { here: "/history", title: words.history, body })
        }
        Err(problem) => problem.into_response(),
    }
}

async fn health(
    State(desk): State<Desk>,
    Query(view): Query<View>,
    headers: HeaderMap,
) -> Response {
    let words = view.words(&headers);
    let body = health::render(&desk, words, Timestamp::now());
    page(&desk, words, &headers, Page { here: "/health", title: words.health, body })
}

struct Page<'a> {
    /// The entry of the menu that this is.
    here: &'a str,
    title: &'a str,
    body: Markup,
}

fn page(desk: &Desk, words: &Words, headers: &HeaderMap, page: Page<'_>) -> Response {
    if headers.contains_key(BODY_ONLY) {
        return page.body.into_response();
    }
    let menu = [("/", words.overview), ("/history", words.history), ("/health", words.health)];
    html! {
        (DOCTYPE)
        html lang=(words.lang) {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (page.title) " – " (desk.site) }
                link rel="stylesheet" href="/board.css";
                link rel="icon" href="data:,";
                script src="/board.js" defer {}
            }
            body data-lost=(words.lost) data-failed=(words.failed) {
                header {
                    strong { (desk.site) }
                    nav {
                        @for (path, name) in menu {
                            a href=(path) aria-current=[(path == page.here).then_some("page")] { (name) }
                        }
                    }
                    label { (words.your_name) " " input id="by" autocomplete="name" maxlength="128"; }
                    p #lost role="status" {}
                }
                main { (page.body) }
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

/// For a path: an asset may be called anything.
fn link(asset: &str) -> String {
    let encode = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
            char::from(byte).to_string()
        }
        _ => format!("%{byte:02X}"),
    };
    format!("/assets/{}", asset.bytes().map(encode).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        let texts = [0.0, 1.0736, 97.25, 137.31, 4212.0, 1.0e-5, -2.5e9].map(number);
        assert_eq!(texts, ["0.000", "1.074", "97.25", "137.3", "4212", "1.00e-5", "-2.50e9"]);
    }

    #[test]
    fn odd_names_make_one_path() {
        assert_eq!(link("press 3/a?#ö"), "/assets/press%203%2Fa%3F%23%C3%B6");
    }
}
