//! MQTT messages on their way out, and unreadable ones that came in.

use std::fmt;
use std::net::SocketAddr;

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
    pub from: Origin,
}

/// Where a request came from, as far as the box can know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Origin {
    /// MQTT does not say which client published; the topic is what the broker's ACL guards.
    Mqtt { broker: String, topic: String },
    /// `token`: the one of `http.token_file` was asked for and given.
    Http { peer: Peer, token: bool },
    /// A signal to the process.
    Signal(&'static str),
    /// A file that was written.
    File,
    /// A command on this machine that acts on files without the daemon, and its user.
    Command { user: u32 },
    /// The daemon, by a rule of its own.
    #[default]
    Itself,
}

/// The other end of a connection over HTTP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Peer {
    Address(SocketAddr),
    /// A user of this machine, over the unix socket.
    User(u32),
    #[default]
    Unknown,
}

/// `mqtt plant acme/alert/press-3/wear/command`, `http 192.0.2.7:50112 with token`.
impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mqtt { broker, topic } => write!(f, "mqtt {broker} {topic}"),
            Self::Http { peer, token } => {
                let with = if *token { "with token" } else { "without token" };
                write!(f, "http {peer} {with}")
            }
            Self::Signal(signal) => write!(f, "signal {signal}"),
            Self::File => f.write_str("file"),
            Self::Command { user } => write!(f, "command user {user}"),
            Self::Itself => f.write_str("andon"),
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::User(id) => write!(f, "user {id}"),
            Self::Unknown => f.write_str("unknown"),
        }
    }
}
