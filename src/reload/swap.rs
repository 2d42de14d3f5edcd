//! Another version of a model, put in the place of the one that predicts.
//!
//! The new version is verified and loaded beside the old one. The main loop changes over between
//! two frames: what waits for the old one is still answered by it. Windows and alerts stay.

use std::sync::Arc;

use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::time::Instant;

use super::Tuning;
use super::stock::{Stock, Stocked};
use super::trial::{BY_ITSELF, Trial};
use crate::audit::Entry;
use crate::message::Origin;
use crate::model::{
    Active, ActiveError, Answers, Choice, Loaded, LoadedPrediction, ModelStats, ModelWorker,
    Models, Service, load_version, stand_back,
};
use crate::serving::Shelf;
use crate::settings::Prediction;
use crate::telemetry::{Meters, add};
use crate::time::Timestamp;
use crate::verdict::Explained;
use crate::watch::Reshadow;

/// What a person asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Swap {
    Activate {
        name: String,
        version: String,
        by: String,
    },
    /// Back to the version before.
    RollBack {
        name: String,
        by: String,
    },
    /// A version that sees what the active one sees, and predicts nothing.
    Shadow {
        name: String,
        version: String,
        by: String,
    },
    EndShadow {
        name: String,
        by: String,
    },
}

impl Swap {
    /// Writes into the audit log how it ended.
    pub(super) fn note(&self, from: &Origin, outcome: &Result<Choice, SwapError>) {
        let (action, object, by) = match self {
            Self::Activate { name, version, by } => ("activate", format!("{name}/{version}"), by),
            Self::RollBack { name, by } => ("rollback", name.clone(), by),
            Self::Shadow { name, version, by } => ("shadow", format!("{name}/{version}"), by),
            Self::EndShadow { name, by } => ("end shadow", name.clone(), by),
        };
        let entry = Entry { action, object: &object, by: Some(by), from };
        match outcome {
            Ok(Choice { version, previous, .. }) => {
                let before = previous.as_deref().unwrap_or("a version that failed");
                entry.done_with(&match self {
                    Self::Activate { .. } | Self::RollBack { .. } => {
                        format!("{version} in the place of {before}")
                    }
                    Self::Shadow { .. } => format!("{version} beside {before}"),
                    Self::EndShadow { .. } => format!("{version} is no shadow any more"),
                });
            }
            Err(error) => entry.refused(error),
        }
    }
}

/// What is asked at the desk, and where its sender waits for the answer.
#[derive(Debug)]
pub enum SwapRequest {
    /// The answer is the choice as it is written down.
    Swap(Asked<Swap, Choice>),
    Stock(Asked<Stock, Stocked>),
}

#[derive(Debug)]
pub struct Asked<Q, A> {
    what: Q,
    from: Origin,
    reply: oneshot::Sender<Result<A, SwapError>>,
}

/// Where swaps are asked for, one at a time.
#[derive(Clone, Debug)]
pub struct SwapDesk {
    requests: mpsc::Sender<SwapRequest>,
    turn: Arc<Mutex<()>>,
}

/// Why the model stays as it is.
#[derive(Debug, thiserror::Error)]
pub enum SwapError {
    #[error("no prediction uses a model `{0}`")]
    Unknown(String),
    /// The repository has no such version.
    #[error("{0}")]
    Missing(String),
    /// The repository's files cannot be changed.
    #[error("{0}")]
    Repository(String),
    #[error("{0}")]
    Conflict(String),
    /// The package is not good.
    #[error("{0}")]
    Refused(String),
    #[error("another version is being put in place; try again when that is done")]
    Busy,
    #[error(transparent)]
    Choices(#[from] ActiveError),
    #[error("the choice cannot be written down: {0}")]
    Unwritten(std::io::Error),
    #[error("the daemon is stopping")]
    Stopping,
}

/// What a swap needs of the stages.
#[derive(Debug)]
pub struct Swaps {
    pub requests: mpsc::Receiver<SwapRequest>,
    pub answers: mpsc::WeakSender<Answers>,
    pub explained: mpsc::WeakSender<Explained>,
    pub shelf: Arc<Shelf>,
    pub models: Models,
    pub meters: Arc<Meters>,
    /// What the shadows say, and where others are put in place.
    pub shadowed: mpsc::Sender<Answers>,
    pub reshadows: mpsc::Sender<Reshadow>,
    /// Versions that have not proved themselves yet.
    pub(super) trials: Vec<Trial>,
}

/// What [`Swaps`] are built from.
#[derive(Debug)]
pub struct SwapEnds<'a> {
    pub answers: &'a mpsc::Sender<Answers>,
    pub explained: &'a mpsc::Sender<Explained>,
    pub shadowed: mpsc::Sender<Answers>,
    pub reshadows: mpsc::Sender<Reshadow>,
    pub shelf: Arc<Shelf>,
    pub models: Models,
    pub meters: Arc<Meters>,
}

