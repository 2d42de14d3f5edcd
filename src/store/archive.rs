//! The buffer as an outsider reads it, beside a running daemon or without one: nothing is locked,
//! nothing is written.

use std::path::Path;

use sqlx::SqlitePool;

use super::connect::Location;
use super::read::{self, Keep};
use super::stats::Gauges;
use super::{AlertEvent, StoreError, series};
use crate::sample::Sample;
use crate::tag::{Registry, TagId};
use crate::time::Timestamp;

pub struct Archive {
    readers: SqlitePool,
    gauges: Gauges,
}

/// The stretch that the buffer holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// The oldest and the newest event time.
    pub first: Timestamp,
    pub last: Timestamp,
    /// When the newest block was received.
    pub received: Timestamp,
}

impl Archive {
    /// Opens an existing file for reading, and numbers its tags in `registry`, which must be empty.
    pub async fn open(path: &Path, registry: &Registry) -> Result<Self, ArchiveError> {
        let told = |problem: String| ArchiveError { path: path.display().to_string(), problem };
        if !path.is_file() {
            return Err(told("there is no such file; give the daemon's `store.path`".into()));
        }
        let readers = Location::new(path.to_owned()).readers();
        let rows: Vec<(i64, String, String)> =
            sqlx::query_as("SELECT id, asset, name FROM tag ORDER BY id")
                .fetch_all(&readers)
                .await
                .map_err(|error| told(error.to_string()))?;
        for (id, asset, name) in rows {
            let given = registry.intern(&asset, &name).map_err(|full| told(full.to_string()))?;
            if i64::from(given.0) != id {
                return Err(told(format!("its tag {id} stands out of order")));
            }
        }
        Ok(Self { readers, gauges: Gauges::default() })
    }

    /// `None` while there are no samples.
    pub async fn extent(&self) -> Result<Option<Extent>, StoreError> {
        let row: (Option<i64>, Option<i64>, Option<i64>) = sqlx::query_as(
            "SELECT (SELECT min(min_time) FROM block), (SELECT max(max_time) FROM block), \
             (SELECT received FROM block ORDER BY id DESC LIMIT 1)",
        )
        .fetch_one(&self.readers)
        .await?;
        let at = Timestamp::from_nanos;
        Ok(row.0.zip(row.1).zip(row.2).map(|((first, last), received)| Extent {
            first: at(first),
            last: at(last),
            received: at(received),
        }))
    }

    /// Hands over the samples with times in `[from, to)`, block by block in commit order, with the
    /// time the newest of the block was received, until `each` says false. Stale ones are left out.
    pub async fn scan(
        &self,
        from: Timestamp,
        to: Timestamp,
        each: impl FnMut(Vec<Sample>, Timestamp) -> bool,
    ) -> Result<(), StoreError> {
        self.scan_blocks(Keep { tag: None, from, to: Some(to), stale: false }, to, each).await
    }

    /// The same with the stale ones.
    pub async fn scan_all(
        &self,
        from: Timestamp,
        to: Timestamp,
        each: impl FnMut(Vec<Sample>, Timestamp) -> bool,
    ) -> Result<(), StoreError> {
        self.scan_blocks(Keep { tag: None, from, to: Some(to), stale: true }, to, each).await
    }

    async fn scan_blocks(
        &self,
        keep: Keep,
        to: Timestamp,
        mut each: impl FnMut(Vec<Sample>, Timestamp) -> bool,
    ) -> Result<(), StoreError> {
        let ids = read::block_ids(&self.readers, keep.from, to).await?;
        let mut more = true;
        for ids in ids.chunks(BLOCKS_AT_ONCE) {
            read::blocks(&self.readers, &self.gauges, ids, keep, |samples, received| {
                more = more && (samples.is_empty() || each(samples, received));
            })
            .await?;
            if !more {
                break;
            }
        }
        Ok(())
    }

    /// The samples of a tag with times in `[from, to)`, in time order.
    pub async fn read_tag(
        &self,
        tag: TagId,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<Sample>, StoreError> {
        Ok(series::read_tag(&self.readers, &self.gauges, tag, (from, to)).await?)
    }

    /// Blocks that could not be read, since the opening.
    pub fn damaged_blocks(&self) -> u64 {
        self.gauges.get().damaged_blocks
    }

    /// The transitions with times in `[from, to)`, the newest first.
    pub async fn alert_events(
        &self,
        from: Timestamp,
        to: Timestamp,
        limit: usize,
    ) -> Result<Vec<AlertEvent>, StoreError> {
        Ok(read::alert_events(&self.readers, from, to, limit).await?)
    }
}

const BLOCKS_AT_ONCE: usize = 16;

#[derive(Debug, thiserror::Error)]
#[error("the buffer {path} cannot be read: {problem}")]
pub struct ArchiveError {
    path: String,
    problem: String,
}
