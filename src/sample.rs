//! Samples, and the batches they travel in.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::snapshot::Snapshot;
use crate::tag::TagId;
use crate::time::Timestamp;

/// How far a value can be trusted, in OPC UA's words.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
#[repr(u8)]
pub enum Quality {
    #[default]
    Good = 0,
    Uncertain = 1,
    /// The value is missing. It is stored as NaN and never as 0.
    Bad = 2,
}

impl Quality {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Uncertain => "uncertain",
            Self::Bad => "bad",
        }
    }

    pub const fn from_u8(code: u8) -> Option<Self> {
        match code {
            0 => Some(Self::Good),
            1 => Some(Self::Uncertain),
            2 => Some(Self::Bad),
            _ => None,
        }
    }
}

/// One reading of one tag. `value` is NaN exactly when `quality` is bad.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    pub time: Timestamp,
    pub value: f64,
    pub tag: TagId,
    pub quality: Quality,
}

impl Sample {
    /// A reading as it came: NaN and infinities become missing.
    pub fn new(tag: TagId, time: Timestamp, value: f64) -> Self {
        if value.is_finite() {
            Self { time, value, tag, quality: Quality::Good }
        } else {
            Self::missing(tag, time)
        }
    }

    pub const fn missing(tag: TagId, time: Timestamp) -> Self {
        Self { time, value: f64::NAN, tag, quality: Quality::Bad }
    }
}

/// What a source wants to hear once its samples are on disk; an MQTT source sends its PUBACKs.
/// Dropping it unsettled means "not stored": the broker will deliver again.
pub struct Receipt(Box<dyn FnOnce() + Send + Sync>);

impl Receipt {
    pub fn new(settle: impl FnOnce() + Send + Sync + 'static) -> Self {
        Self(Box::new(settle))
    }

    pub fn settle(self) {
        (self.0)();
    }

    /// Receipts that settle this one when all of them are settled.
    pub fn split(self, count: usize) -> Vec<Self> {
        let whole = Arc::new((AtomicUsize::new(count), Mutex::new(Some(self))));
        let part = |_| {
            let whole = Arc::clone(&whole);
            Self::new(move || {
                if whole.0.fetch_sub(1, Ordering::AcqRel) == 1
                    && let Some(receipt) =
                        whole.1.lock().unwrap_or_else(PoisonError::into_inner).take()
                {
                    receipt.settle();
                }
            })
        };
        (0..count).map(part).collect()
    }
}

impl fmt::Debug for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Receipt")
    }
}

/// Samples of one source that arrived together. The samples are shared, because they go to
/// the store and to the windows at the same time.
#[derive(Debug)]
pub struct Batch {
    pub samples: Arc<Vec<Sample>>,
    /// They came among the samples, and have receipts of their own.
    pub pictures: Vec<Snapshot>,
    /// When the daemon got them.
    pub received: Timestamp,
    /// How many messages `receipt` answers for; 0 without one.
    pub messages: u32,
    pub receipt: Option<Receipt>,
    /// Retained messages were true once, at an unknown time: stored, but not looked at for alerts.
    pub stale: bool,
}
