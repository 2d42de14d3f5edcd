//! Moving the WAL into the database beside the commits, on a connection of its own.

use std::sync::Arc;

use sqlx::{Row, SqliteConnection};
use tokio::task::JoinHandle;

use super::connect::Location;
use super::shared::Shared;

/// A frame is a page and its header.
const FRAME_BYTES: u64 = 4096 + 24;

/// What a checkpoint found.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frames {
    /// It could not do all: somebody reads or writes.
    pub(super) busy: bool,
    in_wal: i64,
    moved: i64,
}

/// The connection, where it can be used again, and what it has found.
type Checked = (Option<SqliteConnection>, Result<Frames, sqlx::Error>);

pub(super) struct Checkpointer {
    location: Location,
    shared: Arc<Shared>,
    connection: Option<SqliteConnection>,
    running: Option<JoinHandle<Checked>>,
    /// Roughly what lies in the WAL and not yet in the database.
    pending: u64,
    /// A checkpoint starts when so much is pending.
    start: u64,
    /// It was said that a reader holds the WAL.
    held: bool,
}

impl Checkpointer {
    pub(super) fn new(location: Location, shared: Arc<Shared>, start: u64) -> Self {
        Self { location, shared, connection: None, running: None, pending: 0, start, held: false }
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

    /// Waits for a running checkpoint: another one beside it would only find it in the way.
    pub(super) async fn settle(&mut self) {
        if let Some(task) = self.running.take() {
            self.finished(task).await;
        }
    }

    pub(super) async fn stop(&mut self) {
        self.settle().await;
        if let Some(connection) = self.connection.take() {
            drop(sqlx::Connection::close(connection).await);
        }
    }

    /// While somebody reads an old state of the buffer, the WAL can only grow.
    pub(super) fn is_held(&self) -> bool {
        self.held
    }

    /// Cutting the WAL off found a reader in the way.
    pub(super) fn was_busy(&mut self) {
        self.say_who_holds(u64::MAX);
        self.start_soon();
    }

    /// Says so once when somebody reads an old state of the buffer for so long that the WAL grows.
    fn say_who_holds(&mut self, left: u64) {
        let held = left > self.truncate_above();
        if held && !self.held {
            tracing::warn!(
                "Another program has been reading the buffer for long; until it ends, the WAL grows beyond `store.retain_bytes`."
            );
        }
        if !held && self.held {
            tracing::info!("The buffer's WAL can be given back again.");
        }
        self.held = held;
    }

    async fn finished(&mut self, task: JoinHandle<Checked>) {
        let Ok((connection, frames)) = task.await else { return };
        self.connection = connection;
        match frames {
            Ok(Frames { in_wal, moved, .. }) => {
                let left = u64::try_from(in_wal - moved).unwrap_or(0) * FRAME_BYTES;
                self.pending += left;
                self.say_who_holds(left);
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
) -> Checked {
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
pub(super) async fn checkpoint(
    connection: &mut SqliteConnection,
    pragma: &'static str,
) -> Result<Frames, sqlx::Error> {
    let row = sqlx::query(pragma).fetch_one(connection).await?;
    Ok(Frames {
        busy: row.try_get::<i64, _>(0)? != 0,
        in_wal: row.try_get(1)?,
        moved: row.try_get(2)?,
    })
}
