//! Pictures in small: how they are written, bounded and read back; docs/buffer.md.
//!
//! Three bounds: so many of one asset and prediction beside those that raised an alert, the age of
//! samples, and a share of the buffer. What raised an alert goes last.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::json;
use sqlx::{AssertSqlSafe, SqliteConnection};
use tokio::time::Instant;

use super::commit::Script;
use super::stats::Gauges;
use super::{Store, StoreError};
use crate::time::Timestamp;

/// The part of `retain_bytes` that they may take: one in so many.
const SHARE: u64 = 8;
/// Rows that one step of the upkeep deletes at most: about 1 MiB.
const STEP_ROWS: i64 = 128;

type Result<T> = std::result::Result<T, sqlx::Error>;

/// A picture in small on its way into the buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewSnapshot {
    pub asset: String,
    pub prediction: String,
    /// When the picture came.
    pub at: Timestamp,
    /// The alert that it raised.
    pub alert_id: Option<String>,
    /// What was said of it, JSON.
    pub remark: String,
    pub width: u16,
    pub height: u16,
    pub jpeg: Bytes,
    /// So many of its asset and prediction stay, beside those that raised an alert.
    pub most: u32,
}

/// One that is in the buffer, without its pixels.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct StoredSnapshot {
    /// Never used twice; about the microseconds since 1970 at its arrival.
    pub id: i64,
    pub asset: String,
    pub prediction: String,
    /// Nanoseconds since 1970; see [`at`](Self::at).
    #[sqlx(rename = "at")]
    pub nanos: i64,
    #[sqlx(rename = "alert")]
    pub alert_id: Option<String>,
    pub remark: String,
    pub width: u16,
    pub height: u16,
    pub bytes: u32,
}

impl StoredSnapshot {
    /// When the picture came.
    pub const fn at(&self) -> Timestamp {
        Timestamp::from_nanos(self.nanos)
    }
}

const COLUMNS: &str = "id, asset, prediction, at, alert, remark, width, height, bytes";

impl Store {
    /// Written within a second. While many wait the oldest that raised no alert gives way.
    pub fn keep_snapshot(&self, snapshot: NewSnapshot) {
        let (lost, wake) = self.shared.queue().snapshot(snapshot, Instant::now());
        if lost {
            self.shared.gauges.update(|stats| stats.snapshots_dropped += 1);
        }
        if wake {
            self.shared.wake.notify_one();
        }
    }

    /// At most `limit` of an asset, the newest first.
    pub async fn snapshots(
        &self,
        asset: &str,
        limit: usize,
    ) -> std::result::Result<Vec<StoredSnapshot>, StoreError> {
        if !self.has_snapshots() {
            return Ok(Vec::new());
        }
        let sql =
            format!("SELECT {COLUMNS} FROM snapshot WHERE asset = ? ORDER BY id DESC LIMIT ?");
        let rows = sqlx::query_as(AssertSqlSafe(sql))
            .bind(asset)
            .bind(i64::try_from(limit).unwrap_or(i64::MAX))
            .fetch_all(&self.shared.readers)
            .await?;
        Ok(rows)
    }

    /// Those that raised one of these alerts.
    pub async fn snapshots_of_alerts(
        &self,
        alert_ids: &[&str],
    ) -> std::result::Result<Vec<StoredSnapshot>, StoreError> {
        if alert_ids.is_empty() || !self.has_snapshots() {
            return Ok(Vec::new());
        }
        let sql = format!(
            "SELECT {COLUMNS} FROM snapshot \
             WHERE alert IN (SELECT value FROM json_each(?)) ORDER BY id"
        );
        let rows = sqlx::query_as(AssertSqlSafe(sql))
            .bind(json!(alert_ids).to_string())
            .fetch_all(&self.shared.readers)
            .await?;
        Ok(rows)
    }

    /// The JPEG, if it is still there.
    pub async fn snapshot_jpeg(&self, id: i64) -> std::result::Result<Option<Vec<u8>>, StoreError> {
        let jpeg = sqlx::query_scalar("SELECT jpeg FROM snapshot WHERE id = ?")
            .bind(id)
            .fetch_optional(&self.shared.readers)
            .await?;
        Ok(jpeg)
    }

