//! One model over recorded rows, on the daemon's own path: windows, frames, the model's worker
//! and the alert book. `andon evaluate` is made of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::alert::{AlertBook, AlertSpec, Cause};
use crate::asset::AssetId;
use crate::frame::{self, Frame, Scratch, Unfit};
use crate::model::{Answers, Loaded, LoadedPrediction, ModelWorker, Submitted};
use crate::sample::Sample;
use crate::settings::Extent;
use crate::tag::{Registry, TagId};
use crate::time::Timestamp;
use crate::verdict::{Evidence, Region, Verdict};
use crate::watch;
use crate::window::{Admission, Windower};

/// More than a model's queue and a batch hold, so that no worker waits for us while we wait for it.
const ANSWERS: usize = 4096;
/// A row of a count window that stays incomplete is let go long before.
const PATIENCE: Duration = Duration::from_secs(86_400);
/// All samples are said to have come at once: only event time counts.
const ARRIVED: Timestamp = Timestamp::from_nanos(0);

/// The model's answer about one window.
#[derive(Clone, Debug)]
pub struct Told {
    pub asset: AssetId,
    pub end: Timestamp,
    pub score: f64,
    pub label: Option<Arc<str>>,
    /// The alert rule raised here.
    pub raised: bool,
}

/// What did not reach an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Losses {
    /// Readings that came after their window had closed: the rows are not in order of time.
    pub late: u64,
    /// Windows that are not shown to the model.
    pub empty: u64,
    pub stale: u64,
    pub thin: u64,
    /// Answers that cannot be, such as NaN or one out of the card's range.
    pub unhealthy: u64,
    /// Windows lost to errors of the runtime.
    pub failed: u64,
}

pub struct Rehearsal {
    prediction: LoadedPrediction,
    windower: Windower,
    scratch: Scratch,
    worker: ModelWorker,
    answers: mpsc::Receiver<Answers>,
    book: AlertBook,
    registry: Registry,
    /// The model's tags of each asset, in the model's order.
    tags: BTreeMap<Arc<str>, Vec<TagId>>,
    told: Vec<Told>,
    losses: Losses,
}

impl Rehearsal {
    /// `loaded` holds one prediction. Its reasons are not asked for: they cost time, and no
    /// figure needs them.
    pub fn start(loaded: Loaded) -> anyhow::Result<Self> {
        let Loaded { mut predictions, mut models } = loaded;
        let (Some(mut prediction), Some(model)) = (predictions.pop(), models.pop()) else {
            anyhow::bail!("there is no model to rehearse");
        };
        let mut spec = (*prediction.spec).clone();
        spec.explain_from = None;
        prediction.spec = Arc::new(spec);
        let (out, answers) = mpsc::channel(ANSWERS);
        let book = AlertSpec::prediction(
            prediction.id,
            prediction.name.clone(),
            prediction.policy.clone(),
        );
        Ok(Self {
            windower: Windower::new(vec![watch::window_spec(&prediction)]),
            scratch: Scratch::default(),
            worker: model.spawn(out)?,
            answers,
            book: AlertBook::new("rehearsal", vec![book]),
            registry: Registry::new(usize::MAX),
            tags: BTreeMap::new(),
            told: Vec::new(),
            losses: Losses::default(),
            prediction,
        })
    }

    /// One row: the model's tags of one asset at one time; `None` is a bad reading.
    pub fn feed(&mut self, asset: &str, time: Timestamp, values: &[Option<f64>]) -> AssetId {
        let tags = match self.tags.get(asset) {
            Some(tags) => tags.clone(),
            None => self.introduce(asset),
        };
        for (tag, value) in tags.iter().zip(values) {
            let sample = value.map_or_else(
                || Sample::missing(*tag, time),
                |value| Sample::new(*tag, time, value),
            );
            let admission = self.windower.insert(&sample, ARRIVED);
            self.losses.late += u64::from(admission == Admission::Late);
        }
        self.ask();
        self.registry.intern_asset(asset)
    }

