//! One tag's samples, by series where there are any, by blocks elsewhere.

use serde_json::json;
use sqlx::SqlitePool;

use super::row_of;
use crate::sample::Sample;
use crate::store::block::Malformed;
use crate::store::read::{self, Keep};
use crate::store::stats::Gauges;
use crate::tag::TagId;
use crate::time::Timestamp;

/// Series fetched in one read.
const ROWS_A_READ: usize = 128;

type Result<T> = std::result::Result<T, sqlx::Error>;

#[derive(Clone, Copy, sqlx::FromRow)]
struct Stretch {
    id: i64,
    first_block: i64,
    last_block: i64,
    broken: bool,
}

#[derive(sqlx::FromRow)]
struct Row {
    stretch: i64,
    codec: Option<i64>,
    crc32: Option<i64>,
    data: Option<Vec<u8>>,
}

struct Asked<'a> {
    readers: &'a SqlitePool,
    gauges: &'a Gauges,
    tag: TagId,
    span: (Timestamp, Timestamp),
    keep: Keep,
}

/// The committed samples of a tag with times in `[from, to)`, in time order; those of one time in
/// the order in which they came in.
pub(in crate::store) async fn read_tag(
    readers: &SqlitePool,
    gauges: &Gauges,
    tag: TagId,
    span: (Timestamp, Timestamp),
) -> Result<Vec<Sample>> {
    let keep = Keep { tag: Some(tag), from: span.0, to: Some(span.1), stale: true };
    let asked = Asked { readers, gauges, tag, span, keep };
    let mut samples = Vec::new();
    // Stretches that are finished meanwhile are not looked for: their blocks are read.
    let end = last_covered(readers).await?;
    if end > 0 {
        let stretches = asked.stretches(end).await?;
        for part in stretches.chunk_by(|a, b| a.broken == b.broken) {
            if part[0].broken {
                for stretch in part {
                    asked.blocks((stretch.first_block, stretch.last_block), &mut samples).await?;
                }
                continue;
            }
            for part in part.chunks(ROWS_A_READ) {
                asked.series(part, &mut samples).await?;
            }
        }
    }
    asked.blocks((end + 1, i64::MAX), &mut samples).await?;
    samples.sort_by_key(|sample: &Sample| sample.time);
    Ok(samples)
}

/// The last block that belongs to a stretch; 0 where there is none, as in a file from before.
async fn last_covered(readers: &SqlitePool) -> Result<i64> {
    let known: Option<i64> =
        sqlx::query_scalar("SELECT 1 FROM sqlite_schema WHERE name = 'stretch'")
            .fetch_optional(readers)
            .await?;
    if known.is_none() {
        return Ok(0);
    }
    sqlx::query_scalar("SELECT coalesce(max(last_block), 0) FROM stretch").fetch_one(readers).await
}

impl Asked<'_> {
    async fn stretches(&self, end: i64) -> Result<Vec<Stretch>> {
        sqlx::query_as(
            "SELECT id, first_block, last_block, broken FROM stretch \
             WHERE max_time >= ? AND min_time <= ? AND +last_block <= ? ORDER BY +id",
        )
        .bind(self.span.0.as_nanos())
        .bind(self.span.1.as_nanos())
        .bind(end)
        .fetch_all(self.readers)
        .await
    }

    async fn blocks(&self, range: (i64, i64), samples: &mut Vec<Sample>) -> Result<()> {
        let ids = read::block_ids_between(self.readers, range, self.span).await?;
        read::blocks(self.readers, self.gauges, &ids, self.keep, |part, _| samples.extend(part))
            .await
    }

    async fn series(&self, stretches: &[Stretch], samples: &mut Vec<Sample>) -> Result<()> {
        let ids: Vec<i64> = stretches.iter().map(|stretch| stretch.id).collect();
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT stretch.id AS stretch, codec, crc32, data FROM stretch \
             LEFT JOIN series ON series.id = (stretch.id << 32) + ? \
             WHERE NOT broken AND stretch.id IN (SELECT value FROM json_each(?)) ORDER BY stretch.id",
        )
        .bind(row_of(0, self.tag))
        .bind(json!(ids).to_string())
        .fetch_all(self.readers)
        .await?;
        let keep = self.keep;
        let decoded = tokio::task::spawn_blocking(move || {
            rows.iter().map(|row| (row.stretch, row.samples(keep))).collect::<Vec<_>>()
        })
        .await
        .expect("decoding does not panic and is not aborted");
        let mut decoded = decoded.into_iter().peekable();
        for stretch in stretches {
            match decoded.next_if(|(id, _)| *id == stretch.id) {
                Some((_, Ok(part))) => samples.extend(part),
                other => {
                    if let Some((id, Err(error))) = other {
                        tracing::error!(stretch = id, %error, "A series cannot be read; its blocks are read instead.");
                    }
                    self.blocks((stretch.first_block, stretch.last_block), samples).await?;
                }
            }
        }
        Ok(())
    }
}

impl Row {
    fn samples(&self, keep: Keep) -> std::result::Result<Vec<Sample>, Malformed> {
        match (self.codec, self.crc32, &self.data) {
            (Some(codec), Some(crc32), Some(data)) => read::samples(codec, crc32, data, keep),
            // None of the eight tags has a sample in the stretch.
            _ => Ok(Vec::new()),
        }
    }
}
