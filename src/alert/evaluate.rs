//! Scores to "it is on" and "it is over": hysteresis, N of M, delays in event time.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::AlertSpec;
use crate::settings::Direction;
use crate::time::Timestamp;

/// Longest history that N of M may look back on; a longer one is cut to this.
const LONGEST_HISTORY: u32 = 4096;

/// An alert policy, complete and consistent.
#[derive(Clone, Debug)]
pub(super) struct Decision {
    pub(super) raise: f64,
    pub(super) clear: f64,
    direction: Direction,
    n: usize,
    m: usize,
    on_delay: Duration,
    off_delay: Duration,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Edge {
    Up,
    Down,
}

/// What has to be remembered between verdicts. Part of the stored record.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Memory {
    /// The condition is on.
    pub(super) alarm: bool,
    history: History,
    /// Since when the condition for the other side has held without a break.
    since: Option<Timestamp>,
}

impl Decision {
    pub(super) fn new(spec: &AlertSpec) -> Self {
        let policy = &spec.policy;
        let raise = policy.raise.expect("the caller brings a policy with `raise`");
        let direction = policy.direction.unwrap_or_default();
        let clear = policy.clear.unwrap_or(raise);
        // A clear beyond raise would let one score mean both.
        let clear = match direction {
            Direction::Above => clear.min(raise),
            Direction::Below => clear.max(raise),
        };
        let n = policy.n.unwrap_or(1).clamp(1, LONGEST_HISTORY);
        let m = policy.m.unwrap_or(n).clamp(n, LONGEST_HISTORY);
        Self {
            raise,
            clear,
            direction,
            n: n as usize,
            m: m as usize,
            on_delay: policy.on_delay.unwrap_or_default(),
            off_delay: policy.off_delay.unwrap_or_default(),
        }
    }

    fn mark(&self, score: f64) -> Mark {
        let beyond = |limit: f64| match self.direction {
            Direction::Above => score >= limit,
            Direction::Below => score <= limit,
        };
        if beyond(self.raise) {
            Mark::Hit
        } else if beyond(self.clear) && self.clear != self.raise {
            Mark::Held
        } else {
            Mark::Fine
        }
    }
}

impl Memory {
    /// Of a condition that is known and nothing else.
    pub(super) fn of(alarm: bool) -> Self {
        Self { alarm, ..Self::default() }
    }

    /// The clock that its times come from was stepped by `nanos`.
    pub(super) fn stepped(&mut self, nanos: i64) {
        self.since = self.since.map(|since| since.stepped(nanos));
    }

    /// Takes the next score, of a window that ends at `at`.
    pub(super) fn judge(&mut self, decision: &Decision, score: f64, at: Timestamp) -> Option<Edge> {
        self.history.push(decision.mark(score), decision.m);
        let (turns, delay) = if self.alarm {
            (self.history.held < decision.n, decision.off_delay)
        } else {
            (self.history.hits >= decision.n, decision.on_delay)
        };
        if !turns {
            self.since = None;
            return None;
        }
        let since = *self.since.get_or_insert(at);
        if at.since(since) < delay {
            return None;
        }
        self.since = None;
        self.alarm = !self.alarm;
        Some(if self.alarm { Edge::Up } else { Edge::Down })
    }

    /// Takes over a stored memory. The configuration may ask for more than is remembered; an
    /// alarm must not clear because of that.
    pub(super) fn resume(&mut self, decision: &Decision) {
        let is_clearing = self.since.is_some();
        while self.alarm && !is_clearing && self.history.held < decision.n {
            self.history.push(Mark::Held, decision.m);
        }
    }

