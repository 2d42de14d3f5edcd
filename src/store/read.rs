//! Reading back, in short reads: an open read keeps a checkpoint from finishing.

use std::time::Duration;

use bytes::Bytes;
use serde_json::json;
use sqlx::SqlitePool;

use super::block::{CODEC, Malformed, Stored, decode, decode_tag};
use super::stats::Gauges;
use super::{AlertEvent, AlertKey, DeadLetter, WindowMark};
use crate::ledger::Rejection;
use crate::message::{Message, Outgoing, Quarantined};
use crate::sample::Sample;
use crate::tag::TagId;
use crate::time::Timestamp;

/// Blocks fetched in one read.
const BLOCKS_A_READ: usize = 16;
/// Blocks at the end that are looked through for those of the last minute.
const TAIL_BLOCKS: i64 = 10_000;
/// Between two blocks at the end: whatever the clock says, no more time counts as passed.
const LONGEST_STEP: Duration = Duration::from_secs(5);

type Result<T> = std::result::Result<T, sqlx::Error>;

#[derive(sqlx::FromRow)]
struct BlockRow {
    id: i64,
    received: i64,
    codec: i64,
    crc32: i64,
    data: Vec<u8>,
}

/// The blocks in commit order that hold times in `[from, to)`.
pub(super) async fn block_ids(
    readers: &SqlitePool,
    from: Timestamp,
    to: Timestamp,
) -> Result<Vec<i64>> {
    sqlx::query_scalar("SELECT id FROM block WHERE max_time >= ? AND min_time <= ? ORDER BY id")
        .bind(from.as_nanos())
        .bind(to.as_nanos())
        .fetch_all(readers)
        .await
}

/// The blocks numbered `first` to `last` that hold times in `[from, to)`.
pub(super) async fn block_ids_between(
    readers: &SqlitePool,
    (first, last): (i64, i64),
    (from, to): (Timestamp, Timestamp),
) -> Result<Vec<i64>> {
    // The plus keeps SQLite from going by time.
    sqlx::query_scalar(
        "SELECT id FROM block WHERE id BETWEEN ? AND ? AND +max_time >= ? AND +min_time <= ? \
         ORDER BY id",
    )
    .bind(first)
    .bind(last)
    .bind(from.as_nanos())
    .bind(to.as_nanos())
    .fetch_all(readers)
    .await
}

/// The blocks that came in less than `span` before the end, in commit order. The box's clock may have
/// jumped meanwhile: a step back counts for nothing, one forward for [`LONGEST_STEP`] at most.
pub(super) async fn tail_ids(readers: &SqlitePool, span: Duration) -> Result<Vec<i64>> {
    let newest_first: Vec<(i64, i64)> =
        sqlx::query_as("SELECT id, received FROM block ORDER BY id DESC LIMIT ?")
            .bind(TAIL_BLOCKS)
            .fetch_all(readers)
            .await?;
    let (mut ids, mut ago, mut after) = (Vec::new(), Duration::ZERO, None);
    for (id, received) in newest_first {
        let received = Timestamp::from_nanos(received);
        let step = after.map_or(Duration::ZERO, |after: Timestamp| after.since(received));
        ago += step.min(LONGEST_STEP);
        if ago >= span {
            break;
        }
        after = Some(received);
        ids.push(id);
    }
    ids.reverse();
    Ok(ids)
}

/// The latest arrival among the newest blocks.
pub(super) async fn latest_arrival(readers: &SqlitePool) -> Result<Option<Timestamp>> {
    let received: Option<i64> = sqlx::query_scalar(
        "SELECT max(received) FROM (SELECT received FROM block ORDER BY id DESC LIMIT ?)",
    )
    .bind(TAIL_BLOCKS)
    .fetch_one(readers)
    .await?;
    Ok(received.map(Timestamp::from_nanos))
}

