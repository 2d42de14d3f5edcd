//! The buffer: samples as blocks, alert states and the outbox in one SQLite file.
//!
//! [`Store`] is the handle that everyone holds; [`StoreWriter`] is run once and does all the
//! writing. What is recorded is committed in groups, first in, first out: by age, by number, at
//! once when an alert waits. A receipt is settled only after its samples are on disk, and an
//! alert is committed with or after everything that was recorded before it. See docs/buffer.md.

mod archive;
mod block;
mod checkpoint;
mod clock;
mod commit;
mod connect;
mod error;
mod open;
mod outbox;
mod queue;
mod read;
mod retention;
mod series;
mod shared;
mod snapshots;
mod stats;
mod writer;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

pub use self::archive::{Archive, ArchiveError, Extent};
pub use self::error::{OpenError, StoreClosed, StoreError};
use self::queue::Offer;
use self::read::Keep;
use self::shared::Shared;
pub use self::snapshots::{NewSnapshot, StoredSnapshot};
pub use self::stats::StoreStats;
pub use self::writer::StoreWriter;
use crate::ledger::{Ledger, Shed};
use crate::message::{Message, Outgoing, Quarantined};
use crate::sample::{Batch, Sample};
use crate::settings::StoreSettings;
use crate::tag::{Registry, TagId};
use crate::time::Timestamp;

/// A handle; cheap to clone.
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
}

/// Reads a block of the buffer as the reader does; for the fuzzer.
#[cfg(any(test, fuzzing))]
pub(crate) fn read_block(data: &[u8]) {
    if let Ok(samples) = block::decode(data) {
        assert!(samples.len() <= block::MAX_SAMPLES);
        for tag in samples.first().iter().chain(&samples.last()).map(|stored| stored.sample.tag) {
            let alone = block::decode_tag(data, tag).expect("a part of what can be read");
            assert_eq!(alone.len(), samples.iter().filter(|s| s.sample.tag == tag).count());
        }
    }
}

/// What an alert is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AlertKey {
    pub asset: String,
    pub prediction: String,
}

/// A step of an alert: its new state and what is to be published about it, in one transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlertChange {
    pub key: AlertKey,
    /// JSON; `None` deletes it.
    pub state: Option<String>,
    pub messages: Vec<Message>,
    pub at: Timestamp,
    /// What happened, in a word: kept in the history with the state.
    pub cause: Option<&'static str>,
}

/// What has waited in the outbox since before some time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    /// The highest number of it; 0 when there is none.
    pub end: i64,
    /// Of its retained messages those that no newer one has replaced.
    pub states: Vec<i64>,
}

/// A transition as the history keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlertEvent {
    pub key: AlertKey,
    pub at: Timestamp,
    pub cause: String,
    /// JSON, as it was then.
    pub state: String,
}

/// Where the last window of an asset ended, for one prediction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WindowMark {
    pub asset: String,
    pub prediction: String,
    /// Samples from here on have to be fed again.
    pub start: Timestamp,
    pub end: Timestamp,
}

/// A message that the broker refused for good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    pub outgoing: Outgoing,
    pub reason: String,
    pub at: Timestamp,
}

impl Store {
    /// Opens or makes the file and loads its tags into `registry`, which must still be empty.
    /// A damaged file is set aside and a new one begun: see [`StoreStats::set_aside`].
    pub async fn open(
        settings: &StoreSettings,
        registry: Arc<Registry>,
        ledger: Arc<Ledger>,
    ) -> Result<(Self, StoreWriter), OpenError> {
        open::open(settings, registry, ledger).await
    }

    /// Queues a batch for the next commit. Waits while the queue is full if the batch has a
    /// receipt; otherwise what does not fit is shed and counted.
    pub async fn record(&self, batch: Batch) {
        let Some(mut held) = self.offer(batch) else { return };
        loop {
            let mut space = std::pin::pin!(self.shared.space.notified());
            space.as_mut().enable();
            match self.offer(held) {
                None => return,
                Some(batch) => held = batch,
            }
            space.await;
        }
    }

