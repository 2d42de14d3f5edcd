//! The models of the box: what predicts, what is loaded for requests, what lies in the repository.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::Desk;
use super::problem::{Problem, ProblemBody};
use crate::serving::{Place, Row};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum ModelState {
    /// Predictions use it.
    Predicting,
    /// Answers requests under `/v2` alone.
    Loaded,
    /// A higher version than the one that predicts: it is taken at a start, unless the
    /// configuration names a version.
    Offered,
    /// Lies in the repository.
    Stored,
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Model {
    name: String,
    version: String,
    state: ModelState,
    /// Of the `.onnx` file; absent unless it is loaded, as are those below.
    sha256: Option<String>,
    /// As read back from the runtime.
    device: Option<String>,
    /// Requests under `/v2` that were answered.
    requests: Option<u64>,
    /// Requests that were refused or failed.
    refused: Option<u64>,
}

impl From<Row> for Model {
    fn from(row: Row) -> Self {
        let state = match row.place {
            Place::Predicting => ModelState::Predicting,
            Place::Loaded => ModelState::Loaded,
            Place::Offered => ModelState::Offered,
            Place::Stored => ModelState::Stored,
        };
        let (name, version) = (row.name, row.version);
        let Some(service) = row.service else {
            let (sha256, device, requests, refused) = (None, None, None, None);
            return Self { name, version, state, sha256, device, requests, refused };
        };
        Self {
            name,
            version,
            state,
            sha256: Some(service.identity.sha256.clone()),
            device: Some(service.identity.device.clone()),
            requests: Some(service.stats.succeeded.count()),
            refused: Some(service.stats.failed.count()),
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
