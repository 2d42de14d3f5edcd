//! What is known about one unit: when it is due, what to ask next, what it has answered.
//!
//! No I/O and no clock. While a unit answers, every poll yields one sample for each tag, bad
//! where the device gave no value. When it stops answering, one bad sample for each tag marks
//! the gap, and then nothing comes until it is back.

use std::time::Duration;

use tokio::time::Instant;
use tokio_modbus::ExceptionCode;

use crate::backoff::Backoff;
use crate::sample::Sample;
use crate::settings::ModbusDevice;
use crate::tag::TagId;
use crate::time::Timestamp;

use super::plan::{Answer, Plan, Request};

/// Between attempts to reach what is down: a link, or a unit behind a live link.
pub(super) const DOWN: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(30));
/// A device that is busy or failing for the moment.
const BUSY: (Duration, Duration) = DOWN;
/// An address that does not exist seldom comes to be.
const ILLEGAL: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// Before a plan that was split is tried whole again.
const REJOIN: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(3600));
/// A silent unit on a shared link takes at most one part in this many, plus one, of its time.
const REST: u32 = 4;

pub(super) struct Unit {
    pub(super) device: ModbusDevice,
    plan: Plan,
    asks: Vec<Ask>,
    /// The ask whose turn it is in this poll.
    cursor: usize,
    /// By register; `None` when the registry is full.
    tags: Vec<Option<TagId>>,
    /// By register, of the poll under way.
    values: Vec<f64>,
    answers: u64,
    due: Instant,
    down: Option<Instant>,
    backoff: Backoff,
    standing: Standing,
    rejoin: Backoff,
    rejoin_at: Option<Instant>,
    seed: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Standing {
    New,
    Up,
    Down,
}

struct Ask {
    request: Request,
    held: Option<Hold>,
    /// Alone in its request because the device refused it together with others.
    isolated: bool,
}

struct Hold {
    until: Instant,
    backoff: Backoff,
}

/// What an exception does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Refusal {
    /// The request is now two, and the first of them is next.
    Split,
    /// Its tags are bad and it rests for a while.
    Held,
    /// A gateway says that the unit itself does not answer.
    Unreachable,
}

/// A finished poll.
#[derive(Debug, PartialEq)]
pub(super) struct Polled {
    pub(super) samples: Vec<Sample>,
    /// Answers that held data.
    pub(super) answers: u64,
    /// Polls that were due meanwhile and are skipped.
    pub(super) skipped: u64,
}

impl Unit {
    pub(super) fn new(
        device: ModbusDevice,
        plan: Plan,
        tags: Vec<Option<TagId>>,
        now: Instant,
    ) -> Self {
        let seed =
            u64::from(crc32fast::hash(device.address.as_bytes())) << 8 | u64::from(device.unit);
        Self {
            asks: asks(&plan),
            plan,
            cursor: 0,
            values: vec![f64::NAN; tags.len()],
            tags,
            answers: 0,
            due: now,
            down: None,
            backoff: Backoff::new(DOWN.0, DOWN.1, seed),
            standing: Standing::New,
            rejoin: Backoff::new(REJOIN.0, REJOIN.1, seed),
            rejoin_at: None,
            seed,
            device,
        }
    }

    pub(super) fn ready_at(&self) -> Instant {
        self.down.map_or(self.due, |until| until.max(self.due))
    }

    /// The next read of the poll under way, or `None` when the poll is finished.
    pub(super) fn request(&mut self, now: Instant) -> Option<&Request> {
        let rests = |ask: &Ask| ask.held.as_ref().is_some_and(|hold| hold.until > now);
        while self.asks.get(self.cursor).is_some_and(rests) {
            self.cursor += 1;
        }
        self.asks.get(self.cursor).map(|ask| &ask.request)
    }

    /// The read of [`request`](Self::request) came back. True when the unit was not up before.
    pub(super) fn answered(&mut self, answer: &Answer) -> bool {
        let ask = &mut self.asks[self.cursor];
        for reading in &ask.request.readings {
            self.values[reading.tag] = reading.value(answer);
        }
        ask.held = None;
        self.cursor += 1;
        self.answers += 1;
        self.rise()
    }

