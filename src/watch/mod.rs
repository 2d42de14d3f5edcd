//! The main loop: samples to windows to frames, verdicts to alerts.
//!
//! One task owns the pure cores (inspector, windower, rules, alert book) and drives them with
//! the clock. It never waits for the disk or the network, except to hold back sources while
//! the store's queue is full.

mod ailing;
mod drift;
mod flood;
mod judge;
mod labels;
mod orders;
mod pictures;
mod restore;
mod retune;
mod roll;
mod shadow;
mod share;
mod steps;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior};

use crate::alert::AlertBook;
use crate::alert::rules::RuleBook;
use crate::alert::wire::Wire;
use crate::asset::AssetId;
use crate::clock::Steps;
use crate::frame::{self, Frame, Scratch};
use crate::ledger::{Ledger, Rejection};
use crate::live::Live;
use crate::message::{CommandMessage, Quarantined};
use crate::model::{Answers, LabelCounts, LoadedPrediction, ModelHandle, ModelWorker};
use crate::mqtt::Publisher;
use crate::quality::{Inspection, Inspector};
use crate::sample::{Batch, Receipt, Sample};
use crate::settings::Settings;
use crate::share::Shares;
use crate::snapshot::{Keeper, Thumbnail};
use crate::standing::Standing;
use crate::store::{Store, WindowMark};
use crate::tag::{Registry, TagId};
use crate::telemetry::{Meters, add};
use crate::time::Timestamp;
use crate::verdict::{Explained, PredictionId, Verdict};
use crate::window::{Admission, Mark, Window, WindowSpec, Windower};

pub use self::labels::LabelOrder;
pub use self::orders::{Order, Refusal};
pub use self::retune::Retune;
pub use self::shadow::Reshadow;
use self::shadow::Shadowing;

/// Batches taken from the channel at once.
const BATCHES_AT_ONCE: usize = 16;
/// How often the windows' places are written down for a restart.
const MARK_INTERVAL: Duration = Duration::from_secs(5);
/// A broker that comes back within this time sends again what it has not seen confirmed.
const RECALL: Duration = Duration::from_secs(600);
/// How late a window or rule that waits for silence may be noticed. A timer set anew for each
/// batch would cost more than the samples.
const TICK: Duration = Duration::from_millis(20);

/// What the loop is built from.
pub struct WatchParts<'a> {
    pub settings: &'a Settings,
    pub predictions: Vec<LoadedPrediction>,
    pub workers: Vec<ModelWorker>,
    pub registry: Arc<Registry>,
    pub ledger: Arc<Ledger>,
    pub meters: Arc<Meters>,
    pub live: Arc<Live>,
    pub store: Store,
    /// How alerts are told; without it they are only kept.
    pub wire: Option<Wire>,
    pub publisher: Option<Publisher>,
    /// Takes pictures in small; [`Feeds::thumbnails`] is its other end.
    pub thumbnails: mpsc::Sender<Thumbnail>,
    /// What stands at the broker, where several boxes split the site.
    pub standing: Option<Arc<Standing>>,
}

pub struct Watch {
    registry: Arc<Registry>,
    ledger: Arc<Ledger>,
    meters: Arc<Meters>,
    live: Arc<Live>,
    store: Store,
    wire: Option<Wire>,
    /// Where every verdict goes as well while `streams` says so.
    verdict_stream: Option<Publisher>,
    streams: bool,
    inspector: Inspector,
    steps: Steps,
    windower: Windower,
    rules: RuleBook,
    /// What the rules have just said.
    ruled: Vec<Verdict>,
    book: AlertBook,
    predictions: Vec<Bound>,
    workers: Vec<ModelWorker>,
    /// Names of predictions and rules by id, those that are gone too.
    names: Vec<Arc<str>>,
    scratch: Scratch,
    known_tags: u32,
    known_assets: BTreeMap<AssetId, Arc<str>>,
    /// Candidates that see a prediction's frames too, and their models.
    shadows: BTreeMap<PredictionId, Shadowing>,
    shadow_workers: Vec<ModelWorker>,
    /// Windows that the shadows have yet to see.
    unshown: Vec<Window>,
    /// Until the end begins.
    keeper: Option<Keeper>,
    /// What labels said, on disk.
    counts: LabelCounts,
    roll: roll::Roll,
    flood: flood::Flood,
    ailing: ailing::Ailing,
    /// Which assets are this box's, and what stands at the broker for all of them.
    shares: Shares,
    standing: Option<Arc<Standing>>,
    /// So far `standing` has been gone through.
    adopted_to: u64,
    /// How far ahead of the box's clock an event time may lie.
    future: Duration,
}

