//! The models of the box: what predicts, what is loaded for requests, what lies in the repository.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::HeaderMap;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Desk;
use super::problem::{Named, Problem, ProblemBody, says_json};
use super::remote::RemoteBody;
use crate::http::Caller;
use crate::message::Origin;
use crate::model::Choice;
use crate::reload::{Swap, SwapError};
use crate::serving::{Place, Row};
use crate::time::Timestamp;

/// Longest name of a person.
const LONGEST_BY: usize = 128;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum ModelState {
    /// Predictions use it.
    Predicting,
    /// Sees what the one that predicts sees, and is compared with it.
    Shadow,
    /// Predicted before the one that is on trial, and is ready to take over again.
    Previous,
    /// Answers requests under `/v2` alone.
    Loaded,
    /// A higher version than the one that predicts: it can be activated. Where no version was ever
    /// chosen, neither here nor in the configuration, a start takes the highest.
    Offered,
    /// Lies in the repository.
    Stored,
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Model {
    name: String,
    version: String,
    state: ModelState,
    /// Of the `.onnx` file, or of the card where a server runs the model; absent unless it is loaded, as are those below.
    sha256: Option<String>,
    /// As read back from the runtime, or `remote` and the server's address.
    device: Option<String>,
    /// Requests under `/v2` that were answered.
    requests: Option<u64>,
    /// Requests that were refused or failed.
    refused: Option<u64>,
    /// The server that runs the model, where one does.
    remote: Option<RemoteBody>,
}

impl From<Row> for Model {
    fn from(row: Row) -> Self {
        let state = match row.place {
            Place::Predicting => ModelState::Predicting,
            Place::Shadow => ModelState::Shadow,
            Place::Previous => ModelState::Previous,
            Place::Loaded => ModelState::Loaded,
            Place::Offered => ModelState::Offered,
            Place::Stored => ModelState::Stored,
        };
        let (name, version) = (row.name, row.version);
        let Some(service) = row.service else {
            let (sha256, device, requests, refused, remote) = (None, None, None, None, None);
            return Self { name, version, state, sha256, device, requests, refused, remote };
        };
        Self {
            name,
            version,
            state,
            sha256: Some(service.identity.sha256.clone()),
            device: Some(service.identity.device.clone()),
            requests: Some(service.stats.succeeded.count()),
            refused: Some(service.stats.failed.count()),
            remote: service.remote.as_ref().map(|remote| remote.snapshot().into()),
        }
    }
}

/// Every model and version, by name, from the lowest version to the highest.
#[utoipa::path(
    get, path = "/api/v1/models",
    responses((status = 200, body = Vec<Model>), (status = 503, body = ProblemBody))
)]
pub(super) async fn list_models(State(desk): State<Desk>) -> Result<Json<Vec<Model>>, Problem> {
    let shelf = Arc::clone(&desk.shelf);
    let rows = tokio::task::spawn_blocking(move || shelf.rows()).await;
    let rows = rows.map_err(|_| Problem::unavailable("the repository cannot be read"))?;
    Ok(Json(rows.into_iter().map(Model::from).collect()))
}

/// `{"version": "1.1.0", "by": "R. Meyer"}`
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ActivateBody {
    version: String,
    /// Who asks, 1 to 128 characters.
    by: String,
}

/// `{"by": "R. Meyer"}`
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RollBackBody {
    /// Who asks, 1 to 128 characters.
    by: String,
}

/// Which version predicts from now on, also after a restart.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Chosen {
    version: String,
    /// Where a rollback leads.
    previous: Option<String>,
    by: String,
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
}

impl From<Choice> for Chosen {
    fn from(choice: Choice) -> Self {
        let Choice { version, previous, by, at } = choice;
        Self { version, previous, by, at }
    }
}

