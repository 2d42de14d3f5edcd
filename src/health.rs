//! How each source is doing, written by its adapter and read by status and metrics.

mod remote;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

pub use self::remote::{BreakerState, RemoteError, RemoteHealth, RemoteSnapshot};
use crate::time::Timestamp;

/// The sources that run now: they come and go with the configuration.
#[derive(Clone, Debug, Default)]
pub struct Roster(Arc<Mutex<Vec<Arc<SourceHealth>>>>);

impl Roster {
    pub fn list(&self) -> Vec<Arc<SourceHealth>> {
        self.0.lock().expect("no code panics while it holds the roster").clone()
    }

    /// Two entries of one source are one.
    pub fn replace(&self, mut sources: Vec<Arc<SourceHealth>>) {
        let mut seen = BTreeSet::new();
        sources.retain(|source| seen.insert(source.name.clone()));
        *self.0.lock().expect("no code panics while it holds the roster") = sources;
    }
}

#[derive(Debug)]
pub struct SourceHealth {
    /// As in the configuration: `mqtt:plant`, `modbus:press-3`.
    pub name: String,
    connected: AtomicBool,
    last_data: AtomicI64,
    messages: AtomicU64,
    connects: AtomicU64,
    errors: AtomicU64,
    last_error: Mutex<Option<String>>,
    /// Of a source that asks instead of listening.
    pub polling: Polling,
}

/// How polling goes: a source that listens leaves all at zero.
#[derive(Debug, Default)]
pub struct Polling {
    pub polls: AtomicU64,
    /// Polls that were due while an earlier one was under way.
    pub skipped: AtomicU64,
    /// From a request to its answer.
    pub round_trips: Spread,
    /// From the time a poll was due to its begin.
    pub lateness: Spread,
    errors: [AtomicU64; PollError::ALL.len()],
}

/// Why a request has no answer that can be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PollError {
    Connect,
    Timeout,
    Closed,
    /// The answer is not one: another request's, broken, noise.
    Protocol,
    /// The device said no.
    Exception,
}

impl PollError {
    pub const ALL: [Self; 5] =
        [Self::Connect, Self::Timeout, Self::Closed, Self::Protocol, Self::Exception];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Timeout => "timeout",
            Self::Closed => "closed",
            Self::Protocol => "protocol",
            Self::Exception => "exception",
        }
    }
}

impl Polling {
    pub fn round_trip(&self, took: Duration) {
        self.round_trips.add(took);
    }

    pub fn late(&self, by: Duration) {
        self.lateness.add(by);
    }

    pub fn finished(&self, skipped: u64) {
        self.polls.fetch_add(1, Relaxed);
        self.skipped.fetch_add(skipped, Relaxed);
    }

    pub fn failed(&self, error: PollError) {
        self.errors[error as usize].fetch_add(1, Relaxed);
    }

    pub fn errors(&self, error: PollError) -> u64 {
        self.errors[error as usize].load(Relaxed)
    }
}

/// Durations by size, for a histogram.
#[derive(Debug, Default)]
pub struct Spread {
    counts: [AtomicU64; Self::BOUNDS.len() + 1],
    nanos: AtomicU64,
}

impl Spread {
    /// Upper bounds of the sizes, in seconds; the last size has none.
    pub const BOUNDS: [f64; 10] = [0.000_5, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 2.0];

    pub fn add(&self, span: Duration) {
        let seconds = span.as_secs_f64();
        let size = Self::BOUNDS.iter().position(|bound| seconds <= *bound);
        self.counts[size.unwrap_or(Self::BOUNDS.len())].fetch_add(1, Relaxed);
        self.nanos.fetch_add(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX), Relaxed);
    }

    /// How many of each size, the largest last.
    pub fn counts(&self) -> Vec<u64> {
        self.counts.iter().map(|count| count.load(Relaxed)).collect()
    }

    /// In seconds.
    pub fn sum(&self) -> f64 {
        Duration::from_nanos(self.nanos.load(Relaxed)).as_secs_f64()
    }
}

impl SourceHealth {
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            connected: AtomicBool::new(false),
            last_data: AtomicI64::new(i64::MIN),
            messages: AtomicU64::new(0),
            connects: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            last_error: Mutex::new(None),
            polling: Polling::default(),
        }
    }

    pub fn connected(&self) {
        self.connected.store(true, Relaxed);
        self.connects.fetch_add(1, Relaxed);
    }

    /// The link is down or the device answers wrongly.
    pub fn failed(&self, error: impl Into<String>) {
        self.connected.store(false, Relaxed);
        self.noted(error);
    }

    /// Something went wrong that the link survives, such as a Modbus exception.
    pub fn noted(&self, error: impl Into<String>) {
        self.errors.fetch_add(1, Relaxed);
        *self.last_error.lock().expect("no code panics while it holds the error") =
            Some(error.into());
    }

    /// `messages` MQTT messages or Modbus answers came in at `now`.
    pub fn heard(&self, now: Timestamp, messages: u64) {
        self.last_data.store(now.as_nanos(), Relaxed);
        self.messages.fetch_add(messages, Relaxed);
    }

    pub fn snapshot(&self) -> SourceSnapshot {
        let last_data = self.last_data.load(Relaxed);
        SourceSnapshot {
            name: self.name.clone(),
            connected: self.connected.load(Relaxed),
            last_data: (last_data != i64::MIN).then(|| Timestamp::from_nanos(last_data)),
            messages: self.messages.load(Relaxed),
            connects: self.connects.load(Relaxed),
            errors: self.errors.load(Relaxed),
            last_error: self
                .last_error
                .lock()
                .expect("no code panics while it holds the error")
                .clone(),
        }
    }
}

#[derive(Clone, Debug, serde::Serialize)]
pub struct SourceSnapshot {
    pub name: String,
    pub connected: bool,
    pub last_data: Option<Timestamp>,
    pub messages: u64,
    pub connects: u64,
    pub errors: u64,
    pub last_error: Option<String>,
}
