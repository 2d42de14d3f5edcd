//! All that is polled of one unit at one interval: its requests, as far as the device takes them,
//! and when they are due. No I/O and no clock.
//!
//! The device teaches: a request that it refuses for its addresses is cut until the guilty tag is
//! alone, and what lies on either side of that tag is joined again. A join that is refused too,
//! because of a register that nobody asked for, is cut for good.

use std::time::Duration;

use tokio::time::Instant;

use crate::backoff::Backoff;

use super::plan::{Cadence, Request};
use super::unit::Moment;

/// Before a plan that was split is tried whole again.
const REJOIN: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(3600));

pub(super) struct Round {
    pub(super) cadence: Cadence,
    /// In the order of the plan; the parts of a request stand where it stood.
    pub(super) asks: Vec<Ask>,
    /// Which registers, in their order.
    pub(super) registers: Vec<usize>,
    pub(super) due: Instant,
    /// Where the second poll goes: the first is at once, whatever the time.
    grid: Option<Instant>,
    rejoin: Backoff,
    rejoin_at: Option<Instant>,
}

pub(super) struct Ask {
    pub(super) request: Request,
    pub(super) held: Option<Hold>,
    /// Alone in its request because the device refused it together with others.
    isolated: bool,
    /// Index of the planned request that this is, or is a part of.
    origin: usize,
    /// Put together from parts of it.
    joined: bool,
    /// Never joined with the ask before it.
    apart: bool,
}

pub(super) struct Hold {
    until: Instant,
    backoff: Backoff,
}

impl Round {
    pub(super) fn new(cadence: Cadence, seed: u64, start: Moment) -> Self {
        let readings = cadence.requests.iter().flat_map(|request| &request.readings);
        let mut registers: Vec<usize> = readings.map(|reading| reading.tag).collect();
        registers.sort_unstable();
        Self {
            asks: asks(&cadence),
            registers,
            due: start.now,
            grid: Some(start.next_on_grid(cadence.interval)),
            rejoin: Backoff::new(REJOIN.0, REJOIN.1, seed),
            rejoin_at: None,
            cadence,
        }
    }

    /// After the first, polls are on the grid; those that passed meanwhile are skipped, never
    /// made up for.
    pub(super) fn schedule(&mut self, now: Instant) -> u64 {
        let interval = self.cadence.interval;
        self.due = self.grid.take().unwrap_or(self.due + interval);
        let Some(late) = now.checked_duration_since(self.due) else { return 0 };
        let (late, span) = (late.as_nanos(), interval.as_nanos());
        let into = u64::try_from(late % span).expect("an interval is at most a year");
        self.due = now + (interval - Duration::from_nanos(into));
        u64::try_from(late / span).unwrap_or(u64::MAX).saturating_add(1)
    }

    /// The device refuses the addresses of this ask, which becomes two; false when it holds one
    /// tag only, which is then known to be the guilty one.
    pub(super) fn split(&mut self, index: usize, now: Instant) -> bool {
        let is_part = self.cadence.requests.len() < self.asks.len();
        let ask = &mut self.asks[index];
        let Some((left, right)) = ask.request.split() else {
            ask.isolated = is_part;
            self.rejoin_at.get_or_insert_with(|| now + self.rejoin.next_delay());
            return false;
        };
        let (origin, apart) = (ask.origin, ask.apart);
        let left = Ask { apart, ..Ask::new(left, origin) };
        let right = Ask { apart: ask.joined, ..Ask::new(right, origin) };
        self.asks.splice(index..=index, [left, right]);
        true
    }

    /// This ask rests, the longer the more often.
    pub(super) fn hold(
        &mut self,
        index: usize,
        now: Instant,
        (least, most): (Duration, Duration),
        seed: u64,
    ) {
        let hold = self.asks[index]
            .held
            .get_or_insert_with(|| Hold { until: now, backoff: Backoff::new(least, most, seed) });
        hold.until = now + hold.backoff.next_delay();
    }

    /// At the end of a poll: what lies between guilty tags is joined. A refused address that
    /// answers again may have been a device that was starting: then the whole plan is tried
    /// again, but not often.
    pub(super) fn settle(&mut self, now: Instant) {
        if !self.asks.iter().any(|ask| ask.isolated) {
            return;
        }
        let mended = |ask: &Ask| ask.isolated && ask.held.is_none();
        if self.rejoin_at.is_some_and(|at| at <= now) && self.asks.iter().any(mended) {
            self.asks = asks(&self.cadence);
            self.rejoin_at = None;
            return;
        }
        let mut joined: Vec<Ask> = Vec::with_capacity(self.asks.len());
        for ask in self.asks.drain(..) {
            match joined.last_mut() {
                Some(last) if last.takes(&ask) => {
                    last.request = last.request.join(&ask.request);
                    last.joined = true;
                }
                _ => joined.push(ask),
            }
        }
        self.asks = joined;
    }
}

impl Ask {
    fn new(request: Request, origin: usize) -> Self {
        Self { request, held: None, isolated: false, origin, joined: false, apart: false }
    }

    pub(super) fn rests(&self, now: Instant) -> bool {
        self.held.as_ref().is_some_and(|hold| hold.until > now)
    }

    /// Whether `next`, which follows this one, may be asked together with it.
    fn takes(&self, next: &Self) -> bool {
        let plain = |ask: &Self| !ask.isolated && ask.held.is_none();
        plain(self) && plain(next) && self.origin == next.origin && !next.apart
    }
}

fn asks(cadence: &Cadence) -> Vec<Ask> {
    let requests = cadence.requests.iter().cloned().enumerate();
    requests.map(|(origin, request)| Ask::new(request, origin)).collect()
}
