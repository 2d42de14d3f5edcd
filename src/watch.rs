//! The main loop: samples to windows to frames, verdicts to alerts.
//!
//! One task owns the pure cores (inspector, windower, rules, alert book) and drives them with
//! the clock. It never waits for the disk or the network, except to hold back sources while
//! the store's queue is full.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::alert::rules::RuleBook;
use crate::alert::wire::Wire;
use crate::alert::{AlertBook, Cause, Command, Transition};
use crate::asset::{AssetId, NamePattern};
use crate::frame::{self, FrameSpec, Scratch};
use crate::ledger::{Ledger, Rejection};
use crate::message::CommandMessage;
use crate::model::{LoadedPrediction, ModelHandle};
use crate::mqtt::Publisher;
use crate::quality::{Inspection, Inspector};
use crate::sample::{Batch, Sample};
use crate::settings::AlertPolicy;
use crate::store::{AlertChange, AlertKey, Store, WindowMark};
use crate::tag::{Registry, TagId};
use crate::telemetry::{Meters, add};
use crate::time::Timestamp;
use crate::verdict::{PredictionId, Verdict};
use crate::window::{Admission, Mark, Windower};

/// Batches taken from the channel at once.
const BATCHES_AT_ONCE: usize = 64;
/// How often the windows' places are written down for a restart.
const MARK_INTERVAL: std::time::Duration = std::time::Duration::from_secs(5);

/// A prediction as the loop needs it.
#[derive(Debug)]
pub struct Bound {
    pub name: Arc<str>,
    pub spec: Arc<FrameSpec>,
    pub policy: AlertPolicy,
    pub model: ModelHandle,
}

/// What the loop owns. Built by the pipeline.
pub struct Watch {
    pub registry: Arc<Registry>,
    pub ledger: Arc<Ledger>,
    pub meters: Arc<Meters>,
    pub store: Store,
    pub inspector: Inspector,
    pub windower: Windower,
    pub rules: RuleBook,
    pub book: AlertBook,
    pub predictions: Vec<Bound>,
    /// Names of predictions and rules by id.
    pub names: Vec<Arc<str>>,
    pub wire: Option<Wire>,
    /// Where every verdict goes as well, if asked for.
    pub verdict_stream: Option<Publisher>,
    pub scratch: Scratch,
    pub known_tags: u32,
    pub known_assets: BTreeMap<AssetId, Arc<str>>,
}

/// The ends of the channels that feed the loop.
#[derive(Debug)]
pub struct Feeds {
    pub batches: mpsc::Receiver<Batch>,
    pub verdicts: mpsc::Receiver<Verdict>,
    pub commands: mpsc::Receiver<CommandMessage>,
}

impl Watch {
    /// Runs until every source has gone and every frame has its verdict.
    pub async fn run(mut self, mut feeds: Feeds) {
        let mut batches = Vec::with_capacity(BATCHES_AT_ONCE);
        let mut marks = tokio::time::interval(MARK_INTERVAL);
        loop {
            add(&self.meters.heartbeat, 1);
            let deadline = self.next_deadline();
            tokio::select! {
                biased;
                Some(verdict) = feeds.verdicts.recv() => self.judge(&verdict, Timestamp::now()),
                Some(command) = feeds.commands.recv() => self.obey(&command, Timestamp::now()),
                taken = feeds.batches.recv_many(&mut batches, BATCHES_AT_ONCE) => {
                    if taken == 0 {
                        break;
                    }
                    for batch in batches.drain(..) {
                        self.take_in(batch).await;
                    }
                }
                () = sleep_until(deadline) => self.advance(Timestamp::now()),
                _ = marks.tick() => self.save_marks().await,
            }
        }
        self.finish(feeds.verdicts).await;
    }

    /// Feeds what the buffer holds, so that open windows and alert rules stand where they stood.
    pub fn rebuild(&mut self, samples: &[Sample], received: Timestamp) {
        for sample in samples {
            self.know(sample.tag);
            let mut sample = *sample;
            let _known = self.inspector.inspect(&mut sample, received);
            self.observe(&sample, received);
        }
    }

    async fn take_in(&mut self, mut batch: Batch) {
        let received = batch.received;
        let mut duplicates = 0;
        let samples = Arc::make_mut(&mut batch.samples);
        samples.retain_mut(|sample| {
            self.know(sample.tag);
            match self.inspector.inspect(sample, received) {
                Inspection::Duplicate => {
                    duplicates += 1;
                    false
                }
                Inspection::Accept => true,
            }
        });
        if duplicates > 0 {
            self.ledger.reject(Rejection::Duplicate, duplicates);
        }
        let samples = Arc::clone(&batch.samples);
        let stale = batch.stale;
        self.store.record(batch).await;
        if !stale {
            for sample in samples.iter() {
                self.observe(sample, received);
            }
        }
    }

    fn observe(&mut self, sample: &Sample, received: Timestamp) {
        if self.windower.insert(sample, received) == Admission::Late {
            add(&self.meters.late_samples, 1);
        }
        if let Some(verdict) = self.rules.observe(sample, received) {
            self.judge(&verdict, received);
        }
        self.ask_models();
    }

