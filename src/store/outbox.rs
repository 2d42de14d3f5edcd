//! What is in the outbox, as far as memory goes: the newest committed rows, and the rows that
//! are delivered while their deletion still waits for a commit.

use std::collections::{BTreeMap, BTreeSet};

use crate::message::Outgoing;

/// Rows kept in memory. A fresh alert goes out without a read; a backlog is read from the file.
const MIRRORED: usize = 1024;

#[derive(Debug)]
pub(super) struct Outbox {
    rows: BTreeMap<i64, Outgoing>,
    /// Every row from here on that is not gone stands in `rows`.
    complete_from: i64,
    gone: BTreeSet<i64>,
    length: u64,
}

impl Outbox {
    /// `length` rows are in the file; the next will have the number `next_seq`.
    pub(super) fn new(next_seq: i64, length: u64) -> Self {
        Self { rows: BTreeMap::new(), complete_from: next_seq, gone: BTreeSet::new(), length }
    }

    pub(super) fn committed(&mut self, outgoing: impl Iterator<Item = Outgoing>) {
        for row in outgoing {
            self.length += 1;
            self.rows.insert(row.seq, row);
        }
        while self.rows.len() > MIRRORED
            && let Some((seq, _)) = self.rows.pop_first()
        {
            self.complete_from = seq + 1;
        }
    }

    pub(super) fn gone(&mut self, seq: i64) {
        if self.gone.insert(seq) {
            self.rows.remove(&seq);
            self.length = self.length.saturating_sub(1);
        }
    }

    /// The deletion of these is on disk.
    pub(super) fn deleted(&mut self, seqs: impl Iterator<Item = i64>) {
        for seq in seqs {
            self.gone.remove(&seq);
        }
    }

    /// The rows after `after`, unless the file must be asked.
    pub(super) fn after(&self, after: i64, limit: usize) -> Option<Vec<Outgoing>> {
        let first = after.checked_add(1)?;
        (first >= self.complete_from || self.length == self.rows.len() as u64)
            .then(|| self.rows.range(first..).take(limit).map(|(_, row)| row.clone()).collect())
    }

    pub(super) fn is_gone(&self, seq: i64) -> bool {
        self.gone.contains(&seq)
    }

    pub(super) fn waiting_deletions(&self) -> usize {
        self.gone.len()
    }

    pub(super) fn len(&self) -> u64 {
        self.length
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::message::Message;
    use crate::time::Timestamp;

    fn row(seq: i64) -> Outgoing {
        let message = Message { topic: "t".into(), body: Bytes::new(), retain: false };
        Outgoing { seq, created: Timestamp::from_secs(seq), message }
    }

    fn seqs(rows: Option<Vec<Outgoing>>) -> Option<Vec<i64>> {
        rows.map(|rows| rows.iter().map(|row| row.seq).collect())
    }

    #[test]
    fn old_rows_are_asked_of_the_file_and_new_ones_not() {
        let mut outbox = Outbox::new(10, 3);
        outbox.committed([row(10), row(11), row(12)].into_iter());
        outbox.gone(11);
        assert_eq!(seqs(outbox.after(9, 10)), Some(vec![10, 12]));
        assert_eq!(seqs(outbox.after(0, 10)), None);
        assert_eq!(outbox.len(), 5);
        for seq in [1, 2, 3] {
            outbox.gone(seq);
        }
        assert_eq!(seqs(outbox.after(0, 1)), Some(vec![10]));
    }

    #[test]
    fn memory_is_bounded() {
        let mut outbox = Outbox::new(1, 0);
        outbox.committed((1..=2000).map(row));
        assert_eq!(seqs(outbox.after(0, 1)), None);
        assert_eq!(seqs(outbox.after(1990, 2)), Some(vec![1991, 1992]));
    }
}
