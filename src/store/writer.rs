//! The one writer: group commits, retries, and the upkeep between them.
//!
//! It owns its transactions: each is one script, and after any error the connection is dropped,
//! what was to be written goes back to the head of the queue, and a new connection tries again.

use std::fs::File;
use std::sync::Arc;
use std::time::Duration;

use sqlx::{Connection, SqliteConnection};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::block::{Effort, Encoded, Encoder};
use super::checkpoint::{Checkpointer, checkpoint};
use super::commit::{NewBlock, Script};
use super::connect::Location;
use super::error::{Failure, StoreError};
use super::queue::{Due, Work};
use super::retention::{Retention, Step, delete_oldest};
use super::series::{Maker, Pace};
use super::shared::Shared;
use super::snapshots;
use crate::sample::Sample;
use crate::tag::Registry;
use crate::time::Timestamp;

/// Blocks up to this size are encoded in place: a thread change costs as much.
const ENCODE_HERE: usize = 4096;
const FIRST_RETRY: Duration = Duration::from_millis(50);
const LAST_RETRY: Duration = Duration::from_secs(2);
/// So many commits in a row that find the database damaged end the run; the next start sets
/// the file aside.
const DAMAGED_COMMITS: u32 = 3;
/// Closing tries a failing disk for so long.
const CLOSE_RETRY: Duration = Duration::from_secs(2);
const UPKEEP_INTERVAL: Duration = Duration::from_secs(10);
/// A checkpoint starts when so much WAL has gathered, less where the whole buffer is small.
const CHECKPOINT_BYTES: u64 = 4 << 20;
/// What a commit writes besides its rows: leaf pages, indexes, page maps.
const COMMIT_OVERHEAD: u64 = 6 * 4120;

/// Run it with [`StoreWriter::run`]; without it nothing is committed.
pub struct StoreWriter {
    shared: Arc<Shared>,
    registry: Arc<Registry>,
    location: Location,
    connection: Option<SqliteConnection>,
    encoder: Encoder,
    next_block: i64,
    next_event: i64,
    written_tags: u32,
    checkpointer: Checkpointer,
    maker: Maker,
    retention: Retention,
    upkeep_at: Instant,
    /// Bytes until upkeep comes early.
    upkeep_bytes: u64,
    retry_at: Option<Instant>,
    retry_delay: Duration,
    damaged: u32,
    _closing: CloseOnDrop,
    _lock: File,
}

/// However the writer ends, nobody waits for it afterwards.
struct CloseOnDrop(Arc<Shared>);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        self.0.close();
        self.0.abandon();
    }
}

/// A batch's samples and whether they are stale.
type Part = (Arc<Vec<Sample>>, bool);

/// What the writer starts from.
pub(super) struct Start {
    pub(super) shared: Arc<Shared>,
    pub(super) registry: Arc<Registry>,
    pub(super) location: Location,
    pub(super) connection: SqliteConnection,
    pub(super) next_block: i64,
    pub(super) next_event: i64,
    pub(super) written_tags: u32,
    pub(super) retention: Retention,
    pub(super) lock: File,
}

impl StoreWriter {
    pub(super) fn new(start: Start) -> Self {
        let Start { shared, registry, location, connection, next_block, next_event, .. } = start;
        let checkpoint_bytes = (start.retention.bytes / 16).clamp(1 << 16, CHECKPOINT_BYTES);
        let (file, wal) = location.sizes();
        let full = file + wal > start.retention.bytes / 2;
        let pace = Pace::of(start.retention.bytes);
        let checkpointer =
            Checkpointer::new(location.clone(), Arc::clone(&shared), checkpoint_bytes);
        Self {
            _closing: CloseOnDrop(Arc::clone(&shared)),
            maker: Maker::new(Arc::clone(&shared), pace),
            shared,
            registry,
            location,
            connection: Some(connection),
            encoder: Encoder::default(),
            next_block,
            next_event,
            written_tags: start.written_tags,
            checkpointer,
            retention: start.retention,
            // A box that never lives long must not fill up either.
            upkeep_at: if full { Instant::now() } else { Instant::now() + UPKEEP_INTERVAL },
            upkeep_bytes: start.retention.bytes / 64,
            retry_at: None,
            retry_delay: FIRST_RETRY,
            damaged: 0,
            _lock: start.lock,
        }
    }

