//! The driver of one address: its connection, its units, whose turn it is.
//!
//! One request is under way at a time. Units that are due take turns request by request, the
//! one that waited longest first, so a unit with much to say does not hold up the others.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use crate::backoff::Backoff;
use crate::health::{PollError, SourceHealth};
use crate::ledger::{Ledger, Rejection, Shed};
use crate::sample::{Batch, Sample};
use crate::settings::ModbusDevice;
use crate::tag::Registry;
use crate::time::Timestamp;

use super::frame::{Answer, Exception};
use super::link::{Link, LinkError, Terms};
use super::plan::{Plan, PlanError};
use super::transport::Dialer;
use super::unit::{DOWN, Moment, Refusal, Unit};

/// Polls all units behind one address. [`group`](super::group) makes the groups.
pub struct Poller {
    /// They share one address; check each with [`Plan::build`] first.
    pub devices: Vec<ModbusDevice>,
    pub registry: Arc<Registry>,
    pub ledger: Arc<Ledger>,
    /// One for each device, in the same order.
    pub health: Vec<Arc<SourceHealth>>,
    pub batches: mpsc::Sender<Batch>,
}

impl Poller {
    /// Polls until `token` is cancelled or nobody takes batches any more. A device whose
    /// settings are wrong is reported and left out.
    pub async fn run(self, token: CancellationToken) {
        let Some(mut driver) = Driver::new(self) else { return };
        token.run_until_cancelled(driver.drive()).await;
    }
}

struct Driver {
    dialer: Dialer,
    link: Option<Link>,
    backoff: Backoff,
    /// No attempt to connect before this.
    rest: Instant,
    turns: Vec<Turn>,
    turn: u64,
    ledger: Arc<Ledger>,
    batches: mpsc::Sender<Batch>,
}

struct Turn {
    unit: Unit,
    health: Arc<SourceHealth>,
    /// Number of the last turn it had.
    last: u64,
    behind: bool,
    shedding: bool,
}

impl Driver {
    fn new(poller: Poller) -> Option<Self> {
        let start = Moment { now: Instant::now(), wall: Timestamp::now() };
        let mut turns = Vec::with_capacity(poller.devices.len());
        let mut dialer: Option<Dialer> = None;
        for (device, health) in poller.devices.into_iter().zip(poller.health) {
            let plan = match Plan::build(&device) {
                Ok(plan) => plan,
                Err(errors) => {
                    refuse(&device, &errors, &health);
                    continue;
                }
            };
            dialer = Dialer::of(&device);
            let intern = |tag: &str| poller.registry.intern(&device.asset, tag).ok();
            let tags = device.register.iter().map(|register| intern(&register.tag)).collect();
            let unit = Unit::new(device, plan, tags, start);
            if unit.refused_tags() > 0 {
                let (asset, tags) = (&unit.device.asset, unit.refused_tags());
                error!(asset, tags, "No room for Modbus tags: raise limits.tags.");
            }
            turns.push(Turn { unit, health, last: 0, behind: false, shedding: false });
        }
        let dialer = dialer?;
        let seed = u64::from(crc32fast::hash(dialer.endpoint.to_string().as_bytes()));
        Some(Self {
            dialer,
            link: None,
            backoff: Backoff::new(DOWN.0, DOWN.1, seed),
            rest: start.now,
            turns,
            turn: 0,
            ledger: poller.ledger,
            batches: poller.batches,
        })
    }

    async fn drive(&mut self) {
        loop {
            let index = self.next(Instant::now());
            sleep_until(self.ready_at(index)).await;
            if self.step(index).await.is_break() {
                return;
            }
        }
    }

    /// Whose turn it is: of those that are ready the one that waited longest, or else the one
    /// that is ready first.
    fn next(&self, now: Instant) -> usize {
        let key = |index: &usize| (self.ready_at(*index).max(now), self.turns[*index].last);
        (0..self.turns.len()).min_by_key(key).expect("a driver has at least one unit")
    }