/// Puts a version of the repository in the place of the one that predicts: it is verified as at a
/// start, and taken between two frames. While it is on trial (`runtime.trial`) its first failure
/// brings the old one back.
#[utoipa::path(
    post, path = "/api/v1/models/{name}/activate", params(("name" = String, Path)),
    request_body = ActivateBody,
    responses(
        (status = 200, body = Chosen), (status = 400, body = ProblemBody),
        (status = 401, body = ProblemBody), (status = 403, body = ProblemBody),
        (status = 404, body = ProblemBody), (status = 409, body = ProblemBody),
        (status = 413, description = "Too long"), (status = 415, body = ProblemBody),
        (status = 503, body = ProblemBody),
    )
)]
pub(super) async fn activate_model(
    State(desk): State<Desk>,
    Named(name): Named<String>,
    Caller(from): Caller,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<Chosen>, Problem> {
    let ActivateBody { version, by } = read(&headers, &body)?;
    swap(&desk, Swap::Activate { name, version, by: person(by)? }, from).await
}

/// Takes the version before back, at once while the new one is on trial.
#[utoipa::path(
    post, path = "/api/v1/models/{name}/rollback", params(("name" = String, Path)),
    request_body = RollBackBody,
    responses(
        (status = 200, body = Chosen), (status = 400, body = ProblemBody),
        (status = 401, body = ProblemBody), (status = 403, body = ProblemBody),
        (status = 404, body = ProblemBody), (status = 409, body = ProblemBody),
        (status = 413, description = "Too long"), (status = 415, body = ProblemBody),
        (status = 503, body = ProblemBody),
    )
)]
pub(super) async fn roll_back_model(
    State(desk): State<Desk>,
    Named(name): Named<String>,
    Caller(from): Caller,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<Chosen>, Problem> {
    let RollBackBody { by } = read(&headers, &body)?;
    swap(&desk, Swap::RollBack { name, by: person(by)? }, from).await
}

/// `{"version": "1.1.0", "by": "R. Meyer"}`
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ShadowBody {
    /// Nothing ends the shadow.
    version: Option<String>,
    /// Who asks, 1 to 128 characters.
    by: String,
}

/// Lets a version see what the one that predicts sees, also after a restart: it is verified as at a
/// start, its verdicts are compared and never told. It takes the place of an earlier shadow.
#[utoipa::path(
    post, path = "/api/v1/models/{name}/shadow", params(("name" = String, Path)),
    request_body = ShadowBody,
    responses(
        (status = 200, body = Chosen), (status = 400, body = ProblemBody),
        (status = 401, body = ProblemBody), (status = 403, body = ProblemBody),
        (status = 404, body = ProblemBody), (status = 409, body = ProblemBody),
        (status = 413, description = "Too long"), (status = 415, body = ProblemBody),
        (status = 503, body = ProblemBody),
    )
)]
pub(super) async fn shadow_model(
    State(desk): State<Desk>,
    Named(name): Named<String>,
    Caller(from): Caller,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<Chosen>, Problem> {
    let ShadowBody { version, by } = read(&headers, &body)?;
    let by = person(by)?;
    let asked = match version {
        Some(version) => Swap::Shadow { name, version, by },
        None => Swap::EndShadow { name, by },
    };
    swap(&desk, asked, from).await
}

pub(super) fn read<T: DeserializeOwned>(headers: &HeaderMap, body: &Bytes) -> Result<T, Problem> {
    says_json(headers)?;
    serde_json::from_slice(body)
        .map_err(|error| Problem::bad_request(format!("the request cannot be read: {error}")))
}

pub(super) fn person(by: String) -> Result<String, Problem> {
    let odd = by.chars().any(char::is_control);
    if by.trim().is_empty() || by.chars().count() > LONGEST_BY || odd {
        let message = format!(
            "`by` says who asks, in 1 to {LONGEST_BY} characters without control characters"
        );
        return Err(Problem::bad_request(message));
    }
    Ok(by)
}

async fn swap(desk: &Desk, swap: Swap, from: Origin) -> Result<Json<Chosen>, Problem> {
    Ok(Json(desk.swaps.ask(swap, from).await?.into()))
}

impl From<SwapError> for Problem {
    fn from(error: SwapError) -> Self {
        let message = error.to_string();
        match error {
            SwapError::Unknown(_) | SwapError::Missing(_) => Self::not_found(message),
            SwapError::Refused(_) => Self::bad_request(message),
            SwapError::Conflict(_) | SwapError::Busy => Self::conflict(message),
            SwapError::Choices(_)
            | SwapError::Unwritten(_)
            | SwapError::Repository(_)
            | SwapError::Stopping => Self::unavailable(message),
        }
    }
}
