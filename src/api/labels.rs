//! What turned out to be true, told over HTTP: the same as over MQTT.

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use utoipa::ToSchema;

use super::Desk;
use super::problem::{Problem, ProblemBody, says_json};
use crate::audit::Entry;
use crate::feedback::{Label, Placed, Unplaced};
use crate::http::Caller;
use crate::time::Timestamp;
use crate::watch::LabelOrder;

/// A window's truth, or an alert's.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "describes the body; the feedback room reads it")]
pub(super) enum LabelBody {
    Window(WindowLabel),
    Alert(AlertLabel),
}

/// `{"asset": "press-3", "prediction": "wear", "time": "2026-11-23T06:41:20Z", "label": "bad"}`
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "describes the body; the feedback room reads it")]
pub(super) struct WindowLabel {
    asset: String,
    prediction: String,
    /// A time in the window, or its end.
    #[schema(value_type = String, format = DateTime)]
    time: Timestamp,
    label: WindowWord,
}

/// `{"alert_id": "…", "label": "false"}`
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "describes the body; the feedback room reads it")]
pub(super) struct AlertLabel {
    alert_id: String,
    label: AlertWord,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum WindowWord {
    Good,
    Bad,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum AlertWord {
    True,
    False,
}

/// The verdict that the label has joined.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Labelled {
    /// `true_positive`, `false_positive`, `true_negative`, `false_negative`; positive is bad.
    outcome: &'static str,
    /// Of the window.
    #[schema(value_type = String, format = DateTime)]
    start: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    end: Timestamp,
    /// `<name>/<version>` of the model that gave the verdict.
    model: String,
    /// The verdict had this label already; nothing was counted.
    repeated: bool,
}

/// Says what a window or an alert turned out to be. 202: the verdict has not come yet, and the
/// label waits for it.
#[utoipa::path(
    post, path = "/api/v1/labels", request_body = LabelBody,
    responses(
        (status = 200, body = Labelled), (status = 202, description = "It waits for its verdict"),
        (status = 400, body = ProblemBody), (status = 401, body = ProblemBody),
        (status = 403, body = ProblemBody), (status = 404, body = ProblemBody),
        (status = 413, description = "Too long"), (status = 415, body = ProblemBody),
        (status = 503, body = ProblemBody),
    )
)]
pub(super) async fn post_label(
    State(desk): State<Desk>,
    Caller(from): Caller,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Result<Json<Labelled>, StatusCode>, Problem> {
    says_json(&headers)?;
    let label = Label::parse(&body, None).map_err(|error| {
        desk.live.feedback().malformed();
        Entry { action: "label", object: "unreadable", by: None, from: &from }.refused(&error);
        Problem::bad_request(error.to_string())
    })?;
    let (reply, answer) = oneshot::channel();
    let stopping = || Problem::unavailable("the daemon is stopping");
    desk.labels.send(LabelOrder { label, from, reply }).await.map_err(|_| stopping())?;
    match answer.await.map_err(|_| stopping())? {
        Ok(Placed::Joined(joined)) => Ok(Ok(Json(Labelled {
            outcome: joined.cell.as_str(),
            start: joined.start,
            end: joined.end,
            model: joined.model,
            repeated: joined.repeated,
        }))),
        Ok(Placed::Waiting) => Ok(Err(StatusCode::ACCEPTED)),
        Err(unplaced) => Err(problem(&unplaced)),
    }
}

fn problem(unplaced: &Unplaced) -> Problem {
    let message = unplaced.to_string();
    match unplaced {
        Unplaced::Crowded => Problem::unavailable(message),
        _ => Problem::not_found(message),
    }
}