    fn offer(&self, batch: Batch) -> Option<Batch> {
        let now = Instant::now();
        let (offer, displaced) = self.shared.queue().offer(batch, now);
        if !displaced.is_empty() {
            self.shared.shed(&displaced, Shed::Disk);
        }
        match offer {
            Offer::Queued { wake: true } => self.shared.wake.notify_one(),
            Offer::Queued { wake: false } => {}
            Offer::Refused(batch, reason) => self.shared.shed(&[batch], reason),
            Offer::Full(batch) => return Some(batch),
        }
        None
    }

    /// Resolves when the change is on disk, with the outbox numbers of its messages.
    pub async fn commit_change(&self, change: AlertChange) -> Result<Vec<i64>, StoreClosed> {
        self.queue_change(change).await.map_err(|_| StoreClosed)
    }

    /// Queues a change. What it gives resolves when the change is on disk, and may be dropped.
    pub fn queue_change(&self, change: AlertChange) -> oneshot::Receiver<Vec<i64>> {
        let (reply, seqs) = oneshot::channel();
        if self.shared.queue().change(change, reply).is_some() {
            self.shared.wake.notify_one();
        }
        seqs
    }

    /// Resolves when every message queued so far is in the outbox.
    pub async fn flush(&self) {
        let queued = self.shared.queue().last_seq();
        let mut changed = self.shared.changed.subscribe();
        // An error means that the store has gone, and its queue with it.
        let _ = changed.wait_for(|committed| *committed >= queued).await;
    }

    /// Keeps an unreadable payload for an engineer; a flood of them is not kept whole.
    pub fn quarantine(&self, item: Quarantined) {
        let (taken, wake) = self.shared.queue().quarantine(item, Instant::now());
        if !taken {
            self.shared.gauges.update(|stats| stats.quarantine_dropped += 1);
        }
        if wake {
            self.shared.wake.notify_one();
        }
    }

    /// At most `limit` committed and undelivered messages with numbers above `after`, oldest
    /// first.
    pub async fn next_outgoing(
        &self,
        after: i64,
        limit: usize,
    ) -> Result<Vec<Outgoing>, StoreError> {
        let (known, waiting) = {
            let outbox = self.shared.outbox();
            (outbox.after(after, limit), outbox.waiting_deletions())
        };
        if let Some(rows) = known {
            return Ok(rows);
        }
        // Rows whose deletion is not committed yet are still in the file.
        let mut rows = read::outgoing(&self.shared.readers, after, limit + waiting).await?;
        let outbox = self.shared.outbox();
        rows.retain(|row| !outbox.is_gone(row.seq));
        rows.truncate(limit);
        Ok(rows)
    }

    /// What has waited since before `before`, and what of it is still true.
    pub async fn backlog(&self, before: Timestamp) -> Result<Backlog, StoreError> {
        let end = read::outgoing_before(&self.shared.readers, before).await?;
        let mut states = match end {
            0 => Vec::new(),
            end => read::newest_states(&self.shared.readers, end).await?,
        };
        let outbox = self.shared.outbox();
        states.retain(|seq| !outbox.is_gone(*seq));
        Ok(Backlog { end, states })
    }

    /// The highest committed outbox number, as it changes.
    pub fn outbox_changed(&self) -> watch::Receiver<i64> {
        self.shared.changed.subscribe()
    }

    /// The broker has these; they are not given out again and leave the file within a second.
    pub async fn delivered(&self, seqs: Vec<i64>) {
        self.leave(&seqs);
        self.chore(|chores| chores.delivered.extend(seqs));
    }

    /// The broker refuses this one: it moves from the outbox to the dead letters.
    pub async fn dead_letter(&self, seq: i64, reason: String) {
        self.leave(&[seq]);
        self.chore(|chores| chores.dead.push((seq, reason)));
    }

    fn leave(&self, seqs: &[i64]) {
        let mut outbox = self.shared.outbox();
        for seq in seqs {
            outbox.gone(*seq);
        }
    }

    fn chore(&self, add: impl FnOnce(&mut queue::Chores)) {
        let wake = self.shared.queue().chore(Instant::now(), add);
        if wake {
            self.shared.wake.notify_one();
        }
    }

