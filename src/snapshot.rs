//! Pictures and texts on their way from a source to the models, and what became of each.
//!
//! The unit is one of them. received = the sum of all fates + in flight, as in the ledger of samples.

use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use crate::time::Timestamp;

/// Pictures that wait, of all sources, encoded. What comes beyond that is given up, or waits where it is.
pub const PICTURE_BYTES: usize = 64 << 20;
/// Texts that wait, of all sources.
pub const TEXT_BYTES: usize = 8 << 20;

/// What a model looks at as a whole, without a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Picture,
    Text,
}

impl Kind {
    /// Bytes of it that may wait, of all sources.
    pub const fn most_held(self) -> usize {
        match self {
            Self::Picture => PICTURE_BYTES,
            Self::Text => TEXT_BYTES,
        }
    }
}

/// What became of a picture or text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// A model has answered, or has given an answer that cannot be believed, which it counts.
    Shown,
    /// It cannot be read, or is larger than the limits allow; says why.
    Refused(String),
    /// Newer ones took its place before a model.
    Replaced,
    /// Others of its kind that wait took all the memory that they may.
    Memory,
    /// The broker had kept it from an unknown time, or its file is older than it may be.
    Stale,
    /// No prediction asks for its kind of its asset.
    Unwanted,
    /// The model's runtime failed.
    Failed,
}

impl Fate {
    pub const WORDS: [&str; 7] =
        ["shown", "refused", "replaced", "memory", "stale", "unwanted", "failed"];

    const fn place(&self) -> usize {
        match self {
            Self::Shown => 0,
            Self::Refused(_) => 1,
            Self::Replaced => 2,
            Self::Memory => 3,
            Self::Stale => 4,
            Self::Unwanted => 5,
            Self::Failed => 6,
        }
    }
}

/// Counts of one kind.
#[derive(Debug, Default)]
pub struct Tally {
    received: AtomicU64,
    fates: [AtomicU64; Fate::WORDS.len()],
    /// Bytes that wait, as they came.
    held: AtomicUsize,
}

impl Tally {
    pub fn receive(&self) {
        self.received.fetch_add(1, Ordering::Relaxed);
    }

    pub fn settle(&self, fate: &Fate) {
        self.fates[fate.place()].fetch_add(1, Ordering::Relaxed);
    }

    pub fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// Each fate's word with its count.
    pub fn fates(&self) -> Vec<(&'static str, u64)> {
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Fate::WORDS.into_iter().zip(self.fates.iter().map(count)).collect()
    }

    /// Room for so many bytes more, until what comes out is dropped.
    pub fn hold(self: &Arc<Self>, bytes: usize, most: usize) -> Option<Held> {
        let more = |held: usize| held.checked_add(bytes).filter(|held| *held <= most);
        let relaxed = Ordering::Relaxed;
        let room = self.held.fetch_update(relaxed, relaxed, more).is_ok();
        room.then(|| Held { of: Arc::clone(self), bytes })
    }
}

/// Memory that a picture or text takes while it waits.
#[derive(Debug)]
pub struct Held {
    of: Arc<Tally>,
    bytes: usize,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.of.held.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

type Ending = Box<dyn FnOnce(Fate) + Send + Sync>;

/// A picture or text as it came. It ends with a fate; one that is dropped before makes its source
/// deliver it again, where the source can.
pub struct Snapshot {
    pub kind: Kind,
    pub asset: Arc<str>,
    pub arrived: Timestamp,
    pub bytes: Bytes,
    ending: Ending,
}

impl Snapshot {
    pub fn new(
        kind: Kind,
        asset: Arc<str>,
        arrived: Timestamp,
        bytes: Bytes,
        ending: impl FnOnce(Fate) + Send + Sync + 'static,
    ) -> Self {
        Self { kind, asset, arrived, bytes, ending: Box::new(ending) }
    }

    pub fn end(self, fate: Fate) {
        (self.ending)(fate);
    }

    /// One for each of `count` models. The whole ends with the last of them; that one of them could
    /// look at it counts for more than that another could not.
    pub fn shared(self, count: usize) -> Vec<Showing> {
        if count == 0 {
            self.end(Fate::Unwanted);
            return Vec::new();
        }
        let bytes = self.bytes.clone();
        let open = Open { left: count, fate: None, whole: Some(self) };
        let open = Arc::new(Mutex::new(open));
        (0..count).map(|_| Showing { bytes: bytes.clone(), open: Arc::clone(&open) }).collect()
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}({}, {} bytes)", self.kind, self.asset, self.bytes.len())
    }
}

#[derive(Debug)]
struct Open {
    left: usize,
    fate: Option<Fate>,
    whole: Option<Snapshot>,
}

/// A picture or text on its way to one model.
#[derive(Clone, Debug)]
pub struct Showing {
    pub bytes: Bytes,
    open: Arc<Mutex<Open>>,
}

impl Showing {
    /// To be called once.
    pub fn end(&self, fate: Fate) {
        let ended = {
            let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
            if fate == Fate::Shown || open.fate.is_none() {
                open.fate = Some(fate);
            }
            open.left = open.left.saturating_sub(1);
            if open.left > 0 {
                return;
            }
            open.whole.take().zip(open.fate.clone())
        };
        if let Some((whole, fate)) = ended {
            whole.end(fate);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(ended: &Arc<Mutex<Vec<Fate>>>) -> Snapshot {
        let ended = Arc::clone(ended);
        let end = move |fate| ended.lock().unwrap().push(fate);
        let (asset, arrived) = ("press-1".into(), Timestamp::from_secs(1));
        Snapshot::new(Kind::Picture, asset, arrived, Bytes::from_static(b"x"), end)
    }

    #[test]
    fn a_picture_for_two_models_ends_with_the_second_and_was_shown_if_one_saw_it() {
        let ended = Arc::default();
        let shown = snapshot(&ended).shared(2);
        shown[0].end(Fate::Shown);
        assert_eq!(*ended.lock().unwrap(), []);
        shown[1].end(Fate::Replaced);
        assert_eq!(*ended.lock().unwrap(), [Fate::Shown]);
        assert!(snapshot(&ended).shared(0).is_empty());
        assert_eq!(*ended.lock().unwrap(), [Fate::Shown, Fate::Unwanted]);
    }

    #[test]
    fn what_waits_is_bounded_in_bytes_and_given_back() {
        let pictures = Arc::new(Tally::default());
        let first = pictures.hold(60, 100).expect("room");
        assert!(pictures.hold(41, 100).is_none());
        drop(first);
        assert!(pictures.hold(100, 100).is_some());
    }
}
