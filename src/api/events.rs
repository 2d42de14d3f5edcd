//! Server-sent events: alerts as they change, assets and readings each second.
//!
//! The next event is made when the last has been taken, from what holds then. So a viewer that
//! stops reading costs nothing, and one that is slow sees fewer events, never old ones.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::stream::{self, Stream};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use utoipa::IntoParams;

use super::Desk;
use super::assets::{assets, tags};
use super::problem::{Asked, ProblemBody};
use super::shape::Alert;
use crate::asset::NamePattern;
use crate::tag::TagInfo;
use crate::time::Timestamp;

const PULSE: Duration = Duration::from_secs(1);

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Interest {
    /// Readings of these assets each second, as `tags` events; `*` stands for any characters.
    asset: Option<String>,
}

struct Viewer {
    desk: Desk,
    interest: Option<NamePattern>,
    moves: watch::Receiver<u64>,
    pulse: Instant,
    waiting: Vec<Event>,
}

/// `alerts` when one changes and at the beginning; `assets`, and `tags` if asked for, each second.
#[utoipa::path(
    get, path = "/api/v1/events", params(Interest),
    responses(
        (status = 200, content_type = "text/event-stream", body = String),
        (status = 400, body = ProblemBody),
    )
)]
pub(super) async fn stream_events(
    State(desk): State<Desk>,
    Asked(interest): Asked<Interest>,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let mut moves = desk.live.moves();
    moves.mark_changed();
    let interest = interest.asset.map(NamePattern::new);
    let viewer = Viewer { desk, interest, moves, pulse: Instant::now(), waiting: Vec::new() };
    Sse::new(stream::unfold(viewer, next)).keep_alive(KeepAlive::default())
}

async fn next(mut viewer: Viewer) -> Option<(Result<Event, Infallible>, Viewer)> {
    loop {
        if let Some(event) = viewer.waiting.pop() {
            return Some((Ok(event), viewer));
        }
        tokio::select! {
            biased;
            () = viewer.desk.stopping.cancelled() => return None,
            moved = viewer.moves.changed() => {
                moved.ok()?;
                viewer.moves.borrow_and_update();
                viewer.waiting = viewer.alerts();
            }
            () = sleep_until(viewer.pulse) => {
                viewer.pulse = Instant::now() + PULSE;
                viewer.waiting = viewer.state();
            }
        }
    }
}

impl Viewer {
    fn alerts(&self) -> Vec<Event> {
        let alerts: Vec<Alert> = self.desk.live.alerts().into_iter().map(Alert::from).collect();
        vec![event("assets", &assets(&self.desk, Timestamp::now())), event("alerts", &alerts)]
    }

    fn state(&self) -> Vec<Event> {
        let now = Timestamp::now();
        let mut events = vec![event("assets", &assets(&self.desk, now))];
        if let Some(interest) = &self.interest {
            let wanted = |info: &TagInfo| interest.matches(&info.asset_name);
            events.push(event("tags", &tags(&self.desk, wanted, now)));
        }
        events
    }
}

fn event<T: Serialize>(name: &str, body: &T) -> Event {
    Event::default().event(name).json_data(body).expect("the shapes have string keys")
}
