//! The circuit breaker: a server that keeps failing is left alone for a time, which doubles.
//!
//! Pure: whoever asks says what time it is.

use std::time::Duration;

use tokio::time::Instant;

use crate::backoff::Backoff;

/// So many failures in a row, and nobody asks any more for a while.
const FAILURES: u32 = 5;

/// How long the server is left alone: the first time, and at most.
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(super) struct Breaker {
    failures: u32,
    backoff: Backoff,
    /// Open until then; absent while it is closed.
    until: Option<Instant>,
}

impl Breaker {
    /// Open, and due at once: a server has to prove itself first.
    pub(super) fn new(now: Instant, seed: u64) -> Self {
        let backoff = Backoff::new(SHORTEST, LONGEST, seed);
        Self { failures: 0, backoff, until: Some(now) }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.until.is_none()
    }

    /// When the server is to prove itself again, if it has to.
    pub(super) fn due(&self) -> Option<Instant> {
        self.until
    }

    /// The server has proved itself.
    pub(super) fn close(&mut self) {
        self.until = None;
        self.failures = 0;
    }

    /// An answer came: only failures in a row count, and the next rest is a short one again.
    pub(super) fn succeeded(&mut self) {
        self.failures = 0;
        self.backoff.reset();
    }

    /// Opens when this was one failure too many.
    pub(super) fn failed(&mut self, now: Instant) {
        self.failures += 1;
        if self.failures >= FAILURES {
            self.open(now);
        }
    }

    /// Opens at once.
    pub(super) fn open(&mut self, now: Instant) {
        self.failures = 0;
        self.until = Some(now + self.backoff.next_delay());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Closed at a time of its own.
    fn closed() -> (Breaker, Instant) {
        let now = Instant::now();
        let mut breaker = Breaker::new(now, 7);
        assert_eq!(breaker.due(), Some(now), "a server proves itself first");
        breaker.close();
        (breaker, now)
    }

    #[test]
    fn only_failures_in_a_row_open_it() {
        let (mut breaker, now) = closed();
        for _ in 0..3 {
            (0..FAILURES - 1).for_each(|_| breaker.failed(now));
            assert!(breaker.is_closed());
            breaker.succeeded();
        }
        (0..FAILURES).for_each(|_| breaker.failed(now));
        assert!(!breaker.is_closed());
    }

    #[test]
    fn it_stays_open_longer_each_time_up_to_a_limit_and_shortly_after_a_success() {
        let (mut breaker, now) = closed();
        let mut rests = Vec::new();
        for _ in 0..10 {
            breaker.open(now);
            rests.push(breaker.due().unwrap() - now);
        }
        assert!(rests[0] >= SHORTEST / 2 && rests[0] <= SHORTEST, "{rests:?}");
        assert!(rests.iter().all(|rest| *rest <= LONGEST), "{rests:?}");
        assert!(rests[9] >= LONGEST / 2, "{rests:?}");
        breaker.close();
        breaker.open(now);
        assert!(breaker.due().unwrap() - now > SHORTEST, "proving itself is no success yet");
        breaker.close();
        breaker.succeeded();
        breaker.open(now);
        assert!(breaker.due().unwrap() - now <= SHORTEST);
    }
}