    /// Commits until `token` is cancelled; then what is queued, a checkpoint, and the end.
    pub async fn run(mut self, token: CancellationToken) -> Result<(), StoreError> {
        while !token.is_cancelled() {
            let now = Instant::now();
            let due = match self.retry_at {
                Some(at) if at > now => Due::At(at),
                _ => self.shared.queue().due(now),
            };
            if due == Due::Now {
                self.commit().await?;
                // Where the next one is always due, nothing else would keep the WAL down.
                if self.location.sizes().1 <= self.checkpointer.truncate_above() {
                    continue;
                }
            }
            self.checkpointer.poll().await;
            if self.upkeep_at <= now && self.retry_at.is_none() {
                self.upkeep().await?;
                continue;
            }
            if due == Due::Now {
                continue;
            }
            if self.retry_at.is_none() && self.make_series().await? {
                continue;
            }
            let wake_at = match due {
                Due::At(at) if self.retry_at.is_some() => at,
                Due::At(at) => at.min(self.upkeep_at),
                _ => self.upkeep_at,
            };
            let series = self.maker.due().filter(|_| self.retry_at.is_none());
            let wake_at = series.map_or(wake_at, |at| at.min(wake_at));
            tokio::select! {
                () = token.cancelled() => {}
                () = tokio::time::sleep_until(wake_at) => {}
                () = self.shared.wake.notified(), if self.retry_at.is_none() => {}
            }
        }
        self.finish().await
    }

    async fn commit(&mut self) -> Result<(), StoreError> {
        let work = self.shared.queue().take();
        let received = work.batches().map(|batch| batch.received).max().unwrap_or_default();
        let parts = work.batches().map(|batch| (Arc::clone(&batch.samples), batch.stale)).collect();
        let effort = if work.changes.is_empty() { Effort::Compact } else { Effort::Fast };
        let encoded = self.encode(parts, effort).await;
        let block = encoded.map(|encoded| NewBlock { id: self.next_block, received, encoded });
        let (blocks, bytes) =
            block.as_ref().map_or((0, 0), |block| (1, block.encoded.data.len() as u64));
        let pictures = work.chores.snapshots.iter().map(|(_, s)| s.jpeg.len() as u64).sum::<u64>();
        let tags = self.registry.tags_from(self.written_tags);
        let mut script = Script::default();
        script.tags(&tags);
        if let Some(block) = block {
            script.block(block);
        }
        for (event, change) in (self.next_event..).zip(&work.changes) {
            script.change(change, event);
        }
        script.chores(&work.chores, Timestamp::now());
        // A time in doubt is never on disk without word of it.
        self.shared.clock.is_believed(Timestamp::now());
        let note = self.shared.clock.to_note();
        if let Some(note) = note {
            script.clock(note);
        }
        let started = Instant::now();
        match self.run_script(script).await {
            Ok(()) => {
                note.into_iter().for_each(|note| self.shared.clock.noted(note));
                self.shared.gauges.committed(started.elapsed(), blocks, bytes);
                self.next_block += i64::try_from(blocks).unwrap_or(1);
                self.next_event += i64::try_from(work.changes.len()).unwrap_or(i64::MAX);
                self.written_tags += u32::try_from(tags.len()).expect("fewer than 2^32 tags");
                self.recovered();
                self.maker.wrote(blocks, work.samples as u64);
                self.wrote(bytes + pictures);
                if pictures > 0 {
                    self.count_snapshots().await;
                }
                self.shared.settle(work);
                Ok(())
            }
            Err(error) => self.failed(work, error, bytes + pictures).await,
        }
    }

