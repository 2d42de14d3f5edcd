//! Samples in: all subscriptions of one broker on one connection.
//!
//! While messages are there at once they are collected into one batch; the moment there is none,
//! the batch is handed over, so that batching costs no latency (see `pace.rs` for high load). A full `batches` channel stops
//! the reading, and TCP and the withheld PUBACKs carry that back to the broker.

use std::pin::pin;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::runtime;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::acks::{Acks, GivenUp};
use super::connection::{Arrival, Link, LinkError};
use super::dialer::{BrokerError, Dialer, Role};
use super::intake::{Intake, OpenBatch};
use super::pace::Pace;
use super::readers::{Readers, Reading};
use super::recent::Recent;
use super::reconnect::{Reconnect, Volume};
use super::wire::Welcome;
use crate::clock::Steps;
use crate::decode::payload::DecoderError;
use crate::health::SourceHealth;
use crate::ledger::{Ledger, Shed};
use crate::message::Quarantined;
use crate::sample::Batch;
use crate::settings::{Broker, Subscription};
use crate::tag::Registry;
use crate::time::Timestamp;

/// At shutdown: how long the last batch may wait for room, and the last PUBACKs for their turn.
const DRAIN: Duration = Duration::from_secs(1);
/// On a new link: so long it is not read while what came over the last one is not committed.
const SETTLE: Duration = Duration::from_secs(5);

/// What an [`Ingest`] works with.
pub struct IngestParts {
    pub broker_name: String,
    pub broker: Broker,
    /// The subscriptions that name this broker.
    pub reading: Reading,
    pub site: String,
    /// `limits.future`.
    pub future: Duration,
    pub registry: Arc<Registry>,
    pub ledger: Arc<Ledger>,
    pub health: Arc<SourceHealth>,
    pub batches: mpsc::Sender<Batch>,
    pub quarantine: mpsc::Sender<Quarantined>,
}

#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    #[error("broker `{name}`: {error}")]
    Broker { name: String, error: BrokerError },
    #[error("subscription `{topic}`: {error}")]
    Subscription { topic: String, error: DecoderError },
}

pub struct Ingest {
    broker_name: String,
    dialer: Dialer,
    readers: Readers,
    /// Other subscriptions, when the configuration changes.
    retunes: watch::Receiver<Reading>,
    intake: Intake,
    batches: mpsc::Sender<Batch>,
    own_thread: bool,
}

/// What is left to do on a link at shutdown.
struct Drain {
    link: Link,
    acks: Acks,
}

impl Ingest {
    /// Checks everything that can be checked without a broker.
    pub fn prepare(parts: IngestParts) -> Result<Self, IngestError> {
        let role = Role::Ingest { receive_maximum: parts.broker.receive_maximum };
        let dialer = Dialer::new(&parts.broker, &parts.site, role)
            .map_err(|error| IngestError::Broker { name: parts.broker_name.clone(), error })?;
        let subscriptions = &parts.reading.subscriptions;
        let readers = Readers::new(subscriptions, &parts.registry, parts.future)?;
        let max_payload = usize::try_from(parts.broker.max_payload.as_u64()).unwrap_or(usize::MAX);
        let intake = Intake {
            decoders: readers.decoders(&parts.reading)?,
            max_payload,
            ledger: parts.ledger,
            health: parts.health,
            quarantine: parts.quarantine,
            steps: Steps::default(),
            opened: Instant::now(),
            recent: Recent::new(parts.broker.receive_maximum),
            open: OpenBatch::default(),
        };
        let broker_name = parts.broker_name;
        let (_, retunes) = watch::channel(Reading::default());
        let (batches, own_thread) = (parts.batches, false);
        Ok(Self { broker_name, dialer, readers, retunes, intake, batches, own_thread })
    }

    /// Subscribes to what comes out of `retunes` instead, on the living link. Give it only what
    /// [`check`](Self::check) lets pass.
    #[must_use]
    pub fn retuned_by(mut self, retunes: watch::Receiver<Reading>) -> Self {
        self.retunes = retunes;
        self
    }

    /// Whether the subscriptions can be read.
    pub fn check(subscriptions: &[Subscription]) -> Result<(), IngestError> {
        super::readers::build(subscriptions).map(drop)
    }

    /// Runs until `token` is cancelled or nobody takes the batches any more. At the end it hands
    /// over what it has, closes `batches`, and waits a moment for the last receipts.
    pub async fn run(self, token: CancellationToken) {
        self.links(token).await;
    }

