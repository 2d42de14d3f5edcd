//! Binds each `[[prediction]]` to its model: what the pipeline runs and `andon check` verifies.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::mpsc;

use super::active::{Active, ActiveError};
use super::background::{self, BackgroundError};
use super::card::{Card, CardError, policy_problems, unknown_devices};
use super::engine::{Engine, Manner};
use super::golden::{GoldenError, Pair};
use super::graph::ClaimError;
use super::locate;
use super::predictor::{Predictor, Serve};
use super::rank::Rank;
use super::remote::{Fallback, NotMet, Remote};
use super::repository::{self, Package, RepositoryError};
use super::runtime::{Runtime, RuntimeError};
use super::session::{Session, SessionError};
use super::stats::Models;
use super::worker::{Answers, ModelWorker};
use crate::asset::NamePattern;
use crate::frame::{FrameSpec, Threshold, complete};
use crate::health::{BreakerState, RemoteHealth};
use crate::settings::{AlertPolicy, Prediction, Settings, WindowSettings};
use crate::verdict::{Explained, ModelIdentity, PredictionId};

/// A prediction that is ready to run.
#[derive(Clone, Debug)]
pub struct LoadedPrediction {
    pub id: PredictionId,
    pub name: String,
    pub assets: Vec<NamePattern>,
    /// The plant's names of the model's tags, in the model's order.
    pub plant_tags: Vec<String>,
    /// Every setting that has a default is present.
    pub window: WindowSettings,
    /// Every setting but `text` is present.
    pub policy: AlertPolicy,
    pub spec: Arc<FrameSpec>,
    pub model: Arc<ModelIdentity>,
    /// Place in [`Loaded::models`].
    pub worker: usize,
    /// Pictures of an asset that are kept in small.
    pub snapshots: u32,
}

/// A model in memory, without a thread yet.
pub struct LoadedModel {
    pub identity: Arc<ModelIdentity>,
    pub card: Card,
    session: Predictor,
    background: Arc<[Vec<f32>]>,
}

impl LoadedModel {
    /// Nobody asks for explanations.
    pub fn spawn(self, out: mpsc::Sender<Answers>) -> std::io::Result<ModelWorker> {
        let (nowhere, _) = mpsc::channel(1);
        self.spawn_explaining(out, nowhere)
    }

    /// What is asked of [`ModelHandle::explain`](super::ModelHandle::explain) goes to `explained`.
    pub fn spawn_explaining(
        self,
        out: mpsc::Sender<Answers>,
        explained: mpsc::Sender<Explained>,
    ) -> std::io::Result<ModelWorker> {
        ModelWorker::spawn(self.engine(), out, explained, Rank::Predicts)
    }

    /// Nobody asks for explanations, and the models that predict go first: the thread stands back
    /// before every other.
    pub fn spawn_shadow(
        self,
        out: mpsc::Sender<Answers>,
        predicting: Models,
    ) -> std::io::Result<ModelWorker> {
        let (nowhere, _) = mpsc::channel(1);
        ModelWorker::spawn(self.engine(), out, nowhere, Rank::After(predicting))
    }

    /// To be driven by the caller, in its own thread.
    pub fn engine(self) -> Engine {
        let manner = Manner {
            layout: self.card.input.layout,
            kind: self.card.output.kind,
            max_batch: self.card.runtime.max_batch,
            deadline: self.card.runtime.deadline,
        };
        Engine::new(self.session, self.identity, manner, self.background)
    }

    pub(super) fn into_server(self) -> Box<dyn Serve> {
        self.session.into_server()
    }

    /// Here, or at a server that answers.
    pub fn is_there(&self) -> bool {
        let remote = self.remote();
        remote.is_none_or(|remote| remote.snapshot().breaker == BreakerState::Closed)
    }

    /// How the server is doing that runs the model, if one does.
    pub fn remote(&self) -> Option<Arc<RemoteHealth>> {
        self.session.remote_health()
    }
}

/// All predictions of a configuration and the models they share.
pub struct Loaded {
    pub predictions: Vec<LoadedPrediction>,
    pub models: Vec<LoadedModel>,
}

#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    #[error(transparent)]
    Active(#[from] ActiveError),
    #[error("prediction `{prediction}`: {error}")]
    Model { prediction: String, error: RepositoryError },
    #[error("model `{reference}`: {error}")]
    Repository { reference: String, error: RepositoryError },
    #[error(transparent)]
    Card(CardError),
    #[error("{}: {error}", model.display())]
    Session { model: PathBuf, error: SessionError },
    #[error(transparent)]
    Golden(GoldenError),
    #[error(transparent)]
    Background(BackgroundError),
    /// A setting of the configuration; `key` is relative to the prediction.
    #[error("prediction `{prediction}`: {key}: {message}")]
    Setting { prediction: String, key: String, message: String },
}

