//! What waits for the next commit, and when that commit is due.
//!
//! A pure structure: the caller holds the lock and tells the time. Order is kept: a change is
//! only taken when every sample recorded before it was taken before or with it.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::{AlertChange, NewSnapshot};
use crate::ledger::Shed;
use crate::message::{Outgoing, Quarantined};
use crate::sample::Batch;
use crate::settings::StoreSettings;
use crate::time::Timestamp;

/// A broker with a small in-flight window sends nothing more until it is acknowledged:
/// with this many messages waiting ...
const EARLY_MESSAGES: u64 = 16;
/// ... and none coming for this long, the commit starts.
const EARLY_PAUSE: Duration = Duration::from_millis(5);
/// Deletions and the like wait for a commit at most this long.
const CHORE_DELAY: Duration = Duration::from_secs(1);
/// One commit's block holds about this many samples at most, so that an alert never waits long.
const TAKE_SAMPLES: usize = 1 << 18;
/// Payloads waiting to be quarantined; more are dropped, a flood of them looks all the same.
const QUARANTINE_WAITING: usize = 32;
/// Pictures in small that wait; of more the oldest that raised no alert is dropped.
const SNAPSHOTS_WAITING: usize = 64;

#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    interval: Duration,
    commit_samples: usize,
    queue_samples: usize,
}

impl From<&StoreSettings> for Limits {
    fn from(settings: &StoreSettings) -> Self {
        Self {
            interval: settings.commit_interval,
            commit_samples: settings.commit_samples.max(1),
            queue_samples: settings.queue_samples.max(1),
        }
    }
}

/// A change that waits for its commit, its outbox numbers already given.
#[derive(Debug)]
pub(super) struct PendingChange {
    pub(super) change: AlertChange,
    pub(super) first_seq: i64,
    pub(super) reply: oneshot::Sender<Vec<i64>>,
    /// Batches numbered below this were recorded before.
    barrier: u64,
}

impl PendingChange {
    pub(super) fn seqs(&self) -> Range<i64> {
        let messages = i64::try_from(self.change.messages.len()).unwrap_or(i64::MAX);
        self.first_seq..self.first_seq.saturating_add(messages)
    }

    pub(super) fn outgoing(&self) -> impl Iterator<Item = Outgoing> + '_ {
        (self.first_seq..).zip(&self.change.messages).map(|(seq, message)| Outgoing {
            seq,
            created: self.change.at,
            message: message.clone(),
        })
    }
}

/// Small things that ride on the next commit.
#[derive(Debug, Default)]
pub(super) struct Chores {
    pub(super) delivered: Vec<i64>,
    pub(super) dead: Vec<(i64, String)>,
    pub(super) quarantined: Vec<Quarantined>,
    /// Numbered.
    pub(super) snapshots: Vec<(i64, NewSnapshot)>,
    /// (asset, prediction) to (start, end), as in a `WindowMark`.
    pub(super) marks: BTreeMap<(String, String), (Timestamp, Timestamp)>,
}

impl Chores {
    pub(super) fn is_empty(&self) -> bool {
        self.delivered.is_empty()
            && self.dead.is_empty()
            && self.quarantined.is_empty()
            && self.snapshots.is_empty()
            && self.marks.is_empty()
    }

    /// Puts back what `self` took out; what came since is newer.
    fn merge_into(mut self, newer: &mut Self) {
        self.delivered.append(&mut newer.delivered);
        self.dead.append(&mut newer.dead);
        self.quarantined.append(&mut newer.quarantined);
        self.snapshots.append(&mut newer.snapshots);
        self.marks.append(&mut newer.marks);
        *newer = self;
    }
}

#[derive(Debug)]
struct Entry {
    number: u64,
    batch: Batch,
}

/// One commit's worth.
#[derive(Debug, Default)]
pub(super) struct Work {
    entries: Vec<Entry>,
    pub(super) samples: usize,
    pub(super) changes: Vec<PendingChange>,
    pub(super) chores: Chores,
    since: Option<Instant>,
}

impl Work {
    pub(super) fn batches(&self) -> impl Iterator<Item = &Batch> {
        self.entries.iter().map(|entry| &entry.batch)
    }

    pub(super) fn into_parts(self) -> (impl Iterator<Item = Batch>, Vec<PendingChange>) {
        (self.entries.into_iter().map(|entry| entry.batch), self.changes)
    }
}

#[derive(Debug)]
#[must_use]
pub(super) enum Offer {
    /// `wake`: the writer's plans change.
    Queued { wake: bool },
    /// There is no room; offer it again after the next commit.
    Full(Batch),
    /// There is no room and nobody to wait, or the store is closed.
    Refused(Batch, Shed),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    Now,
    At(Instant),
    Never,
}

