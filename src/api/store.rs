//! The daemon about itself, and what it could not read or deliver.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use utoipa::IntoParams;

use super::Desk;
use super::problem::{Asked, Problem, ProblemBody};
use super::shape::{DeadLetter, Unreadable};
use crate::alert::wire::StatusBody;

const MOST: u32 = 1000;

/// The same as the retained status message: ledger, sources, models, outbox, disk.
#[utoipa::path(
    get, path = "/api/v1/status",
    responses((status = 200, body = Object, description = "As docs/schema/status.json says"))
)]
pub(super) async fn get_status(State(desk): State<Desk>) -> Json<StatusBody> {
    Json(desk.overview.status())
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Limit {
    /// At most 1000; default 100.
    #[param(maximum = 1000)]
    limit: Option<u32>,
}

impl Limit {
    fn get(&self) -> Result<usize, Problem> {
        limited(self.limit.unwrap_or(100))
    }
}

/// How many rows are asked for.
pub(super) fn limited(limit: u32) -> Result<usize, Problem> {
    if limit > MOST {
        return Err(Problem::bad_request(format!("`limit` is {limit}; write 0 to {MOST}")));
    }
    Ok(limit as usize)
}

/// Payloads that could not be read, the newest first.
#[utoipa::path(
    get, path = "/api/v1/quarantine", params(Limit),
    responses(
        (status = 200, body = Vec<Unreadable>), (status = 400, body = ProblemBody),
        (status = 503, body = ProblemBody),
    )
)]
pub(super) async fn list_quarantine(
    State(desk): State<Desk>,
    Asked(limit): Asked<Limit>,
) -> Result<Json<Vec<Unreadable>>, Problem> {
    let items = desk.store.quarantined(limit.get()?).await?;
    let shape = |item: crate::message::Quarantined| Unreadable {
        received: item.received,
        source: item.source,
        topic: item.topic,
        reason: item.reason,
        detail: item.detail,
        head: String::from_utf8_lossy(&item.head).into_owned(),
        length: item.length,
    };
    Ok(Json(items.into_iter().map(shape).collect()))
}

/// Alert messages that the broker refused, the newest first.
#[utoipa::path(
    get, path = "/api/v1/dead-letters", params(Limit),
    responses(
        (status = 200, body = Vec<DeadLetter>), (status = 400, body = ProblemBody),
        (status = 503, body = ProblemBody),
    )
)]
pub(super) async fn list_dead_letters(
    State(desk): State<Desk>,
    Asked(limit): Asked<Limit>,
) -> Result<Json<Vec<DeadLetter>>, Problem> {
    let letters = desk.store.dead_letters(limit.get()?).await?;
    let shape = |letter: crate::store::DeadLetter| DeadLetter {
        at: letter.at,
        topic: letter.outgoing.message.topic,
        reason: letter.reason,
        body: String::from_utf8_lossy(&letter.outgoing.message.body).into_owned(),
    };
    Ok(Json(letters.into_iter().map(shape).collect()))
}
