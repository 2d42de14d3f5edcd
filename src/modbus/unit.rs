//! What is known about one unit: when it is due, what to ask next, what it has answered.
//!
//! No I/O and no clock. While a unit answers, every poll yields one sample for each tag of its
//! interval, bad where the device gave no value. When it stops answering, one bad sample for
//! each tag marks the gap, and then nothing comes until it is back.

use std::time::Duration;

use tokio::time::Instant;

use crate::backoff::Backoff;
use crate::decode::registers::Counter;
use crate::sample::{Quality, Sample};
use crate::settings::ModbusDevice;
use crate::tag::TagId;
use crate::time::Timestamp;

use super::frame::{Answer, Exception};
use super::plan::{Plan, Request};
use super::round::Round;

/// Between attempts to reach what is down: a link, or a unit behind a live link.
pub(super) const DOWN: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(30));
/// A device that is busy or failing for the moment.
const BUSY: (Duration, Duration) = DOWN;
/// An address that does not exist seldom comes to be.
const ILLEGAL: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// A silent unit on a shared link takes at most one part in this many, plus one, of its time.
const REST: u32 = 4;

pub(super) struct Unit {
    pub(super) device: ModbusDevice,
    rounds: Vec<Round>,
    /// Index of the round that is being polled.
    current: Option<usize>,
    /// The ask whose turn it is in this poll.
    cursor: usize,
    /// By register; `None` when the registry is full.
    tags: Vec<Option<TagId>>,
    /// By register, of the poll under way.
    values: Vec<(f64, Quality)>,
    /// By register, for tags that are a counter's rise.
    counters: Vec<Option<Counter>>,
    answers: u64,
    begun: Instant,
    down: Option<Instant>,
    backoff: Backoff,
    standing: Standing,
    seed: u64,
}

