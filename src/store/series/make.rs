//! Making series: the blocks are read and encoded in a task beside the writer; the writer takes what
//! comes of it to the file in small steps, the stretch itself in the last one.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use sqlx::sqlite::SqliteArguments;
use sqlx::{Arguments, AssertSqlSafe, Encode, Sqlite, SqliteConnection, SqlitePool, Type};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::{TAGS_A_ROW, row_of};
use crate::sample::Sample;
use crate::store::block::{CODEC, Effort, Encoder};
use crate::store::read::{self, Keep};
use crate::store::shared::Shared;
use crate::store::stats::Gauges;
use crate::time::Timestamp;

/// A stretch ends with the block that makes it so many samples: what has to be in memory at once ...
const STRETCH_SAMPLES: u64 = 1 << 18;
/// ... or so many blocks: what has to be read one by one until then.
const STRETCH_BLOCKS: u64 = 1024;
/// One step writes about so many bytes at most ...
const STEP_BYTES: usize = 128 << 10;
/// ... and so many rows.
const STEP_ROWS: usize = 256;
/// After work it rests for so many times as long, so that old samples never hold up new ones.
const REST: u32 = 8;
/// After a failure it rests for so long.
const AFTER_FAILURE: Duration = Duration::from_secs(60);

/// How large a stretch becomes, and how long is rested after it.
#[derive(Clone, Copy, Debug)]
pub(in crate::store) struct Pace {
    pub(in crate::store) samples: u64,
    pub(in crate::store) blocks: u64,
    pub(in crate::store) rest: u32,
}

impl Pace {
    /// In a small buffer no step may be large: its file must not grow over its limit.
    pub(in crate::store) fn of(retain_bytes: u64) -> Self {
        let samples = (retain_bytes / 512).clamp(1024, STRETCH_SAMPLES);
        Self { samples, blocks: STRETCH_BLOCKS, rest: REST }
    }
}

/// What there is for a stretch.
#[derive(Clone, Copy, Debug, Default)]
struct There {
    samples: u64,
    blocks: u64,
}

impl There {
    fn is_enough(self, pace: Pace) -> bool {
        self.samples >= pace.samples || self.blocks >= pace.blocks
    }
}

/// Decides when series are made, and hands the writer its steps.
pub(in crate::store) struct Maker {
    shared: Arc<Shared>,
    pace: Pace,
    /// The number of the stretch that comes next and its first block; read from the file.
    next: Option<(i64, i64)>,
    /// What has come since the last stretch, nearly: whether it is worth looking.
    waiting: There,
    making: Option<JoinHandle<Outcome>>,
    steps: VecDeque<Step>,
    rest_until: Instant,
}

/// A part of a stretch on its way to the file.
pub(in crate::store) enum Step {
    /// Rows of series: (id, CRC-32, data), the first step with the stretch whose leftovers go.
    Rows { leftovers: Option<i64>, rows: Vec<(i64, i64, Vec<u8>)> },
    /// All rows are there: now the stretch can be seen.
    Finish(Finish),
}

#[derive(Clone, Copy)]
pub(in crate::store) struct Finish {
    stretch: i64,
    first_block: i64,
    last_block: i64,
    blocks: i64,
    min_time: Timestamp,
    max_time: Timestamp,
}

type Outcome = Result<Made, sqlx::Error>;

struct Made {
    /// The number of the stretch and its first block.
    next: (i64, i64),
    /// None: not enough yet, with what there is.
    steps: Result<VecDeque<Step>, There>,
    took: Duration,
}

#[derive(sqlx::FromRow)]
struct Candidate {
    id: i64,
    count: i64,
    min_time: i64,
    max_time: i64,
}

impl Maker {
    pub(in crate::store) fn new(shared: Arc<Shared>, pace: Pace) -> Self {
        Self {
            shared,
            pace,
            next: None,
            // What an earlier life left is looked at.
            waiting: There { samples: pace.samples, blocks: pace.blocks },
            making: None,
            steps: VecDeque::new(),
            rest_until: Instant::now(),
        }
    }

    pub(in crate::store) fn wrote(&mut self, blocks: u64, samples: u64) {
        self.waiting.blocks += blocks;
        self.waiting.samples += samples;
    }

