//! Which verdicts of one prediction have a label, for longer than the verdicts are remembered: over a
//! restart too, so that a label sent again is known as such.

use std::collections::{BTreeMap, VecDeque};

use crate::asset::AssetId;
use crate::time::Timestamp;

/// As many as there are raises that can be labelled.
const LABELS: usize = 4096;

/// An asset, and the end of a window of it.
type Key = (AssetId, Timestamp);

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Labelled {
    pub(super) bad: bool,
    /// Place of the model that it was counted for among the versions.
    pub(super) version: u16,
}

#[derive(Debug, Default)]
pub(super) struct Past {
    labels: BTreeMap<Key, Labelled>,
    /// Oldest first.
    order: VecDeque<Key>,
}

impl Past {
    pub(super) fn note(&mut self, key: Key, labelled: Labelled) {
        if self.labels.insert(key, labelled).is_some() {
            return;
        }
        self.order.push_back(key);
        if self.order.len() > LABELS
            && let Some(oldest) = self.order.pop_front()
        {
            self.labels.remove(&oldest);
        }
    }

    pub(super) fn of(&self, key: Key) -> Option<Labelled> {
        self.labels.get(&key).copied()
    }

    /// Oldest first.
    pub(super) fn all(&self) -> impl Iterator<Item = (Key, Labelled)> {
        self.order.iter().map(|key| (*key, self.labels[key]))
    }
}
