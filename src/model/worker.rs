//! One OS thread a model: frames in, verdicts out; in between, and never before a frame, it works
//! out why an alert was raised, and answers requests over the protocol.
//!
//! Frames that wait together run as one batch. The answers of a batch leave in the order of the
//! frames. An answer that cannot be believed makes no verdict and is counted.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::block::Block;
use super::engine::{Engine, Inferred};
pub use super::outbox::Answers;
use super::outbox::Outbox;
use super::predictor::Serve as _;
pub use super::queue::Submitted;
use super::queue::{Idle, Queue, Work};
use super::rank::Rank;
use super::service::Service;
use super::stats::ModelStats;
use super::study::{Inquiry, Study};
use crate::frame::Frame;
use crate::snapshot::Fate;
use crate::verdict::{Explained, Verdict};

/// Decoded pixels that are held until the verdicts are out, to make thumbnails of them then; beyond
/// that a picture is made small before.
const HELD_PIXELS: usize = 16_000_000;

/// So long after its alert a reason still helps.
const EXPLAIN_WITHIN: Duration = Duration::from_millis(200);

/// A model with its thread. Dropping it lets the thread end by itself once its queue is empty.
#[derive(Debug)]
pub struct ModelWorker {
    handle: ModelHandle,
    thread: Option<JoinHandle<()>>,
}

/// The way to a model's thread.
#[derive(Clone, Debug)]
pub struct ModelHandle {
    queue: Arc<Queue>,
    stats: Arc<ModelStats>,
    service: Service,
}

impl ModelWorker {
    /// The thread ends when the worker is closed, or when nobody takes its verdicts any more.
    pub(super) fn spawn(
        mut engine: Engine,
        out: mpsc::Sender<Answers>,
        explained: mpsc::Sender<Explained>,
        rank: Rank,
    ) -> std::io::Result<Self> {
        let stats = Arc::clone(engine.stats());
        let max_batch = engine.max_batch();
        let queue = Arc::new(Queue::new(max_batch));
        let signature = engine.predictor().signature(max_batch);
        let (identity, remote) = (Arc::clone(&stats.identity), stats.remote.clone());
        let service = Service::new(Arc::clone(&queue), identity, signature, remote);
        let handle = ModelHandle { queue, stats, service };
        let name = rank.thread().into();
        let out = Outbox::new(out);
        let mut task = Task { engine, out, explained, rank, handle: handle.clone() };
        let thread = std::thread::Builder::new().name(name).spawn(move || task.run())?;
        Ok(Self { handle, thread: Some(thread) })
    }

    pub fn handle(&self) -> ModelHandle {
        self.handle.clone()
    }

    /// Takes no more frames, answers those that wait, and waits for the thread. Blocks.
    pub fn close(mut self) {
        self.handle.queue.close();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("a model's thread panicked");
        }
    }
}

impl Drop for ModelWorker {
    fn drop(&mut self) {
        self.handle.queue.close();
    }
}

impl ModelHandle {
    /// Never waits.
    pub fn submit(&self, frame: Frame) -> Submitted {
        let outcome = self.queue.submit(frame, |length| self.stats.queued(length));
        if outcome == Submitted::Replaced {
            self.stats.replaced();
        }
        outcome
    }

    /// Waits for room instead of replacing; for replays, where every frame counts. Blocks.
    pub fn submit_wait(&self, frame: Frame) -> Submitted {
        self.queue.submit_wait(frame, |length| self.stats.queued(length))
    }

    /// The way in for requests over the protocol.
    pub fn service(&self) -> &Service {
        &self.service
    }

    /// Asks why an alert was raised. The answer comes when no frame waits, or not in time; too
    /// many questions are given back.
    pub fn explain(&self, inquiry: Inquiry) -> Result<(), Inquiry> {
        self.queue.inquire(inquiry)
    }

    pub fn stats(&self) -> &Arc<ModelStats> {
        &self.stats
    }
}

struct Task {
    engine: Engine,
    out: Outbox,
    explained: mpsc::Sender<Explained>,
    rank: Rank,
    handle: ModelHandle,
}

impl Drop for Task {
    fn drop(&mut self) {
        self.handle.queue.close();
    }
}

