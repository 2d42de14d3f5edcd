//! Alerts: those that stand, what became of them, and what people say to them.

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use serde::Deserialize;
use tokio::sync::oneshot;
use utoipa::{IntoParams, ToSchema};

use super::Desk;
use super::problem::{Asked, Named, Problem, ProblemBody};
use super::shape::{Alert, Event};
use crate::alert::AlertRecord;
use crate::alert::wire::encode_level;
use crate::message::CommandMessage;
use crate::time::Timestamp;
use crate::watch::{Order, Refusal};

const MOST_EVENTS: usize = 1000;

/// The alerts that are not over and done with, the gravest first.
#[utoipa::path(get, path = "/api/v1/alerts", responses((status = 200, body = Vec<Alert>)))]
pub(super) async fn list_alerts(State(desk): State<Desk>) -> Json<Vec<Alert>> {
    Json(desk.live.alerts().into_iter().map(Alert::from).collect())
}

/// The alert of one prediction on one asset, if it stands.
pub fn alert(desk: &Desk, asset: &str, prediction: &str) -> Option<Alert> {
    desk.live.alert(asset, prediction).map(Alert::from)
}

/// `{"action": "acknowledge", "by": "R. Meyer"}`: the same body as over MQTT.
#[derive(Debug, Deserialize, ToSchema)]
#[expect(dead_code, reason = "describes the body; the alert room reads it")]
pub(super) struct CommandBody {
    /// `acknowledge`, `shelve` or `unshelve`.
    action: String,
    /// Who asks, 1 to 128 characters.
    by: String,
    comment: Option<String>,
    /// For `shelve`: how long, such as `30m`.
    r#for: Option<String>,
    /// If given, the command is for this alert and for no newer one.
    alert_id: Option<String>,
}

/// Acknowledges, shelves or unshelves an alert. Answers with the alert as it is then, or with
/// nothing when that was its end.
#[utoipa::path(
    post, path = "/api/v1/alerts/{asset}/{prediction}/command",
    params(("asset" = String, Path), ("prediction" = String, Path)),
    request_body = CommandBody,
    responses(
        (status = 200, body = Alert), (status = 204, description = "Over and seen"),
        (status = 400, body = ProblemBody), (status = 401, body = ProblemBody),
        (status = 403, body = ProblemBody), (status = 404, body = ProblemBody),
        (status = 409, body = ProblemBody), (status = 413, description = "Too long"),
        (status = 415, body = ProblemBody), (status = 503, body = ProblemBody),
    )
)]
pub(super) async fn post_command(
    State(desk): State<Desk>,
    Named((asset, prediction)): Named<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Result<Json<Alert>, StatusCode>, Problem> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    if !kind.is_some_and(|kind| kind.starts_with("application/json")) {
        return Err(Problem::unsupported("send the command as `application/json`"));
    }
    command(&desk, &asset, &prediction, body).await?;
    Ok(alert(&desk, &asset, &prediction).map(Json).ok_or(StatusCode::NO_CONTENT))
}

/// Hands a command to the watch and waits for what it says.
pub async fn command(
    desk: &Desk,
    asset: &str,
    prediction: &str,
    body: Bytes,
) -> Result<(), Problem> {
    let message = CommandMessage {
        asset: encode_level(asset).into_owned(),
        prediction: encode_level(prediction).into_owned(),
        body,
    };
    let (reply, answer) = oneshot::channel();
    let stopping = |_| Problem::unavailable("the daemon is stopping");
    desk.orders.send(Order { message, reply }).await.map_err(|_| stopping(()))?;
    answer.await.map_err(|_| stopping(()))?.map_err(|refusal| match refusal {
        Refusal::Malformed(_) => Problem::bad_request(refusal.to_string()),
        Refusal::Unknown(_) => Problem::not_found(refusal.to_string()),
        Refusal::Conflict(_) => Problem::conflict(refusal.to_string()),
    })
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Stretch {
    /// Default: everything that is kept.
    #[param(value_type = Option<String>, format = DateTime)]
    from: Option<Timestamp>,
    /// Exclusive. Default: now.
    #[param(value_type = Option<String>, format = DateTime)]
    to: Option<Timestamp>,
    /// At most 1000, which is the default too.
    limit: Option<u32>,
}

/// What happened to alerts, the newest first.
#[utoipa::path(
    get, path = "/api/v1/history", params(Stretch),
    responses(
        (status = 200, body = Vec<Event>), (status = 400, body = ProblemBody),
        (status = 503, body = ProblemBody),
    )
)]
pub(super) async fn list_history(
    State(desk): State<Desk>,
    Asked(stretch): Asked<Stretch>,
) -> Result<Json<Vec<Event>>, Problem> {
    let limit = stretch.limit.map_or(MOST_EVENTS, |limit| MOST_EVENTS.min(limit as usize));
    let (from, to) = (stretch.from.unwrap_or(Timestamp::MIN), stretch.to.unwrap_or(Timestamp::MAX));
    Ok(Json(history(&desk, from, to, limit).await?))
}

pub(crate) async fn history(
    desk: &Desk,
    from: Timestamp,
    to: Timestamp,
    limit: usize,
) -> Result<Vec<Event>, Problem> {
    let rows = desk.store.alert_events(from, to, limit).await?;
    let event = |row: crate::store::AlertEvent| {
        let record: AlertRecord = serde_json::from_str(&row.state).ok()?;
        let by = match &*row.cause {
            "acknowledged" => record.acknowledged_by.clone(),
            "shelved" => record.shelved_by.clone(),
            _ => None,
        };
        Some(Event { at: row.at, cause: row.cause, by, alert: record.into() })
    };
    Ok(rows.into_iter().filter_map(event).collect())
}
