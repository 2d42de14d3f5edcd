//! Versions into the repository and out of it.

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::HeaderMap;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Desk;
use super::models::{person, read};
use super::problem::{Named, Problem, ProblemBody};
use crate::http::Caller;
use crate::message::Origin;
use crate::reload::{self, Keep, Stock};

/// Where packages lie that are to be added.
const INCOMING: &str = "incoming";

/// `{"version": "1.1.0", "by": "R. Meyer"}`
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct VersionBody {
    version: String,
    /// Who asks, 1 to 128 characters.
    by: String,
}

/// `{"version": "1.1.0", "from": "incoming", "by": "R. Meyer"}`
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AddBody {
    version: String,
    /// A folder in that of the repository (`runtime.models`), where the package lies as
    /// `<name>/<version>`; `incoming`.
    from: Option<String>,
    /// Who asks, 1 to 128 characters.
    by: String,
}

/// A version that was verified, added or removed.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Stocked {
    name: String,
    version: String,
    /// Where it lies, or lay.
    folder: String,
    /// Of the `.onnx` file, or of the card where a server runs the model; absent for one that was
    /// removed, as is the next.
    sha256: Option<String>,
    /// Where it ran to be verified.
    device: Option<String>,
}

/// Verifies a version of the repository as a start would: hash, signature, card against graph,
/// golden pair. Nothing that runs is touched.
#[utoipa::path(
    post, path = "/api/v1/models/{name}/check", params(("name" = String, Path)),
    request_body = VersionBody,
    responses(
        (status = 200, body = Stocked), (status = 400, body = ProblemBody),
        (status = 401, body = ProblemBody), (status = 403, body = ProblemBody),
        (status = 404, body = ProblemBody), (status = 409, body = ProblemBody),
        (status = 413, description = "Too long"), (status = 415, body = ProblemBody),
        (status = 503, body = ProblemBody),
    )
)]
pub(super) async fn check_model(
    State(desk): State<Desk>,
    Named(name): Named<String>,
    Caller(from): Caller,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<Stocked>, Problem> {
    let VersionBody { version, by } = read(&headers, &body)?;
    stock(&desk, Stock { what: Keep::Check, name, version, by: person(by)? }, from).await
}

/// Verifies a package that lies in the box's models folder, and copies it to its place in the
/// repository: whole, or not at all. A version that is there is never overwritten, and nothing that
/// runs is touched.
#[utoipa::path(
    post, path = "/api/v1/models/{name}/add", params(("name" = String, Path)),
    request_body = AddBody,
    responses(
        (status = 200, body = Stocked), (status = 400, body = ProblemBody),
        (status = 401, body = ProblemBody), (status = 403, body = ProblemBody),
        (status = 404, body = ProblemBody), (status = 409, body = ProblemBody),
        (status = 413, description = "Too long"), (status = 415, body = ProblemBody),
        (status = 503, body = ProblemBody),
    )
)]
pub(super) async fn add_model(
    State(desk): State<Desk>,
    Named(name): Named<String>,
    Caller(from): Caller,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<Stocked>, Problem> {
    let AddBody { version, from: folder, by } = read(&headers, &body)?;
    let what = Keep::Add { from: folder.unwrap_or_else(|| INCOMING.into()) };
    stock(&desk, Stock { what, name, version, by: person(by)? }, from).await
}

/// Takes a version out of the repository, unless it predicts, would take over again if the version
/// on trial failed, is a shadow, or is named by the configuration.
#[utoipa::path(
    post, path = "/api/v1/models/{name}/remove", params(("name" = String, Path)),
    request_body = VersionBody,
    responses(
        (status = 200, body = Stocked), (status = 400, body = ProblemBody),
        (status = 401, body = ProblemBody), (status = 403, body = ProblemBody),
        (status = 404, body = ProblemBody), (status = 409, body = ProblemBody),
        (status = 413, description = "Too long"), (status = 415, body = ProblemBody),
        (status = 503, body = ProblemBody),
    )
)]
pub(super) async fn remove_model(
    State(desk): State<Desk>,
    Named(name): Named<String>,
    Caller(from): Caller,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<Stocked>, Problem> {
    let VersionBody { version, by } = read(&headers, &body)?;
    stock(&desk, Stock { what: Keep::Remove, name, version, by: person(by)? }, from).await
}

async fn stock(desk: &Desk, stock: Stock, from: Origin) -> Result<Json<Stocked>, Problem> {
    let (name, version) = (stock.name.clone(), stock.version.clone());
    let reload::Stocked { folder, sha256, device } = desk.swaps.stock(stock, from).await?;
    let folder = folder.display().to_string();
    Ok(Json(Stocked { name, version, folder, sha256, device }))
}
