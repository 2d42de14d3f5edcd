//! One OS thread a model: frames in, verdicts out.
//!
//! Frames that wait together run as one batch. The answers of a batch leave in the order of the
//! frames. An answer that cannot be believed makes no verdict and is counted.

use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::sync::mpsc;

use super::engine::Engine;
use super::queue::Queue;
pub use super::queue::Submitted;
use super::stats::ModelStats;
use crate::frame::Frame;
use crate::verdict::Verdict;

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
}

impl ModelWorker {
    /// The thread ends when the worker is closed, or when nobody takes its verdicts any more.
    pub(super) fn spawn(engine: Engine, out: mpsc::Sender<Verdict>) -> std::io::Result<Self> {
        let stats = Arc::clone(engine.stats());
        let handle = ModelHandle { queue: Arc::new(Queue::default()), stats };
        let mut task = Task { engine, out, handle: handle.clone() };
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
        let (outcome, length) = self.queue.submit(frame);
        self.stats.queued(length);
        if outcome == Submitted::Replaced {
            self.stats.replaced();
        }
        outcome
    }

    /// Waits for room instead of replacing; for replays, where every frame counts. Blocks.
    pub fn submit_wait(&self, frame: Frame) -> Submitted {
        let (outcome, length) = self.queue.submit_wait(frame);
        self.stats.queued(length);
        outcome
    }

    pub fn stats(&self) -> &Arc<ModelStats> {
        &self.stats
    }
}

struct Task {
    engine: Engine,
    out: mpsc::Sender<Verdict>,
    handle: ModelHandle,
}

impl Drop for Task {
    fn drop(&mut self) {
        self.handle.queue.close();
    }
}

impl Task {
    fn run(&mut self) {
        let max_batch = self.engine.max_batch();
        let mut batch = Vec::with_capacity(max_batch);
        while let Some(left) = self.handle.queue.take(max_batch, &mut batch) {
            self.handle.stats.queued(left);
            let (verdicts, error) = match self.engine.infer(&batch) {
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
}