/// Reads and decodes the blocks `ids`, a few at a time, and hands over each one's samples and
/// when it was received. Blocks that are gone by now are passed over; damaged ones are too,
/// counted and logged.
pub(super) async fn blocks(
    readers: &SqlitePool,
    gauges: &Gauges,
    ids: &[i64],
    keep: Keep,
    mut each: impl FnMut(Vec<Sample>, Timestamp),
) -> Result<()> {
    for ids in ids.chunks(BLOCKS_A_READ) {
        let rows: Vec<BlockRow> = sqlx::query_as(
            "SELECT id, received, codec, crc32, data FROM block \
             WHERE id IN (SELECT value FROM json_each(?)) ORDER BY id",
        )
        .bind(json!(ids).to_string())
        .fetch_all(readers)
        .await?;
        let decoded = tokio::task::spawn_blocking(move || {
            rows.iter().map(|row| (row.id, row.received, row.samples(keep))).collect::<Vec<_>>()
        })
        .await
        .expect("decoding does not panic and is not aborted");
        for (id, received, samples) in decoded {
            match samples {
                Ok(samples) => each(samples, Timestamp::from_nanos(received)),
                Err(error) => {
                    gauges.update(|stats| stats.damaged_blocks += 1);
                    tracing::error!(block = id, %error, "A block cannot be read and is passed over.");
                }
            }
        }
    }
    Ok(())
}

/// Which samples of a block are wanted.
#[derive(Clone, Copy)]
pub(super) struct Keep {
    pub(super) tag: Option<TagId>,
    pub(super) from: Timestamp,
    /// Exclusive.
    pub(super) to: Option<Timestamp>,
    pub(super) stale: bool,
}

impl Keep {
    /// The wanted samples in time order; those of one time stay in tag order.
    fn of(self, block: &[Stored]) -> Vec<Sample> {
        let mut samples: Vec<Sample> = block
            .iter()
            .filter(|stored| self.stale || !stored.stale)
            .map(|stored| stored.sample)
            .filter(|sample| self.tag.is_none_or(|tag| tag == sample.tag))
            .filter(|sample| sample.time >= self.from)
            .filter(|sample| self.to.is_none_or(|to| sample.time < to))
            .collect();
        samples.sort_by_key(|sample| sample.time);
        samples
    }
}

impl BlockRow {
    fn samples(&self, keep: Keep) -> std::result::Result<Vec<Sample>, Malformed> {
        samples(self.codec, self.crc32, &self.data, keep)
    }
}

/// What is wanted of the bytes of a block, or of a series.
pub(super) fn samples(
    codec: i64,
    crc32: i64,
    data: &[u8],
    keep: Keep,
) -> std::result::Result<Vec<Sample>, Malformed> {
    if codec != CODEC {
        return Err(Malformed("its codec is unknown"));
    }
    if i64::from(crc32fast::hash(data)) != crc32 {
        return Err(Malformed("its checksum is wrong"));
    }
    let stored = match keep.tag {
        Some(tag) => decode_tag(data, tag)?,
        None => decode(data)?,
    };
    Ok(keep.of(&stored))
}

#[derive(sqlx::FromRow)]
struct MessageRow {
    seq: i64,
    created: i64,
    topic: String,
    body: Vec<u8>,
    retain: bool,
}

impl From<MessageRow> for Outgoing {
    fn from(row: MessageRow) -> Self {
        let message = Message { topic: row.topic, body: Bytes::from(row.body), retain: row.retain };
        Self { seq: row.seq, created: Timestamp::from_nanos(row.created), message }
    }
}

pub(super) async fn outgoing(
    readers: &SqlitePool,
    after: i64,
    limit: usize,
) -> Result<Vec<Outgoing>> {
    let rows: Vec<MessageRow> = sqlx::query_as(
        "SELECT seq, created, topic, body, retain FROM outbox WHERE seq > ? ORDER BY seq LIMIT ?",
    )
    .bind(after)
    .bind(i64::try_from(limit).unwrap_or(i64::MAX))
    .fetch_all(readers)
    .await?;
    Ok(rows.into_iter().map(Outgoing::from).collect())
}

/// The highest number of a message older than `before`; 0 when there is none.
pub(super) async fn outgoing_before(readers: &SqlitePool, before: Timestamp) -> Result<i64> {
    sqlx::query_scalar("SELECT coalesce(max(seq), 0) FROM outbox WHERE created < ?")
        .bind(before.as_nanos())
        .fetch_one(readers)
        .await
}

