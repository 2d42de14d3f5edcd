//! The counts that must balance: received = stored + rejected + shed + in flight.
//!
//! The unit is a sample; a payload that cannot be read counts as one. `in flight` is what was
//! received and not yet settled, and is zero when the daemon is idle.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use serde::Serialize;

use crate::snapshot::{Kind, Tally};

macro_rules! reasons {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
        #[serde(rename_all = "snake_case")]
        pub enum $name { $($(#[$doc])* $variant,)+ }

        impl $name {
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The word used in metrics, status and logs.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }
        }
    };
}

reasons! {
    /// Why something that came in was not stored: it was wrong.
    Rejection {
        /// The payload is not what the subscription says (JSON, number, length of a packed array).
        Unreadable = "unreadable",
        /// The payload is larger than `max_payload`.
        TooLarge = "too_large",
        /// The topic matches no subscription, or a capture is empty.
        UnknownTopic = "unknown_topic",
        /// The value is a string, an object or something else that is not a number.
        NotANumber = "not_a_number",
        /// The time cannot be read, or is absurd (before 2000, or further ahead than allowed).
        BadTime = "bad_time",
        /// Same tag, same time, same value as before: a redelivery.
        Duplicate = "duplicate",
        /// `limits.tags` is reached.
        TooManyTags = "too_many_tags",
    }
}

reasons! {
    /// Why something good was given up: there was too much of it.
    Shed {
        /// The queue to the store stayed full.
        StoreQueue = "store_queue",
        /// The disk is full or fails, and the memory ring overflowed.
        Disk = "disk",
        /// The connection of a QoS 0 source fell behind.
        Intake = "intake",
    }
}

#[derive(Debug, Default)]
pub struct Ledger {
    /// Counted by themselves.
    pub pictures: std::sync::Arc<Tally>,
    pub texts: std::sync::Arc<Tally>,
    foreign: AtomicU64,
    received: AtomicU64,
    stored: AtomicU64,
    rejected: [AtomicU64; Rejection::ALL.len()],
    shed: [AtomicU64; Shed::ALL.len()],
}

impl Ledger {
    /// The counts of what is no sample.
    pub const fn tally(&self, kind: Kind) -> &std::sync::Arc<Tally> {
        match kind {
            Kind::Picture => &self.pictures,
            Kind::Text => &self.texts,
        }
    }

    pub fn receive(&self, count: u64) {
        self.received.fetch_add(count, Relaxed);
    }

    /// Left to another box, and so never received: messages, or elements where they name their assets.
    pub fn leave(&self, count: u64) {
        self.foreign.fetch_add(count, Relaxed);
    }

    pub fn foreign(&self) -> u64 {
        self.foreign.load(Relaxed)
    }

    pub fn store(&self, count: u64) {
        self.stored.fetch_add(count, Relaxed);
    }

    pub fn reject(&self, reason: Rejection, count: u64) {
        self.rejected[reason as usize].fetch_add(count, Relaxed);
    }

    pub fn shed(&self, reason: Shed, count: u64) {
        self.shed[reason as usize].fetch_add(count, Relaxed);
    }

    /// The counts at one moment. Settled counts are read before `received`, so that
    /// `in_flight` is never negative.
    pub fn totals(&self) -> Totals {
        let read = |counts: &[AtomicU64]| -> Vec<u64> {
            counts.iter().map(|count| count.load(Relaxed)).collect()
        };
        let stored = self.stored.load(Relaxed);
        let rejected = read(&self.rejected);
        let shed = read(&self.shed);
        let received = self.received.load(Relaxed);
        let settled = stored + rejected.iter().sum::<u64>() + shed.iter().sum::<u64>();
        Totals {
            received,
            stored,
            rejected: Rejection::ALL.iter().copied().zip(rejected).collect(),
            shed: Shed::ALL.iter().copied().zip(shed).collect(),
            in_flight: received.saturating_sub(settled),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Totals {
    pub received: u64,
    pub stored: u64,
    pub rejected: Vec<(Rejection, u64)>,
    pub shed: Vec<(Shed, u64)>,
    pub in_flight: u64,
}

impl Totals {
    pub fn rejected_total(&self) -> u64 {
        self.rejected.iter().map(|(_, count)| count).sum()
    }

    pub fn shed_total(&self) -> u64 {
        self.shed.iter().map(|(_, count)| count).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_settled_is_in_flight() {
        let ledger = Ledger::default();
        ledger.receive(10);
        ledger.store(6);
        ledger.reject(Rejection::BadTime, 1);
        ledger.shed(Shed::Disk, 2);
        let totals = ledger.totals();
        assert_eq!((totals.rejected_total(), totals.shed_total(), totals.in_flight), (1, 2, 1));
    }
}