    /// The same on a thread and a reactor of its own, for high rates. A reader that rests is
    /// then really asleep; in a shared runtime every message wakes the reactor although nobody
    /// wants it yet, which costs more than reading it.
    pub async fn run_on_thread(mut self, token: CancellationToken) {
        self.own_thread = true;
        let token = token.child_token();
        let _stop = token.clone().drop_guard();
        let (done, ended) = oneshot::channel();
        let name = self.broker_name.clone();
        let thread = thread::Builder::new().name("mqtt-ingest".to_owned()).spawn(move || {
            let runtime = runtime::Builder::new_current_thread().enable_all().build();
            match runtime {
                Ok(runtime) => runtime.block_on(self.links(token)),
                Err(error) => {
                    tracing::error!(broker = self.broker_name, %error, "no reactor for ingest");
                }
            }
            let _ = done.send(());
        });
        match thread {
            // An error here is a panic there, which has already been told.
            Ok(_) => drop(ended.await),
            Err(error) => tracing::error!(broker = name, %error, "no thread for ingest"),
        }
    }

    async fn links(mut self, token: CancellationToken) {
        let mut reconnect = Reconnect::new(Timestamp::now().as_nanos().unsigned_abs());
        let mut acks = Acks::new();
        loop {
            let mut up = None;
            let error = match self.live(&token, &mut up, &mut acks).await {
                Ok(drain) => {
                    drop(self.batches);
                    if let Some(link) = drain {
                        Drain { link, acks }.finish().await;
                    }
                    return;
                }
                Err(error) => error,
            };
            let lived = up.map_or(Duration::ZERO, |up: Instant| up.elapsed());
            let (delay, volume) = reconnect.after(&error, lived);
            self.report(&error, volume, delay);
            tokio::select! {
                () = token.cancelled() => return,
                () = sleep(delay) => {}
            }
        }
    }

    /// One link from connecting to its end. `acks` are those of the link before, then its own.
    async fn live(
        &mut self,
        token: &CancellationToken,
        up: &mut Option<Instant>,
        acks: &mut Acks,
    ) -> Result<Option<Link>, LinkError> {
        let (mut link, welcome) = tokio::select! {
            opened = Link::open(&self.dialer) => opened?,
            () = token.cancelled() => return Ok(None),
        };
        *up = Some(Instant::now());
        if self.retunes.has_changed().unwrap_or(false) {
            self.retune(None)?;
        }
        self.connected(&mut link, &welcome)?;
        self.remember(&mut link, acks, token).await?;
        let mut pace = Pace::new(Instant::now());
        loop {
            let arrival = match link.ready().await {
                Ok(Some(arrival)) => Ok(arrival),
                Ok(None) => {
                    let messages = self.intake.messages();
                    if self.hand_over(&mut link, acks, token).await?.is_none() {
                        return Ok(None);
                    }
                    if let Some(rest) = pace.rest(messages, Instant::now()) {
                        self.rest(rest).await;
                    }
                    tokio::select! {
                        biased;
                        () = token.cancelled() => break,
                        Ok(()) = self.retunes.changed() => {
                            self.retune(Some(&mut link))?;
                            continue;
                        }
                        ids = acks.next() => {
                            confirm(&mut link, ids)?;
                            continue;
                        }
                        arrival = link.next() => arrival,
                    }
                }
                Err(error) => Err(error),
            };
            let message = match arrival {
                Ok(Arrival::Message(message)) => message,
                Ok(Arrival::Subscribed(refusals)) => {
                    self.subscribed(&refusals);
                    continue;
                }
                Ok(Arrival::Unsubscribed) => {
                    self.readers.parted();
                    continue;
                }
                Ok(Arrival::Confirmed { .. }) => continue,
                Err(error) => {
                    // The link is gone, but what came over it is good.
                    let _ = self.hand_over(&mut link, acks, token).await;
                    return Err(error);
                }
            };
            if !self.intake.fits(&message)
                && self.hand_over(&mut link, acks, token).await?.is_none()
            {
                return Ok(None);
            }
            self.intake.add(&message, Timestamp::now());
            if self.intake.is_full() {
                if self.hand_over(&mut link, acks, token).await?.is_none() {
                    return Ok(None);
                }
                if token.is_cancelled() {
                    break;
                }
                if self.retunes.has_changed().unwrap_or(false) {
                    self.retune(Some(&mut link))?;
                }
            }
        }
        Ok(Some(link))
    }

    /// Waits until the samples of the link before are on disk, so that the broker's repeats of
    /// them are known as such. Where that takes too long, they must be told by their times.
    async fn remember(
        &mut self,
        link: &mut Link,
        earlier: &mut Acks,
        token: &CancellationToken,
    ) -> Result<(), LinkError> {
        let committed = tokio::select! {
            committed = earlier.rest() => committed,
            error = link.hold() => return Err(error),
            () = sleep(SETTLE) => false,
            () = token.cancelled() => false,
        };
        self.intake.recent.link_ended(committed);
        *earlier = Acks::new();
        Ok(())
    }