    /// Looks after a task that has ended, or starts one when it is time.
    pub(in crate::store) async fn poll(&mut self) {
        if let Some(task) = self.making.take_if(|task| task.is_finished()) {
            match task.await {
                Ok(Ok(made)) => self.made(made),
                Ok(Err(error)) => {
                    tracing::debug!(%error, "No series could be made; it is tried again.");
                    self.rest_until = Instant::now() + AFTER_FAILURE;
                }
                Err(_) => self.rest_until = Instant::now() + AFTER_FAILURE,
            }
        }
        if self.due().is_some_and(|due| due <= Instant::now()) {
            let (shared, next, pace) = (Arc::clone(&self.shared), self.next, self.pace);
            self.making = Some(tokio::spawn(async move {
                let outcome = make(&shared.readers, &shared.gauges, next, pace).await;
                shared.wake.notify_one();
                outcome
            }));
        }
    }

    /// When there is something to begin with, if there is.
    pub(in crate::store) fn due(&self) -> Option<Instant> {
        let free = self.making.is_none() && self.steps.is_empty();
        (free && self.waiting.is_enough(self.pace)).then_some(self.rest_until)
    }

    fn made(&mut self, made: Made) {
        self.next = Some(made.next);
        self.rest_until = Instant::now() + made.took * self.pace.rest;
        match made.steps {
            Ok(steps) => self.steps = steps,
            Err(there_are) => self.waiting = there_are,
        }
    }

    pub(in crate::store) fn next_step(&mut self) -> Option<Step> {
        self.steps.pop_front()
    }

    /// The outcome of a [`Step::Finish`]: the stretch stands, or a block of it has gone meanwhile.
    pub(in crate::store) fn finished(&mut self, finish: Finish, stands: bool) {
        if stands {
            // There may be more than one stretch's worth: the next look tells.
            self.next = Some((finish.stretch + 1, finish.last_block + 1));
        }
    }

    /// What was made is thrown away; the next attempt deletes what is left of it.
    pub(in crate::store) fn failed(&mut self) {
        self.steps.clear();
        self.rest_until = Instant::now() + AFTER_FAILURE;
    }

    #[cfg(test)]
    pub(in crate::store) fn is_idle(&self) -> bool {
        self.making.is_none() && self.steps.is_empty() && !self.waiting.is_enough(self.pace)
    }

    #[cfg(test)]
    pub(in crate::store) fn has_steps(&self) -> bool {
        !self.steps.is_empty()
    }

    pub(in crate::store) fn stop(&mut self) {
        if let Some(task) = self.making.take() {
            task.abort();
        }
    }
}

impl Step {
    /// Writes the step, all or nothing; gives its bytes, and whether a stretch stands now. After an
    /// error the connection is in an unknown state and must be dropped.
    pub(in crate::store) async fn run(
        self,
        writer: &mut SqliteConnection,
    ) -> Result<(u64, Option<(Finish, bool)>), sqlx::Error> {
        let (leftovers, rows) = match self {
            Self::Rows { leftovers, rows } => (leftovers, rows),
            Self::Finish(finish) => {
                let stands = finish.run(writer).await?;
                return Ok((0, Some((finish, stands))));
            }
        };
        let mut sql = String::from("BEGIN IMMEDIATE;");
        if let Some(stretch) = leftovers {
            sql += &format!("DELETE FROM series WHERE id >= {};", stretch << 32);
        }
        let (mut arguments, mut bytes) = (SqliteArguments::default(), 0);
        let values = vec!["(?, ?, ?, ?)"; rows.len()].join(", ");
        sql += &format!("INSERT INTO series (id, codec, crc32, data) VALUES {values};COMMIT;");
        for (id, crc32, data) in rows {
            bytes += data.len() as u64;
            bind(&mut arguments, id);
            bind(&mut arguments, CODEC);
            bind(&mut arguments, crc32);
            bind(&mut arguments, data);
        }
        sqlx::query_with(AssertSqlSafe(sql), arguments).persistent(false).execute(writer).await?;
        Ok((bytes, None))
    }
}

fn bind<'a, T: Encode<'a, Sqlite> + Type<Sqlite>>(arguments: &mut SqliteArguments, value: T) {
    Arguments::add(arguments, value).expect("numbers and bytes always encode");
}

