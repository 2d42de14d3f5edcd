//! How long to wait before trying again: doubling delays with jitter.
//!
//! Pure: the jitter comes from a seed, so the same seed gives the same delays.

use std::time::Duration;

#[derive(Clone, Debug)]
pub struct Backoff {
    min: Duration,
    max: Duration,
    attempts: u32,
    random: u64,
}

impl Backoff {
    /// Delays grow from `min` to `max`. Boxes that start together want different seeds, so that
    /// they do not all come back to a restarted broker at the same moment.
    pub const fn new(min: Duration, max: Duration, seed: u64) -> Self {
        Self { min, max, attempts: 0, random: seed }
    }

    /// The next delay: between a half and the whole of `min * 2^attempts`, at most `max`.
    pub fn next_delay(&mut self) -> Duration {
        let full = self.min.saturating_mul(1 << self.attempts.min(31)).min(self.max);
        self.attempts = self.attempts.saturating_add(1);
        let half = full / 2;
        half + half.mul_f64(self.next_fraction())
    }

    /// After a success: the next delay is a short one again.
    pub const fn reset(&mut self) {
        self.attempts = 0;
    }

    /// SplitMix64 (Steele, Lea and Flood 2014), as a fraction of 0 to 1.
    fn next_fraction(&mut self) -> f64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.random;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^= bits >> 31;
        f64::from(u32::try_from(bits >> 32).expect("32 bits remain")) / f64::from(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIN: Duration = Duration::from_millis(250);
    const MAX: Duration = Duration::from_secs(30);

    #[test]
    fn delays_double_up_to_the_maximum_and_jitter_within_a_half() {
        let mut backoff = Backoff::new(MIN, MAX, 7);
        for attempt in 0..100 {
            let full = MIN.saturating_mul(1 << attempt.min(20)).min(MAX);
            let delay = backoff.next_delay();
            assert!(full / 2 <= delay && delay <= full, "attempt {attempt}: {delay:?}");
        }
        backoff.reset();
        assert!(backoff.next_delay() <= MIN);
    }

    #[test]
    fn the_seed_decides_the_delays() {
        let delays = |seed| {
            let mut backoff = Backoff::new(MIN, MAX, seed);
            [backoff.next_delay(), backoff.next_delay(), backoff.next_delay()]
        };
        assert_eq!(delays(1), delays(1));
        assert_ne!(delays(1), delays(2));
    }
}
