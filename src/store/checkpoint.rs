//! Moving the WAL into the database beside the commits, on a connection of its own.

use std::sync::Arc;

use sqlx::{Row, SqliteConnection};
use tokio::task::JoinHandle;

use super::connect::Location;
use super::shared::Shared;

/// A frame is a page and its header.
const FRAME_BYTES: u64 = 4096 + 24;

/// What a checkpoint found: (frames in the WAL, frames now in the database).
type Frames = Result<(i64, i64), sqlx::Error>;

pub(super) struct Checkpointer {
    location: Location,
    shared: Arc<Shared>,
    connection: Option<SqliteConnection>,
    running: Option<JoinHandle<(Option<SqliteConnection>, Frames)>>,
    /// Roughly what lies in the WAL and not yet in the database.
    pending: u64,
    /// A checkpoint starts when so much is pending.
    start: u64,
}

impl Checkpointer {
    pub(super) fn new(location: Location, shared: Arc<Shared>, start: u64) -> Self {
        Self { location, shared, connection: None, running: None, pending: 0, start }
    }

    pub(super) fn wrote(&mut self, bytes: u64) {
        self.pending += bytes;
    }

    /// The file itself only shrinks with a checkpoint.
    pub(super) fn start_soon(&mut self) {
        self.pending = self.pending.max(self.start);
    }

    /// The WAL file is allowed this much; beyond it is cut off.
    pub(super) fn truncate_above(&self) -> u64 {
        self.start.saturating_mul(4)
    }

    /// Looks after a running checkpoint, or starts one when it is time.
    pub(super) async fn poll(&mut self) {
        if let Some(task) = self.running.take_if(|task| task.is_finished()) {
            self.finished(task).await;
        }
        if self.running.is_none() && self.pending >= self.start {
            self.pending = 0;
            self.running = Some(tokio::spawn(run(
                self.connection.take(),
                self.location.clone(),
                Arc::clone(&self.shared),
            )));
        }
    }

    pub(super) async fn stop(&mut self) {
        if let Some(task) = self.running.take() {
            self.finished(task).await;
        }
        if let Some(connection) = self.connection.take() {
            drop(sqlx::Connection::close(connection).await);
        }
    }

    async fn finished(&mut self, task: JoinHandle<(Option<SqliteConnection>, Frames)>) {
        let Ok((connection, frames)) = task.await else { return };
        self.connection = connection;
        match frames {
            Ok((log, moved)) => {
                self.pending += u64::try_from(log - moved).unwrap_or(0) * FRAME_BYTES;
                self.shared.gauges.update(|stats| stats.checkpoints += 1);
            }
            Err(error) => {
                self.connection = None;
                tracing::warn!(%error, "A checkpoint of the buffer failed; it is tried again.");
            }
        }
    }
}

async fn run(
    connection: Option<SqliteConnection>,
    location: Location,
    shared: Arc<Shared>,
) -> (Option<SqliteConnection>, Frames) {
    let mut connection = match connection {
        Some(connection) => connection,
        None => match location.checkpointer().await {
            Ok(connection) => connection,
            Err(error) => return (None, Err(error)),
        },
    };
    let frames = checkpoint(&mut connection, "PRAGMA wal_checkpoint(PASSIVE)").await;
    shared.wake.notify_one();
    (Some(connection), frames)
}

/// Runs a checkpoint to its end.
pub(super) async fn checkpoint(connection: &mut SqliteConnection, pragma: &'static str) -> Frames {
    let row = sqlx::query(pragma).fetch_one(connection).await?;
    Ok((row.try_get(1)?, row.try_get(2)?))
}
