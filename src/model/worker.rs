//! One OS thread a model: frames in, verdicts out; requests over HTTP when no frame waits.
//!
//! Frames that wait together run as one batch. The answers of a batch leave in the order of the
//! frames. An answer that cannot be believed makes no verdict and is counted.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::answer::Answer;
use super::card::OutputKind;
pub use super::queue::Submitted;
use super::queue::{Next, Queue};
use super::service::Service;
use super::session::{RunError, Session};
use super::stats::ModelStats;
use crate::explain;
use crate::frame::Frame;
use crate::settings::Direction;
use crate::verdict::{Contribution, ModelIdentity, Verdict};

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

/// How a worker runs its model.
#[derive(Clone, Debug)]
pub(super) struct Manner {
    pub(super) kind: OutputKind,
    pub(super) max_batch: usize,
    pub(super) deadline: Duration,
}

impl ModelWorker {
    /// The thread ends when the worker is closed, or when nobody takes its verdicts any more.
    pub(super) fn spawn(
        mut session: Session,
        identity: Arc<ModelIdentity>,
        manner: Manner,
        out: mpsc::Sender<Verdict>,
    ) -> std::io::Result<Self> {
        let stats = Arc::new(ModelStats::new(Arc::clone(&identity)));
        let queue = Arc::new(Queue::default());
        let signature = session.engine().signature(manner.max_batch);
        let service = Service::new(Arc::clone(&queue), identity, signature);
        let handle = ModelHandle { queue, stats, service };
        let mut task = Task {
            session,
            manner,
            out,
            handle: handle.clone(),
            items: Vec::new(),
            numbers: Vec::new(),
        };
        let thread =
            std::thread::Builder::new().name("andon-model".into()).spawn(move || task.run())?;
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

    pub fn stats(&self) -> &Arc<ModelStats> {
        &self.stats
    }
}

struct Task {
    session: Session,
    manner: Manner,
    out: mpsc::Sender<Verdict>,
    handle: ModelHandle,
    items: Vec<f32>,
    numbers: Vec<f64>,
}

impl Drop for Task {
    fn drop(&mut self) {
        self.handle.queue.close();
    }
}

impl Task {
    fn run(&mut self) {
        let mut batch = Vec::with_capacity(self.manner.max_batch);
        loop {
            let note = |length| self.handle.stats.queued(length);
            match self.handle.queue.take(self.manner.max_batch, &mut batch, note) {
                None => return,
                Some(Next::Frames) => {}
                Some(Next::Request(job)) => {
                    self.handle.service.answer(self.session.engine(), job);
                    continue;
                }
            }
            let (verdicts, error) = match self.infer(&batch) {
                Ok(done) => done,
                Err(error) => {
                    self.handle.stats.failed(batch.len());
                    (Vec::new(), Some(error.to_string()))
                }
            };
            self.report(error);
            for verdict in verdicts {
                if self.out.blocking_send(verdict).is_err() {
                    return;
                }
            }
            batch.clear();
        }
    }

    fn report(&self, error: Option<String>) {
        let stats = &self.handle.stats;
        let name = stats.identity.name.clone();
        let failure = error.clone();
        if stats.health(error) {
            match failure {
                Some(error) => {
                    tracing::warn!(model = name, error, "the model gives no usable answers")
                }
                None => tracing::info!(model = name, "the model gives usable answers again"),
            }
        }
    }

    /// The verdicts, and the last thing that was wrong with an answer.
    fn infer(&mut self, batch: &[Frame]) -> Result<(Vec<Verdict>, Option<String>), RunError> {
        self.items.clear();
        batch.iter().for_each(|frame| self.items.extend_from_slice(&frame.values));
        let started = Instant::now();
        let width = self.session.run(&self.items, &mut self.numbers)?;
        let took = started.elapsed();
        self.handle.stats.ran(batch.len(), took);
        if took > self.manner.deadline {
            self.handle.stats.late();
            tracing::debug!(?took, frames = batch.len(), "a batch ran past its deadline");
        }
        let mut verdicts = Vec::with_capacity(batch.len());
        let mut wrong = None;
        let numbers = std::mem::take(&mut self.numbers);
        for (frame, row) in batch.iter().zip(numbers.chunks(width)) {
            match self.session.judge().answer(row, &frame.values) {
                Ok(answer) => verdicts.push(self.verdict(frame, answer, row)),
                Err(error) => {
                    self.handle.stats.unhealthy();
                    wrong = Some(error.to_string());
                }
            }
        }
        self.numbers = numbers;
        Ok((verdicts, wrong))
    }

    fn verdict(&mut self, frame: &Frame, answer: Answer, row: &[f64]) -> Verdict {
        let threshold = frame.spec.explain_from.filter(|from| from.is_reached(answer.score));
        let contributions = threshold.map_or_else(Vec::new, |threshold| {
            self.handle.stats.explained();
            self.reasons(frame, answer.score, row, threshold.direction)
        });
        Verdict {
            prediction: frame.prediction,
            asset: frame.asset,
            evidence: frame.evidence,
            score: answer.score,
            label: answer.label,
            contributions,
            model: Some(Arc::clone(&self.handle.stats.identity)),
            arrived: frame.arrived,
        }
    }

    fn reasons(
        &mut self,
        frame: &Frame,
        score: f64,
        row: &[f64],
        direction: Direction,
    ) -> Vec<Contribution> {
        let spec = &frame.spec;
        let pushes = if self.manner.kind == OutputKind::Reconstruction {
            explain::error_by_tag(spec, &frame.values, row)
        } else {
            self.without_each_tag(frame, score)
        };
        explain::contributions(spec, &frame.latest, &pushes, direction)
    }

    /// How much higher the score is than without each tag; NaN where the model cannot say.
    fn without_each_tag(&mut self, frame: &Frame, score: f64) -> Vec<f64> {
        let tags: Vec<usize> = (0..frame.spec.tags.len()).collect();
        let mut pushes = Vec::with_capacity(tags.len());
        let (mut items, mut numbers) = (Vec::new(), Vec::new());
        for chunk in tags.chunks(self.manner.max_batch) {
            items.clear();
            for tag in chunk {
                explain::without_tag(&frame.spec, &frame.values, *tag, &mut items);
            }
            let Ok(width) = self.session.run(&items, &mut numbers) else {
                pushes.resize(pushes.len() + chunk.len(), f64::NAN);
                continue;
            };
            pushes.extend(numbers.chunks(width).map(|row| {
                let without = self.session.judge().answer(row, &[]);
                without.map_or(f64::NAN, |without| score - without.score)
            }));
        }
        pushes
    }
}
