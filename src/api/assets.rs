//! Assets, their tags, and what predictions and rules last said of them.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use utoipa::IntoParams;

use super::Desk;
use super::problem::{Asked, Named, Problem, ProblemBody};
use super::shape::{Alert, Asset, AssetDetail, AssetState, Judgement, Tag};
use crate::alert::{AlertRecord, AlertState};
use crate::asset::{AssetId, NamePattern};
use crate::live::{Judge, Live, Reading};
use crate::settings::Direction;
use crate::tag::TagInfo;
use crate::time::Timestamp;

/// An asset that has said nothing for so long is silent.
const SILENT_AFTER: Duration = Duration::from_secs(300);

/// Every asset that has spoken, by name.
#[utoipa::path(get, path = "/api/v1/assets", responses((status = 200, body = Vec<Asset>)))]
pub(super) async fn list_assets(State(desk): State<Desk>) -> Json<Vec<Asset>> {
    Json(assets(&desk, Timestamp::now()))
}

/// One asset with its newest readings, scores and alerts.
#[utoipa::path(
    get, path = "/api/v1/assets/{asset}", params(("asset" = String, Path)),
    responses(
        (status = 200, body = AssetDetail),
        (status = 400, body = ProblemBody),
        (status = 404, body = ProblemBody),
    )
)]
pub(super) async fn get_asset(
    State(desk): State<Desk>,
    Named(name): Named<String>,
) -> Result<Json<AssetDetail>, Problem> {
    asset(&desk, &name, Timestamp::now())
        .map(Json)
        .ok_or_else(|| Problem::not_found(format!("there is no asset `{name}`")))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct TagFilter {
    /// `*` stands for any run of characters.
    asset: Option<String>,
    /// `*` stands for any run of characters.
    tag: Option<String>,
}

/// The newest reading of every tag.
#[utoipa::path(
    get, path = "/api/v1/tags", params(TagFilter),
    responses((status = 200, body = Vec<Tag>), (status = 400, body = ProblemBody))
)]
pub(super) async fn list_tags(
    State(desk): State<Desk>,
    Asked(filter): Asked<TagFilter>,
) -> Json<Vec<Tag>> {
    let pattern = |text: Option<String>| NamePattern::new(text.unwrap_or_else(|| "*".to_owned()));
    let (asset, tag) = (pattern(filter.asset), pattern(filter.tag));
    let wanted = |info: &TagInfo| asset.matches(&info.asset_name) && tag.matches(&info.name);
    Json(tags(&desk, wanted, Timestamp::now()))
}

/// The newest readings of the `wanted` tags, by asset and tag.
pub(super) fn tags(desk: &Desk, wanted: impl Fn(&TagInfo) -> bool, now: Timestamp) -> Vec<Tag> {
    let readings = desk.live.readings();
    let mut found: Vec<Tag> = desk
        .registry
        .tags_from(0)
        .into_iter()
        .filter(|(_, info)| wanted(info))
        .filter_map(|(id, info)| {
            let reading = readings.get(id.0 as usize).copied().flatten()?;
            Some(tag(&desk.live, &info, reading, now))
        })
        .collect();
    found.sort_by(|a, b| (&a.asset, &a.tag).cmp(&(&b.asset, &b.tag)));
    found
}

fn tag(live: &Live, info: &TagInfo, reading: Reading, now: Timestamp) -> Tag {
    let settings = live.tag_settings(&info.asset_name, &info.name);
    Tag {
        asset: info.asset_name.to_string(),
        tag: info.name.to_string(),
        unit: settings.as_ref().and_then(|settings| settings.unit.clone()),
        value: Some(reading.value).filter(|value| value.is_finite()),
        quality: reading.quality.as_str(),
        time: reading.time,
        age: now.since(reading.received).as_secs_f64(),
        range: settings.and_then(|settings| settings.range),
    }
}

/// Every asset that has spoken or has an alert, by name.
pub fn assets(desk: &Desk, now: Timestamp) -> Vec<Asset> {
    let mut found: BTreeMap<String, (usize, Option<Timestamp>)> = BTreeMap::new();
    let readings = desk.live.readings();
    for (id, info) in desk.registry.tags_from(0) {
        let (tags, last) = found.entry(info.asset_name.to_string()).or_default();
        *tags += 1;
        let reading = readings.get(id.0 as usize).copied().flatten();
        *last = (*last).max(reading.map(|reading| reading.received));
    }
    for (id, at) in desk.live.pictures() {
        if let Some(name) = desk.registry.asset_name(id) {
            let (_, last) = found.entry(name.to_string()).or_default();
            *last = (*last).max(Some(at));
        }
    }
    let mut alerts: BTreeMap<String, Vec<AlertRecord>> = BTreeMap::new();
    for alert in desk.live.alerts() {
        found.entry(alert.asset.clone()).or_default();
        alerts.entry(alert.asset.clone()).or_default().push(alert);
    }
    let asset = |(name, (tags, last_data)): (String, (usize, Option<Timestamp>))| {
        let alerts = alerts.remove(&name).unwrap_or_default();
        summary(name, tags, last_data, &alerts, now)
    };
    found.into_iter().map(asset).collect()
}

fn summary(
    name: String,
    tags: usize,
    last_data: Option<Timestamp>,
    alerts: &[AlertRecord],
    now: Timestamp,
) -> Asset {
    let has = |state: AlertState| alerts.iter().any(|alert| alert.state == state);
    let silent = last_data.is_none_or(|last| now.since(last) > SILENT_AFTER);
    let state = if has(AlertState::Active) {
        AssetState::Alert
    } else if has(AlertState::Acknowledged) {
        AssetState::Acknowledged
    } else if has(AlertState::Cleared) {
        AssetState::Cleared
    } else if silent {
        AssetState::Silent
    } else if has(AlertState::Shelved) {
        AssetState::Shelved
    } else {
        AssetState::Normal
    };
    let gravest = alerts.first();
    Asset {
        name,
        state,
        severity: gravest.map(|alert| alert.severity),
        text: gravest.map(|alert| alert.text.clone()),
        alerts: alerts.len(),
        tags,
        last_data,
    }
}

/// All that is known of one asset now.
pub fn asset(desk: &Desk, name: &str, now: Timestamp) -> Option<AssetDetail> {
    let id = desk.registry.lookup_asset(name)?;
    let asset = assets(desk, now).into_iter().find(|asset| asset.name == name)?;
    let active = desk.live.alerts().into_iter().filter(|alert| alert.asset == name);
    Some(AssetDetail {
        asset,
        readings: tags(desk, |info| *info.asset_name == *name, now),
        judges: judgements(&desk.live, id, name),
        active: active.map(Alert::from).collect(),
    })
}

fn judgements(live: &Live, asset: AssetId, name: &str) -> Vec<Judgement> {
    let judgement = |judge: &Judge| {
        if !judge.assets.iter().any(|pattern| pattern.matches(name)) {
            return None;
        }
        let score = live.score(asset, judge.id);
        let model = judge.model.as_deref();
        Some(Judgement {
            name: judge.name.clone(),
            model: model.map(|model| format!("{} {}", model.name, model.version)),
            device: model.map(|model| model.device.clone()),
            score: score.as_ref().map(|score| score.score),
            label: score.as_ref().and_then(|score| score.label.as_deref().map(str::to_owned)),
            from: score.as_ref().map(|score| score.from),
            at: score.map(|score| score.at),
            raise: judge.raise,
            clear: judge.clear,
            bad: if judge.direction == Direction::Below { "below" } else { "above" },
            tags: judge.tags.clone(),
        })
    };
    live.judges().iter().filter_map(judgement).collect()
}
