//! How a model that runs elsewhere is doing, written by its client and read by status and metrics.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use serde::Serialize;

/// Why a model server gave no answer that can be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RemoteError {
    /// No way to it: no such host, refused, no TLS.
    Connect,
    /// No answer in time.
    Timeout,
    /// The connection ended in the middle.
    Cut,
    /// It cannot answer now: 429, 5xx and their like.
    Unavailable,
    /// It says no: 4xx, such as an unknown model or a wrong token.
    Refused,
    /// What came is no answer of the protocol: no JSON, sizes that lie.
    Malformed,
    /// An answer of the protocol, and not to what was asked: other names, shapes or datatypes, or
    /// another golden pair.
    Mismatch,
    /// More bytes than any right answer has.
    TooLarge,
}

impl RemoteError {
    pub const ALL: [Self; 8] = [
        Self::Connect,
        Self::Timeout,
        Self::Cut,
        Self::Unavailable,
        Self::Refused,
        Self::Malformed,
        Self::Mismatch,
        Self::TooLarge,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Timeout => "timeout",
            Self::Cut => "cut",
            Self::Unavailable => "unavailable",
            Self::Refused => "refused",
            Self::Malformed => "malformed",
            Self::Mismatch => "mismatch",
            Self::TooLarge => "too_large",
        }
    }
}

/// Whether the server is asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BreakerState {
    /// It is asked: its metadata fit the card, and its golden pair was right.
    Closed,
    /// Its metadata and its golden pair are asked for; frames wait for that.
    HalfOpen,
    /// It is left alone for a time.
    Open,
}

impl BreakerState {
    const ALL: [Self; 3] = [Self::Closed, Self::HalfOpen, Self::Open];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::HalfOpen => "half_open",
            Self::Open => "open",
        }
    }
}

#[derive(Debug)]
pub struct RemoteHealth {
    /// As in the card.
    pub url: String,
    /// A local model answers while it does not.
    pub has_fallback: bool,
    state: AtomicU8,
    requests: AtomicU64,
    retries: AtomicU64,
    failures: [AtomicU64; RemoteError::ALL.len()],
    skipped: AtomicU64,
    fallbacks: AtomicU64,
    opened: AtomicU64,
    last_error: Mutex<Option<String>>,
}

/// The counts at one moment.
#[derive(Clone, Debug, Serialize)]
pub struct RemoteSnapshot {
    pub url: String,
    pub breaker: BreakerState,
    pub has_fallback: bool,
    /// Requests to it, those for metadata and golden pairs too.
    pub requests: u64,
    /// Requests that repeated a failed one.
    pub retries: u64,
    /// Requests without an answer that can be used, by [`RemoteError`]'s words.
    pub failures: BTreeMap<&'static str, u64>,
    /// Batches that it was not asked about, because the breaker was open.
    pub skipped: u64,
    /// Frames that the local model answered in its place.
    pub fallbacks: u64,
    /// How often the breaker opened.
    pub opened: u64,
    /// The last failure; it stays when it is over.
    pub last_error: Option<String>,
}

impl RemoteSnapshot {
    pub fn failed(&self) -> u64 {
        self.failures.values().sum()
    }
}

impl RemoteHealth {
    pub fn new(url: impl Into<String>, has_fallback: bool) -> Self {
        Self {
            url: url.into(),
            has_fallback,
            state: AtomicU8::new(BreakerState::HalfOpen as u8),
            requests: AtomicU64::new(0),
            retries: AtomicU64::new(0),
            failures: Default::default(),
            skipped: AtomicU64::new(0),
            fallbacks: AtomicU64::new(0),
            opened: AtomicU64::new(0),
            last_error: Mutex::new(None),
        }
    }

    pub fn requested(&self) {
        self.requests.fetch_add(1, Relaxed);
    }

    pub fn retried(&self) {
        self.retries.fetch_add(1, Relaxed);
    }

    pub fn failed(&self, kind: RemoteError, message: impl Into<String>) {
        self.failures[kind as usize].fetch_add(1, Relaxed);
        *self.last_error.lock().unwrap_or_else(PoisonError::into_inner) = Some(message.into());
    }

    pub fn skipped(&self) {
        self.skipped.fetch_add(1, Relaxed);
    }

    pub fn fell_back(&self, frames: usize) {
        self.fallbacks.fetch_add(frames as u64, Relaxed);
    }

    /// Returns what it was before.
    pub fn breaker(&self, state: BreakerState) -> BreakerState {
        let before = BreakerState::ALL[usize::from(self.state.swap(state as u8, Relaxed))];
        if state == BreakerState::Open && before != BreakerState::Open {
            self.opened.fetch_add(1, Relaxed);
        }
        before
    }

    /// Open again, after another look: that counts once.
    pub fn still_open(&self) {
        self.state.store(BreakerState::Open as u8, Relaxed);
    }

    pub fn last_error(&self) -> Option<String> {
        self.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn snapshot(&self) -> RemoteSnapshot {
        let count = |counter: &AtomicU64| counter.load(Relaxed);
        let failures = RemoteError::ALL.iter().zip(&self.failures);
        RemoteSnapshot {
            url: self.url.clone(),
            breaker: BreakerState::ALL[usize::from(self.state.load(Relaxed))],
            has_fallback: self.has_fallback,
            requests: count(&self.requests),
            retries: count(&self.retries),
            failures: failures.map(|(kind, failed)| (kind.as_str(), count(failed))).collect(),
            skipped: count(&self.skipped),
            fallbacks: count(&self.fallbacks),
            opened: count(&self.opened),
            last_error: self.last_error(),
        }
    }
}