    fn ready_at(&self, index: usize) -> Instant {
        let ready = self.turns[index].unit.ready_at();
        if self.link.is_some() { ready } else { ready.max(self.rest) }
    }

    /// One request of one unit; after its last one the poll goes out.
    async fn step(&mut self, index: usize) -> ControlFlow<()> {
        self.turn += 1;
        self.turns[index].last = self.turn;
        self.turns[index].begin(Instant::now());
        if self.turns[index].unit.request(Instant::now()).is_some() {
            match self.ask(index).await {
                Ok(Ok(answer)) => {
                    let turn = &mut self.turns[index];
                    if turn.unit.answered(&answer, Instant::now()) {
                        turn.risen();
                    }
                }
                Ok(Err(code)) => {
                    if self.refused(index, code) == Refusal::Unreachable {
                        return self.lost(index, "the gateway cannot reach the unit").await;
                    }
                }
                Err(error @ LinkError::Connect(_)) => return self.cut(&error).await,
                Err(error) => {
                    self.turns[index].health.polling.failed(kind(&error));
                    return self.lost(index, &error.to_string()).await;
                }
            }
        }
        if self.turns[index].unit.request(Instant::now()).is_some() {
            return ControlFlow::Continue(());
        }
        self.finish(index).await
    }

    /// Asks the unit's next request. Many devices close a connection that was idle, so one that
    /// has worked before is replaced once before the unit is blamed.
    async fn ask(&mut self, index: usize) -> Result<Result<Answer, Exception>, LinkError> {
        let Turn { unit, health, .. } = &mut self.turns[index];
        let ModbusDevice { unit: number, timeout: limit, pause, .. } = unit.device;
        let terms = Terms { unit: number, limit, pause };
        let request = unit.request(Instant::now()).expect("the caller saw that one is next");
        let read = request.read;
        loop {
            let link = match self.link.take() {
                Some(link) => link,
                None => Link::connect(&self.dialer, limit).await?,
            };
            self.backoff.reset();
            let stale = link.has_answered();
            let asked = Instant::now();
            match link.read(read, terms).await {
                Ok((link, answer)) => {
                    health.polling.round_trip(asked.elapsed());
                    self.link = Some(link);
                    return Ok(answer);
                }
                Err(LinkError::Closed(_)) if stale => {
                    debug!(endpoint = %self.dialer.endpoint, "The device closed the connection.");
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn refused(&mut self, index: usize, code: Exception) -> Refusal {
        let now = Instant::now();
        let Turn { unit, health, .. } = &mut self.turns[index];
        let request = unit.request(now).expect("an exception answers a request");
        let super::Read { table, start, count } = request.read;
        let refusal = unit.refused(code, now);
        let asset = &unit.device.asset;
        debug!(%asset, %table, start, count, ?refusal, "Modbus {code}.");
        health.polling.failed(PollError::Exception);
        if refusal != Refusal::Unreachable {
            let last = u32::from(start) + u32::from(count) - 1;
            health.noted(format!("{table}:{start} to {last}: {code}"));
            if unit.rise() {
                self.turns[index].risen();
            }
        }
        refusal
    }

    /// One unit does not answer; the others go on.
    async fn lost(&mut self, index: usize, error: &str) -> ControlFlow<()> {
        let shared = self.turns.len() > 1;
        let news = self.turns[index].unit.lost(Instant::now(), shared);
        self.turns[index].fell(news, error);
        if news { self.gap(index).await } else { ControlFlow::Continue(()) }
    }

    /// No connection: nobody answers.
    async fn cut(&mut self, error: &LinkError) -> ControlFlow<()> {
        self.rest = Instant::now() + self.backoff.next_delay();
        let text = error.to_string();
        for index in 0..self.turns.len() {
            self.turns[index].health.polling.failed(kind(error));
            let news = self.turns[index].unit.cut();
            self.turns[index].fell(news, &text);
            if news {
                self.gap(index).await?;
            }
        }
        ControlFlow::Continue(())
    }

    async fn gap(&mut self, index: usize) -> ControlFlow<()> {
        let now = Timestamp::now();
        let samples = self.turns[index].unit.gap(now);
        self.deliver(index, samples, now).await
    }

    async fn finish(&mut self, index: usize) -> ControlFlow<()> {
        let now = Timestamp::now();
        let turn = &mut self.turns[index];
        let interval = turn.unit.interval();
        let polled = turn.unit.finish(now, Instant::now());
        turn.keeps_up(interval, polled.skipped);
        turn.health.polling.finished(polled.skipped);
        if polled.answers > 0 {
            turn.health.heard(now, polled.answers);
        }
        self.deliver(index, polled.samples, now).await
    }

    /// Waits for room no longer than until the next poll, then sheds: an old poll is worth less
    /// than the next one.
    async fn deliver(
        &mut self,
        index: usize,
        samples: Vec<Sample>,
        received: Timestamp,
    ) -> ControlFlow<()> {
        let Turn { unit, shedding, .. } = &mut self.turns[index];
        let refused = unit.refused_tags() as u64;
        let count = samples.len() as u64;
        let permit = match timeout(unit.device.interval, self.batches.reserve()).await {
            Ok(Ok(permit)) => Some(permit),
            Ok(Err(_)) => return ControlFlow::Break(()),
            Err(_) => None,
        };
        self.ledger.receive(count + refused);
        if refused > 0 {
            self.ledger.reject(Rejection::TooManyTags, refused);
        }
        let was_shedding = std::mem::replace(shedding, permit.is_none());
        match permit {
            Some(permit) if count > 0 => {
                let samples = Arc::new(samples);
                let pictures = Vec::new();
                permit.send(Batch {
                    samples,
                    pictures,
                    received,
                    messages: 0,
                    receipt: None,
                    stale: false,
                });
            }
            Some(_) => {}
            None => {
                self.ledger.shed(Shed::StoreQueue, count);
                if !was_shedding {
                    let asset = &unit.device.asset;
                    error!(asset, "Modbus samples are shed: the queue to the store stays full.");
                }
            }
        }
        ControlFlow::Continue(())
    }
}

impl Turn {
    fn risen(&self) {
        self.health.connected();
        let ModbusDevice { asset, address, unit, .. } = &self.unit.device;
        info!(asset, address, unit, "Modbus device answers.");
    }

    fn fell(&mut self, news: bool, error: &str) {
        self.health.failed(error);
        let ModbusDevice { asset, address, unit, .. } = &self.unit.device;
        if news {
            self.behind = false;
            warn!(asset, address, unit, error, "Modbus device does not answer.");
        } else {
            debug!(asset, address, unit, error, "Modbus device still does not answer.");
        }
    }

    /// Notes how late a poll begins.
    fn begin(&self, now: Instant) {
        if self.unit.is_up() && !self.unit.is_polling() {
            self.health.polling.late(now.saturating_duration_since(self.unit.due()));
        }
    }

    fn keeps_up(&mut self, interval: Duration, skipped: u64) {
        if skipped > 0 && !self.behind {
            self.behind = true;
            let interval = humantime::format_duration(interval);
            warn!(
                asset = self.unit.device.asset,
                %interval,
                skipped,
                "Modbus device is slower than its interval."
            );
        }
    }
}

fn kind(error: &LinkError) -> PollError {
    match error {
        LinkError::Connect(_) => PollError::Connect,
        LinkError::Timeout(_) => PollError::Timeout,
        LinkError::Closed(_) => PollError::Closed,
        LinkError::Protocol(_) => PollError::Protocol,
    }
}

fn refuse(device: &ModbusDevice, errors: &[PlanError], health: &SourceHealth) {
    for error in errors {
        error!(asset = device.asset, field = error.field, "Modbus device left out: {error}.");
    }
    if let Some(error) = errors.first() {
        health.failed(error.to_string());
    }
}
