//! Pictures in small: the last ones of an asset, and the one that raised an alert.

use maud::{Markup, html};

use super::words::{Words, sign};
use super::{ago, moment, number};
use crate::api::shape::{AssetState, Region, Snapshot};
use crate::time::Timestamp;

/// Pictures shown of an asset; the API has more.
pub(super) const SHOWN: usize = 12;

pub(super) fn render(snapshots: &[Snapshot], words: &Words, now: Timestamp) -> Markup {
    html! {
        @if !snapshots.is_empty() {
            h2 { (words.snapshots) }
            ul.snapshots { @for snapshot in snapshots { (one(snapshot, words, now)) } }
        }
    }
}

/// The picture alone; it leads to itself, so that the keyboard gets to it and a browser enlarges it.
/// `place`: where on the page, for its id.
pub(super) fn picture(snapshot: &Snapshot, place: &str, words: &Words) -> Markup {
    let said = verdict(snapshot, words).1;
    let Snapshot { id, path, asset, prediction, width, height, region, .. } = snapshot;
    let worst = region.map(|at| format!(", {}", middle(at, words)));
    html! {
        a.picture id={(place) "-" (id)} href=(path) {
            img src=(path) width=(width) height=(height) alt={(asset) ", " (prediction) ": " (said) (worst.unwrap_or_default())};
            @if let Some(at) = region { (frame(*at)) }
        }
    }
}

fn middle(at: Region, words: &Words) -> String {
    let across = (at.left + at.width / 2.0) * 100.0;
    let down = (at.top + at.height / 2.0) * 100.0;
    format!("{across:.0} % {}, {down:.0} % {}", words.from_left, words.from_top)
}

/// Around where it is worst: light outside, so that it is seen on any picture.
fn frame(Region { left, top, width, height }: Region) -> Markup {
    html! {
        svg viewBox="0 0 1 1" preserveAspectRatio="none" aria-hidden="true" {
            @for class in ["casing", "region"] {
                rect class=(class) x=(left) y=(top) width=(width) height=(height) {}
            }
        }
    }
}

/// Its sign and its word.
fn verdict(snapshot: &Snapshot, words: &Words) -> ((&'static str, &'static str), &'static str) {
    match snapshot.verdict {
        Some("bad") => (sign(AssetState::Alert), words.bad_picture),
        Some(_) => (sign(AssetState::Normal), words.good_picture),
        None => (("silent", "○"), words.no_limit),
    }
}

fn one(snapshot: &Snapshot, words: &Words, now: Timestamp) -> Markup {
    let ((class, shape), word) = verdict(snapshot, words);
    let side = if snapshot.bad == "below" { "<" } else { ">" };
    html! {
        li class={"snapshot " (class)} data-snapshot=(snapshot.id) {
            (picture(snapshot, "last", words))
            p.verdict {
                span.shape aria-hidden="true" { (shape) } " " (word)
                @if let Some(label) = &snapshot.label { " – " (label) }
            }
            p {
                (words.score) " " (number(snapshot.score))
                @if let Some(raise) = snapshot.raise { ", " (words.limit) " " (side) " " (number(raise)) }
            }
            @if let Some(at) = snapshot.region { p { (words.worst_place) " " (middle(at, words)) } }
            p { (moment(snapshot.at)) " (" (ago(snapshot.at, now)) ")" }
            p {
                (snapshot.prediction)
                @if let Some(model) = &snapshot.model { " (" (model) ")" }
            }
            @if snapshot.alert_id.is_some() { p.raised { (words.raised_an_alert) } }
        }
    }
}
