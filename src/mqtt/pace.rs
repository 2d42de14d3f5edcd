//! Under load, when to leave the socket alone for a moment. Pure.
//!
//! A broker writes message by message, and waking up for each costs several times what reading
//! it costs. Above a rate at which that matters, reading waits two milliseconds and then finds
//! several messages at once. Below it nothing is delayed.

use std::time::Duration;

use tokio::time::Instant;

/// How long the rate is measured before it decides.
const WINDOW: Duration = Duration::from_millis(20);
/// Resting begins at 1,500 messages a second and ends below 750. At 2,000 it takes the daemon's CPU
/// from 6 to 2.3 us a sample of ten-value messages, for one millisecond of latency on average.
const BUSY: u32 = 30;
const CALM: u32 = 15;
const REST: Duration = Duration::from_millis(2);

#[derive(Debug)]
pub(super) struct Pace {
    since: Instant,
    messages: u32,
    busy: bool,
}

impl Pace {
    pub(super) const fn new(now: Instant) -> Self {
        Self { since: now, messages: 0, busy: false }
    }

    /// `messages` came since the last call and now there are none; how long to rest.
    pub(super) fn rest(&mut self, messages: u32, now: Instant) -> Option<Duration> {
        self.messages = self.messages.saturating_add(messages);
        let elapsed = now.duration_since(self.since);
        if elapsed >= WINDOW {
            let windows =
                u32::try_from(elapsed.as_millis() / WINDOW.as_millis()).unwrap_or(u32::MAX);
            let rate = self.messages / windows.max(1);
            self.busy = rate >= if self.busy { CALM } else { BUSY };
            *self = Self { since: now, messages: 0, busy: self.busy };
        }
        (self.busy && messages > 0).then_some(REST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds `rate` messages a millisecond for 100 ms; whether it rests at the end.
    fn rests(pace: &mut Pace, now: &mut Instant, rate: u32) -> bool {
        let mut rest = None;
        for _ in 0..100 {
            *now += Duration::from_millis(1);
            rest = pace.rest(rate, *now);
        }
        rest.is_some()
    }

    #[tokio::test]
    async fn it_rests_under_load_and_stops_when_the_load_goes() {
        let mut now = Instant::now();
        let mut pace = Pace::new(now);
        assert!(!rests(&mut pace, &mut now, 1));
        assert!(rests(&mut pace, &mut now, 2));
        assert!(rests(&mut pace, &mut now, 1), "it does not waver");
        assert!(!rests(&mut pace, &mut now, 0));
        assert!(rests(&mut pace, &mut now, 50));
        now += Duration::from_secs(1);
        assert_eq!(pace.rest(1, now), None, "the first message after a silence is not delayed");
    }
}