    fn ask_models(&mut self) {
        while let Some(window) = self.windower.poll() {
            add(&self.meters.windows, 1);
            let bound = &self.predictions[usize::from(window.prediction.0)];
            match frame::build(&bound.spec, &window, &mut self.scratch) {
                Ok(frame) => {
                    let _counted_by_the_model = bound.model.submit(frame);
                }
                Err(unfit) => self.meters.unfit(unfit.reason()),
            }
        }
    }

    fn judge(&mut self, verdict: &Verdict, now: Timestamp) {
        let asset = self.asset_name(verdict.asset);
        if let (Some(stream), Some(wire)) = (&self.verdict_stream, &self.wire)
            && verdict.model.is_some()
        {
            let name = &self.names[usize::from(verdict.prediction.0)];
            let _shed_first = stream.publish_soon(wire.verdict(verdict, &asset, name));
        }
        if let Some(transition) = self.book.apply(verdict, &asset, now) {
            self.commit(&transition);
        }
    }

    fn obey(&mut self, message: &CommandMessage, now: Timestamp) {
        let outcome = Command::parse(&message.body)
            .map_err(|error| error.to_string())
            .and_then(|command| {
                let prediction = self.prediction_id(&message.prediction)?;
                let asset = self.registry.intern_asset(&message.asset);
                self.book.command(asset, prediction, command, now).map_err(|error| error.to_string())
            });
        match outcome {
            Ok(Some(transition)) => self.commit(&transition),
            Ok(None) => {}
            Err(error) => tracing::warn!(
                asset = message.asset,
                prediction = message.prediction,
                %error,
                "A command on an alert was refused."
            ),
        }
    }

    fn commit(&self, transition: &Transition) {
        let record = &transition.record;
        match transition.cause {
            Cause::Raised => add(&self.meters.alerts_raised, 1),
            Cause::Cleared => add(&self.meters.alerts_cleared, 1),
            _ => {}
        }
        tracing::info!(
            asset = record.asset,
            prediction = record.prediction,
            state = ?record.state,
            previous = ?transition.previous,
            score = record.score,
            "{}",
            record.text
        );
        let messages =
            self.wire.as_ref().map_or_else(Vec::new, |wire| wire.messages(transition, false));
        let state = serde_json::to_string(record).expect("a record holds no map with odd keys");
        self.store.queue_change(AlertChange {
            key: AlertKey { asset: record.asset.clone(), prediction: record.prediction.clone() },
            state: Some(state),
            messages,
            at: transition.arrived,
        });
    }

    fn next_deadline(&self) -> Option<Timestamp> {
        [self.windower.next_deadline(), self.rules.next_deadline(), self.book.next_deadline()]
            .into_iter()
            .flatten()
            .min()
    }

    fn advance(&mut self, now: Timestamp) {
        self.windower.advance(now);
        self.ask_models();
        let mut verdicts = Vec::new();
        self.rules.advance(now, &mut verdicts);
        for verdict in verdicts {
            self.judge(&verdict, now);
        }
        for transition in self.book.advance(now) {
            self.commit(&transition);
        }
    }

    /// Introduces tags that sources have found since the last look.
    fn know(&mut self, tag: TagId) {
        if tag.0 < self.known_tags {
            return;
        }
        for (id, info) in self.registry.tags_from(self.known_tags) {
            self.inspector.attach(id, &info.asset_name, &info.name);
            self.windower.attach(id, &info);
            self.rules.attach(id, info.asset, &info.asset_name, &info.name);
            self.known_assets.insert(info.asset, info.asset_name);
            self.known_tags = id.0 + 1;
        }
    }

    fn asset_name(&mut self, asset: AssetId) -> Arc<str> {
        if let Some(name) = self.known_assets.get(&asset) {
            return Arc::clone(name);
        }
        let name = self.registry.asset_name(asset).unwrap_or_else(|| "unknown".into());
        self.known_assets.insert(asset, Arc::clone(&name));
        name
    }

    fn prediction_id(&self, name: &str) -> Result<PredictionId, String> {
        let at = self.names.iter().position(|known| **known == *name);
        at.and_then(|at| u16::try_from(at).ok())
            .map(PredictionId)
            .ok_or_else(|| format!("there is no prediction or rule `{name}`"))
    }

    async fn save_marks(&self) {
        let named = |mark: Mark| {
            Some(WindowMark {
                asset: self.registry.asset_name(mark.asset)?.to_string(),
                prediction: self.names[usize::from(mark.prediction.0)].to_string(),
                start: mark.start,
                end: mark.end,
            })
        };
        let marks: Vec<WindowMark> = self.windower.marks().into_iter().filter_map(named).collect();
        if !marks.is_empty() {
            self.store.save_marks(marks).await;
        }
    }

    /// The sources have gone: waits for the verdicts that are still out.
    async fn finish(mut self, mut verdicts: mpsc::Receiver<Verdict>) {
        // The workers end when their last handle goes, and with them the channel.
        self.predictions.clear();
        while let Some(verdict) = verdicts.recv().await {
            self.judge(&verdict, Timestamp::now());
        }
        self.save_marks().await;
    }
}

async fn sleep_until(deadline: Option<Timestamp>) {
    match deadline {
        Some(deadline) => tokio::time::sleep(deadline.since(Timestamp::now())).await,
        None => std::future::pending().await,
    }
}