    /// Verdicts are missing between what is remembered and what comes.
    pub(super) fn forget(&mut self) {
        self.since = None;
        if !self.alarm {
            self.history = History::default();
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Mark {
    /// On the good side of `clear`.
    Fine,
    /// Between `clear` and `raise`.
    Held,
    /// At or beyond `raise`.
    Hit,
}

/// The last verdicts, oldest first; as text one digit each.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
struct History {
    marks: VecDeque<Mark>,
    hits: usize,
    /// At or beyond `clear`, the hits included.
    held: usize,
}

impl History {
    fn push(&mut self, mark: Mark, limit: usize) {
        while self.marks.len() >= limit {
            let Some(oldest) = self.marks.pop_front() else { break };
            self.hits -= usize::from(oldest == Mark::Hit);
            self.held -= usize::from(oldest != Mark::Fine);
        }
        self.hits += usize::from(mark == Mark::Hit);
        self.held += usize::from(mark != Mark::Fine);
        self.marks.push_back(mark);
    }
}

impl From<History> for String {
    fn from(history: History) -> Self {
        let digit = |mark: &Mark| match mark {
            Mark::Fine => '0',
            Mark::Held => '1',
            Mark::Hit => '2',
        };
        history.marks.iter().map(digit).collect()
    }
}

impl TryFrom<String> for History {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let mut history = Self::default();
        for digit in text.chars() {
            let mark = match digit {
                '0' => Mark::Fine,
                '1' => Mark::Held,
                '2' => Mark::Hit,
                other => return Err(format!("`{other}` in a history of 0, 1 and 2")),
            };
            history.push(mark, LONGEST_HISTORY as usize);
        }
        Ok(history)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::AlertPolicy;
    use crate::verdict::PredictionId;

    fn decision(policy: AlertPolicy) -> Decision {
        Decision::new(&AlertSpec::prediction(PredictionId(0), "p", policy))
    }

    /// One character a score, one second apart: `^` up, `v` down, `.` nothing.
    fn play(policy: AlertPolicy, scores: &[f64]) -> String {
        let decision = decision(policy);
        let mut memory = Memory::default();
        let mut step = |(second, &score): (usize, &f64)| match memory.judge(
            &decision,
            score,
            Timestamp::from_secs(second as i64),
        ) {
            Some(Edge::Up) => '^',
            Some(Edge::Down) => 'v',
            None => '.',
        };
        scores.iter().enumerate().map(&mut step).collect()
    }

    fn raise(raise: f64) -> AlertPolicy {
        AlertPolicy { raise: Some(raise), ..AlertPolicy::default() }
    }

    #[test]
    fn raise_counts_at_the_limit_and_clear_below_it() {
        assert_eq!(play(raise(1.0), &[0.9, 1.0, 1.0, 0.99]), ".^.v");
    }

    #[test]
    fn hysteresis_holds_between_the_limits() {
        let policy = AlertPolicy { clear: Some(0.5), ..raise(1.0) };
        assert_eq!(play(policy, &[0.7, 1.0, 0.7, 0.5, 0.49, 0.7]), ".^..v.");
    }

    #[test]
    fn below_turns_the_scale_around() {
        let policy =
            AlertPolicy { clear: Some(20.0), direction: Some(Direction::Below), ..raise(10.0) };
        assert_eq!(play(policy, &[15.0, 10.0, 19.0, 20.0, 20.1]), ".^..v");
    }

    #[test]
    fn a_clear_limit_on_the_wrong_side_is_the_raise_limit() {
        assert_eq!(play(AlertPolicy { clear: Some(2.0), ..raise(1.0) }, &[1.5, 1.5, 0.9]), "^.v");
    }

    #[test]
    fn n_of_m_counts_the_last_m() {
        let policy = AlertPolicy { n: Some(2), m: Some(3), ..raise(1.0) };
        assert_eq!(play(policy, &[1.0, 0.0, 0.0, 1.0, 0.0, 1.0, 0.0, 0.0]), ".....^v.");
    }

    #[test]
    fn n_alone_means_n_in_a_row() {
        let policy = AlertPolicy { n: Some(3), ..raise(1.0) };
        assert_eq!(play(policy, &[1.0, 1.0, 0.0, 1.0, 1.0, 1.0, 0.0]), ".....^v");
    }

    #[test]
    fn delays_count_event_time_without_a_break() {
        let policy = AlertPolicy {
            on_delay: Some(Duration::from_secs(2)),
            off_delay: Some(Duration::from_secs(1)),
            ..raise(1.0)
        };
        let scores = [1.0, 1.0, 0.0, 1.0, 1.0, 1.0, 0.0, 1.0, 0.0, 0.0];
        assert_eq!(play(policy, &scores), ".....^...v");
    }

    #[test]
    fn a_restored_alarm_does_not_clear_on_a_bad_score_when_n_has_grown() {
        let mut memory = Memory::default();
        let old = decision(raise(1.0));
        assert_eq!(memory.judge(&old, 1.0, Timestamp::from_secs(0)), Some(Edge::Up));
        let new = decision(AlertPolicy { n: Some(3), m: Some(5), ..raise(1.0) });
        memory.resume(&new);
        assert_eq!(memory.judge(&new, 1.0, Timestamp::from_secs(1)), None);
    }
}
