//! How a candidate does beside the model that predicts.

use serde::Serialize;
use utoipa::ToSchema;

use super::Desk;
use super::health::LabelHealth;
use crate::feedback::Pair;
use crate::live::Shadow;
use crate::time::Timestamp;
use crate::verdict::PredictionId;

/// A candidate on the same frames as the model that predicts.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct ShadowHealth {
    pub(crate) version: String,
    /// As read back from the runtime.
    pub(crate) device: String,
    pub(crate) by: String,
    /// What follows has been counted since then.
    #[schema(value_type = String, format = DateTime)]
    pub(crate) since: Timestamp,
    /// Frames that both have answered.
    pub(crate) compared: u64,
    /// Share of those where both say good, or both bad: each score against its own limit.
    pub(crate) agreement: Option<f64>,
    /// Frames that only the active one calls bad.
    pub(crate) only_active: u64,
    pub(crate) only_shadow: u64,
    /// Absolute difference of the scores.
    pub(crate) difference_mean: Option<f64>,
    pub(crate) difference_max: f64,
    /// Alerts that each has raised, or would have, on those frames by its own rule.
    pub(crate) active_alerts: u64,
    pub(crate) shadow_alerts: u64,
    /// Frames that one of the two has not answered, known when newer ones have pushed them out.
    pub(crate) alone: u64,
    /// Frames that wait for the shadow.
    pub(crate) waiting: usize,
    /// Frames given up for newer ones of the same asset.
    pub(crate) shed: u64,
    /// Frames that are none by its own card.
    pub(crate) unfit: u64,
    /// Answers that could not be believed, and frames lost to errors.
    pub(crate) errors: u64,
    pub(crate) last_error: Option<String>,
    /// Of a batch, milliseconds; at most a fifth too high.
    pub(crate) latency_p50_ms: Option<f64>,
    pub(crate) latency_p99_ms: Option<f64>,
    /// The same labels, held against what it says.
    pub(crate) labels: LabelHealth,
    /// The newest frames, the newest first.
    pub(crate) last: Vec<PairHealth>,
    /// The newest on which the two differ, the newest first.
    pub(crate) differing: Vec<PairHealth>,
}

/// What both say of one frame.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct PairHealth {
    pub(crate) asset: String,
    /// Of the window.
    #[schema(value_type = String, format = DateTime)]
    pub(crate) end: Timestamp,
    pub(crate) active: f64,
    pub(crate) shadow: f64,
    pub(crate) active_bad: bool,
    pub(crate) shadow_bad: bool,
}

pub(super) fn health(desk: &Desk, prediction: PredictionId) -> Option<ShadowHealth> {
    let shadows = desk.live.shadows();
    let Shadow { stats, by, since, comparison, feedback, .. } = shadows.get(&prediction)?;
    let (snapshot, compared) = (stats.snapshot(), comparison.figures());
    let pair = |pair: &Pair| PairHealth {
        asset: desk.registry.asset_name(pair.asset).as_deref().unwrap_or("unknown").to_owned(),
        end: pair.end,
        active: pair.active,
        shadow: pair.shadow,
        active_bad: pair.active_bad,
        shadow_bad: pair.shadow_bad,
    };
    let millis = |span: Option<std::time::Duration>| span.map(|span| span.as_secs_f64() * 1e3);
    let labels = feedback.figures().into_iter().next();
    Some(ShadowHealth {
        version: stats.identity.version.clone(),
        device: stats.identity.device.clone(),
        by: by.clone(),
        since: *since,
        compared: compared.both,
        agreement: compared.agreement(),
        only_active: compared.only_active,
        only_shadow: compared.only_shadow,
        difference_mean: compared.difference_mean(),
        difference_max: compared.difference_max,
        active_alerts: compared.active_alerts,
        shadow_alerts: compared.shadow_alerts,
        alone: compared.alone,
        waiting: snapshot.queued,
        shed: snapshot.replaced,
        unfit: compared.unfit,
        errors: snapshot.unhealthy + snapshot.failed,
        last_error: snapshot.last_error,
        latency_p50_ms: millis(snapshot.latency_p50),
        latency_p99_ms: millis(snapshot.latency_p99),
        labels: labels.map(LabelHealth::from).unwrap_or_default(),
        last: compared.last.iter().rev().map(pair).collect(),
        differing: compared.differing.iter().rev().map(pair).collect(),
    })
}
