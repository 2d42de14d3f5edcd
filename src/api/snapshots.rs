//! Pictures in small, each with what a model said of it.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::Desk;
use super::problem::{Asked, Named, Problem, ProblemBody};
use super::shape::{Alert, Region, Snapshot};
use super::store::limited;
use crate::settings::Direction;
use crate::snapshot::Remark;
use crate::store::StoredSnapshot;

const LAST: u32 = 20;
/// Numbers are never used twice, so a browser need not ask again.
const FOR_GOOD: &str = "private, max-age=31536000, immutable";

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Limit {
    /// At most 1000; default 20.
    #[param(maximum = 1000)]
    limit: Option<u32>,
}

/// The last pictures of an asset that a model has looked at, the newest first.
#[utoipa::path(
    get, path = "/api/v1/assets/{asset}/snapshots", params(("asset" = String, Path), Limit),
    responses(
        (status = 200, body = Vec<Snapshot>), (status = 400, body = ProblemBody),
        (status = 404, body = ProblemBody), (status = 503, body = ProblemBody),
    )
)]
pub(super) async fn list_snapshots(
    State(desk): State<Desk>,
    Named(asset): Named<String>,
    Asked(asked): Asked<Limit>,
) -> Result<Json<Vec<Snapshot>>, Problem> {
    let limit = limited(asked.limit.unwrap_or(LAST))?;
    if desk.registry.lookup_asset(&asset).is_none() {
        return Err(Problem::not_found(format!("there is no asset `{asset}`")));
    }
    Ok(Json(snapshots(&desk, &asset, limit).await?))
}

/// A JPEG.
#[derive(ToSchema)]
#[schema(value_type = String, format = Binary)]
#[expect(dead_code, reason = "describes the body")]
pub(super) struct Jpeg(Vec<u8>);

/// One of these pictures: a JPEG, its longest side 192 pixels or less.
#[utoipa::path(
    get, path = "/api/v1/snapshots/{id}",
    params(("id" = i64, Path, minimum = 0)),
    responses(
        (status = 200, content_type = "image/jpeg", body = Jpeg),
        (status = 400, body = ProblemBody), (status = 404, body = ProblemBody),
        (status = 503, body = ProblemBody),
    )
)]
pub(super) async fn get_snapshot(
    State(desk): State<Desk>,
    Named(id): Named<i64>,
) -> Result<Response, Problem> {
    let Some(jpeg) = desk.store.snapshot_jpeg(id).await? else {
        return Err(Problem::not_found(format!("there is no picture {id}, or no more")));
    };
    let headers = [(header::CONTENT_TYPE, "image/jpeg"), (header::CACHE_CONTROL, FOR_GOOD)];
    Ok((headers, jpeg).into_response())
}

/// The last pictures of an asset, the newest first.
pub(crate) async fn snapshots(
    desk: &Desk,
    asset: &str,
    limit: usize,
) -> Result<Vec<Snapshot>, Problem> {
    let rows = desk.store.snapshots(asset, limit).await?;
    Ok(rows.into_iter().filter_map(shape).collect())
}

/// The pictures that raised these alerts, by alert.
pub(crate) async fn alert_snapshots(
    desk: &Desk,
    alerts: &[Alert],
) -> Result<BTreeMap<String, Snapshot>, Problem> {
    let ids: Vec<&str> = alerts.iter().map(|alert| alert.alert_id.as_str()).collect();
    let rows = desk.store.snapshots_of_alerts(&ids).await?;
    let keyed = |snapshot: Snapshot| Some((snapshot.alert_id.clone()?, snapshot));
    Ok(rows.into_iter().filter_map(shape).filter_map(keyed).collect())
}

/// Nothing where a newer andon has said what this one cannot read.
fn shape(row: StoredSnapshot) -> Option<Snapshot> {
    let remark: Remark = serde_json::from_str(&row.remark).ok()?;
    let model = remark.model.as_deref();
    Some(Snapshot {
        path: format!("/api/v1/snapshots/{}", row.id),
        at: row.at(),
        verdict: remark.is_bad().map(|bad| if bad { "bad" } else { "good" }),
        score: remark.score,
        label: remark.label.as_deref().map(str::to_owned),
        raise: remark.raise,
        bad: if remark.direction == Direction::Below { "below" } else { "above" },
        model: model.map(|model| format!("{} {}", model.name, model.version)),
        device: model.map(|model| model.device.clone()),
        region: remark.region.map(Region::from),
        id: row.id,
        asset: row.asset,
        prediction: row.prediction,
        alert_id: row.alert_id,
        width: row.width,
        height: row.height,
        bytes: row.bytes,
    })
}