    /// Waits for room as long as it takes, and meanwhile keeps the link alive without reading;
    /// at shutdown it waits only for a moment. `None`: nobody takes batches any more.
    async fn hand_over(
        &mut self,
        link: &mut Link,
        acks: &mut Acks,
        token: &CancellationToken,
    ) -> Result<Option<()>, LinkError> {
        let Some(batch) = self.intake.close(acks) else {
            return Ok(Some(()));
        };
        let batch = match self.batches.try_send(batch) {
            Ok(()) => return Ok(Some(())),
            Err(TrySendError::Closed(batch)) => return Ok(self.shed(&batch)),
            Err(TrySendError::Full(batch)) => batch,
        };
        let mut patience = pin!(async {
            token.cancelled().await;
            sleep(DRAIN).await;
        });
        let mut broken = None;
        loop {
            tokio::select! {
                biased;
                room = self.batches.reserve() => match room {
                    Ok(room) => {
                        room.send(batch);
                        return broken.map_or(Ok(Some(())), Err);
                    }
                    Err(_) => return Ok(self.shed(&batch)),
                },
                () = &mut patience => return Ok(self.shed(&batch)),
                ids = acks.next(), if broken.is_none() => broken = confirm(link, ids).err(),
                error = link.hold(), if broken.is_none() => broken = Some(error),
            }
        }
    }

    fn shed(&self, batch: &Batch) -> Option<()> {
        self.intake.ledger.shed(Shed::StoreQueue, batch.samples.len() as u64);
        None
    }

    async fn rest(&self, rest: Duration) {
        if self.own_thread {
            thread::sleep(rest);
        } else {
            sleep(rest).await;
        }
    }

    fn connected(&mut self, link: &mut Link, welcome: &Welcome) -> Result<(), LinkError> {
        self.intake.health.connected();
        tracing::info!(
            broker = self.broker_name,
            client_id = self.dialer.client_id,
            session_present = welcome.session_present,
            "connected to the broker for ingest"
        );
        self.readers.subscribe_all(link)
    }

    /// Takes over the newest subscriptions; without a link they wait for it.
    fn retune(&mut self, link: Option<&mut Link>) -> Result<(), LinkError> {
        let wanted = self.retunes.borrow_and_update().clone();
        match self.readers.decoders(&wanted) {
            Ok(mut decoders) => {
                decoders.clock_is_behind(self.intake.steps.behind());
                self.intake.decoders = decoders;
            }
            Err(error) => {
                tracing::error!(broker = self.broker_name, %error, "the subscriptions stay");
                return Ok(());
            }
        }
        self.readers.retune(&wanted.subscriptions, link)
    }

    fn subscribed(&mut self, refusals: &[Option<String>]) {
        for (filter, refusal) in self.readers.answered().iter().zip(refusals) {
            if let Some(reason) = refusal {
                let health = &self.intake.health;
                health.noted(format!("the broker refuses the subscription `{filter}`: {reason}"));
                tracing::error!(
                    broker = self.broker_name,
                    filter,
                    reason,
                    "the broker refuses a subscription; the others go on"
                );
            }
        }
    }

    fn report(&self, error: &LinkError, volume: Volume, delay: Duration) {
        let (broker, client_id) = (&self.broker_name, &self.dialer.client_id);
        match volume {
            Volume::Contested | Volume::Known => self.intake.health.failed(format!(
                "another client uses the client id `{client_id}`: give each box its own `client_id`"
            )),
            _ => self.intake.health.failed(error.to_string()),
        }
        super::reconnect::log(broker, client_id, error, volume, delay);
    }
}

impl Drain {
    /// Keeps the link alive until the last PUBACKs are out, then says goodbye. Messages that
    /// still come are not confirmed: the broker keeps them for the next start.
    async fn finish(self) {
        let Self { mut link, mut acks } = self;
        let deadline = Instant::now() + DRAIN;
        while !acks.is_done() {
            tokio::select! {
                ids = acks.next() => if confirm(&mut link, ids).is_err() {
                    break;
                },
                _ = link.hold() => break,
                () = sleep_until(deadline) => break,
            }
        }
        link.close(deadline).await;
    }
}

fn confirm(link: &mut Link, ids: Result<Vec<u16>, GivenUp>) -> Result<(), LinkError> {
    link.confirm(&ids.map_err(|GivenUp| LinkError::GivenUp)?);
    link.flush()
}
