//! What the buffer tells about itself, for metrics and status.

use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use serde::Serialize;

use crate::time::Timestamp;

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct StoreStats {
    pub commits: u64,
    pub failed_commits: u64,
    pub commit_seconds_last: f64,
    /// The slowest since the start.
    pub commit_seconds_max: f64,
    pub checkpoints: u64,
    pub blocks: u64,
    /// Bytes of sample blocks written since the start, without SQLite's share.
    pub block_bytes: u64,
    pub db_bytes: u64,
    pub wal_bytes: u64,
    /// The oldest event time on disk, nearly: of the block that goes next.
    pub oldest: Option<Timestamp>,
    pub outbox: u64,
    pub dead_letters: u64,
    /// The box's clock is in doubt: nothing is deleted by age, and alerts are marked.
    pub clock_doubted: bool,
    /// Samples that wait for their commit.
    pub queue_samples: u64,
    /// The last commit failed; it is tried again and again.
    pub disk_failing: bool,
    /// Blocks that could not be read back.
    pub damaged_blocks: u64,
    /// Unreadable payloads that were not even quarantined, because too many came at once.
    pub quarantine_dropped: u64,
    /// Pictures in small, and their bytes.
    pub snapshots: u64,
    pub snapshot_bytes: u64,
    /// Pictures that were not kept, because too many came at once.
    pub snapshots_dropped: u64,
    /// At start the database was damaged; it was moved here and a new one begun.
    pub set_aside: Option<PathBuf>,
}

/// The part of the figures that the writer and the readers keep up to date.
#[derive(Debug, Default)]
pub(super) struct Gauges(Mutex<StoreStats>);

impl Gauges {
    pub(super) fn update(&self, change: impl FnOnce(&mut StoreStats)) {
        change(&mut self.0.lock().expect("no code panics while it holds the figures"));
    }

    pub(super) fn get(&self) -> StoreStats {
        self.0.lock().expect("no code panics while it holds the figures").clone()
    }

    pub(super) fn committed(&self, took: Duration, blocks: u64, bytes: u64) {
        self.update(|stats| {
            stats.commits += 1;
            stats.commit_seconds_last = took.as_secs_f64();
            stats.commit_seconds_max = stats.commit_seconds_max.max(took.as_secs_f64());
            stats.blocks += blocks;
            stats.block_bytes += bytes;
        });
    }
}