#[derive(Debug)]
pub(super) struct Queue {
    limits: Limits,
    entries: VecDeque<Entry>,
    next_number: u64,
    samples: usize,
    /// Samples the writer has taken and not yet committed.
    writing: usize,
    /// Messages whose senders wait for a receipt.
    messages: u64,
    last_message: Option<Instant>,
    since: Option<Instant>,
    changes: VecDeque<PendingChange>,
    next_seq: i64,
    next_snapshot: i64,
    chores: Chores,
    chores_since: Option<Instant>,
    failing: bool,
    closed: bool,
}

impl Queue {
    /// `next_seq` is the first outbox number that was never used.
    pub(super) fn new(limits: Limits, next_seq: i64) -> Self {
        Self {
            limits,
            entries: VecDeque::new(),
            next_number: 0,
            samples: 0,
            writing: 0,
            messages: 0,
            last_message: None,
            since: None,
            changes: VecDeque::new(),
            next_seq,
            next_snapshot: 1,
            chores: Chores::default(),
            chores_since: None,
            failing: false,
            closed: false,
        }
    }

    /// Also gives the older batches that were given up for this one: while the disk fails,
    /// what is new is worth more.
    pub(super) fn offer(&mut self, batch: Batch, now: Instant) -> (Offer, Vec<Batch>) {
        if self.closed {
            return (Offer::Refused(batch, Shed::StoreQueue), Vec::new());
        }
        let mut displaced = Vec::new();
        if self.failing && self.held() >= self.limits.queue_samples {
            displaced = self.displace(batch.samples.len());
        }
        let offer = if self.held() < self.limits.queue_samples {
            Offer::Queued { wake: self.push(batch, now) }
        } else if batch.receipt.is_some() {
            Offer::Full(batch)
        } else {
            Offer::Refused(batch, if self.failing { Shed::Disk } else { Shed::StoreQueue })
        };
        (offer, displaced)
    }

    fn push(&mut self, batch: Batch, now: Instant) -> bool {
        let (samples, messages) = (self.samples, self.messages);
        self.samples += batch.samples.len();
        if batch.receipt.is_some() {
            self.messages += u64::from(batch.messages);
            self.last_message = Some(now);
        }
        let first = self.since.is_none();
        self.since.get_or_insert(now);
        self.entries.push_back(Entry { number: self.next_number, batch });
        self.next_number += 1;
        first
            || (samples < self.limits.commit_samples && self.samples >= self.limits.commit_samples)
            || (messages < EARLY_MESSAGES && self.messages >= EARLY_MESSAGES)
    }

    /// Removes the oldest batches that nobody waits for until `room` more samples fit.
    fn displace(&mut self, room: usize) -> Vec<Batch> {
        let most = self.limits.queue_samples.saturating_sub(room);
        let mut displaced = Vec::new();
        let mut kept = VecDeque::with_capacity(self.entries.len());
        while let Some(entry) = self.entries.pop_front() {
            if self.held() <= most {
                self.entries.push_front(entry);
                break;
            }
            if entry.batch.receipt.is_some() {
                kept.push_back(entry);
            } else {
                self.samples -= entry.batch.samples.len();
                displaced.push(entry.batch);
            }
        }
        while let Some(entry) = kept.pop_back() {
            self.entries.push_front(entry);
        }
        displaced
    }

    /// Numbers the change's messages; `None` when the store is closed.
    pub(super) fn change(
        &mut self,
        change: AlertChange,
        reply: oneshot::Sender<Vec<i64>>,
    ) -> Option<()> {
        if self.closed {
            return None;
        }
        let first_seq = self.next_seq;
        self.next_seq += i64::try_from(change.messages.len()).unwrap_or(i64::MAX);
        let barrier = self.next_number;
        self.changes.push_back(PendingChange { change, first_seq, reply, barrier });
        Some(())
    }

    /// Adds small things; says whether the writer must hear of it.
    pub(super) fn chore(&mut self, now: Instant, add: impl FnOnce(&mut Chores)) -> bool {
        if self.closed {
            return false;
        }
        add(&mut self.chores);
        let first = self.chores_since.is_none();
        self.chores_since.get_or_insert(now);
        first
    }

    /// Marks go with the next commit and never cause one.
    pub(super) fn mark(
        &mut self,
        marks: impl Iterator<Item = ((String, String), (Timestamp, Timestamp))>,
    ) {
        if !self.closed {
            self.chores.marks.extend(marks);
        }
    }