/// Loads everything that `settings` predict with; every problem at once. Starts no thread.
/// Without a model that runs here, ONNX Runtime is not needed and not touched.
pub fn load(settings: &Settings) -> Result<Loaded, Vec<LoadError>> {
    let active = if settings.prediction.is_empty() {
        Active::default()
    } else {
        Active::beside(&settings.store.path).map_err(|error| vec![error.into()])?
    };
    let chosen = |prediction: &Prediction| {
        let name = &prediction.model;
        let Some(choice) = active.of(name) else { return name.clone() };
        let reference = format!("{name}/{}", choice.version);
        if repository::find(&settings.runtime.models, &reference).is_ok() {
            return reference;
        }
        tracing::warn!(
            model = name,
            version = choice.version,
            "The version that was activated is not in the repository any more; the highest one predicts."
        );
        name.clone()
    };
    load_as(settings, |prediction| Some(chosen(prediction)))
}

/// Version `version` of the model `name` for those predictions of `settings` that use it, whatever
/// version they name.
pub fn load_version(
    settings: &Settings,
    name: &str,
    version: &str,
) -> Result<Loaded, Vec<LoadError>> {
    let reference = format!("{name}/{version}");
    load_as(settings, |prediction| {
        let own = prediction.model.split_once('/').map_or(&*prediction.model, |(own, _)| own);
        (own == name).then(|| reference.clone())
    })
}

/// Predictions without a reference are left out.
fn load_as(
    settings: &Settings,
    reference: impl Fn(&Prediction) -> Option<String>,
) -> Result<Loaded, Vec<LoadError>> {
    let runtime = None;
    let mut loader = Loader { settings, runtime, slots: BTreeMap::new(), models: Vec::new() };
    let mut predictions = Vec::with_capacity(settings.prediction.len());
    let mut errors = Vec::new();
    for (index, prediction) in (0..).zip(&settings.prediction) {
        let Some(reference) = reference(prediction) else { continue };
        match loader.bind(PredictionId(index), prediction, &reference) {
            Ok(bound) => predictions.extend(bound),
            Err(found) => errors.extend(found),
        }
    }
    if let Some(Err(error)) = loader.runtime {
        errors.insert(0, error.into());
    }
    if errors.is_empty() { Ok(Loaded { predictions, models: loader.models }) } else { Err(errors) }
}

/// Verifies all that [`load`] does, golden pairs too, and keeps nothing in memory.
pub fn check_only(settings: &Settings) -> Result<Vec<LoadedPrediction>, Vec<LoadError>> {
    load(settings).map(|loaded| loaded.predictions)
}

struct Loader<'a> {
    settings: &'a Settings,
    /// From the first model on that needs it. Cards are checked where it could not be loaded, too.
    runtime: Option<Result<Runtime, RuntimeError>>,
    /// By folder and device chain.
    slots: BTreeMap<(PathBuf, Option<Vec<String>>), Slot>,
    models: Vec<LoadedModel>,
}

#[derive(Clone)]
enum Slot {
    /// Its errors are reported already.
    Failed,
    /// The card is right; without a runtime there is no model.
    Read { card: Arc<Card>, worker: Option<usize> },
}