    async fn encode(&mut self, parts: Vec<Part>, effort: Effort) -> Option<Encoded> {
        fn slices(parts: &[Part]) -> impl Iterator<Item = (&[Sample], bool)> + Clone {
            parts.iter().map(|(samples, stale)| (samples.as_slice(), *stale))
        }
        let count: usize = parts.iter().map(|(samples, _)| samples.len()).sum();
        if count <= ENCODE_HERE {
            return self.encoder.encode(slices(&parts), effort);
        }
        let mut encoder = std::mem::take(&mut self.encoder);
        let (encoder, encoded) = tokio::task::spawn_blocking(move || {
            let encoded = encoder.encode(slices(&parts), effort);
            (encoder, encoded)
        })
        .await
        .expect("encoding does not panic and is not aborted");
        self.encoder = encoder;
        encoded
    }

    /// The figures are right again at the next upkeep, if this fails.
    async fn count_snapshots(&mut self) {
        if let Some(mut connection) = self.connection.take()
            && snapshots::count(&mut connection, &self.shared.gauges).await.is_ok()
        {
            self.connection = Some(connection);
        }
    }

    async fn run_script(&mut self, script: Script) -> Result<(), sqlx::Error> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.location.writer().await?,
        };
        script.run(&mut connection).await?;
        self.connection = Some(connection);
        Ok(())
    }

    fn wrote(&mut self, bytes: u64) {
        self.checkpointer.wrote(bytes + COMMIT_OVERHEAD);
        self.upkeep_bytes = self.upkeep_bytes.saturating_sub(bytes + COMMIT_OVERHEAD);
        if self.upkeep_bytes == 0 {
            self.upkeep_at = self.upkeep_at.min(Instant::now());
        }
    }

    fn recovered(&mut self) {
        self.damaged = 0;
        self.retry_delay = FIRST_RETRY;
        if self.retry_at.take().is_some() {
            tracing::info!("The buffer can be written again.");
        }
    }

    async fn failed(
        &mut self,
        work: Work,
        error: sqlx::Error,
        bytes: u64,
    ) -> Result<(), StoreError> {
        let now = Instant::now();
        if self.retry_at.is_none() {
            tracing::warn!(%error, "The buffer cannot be written; samples wait in memory.");
        }
        self.retry_at = Some(now + self.retry_delay);
        self.retry_delay = (self.retry_delay * 2).min(LAST_RETRY);
        self.shared.queue().put_back(work, now);
        // Whoever waits for room learns that older samples may give way now.
        self.shared.space.notify_waiters();
        self.shared.gauges.update(|stats| stats.failed_commits += 1);
        match Failure::of(&error) {
            Failure::Damaged => {
                self.damaged += 1;
                self.location.suspect();
                if self.damaged >= DAMAGED_COMMITS {
                    tracing::error!(%error, "The buffer is damaged; it is set aside at the next start.");
                    return Err(StoreError::Damaged(error));
                }
            }
            Failure::Full => self.reclaim(bytes).await,
            Failure::Other => {}
        }
        Ok(())
    }

    /// The disk is full: the oldest blocks make room for what is new.
    async fn reclaim(&mut self, bytes: u64) {
        let outcome = async {
            let mut connection = self.location.writer().await?;
            checkpoint(&mut connection, "PRAGMA wal_checkpoint(PASSIVE)").await?;
            let over = 2 * bytes + COMMIT_OVERHEAD;
            let deleted =
                delete_oldest(&mut connection, over, Timestamp::MIN, &self.shared.gauges).await?;
            // A box with cameras alone has no blocks.
            let deleted = match deleted {
                0 => snapshots::delete_first(&mut connection, over).await?,
                blocks => blocks,
            };
            self.connection = Some(connection);
            Ok::<_, sqlx::Error>(deleted)
        };
        match outcome.await {
            Ok(0) => {}
            Ok(blocks) => {
                tracing::warn!(blocks, "The disk is full; the oldest blocks or pictures give way.")
            }
            Err(error) => tracing::debug!(%error, "No room could be made on the full disk."),
        }
    }

    /// Retention in steps, as long as no alert waits.
    async fn upkeep(&mut self) -> Result<(), StoreError> {
        self.upkeep_bytes = self.retention.bytes / 64;
        self.upkeep_at = Instant::now() + UPKEEP_INTERVAL;
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => match self.location.writer().await {
                Ok(connection) => connection,
                Err(error) => return self.upkeep_failed(error),
            },
        };
        loop {
            let (_, wal) = self.location.sizes();
            // Nobody's reading may hold up the commits more than once, or cost a sample.
            let limit = self.checkpointer.truncate_above();
            if wal > limit {
                // The disk does not keep up with the commits: they wait.
                self.checkpointer.settle().await;
            }
            if wal > limit && !self.checkpointer.is_held() {
                match checkpoint(&mut connection, "PRAGMA wal_checkpoint(TRUNCATE)").await {
                    Ok(frames) if frames.busy => self.checkpointer.was_busy(),
                    Ok(_) => self.shared.gauges.update(|stats| stats.checkpoints += 1),
                    Err(error) => return self.upkeep_failed(error),
                }
            }
            let gauges = &self.shared.gauges;
            // The WAL may grow to this at any time: the database leaves it room.
            let wal = if self.checkpointer.is_held() { limit } else { wal.max(limit) };
            let (clock, now) = (&self.shared.clock, Timestamp::now());
            match self.retention.step(&mut connection, wal, clock, now, gauges).await {
                Ok(Step::Done) => break,
                Ok(Step::Deleted) => self.checkpointer.wrote(COMMIT_OVERHEAD),
                Ok(Step::Vacuumed) => self.checkpointer.start_soon(),
                Err(error) => return self.upkeep_failed(error),
            }
            self.checkpointer.poll().await;
            if self.shared.queue().due(Instant::now()) == Due::Now {
                self.upkeep_at = Instant::now();
                break;
            }
        }
        // A box without samples commits nothing else.
        if let Some(note) = self.shared.clock.to_note() {
            let mut script = Script::default();
            script.clock(note);
            if let Err(error) = script.run(&mut connection).await {
                return self.upkeep_failed(error);
            }
            self.shared.clock.noted(note);
        }
        self.connection = Some(connection);
        Ok(())
    }

    /// One step of the series, if there is one.
    async fn make_series(&mut self) -> Result<bool, StoreError> {
        self.maker.poll().await;
        let Some(step) = self.maker.next_step() else { return Ok(false) };
        let outcome = async {
            let mut connection = match self.connection.take() {
                Some(connection) => connection,
                None => self.location.writer().await?,
            };
            let done = step.run(&mut connection).await?;
            self.connection = Some(connection);
            Ok::<_, sqlx::Error>(done)
        };
        match outcome.await {
            Ok((bytes, finished)) => {
                self.wrote(bytes);
                if let Some((stretch, stands)) = finished {
                    self.maker.finished(stretch, stands);
                }
                Ok(true)
            }
            Err(error) => {
                self.maker.failed();
                // What is new tells of a full disk by itself.
                match Failure::of(&error) {
                    Failure::Full => Ok(false),
                    _ => self.upkeep_failed(error).map(|()| false),
                }
            }
        }
    }

    fn upkeep_failed(&self, error: sqlx::Error) -> Result<(), StoreError> {
        tracing::warn!(%error, "Upkeep of the buffer failed; it is tried again.");
        if Failure::of(&error) == Failure::Damaged {
            self.location.suspect();
            return Err(StoreError::Damaged(error));
        }
        Ok(())
    }

    async fn finish(mut self) -> Result<(), StoreError> {
        self.shared.close();
        let deadline = Instant::now() + CLOSE_RETRY;
        while !self.shared.queue().is_empty() {
            if let Some(at) = self.retry_at {
                tokio::time::sleep_until(at.min(deadline)).await;
            }
            self.commit().await?;
            if self.retry_at.is_some() && Instant::now() >= deadline {
                return Err(StoreError::Unwritten { samples: self.shared.queue().held() });
            }
        }
        self.maker.stop();
        self.checkpointer.stop().await;
        self.shared.readers.close().await;
        if let Some(mut connection) = self.connection.take() {
            checkpoint(&mut connection, "PRAGMA wal_checkpoint(TRUNCATE)").await?;
            connection.close().await?;
        }
        Ok(())
    }
}