impl Swaps {
    /// The ends of the stages' channels, and the place where swaps are asked for.
    pub fn new(ends: SwapEnds<'_>) -> (Self, SwapDesk) {
        let SwapEnds { answers, explained, shadowed, reshadows, shelf, models, meters } = ends;
        let (requests, received) = mpsc::channel(1);
        let swaps = Self {
            requests: received,
            answers: answers.downgrade(),
            explained: explained.downgrade(),
            shelf,
            models,
            meters,
            shadowed,
            reshadows,
            trials: Vec::new(),
        };
        (swaps, SwapDesk { requests, turn: Arc::default() })
    }

    fn spawn(&self, loaded: Loaded) -> Result<Vec<ModelWorker>, SwapError> {
        let ends = self.answers.upgrade().zip(self.explained.upgrade());
        let (answers, explained) = ends.ok_or(SwapError::Stopping)?;
        let spawned = loaded
            .models
            .into_iter()
            .map(|model| model.spawn_explaining(answers.clone(), explained.clone()));
        spawned
            .collect::<Result<_, _>>()
            .map_err(|error| SwapError::Refused(format!("its thread does not start: {error}")))
    }
}

impl SwapDesk {
    pub async fn ask(&self, swap: Swap, from: Origin) -> Result<Choice, SwapError> {
        self.put(swap, from, SwapRequest::Swap).await
    }

    pub async fn stock(&self, stock: Stock, from: Origin) -> Result<Stocked, SwapError> {
        self.put(stock, from, SwapRequest::Stock).await
    }

    async fn put<Q, A>(
        &self,
        what: Q,
        from: Origin,
        request: impl FnOnce(Asked<Q, A>) -> SwapRequest,
    ) -> Result<A, SwapError> {
        let _turn = self.turn.try_lock().map_err(|_| SwapError::Busy)?;
        let (reply, answer) = oneshot::channel();
        let request = request(Asked { what, from, reply });
        self.requests.send(request).await.map_err(|_| SwapError::Stopping)?;
        answer.await.map_err(|_| SwapError::Stopping)?
    }
}

impl Tuning {
    pub(super) async fn obey(&mut self, request: SwapRequest) {
        // Whoever asked may have gone.
        match request {
            SwapRequest::Swap(Asked { what, from, reply }) => {
                let outcome = self.swap(&what).await;
                what.note(&from, &outcome);
                let _ = reply.send(outcome);
            }
            SwapRequest::Stock(Asked { what, from, reply }) => {
                let outcome = self.stock(&what).await;
                what.note(&from, &outcome);
                let _ = reply.send(outcome);
            }
        }
    }

    pub async fn swap(&mut self, swap: &Swap) -> Result<Choice, SwapError> {
        let outcome = match swap {
            Swap::Activate { name, version, by } => self.activate(name, version, by).await,
            Swap::RollBack { name, by } => self.roll_back(name, by).await,
            Swap::Shadow { name, version, by } => self.shadow(name, version, by).await,
            Swap::EndShadow { name, by } => self.end_shadow(name, by).await,
        };
        self.tell_trials();
        outcome
    }

