//! From settled receipts to PUBACKs, in the order in which the messages came, as MQTT demands.
//!
//! One [`Acks`] serves one link. Receipts that outlive the link find their channel closed, and
//! that is right: the broker delivers those messages again and they get new packet ids. A
//! receipt that is dropped unsettled asks for a new link, because only then does it do so.

use std::collections::BTreeMap;

use tokio::sync::mpsc;

use crate::sample::Receipt;

/// Batches of one link with unsent PUBACKs. Each holds at least one of the broker's unconfirmed
/// messages, of which MQTT allows 65,535; the queue costs memory only as far as it is used.
const GROUPS: usize = 65_536;

#[derive(Debug)]
pub(super) struct Acks {
    settled: mpsc::Receiver<Group>,
    slips: mpsc::Sender<Group>,
    issued: u64,
    /// Receipts of which the end is known.
    ended: u64,
    /// One of them was dropped unsettled.
    given_up: bool,
    turns: InTurn,
}

/// The packet ids of one batch.
#[derive(Debug)]
struct Group {
    turn: u64,
    /// Absent: given up.
    ids: Option<Vec<u16>>,
}

/// A group that waits for its receipt.
struct Slip {
    turn: u64,
    ids: Option<Vec<u16>>,
    settled: mpsc::Sender<Group>,
}

/// A receipt was dropped unsettled.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct GivenUp;

impl Acks {
    pub(super) fn new() -> Self {
        let (slips, settled) = mpsc::channel(GROUPS);
        let turns = InTurn::default();
        Self { settled, slips, issued: 0, ended: 0, given_up: false, turns }
    }

    /// Confirms `ids` once the receipt is settled and all earlier groups are confirmed.
    pub(super) fn receipt(&mut self, ids: Vec<u16>) -> Receipt {
        let slip = Slip { turn: self.issued, ids: Some(ids), settled: self.slips.clone() };
        self.issued += 1;
        Receipt::new(move || slip.settle())
    }

    /// Confirms `ids` as soon as their turn comes.
    pub(super) fn confirm(&mut self, ids: Vec<u16>) {
        self.receipt(ids).settle();
    }

    /// Waits for ids that may be confirmed now. May be dropped and called again.
    pub(super) async fn next(&mut self) -> Result<Vec<u16>, GivenUp> {
        loop {
            if let Some(ids) = self.turns.pop() {
                return Ok(ids);
            }
            // This holds a sender itself; so the channel does not end.
            let Group { turn, ids } = self.settled.recv().await.ok_or(GivenUp)?;
            self.ended += 1;
            match ids {
                Some(ids) => self.turns.insert(turn, ids),
                None => {
                    self.given_up = true;
                    return Err(GivenUp);
                }
            }
        }
    }

    /// Waits for every receipt that is still out, after the end of the link; whether all were
    /// settled. May be dropped and called again.
    pub(super) async fn rest(&mut self) -> bool {
        while self.ended < self.issued {
            let _too_late_to_confirm = self.next().await;
        }
        !self.given_up
    }

    /// Everything has been confirmed.
    pub(super) const fn is_done(&self) -> bool {
        self.turns.next == self.issued
    }
}

impl Slip {
    fn settle(mut self) {
        let ids = self.ids.take();
        self.send(ids);
    }

    /// Never blocks: whoever settles has better things to do. The link may be gone already.
    fn send(&self, ids: Option<Vec<u16>>) {
        if let Err(mpsc::error::TrySendError::Full(_)) =
            self.settled.try_send(Group { turn: self.turn, ids })
        {
            tracing::warn!("too many receipts at once; the broker will deliver them again");
        }
    }
}

impl Drop for Slip {
    fn drop(&mut self) {
        if self.ids.is_some() {
            self.send(None);
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

    #[tokio::test]
    async fn groups_wait_for_their_turn() {
        let mut acks = Acks::new();
        let first = acks.receipt(vec![1, 2]);
        let second = acks.receipt(vec![3]);
        acks.confirm(vec![4]);
        second.settle();
        assert!(!acks.is_done());
        first.settle();
        for ids in [vec![1, 2], vec![3], vec![4]] {
            assert_eq!(acks.next().await, Ok(ids));
        }
        assert!(acks.is_done());
    }

    #[tokio::test]
    async fn a_dropped_receipt_is_noticed() {
        let mut acks = Acks::new();
        drop(acks.receipt(vec![1]));
        assert_eq!(acks.next().await, Err(GivenUp));
    }

    #[tokio::test]
    async fn the_rest_is_waited_for_and_tells_whether_all_were_settled() {
        let mut acks = Acks::new();
        let [first, second] = [1, 2].map(|id| acks.receipt(vec![id]));
        first.settle();
        assert_eq!(acks.next().await, Ok(vec![1]));
        let waited = tokio::time::timeout(std::time::Duration::from_millis(5), acks.rest()).await;
        assert!(waited.is_err(), "the second is still out");
        second.settle();
        assert!(acks.rest().await);
        drop(acks.receipt(vec![3]));
        assert!(!acks.rest().await);
    }

    #[test]
    fn a_receipt_may_outlive_its_link() {
        let mut acks = Acks::new();
        let receipt = acks.receipt(vec![1]);
        drop(acks);
        receipt.settle();
    }
}