    /// When the newest picture of each asset came.
    pub async fn last_pictures(&self) -> std::result::Result<Vec<(String, Timestamp)>, StoreError> {
        let rows: Vec<(String, i64)> =
            sqlx::query_as("SELECT asset, max(at) FROM snapshot GROUP BY asset")
                .fetch_all(&self.shared.readers)
                .await?;
        Ok(rows.into_iter().map(|(asset, at)| (asset, Timestamp::from_nanos(at))).collect())
    }

    fn has_snapshots(&self) -> bool {
        self.shared.gauges.get().snapshots > 0
    }
}

impl Script {
    /// Also deletes what is one too many.
    pub(super) fn snapshots(&mut self, snapshots: &[(i64, NewSnapshot)]) {
        let mut most = BTreeMap::new();
        for (id, snapshot) in snapshots {
            self.statement(
                "INSERT OR REPLACE INTO snapshot (id, asset, prediction, at, raised, alert, \
                 remark, width, height, bytes, jpeg) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);",
            );
            self.bind(*id);
            self.bind(snapshot.asset.clone());
            self.bind(snapshot.prediction.clone());
            self.bind(snapshot.at.as_nanos());
            self.bind(snapshot.alert_id.is_some());
            self.bind(snapshot.alert_id.clone());
            self.bind(snapshot.remark.clone());
            self.bind(snapshot.width);
            self.bind(snapshot.height);
            self.bind(i64::try_from(snapshot.jpeg.len()).unwrap_or(i64::MAX));
            self.bind(snapshot.jpeg.to_vec());
            most.insert((&snapshot.asset, &snapshot.prediction), snapshot.most);
        }
        for ((asset, prediction), most) in most {
            self.statement(
                "DELETE FROM snapshot WHERE id IN (SELECT id FROM snapshot \
                 WHERE asset = ? AND prediction = ? AND raised = 0 \
                 ORDER BY id DESC LIMIT -1 OFFSET ?);",
            );
            self.bind(asset.clone());
            self.bind(prediction.clone());
            self.bind(most);
        }
    }
}

/// How many there are and how large they are, for the figures.
pub(super) async fn count(connection: &mut SqliteConnection, gauges: &Gauges) -> Result<u64> {
    let (count, bytes): (i64, i64) =
        sqlx::query_as("SELECT count(*), coalesce(sum(bytes), 0) FROM snapshot")
            .fetch_one(connection)
            .await?;
    let bytes = bytes.max(0).unsigned_abs();
    gauges.update(|stats| {
        stats.snapshots = count.max(0).unsigned_abs();
        stats.snapshot_bytes = bytes;
    });
    Ok(bytes)
}

/// One step: those from before `cutoff`, and further ones while all of them take more than their
/// share of `retain_bytes`. Gives how many went.
pub(super) async fn trim(
    writer: &mut SqliteConnection,
    cutoff: Timestamp,
    retain_bytes: u64,
    gauges: &Gauges,
) -> Result<u64> {
    let bytes = count(writer, gauges).await?;
    let expired = sqlx::query(
        "DELETE FROM snapshot WHERE id IN \
         (SELECT id FROM snapshot WHERE raised IN (0, 1) AND at < ? LIMIT ?)",
    )
    .bind(cutoff.as_nanos())
    .bind(STEP_ROWS)
    .execute(&mut *writer)
    .await?
    .rows_affected();
    let over = bytes.saturating_sub(retain_bytes / SHARE);
    match expired {
        0 if over > 0 => delete_first(writer, over).await,
        expired => Ok(expired),
    }
}

/// Deletes about `over` bytes of them, a step's worth at most: those that raised no alert first, of
/// each kind the oldest.
pub(super) async fn delete_first(writer: &mut SqliteConnection, over: u64) -> Result<u64> {
    let rows: Vec<(i64, i64)> =
        sqlx::query_as("SELECT id, bytes FROM snapshot ORDER BY raised, at LIMIT ?")
            .bind(STEP_ROWS)
            .fetch_all(&mut *writer)
            .await?;
    let mut freed = 0;
    let mut ids = Vec::new();
    for (id, bytes) in rows {
        if freed >= over {
            break;
        }
        freed += bytes.max(0).unsigned_abs();
        ids.push(id);
    }
    let deleted = sqlx::query("DELETE FROM snapshot WHERE id IN (SELECT value FROM json_each(?))")
        .bind(json!(ids).to_string())
        .execute(writer)
        .await?;
    Ok(deleted.rows_affected())
}

#[cfg(test)]
mod tests;