impl Loader<'_> {
    /// Nothing when the model could not be loaded for a reason that is reported already.
    fn bind(
        &mut self,
        id: PredictionId,
        prediction: &Prediction,
        reference: &str,
    ) -> Result<Option<LoadedPrediction>, Vec<LoadError>> {
        let model_error = |error| LoadError::Model { prediction: prediction.name.clone(), error };
        let folder = repository::find(&self.settings.runtime.models, reference)
            .map_err(|error| vec![model_error(error)])?;
        if let Some(message) = prediction.devices.as_deref().and_then(unknown_devices) {
            return Err(vec![setting(prediction, "devices", message)]);
        }
        let key = (folder, prediction.devices.clone());
        let slot = match self.slots.get(&key) {
            Some(slot) => slot.clone(),
            None => {
                let read = self.open(&key.0, prediction);
                let slot = read.as_ref().map_or(Slot::Failed, Clone::clone);
                self.slots.insert(key, slot);
                read?
            }
        };
        let Slot::Read { card, worker } = slot else { return Ok(None) };
        let bound = overlay(&card, prediction)?;
        let Some(worker) = worker else { return Ok(None) };
        Ok(Some(LoadedPrediction {
            id,
            name: prediction.name.clone(),
            assets: prediction.assets.iter().map(NamePattern::new).collect(),
            plant_tags: bound.spec.plant_tags.clone(),
            window: bound.window,
            policy: bound.policy,
            spec: Arc::new(bound.spec),
            model: Arc::clone(&self.models[worker].identity),
            worker,
            snapshots: prediction.snapshots,
        }))
    }

    fn open(&mut self, folder: &Path, prediction: &Prediction) -> Result<Slot, Vec<LoadError>> {
        let package = Package::read(folder, &self.settings.runtime).map_err(|errors| {
            if folder.join(repository::ONNX).exists() {
                // It will be needed: that it is missing is told together with these errors.
                let _told_by_the_loader = self.runtime();
            }
            let named = |error| match error {
                RepositoryError::Card(error) => LoadError::Card(error),
                error => LoadError::Model { prediction: prediction.name.clone(), error },
            };
            errors.into_iter().map(named).collect::<Vec<_>>()
        })?;
        if prediction.devices.is_some() && !package.card.has_graph() {
            let message = "the model's card has it run by a server; leave the devices out";
            return Err(vec![setting(prediction, "devices", message.into())]);
        }
        let runtime = match package.card.has_graph() {
            false => None,
            true => match self.runtime() {
                Ok(runtime) => Some(runtime),
                Err(_) => return Ok(Slot::Read { card: Arc::new(package.card), worker: None }),
            },
        };
        let model = start(runtime, &package, prediction.devices.as_deref())?;
        if model.is_there() {
            tracing::info!(
                model = model.identity.name,
                version = model.identity.version,
                device = model.identity.device,
                "the model is loaded and reproduces its golden pair"
            );
        }
        let worker = Some(self.models.len());
        self.models.push(model);
        Ok(Slot::Read { card: Arc::new(package.card), worker })
    }

    fn runtime(&mut self) -> Result<&Runtime, &RuntimeError> {
        let library = self.settings.runtime.library.as_deref();
        self.runtime.get_or_insert_with(|| Runtime::load(library)).as_ref()
    }
}

/// The runtime is there for a card that has a graph.
pub(super) fn start(
    runtime: Option<&Runtime>,
    package: &Package,
    devices: Option<&[String]>,
) -> Result<LoadedModel, Vec<LoadError>> {
    let card = &package.card;
    let spec = FrameSpec::new(&card.input, &card.window).expect("the card was checked when read");
    let (golden, tolerance) = (&card.reference.golden, card.reference.tolerance);
    let golden = Pair::read(&package.files, golden, tolerance, &spec)
        .map_err(|error| vec![LoadError::Golden(error)])?;
    let local = match runtime {
        Some(runtime) => Some(local(runtime, package, &spec, devices, &golden)?),
        None => None,
    };
    let (session, identity) = match (&card.runtime.remote, local) {
        (Some(settings), local) => {
            let fallback = local.map(|(session, identity)| Fallback { session, identity });
            let mut remote = Remote::new(card, settings, golden, fallback);
            meet(&mut remote, package)?;
            let device = format!("remote {}", settings.url);
            let identity = identity(card, package.card_hash(), device);
            (Predictor::Remote(Box::new(remote)), identity)
        }
        (None, Some((session, identity))) => (Predictor::Local(Box::new(session)), identity),
        (None, None) => unreachable!("a card without a server has a graph"),
    };
    let file = card.reference.background.as_deref();
    let background = background::read(&package.files, file, &spec)
        .map_err(|error| vec![LoadError::Background(error)])?;
    Ok(LoadedModel { identity, card: card.clone(), session, background })
}

fn identity(card: &Card, sha256: String, device: String) -> Arc<ModelIdentity> {
    let (name, version) = (card.name.clone(), card.version.clone());
    Arc::new(ModelIdentity { name, version, sha256, device })
}