    /// One picture, made into what the model takes: a window of its own.
    pub fn show(&mut self, asset: &str, time: Timestamp, values: Vec<f32>) -> AssetId {
        self.submit(asset, time, values, None)
    }

    /// One text: a window of its own.
    pub fn tell(&mut self, asset: &str, time: Timestamp, text: &str) -> AssetId {
        self.submit(asset, time, Vec::new(), Some(text.into()))
    }

    fn submit(
        &mut self,
        asset: &str,
        time: Timestamp,
        values: Vec<f32>,
        text: Option<Arc<str>>,
    ) -> AssetId {
        let asset = self.registry.intern_asset(asset);
        let submitted = self.worker.handle().submit_wait(Frame {
            prediction: self.prediction.id,
            asset,
            evidence: Evidence { start: time, end: time, samples: 1, coverage: 1.0 },
            values,
            text,
            latest: Vec::new(),
            arrived: ARRIVED,
            spec: Arc::clone(&self.prediction.spec),
            picture: None,
            shown: Region::WHOLE,
            decoded: None,
        });
        debug_assert_eq!(submitted, Submitted::Queued);
        self.take();
        asset
    }

    /// Lets the last windows close and waits for the last answers; all of them in the order in
    /// which the windows closed.
    pub fn finish(mut self) -> (Vec<Told>, Losses) {
        let lateness = self.prediction.window.lateness.unwrap_or_default();
        let hop = match self.prediction.window.hop.or(self.prediction.window.length) {
            Some(Extent::Time(hop)) => hop,
            _ => PATIENCE,
        };
        self.windower.advance(ARRIVED.saturating_add(hop).saturating_add(lateness));
        self.ask();
        let stats = Arc::clone(self.worker.handle().stats());
        let Self { worker, mut answers, mut book, registry, mut told, mut losses, .. } = self;
        // The channel holds all that may be under way.
        worker.close();
        while let Ok(answers) = answers.try_recv() {
            let verdicts = answers.verdicts.iter();
            verdicts.for_each(|verdict| judge(&mut book, &registry, verdict, &mut told));
        }
        let stats = stats.snapshot();
        (losses.unhealthy, losses.failed) = (stats.unhealthy, stats.failed);
        (told, losses)
    }

    fn introduce(&mut self, asset: &str) -> Vec<TagId> {
        let mut tags = Vec::with_capacity(self.prediction.plant_tags.len());
        for name in &self.prediction.plant_tags {
            let tag = self.registry.intern(asset, name).expect("this registry has no limit");
            let info = self.registry.tag(tag).expect("it was interned");
            self.windower.attach(tag, &info);
            tags.push(tag);
        }
        self.tags.insert(asset.into(), tags.clone());
        tags
    }

    fn ask(&mut self) {
        while let Some(window) = self.windower.poll() {
            match frame::build(&self.prediction.spec, &window, &mut self.scratch) {
                Ok(frame) => {
                    let submitted = self.worker.handle().submit_wait(frame);
                    debug_assert_eq!(submitted, Submitted::Queued);
                }
                Err(Unfit::Empty) => self.losses.empty += 1,
                Err(Unfit::Stale { .. }) => self.losses.stale += 1,
                Err(Unfit::Thin { .. }) => self.losses.thin += 1,
            }
            self.take();
        }
    }

    fn take(&mut self) {
        let Self { answers, book, registry, told, .. } = self;
        while let Ok(answers) = answers.try_recv() {
            answers.verdicts.iter().for_each(|verdict| judge(book, registry, verdict, told));
        }
    }
}

fn judge(book: &mut AlertBook, registry: &Registry, verdict: &Verdict, told: &mut Vec<Told>) {
    let asset = registry.asset_name(verdict.asset).expect("only known assets have windows");
    let end = verdict.evidence.end;
    let transition = book.apply(verdict, &asset, end);
    told.push(Told {
        asset: verdict.asset,
        end,
        score: verdict.score,
        label: verdict.label.clone(),
        raised: transition.is_some_and(|transition| transition.cause == Cause::Raised),
    });
}
