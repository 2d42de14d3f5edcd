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

/// Follows the steps of the wall clock, so that what waits for a time waits no longer and no shorter.
#[derive(Clone, Copy, Debug, Default)]
pub struct Steps {
    last: Option<Reading>,
    /// Nanoseconds.
    behind: i64,
}

/// No slewing moves a clock so far between two looks.
const STEP: Duration = Duration::from_secs(1);

impl Steps {
    /// `behind`: what the life before is known to have been ahead.
    pub fn begin(behind: Duration) -> Self {
        Self { last: None, behind: i64::try_from(behind.as_nanos()).unwrap_or(i64::MAX) }
    }

    /// By how many nanoseconds the clock was stepped since the last look; mostly by none.
    pub fn observe(&mut self, now: Reading) -> i64 {
        let Some(last) = self.last.replace(now) else { return 0 };
        let expected = last.wall.saturating_add(now.steady.saturating_sub(last.steady));
        let by = now.wall.as_nanos().saturating_sub(expected.as_nanos());
        if Duration::from_nanos(by.unsigned_abs()) < STEP {
            return 0;
        }
        self.behind = self.behind.saturating_sub(by).max(0);
        by
    }

    /// How far the clock has been stepped back. Others may have kept the time it had before: so
    /// much further ahead of it their samples may lie.
    pub const fn behind(&self) -> Duration {
        Duration::from_nanos(self.behind.unsigned_abs())
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
    fn fault_14_steps_are_told_and_slewing_is_none() {
        let mut steps = Steps::default();
        let hour = 3_600_000_000_000;
        assert_eq!(steps.observe(reading(START, 10)), 0);
        assert_eq!(steps.observe(reading(START + 100, 110)), 0);
        assert_eq!(steps.observe(reading(START + 110 + 3600, 120)), hour);
        assert_eq!(steps.behind(), Duration::ZERO, "it was behind before");
        assert_eq!(steps.observe(reading(START + 110, 120)), -hour);
        assert_eq!(steps.behind(), Duration::from_secs(3600));
        assert_eq!(steps.observe(reading(START + 110 + 600, 120)), hour / 6);
        assert_eq!(steps.behind(), Duration::from_secs(3000));
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