/// The newest retained message of each topic, up to `end`; a topic with a newer one is left out.
pub(super) async fn newest_states(readers: &SqlitePool, end: i64) -> Result<Vec<i64>> {
    sqlx::query_scalar(
        "SELECT max(seq) FROM outbox WHERE retain GROUP BY topic HAVING max(seq) <= ? ORDER BY 1",
    )
    .bind(end)
    .fetch_all(readers)
    .await
}

pub(super) async fn alert_states(readers: &SqlitePool) -> Result<Vec<(AlertKey, String)>> {
    let rows: Vec<(String, String, String)> =
        sqlx::query_as("SELECT asset, prediction, state FROM alert ORDER BY asset, prediction")
            .fetch_all(readers)
            .await?;
    let keyed = |(asset, prediction, state)| (AlertKey { asset, prediction }, state);
    Ok(rows.into_iter().map(keyed).collect())
}

pub(super) async fn alert_events(
    readers: &SqlitePool,
    from: Timestamp,
    to: Timestamp,
    limit: usize,
) -> Result<Vec<AlertEvent>> {
    let rows: Vec<(i64, String, String, String, String)> = sqlx::query_as(
        "SELECT at, asset, prediction, cause, state FROM alert_event \
         WHERE at >= ? AND at < ? ORDER BY id DESC LIMIT ?",
    )
    .bind(from.as_nanos())
    .bind(to.as_nanos())
    .bind(i64::try_from(limit).unwrap_or(i64::MAX))
    .fetch_all(readers)
    .await?;
    let event = |(at, asset, prediction, cause, state)| AlertEvent {
        key: AlertKey { asset, prediction },
        at: Timestamp::from_nanos(at),
        cause,
        state,
    };
    Ok(rows.into_iter().map(event).collect())
}

pub(super) async fn marks(readers: &SqlitePool) -> Result<Vec<WindowMark>> {
    let rows: Vec<(String, String, i64, i64)> = sqlx::query_as(
        "SELECT asset, prediction, started, ended FROM mark ORDER BY asset, prediction",
    )
    .fetch_all(readers)
    .await?;
    let mark = |(asset, prediction, start, end)| WindowMark {
        asset,
        prediction,
        start: Timestamp::from_nanos(start),
        end: Timestamp::from_nanos(end),
    };
    Ok(rows.into_iter().map(mark).collect())
}

pub(super) async fn quarantined(readers: &SqlitePool, limit: usize) -> Result<Vec<Quarantined>> {
    type Row = (i64, String, String, String, String, Vec<u8>, i64);
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT received, source, topic, reason, detail, head, length FROM quarantine \
         ORDER BY id DESC LIMIT ?",
    )
    .bind(i64::try_from(limit).unwrap_or(i64::MAX))
    .fetch_all(readers)
    .await?;
    let item = |(received, source, topic, reason, detail, head, length): Row| Quarantined {
        received: Timestamp::from_nanos(received),
        source,
        topic,
        reason: word(&reason),
        detail,
        head: Bytes::from(head),
        length: length.max(0).unsigned_abs(),
    };
    Ok(rows.into_iter().map(item).collect())
}

/// The rejection's own word; a newer andon may have known more of them.
fn word(reason: &str) -> &'static str {
    Rejection::ALL
        .iter()
        .map(|rejection| rejection.as_str())
        .find(|word| *word == reason)
        .unwrap_or("unknown")
}

pub(super) async fn dead_letters(readers: &SqlitePool, limit: usize) -> Result<Vec<DeadLetter>> {
    type Row = (i64, i64, String, Vec<u8>, bool, String, i64);
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT seq, created, topic, body, retain, reason, died FROM dead_letter \
         ORDER BY seq DESC LIMIT ?",
    )
    .bind(i64::try_from(limit).unwrap_or(i64::MAX))
    .fetch_all(readers)
    .await?;
    let letter = |(seq, created, topic, body, retain, reason, died)| DeadLetter {
        outgoing: MessageRow { seq, created, topic, body, retain }.into(),
        reason,
        at: Timestamp::from_nanos(died),
    };
    Ok(rows.into_iter().map(letter).collect())
}