/// One moment on both clocks.
#[derive(Clone, Copy)]
pub(super) struct Moment {
    pub(super) now: Instant,
    pub(super) wall: Timestamp,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Standing {
    New,
    Up,
    Down,
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

const MISSING: (f64, Quality) = (f64::NAN, Quality::Bad);

impl Unit {
    pub(super) fn new(
        device: ModbusDevice,
        plan: Plan,
        tags: Vec<Option<TagId>>,
        start: Moment,
    ) -> Self {
        let seed =
            u64::from(crc32fast::hash(device.address.as_bytes())) << 8 | u64::from(device.unit);
        let mut counters = vec![None; tags.len()];
        for reading in plan.requests().flat_map(|request| &request.readings) {
            counters[reading.tag] = reading.signal.counter();
        }
        Self {
            rounds: plan
                .cadences
                .into_iter()
                .map(|cadence| Round::new(cadence, seed, start))
                .collect(),
            current: None,
            cursor: 0,
            values: vec![MISSING; tags.len()],
            counters,
            tags,
            answers: 0,
            begun: start.now,
            down: None,
            backoff: Backoff::new(DOWN.0, DOWN.1, seed),
            standing: Standing::New,
            seed,
            device,
        }
    }

    pub(super) fn ready_at(&self) -> Instant {
        let due = self.rounds[self.round()].due;
        self.down.map_or(due, |until| until.max(due))
    }

    /// When the poll under way, or else the next one, was or is due.
    pub(super) fn due(&self) -> Instant {
        self.rounds[self.round()].due
    }

    pub(super) fn is_up(&self) -> bool {
        self.standing == Standing::Up
    }

    /// Whether a poll has begun and is not finished.
    pub(super) fn is_polling(&self) -> bool {
        self.current.is_some()
    }

    /// The interval of the poll under way, or else of the next one.
    pub(super) fn interval(&self) -> Duration {
        self.rounds[self.round()].cadence.interval
    }

    /// The next read of the poll under way, or `None` when the poll is finished.
    pub(super) fn request(&mut self, now: Instant) -> Option<&Request> {
        let round = self.round();
        self.current = Some(round);
        let asks = &self.rounds[round].asks;
        while asks.get(self.cursor).is_some_and(|ask| ask.rests(now)) {
            self.cursor += 1;
        }
        asks.get(self.cursor).map(|ask| &ask.request)
    }

    /// The read of [`request`](Self::request) came back. True when the unit was not up before.
    pub(super) fn answered(&mut self, answer: &Answer, now: Instant) -> bool {
        let round = self.round();
        let ask = &mut self.rounds[round].asks[self.cursor];
        let at = now.saturating_duration_since(self.begun);
        for reading in &ask.request.readings {
            let counter = self.counters[reading.tag].as_mut();
            self.values[reading.tag] = reading.value(answer, counter, at);
        }
        ask.held = None;
        self.cursor += 1;
        self.answers += 1;
        self.rise()
    }

    /// The device said no.
    pub(super) fn refused(&mut self, code: Exception, now: Instant) -> Refusal {
        let index = self.round();
        let round = &mut self.rounds[index];
        let span = match code {
            Exception::GATEWAY_PATH | Exception::GATEWAY_TARGET => return Refusal::Unreachable,
            Exception::ILLEGAL_ADDRESS | Exception::ILLEGAL_VALUE => {
                if round.split(self.cursor, now) {
                    return Refusal::Split;
                }
                ILLEGAL
            }
            Exception::ILLEGAL_FUNCTION => ILLEGAL,
            _ => BUSY,
        };
        round.hold(self.cursor, now, span, self.seed ^ self.cursor as u64);
        self.cursor += 1;
        Refusal::Held
    }

    /// The unit is there, whatever it says. True when it was not up before.
    pub(super) fn rise(&mut self) -> bool {
        self.down = None;
        self.backoff.reset();
        std::mem::replace(&mut self.standing, Standing::Up) != Standing::Up
    }

    /// The unit did not answer: it rests, the longer the more often. On a shared way it rests
    /// for a multiple of its timeout, and on a line at least until a late answer has passed.
    /// True when this is news.
    pub(super) fn lost(&mut self, now: Instant, shared: bool) -> bool {
        let floor = if shared { self.device.timeout * REST } else { self.device.timeout };
        let least = if shared || self.on_a_line() { floor } else { Duration::ZERO };
        self.down = Some(now + self.backoff.next_delay().max(least));
        self.cut()
    }

    /// The link to all units is down; the unit itself is not to blame. True when this is news.
    pub(super) fn cut(&mut self) -> bool {
        self.abandon();
        std::mem::replace(&mut self.standing, Standing::Down) != Standing::Down
    }

    /// The end of a poll: its samples, and the next one on the fixed grid of the interval.
    pub(super) fn finish(&mut self, time: Timestamp, now: Instant) -> Polled {
        let index = self.round();
        let round = &mut self.rounds[index];
        let mut samples = Vec::with_capacity(round.registers.len());
        for register in &round.registers {
            if let Some(tag) = self.tags[*register] {
                let (value, quality) = self.values[*register];
                samples.push(Sample { tag, time, value, quality });
            }
        }
        let skipped = round.schedule(now);
        round.settle(now);
        let polled = Polled { samples, answers: self.answers, skipped };
        self.abandon();
        polled
    }

    /// One bad sample for each tag.
    pub(super) fn gap(&self, time: Timestamp) -> Vec<Sample> {
        self.tags.iter().flatten().map(|tag| Sample::missing(*tag, time)).collect()
    }

    /// Tags for which the registry had no room.
    pub(super) fn refused_tags(&self) -> usize {
        self.tags.iter().filter(|tag| tag.is_none()).count()
    }

    /// The round under way, or else the one that is due first.
    fn round(&self) -> usize {
        self.current.unwrap_or_else(|| {
            let due = |index: &usize| self.rounds[*index].due;
            (0..self.rounds.len()).min_by_key(due).expect("a plan has at least one cadence")
        })
    }

    fn on_a_line(&self) -> bool {
        self.device.address.starts_with("rtu")
    }

    fn abandon(&mut self) {
        self.current = None;
        self.cursor = 0;
        self.answers = 0;
        self.values.fill(MISSING);
    }
}

impl Moment {
    /// A multiple of `interval` of the wall clock, half an interval away or more: devices of one
    /// interval are read together, at full seconds, and wake the box once.
    pub(super) fn next_on_grid(self, interval: Duration) -> Instant {
        let wall = i128::from(self.wall.as_nanos());
        let span = i128::try_from(interval.as_nanos().max(1)).unwrap_or(i128::MAX);
        let into = u64::try_from(wall.rem_euclid(span)).unwrap_or_default();
        let next = self.now + (interval - Duration::from_nanos(into).min(interval));
        if next < self.now + interval / 2 { next + interval } else { next }
    }
}

#[cfg(test)]
#[path = "unit_tests.rs"]
mod tests;
