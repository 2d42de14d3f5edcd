//! A model that a server elsewhere runs: asked over the Open Inference Protocol, within the
//! card's deadline.
//!
//! A server counts as good when its metadata fit the card and its golden pair was right, and it
//! has to prove that again after every outage (`meeting`). Whatever it does, or does not, costs
//! its own model's thread one deadline at most for a batch, and memory for one right answer.

mod address;
mod breaker;
mod channel;
mod grpc;
mod http;
mod meeting;
mod reading;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use self::address::Address;
pub use self::address::RemoteSettings;
use self::breaker::Breaker;
use self::meeting::Met;
pub(super) use self::meeting::NotMet;
use super::answer::Judge;
use super::card::Card;
use super::golden::Pair;
use super::items::{Items, ItemsRef};
use super::predictor::Serve;
use super::session::{RunError, Session};
use crate::backoff::Backoff;
use crate::frame::FrameSpec;
use crate::health::{BreakerState, RemoteError, RemoteHealth};
use crate::oip::{
    Answer, Data, DataType, Described, Invalid, Question, Signature, Tensor, TensorSpec,
};
use crate::verdict::ModelIdentity;

/// Between a failed request and its repetition.
const RETRY: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(500));

/// The most that is read of a refusal, and the largest description of a model.
const REFUSAL: u64 = 16 << 10;
const DESCRIPTION: u64 = 1 << 20;

/// Why there was no answer that can be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(super) struct Failure {
    pub(super) kind: RemoteError,
    message: String,
}

impl Failure {
    fn new(kind: RemoteError, message: String) -> Self {
        Self { kind, message }
    }

    fn malformed(Invalid(message): Invalid) -> Self {
        Self::new(RemoteError::Malformed, message)
    }

    /// An HTTP status that is no success, of the server or of a proxy or guard in its place, and what
    /// it said.
    fn answered(status: u16, said: &str) -> Self {
        let kind = match status {
            408 | 425 | 429 | 500.. => RemoteError::Unavailable,
            _ => RemoteError::Refused,
        };
        let said = if said.is_empty() { String::new() } else { format!(": {said}") };
        Self::new(kind, format!("it answered {status}{said}"))
    }

    /// It may be over in a moment, and asking again does no harm: an inference changes nothing.
    const fn may_pass(&self) -> bool {
        matches!(self.kind, RemoteError::Connect | RemoteError::Cut | RemoteError::Unavailable)
    }

    /// The server is not the one that proved itself.
    const fn is_another(&self) -> bool {
        matches!(self.kind, RemoteError::Refused | RemoteError::Mismatch)
    }
}

/// What an answer may cost.
#[derive(Clone, Copy, Debug)]
struct Limits {
    end: Instant,
    bytes: u64,
}

/// A way of asking a server. Blocks, until `end` at most.
trait Wire: Send {
    fn describe(&mut self, end: Instant) -> Result<Described, Failure>;

    fn infer(&mut self, question: &Question, limits: Limits) -> Result<Answer, Failure>;
}

/// What is asked, and what has to come.
struct Plan {
    settings: RemoteSettings,
    address: Address,
    card: Card,
    spec: FrameSpec,
    golden: Pair,
}

pub(super) struct Remote {
    plan: Plan,
    judge: Judge,
    health: Arc<RemoteHealth>,
    breaker: Breaker,
    /// Present while the breaker is closed.
    met: Option<Met>,
    fallback: Option<Fallback>,
    fell_back: bool,
}

/// The model beside the card.
pub(super) struct Fallback {
    pub(super) session: Session,
    pub(super) identity: Arc<ModelIdentity>,
}

impl Remote {
    /// The card's `runtime.remote` is present and checked. Nothing is asked yet.
    pub(super) fn new(
        card: &Card,
        settings: &RemoteSettings,
        golden: Pair,
        fallback: Option<Fallback>,
    ) -> Self {
        let spec = FrameSpec::new(&card.input, &card.window).expect("the card was checked");
        let address = Address::parse(&settings.url).expect("the card was checked");
        let health = Arc::new(RemoteHealth::new(&settings.url, fallback.is_some()));
        let seed = settings.url.bytes().fold(u64::from(std::process::id()), |seed, byte| {
            seed.rotate_left(8) ^ u64::from(byte)
        });
        Self {
            judge: Judge::new(&card.output),
            plan: Plan { settings: settings.clone(), address, card: card.clone(), spec, golden },
            health,
            breaker: Breaker::new(Instant::now(), seed),
            met: None,
            fallback,
            fell_back: false,
        }
    }

    /// Whether the files that the card names can be used.
    pub(super) fn readable(&self) -> Result<(), String> {
        meeting::wire(&self.plan).map(drop)
    }

    pub(super) fn judge(&self) -> &Judge {
        &self.judge
    }

    pub(super) fn item_len(&self) -> usize {
        self.plan.spec.item_len()
    }

    pub(super) fn health(&self) -> Arc<RemoteHealth> {
        Arc::clone(&self.health)
    }

    pub(super) fn stand_in(&self) -> Option<&Arc<ModelIdentity>> {
        self.fallback.as_ref().filter(|_| self.fell_back).map(|fallback| &fallback.identity)
    }

    pub(super) fn due(&self) -> Option<Instant> {
        self.breaker.due()
    }

    pub(super) fn tend(&mut self) -> Result<(), String> {
        match self.meet() {
            Err(error) if self.fallback.is_none() => Err(self.told(&error.to_string())),
            _ => Ok(()),
        }
    }

