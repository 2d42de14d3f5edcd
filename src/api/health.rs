//! How the models do: what they ran on, how fast, and how far their data are from the training.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::Desk;
use super::remote::RemoteBody;
use super::shadow::ShadowHealth;
use crate::drift::{AssetFigures, FeatureFigures, PredictionFigures};
use crate::feedback::Figures;
use crate::live::Judge;
use crate::model::ModelSnapshot;
use crate::settings::DriftSettings;
use crate::verdict::ModelIdentity;

/// From this share of a limit on a figure is near it.
const NEAR: f64 = 0.7;

/// How data compare to those of the training.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum DriftState {
    /// No frames yet.
    Unknown,
    Normal,
    /// A figure has come to 70 % of its limit.
    Near,
    /// A figure is at its limit or beyond.
    Drifted,
}

/// One prediction and its model.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct ModelHealth {
    pub(crate) prediction: String,
    pub(crate) model: String,
    pub(crate) version: String,
    /// As read back from the runtime, or `remote` and the server's address.
    pub(crate) device: String,
    /// The last batch gave believable answers.
    pub(crate) healthy: bool,
    pub(crate) last_error: Option<String>,
    /// Frames answered, as the counts below since the start, by all predictions of the model.
    pub(crate) inferences: u64,
    /// Frames that wait.
    pub(crate) waiting: usize,
    /// Frames given up for newer ones.
    pub(crate) shed: u64,
    /// Windows it was not asked about: empty, stale or thin.
    pub(crate) unfit: u64,
    /// Why, the last time.
    pub(crate) last_unfit: Option<String>,
    /// Answers that could not be believed, and frames lost to errors.
    pub(crate) errors: u64,
    /// Of a batch, milliseconds; at most a fifth too high.
    pub(crate) latency_p50_ms: Option<f64>,
    pub(crate) latency_p99_ms: Option<f64>,
    pub(crate) raise: Option<f64>,
    /// The gravest of its assets.
    pub(crate) state: DriftState,
    pub(crate) assets: Vec<AssetHealth>,
    /// Frames of assets beyond those that are watched.
    pub(crate) unwatched: u64,
    pub(crate) labels: LabelHealth,
    /// The candidate beside it.
    pub(crate) shadow: Option<ShadowHealth>,
    /// The server that runs the model, where one does.
    pub(crate) remote: Option<RemoteBody>,
}

/// What labels say of a model's verdicts; positive is bad.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub(crate) struct LabelHealth {
    pub(crate) true_positives: u64,
    pub(crate) false_positives: u64,
    pub(crate) true_negatives: u64,
    pub(crate) false_negatives: u64,
    /// `TP / (TP + FP)`; nothing where no verdict said bad, as the next where nothing was.
    pub(crate) precision: Option<f64>,
    /// `TP / (TP + FN)`
    pub(crate) recall: Option<f64>,
    pub(crate) f1: Option<f64>,
    /// Share of wrong verdicts among each asset's last 64 labels since the start.
    pub(crate) recent_errors: Option<f64>,
    /// Assets on which a rise of errors stands.
    pub(crate) risen: usize,
    /// Labels whose verdicts have not come yet.
    pub(crate) waiting: usize,
    /// Labels that joined no verdict, since the start.
    pub(crate) unplaced: Vec<UnplacedLabels>,
    /// Models that predicted before this one.
    pub(crate) earlier: Vec<EarlierModel>,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct UnplacedLabels {
    pub(crate) reason: &'static str,
    pub(crate) count: u64,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct EarlierModel {
    /// `<name>/<version>`
    pub(crate) model: String,
    pub(crate) labels: u64,
    pub(crate) precision: Option<f64>,
    pub(crate) recall: Option<f64>,
}

impl LabelHealth {
    pub(crate) const fn total(&self) -> u64 {
        self.true_positives + self.false_positives + self.true_negatives + self.false_negatives
    }
}

impl From<Figures> for LabelHealth {
    fn from(figures: Figures) -> Self {
        let Figures { confusion, earlier, recent_errors, risen, waiting, unplaced, .. } = figures;
        let earlier = earlier.into_iter().map(|(model, confusion)| EarlierModel {
            model,
            labels: confusion.total(),
            precision: confusion.precision(),
            recall: confusion.recall(),
        });
        let unplaced = unplaced.into_iter().map(|(reason, count)| UnplacedLabels { reason, count });
        Self {
            true_positives: confusion.true_positives,
            false_positives: confusion.false_positives,
            true_negatives: confusion.true_negatives,
            false_negatives: confusion.false_negatives,
            precision: confusion.precision(),
            recall: confusion.recall(),
            f1: confusion.f1(),
            recent_errors,
            risen,
            waiting,
            unplaced: unplaced.filter(|unplaced| unplaced.count > 0).collect(),
            earlier: earlier.collect(),
        }
    }
}

/// The last frames of one asset.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct AssetHealth {
    pub(crate) asset: String,
    /// The figures rest on so many.
    pub(crate) frames: u32,
    pub(crate) state: DriftState,
    pub(crate) features: Vec<FeatureHealth>,
    pub(crate) scores: ScoreSpread,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct FeatureHealth {
    pub(crate) tag: String,
    pub(crate) state: DriftState,
    /// Share of the frames without a measured value.
    pub(crate) missing: f64,
    /// Share of the values outside the training range; absent where the card has none.
    pub(crate) outside: Option<f64>,
    /// Population stability index; absent where the card has no bins, as `ks`.
    pub(crate) psi: Option<f64>,
    /// Kolmogorov-Smirnov statistic.
    pub(crate) ks: Option<f64>,
}

/// Bars of equal width between two scores; what lies outside is in the first or the last.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct ScoreSpread {
    pub(crate) from: f64,
    pub(crate) to: f64,
    pub(crate) counts: Vec<u32>,
}

