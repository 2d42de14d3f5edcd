//! In which order the outbox goes over one link: first what is still true, then what is fresh, then
//! the backlog, paced. Pure: the caller reads the outbox and tells the time.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use crate::message::Outgoing;
use crate::store::Backlog;

/// Messages of the backlog handed over at once, and the pause after them: 400 a second, which no
/// subscriber need fear, and a day of one alert a minute in eight seconds.
pub(super) const LATE_BATCH: usize = 16;
const LATE_PAUSE: Duration = Duration::from_millis(40);

#[derive(Debug)]
pub(super) struct Round {
    /// Still true, and not handed over yet.
    states: VecDeque<i64>,
    /// All of them: the backlog passes over them.
    ahead: BTreeSet<i64>,
    /// The backlog ends here.
    end: i64,
    /// Fresh messages up to here have been handed over, ...
    fresh: i64,
    /// ... and these of the backlog.
    late: i64,
    pause: Instant,
}

/// What becomes of a message of the backlog.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    TellLate,
    /// It went ahead of the others.
    Told,
    /// A newer state of the same topic has replaced it.
    Superseded,
}

impl Round {
    pub(super) fn new(backlog: Backlog, now: Instant) -> Self {
        let Backlog { end, states } = backlog;
        let ahead = states.iter().copied().collect();
        Self { states: states.into(), ahead, end, fresh: end, late: 0, pause: now }
    }

    pub(super) fn next_state(&mut self) -> Option<i64> {
        self.states.pop_front()
    }

    /// Fresh messages have greater numbers.
    pub(super) fn fresh(&self) -> i64 {
        self.fresh
    }

    pub(super) fn fresh_told(&mut self, seq: i64) {
        self.fresh = seq;
    }

    /// When the backlog goes on; `None` when there is none left.
    pub(super) fn late_due(&self) -> Option<Instant> {
        (self.late < self.end).then_some(self.pause)
    }

    /// The backlog goes on after this.
    pub(super) fn late(&self) -> i64 {
        self.late
    }

    /// Sorts out `rows`, which are the next of the outbox after [`late`](Self::late).
    pub(super) fn sort_out(&mut self, rows: Vec<Outgoing>, now: Instant) -> Vec<(Outgoing, Fate)> {
        self.pause = now + LATE_PAUSE;
        let mut sorted = Vec::with_capacity(rows.len());
        for row in rows.into_iter().take_while(|row| row.seq <= self.end) {
            let fate = match (row.message.retain, self.ahead.contains(&row.seq)) {
                (false, _) => Fate::TellLate,
                (true, true) => Fate::Told,
                (true, false) => Fate::Superseded,
            };
            sorted.push((row, fate));
        }
        self.late = sorted.last().map_or(self.end, |(row, _)| row.seq);
        sorted
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::message::Message;
    use crate::time::Timestamp;

    fn row(seq: i64, retain: bool) -> Outgoing {
        let message = Message { topic: "t".into(), body: Bytes::new(), retain };
        Outgoing { seq, created: Timestamp::from_secs(0), message }
    }

    #[test]
    fn without_a_backlog_everything_is_fresh() {
        let mut round = Round::new(Backlog::default(), Instant::now());
        assert_eq!((round.next_state(), round.fresh(), round.late_due()), (None, 0, None));
        round.fresh_told(7);
        assert_eq!(round.fresh(), 7);
    }

    #[test]
    fn states_go_ahead_and_replaced_ones_not_at_all() {
        let now = Instant::now();
        let mut round = Round::new(Backlog { end: 4, states: vec![4] }, now);
        assert_eq!((round.next_state(), round.fresh()), (Some(4), 4));
        assert_eq!(round.late_due(), Some(now));
        let rows = vec![row(1, false), row(2, true), row(3, false), row(4, true), row(5, false)];
        let fates: Vec<Fate> =
            round.sort_out(rows, now).into_iter().map(|(_, fate)| fate).collect();
        assert_eq!(fates, [Fate::TellLate, Fate::Superseded, Fate::TellLate, Fate::Told]);
        assert_eq!(round.late_due(), None);
    }

    #[test]
    fn the_backlog_is_paced_and_ends_when_the_outbox_has_no_more_of_it() {
        let now = Instant::now();
        let mut round = Round::new(Backlog { end: 9, states: Vec::new() }, now);
        assert_eq!(round.sort_out(vec![row(3, false)], now).len(), 1);
        assert_eq!((round.late(), round.late_due()), (3, Some(now + LATE_PAUSE)));
        assert!(round.sort_out(vec![row(12, false)], now).is_empty());
        assert_eq!(round.late_due(), None);
    }
}
