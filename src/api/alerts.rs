//! Alerts: those that stand, what became of them, and what people say to them.

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use serde::Deserialize;
use tokio::sync::oneshot;
use utoipa::{IntoParams, ToSchema};

use super::Desk;
use super::problem::{Asked, Named, Problem, ProblemBody, moment, says_json};
use super::shape::{Alert, Event};
use super::store::limited;
use crate::alert::AlertRecord;
use crate::alert::wire::encode_level;
use crate::http::Caller;
use crate::message::CommandMessage;
use crate::time::Timestamp;
use crate::watch::{Order, Refusal};

const EVENTS: u32 = 1000;

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
#[serde(untagged)]
#[expect(dead_code, reason = "describes the body; the alert room reads it")]
pub(super) enum CommandBody {
    Seen(SeenBody),
    Shelve(ShelveBody),
}

/// Who asks: no control characters, and not only spaces.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(
    min_length = 1,
    max_length = 128,
    pattern = r"^[^\u0000-\u001f\u007f-\u009f]*[^\s\u0000-\u001f\u007f-\u009f][^\u0000-\u001f\u007f-\u009f]*$"
)]
#[expect(dead_code, reason = "describes the body; the alert room reads it")]
pub(super) struct Asker(String);

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "describes the body; the alert room reads it")]
pub(super) struct SeenBody {
    action: SeenAction,
    by: Asker,
    #[schema(max_length = 1024)]
    comment: Option<String>,
    /// If given, the command is for this alert and for no newer one.
    alert_id: Option<String>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "describes the body; the alert room reads it")]
pub(super) struct ShelveBody {
    action: ShelveAction,
    by: Asker,
    /// How long, at least a second and at most 30 days.
    #[schema(
        pattern = "^([1-9][0-9]{0,4}s|[1-9][0-9]{0,3}m|[1-9][0-9]?h|([1-9]|[12][0-9]|30)days)$"
    )]
    r#for: String,
    #[schema(max_length = 1024)]
    comment: Option<String>,
    /// If given, the command is for this alert and for no newer one.
    alert_id: Option<String>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum SeenAction {
    Acknowledge,
    Unshelve,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum ShelveAction {
    Shelve,
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
    Caller(from): Caller,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Result<Json<Alert>, StatusCode>, Problem> {
    says_json(&headers)?;
    let message = CommandMessage {
        asset: encode_level(&asset).into_owned(),
        prediction: encode_level(&prediction).into_owned(),
        body,
        from,
    };
    command(&desk, message).await?;
    Ok(alert(&desk, &asset, &prediction).map(Json).ok_or(StatusCode::NO_CONTENT))
}

/// Hands a command to the watch and waits for what it says.
pub async fn command(desk: &Desk, message: CommandMessage) -> Result<(), Problem> {
    let (reply, answer) = oneshot::channel();
    let stopping = |_| Problem::unavailable("the daemon is stopping");
    desk.orders.send(Order { message, reply }).await.map_err(|_| stopping(()))?;
    answer.await.map_err(|_| stopping(()))?.map_err(|refusal| match refusal {
        Refusal::Malformed(_) => Problem::bad_request(refusal.to_string()),
        Refusal::Unknown(_) | Refusal::Elsewhere(_) => Problem::not_found(refusal.to_string()),
        Refusal::Conflict(_) => Problem::conflict(refusal.to_string()),
    })
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Stretch {
    /// Default: everything that is kept.
    #[param(value_type = Option<String>, format = DateTime)]
    #[serde(default, deserialize_with = "moment")]
    from: Option<Timestamp>,
    /// Exclusive. Default: now.
    #[param(value_type = Option<String>, format = DateTime)]
    #[serde(default, deserialize_with = "moment")]
    to: Option<Timestamp>,
    /// At most 1000, which is the default too.
    #[param(maximum = 1000)]
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
    let limit = limited(stretch.limit.unwrap_or(EVENTS))?;
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
