//! Exponential backoff with seeded jitter. Pure: it says how long to wait, the caller waits.

use std::time::Duration;

/// Delays that double from `min` to `max`, each shortened at random by up to a half but never
/// below `min`, so that many clients of one server do not return together.
#[derive(Clone, Debug)]
pub struct Backoff {
    min: Duration,
    max: Duration,
    next: Duration,
    state: u64,
}

impl Backoff {
    pub fn new(min: Duration, max: Duration, seed: u64) -> Self {
        Self { min, max, next: min, state: seed }
    }

    pub fn next_delay(&mut self) -> Duration {
        let full = self.next;
        self.next = (full * 2).min(self.max);
        full.mul_f64(0.5 + 0.5 * self.fraction()).max(self.min)
    }

    /// It worked: the next failure waits `min` again.
    pub fn reset(&mut self) {
        self.next = self.min;
    }

    /// SplitMix64, as a number from 0 to 1.
    fn fraction(&mut self) -> f64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_limit_and_start_again() {
        let (min, max) = (Duration::from_millis(200), Duration::from_secs(30));
        let mut backoff = Backoff::new(min, max, 7);
        let mut full = min;
        for _ in 0..20 {
            let delay = backoff.next_delay();
            assert!(delay >= min.max(full / 2) && delay <= full, "{delay:?} of {full:?}");
            full = (full * 2).min(max);
        }
        backoff.reset();
        assert_eq!(backoff.next_delay(), min);
    }
}