/// The model beside the card, which reproduces its golden pair.
fn local(
    runtime: &Runtime,
    package: &Package,
    spec: &FrameSpec,
    devices: Option<&[String]>,
    golden: &Pair,
) -> Result<(Session, Arc<ModelIdentity>), Vec<LoadError>> {
    let card = &package.card;
    let devices = devices.unwrap_or(&card.runtime.devices);
    let mut session = Session::load(runtime, card, spec, devices, &package.onnx).map_err(
        |error| match error {
            SessionError::Claims(claims) => refuted(package, claims),
            error => {
                vec![LoadError::Session { model: package.files.folder().to_owned(), error }]
            }
        },
    )?;
    golden
        .check(&mut |items, out| session.run(items, out))
        .map_err(|error| vec![LoadError::Golden(error)])?;
    let (sha256, device) = (card.sha256.to_ascii_lowercase(), session.device().to_owned());
    let identity = identity(card, sha256, device);
    Ok((session, identity))
}

/// A server that is there has to fit; one that is not is asked again later.
fn meet(remote: &mut Remote, package: &Package) -> Result<(), Vec<LoadError>> {
    remote
        .readable()
        .map_err(|message| vec![located(package, "runtime.remote".into(), message)])?;
    match remote.meet() {
        Ok(()) | Err(NotMet::Failed(_)) => Ok(()),
        Err(NotMet::Claims(claims)) => Err(refuted(package, claims)),
        Err(NotMet::Golden(error)) => Err(vec![LoadError::Golden(error)]),
    }
}

fn refuted(package: &Package, claims: Vec<ClaimError>) -> Vec<LoadError> {
    claims.into_iter().map(|claim| located(package, claim.key, claim.message)).collect()
}

fn located(package: &Package, key: String, message: String) -> LoadError {
    let place = locate::key(&package.text, &key);
    LoadError::Card(CardError { file: package.card_file(), key, place, message })
}

struct Bound {
    spec: FrameSpec,
    window: WindowSettings,
    policy: AlertPolicy,
}

/// The card's recommendations with the plant's settings on top.
fn overlay(card: &Card, prediction: &Prediction) -> Result<Bound, Vec<LoadError>> {
    let mut errors = Vec::new();
    let window = complete(&card.window.overlaid(&prediction.window));
    let policy = card.decision.overlaid(&prediction.alert);
    for tag in prediction.tags.keys() {
        if !card.input.tag.iter().any(|known| known.name == *tag) {
            let known: Vec<_> = card.input.tag.iter().map(|tag| tag.name.as_str()).collect();
            let message = format!("the model has no tag `{tag}`; it has {}", known.join(", "));
            errors.push(setting(prediction, "tags", message));
        }
    }
    if policy.raise.is_none() {
        let message = "missing, and the model's card recommends none; write the score to alert at";
        errors.push(setting(prediction, "alert.raise", message.into()));
    }
    for (key, message) in policy_problems(&policy) {
        errors.push(setting(prediction, &format!("alert.{key}"), message));
    }
    let own = FrameSpec::new(&card.input, &card.window).expect("the card was checked when read");
    let spec = match FrameSpec::new(&card.input, &window) {
        Ok(spec) if spec.item_shape() == own.item_shape() => Some(spec),
        Ok(spec) => {
            let (takes, got) = (own.item_shape(), spec.item_shape());
            let message = format!("makes frames of {got:?}; the model takes {takes:?}");
            errors.push(setting(prediction, "window", message));
            None
        }
        Err(found) => {
            errors.extend(found.into_iter().map(|e| setting(prediction, &e.key, e.message)));
            None
        }
    };
    let policy = completed(policy);
    match (spec, policy.raise) {
        (Some(mut spec), Some(raise)) if errors.is_empty() => {
            let direction = policy.direction.unwrap_or_default();
            spec.explain_from = Some(Threshold { raise, direction });
            for (tag, plant) in card.input.tag.iter().zip(&mut spec.plant_tags) {
                if let Some(name) = prediction.tags.get(&tag.name) {
                    plant.clone_from(name);
                }
            }
            Ok(Bound { spec, window, policy })
        }
        _ => Err(errors),
    }
}

fn completed(policy: AlertPolicy) -> AlertPolicy {
    const SEVERITY: u16 = 500;
    let n = policy.n.unwrap_or(1);
    AlertPolicy {
        clear: policy.clear.or(policy.raise),
        direction: policy.direction.or(Some(crate::settings::Direction::default())),
        n: Some(n),
        m: policy.m.or(Some(n)),
        on_delay: policy.on_delay.or(Some(std::time::Duration::ZERO)),
        off_delay: policy.off_delay.or(Some(std::time::Duration::ZERO)),
        severity: policy.severity.or(Some(SEVERITY)),
        ..policy
    }
}

fn setting(prediction: &Prediction, key: &str, message: String) -> LoadError {
    LoadError::Setting { prediction: prediction.name.clone(), key: key.into(), message }
}
