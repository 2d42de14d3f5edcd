//! Requests over the protocol: they wait in the model's own queue, behind its frames, and no
//! longer than their deadline. Those that wait together run as one batch, where the card says that
//! rows are independent.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::batch;
use super::block::Block;
use super::predictor::Serve;
use super::queue::{Idle, Queue, Work};
use super::session::RunError;
use crate::health::RemoteHealth;
use crate::oip::{Invalid, Signature, Tensor};
use crate::time::Timestamp;
use crate::verdict::ModelIdentity;

/// The way in for requests to one model.
#[derive(Clone, Debug)]
pub struct Service {
    queue: Arc<Queue>,
    pub identity: Arc<ModelIdentity>,
    pub signature: Arc<Signature>,
    pub stats: Arc<ServiceStats>,
    /// Of a model that a server runs.
    pub remote: Option<Arc<RemoteHealth>>,
    desk: Arc<OnceLock<mpsc::Sender<Answered>>>,
}

type Reply = oneshot::Sender<Result<Vec<Tensor>, RunError>>;

/// What a run has answered.
type Answered = Vec<(Reply, Vec<Tensor>)>;

/// Runs whose answers wait to be given out; those of more wake each asker by itself.
const RUNS_ANSWERED: usize = 16;

/// What a request asks of a model.
#[derive(Debug)]
pub struct Call {
    pub inputs: Vec<Tensor>,
    /// Empty: all that the protocol can tell.
    pub outputs: Vec<String>,
    /// From now until the answer.
    pub patience: Duration,
    /// Requests that may wait before this one.
    pub most_waiting: usize,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    #[error(transparent)]
    Invalid(#[from] Invalid),
    #[error("{0} requests wait already; try again later")]
    Full(usize),
    #[error("there was no answer within {}", humantime::format_duration(*.0))]
    Late(Duration),
    #[error("the model has stopped")]
    Stopped,
    #[error(transparent)]
    Run(#[from] RunError),
}

pub(super) struct Job {
    pub(super) inputs: Vec<Tensor>,
    pub(super) outputs: Vec<String>,
    arrived: Instant,
    deadline: Instant,
    reply: Reply,
}

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Job").field("outputs", &self.outputs).finish_non_exhaustive()
    }
}

impl Job {
    fn is_wanted(&self) -> bool {
        Instant::now() < self.deadline && !self.reply.is_closed()
    }

    pub(super) fn rows(&self) -> usize {
        self.inputs.first().and_then(|input| input.shape.first()).copied().unwrap_or(1)
    }

    /// For this output alone, of one input.
    fn asks_for(&self, output: &str) -> bool {
        self.inputs.len() == 1 && matches!(&self.outputs[..], [only] if only == output)
    }

    /// The dimensions of a row.
    fn row(&self) -> Option<&[usize]> {
        self.inputs.first()?.shape.get(1..)
    }

    /// The same is asked of other rows.
    fn goes_with(&self, first: &Self) -> bool {
        self.outputs == first.outputs && self.inputs.len() == 1 && self.row() == first.row()
    }
}

impl Service {
    pub(super) fn new(
        queue: Arc<Queue>,
        identity: Arc<ModelIdentity>,
        signature: Signature,
        remote: Option<Arc<RemoteHealth>>,
    ) -> Self {
        let (signature, stats, desk) = (Arc::new(signature), Arc::default(), Arc::default());
        Self { queue, identity, signature, stats, remote, desk }
    }

    /// A thread for a graph that only answers requests. It ends with [`Service::close`].
    pub(super) fn spawn(
        mut graph: Box<dyn Serve>,
        identity: Arc<ModelIdentity>,
        max_batch: usize,
        remote: Option<Arc<RemoteHealth>>,
    ) -> std::io::Result<Self> {
        let signature = graph.signature(max_batch);
        let service = Self::new(Arc::new(Queue::new(max_batch)), identity, signature, remote);
        let own = service.clone();
        std::thread::Builder::new().name("andon-service".into()).spawn(move || {
            let _closes_when_this_ends = Closing(&own.queue);
            while let Some(Work::Request(job)) =
                own.queue.take(&mut Block::default(), Idle::Waits, |_| ())
            {
                own.answer(graph.as_mut(), job);
            }
        })?;
        Ok(service)
    }

    /// What waits is given up, and nothing more comes in.
    pub fn close(&self) {
        self.queue.close();
    }

    pub fn is_closed(&self) -> bool {
        self.queue.is_closed()
    }

    /// Checks the call against the graph, waits for its turn and its answer.
    pub async fn call(&self, call: Call) -> Result<Vec<Tensor>, CallError> {
        let started = Instant::now();
        let answer = self.ask(call, started).await;
        if answer.is_err() {
            self.stats.failed.add(started.elapsed());
        } else {
            self.stats.succeeded.add(started.elapsed());
        }
        answer
    }