    /// Whether it was taken.
    pub(super) fn quarantine(&mut self, item: Quarantined, now: Instant) -> (bool, bool) {
        if self.closed || self.chores.quarantined.len() >= QUARANTINE_WAITING {
            return (false, false);
        }
        (true, self.chore(now, |chores| chores.quarantined.push(item)))
    }

    /// Numbers below `next` have been used.
    pub(super) fn snapshots_from(&mut self, next: i64) {
        self.next_snapshot = next;
    }

    /// Numbers it. Whether one was lost, and whether the writer must hear of it.
    pub(super) fn snapshot(&mut self, snapshot: NewSnapshot, now: Instant) -> (bool, bool) {
        if self.closed {
            return (true, false);
        }
        let waiting = &mut self.chores.snapshots;
        let mut lost = false;
        if waiting.len() >= SNAPSHOTS_WAITING {
            let plain = waiting.iter().position(|(_, waiting)| waiting.alert_id.is_none());
            waiting.remove(plain.unwrap_or(0));
            lost = true;
        }
        let id = self.next_snapshot.max(snapshot.at.as_nanos() / 1000);
        self.next_snapshot = id.saturating_add(1);
        (lost, self.chore(now, |chores| chores.snapshots.push((id, snapshot))))
    }

    pub(super) fn due(&self, now: Instant) -> Due {
        if !self.changes.is_empty() || self.samples >= self.limits.commit_samples {
            return Due::Now;
        }
        let by_age = self.since.map(|since| since + self.limits.interval);
        let by_pause = self
            .last_message
            .filter(|_| self.messages >= EARLY_MESSAGES)
            .map(|last| last + EARLY_PAUSE);
        let by_chore = self.chores_since.map(|since| since + CHORE_DELAY);
        match [by_age, by_pause, by_chore].into_iter().flatten().min() {
            Some(at) if at <= now => Due::Now,
            Some(at) => Due::At(at),
            None => Due::Never,
        }
    }

    /// Takes the next commit's worth, oldest first.
    pub(super) fn take(&mut self) -> Work {
        let mut work = Work { since: self.since, ..Work::default() };
        while work.samples < TAKE_SAMPLES
            && let Some(entry) = self.entries.pop_front()
        {
            work.samples += entry.batch.samples.len();
            if entry.batch.receipt.is_some() {
                self.messages -= u64::from(entry.batch.messages);
            }
            work.entries.push(entry);
        }
        let front = self.entries.front().map_or(self.next_number, |entry| entry.number);
        while self.changes.front().is_some_and(|change| change.barrier <= front) {
            work.changes.extend(self.changes.pop_front());
        }
        work.chores = std::mem::take(&mut self.chores);
        self.chores_since = None;
        self.samples -= work.samples;
        self.writing += work.samples;
        if self.entries.is_empty() {
            self.since = None;
        }
        work
    }

    /// Takes whatever is left, and counts what the writer had in hand: it is given up.
    pub(super) fn take_all(&mut self) -> Work {
        let mut all = Work { changes: self.changes.drain(..).collect(), ..Work::default() };
        all.entries.extend(self.entries.drain(..));
        all.samples = self.held();
        (self.samples, self.writing) = (0, 0);
        all
    }

    /// The commit of `work` failed: it goes back to where it was.
    pub(super) fn put_back(&mut self, work: Work, now: Instant) {
        self.failing = true;
        self.writing -= work.samples;
        self.samples += work.samples;
        for entry in work.entries.into_iter().rev() {
            if entry.batch.receipt.is_some() {
                self.messages += u64::from(entry.batch.messages);
            }
            self.entries.push_front(entry);
        }
        for change in work.changes.into_iter().rev() {
            self.changes.push_front(change);
        }
        if !self.entries.is_empty() {
            self.since = work.since.or(self.since).or(Some(now));
        }
        if !work.chores.is_empty() {
            work.chores.merge_into(&mut self.chores);
            self.chores_since.get_or_insert(now);
        }
    }

    /// The highest outbox number given so far.
    pub(super) fn last_seq(&self) -> i64 {
        self.next_seq - 1
    }

    pub(super) fn committed(&mut self, samples: usize) {
        self.failing = false;
        self.writing -= samples;
    }

    pub(super) fn close(&mut self) {
        self.closed = true;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.changes.is_empty() && self.chores.is_empty()
    }

    pub(super) fn held(&self) -> usize {
        self.samples + self.writing
    }

    pub(super) fn failing(&self) -> bool {
        self.failing
    }
}

#[cfg(test)]
mod tests;
