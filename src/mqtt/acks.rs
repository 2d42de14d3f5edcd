//! From settled receipts to PUBACKs, in the order in which the messages came, as MQTT demands.
//!
//! One [`Acks`] serves one link. Receipts that outlive the link find their channel closed, and
//! that is right: the broker delivers those messages again and they get new packet ids. A
//! receipt that is dropped unsettled asks for a new link, because only then does it do so.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use tokio::sync::{Notify, mpsc};
use tokio_util::task::AbortOnDropHandle;

use super::connection::Requests;
use crate::sample::Receipt;

/// Batches of one link with unsent PUBACKs. Each holds at least one of the broker's unconfirmed
/// messages, of which MQTT allows 65,535; the queue costs memory only as far as it is used.
const GROUPS: usize = 65_536;

#[derive(Debug)]
pub(super) struct Acks {
    groups: mpsc::Sender<Group>,
    next: u64,
    shared: Arc<Shared>,
    _task: AbortOnDropHandle<()>,
}

#[derive(Debug, Default)]
struct Shared {
    /// Groups whose PUBACKs are with the link.
    done: AtomicU64,
    progress: Notify,
    given_up: Notify,
}

/// The packet ids of one batch.
#[derive(Debug)]
struct Group {
    turn: u64,
    ids: Vec<u16>,
}

/// A group that waits for its receipt.
struct Slip {
    group: Option<Group>,
    groups: mpsc::Sender<Group>,
    shared: Arc<Shared>,
}

impl Acks {
    /// Starts the task that sends the PUBACKs; it ends with this.
    pub(super) fn new(requests: Requests) -> Self {
        let (groups, settled) = mpsc::channel(GROUPS);
        let shared = Arc::new(Shared::default());
        let task = tokio::spawn(send(settled, requests, Arc::clone(&shared)));
        Self { groups, next: 0, shared, _task: AbortOnDropHandle::new(task) }
    }

    /// Confirms `ids` once the receipt is settled and all earlier groups are confirmed.
    pub(super) fn receipt(&mut self, ids: Vec<u16>) -> Receipt {
        let slip = self.slip(ids);
        Receipt::new(move || slip.settle())
    }

    /// Confirms `ids` as soon as their turn comes.
    pub(super) fn confirm(&mut self, ids: Vec<u16>) {
        self.slip(ids).settle();
    }

    /// Every group has been confirmed.
    pub(super) fn all_sent(&self) -> bool {
        self.shared.done.load(Relaxed) == self.next
    }

    /// Waits until another group has been confirmed.
    pub(super) async fn progress(&self) {
        self.shared.progress.notified().await;
    }

    /// Waits until a receipt is dropped unsettled.
    pub(super) async fn given_up(&self) {
        self.shared.given_up.notified().await;
    }

    fn slip(&mut self, ids: Vec<u16>) -> Slip {
        let group = Group { turn: self.next, ids };
        self.next += 1;
        Slip { group: Some(group), groups: self.groups.clone(), shared: Arc::clone(&self.shared) }
    }
}

impl Slip {
    /// Never blocks: whoever settles has better things to do.
    fn settle(mut self) {
        if let Some(group) = self.group.take()
            && let Err(mpsc::error::TrySendError::Full(_)) = self.groups.try_send(group)
        {
            self.shared.given_up.notify_one();
        }
    }
}

impl Drop for Slip {
    fn drop(&mut self) {
        if self.group.is_some() {
            self.shared.given_up.notify_one();
        }
    }
}

async fn send(mut settled: mpsc::Receiver<Group>, requests: Requests, shared: Arc<Shared>) {
    let mut turns = InTurn::default();
    while let Some(group) = settled.recv().await {
        turns.insert(group.turn, group.ids);
        while let Some(ids) = turns.pop() {
            for id in ids {
                if requests.ack(id).await.is_err() {
                    return;
                }
            }
            shared.done.fetch_add(1, Relaxed);
            shared.progress.notify_one();
        }
    }
}

/// Gives things back in the order of their numbers, however they were put in.
#[derive(Debug, Default)]
struct InTurn {
    next: u64,
    early: BTreeMap<u64, Vec<u16>>,
}

impl InTurn {
    fn insert(&mut self, turn: u64, ids: Vec<u16>) {
        self.early.insert(turn, ids);
    }

    fn pop(&mut self) -> Option<Vec<u16>> {
        let ids = self.early.remove(&self.next)?;
        self.next += 1;
        Some(ids)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_wait_for_their_turn() {
        let mut turns = InTurn::default();
        turns.insert(1, vec![3]);
        assert_eq!(turns.pop(), None);
        turns.insert(0, vec![1, 2]);
        assert_eq!(turns.pop(), Some(vec![1, 2]));
        assert_eq!(turns.pop(), Some(vec![3]));
        assert_eq!(turns.pop(), None);
    }
}
