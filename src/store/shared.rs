//! What the handles and the writer share.

use std::sync::{Arc, Mutex, MutexGuard};

use sqlx::sqlite::SqlitePool;
use tokio::sync::{Notify, watch};

use super::clock::StoredClock;
use super::connect::Location;
use super::outbox::Outbox;
use super::queue::{Queue, Work};
use super::stats::Gauges;
use crate::ledger::{Ledger, Shed};
use crate::sample::Batch;

pub(super) struct Shared {
    queue: Mutex<Queue>,
    outbox: Mutex<Outbox>,
    /// Tells the writer that a commit may be due sooner than it thinks.
    pub(super) wake: Notify,
    /// Tells those who are held back that there may be room.
    pub(super) space: Notify,
    pub(super) changed: watch::Sender<i64>,
    pub(super) gauges: Gauges,
    pub(super) clock: StoredClock,
    pub(super) ledger: Arc<Ledger>,
    pub(super) readers: SqlitePool,
    pub(super) location: Location,
}

impl Shared {
    pub(super) fn new(
        queue: Queue,
        outbox: Outbox,
        last_seq: i64,
        clock: StoredClock,
        ledger: Arc<Ledger>,
        location: Location,
    ) -> Self {
        Self {
            queue: Mutex::new(queue),
            outbox: Mutex::new(outbox),
            wake: Notify::new(),
            space: Notify::new(),
            changed: watch::Sender::new(last_seq),
            gauges: Gauges::default(),
            clock,
            ledger,
            readers: location.readers(),
            location,
        }
    }

    pub(super) fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().expect("no code panics while it holds the queue")
    }

    pub(super) fn outbox(&self) -> MutexGuard<'_, Outbox> {
        self.outbox.lock().expect("no code panics while it holds the outbox")
    }

    /// After a commit: count, let alerts go, then answer the sources. No lock is held while a
    /// receipt runs.
    pub(super) fn settle(&self, work: Work) {
        self.ledger.store(work.samples as u64);
        self.queue().committed(work.samples);
        self.space.notify_waiters();
        let gone = work.chores.delivered.iter().copied();
        let dead = work.chores.dead.iter().map(|(seq, _)| *seq);
        {
            let mut outbox = self.outbox();
            outbox.deleted(gone.chain(dead));
            for change in &work.changes {
                outbox.committed(change.outgoing());
            }
        }
        let dead = work.chores.dead.len() as u64;
        if dead > 0 {
            self.gauges.update(|stats| stats.dead_letters += dead);
        }
        let (batches, changes) = work.into_parts();
        let last_seq = changes.iter().map(|change| change.seqs().end - 1).max();
        for change in changes {
            let seqs = change.seqs().collect();
            drop(change.reply.send(seqs));
        }
        if let Some(seq) = last_seq {
            self.changed.send_if_modified(|last| {
                let newer = seq > *last;
                *last = seq.max(*last);
                newer
            });
        }
        for receipt in batches.filter_map(|batch| batch.receipt) {
            receipt.settle();
        }
    }

    pub(super) fn shed(&self, batches: &[Batch], reason: Shed) {
        let samples: usize = batches.iter().map(|batch| batch.samples.len()).sum();
        self.ledger.shed(reason, samples as u64);
    }

    /// Nothing more is taken in; who waits for room is turned away.
    pub(super) fn close(&self) {
        self.queue().close();
        self.space.notify_waiters();
    }

    /// Gives up what is still queued: counted, its receipts unsettled, its changes refused.
    pub(super) fn abandon(&self) {
        let work = self.queue().take_all();
        if work.samples > 0 {
            tracing::error!(samples = work.samples, "Samples were not written before the end.");
            self.ledger.shed(Shed::Disk, work.samples as u64);
        }
    }
}