impl Task {
    fn run(&mut self) {
        self.rank.take();
        let mut batch = Block::default();
        let mut study: Option<(Study, Instant)> = None;
        let (queue, stats) = (Arc::clone(&self.handle.queue), Arc::clone(&self.handle.stats));
        let note = |length| stats.queued(length);
        loop {
            let idle = match (&study, self.engine.due()) {
                _ if !self.out.is_empty() => Idle::Owes,
                (Some(_), _) => Idle::Busy,
                (None, Some(due)) => Idle::Until(due),
                (None, None) => Idle::Waits,
            };
            let Some(work) = queue.take(&mut batch, idle, note) else { return };
            match work {
                Work::Frames => {
                    self.rank.let_others_go_first();
                    develop(&mut batch.frames);
                    batch.gather();
                    if !batch.frames.is_empty() && !self.answer(&mut batch) {
                        return;
                    }
                    batch.clear();
                }
                Work::HandOver => {
                    if !self.out.flush() {
                        return;
                    }
                }
                Work::Inquiry(inquiry, asked) => study = Some((self.engine.study(inquiry), asked)),
                Work::Request(job) => self.handle.service.answer(self.engine.predictor(), job),
                Work::Tend => {
                    let outcome = self.engine.tend();
                    self.report(outcome.err());
                }
                Work::GoOn => {
                    study = study.take().and_then(|(study, asked)| self.go_on(study, asked))
                }
            }
        }
    }

    /// False when nobody takes the verdicts.
    fn answer(&mut self, batch: &mut Block) -> bool {
        let (Inferred { verdicts, wrong, took }, fate) = match self.engine.infer(batch) {
            Ok(inferred) => (inferred, Fate::Shown),
            Err(error) => {
                self.handle.stats.failed(batch.frames.len());
                let wrong = Some(error.to_string());
                (Inferred { wrong, ..Inferred::default() }, Fate::Failed)
            }
        };
        self.report(wrong);
        let batch = &mut batch.frames;
        let seen = remembered(batch, &verdicts);
        // Pictures end after their verdicts; a server may keep the next batch for any time.
        let pictures = batch.iter().any(|frame| frame.picture.is_some());
        let at_once = pictures || self.handle.stats.remote.is_some();
        let spent = batch.drain(..if pictures { 0 } else { batch.len() });
        let put = self.out.put(verdicts.into_iter().flatten(), spent, took);
        let taken = put && (!at_once || self.out.flush());
        if taken {
            batch
                .iter()
                .filter_map(|frame| frame.picture.as_ref())
                .for_each(|p| p.end(fate.clone()));
            for (at, verdict) in seen {
                batch[at].keep(verdict);
            }
        }
        taken
    }

    /// A few more questions, and then a look for frames again; nothing is left when it is done.
    fn go_on(&mut self, mut study: Study, asked: Instant) -> Option<(Study, Instant)> {
        let in_time = asked.elapsed() < EXPLAIN_WITHIN;
        if in_time && !self.engine.pursue(&mut study) {
            return Some((study, asked));
        }
        // Whoever asks sees to it that there is room.
        let _ = self.explained.try_send(study.conclude());
        None
    }

    fn report(&self, error: Option<String>) {
        let stats = &self.handle.stats;
        let model = stats.identity.name.as_str();
        if stats.health(error.as_deref()) {
            match error {
                Some(error) => tracing::warn!(model, error, "the model gives no usable answers"),
                None => tracing::info!(model, "the model gives usable answers again"),
            }
        }
    }
}

/// Pictures become values; those that are none leave.
fn develop(batch: &mut Vec<Frame>) {
    let mut held = 0;
    batch.retain_mut(|frame| {
        let is_there = frame.develop();
        held += frame.pixels();
        if held > HELD_PIXELS {
            held -= frame.pixels();
            frame.shrink();
        }
        is_there
    });
}

/// The places and verdicts of frames whose pictures are kept in small.
fn remembered(batch: &[Frame], verdicts: &[Option<Verdict>]) -> Vec<(usize, Verdict)> {
    let kept = |(at, (frame, verdict)): (usize, (&Frame, &Option<Verdict>))| {
        let verdict = frame.decoded.as_ref().and(verdict.as_ref())?;
        Some((at, verdict.clone()))
    };
    batch.iter().zip(verdicts).enumerate().filter_map(kept).collect()
}