    async fn ask(&self, call: Call, arrived: Instant) -> Result<Vec<Tensor>, CallError> {
        let Call { inputs, mut outputs, patience, most_waiting } = call;
        self.signature.check(&inputs, outputs.iter().map(String::as_str))?;
        if outputs.is_empty() {
            let told = self.signature.outputs.iter().filter(|output| output.kind.is_some());
            outputs = told.map(|output| output.name.clone()).collect();
        }
        self.desk.get_or_init(open_desk);
        let (reply, answer) = oneshot::channel();
        let deadline = arrived + patience;
        let job = Job { inputs, outputs, arrived, deadline, reply };
        if self.queue.request(job, most_waiting).is_err() {
            let closed = self.queue.is_closed();
            return Err(if closed { CallError::Stopped } else { CallError::Full(most_waiting) });
        }
        match tokio::time::timeout_at(deadline, answer).await {
            Ok(Ok(answer)) => Ok(answer?),
            // The thread gave the request up, or ended.
            Ok(Err(_)) if Instant::now() < deadline => Err(CallError::Stopped),
            Ok(Err(_)) | Err(_) => Err(CallError::Late(patience)),
        }
    }

    /// On the model's thread: `job`, and with it those behind it that may run in one batch. A
    /// request that nobody waits for any more is not run.
    pub(super) fn answer(&self, graph: &mut dyn Serve, job: Job) {
        if !job.is_wanted() {
            return;
        }
        let mut jobs = vec![job];
        if graph.by_rows().is_some_and(|output| jobs[0].asks_for(output)) {
            let mut rows = jobs[0].rows();
            let joined = self.queue.join(|next| {
                rows += next.rows();
                rows <= self.signature.max_batch && next.goes_with(&jobs[0])
            });
            jobs.extend(joined.into_iter().filter(Job::is_wanted));
        }
        let started = Instant::now();
        jobs.iter().for_each(|job| self.stats.queued.add(started - job.arrived));
        match batch::run(graph, &jobs) {
            Some(answers) => {
                self.ran(started, jobs.iter().map(Job::rows).sum());
                self.give_out(jobs.into_iter().map(|job| job.reply).zip(answers).collect());
            }
            None => jobs.into_iter().for_each(|job| self.answer_alone(graph, job)),
        }
    }

    /// With one wake of the main loop for all of them, instead of one each.
    fn give_out(&self, answered: Answered) {
        let left = match self.desk.get() {
            Some(desk) => desk.try_send(answered).err().map(mpsc::error::TrySendError::into_inner),
            None => Some(answered),
        };
        left.into_iter().for_each(hand_over);
    }

    fn answer_alone(&self, graph: &mut dyn Serve, job: Job) {
        let (started, items) = (Instant::now(), job.rows());
        let Job { inputs, outputs, reply, .. } = job;
        let answer = graph.serve(inputs, &outputs);
        if answer.is_ok() {
            self.ran(started, items);
        }
        // Whoever asked may have gone.
        let _ = reply.send(answer);
    }

    fn ran(&self, started: Instant, items: usize) {
        self.stats.ran.add(started.elapsed());
        self.stats.items.fetch_add(items as u64, Relaxed);
        *self.stats.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(Timestamp::now());
    }
}

/// Where the askers are, so that what wakes them does not leave their thread. It ends with the
/// model's service.
fn open_desk() -> mpsc::Sender<Answered> {
    let (desk, mut runs) = mpsc::channel(RUNS_ANSWERED);
    tokio::spawn(async move {
        while let Some(answered) = runs.recv().await {
            hand_over(answered);
        }
    });
    desk
}

fn hand_over(answered: Answered) {
    for (reply, answer) in answered {
        // Whoever asked may have gone.
        let _ = reply.send(Ok(answer));
    }
}

struct Closing<'a>(&'a Queue);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// How often, and how long altogether.
#[derive(Debug, Default)]
pub struct Tally {
    pub count: AtomicU64,
    pub nanos: AtomicU64,
}

impl Tally {
    pub fn count(&self) -> u64 {
        self.count.load(Relaxed)
    }

    fn add(&self, took: Duration) {
        self.count.fetch_add(1, Relaxed);
        self.nanos.fetch_add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX), Relaxed);
    }
}

/// What requests have done with one model. The daemon's own frames count elsewhere.
#[derive(Debug, Default)]
pub struct ServiceStats {
    pub succeeded: Tally,
    pub failed: Tally,
    pub queued: Tally,
    pub ran: Tally,
    /// First dimensions of what was run.
    pub items: AtomicU64,
    pub last: Mutex<Option<Timestamp>>,
}