    async fn activate(&mut self, name: &str, version: &str, by: &str) -> Result<Choice, SwapError> {
        let running = self.version_of(name)?;
        if running == version {
            return Err(SwapError::Conflict(format!("{name} {version} predicts already")));
        }
        let loaded = self.verified(name, version, Pace::AtOnce).await?;
        self.same_windows(&loaded.predictions)?;
        let choice = choice(version, &running, by);
        self.write_down(name, &choice)?;
        let (predictions, workers) = (loaded.predictions.clone(), self.swaps.spawn(loaded)?);
        let before: Vec<_> = self.users(name).cloned().collect();
        let stats = workers.iter().map(|worker| Arc::clone(worker.handle().stats())).collect();
        let retired = self.exchange(predictions, workers).await?;
        self.end_own_shadow(name, version, by).await;
        self.swaps.trials.retain(|trial| trial.name != name);
        let (name_, begun) = (name.to_owned(), Instant::now());
        self.swaps.trials.push(Trial { name: name_, begun, stats, before, retired });
        add(&self.swaps.meters.activations, 1);
        Ok(choice)
    }

    pub(super) async fn roll_back(&mut self, name: &str, by: &str) -> Result<Choice, SwapError> {
        let running = self.version_of(name)?;
        let trial = self.swaps.trials.iter().position(|trial| trial.name == name);
        let trial = trial.map(|at| self.swaps.trials.remove(at));
        let previous = match &trial {
            Some(trial) => trial.before.first().map(|loaded| loaded.model.version.clone()),
            None => {
                let active = Active::beside(&self.settings.store.path)?;
                active.of(name).and_then(|choice| choice.previous.clone())
            }
        };
        let Some(version) = previous.filter(|previous| *previous != running) else {
            return Err(SwapError::Conflict(format!(
                "{name} {running} is in nobody's place: there is no version to go back to"
            )));
        };
        let (predictions, workers) = match trial {
            Some(trial) => trial.end(),
            None => {
                let loaded = self.verified(name, &version, Pace::AtOnce).await?;
                self.same_windows(&loaded.predictions)?;
                (loaded.predictions.clone(), self.swaps.spawn(loaded)?)
            }
        };
        let _ended = self.exchange(predictions, workers).await?;
        self.end_own_shadow(name, &version, by).await;
        let mut choice = choice(&version, &running, by);
        if by == BY_ITSELF {
            // Nobody should be led back to what has just failed.
            choice.previous = None;
        }
        // A full disk must not keep a version that fails.
        self.write_down(name, &choice)?;
        add(&self.swaps.meters.rollbacks, 1);
        Ok(choice)
    }

    /// What predicts now needs no shadow of itself.
    async fn end_own_shadow(&mut self, name: &str, version: &str, by: &str) {
        let shadows = Active::shadows_beside(&self.settings.store.path);
        let own = shadows.is_ok_and(|all| all.of(name).is_some_and(|c| c.version == version));
        if own {
            self.drop_shadow(name, by).await;
        }
    }

    /// The one that predicts; refused where the configuration has decided.
    fn version_of(&self, name: &str) -> Result<String, SwapError> {
        let pinned = |prediction: &&Prediction| {
            prediction.model.split_once('/').is_some_and(|(own, _)| own == name)
        };
        if let Some(prediction) = self.settings.prediction.iter().find(pinned) {
            let (prediction, model) = (&prediction.name, &prediction.model);
            return Err(SwapError::Conflict(format!(
                "prediction `{prediction}` names `{model}` in the configuration; write \
                 `model = \"{name}\"` there, and versions can be chosen here"
            )));
        }
        let user = self.users(name).next();
        user.map(|user| user.model.version.clone()).ok_or_else(|| SwapError::Unknown(name.into()))
    }

    pub(super) fn users(&self, name: &str) -> impl Iterator<Item = &LoadedPrediction> {
        self.running.values().filter(move |loaded| loaded.model.name == name)
    }

    pub(super) async fn verified(
        &self,
        name: &str,
        version: &str,
        pace: Pace,
    ) -> Result<Loaded, SwapError> {
        let (settings, name, version) =
            (self.settings.clone(), name.to_owned(), version.to_owned());
        let loaded = apart(pace, move || load_version(&settings, &name, &version)).await?;
        loaded.map_err(|errors| {
            let all: Vec<_> = errors.iter().map(ToString::to_string).collect();
            SwapError::Refused(all.join("; "))
        })
    }

    /// Windows that are half full for one model mean nothing to another that cuts them otherwise.
    fn same_windows(&self, predictions: &[LoadedPrediction]) -> Result<(), SwapError> {
        let Some((new, old)) = self.other_windows(predictions) else { return Ok(()) };
        let (model, prediction) = (&new.model, &new.name);
        Err(SwapError::Conflict(format!(
            "{} {} looks at other tags or windows than {}: it can only be taken at a \
             start; write `model = \"{}/{}\"` in prediction `{prediction}` and restart",
            model.name, model.version, old.model.version, model.name, model.version
        )))
    }

