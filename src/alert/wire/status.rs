//! The daemon about itself.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};

use crate::alert::AlertCounts;
use crate::health::{RemoteSnapshot, SourceSnapshot};
use crate::ledger::Totals;
use crate::time::Timestamp;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Liveness {
    Online,
    /// Stopped in order, or gone (the Will).
    Offline,
}

/// What the retained status says.
#[derive(Clone, Debug, Serialize)]
pub struct StatusBody {
    pub state: Liveness,
    /// Of the daemon.
    pub version: String,
    pub started: Timestamp,
    #[serde(serialize_with = "ledger")]
    pub ledger: Totals,
    pub alerts: AlertCounts,
    pub config: ConfigStatus,
    /// Where several boxes split the site.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub share: Option<ShareStatus>,
    pub sources: Vec<SourceSnapshot>,
    pub models: Vec<ModelStatus>,
    pub outbox: OutboxStatus,
    pub store: StoreStatus,
}

/// Whether the daemon runs what its configuration file says.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ConfigState {
    Current,
    /// The file has errors; the last good configuration runs on.
    Refused,
    /// Some changed settings wait for the next start.
    NeedsRestart,
}

#[derive(Clone, Debug, Serialize)]
pub struct ConfigStatus {
    pub state: ConfigState,
    /// When something in effect changed last.
    pub loaded: Timestamp,
    /// What is wrong with the file: `file:line:column: error: …`.
    pub errors: Vec<String>,
    /// The settings that wait for a restart.
    pub restart: Vec<String>,
}

/// This box's part of the site.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ShareStatus {
    #[serde(rename = "box")]
    pub name: String,
    pub of: u16,
    pub take: Vec<u16>,
    /// Messages left to the other boxes.
    pub foreign: u64,
    /// Shares that another box that is online takes too: their alerts come twice.
    pub contested: Vec<u16>,
    /// Shares that no box that is online takes.
    pub orphaned: Vec<u16>,
}

#[derive(Clone, Debug, Serialize)]
pub struct ModelStatus {
    pub name: String,
    pub version: String,
    /// Of the `.onnx` file; of the card, where a server runs the model.
    pub sha256: String,
    /// As read back from the runtime, or `remote` and the server's address.
    pub device: String,
    /// Frames answered.
    pub inferences: u64,
    /// Frames given up because a newer one of the same asset came first.
    pub shed: u64,
    pub errors: u64,
    /// Windows it was not asked about: empty, stale or thin.
    pub unfit: u64,
    /// Why, the last time.
    pub last_unfit: Option<String>,
    /// Of a model that a server runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remote: Option<RemoteSnapshot>,
}

#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct OutboxStatus {
    /// Messages not yet confirmed by the broker.
    pub waiting: u64,
    /// When the oldest of them was made.
    pub oldest: Option<Timestamp>,
    /// Messages that the broker refuses.
    pub dead: u64,
}

#[derive(Clone, Debug, Serialize)]
pub struct StoreStatus {
    /// False while writes fail; samples then wait in memory.
    pub writable: bool,
    /// On disk, with WAL.
    pub bytes: u64,
    /// Event time of the oldest sample kept.
    pub oldest: Option<Timestamp>,
    pub last_error: Option<String>,
}

#[derive(Serialize)]
pub(super) struct StatusData<'a> {
    pub(super) site: &'a str,
    #[serde(flatten)]
    pub(super) status: &'a StatusBody,
}

#[derive(Serialize)]
pub(super) struct WillData<'a> {
    site: &'a str,
    state: Liveness,
}

impl<'a> WillData<'a> {
    pub(super) fn new(site: &'a str) -> Self {
        Self { site, state: Liveness::Offline }
    }
}

fn ledger<S: Serializer>(totals: &Totals, serializer: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Shape {
        received: u64,
        stored: u64,
        rejected: BTreeMap<&'static str, u64>,
        shed: BTreeMap<&'static str, u64>,
        in_flight: u64,
    }
    Shape {
        received: totals.received,
        stored: totals.stored,
        rejected: totals.rejected.iter().map(|(why, count)| (why.as_str(), *count)).collect(),
        shed: totals.shed.iter().map(|(why, count)| (why.as_str(), *count)).collect(),
        in_flight: totals.in_flight,
    }
    .serialize(serializer)
}