/// Every prediction: its model, and how far its data are from those of the training.
#[utoipa::path(get, path = "/api/v1/models/health", responses((status = 200, body = Vec<ModelHealth>)))]
pub(super) async fn list_health(State(desk): State<Desk>) -> Json<Vec<ModelHealth>> {
    Json(model_health(&desk))
}

pub(crate) fn model_health(desk: &Desk) -> Vec<ModelHealth> {
    let judges = desk.live.judges();
    let (limits, figures) = {
        let drift = desk.live.drift();
        (drift.settings().clone(), drift.figures())
    };
    let health = |figures: PredictionFigures| {
        let judge = judges.iter().find(|judge| judge.id == figures.id)?;
        let model = judge.model.as_ref()?;
        Some(prediction(desk, &limits, judge, model, figures))
    };
    figures.into_iter().filter_map(health).collect()
}

fn prediction(
    desk: &Desk,
    limits: &DriftSettings,
    judge: &Judge,
    model: &Arc<ModelIdentity>,
    figures: PredictionFigures,
) -> ModelHealth {
    let stats = desk.overview.models.all().into_iter().find(|stats| stats.identity == *model);
    let snapshot = stats.map(|stats| stats.snapshot());
    let stats = snapshot.as_ref();
    let millis = |span: Option<std::time::Duration>| span.map(|span| span.as_secs_f64() * 1e3);
    let assets: Vec<AssetHealth> =
        figures.assets.into_iter().map(|found| asset(desk, limits, found)).collect();
    ModelHealth {
        prediction: judge.name.clone(),
        model: model.name.clone(),
        version: model.version.clone(),
        device: model.device.clone(),
        healthy: stats.is_none_or(|stats| stats.healthy),
        last_error: stats.and_then(|stats| stats.last_error.clone()),
        inferences: stats.map_or(0, |stats| stats.inferences),
        waiting: stats.map_or(0, |stats| stats.queued),
        shed: stats.map_or(0, |stats| stats.replaced),
        unfit: stats.map_or(0, ModelSnapshot::unfit_total),
        last_unfit: stats.and_then(|stats| stats.last_unfit.clone()),
        errors: stats.map_or(0, |stats| stats.unhealthy + stats.failed),
        latency_p50_ms: millis(stats.and_then(|stats| stats.latency_p50)),
        latency_p99_ms: millis(stats.and_then(|stats| stats.latency_p99)),
        raise: judge.raise,
        state: assets.iter().map(|asset| asset.state).max().unwrap_or(DriftState::Unknown),
        assets,
        unwatched: figures.unwatched,
        labels: labels(desk, judge),
        shadow: super::shadow::health(desk, judge.id),
        remote: snapshot.and_then(|stats| stats.remote).map(RemoteBody::from),
    }
}

fn labels(desk: &Desk, judge: &Judge) -> LabelHealth {
    let figures = desk.live.feedback().figures();
    let own = figures.into_iter().find(|figures| figures.prediction == judge.id);
    own.map(LabelHealth::from).unwrap_or_default()
}

fn asset(desk: &Desk, limits: &DriftSettings, found: AssetFigures) -> AssetHealth {
    let AssetFigures { asset, figures, scores } = found;
    // A few frames look like anything.
    let judged = figures.frames >= limits.frames / 2;
    let feature = |figures: FeatureFigures| FeatureHealth {
        state: match figures.worst(limits).1 {
            _ if !judged => DriftState::Unknown,
            1.0.. => DriftState::Drifted,
            NEAR.. => DriftState::Near,
            _ => DriftState::Normal,
        },
        tag: figures.tag,
        missing: figures.missing,
        outside: figures.outside,
        psi: figures.psi,
        ks: figures.ks,
    };
    let features: Vec<FeatureHealth> = figures.features.into_iter().map(feature).collect();
    let name = desk.registry.asset_name(asset);
    let [from, to] = scores.range;
    AssetHealth {
        asset: name.as_deref().unwrap_or("unknown").to_owned(),
        frames: figures.frames,
        state: features.iter().map(|feature| feature.state).max().unwrap_or(DriftState::Unknown),
        features,
        scores: ScoreSpread { from, to, counts: scores.counts() },
    }
}
