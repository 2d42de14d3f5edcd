//! MQTT messages on their way out, and unreadable ones that came in.

use bytes::Bytes;

use crate::time::Timestamp;

/// A message to publish. `retain` with an empty body clears the retained state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub topic: String,
    pub body: Bytes,
    pub retain: bool,
}

/// A message in the outbox: on disk here, not yet confirmed by the broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// Order of creation; unique over the life of the database.
    pub seq: i64,
    pub created: Timestamp,
    pub message: Message,
}

/// A payload that could not be read, kept for an engineer to look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quarantined {
    pub received: Timestamp,
    pub source: String,
    pub topic: String,
    /// A [`Rejection`](crate::ledger::Rejection)'s word.
    pub reason: &'static str,
    /// What exactly is wrong, in a sentence.
    pub detail: String,
    /// The first bytes, at most [`Quarantined::MAX_BYTES`].
    pub head: Bytes,
    /// The whole length.
    pub length: u64,
}

impl Quarantined {
    pub const MAX_BYTES: usize = 1024;
}

/// A request of a person or a system about an alert, or a label, as it came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandMessage {
    pub asset: String,
    pub prediction: String,
    pub body: Bytes,
}