/// A prediction as the loop needs it.
struct Bound {
    loaded: LoadedPrediction,
    model: ModelHandle,
}

/// The ends of the channels that feed the loop.
#[derive(Debug)]
pub struct Feeds {
    pub batches: mpsc::Receiver<Batch>,
    pub answers: mpsc::Receiver<Answers>,
    pub explained: mpsc::Receiver<Explained>,
    pub commands: mpsc::Receiver<CommandMessage>,
    pub orders: mpsc::Receiver<Order>,
    /// Labels over MQTT, and those whose senders wait for the answer.
    pub truths: mpsc::Receiver<CommandMessage>,
    pub labels: mpsc::Receiver<LabelOrder>,
    pub retunes: mpsc::Receiver<Retune>,
    pub reshadows: mpsc::Receiver<Reshadow>,
    /// What the shadows say.
    pub shadowed: mpsc::Receiver<Answers>,
    /// Pictures in small, each after its verdict.
    pub thumbnails: mpsc::Receiver<Thumbnail>,
}

impl Watch {
    pub fn new(parts: WatchParts<'_>) -> Self {
        let WatchParts { settings, workers, .. } = parts;
        let mut windows = Vec::new();
        let mut predictions = Vec::new();
        let mut names: Vec<Arc<str>> = Vec::new();
        for loaded in parts.predictions {
            windows.push(window_spec(&loaded));
            names.push(loaded.name.as_str().into());
            predictions.push(Bound { model: workers[loaded.worker].handle(), loaded });
        }
        let mut rules = Vec::new();
        for rule in &settings.rule {
            rules.push((retune::id_of(&mut names, &rule.name), rule.clone()));
        }
        parts.live.retune(retune::judges(&predictions, &rules), &settings.tag);
        let streams = settings.publish.as_ref().is_some_and(|publish| publish.verdicts);
        parts.live.watch_drift(drift::subjects(&predictions));
        let mut specs = retune::specs(&predictions, &rules);
        specs.extend(drift::specs(&settings.drift, &predictions, &mut names));
        specs.push(flood::spec(&settings.flood, &mut names));
        Self {
            inspector: Inspector::new(settings.tag.clone(), settings.limits.future),
            steps: Steps::default(),
            windower: Windower::new(windows),
            book: AlertBook::new(&settings.site.name, specs),
            rules: RuleBook::new(rules),
            ruled: Vec::new(),
            registry: parts.registry,
            ledger: parts.ledger,
            meters: parts.meters,
            live: parts.live,
            store: parts.store,
            wire: parts.wire,
            verdict_stream: parts.publisher,
            streams,
            predictions,
            workers,
            names,
            scratch: Scratch::default(),
            known_tags: 0,
            known_assets: BTreeMap::new(),
            shadows: BTreeMap::new(),
            shadow_workers: Vec::new(),
            unshown: Vec::new(),
            keeper: Some(pictures::keeper(parts.thumbnails)),
            counts: LabelCounts::beside(&settings.store.path),
            roll: roll::Roll::default(),
            flood: flood::Flood::new(settings),
            ailing: ailing::Ailing::default(),
            shares: Shares::new(settings.share.as_ref()),
            standing: parts.standing,
            adopted_to: 0,
            future: settings.limits.future,
        }
    }

