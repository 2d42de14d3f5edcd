//! Deleting the oldest blocks and pictures, by age and by bytes, in steps small enough for an alert
//! to come between them. Alerts, outbox and dead letters stay.

use std::time::Duration;

use serde_json::json;
use sqlx::{AssertSqlSafe, SqliteConnection};

use super::clock::StoredClock;
use super::series;
use super::snapshots;
use super::stats::Gauges;
use crate::settings::StoreSettings;
use crate::time::Timestamp;

/// One step deletes about this many bytes of blocks at most ...
const STEP_BYTES: u64 = 1 << 20;
/// ... and this many blocks.
const STEP_BLOCKS: i64 = 256;
/// Pages one step gives back to the file system.
const VACUUM_PAGES: u32 = 256;

#[derive(Clone, Copy, Debug)]
pub(super) struct Retention {
    age: Duration,
    pub(super) bytes: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Step {
    Done,
    Deleted,
    Vacuumed,
}

#[derive(Clone, Copy, Debug, sqlx::FromRow)]
struct Pages {
    page_size: i64,
    page_count: i64,
    freelist_count: i64,
}

impl Pages {
    fn bytes(pages: i64, size: i64) -> u64 {
        pages.saturating_mul(size).max(0).unsigned_abs()
    }

    fn used(self) -> u64 {
        Self::bytes(self.page_count - self.freelist_count, self.page_size)
    }

    fn file(self) -> u64 {
        Self::bytes(self.page_count, self.page_size)
    }
}

#[derive(sqlx::FromRow)]
struct Candidate {
    id: i64,
    bytes: i64,
    max_time: i64,
}

impl Retention {
    pub(super) fn new(settings: &StoreSettings) -> Self {
        Self { age: settings.retain_age, bytes: settings.retain_bytes.as_u64() }
    }

    /// Blocks that end before this are too old. A clock in doubt makes none so.
    fn cutoff(self, clock: &StoredClock, now: Timestamp) -> Timestamp {
        if clock.is_believed(now) { now.saturating_sub(self.age) } else { Timestamp::MIN }
    }

    /// One step; `wal` is the room that the WAL takes or may take.
    pub(super) async fn step(
        self,
        writer: &mut SqliteConnection,
        wal: u64,
        clock: &StoredClock,
        now: Timestamp,
        gauges: &Gauges,
    ) -> Result<Step, sqlx::Error> {
        let cutoff = self.cutoff(clock, now);
        if snapshots::trim(writer, cutoff, self.bytes, gauges).await? > 0 {
            return Ok(Step::Deleted);
        }
        let pages: Pages = sqlx::query_as(
            "SELECT page_size, page_count, freelist_count \
             FROM pragma_page_size, pragma_page_count, pragma_freelist_count",
        )
        .fetch_one(&mut *writer)
        .await?;
        // A little below the limit, so that the file does not creep over it between steps.
        let target = self.bytes - self.bytes / 32;
        let over = (pages.used() + wal).saturating_sub(target);
        let deleted = delete_oldest(writer, over, cutoff, gauges).await?;
        if deleted > 0 {
            return Ok(Step::Deleted);
        }
        if pages.file() + wal > self.bytes && pages.freelist_count > 0 {
            let vacuum = format!("PRAGMA incremental_vacuum({VACUUM_PAGES})");
            sqlx::query(AssertSqlSafe(vacuum)).execute(&mut *writer).await?;
            return Ok(Step::Vacuumed);
        }
        Ok(Step::Done)
    }
}

/// Deletes blocks that end before `cutoff`, and further ones until `over` bytes are free.
/// At most one step's worth; gives the number of blocks.
pub(super) async fn delete_oldest(
    writer: &mut SqliteConnection,
    over: u64,
    cutoff: Timestamp,
    gauges: &Gauges,
) -> Result<u64, sqlx::Error> {
    let candidates: Vec<Candidate> = sqlx::query_as(
        "SELECT id, length(data) AS bytes, max_time FROM block ORDER BY max_time LIMIT ?",
    )
    .bind(STEP_BLOCKS)
    .fetch_all(&mut *writer)
    .await?;
    let (mut freed, mut ids) = (0u64, Vec::new());
    for block in &candidates {
        let expired = block.max_time < cutoff.as_nanos();
        if !(expired || freed < over) || freed >= STEP_BYTES {
            break;
        }
        freed += block.bytes.max(0).unsigned_abs();
        ids.push(block.id);
    }
    let oldest = candidates.get(ids.len()).map(|block| Timestamp::from_nanos(block.max_time));
    if ids.is_empty() {
        gauges.update(|stats| stats.oldest = oldest);
        return Ok(0);
    }
    let broken = series::broken_by(writer, &ids).await?;
    // In one go, so that no series outlives a block of its stretch.
    let blocks =
        format!("DELETE FROM block WHERE id IN (SELECT value FROM json_each('{}'));", json!(ids));
    let script = format!("BEGIN IMMEDIATE;{}{blocks}{}COMMIT;", broken.before, broken.after);
    sqlx::query(AssertSqlSafe(script)).persistent(false).execute(writer).await?;
    let deleted = ids.len() as u64;
    gauges.update(|stats| {
        stats.blocks = stats.blocks.saturating_sub(deleted);
        stats.oldest = oldest;
    });
    Ok(deleted)
}