    /// Within the card's deadline; the fallback's own time comes after it.
    pub(super) fn run(
        &mut self,
        items: ItemsRef<'_>,
        out: &mut Vec<f64>,
    ) -> Result<usize, RunError> {
        let end = Instant::now() + self.plan.card.runtime.deadline;
        self.fell_back = false;
        let error = match self.ask(items, out, end) {
            Ok(width) => return Ok(width),
            Err(error) => error,
        };
        let count = items.len() / self.item_len();
        match &mut self.fallback {
            Some(fallback) => {
                self.fell_back = true;
                self.health.fell_back(count);
                fallback.session.run(items, out)
            }
            None => Err(RunError(self.told(&error))),
        }
    }

    /// By the local model where `who` is that one, and else by the server alone.
    pub(super) fn run_as(
        &mut self,
        who: &ModelIdentity,
        items: ItemsRef<'_>,
        out: &mut Vec<f64>,
    ) -> Result<usize, RunError> {
        match &mut self.fallback {
            Some(fallback) if *fallback.identity == *who => fallback.session.run(items, out),
            _ => {
                let end = Instant::now() + self.plan.card.runtime.deadline;
                self.ask(items, out, end).map_err(|error| RunError(self.told(&error)))
            }
        }
    }

    fn told(&self, error: &str) -> String {
        format!("{}: {error}", self.plan.settings.url)
    }

    fn ask(
        &mut self,
        items: ItemsRef<'_>,
        out: &mut Vec<f64>,
        end: Instant,
    ) -> Result<usize, String> {
        if let Some(due) = self.breaker.due() {
            let now = Instant::now();
            if now < due {
                self.health.skipped();
                let last = self.health.last_error().unwrap_or_default();
                let rest = (due - now).as_secs_f64();
                return Err(format!("not asked for another {rest:.1} s, because: {last}"));
            }
            self.meet().map_err(|error| error.to_string())?;
        }
        let mut backoff = Backoff::new(RETRY.0, RETRY.1, u64::from(end.elapsed().subsec_nanos()));
        let mut retries = self.plan.settings.retries;
        let failure = loop {
            let met = self.met.as_mut().expect("a closed breaker means that they have met");
            let (plan, judge) = (&self.plan, &self.judge);
            let failure = match met.exchange(plan, judge, &self.health, (items, end), out) {
                Ok(width) => {
                    self.breaker.succeeded();
                    return Ok(width);
                }
                Err(failure) => failure,
            };
            self.health.failed(failure.kind, failure.to_string());
            let wait = backoff.next_delay();
            if retries == 0 || !failure.may_pass() || Instant::now() + wait >= end {
                break failure;
            }
            retries -= 1;
            self.health.retried();
            std::thread::sleep(wait);
        };
        let now = Instant::now();
        match failure.is_another() {
            true => self.breaker.open(now),
            false => self.breaker.failed(now),
        }
        if !self.breaker.is_closed() {
            self.met = None;
            self.health.breaker(BreakerState::Open);
            let (remote, error) = (&self.health.url, failure.to_string());
            tracing::warn!(remote, error, "The model server is left alone for a time.");
        }
        Err(failure.to_string())
    }
}

/// Requests of others are answered as the card has it: the frame goes in, numbers come out, by
/// whoever answers the daemon's own frames.
impl Serve for Remote {
    fn signature(&self, max_batch: usize) -> Signature {
        let item = self.plan.spec.item_shape();
        let item = item.iter().map(|dim| i64::try_from(*dim).unwrap_or(i64::MAX));
        let (input, output) = (&self.plan.card.input.tensor, &self.plan.card.output.tensor);
        let spec =
            |name: &String, kind, shape| TensorSpec { name: name.clone(), kind: Some(kind), shape };
        let taken = if self.plan.spec.text.is_some() { DataType::Bytes } else { DataType::Fp32 };
        Signature {
            inputs: vec![spec(input, taken, [-1].into_iter().chain(item).collect())],
            outputs: vec![spec(output, DataType::Fp64, vec![-1, -1])],
            max_batch,
        }
    }

    fn by_rows(&self) -> Option<&str> {
        Some(&self.plan.card.output.tensor)
    }

    fn serve(&mut self, inputs: Vec<Tensor>, _: &[String]) -> Result<Vec<Tensor>, RunError> {
        let items = match inputs.into_iter().next().map(|input| input.data) {
            Some(Data::Fp32(items)) => Items::Numbers(items),
            Some(Data::Bytes(texts)) => Items::Texts(texts.into_iter().map(Arc::from).collect()),
            _ => return Err(RunError("expected one input of FP32 or BYTES".into())),
        };
        let mut numbers = Vec::new();
        let width = self.run(items.lend(), &mut numbers)?;
        let name = self.plan.card.output.tensor.clone();
        let shape = vec![numbers.len() / width.max(1), width];
        Ok(vec![Tensor { name, shape, data: Data::Fp64(numbers) }])
    }
}

/// The token in `file`, as a header has it.
fn token(file: &Path) -> Result<String, String> {
    let wrong = |what: &str| format!("{}: {what}", file.display());
    let text = std::fs::read_to_string(file).map_err(|error| wrong(&error.to_string()))?;
    let token = text.trim();
    if token.is_empty() || !token.chars().all(|c| c.is_ascii_graphic()) {
        return Err(wrong("expected one token of letters, digits and signs, and nothing else"));
    }
    Ok(format!("Bearer {token}"))
}
