//! Whether the wall clock can be believed: it is held against a monotonic one.
//!
//! A box without a battery boots in 1970, and a wrong time server moves a clock by years. What
//! deletes by age asks here first. A doubt ends when the clock comes back, or when the new time
//! has run steadily for as long as the caller keeps things: whatever is then too old by the
//! new time has really been kept for its age.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::time::Timestamp;

/// 2000-01-01. A clock that says less has not been set; a sample that says less is absurd.
pub const EARLIEST: Timestamp = Timestamp::from_secs(946_684_800);
/// Time servers slew within this; more is a jump.
const TOLERANCE: Duration = Duration::from_secs(60);

/// The event times that are taken at `now`. While the clock is not set it can judge none.
pub fn plausible(now: Timestamp, future: Duration) -> RangeInclusive<Timestamp> {
    if now < EARLIEST {
        return Timestamp::MIN..=Timestamp::MAX;
    }
    EARLIEST..=now.saturating_add(future)
}

/// A reading of both clocks; `steady` counts from any fixed point.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reading {
    pub wall: Timestamp,
    pub steady: Duration,
}

impl Reading {
    /// Whether `later` is what the wall clock should say by now.
    fn agrees_with(self, later: Self) -> bool {
        let expected = self.wall.saturating_add(later.steady.saturating_sub(self.steady));
        later.wall.since(expected).max(expected.since(later.wall)) <= TOLERANCE
    }
}

#[derive(Clone, Copy, Debug)]
pub struct ClockTrust {
    last: Reading,
    /// The last reading that was believed.
    believed: Option<Reading>,
    doubted_since: Option<Duration>,
    /// So long a new time must run steadily.
    patience: Duration,
}

impl ClockTrust {
    /// `last_known`: what the clock said when the program last noted it, in an earlier run.
    pub fn begin(now: Reading, last_known: Option<Timestamp>, patience: Duration) -> Self {
        let away = last_known.is_some_and(|known| now.wall.since(known) > patience);
        let doubted = away || now.wall < EARLIEST;
        Self {
            last: now,
            believed: (!doubted).then_some(now),
            doubted_since: doubted.then_some(now.steady),
            patience,
        }
    }

    /// Takes a reading; true while the clock can be believed.
    #[must_use]
    pub fn observe(&mut self, now: Reading) -> bool {
        let jumped = !self.last.agrees_with(now);
        self.last = now;
        if jumped {
            self.doubted_since = Some(now.steady);
        }
        let back = self.believed.is_some_and(|believed| believed.agrees_with(now));
        let steady = self
            .doubted_since
            .is_none_or(|since| now.steady.saturating_sub(since) >= self.patience);
        let believable = now.wall >= EARLIEST && (back || steady);
        if believable {
            self.doubted_since = None;
            self.believed = Some(now);
        }
        believable
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const YEAR: i64 = 365 * 86_400;
    const START: i64 = 1_800_000_000;
    const PATIENCE: Duration = Duration::from_secs(1000);

    fn reading(wall: i64, steady: u64) -> Reading {
        Reading { wall: Timestamp::from_secs(wall), steady: Duration::from_secs(steady) }
    }

    fn trust(wall: i64, last_known: Option<i64>) -> ClockTrust {
        ClockTrust::begin(reading(wall, 0), last_known.map(Timestamp::from_secs), PATIENCE)
    }

    #[test]
    fn a_clock_that_is_slewed_stays_believed() {
        let mut trust = trust(START, Some(START - 10));
        for step in 1..100_u64 {
            let slewed = i64::try_from(step * 10 + step).unwrap();
            assert!(trust.observe(reading(START + slewed, step * 10)));
        }
    }

    #[test]
    fn fault_14_a_jump_is_doubted_until_the_clock_comes_back() {
        for jump in [YEAR, -3600] {
            let mut trust = trust(START, None);
            assert!(trust.observe(reading(START + 10, 10)));
            assert!(!trust.observe(reading(START + 20 + jump, 20)));
            assert!(!trust.observe(reading(START + 30 + jump, 30)));
            assert!(trust.observe(reading(START + 40, 40)));
        }
    }

    #[test]
    fn fault_14_a_new_time_is_believed_when_it_has_run_for_the_patience() {
        let mut trust = trust(START, None);
        assert!(!trust.observe(reading(START + 10 + YEAR, 10)));
        assert!(!trust.observe(reading(START + 1009 + YEAR, 1009)));
        assert!(trust.observe(reading(START + 1010 + YEAR, 1010)));
    }

    #[test]
    fn fault_13_a_box_that_boots_in_1970_is_doubted_before_and_after_it_is_set() {
        let mut trust = trust(5, Some(START));
        assert!(!trust.observe(reading(5000, 4995)));
        assert!(!trust.observe(reading(START + 5000, 5000)));
        assert!(trust.observe(reading(START + 6000, 6000)));
    }

    #[test]
    fn fault_14_a_start_long_after_the_last_run_is_doubted() {
        assert!(!trust(START + YEAR, Some(START)).observe(reading(START + YEAR + 1, 1)));
        assert!(trust(START + 999, Some(START)).observe(reading(START + 1000, 1)));
    }
}