    /// Runs until every source has gone and every frame has its verdict.
    pub async fn run(mut self, mut feeds: Feeds) {
        let mut batches = Vec::with_capacity(BATCHES_AT_ONCE);
        let began = Instant::now();
        let mut marks = tokio::time::interval(MARK_INTERVAL);
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            add(&self.meters.heartbeat, 1);
            tokio::select! {
                biased;
                Some(answers) = feeds.answers.recv() => self.judge_all(&answers),
                Some(explained) = feeds.explained.recv() => {
                    self.explained(&explained, Timestamp::now());
                }
                Some(thumbnail) = feeds.thumbnails.recv() => self.keep(thumbnail),
                Some(command) = feeds.commands.recv() => {
                    let _told_in_the_log = self.obey(&command, Timestamp::now());
                }
                Some(order) = feeds.orders.recv() => {
                    let outcome = self.obey(&order.message, Timestamp::now());
                    // Whoever asked may have gone.
                    let _ = order.reply.send(outcome);
                }
                Some(label) = feeds.truths.recv() => self.labelled(&label, Timestamp::now()),
                Some(LabelOrder { label, from, reply }) = feeds.labels.recv() => {
                    // Whoever asked may have gone.
                    let _ = reply.send(self.label(&label, &from, Timestamp::now()));
                }
                Some(retune) = feeds.retunes.recv() => self.retune(retune, Timestamp::now()),
                Some(reshadow) = feeds.reshadows.recv() => {
                    self.reshadow(reshadow, Timestamp::now());
                }
                _ = ticks.tick() => {
                    self.look_at_the_clock(began.elapsed());
                    self.advance(Timestamp::now());
                    self.look_at_the_models(Timestamp::now());
                    self.drain_the_flood(Timestamp::now());
                    self.adopt(Timestamp::now());
                }
                _ = marks.tick() => {
                    self.save_marks().await;
                    let _written_beside = self.save_labels();
                    self.roll.turn(began.elapsed());
                    if began.elapsed() > RECALL {
                        self.inspector.forget();
                    }
                }
                taken = feeds.batches.recv_many(&mut batches, BATCHES_AT_ONCE) => {
                    if taken == 0 {
                        break;
                    }
                    let stepped = self.look_at_the_clock(began.elapsed());
                    for mut batch in batches.drain(..) {
                        if stepped {
                            batch.received = Timestamp::now();
                        }
                        self.take_in(batch).await;
                        if taken == BATCHES_AT_ONCE {
                            // In a flood there is always more, and this thread is the writer's too.
                            tokio::task::yield_now().await;
                        }
                    }
                }
                // Last: while there is anything else to do, the shadows wait.
                Some(answers) = feeds.shadowed.recv() => {
                    self.shadowed(&answers, Timestamp::now());
                }
            }
        }
        self.finish(feeds).await;
    }

    async fn take_in(&mut self, mut batch: Batch) {
        let received = batch.received;
        let pictures = std::mem::take(&mut batch.pictures);
        if batch.samples.is_empty() && !pictures.is_empty() {
            batch.receipt.into_iter().for_each(Receipt::settle);
            self.show_all(pictures, batch.stale);
            return;
        }
        let (mut duplicates, mut bad_times) = (0, 0);
        let samples = Arc::make_mut(&mut batch.samples);
        samples.retain_mut(|sample| {
            self.know(sample.tag);
            match self.inspector.inspect(sample, received) {
                Inspection::Accept => return true,
                Inspection::Duplicate => duplicates += 1,
                Inspection::BadTime => bad_times += 1,
            }
            false
        });
        self.ledger.reject(Rejection::Duplicate, duplicates);
        self.ledger.reject(Rejection::BadTime, bad_times);
        let samples = Arc::clone(&batch.samples);
        self.live.note(&samples, received);
        let stale = batch.stale;
        self.store.record(batch).await;
        if !stale {
            for sample in samples.iter() {
                self.observe(sample, received);
            }
        }
        if self.windower.begun() {
            self.save_marks().await;
        }
        self.show_all(pictures, stale);
        self.show_shadows();
    }

    fn observe(&mut self, sample: &Sample, received: Timestamp) {
        if self.windower.insert(sample, received) == Admission::Late {
            add(&self.meters.late_samples, 1);
        }
        self.rules.observe(sample, received, &mut self.ruled);
        if !self.ruled.is_empty() {
            self.judge_rules(received);
        }
        self.ask_models();
    }

    fn ask_models(&mut self) {
        while let Some(frame) = self.next_frame() {
            let model = &self.predictions[usize::from(frame.prediction.0)].model;
            let _counted_by_the_model = model.submit(frame);
        }
    }

    /// The frame of the next closed window that is fit to be looked at.
    fn next_frame(&mut self) -> Option<Frame> {
        loop {
            let window = self.windower.poll()?;
            add(&self.meters.windows, 1);
            let bound = &self.predictions[usize::from(window.prediction.0)];
            match frame::build(&bound.loaded.spec, &window, &mut self.scratch) {
                Ok(frame) => {
                    self.look(&frame);
                    self.keep_for_shadows(window);
                    return Some(frame);
                }
                Err(unfit) => {
                    let stats = Arc::clone(bound.model.stats());
                    stats.unfit(&self.asset_name(window.asset), &unfit);
                }
            }
        }
    }

    fn next_deadline(&self) -> Option<Timestamp> {
        [self.windower.next_deadline(), self.rules.next_deadline(), self.book.next_deadline()]
            .into_iter()
            .flatten()
            .min()
    }

    fn advance(&mut self, now: Timestamp) {
        if self.next_deadline().is_none_or(|deadline| deadline > now) {
            return;
        }
        self.windower.advance(now);
        self.ask_models();
        self.show_shadows();
        self.rules.advance(now, &mut self.ruled);
        self.judge_rules(now);
        for transition in self.book.advance(now) {
            self.commit(&transition);
        }
    }

    /// Introduces tags that sources have found since the last look.
    fn know(&mut self, tag: TagId) {
        if tag.0 >= self.known_tags {
            self.know_all();
        }
    }

    fn know_all(&mut self) {
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
    async fn finish(mut self, feeds: Feeds) {
        let Feeds { mut answers, mut explained, mut thumbnails, .. } = feeds;
        self.keeper = None;
        // Each worker answers what it has and ends; with the last one the channel ends.
        self.workers.clear();
        self.shadow_workers.clear();
        while let Some(answers) = answers.recv().await {
            self.judge_all(&answers);
        }
        while let Some(explained) = explained.recv().await {
            self.explained(&explained, Timestamp::now());
        }
        while let Some(thumbnail) = thumbnails.recv().await {
            self.keep(thumbnail);
        }
        self.roll.close();
        self.save_marks().await;
        if let Some(written) = self.save_labels() {
            // What went wrong stands in the log.
            let _ = written.await;
        }
    }
}

/// Hands unreadable payloads to the store.
pub async fn quarantine(store: Store, mut payloads: mpsc::Receiver<Quarantined>) {
    while let Some(payload) = payloads.recv().await {
        store.quarantine(payload);
    }
}

pub(crate) fn window_spec(loaded: &LoadedPrediction) -> WindowSpec {
    let window = &loaded.window;
    let length = window.length.expect("loading refuses a window without `length`");
    WindowSpec {
        prediction: loaded.id,
        assets: loaded.assets.clone(),
        tags: loaded.plant_tags.clone(),
        length,
        hop: window.hop.unwrap_or(length),
        lateness: window.lateness.unwrap_or_default(),
        history: history(loaded),
    }
}

/// One more than the rule looks back on: the window that ended at the mark is not repeated.
fn history(loaded: &LoadedPrediction) -> usize {
    loaded.policy.m.unwrap_or(1) as usize + 1
}
