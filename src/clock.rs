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
/// A start so soon after a time in doubt goes on with that doubt, whatever the new time is near to.
const RESTART: Duration = Duration::from_secs(600);

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

/// What one life leaves to the next about a clock that it did not believe.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Doubt {
    /// What the clock should have said then, by the last time that was believed; none if none was.
    pub believed: Option<Timestamp>,
    /// What the clock said when this was noted, ...
    pub wall: Timestamp,
    /// ... and for how long it had run steadily by then.
    pub ran: Duration,
}

/// What is known of the clock at a start, from an earlier life.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Heritage {
    Nothing,
    /// It was believed, and said this when it was last noted.
    Believed(Timestamp),
    Doubted(Doubt),
}

#[derive(Clone, Copy, Debug)]
pub struct ClockTrust {
    last: Reading,
    /// The last reading that was believed.
    believed: Option<Reading>,
    /// The last time that an earlier life believed, while this one has believed none.
    inherited: Option<Timestamp>,
    doubted: Option<Doubted>,
    /// So long a new time must run steadily.
    patience: Duration,
}

#[derive(Clone, Copy, Debug)]
struct Doubted {
    /// By the steady clock.
    since: Duration,
    /// How long the same time had run in the life before.
    before: Duration,
}

impl Doubted {
    fn ran(self, now: Reading) -> Duration {
        now.steady.saturating_sub(self.since).saturating_add(self.before)
    }
}

impl ClockTrust {
    /// How long the program was away cannot be known: after a start, any time within `patience`
    /// of the last one that was believed is taken to be right.
    pub fn begin(now: Reading, heritage: Heritage, patience: Duration) -> Self {
        let mut trust =
            Self { last: now, believed: None, inherited: None, doubted: None, patience };
        let ran = match heritage {
            Heritage::Nothing => None,
            Heritage::Believed(known) => {
                trust.inherited = Some(known);
                let off = now.wall.since(known) > patience || known.since(now.wall) > TOLERANCE;
                off.then_some(Duration::ZERO)
            }
            Heritage::Doubted(Doubt { believed, wall, ran }) => {
                let away = now.wall.since(wall);
                if wall <= now.wall && away <= RESTART {
                    let right = |believed: Timestamp| believed.saturating_add(away);
                    trust.believed = believed.map(|b| Reading { wall: right(b), ..now });
                } else {
                    trust.inherited = believed;
                }
                let goes_on = wall <= now.wall && away <= patience;
                Some(if goes_on { ran } else { Duration::ZERO })
            }
        };
        let unset = (now.wall < EARLIEST).then_some(Duration::ZERO);
        trust.doubted = unset.or(ran).map(|before| Doubted { since: now.steady, before });
        if trust.doubted.is_none() || trust.is_back(now) {
            trust.believe(now);
        }
        trust
    }

    /// Takes a reading; true while the clock can be believed.
    pub fn observe(&mut self, now: Reading) -> bool {
        if !self.last.agrees_with(now) {
            self.doubted = Some(Doubted { since: now.steady, before: Duration::ZERO });
        }
        self.last = now;
        let steady = self.doubted.is_none_or(|doubted| doubted.ran(now) >= self.patience);
        let believable = now.wall >= EARLIEST && (steady || self.is_back(now));
        if believable {
            self.believe(now);
        }
        believable
    }

    /// What the next life must know if this one ended now; nothing while the clock is believed.
    pub fn doubt(&self) -> Option<Doubt> {
        let doubted = self.doubted?;
        let right = |known: Reading| {
            known.wall.saturating_add(self.last.steady.saturating_sub(known.steady))
        };
        let believed = self.believed.map(right).or(self.inherited);
        Some(Doubt { believed, wall: self.last.wall, ran: doubted.ran(self.last) })
    }

    fn believe(&mut self, now: Reading) {
        self.doubted = None;
        self.believed = Some(now);
        self.inherited = None;
    }

    /// Whether this goes on from the last time that was believed.
    fn is_back(&self, now: Reading) -> bool {
        let goes_on = |known| {
            now.wall >= EARLIEST && known <= now.wall && now.wall.since(known) <= self.patience
        };
        match self.believed {
            Some(believed) => believed.agrees_with(now),
            None => self.inherited.is_some_and(goes_on),
        }
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
        let known = |at| Heritage::Believed(Timestamp::from_secs(at));
        ClockTrust::begin(reading(wall, 0), last_known.map_or(Heritage::Nothing, known), PATIENCE)
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

    /// The next life of a trust, `ran` seconds old, at another wall time.
    fn next_life(before: &ClockTrust, wall: i64) -> ClockTrust {
        let heritage = Heritage::Doubted(before.doubt().unwrap());
        ClockTrust::begin(reading(wall, 0), heritage, PATIENCE)
    }

    #[test]
    fn fault_14_a_start_before_the_last_run_is_doubted_until_the_clock_is_set() {
        let mut trust = trust(START - YEAR, Some(START));
        assert!(!trust.observe(reading(START - YEAR + 1, 1)));
        assert!(trust.observe(reading(START + 30, 2)));
    }

    #[test]
    fn fault_14_a_restart_does_not_believe_a_time_that_was_in_doubt() {
        let mut trust = trust(START, None);
        assert!(!trust.observe(reading(START + 10 + YEAR, 10)));
        let mut next = next_life(&trust, START + 30 + YEAR);
        assert!(!next.observe(reading(START + 31 + YEAR, 1)));
        assert_eq!(next.doubt().unwrap().believed, Some(Timestamp::from_secs(START + 31)));
        // The right time, a while after it was last believed.
        let mut right = next_life(&next, START + 500);
        assert!(right.observe(reading(START + 501, 1)));
        assert_eq!(right.doubt(), None);
    }

    #[test]
    fn fault_14_a_small_jump_is_doubted_by_a_restart_that_follows_soon() {
        let mut trust = trust(START, None);
        assert!(!trust.observe(reading(START + 200, 10)));
        let mut soon = next_life(&trust, START + 230);
        assert!(!soon.observe(reading(START + 231, 1)));
        assert!(soon.observe(reading(START + 42, 2)), "the right time");
        // Later it cannot be told from a box that was off for a while.
        assert!(next_life(&trust, START + 900).observe(reading(START + 901, 1)));
    }

    #[test]
    fn fault_14_a_new_time_runs_on_over_restarts() {
        let mut trust = trust(START, None);
        assert!(!trust.observe(reading(START + YEAR, 10)));
        assert!(!trust.observe(reading(START + YEAR + 600, 610)));
        let mut next = next_life(&trust, START + YEAR + 700);
        assert!(!next.observe(reading(START + YEAR + 700 + 399, 399)));
        assert!(next.observe(reading(START + YEAR + 700 + 400, 400)));
        // Not so if it is yet another time.
        let mut other = next_life(&trust, START + 2 * YEAR);
        assert!(!other.observe(reading(START + 2 * YEAR + 999, 999)));
    }

    #[test]
    fn fault_13_the_right_time_after_1970_is_believed_at_once_if_it_goes_on_from_the_last() {
        let mut booted = trust(5, Some(START));
        assert!(!booted.observe(reading(6, 1)));
        assert!(booted.observe(reading(START + 300, 40)));
        // Of a box that has never known the time, the first is not believed at once, ...
        let mut new = trust(5, None);
        assert!(!new.observe(reading(START, 10)));
        // ... nor by a restart.
        assert!(!next_life(&new, START + 20).observe(reading(START + 21, 1)));
    }
}
