//! The line at a glance: a tile for each asset, and what is wrong.

use maud::{Markup, html};

use super::words::{Words, sign};
use super::{ago, alerts, link};
use crate::api::shape::{Alert, Asset};
use crate::api::{self, Desk};
use crate::time::Timestamp;

pub(super) async fn render(desk: &Desk, words: &Words, now: Timestamp) -> Markup {
    let assets = api::assets(desk, now);
    let active: Vec<Alert> = desk.live.alerts().into_iter().map(Alert::from).collect();
    // Without its picture an alert is still an alert.
    let pictures = api::alert_snapshots(desk, &active).await.unwrap_or_default();
    html! {
        h1 { (words.overview) }
        @if assets.is_empty() { p { (words.no_assets) } }
        ul.tiles {
            @for asset in &assets { (tile(asset, words, now)) }
        }
        h2 { (words.alerts) " " span.count { (active.len()) } }
        (alerts::render(&active, &pictures, words, now))
    }
}

fn tile(asset: &Asset, words: &Words, now: Timestamp) -> Markup {
    let (class, shape) = sign(asset.state);
    html! {
        li class={"tile " (class)} data-asset=(asset.name) {
            a id={"tile-" (asset.name)} href=(link(&asset.name)) {
                span.shape aria-hidden="true" { (shape) }
                strong { (asset.name) }
                span.word { (words.state(asset.state)) }
                @if let Some(text) = &asset.text { span.text { (text) } }
                @else if let Some(last) = asset.last_data { span.text { (words.last_data) ": " (ago(last, now)) } }
            }
        }
    }
}
