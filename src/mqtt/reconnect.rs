//! When to try again, and when to say that two clients fight for one client id. Pure.

use std::time::Duration;

use super::connection::LinkError;
use crate::backoff::Backoff;

const SHORTEST: Duration = Duration::from_millis(250);
/// A broker that is back is found within this.
const LONGEST: Duration = Duration::from_secs(5);
/// One that turns us away is not asked more often.
const LONGEST_REFUSED: Duration = Duration::from_secs(30);
/// An outage that goes on is told so often.
const AGAIN: Duration = Duration::from_secs(60);
/// A link that lived so long was a good one.
const STABLE: Duration = Duration::from_secs(10);
/// Two boxes with one client id would throw each other out in every second; so they try rarely.
const CONTESTED: Duration = Duration::from_secs(60);
/// A link taken over within this time, again, is a contest and not a restart.
const CONTEST: Duration = Duration::from_secs(120);

#[derive(Debug)]
pub(super) struct Reconnect {
    backoff: Backoff,
    refused: Backoff,
    /// How long nothing has been said of an outage that goes on.
    unsaid: Duration,
    taken_over: bool,
    contested: bool,
}

/// How loudly to say that a link ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Volume {
    /// It comes back by itself.
    Degraded,
    /// A person must act.
    Act,
    /// A person must give each box a client id of its own. Said once.
    Contested,
    /// Said before.
    Known,
    /// As a moment ago.
    Quiet,
}

impl Reconnect {
    pub(super) const fn new(seed: u64) -> Self {
        Self {
            backoff: Backoff::new(SHORTEST, LONGEST, seed),
            refused: Backoff::new(SHORTEST, LONGEST_REFUSED, seed),
            unsaid: AGAIN,
            taken_over: false,
            contested: false,
        }
    }

    /// After a link that was up for `lived` (zero when it never was) ended with `error`.
    pub(super) fn after(&mut self, error: &LinkError, lived: Duration) -> (Duration, Volume) {
        if lived >= STABLE {
            self.backoff.reset();
            self.refused.reset();
            self.unsaid = AGAIN;
        }
        if lived >= CONTEST {
            self.taken_over = false;
            self.contested = false;
        }
        match error {
            LinkError::TakenOver if self.taken_over => {
                let volume = if self.contested { Volume::Known } else { Volume::Contested };
                self.contested = true;
                (CONTESTED, volume)
            }
            LinkError::TakenOver => {
                self.taken_over = true;
                (self.backoff.next_delay(), Volume::Degraded)
            }
            LinkError::Refused(_) | LinkError::Password(_) | LinkError::Secrecy(_) => {
                (self.refused.next_delay(), Volume::Act)
            }
            _ => self.broken(),
        }
    }

    fn broken(&mut self) -> (Duration, Volume) {
        let delay = self.backoff.next_delay();
        let grows = delay < LONGEST / 2;
        self.unsaid += delay;
        if grows || self.unsaid > AGAIN {
            self.unsaid = if grows { AGAIN } else { Duration::ZERO };
            return (delay, Volume::Degraded);
        }
        (delay, Volume::Quiet)
    }
}

/// Says that a link ended, as loudly as it deserves.
pub(super) fn log(
    broker: &str,
    client_id: &str,
    error: &LinkError,
    volume: Volume,
    delay: Duration,
) {
    match volume {
        Volume::Degraded | Volume::Known => {
            tracing::warn!(broker, client_id, %error, ?delay, "the link to the broker ended");
        }
        Volume::Quiet => {
            tracing::debug!(broker, client_id, %error, ?delay, "the link to the broker ended");
        }
        Volume::Act => {
            tracing::error!(broker, client_id, %error, ?delay, "no link to the broker");
        }
        Volume::Contested => tracing::error!(
            broker,
            client_id,
            ?delay,
            "another client uses this client id: give each box its own `client_id`"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_secs(1);

    #[test]
    fn a_second_takeover_is_a_contest_and_is_said_once() {
        let mut reconnect = Reconnect::new(1);
        let mut takeover = || reconnect.after(&LinkError::TakenOver, SHORT);
        assert_eq!(takeover().1, Volume::Degraded);
        assert_eq!(takeover(), (CONTESTED, Volume::Contested));
        assert_eq!(takeover(), (CONTESTED, Volume::Known));
    }

    #[test]
    fn a_link_that_held_is_not_contested_any_more() {
        let mut reconnect = Reconnect::new(1);
        let _ = reconnect.after(&LinkError::TakenOver, SHORT);
        let (delay, volume) = reconnect.after(&LinkError::TakenOver, CONTEST);
        assert!(delay <= SHORTEST);
        assert_eq!(volume, Volume::Degraded);
    }

    #[test]
    fn delays_grow_until_a_link_is_stable() {
        let mut reconnect = Reconnect::new(1);
        let delays: Vec<_> =
            (0..10).map(|_| reconnect.after(&LinkError::Silent, SHORT).0).collect();
        assert!(delays[9] >= LONGEST / 2);
        assert!(reconnect.after(&LinkError::Silent, STABLE).0 <= SHORTEST);
    }

    #[test]
    fn an_outage_is_told_once_a_minute_and_its_end_is_found_within_five_seconds() {
        let mut reconnect = Reconnect::new(1);
        let hour = Duration::from_secs(3600);
        let (mut waited, mut told) = (Duration::ZERO, 0);
        while waited < hour {
            let (delay, volume) = reconnect.after(&LinkError::Silent, Duration::ZERO);
            assert!(delay <= Duration::from_secs(5), "{delay:?} after {waited:?}");
            waited += delay;
            told += u32::from(volume == Volume::Degraded);
        }
        assert!((50..=70).contains(&told), "told {told} times in an hour");
    }
}