    /// The device said no.
    pub(super) fn refused(&mut self, code: ExceptionCode, now: Instant) -> Refusal {
        use ExceptionCode as Code;
        let span = match code {
            Code::GatewayPathUnavailable | Code::GatewayTargetDevice => {
                return Refusal::Unreachable;
            }
            Code::IllegalDataAddress | Code::IllegalDataValue => {
                if let Some((left, right)) = self.asks[self.cursor].request.split() {
                    let parts = [left, right].map(Ask::new);
                    self.asks.splice(self.cursor..=self.cursor, parts);
                    return Refusal::Split;
                }
                self.asks[self.cursor].isolated = self.plan.requests.len() < self.asks.len();
                self.rejoin_at.get_or_insert_with(|| now + self.rejoin.next_delay());
                ILLEGAL
            }
            Code::IllegalFunction => ILLEGAL,
            _ => BUSY,
        };
        let seed = self.seed ^ self.cursor as u64;
        let hold = self.asks[self.cursor].held.get_or_insert_with(|| Hold {
            until: now,
            backoff: Backoff::new(span.0, span.1, seed),
        });
        hold.until = now + hold.backoff.next_delay();
        self.cursor += 1;
        Refusal::Held
    }

    /// The unit is there, whatever it says. True when it was not up before.
    pub(super) fn rise(&mut self) -> bool {
        self.down = None;
        self.backoff.reset();
        std::mem::replace(&mut self.standing, Standing::Up) != Standing::Up
    }

    /// The unit did not answer: it rests, the longer the more often. True when this is news.
    pub(super) fn lost(&mut self, now: Instant, shared: bool) -> bool {
        let floor = if shared { self.device.timeout * REST } else { Duration::ZERO };
        self.down = Some(now + self.backoff.next_delay().max(floor));
        self.cut()
    }

    /// The link to all units is down; the unit itself is not to blame. True when this is news.
    pub(super) fn cut(&mut self) -> bool {
        self.abandon();
        std::mem::replace(&mut self.standing, Standing::Down) != Standing::Down
    }

    /// The end of a poll: its samples, and the next one on the fixed grid of the interval.
    pub(super) fn finish(&mut self, time: Timestamp, now: Instant) -> Polled {
        let polled = Polled {
            samples: self.samples(time, |unit, register| unit.values[register]),
            answers: self.answers,
            skipped: self.schedule(now),
        };
        self.abandon();
        self.rejoin(now);
        polled
    }

    /// One bad sample for each tag.
    pub(super) fn gap(&self, time: Timestamp) -> Vec<Sample> {
        self.samples(time, |_, _| f64::NAN)
    }

    /// Tags for which the registry had no room.
    pub(super) fn refused_tags(&self) -> usize {
        self.tags.iter().filter(|tag| tag.is_none()).count()
    }

    fn samples(&self, time: Timestamp, value: impl Fn(&Self, usize) -> f64) -> Vec<Sample> {
        let mut samples = Vec::with_capacity(self.tags.len());
        for (register, tag) in self.tags.iter().enumerate() {
            if let Some(tag) = *tag {
                samples.push(Sample::new(tag, time, value(self, register)));
            }
        }
        samples
    }

    fn abandon(&mut self) {
        self.cursor = 0;
        self.answers = 0;
        self.values.fill(f64::NAN);
    }

    /// Polls keep their phase; those that passed meanwhile are skipped, never made up for.
    fn schedule(&mut self, now: Instant) -> u64 {
        self.due += self.device.interval;
        let Some(late) = now.checked_duration_since(self.due) else { return 0 };
        let (late, interval) = (late.as_nanos(), self.device.interval.as_nanos());
        let into = u64::try_from(late % interval).expect("an interval is at most a year");
        self.due = now + (self.device.interval - Duration::from_nanos(into));
        u64::try_from(late / interval).unwrap_or(u64::MAX).saturating_add(1)
    }

    /// A refused address that answers again may have been a device that was starting: try the
    /// whole plan again, but not often.
    fn rejoin(&mut self, now: Instant) {
        let mended = |ask: &Ask| ask.isolated && ask.held.is_none();
        if self.rejoin_at.is_some_and(|at| at <= now) && self.asks.iter().any(mended) {
            self.asks = asks(&self.plan);
            self.rejoin_at = None;
        }
    }
}

impl Ask {
    fn new(request: Request) -> Self {
        Self { request, held: None, isolated: false }
    }
}

fn asks(plan: &Plan) -> Vec<Ask> {
    plan.requests.iter().cloned().map(Ask::new).collect()
}

#[cfg(test)]
#[path = "unit_tests.rs"]
mod tests;