    /// The first prediction that would cut its windows otherwise, and the one that runs.
    pub(super) fn other_windows<'a>(
        &'a self,
        predictions: &'a [LoadedPrediction],
    ) -> Option<(&'a LoadedPrediction, &'a LoadedPrediction)> {
        predictions.iter().find_map(|new| {
            let old = self.running.get(&new.name)?;
            let same = old.plant_tags == new.plant_tags
                && old.window.length == new.window.length
                && old.window.hop == new.window.hop
                && old.window.lateness == new.window.lateness;
            (!same).then_some((new, old))
        })
    }

    fn write_down(&self, name: &str, choice: &Choice) -> Result<(), SwapError> {
        let mut active = Active::beside(&self.settings.store.path)?;
        active.choose(name, choice.clone()).map_err(SwapError::Unwritten)
    }

    /// Between two frames; gives back the models that nobody asks any more.
    async fn exchange(
        &mut self,
        predictions: Vec<LoadedPrediction>,
        workers: Vec<ModelWorker>,
    ) -> Result<Vec<ModelWorker>, SwapError> {
        let (new_stats, new_services) = parts(&workers);
        let settings = self.settings.clone();
        let told = self.tell_watch(&settings, predictions.clone(), workers).await;
        let retired = told.map_err(|_| SwapError::Stopping)?;
        let (old_stats, old_services) = parts(&retired);
        self.swaps.models.exchange(&old_stats, new_stats);
        self.swaps.shelf.exchange(&old_services, new_services);
        for loaded in predictions {
            self.running.insert(loaded.name.clone(), loaded);
        }
        Ok(retired)
    }
}

/// How urgent it is to have a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pace {
    AtOnce,
    /// What predicts goes first; so do the threads that the runtime starts for this model.
    StandingBack,
}

/// On a thread of its own, which ends with the work.
pub(super) async fn apart<T: Send + 'static>(
    pace: Pace,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, SwapError> {
    let (done, answer) = oneshot::channel();
    let begun = std::thread::Builder::new().name("andon-load".into()).spawn(move || {
        if pace == Pace::StandingBack {
            stand_back();
        }
        // Whoever waits may have gone.
        let _ = done.send(work());
    });
    begun.map_err(|error| SwapError::Refused(format!("no thread can load it: {error}")))?;
    answer.await.map_err(|_| SwapError::Refused("loading it failed".into()))
}

fn parts(workers: &[ModelWorker]) -> (Vec<Arc<ModelStats>>, Vec<Service>) {
    let handles: Vec<_> = workers.iter().map(ModelWorker::handle).collect();
    let stats = handles.iter().map(|handle| Arc::clone(handle.stats())).collect();
    (stats, handles.iter().map(|handle| handle.service().clone()).collect())
}

pub(super) fn choice(version: &str, previous: &str, by: &str) -> Choice {
    let (version, by) = (version.to_owned(), by.to_owned());
    Choice { version, previous: Some(previous.to_owned()), by, at: Timestamp::now() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_second_swap_is_refused_while_one_is_under_way() {
        let (requests, mut received) = mpsc::channel(1);
        let desk = SwapDesk { requests, turn: Arc::default() };
        let ask = |version: &str| {
            let (desk, version) = (desk.clone(), version.to_owned());
            let swap = Swap::Activate { name: "wear".into(), version, by: "R. Meyer".into() };
            async move { desk.ask(swap, Origin::Itself).await }
        };
        let first = tokio::spawn(ask("1.1.0"));
        let Some(SwapRequest::Swap(request)) = received.recv().await else { panic!("a swap") };
        assert!(matches!(ask("1.2.0").await, Err(SwapError::Busy)));
        request.reply.send(Err(SwapError::Refused("no".into()))).unwrap();
        assert!(matches!(first.await.unwrap(), Err(SwapError::Refused(_))));
        drop(received);
        assert!(matches!(ask("1.2.0").await, Err(SwapError::Stopping)), "the desk is free again");
    }
}