impl Finish {
    async fn run(self, writer: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
        let done = sqlx::query(
            "INSERT INTO stretch (id, first_block, last_block, min_time, max_time) \
             SELECT ?, ?, ?, ?, ? WHERE ? = (SELECT count(*) FROM block WHERE id BETWEEN ? AND ?)",
        )
        .bind(self.stretch)
        .bind(self.first_block)
        .bind(self.last_block)
        .bind(self.min_time.as_nanos())
        .bind(self.max_time.as_nanos())
        .bind(self.blocks)
        .bind(self.first_block)
        .bind(self.last_block)
        .execute(writer)
        .await?;
        Ok(done.rows_affected() == 1)
    }
}

/// Reads enough blocks for a stretch, where there are enough, and encodes them by tag.
async fn make(
    readers: &SqlitePool,
    gauges: &Gauges,
    next: Option<(i64, i64)>,
    pace: Pace,
) -> Outcome {
    let begun = Instant::now();
    let (stretch, first_block) =
        match next {
            Some(next) => next,
            None => sqlx::query_as(
                "SELECT coalesce(max(id), 0) + 1, coalesce(max(last_block), 0) + 1 FROM stretch",
            )
            .fetch_one(readers)
            .await?,
        };
    let mut blocks: Vec<Candidate> = sqlx::query_as(
        "SELECT id, count, min_time, max_time FROM block WHERE id >= ? ORDER BY id LIMIT ?",
    )
    .bind(first_block)
    .bind(pace.blocks.cast_signed())
    .fetch_all(readers)
    .await?;
    let mut there = There::default();
    for block in &blocks {
        there.blocks += 1;
        there.samples += block.count.max(0).unsigned_abs();
        if there.samples >= pace.samples {
            break;
        }
    }
    let next = (stretch, first_block);
    if !there.is_enough(pace) {
        return Ok(Made { next, steps: Err(there), took: begun.elapsed() });
    }
    blocks.truncate(usize::try_from(there.blocks).unwrap_or(usize::MAX));
    let ids: Vec<i64> = blocks.iter().map(|block| block.id).collect();
    let keep = Keep { tag: None, from: Timestamp::MIN, to: None, stale: true };
    let mut samples = Vec::with_capacity(usize::try_from(there.samples).unwrap_or(0));
    read::blocks(readers, gauges, &ids, keep, |part, _| samples.extend(part)).await?;
    let rows = tokio::task::spawn_blocking(move || encode(samples, stretch))
        .await
        .expect("encoding does not panic and is not aborted");
    let finish = Finish {
        stretch,
        first_block: ids[0],
        last_block: ids[ids.len() - 1],
        blocks: there.blocks.cast_signed(),
        min_time: at(blocks.iter().map(|block| block.min_time).min()),
        max_time: at(blocks.iter().map(|block| block.max_time).max()),
    };
    let took = begun.elapsed();
    Ok(Made { next, steps: Ok(steps(rows, finish)), took })
}

fn at(nanos: Option<i64>) -> Timestamp {
    Timestamp::from_nanos(nanos.expect("a stretch has a block"))
}

/// One row for eight neighbouring tags, in order of arrival within a tag.
fn encode(mut samples: Vec<Sample>, stretch: i64) -> Vec<(i64, i64, Vec<u8>)> {
    let mut encoder = Encoder::default();
    samples.sort_by_key(|sample| sample.tag.0 / TAGS_A_ROW);
    let row = |sample: &Sample| row_of(stretch, sample.tag);
    samples
        .chunk_by(|a, b| row(a) == row(b))
        .filter_map(|part| {
            let encoded = encoder.encode(std::iter::once((part, false)), Effort::Compact)?;
            let crc32 = i64::from(crc32fast::hash(&encoded.data));
            Some((row(&part[0]), crc32, encoded.data))
        })
        .collect()
}

fn steps(rows: Vec<(i64, i64, Vec<u8>)>, finish: Finish) -> VecDeque<Step> {
    let mut steps = VecDeque::new();
    let mut leftovers = Some(finish.stretch);
    let (mut part, mut bytes) = (Vec::new(), 0);
    for row in rows {
        bytes += row.2.len();
        part.push(row);
        if bytes >= STEP_BYTES || part.len() == STEP_ROWS {
            let rows = std::mem::take(&mut part);
            steps.push_back(Step::Rows { leftovers: leftovers.take(), rows });
            bytes = 0;
        }
    }
    if !part.is_empty() {
        steps.push_back(Step::Rows { leftovers: leftovers.take(), rows: part });
    }
    steps.push_back(Step::Finish(finish));
    steps
}