    /// The committed alert states.
    pub async fn alert_states(&self) -> Result<Vec<(AlertKey, String)>, StoreError> {
        Ok(read::alert_states(&self.shared.readers).await?)
    }

    /// At most `limit` committed transitions with times in `[from, to)`, the newest first.
    pub async fn alert_events(
        &self,
        from: Timestamp,
        to: Timestamp,
        limit: usize,
    ) -> Result<Vec<AlertEvent>, StoreError> {
        Ok(read::alert_events(&self.shared.readers, from, to, limit).await?)
    }

    /// The committed samples of a tag with times in `[from, to)`, in time order.
    pub async fn read_tag(
        &self,
        tag: TagId,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<Sample>, StoreError> {
        let Shared { readers, gauges, .. } = &*self.shared;
        Ok(series::read_tag(readers, gauges, tag, (from, to)).await?)
    }

    /// Hands over all committed samples with times from `from` on, and whatever came in less
    /// than `tail` before the last commit, however old: block by block in commit order, with the time
    /// the newest of the block was received. Within a block samples are in time order. Stale ones
    /// (see [`Batch::stale`]) are left out. Gives their number.
    pub async fn scan(
        &self,
        from: Option<Timestamp>,
        tail: Duration,
        mut each: impl FnMut(Vec<Sample>, Timestamp),
    ) -> Result<u64, StoreError> {
        let Shared { readers, gauges, .. } = &*self.shared;
        let tail = read::tail_ids(readers, tail).await?;
        let mut earlier = match from {
            Some(from) => read::block_ids(readers, from, Timestamp::MAX).await?,
            None => Vec::new(),
        };
        earlier.retain(|id| tail.first().is_none_or(|first| id < first));
        let mut count = 0;
        for (ids, from) in [(earlier, from.unwrap_or(Timestamp::MAX)), (tail, Timestamp::MIN)] {
            let keep = Keep { tag: None, from, to: None, stale: false };
            read::blocks(readers, gauges, &ids, keep, |samples, received| {
                if !samples.is_empty() {
                    count += samples.len() as u64;
                    each(samples, received);
                }
            })
            .await?;
        }
        Ok(count)
    }

    /// By how much the clock of an earlier life was ahead of `now`, as far as the newest blocks tell.
    pub async fn was_ahead(&self, now: Timestamp) -> Result<Duration, StoreError> {
        let latest = read::latest_arrival(&self.shared.readers).await?;
        Ok(latest.map_or(Duration::ZERO, |latest| latest.since(now)))
    }

    /// Whether the box's clock can be believed; if not, that is kept over a restart.
    pub fn clock_is_believed(&self, now: Timestamp) -> bool {
        self.shared.clock.is_believed(now)
    }

    /// The newest first.
    pub async fn quarantined(&self, limit: usize) -> Result<Vec<Quarantined>, StoreError> {
        Ok(read::quarantined(&self.shared.readers, limit).await?)
    }

    /// The newest first.
    pub async fn dead_letters(&self, limit: usize) -> Result<Vec<DeadLetter>, StoreError> {
        Ok(read::dead_letters(&self.shared.readers, limit).await?)
    }

    /// Written with the next commit; a mark replaces the one of the same asset and prediction.
    pub async fn save_marks(&self, marks: Vec<WindowMark>) {
        let keyed = |mark: WindowMark| ((mark.asset, mark.prediction), (mark.start, mark.end));
        self.shared.queue().mark(marks.into_iter().map(keyed));
    }

    pub async fn load_marks(&self) -> Result<Vec<WindowMark>, StoreError> {
        Ok(read::marks(&self.shared.readers).await?)
    }

    pub fn stats(&self) -> StoreStats {
        let mut stats = self.shared.gauges.get();
        (stats.db_bytes, stats.wal_bytes) = self.shared.location.sizes();
        stats.outbox = self.shared.outbox().len();
        let queue = self.shared.queue();
        stats.queue_samples = queue.held() as u64;
        stats.disk_failing = queue.failing();
        stats.clock_doubted = !self.clock_is_believed(Timestamp::now());
        stats
    }
}

#[cfg(test)]
mod tests;
