//! The verdicts of one prediction on one asset that may still be labelled, in the order of their
//! windows' ends.

use std::collections::VecDeque;

use crate::time::Timestamp;

/// A verdict as it is remembered.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Seen {
    pub(super) start: Timestamp,
    pub(super) end: Timestamp,
    pub(super) bad: bool,
    pub(super) label: Option<bool>,
    /// Place of its model among the versions.
    pub(super) version: u16,
}

/// Where a time lies.
#[derive(Debug, PartialEq)]
pub(super) enum Place {
    /// In a window, or at its end: of several, in the one that ends first.
    At(usize),
    /// Before the oldest one that is remembered.
    Before,
    Between,
    /// After the newest one.
    After,
}

#[derive(Debug, Default)]
pub(super) struct Journal {
    seen: VecDeque<Seen>,
}

impl Journal {
    pub(super) fn find(&self, time: Timestamp) -> Place {
        let at = self.seen.partition_point(|seen| seen.end < time);
        match self.seen.get(at) {
            None => Place::After,
            Some(seen) if seen.start <= time => Place::At(at),
            Some(_) if at == 0 => Place::Before,
            Some(_) => Place::Between,
        }
    }

    /// True when it was not known.
    pub(super) fn insert(&mut self, verdict: Seen) -> bool {
        let at = self.seen.partition_point(|seen| seen.end < verdict.end);
        if self.seen.get(at).is_some_and(|seen| seen.end == verdict.end) {
            return false;
        }
        self.seen.insert(at, verdict);
        true
    }

    pub(super) fn get(&mut self, at: usize) -> &mut Seen {
        &mut self.seen[at]
    }

    pub(super) fn ending(&mut self, end: Timestamp) -> Option<&mut Seen> {
        self.seen.iter_mut().find(|seen| seen.end == end)
    }

    pub(super) fn forget_oldest(&mut self) {
        self.seen.pop_front();
    }
}
