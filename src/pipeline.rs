//! The wiring: creates every channel, builds every stage, joins them. No logic lives here.
//!
//! ```text
//! mqtt::Ingest ──┐                       ┌─> store (writer) ──> outbox ──> deliver ──> mqtt::Publisher
//!                ├─ batches ─> watch ────┤                                                 │
//! modbus::Poller ┘               ▲  ▲    └─> model workers ── verdicts ─┐                  │
//!                                │  └───────────────────────────────────┘                  │
//!                                └──────────────────── commands ────────────────────────────┘
//! ```

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::alert::wire::Wire;
use crate::health::SourceHealth;
use crate::ledger::Ledger;
use crate::message::{CommandMessage, Quarantined};
use crate::model::Models;
use crate::mqtt::{Ingest, Publisher, PublisherSettings, PublisherTask};
use crate::sample::Batch;
use crate::settings::Settings;
use crate::store::Store;
use crate::tag::Registry;
use crate::telemetry::{Meters, Overview};
use crate::verdict::Verdict;
use crate::watch::{Feeds, Watch};
use crate::{deliver, http, lifecycle, modbus, telemetry};

/// Batches between the sources and the main loop; a full channel holds the sources back.
const BATCHES: usize = 256;
/// Verdicts between the model workers and the main loop.
const VERDICTS: usize = 4096;
const COMMANDS: usize = 64;
const QUARANTINE: usize = 64;

/// A running daemon.
pub struct Running {
    pub overview: Overview,
    /// Where metrics and health are served.
    pub http: Option<SocketAddr>,
    sources: CancellationToken,
    rest: CancellationToken,
}

/// A configuration that has been checked, with its models loaded.
pub struct Plan {
    pub settings: Settings,
    pub models: Models,
}

/// Builds every stage and starts it. Fails before anything runs half.
pub async fn start(plan: Plan) -> anyhow::Result<Running> {
    let _ = plan;
    anyhow::bail!("not wired yet")
}
