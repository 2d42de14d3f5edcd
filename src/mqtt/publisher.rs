//! Alerts, status and verdicts out; commands in.
//!
//! [`Publisher`] is a handle for any number of tasks, [`PublisherTask`] owns the connection.
//! A confirmed publish resolves when the broker's PUBACK is there; when the link breaks before,
//! it fails with [`PublishError::Disconnected`] and the caller's outbox keeps the message.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::connection::{Arrival, Link, LinkError};
use super::dialer::{BrokerError, Dialer, Role};
use super::reconnect::{Reconnect, log};
use super::wire::{Ask, Received, Welcome, publish_size};
use crate::audit::Entry;
use crate::decode::topic::TopicPattern;
use crate::message::{CommandMessage, Message, Origin};
use crate::settings::Broker;
use crate::standing::Standing;
use crate::time::Timestamp;

/// Confirmed publishes that wait to be taken.
const JOBS: usize = 256;
/// Verdicts that wait to be taken.
const SOON: usize = 1024;
/// QoS 1 messages in flight, unless the broker allows fewer.
const IN_FLIGHT: usize = 128;
/// At shutdown: how long the last publishes may take.
const DRAIN: Duration = Duration::from_secs(1);
/// The largest packet that MQTT can express.
const LARGEST_PACKET: usize = 268_435_455;

pub struct PublisherSettings {
    pub broker_name: String,
    pub broker: Broker,
    pub site: String,
    /// What the broker publishes when we vanish. At an orderly end we publish it ourselves.
    pub will: Option<Message>,
    /// `{prefix}/+/alert/+/command`: the first `+` is the asset, the second the prediction.
    pub command_filter: Option<String>,
    /// `{prefix}/+/label/+`, with the same two names, and who takes what comes in there.
    pub labels: Option<(String, mpsc::Sender<CommandMessage>)>,
    /// Where several boxes split the site.
    pub site_wide: Option<SiteWide>,
}

/// What all boxes of a site tell, and who remembers it.
pub struct SiteWide {
    /// `{prefix}/+/alert/+`: the retained states of all alerts, with the same two names.
    pub states: String,
    /// `{prefix}/status/+`: the `+` is a box.
    pub boxes: String,
    pub standing: Arc<Standing>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    #[error("there is no link to the broker")]
    Disconnected,
    /// It will be refused again: the message is one for the dead letters.
    #[error("the broker refuses the message: {reason} (0x{code:02x})")]
    Refused { code: u8, reason: String },
    #[error("the message is larger than the broker takes")]
    TooLarge,
    #[error("the publisher has ended")]
    Closed,
}

#[derive(Clone, Debug)]
pub struct Publisher {
    jobs: mpsc::Sender<Job>,
    soon: mpsc::Sender<Message>,
    link: watch::Receiver<bool>,
    brokers: Arc<watch::Sender<Broker>>,
}

/// Owns the connection; nothing moves unless it runs.
pub struct PublisherTask {
    broker_name: String,
    site: String,
    dialer: Dialer,
    /// Other settings of the broker, when the configuration changes.
    brokers: watch::Receiver<Broker>,
    filters: Vec<Filter>,
    jobs: mpsc::Receiver<Job>,
    soon: mpsc::Receiver<Message>,
    link: watch::Sender<bool>,
    /// Who waits for the PUBACK of which packet.
    pending: HashMap<u16, Reply>,
    last_id: u16,
    largest: usize,
    in_flight: usize,
}

/// What is subscribed to, and what comes in there.
struct Filter {
    pattern: TopicPattern,
    text: String,
    to: Taker,
}

/// Who takes what comes in.
enum Taker {
    Orders(mpsc::Sender<CommandMessage>),
    States(Arc<Standing>),
    Boxes(Arc<Standing>),
}

/// A message on its way.
#[must_use = "only the broker's answer says what became of the message"]
#[derive(Debug)]
pub struct Confirmation(oneshot::Receiver<Result<(), PublishError>>);

impl Confirmation {
    /// Resolves when the broker has answered or the connection is lost.
    pub async fn confirmed(self) -> Result<(), PublishError> {
        self.0.await.unwrap_or(Err(PublishError::Closed))
    }
}

type Reply = oneshot::Sender<Result<(), PublishError>>;

#[derive(Debug)]
struct Job {
    message: Message,
    reply: Reply,
}

/// Fails only when the settings cannot be used; it does not wait for the broker.
pub fn connect(
    settings: PublisherSettings,
    commands: mpsc::Sender<CommandMessage>,
) -> Result<(Publisher, PublisherTask), BrokerError> {
    let role = Role::Egress { will: settings.will };
    let dialer = Dialer::new(&settings.broker, &settings.site, role)?;
    let mut filters = Vec::new();
    let commands = settings.command_filter.map(|filter| (filter, commands));
    for (text, to) in commands.into_iter().chain(settings.labels) {
        filters.push(Filter { pattern: command_pattern(&text)?, text, to: Taker::Orders(to) });
    }
    if let Some(SiteWide { states, boxes, standing }) = settings.site_wide {
        let to = Taker::States(Arc::clone(&standing));
        filters.push(Filter { pattern: command_pattern(&states)?, text: states, to });
        let pattern = TopicPattern::parse(&boxes.replacen('+', "{asset}", 1));
        let pattern = pattern.map_err(|_| BrokerError::CommandFilter(boxes.clone()))?;
        filters.push(Filter { pattern, text: boxes, to: Taker::Boxes(standing) });
    }
    let (jobs, jobs_in) = mpsc::channel(JOBS);
    let (soon, soon_in) = mpsc::channel(SOON);
    let (link, link_seen) = watch::channel(false);
    let (brokers, brokers_in) = watch::channel(settings.broker);
    let task = PublisherTask {
        broker_name: settings.broker_name,
        site: settings.site,
        dialer,
        brokers: brokers_in,
        filters,
        jobs: jobs_in,
        soon: soon_in,
        link,
        pending: HashMap::new(),
        last_id: 0,
        largest: LARGEST_PACKET,
        in_flight: IN_FLIGHT,
    };
    Ok((Publisher { jobs, soon, link: link_seen, brokers: Arc::new(brokers) }, task))
}

/// The prediction stands where a pattern captures the tag.
fn command_pattern(filter: &str) -> Result<TopicPattern, BrokerError> {
    let pattern = filter.replacen('+', "{asset}", 1).replacen('+', "{tag}", 1);
    match TopicPattern::parse(&pattern) {
        Ok(pattern) if pattern.captures_tag() => Ok(pattern),
        _ => Err(BrokerError::CommandFilter(filter.to_owned())),
    }
}

impl Publisher {
    /// QoS 1: resolves when the broker has confirmed the message.
    pub async fn publish(&self, message: Message) -> Result<(), PublishError> {
        self.submit(message).await?.confirmed().await
    }

    /// Queues a QoS 1 message. Messages leave in the order in which they were submitted.
    pub async fn submit(&self, message: Message) -> Result<Confirmation, PublishError> {
        check_topic(&message.topic)?;
        if self.jobs.is_closed() {
            return Err(PublishError::Closed);
        }
        if !*self.link.borrow() {
            return Err(PublishError::Disconnected);
        }
        let (reply, answer) = oneshot::channel();
        let job = Job { message, reply };
        self.jobs.send(job).await.map_err(|_| PublishError::Closed)?;
        Ok(Confirmation(answer))
    }

    /// QoS 0, for what may be lost. False: shed, because the link is down or the queue is full.
    #[must_use]
    pub fn publish_soon(&self, message: Message) -> bool {
        *self.link.borrow()
            && check_topic(&message.topic).is_ok()
            && self.soon.try_send(message).is_ok()
    }

    /// Connects anew with other settings of the same broker. What is not confirmed yet comes back
    /// as [`PublishError::Disconnected`].
    pub fn redial(&self, broker: Broker) {
        self.brokers.send_replace(broker);
    }

    /// True while connected and, where commands are wanted, subscribed to them.
    pub fn link(&self) -> watch::Receiver<bool> {
        self.link.clone()
    }
}

/// A wrong topic would cost the connection; so it is refused here, with MQTT's own code.
fn check_topic(topic: &str) -> Result<(), PublishError> {
    let wrong =
        topic.is_empty() || topic.len() > usize::from(u16::MAX) || topic.contains(['+', '#', '\0']);
    if wrong {
        let reason = format!("`{topic}` is not a topic to publish on");
        return Err(PublishError::Refused { code: 0x90, reason });
    }
    Ok(())
}

impl PublisherTask {
    /// Runs until `token` is cancelled. Then it sends what is queued, publishes the Will's
    /// message itself, and disconnects.
    pub async fn run(mut self, token: CancellationToken) {
        let mut reconnect = Reconnect::new(Timestamp::now().as_nanos().unsigned_abs());
        loop {
            let mut up = None;
            let ended = self.live(&token, &mut up).await;
            self.link.send_replace(false);
            self.fail_all();
            let error = match ended {
                Ok(()) => return,
                Err(LinkError::Moved) => {
                    self.turn_to_the_new_broker();
                    continue;
                }
                Err(error) => error,
            };
            let lived = up.map_or(Duration::ZERO, |up: Instant| up.elapsed());
            let (delay, volume) = reconnect.after(&error, lived);
            log(&self.broker_name, &self.dialer.client_id, &error, volume, delay);
            if token.is_cancelled() || self.wait(delay, &token).await.is_err() {
                return;
            }
        }
    }

    /// One link from connecting to its end.
    async fn live(
        &mut self,
        token: &CancellationToken,
        up: &mut Option<Instant>,
    ) -> Result<(), LinkError> {
        let (mut link, welcome) = tokio::select! {
            opened = Link::open(&self.dialer) => opened?,
            Ok(()) = self.brokers.changed() => return Err(LinkError::Moved),
            () = token.cancelled() => return Ok(()),
        };
        *up = Some(Instant::now());
        self.connected(&mut link, &welcome)?;
        loop {
            let up = *self.link.borrow();
            let room = up && !link.is_full();
            tokio::select! {
                biased;
                () = token.cancelled() => break,
                Ok(()) = self.brokers.changed() => {
                    link.close(Instant::now() + DRAIN).await;
                    return Err(LinkError::Moved);
                }
                Some(job) = self.jobs.recv(), if room && self.pending.len() < self.in_flight => {
                    self.publish(job, &mut link)?;
                }
                arrival = link.next() => self.settle(arrival?),
                Some(message) = self.soon.recv(), if room => {
                    if publish_size(&message) <= self.largest {
                        link.publish(0, &message)?;
                    }
                }
            }
        }
        self.finish(link).await
    }

    fn connected(&mut self, link: &mut Link, welcome: &Welcome) -> Result<(), LinkError> {
        let largest = welcome.max_packet.map_or(LARGEST_PACKET, |max| max as usize);
        self.largest = largest.min(LARGEST_PACKET);
        self.in_flight = welcome.receive_maximum.map_or(IN_FLIGHT, usize::from).min(IN_FLIGHT);
        tracing::info!(
            broker = self.broker_name,
            client_id = self.dialer.client_id,
            session_present = welcome.session_present,
            "connected to the broker for alerts and status"
        );
        let id = self.next_id();
        if self.filters.is_empty() {
            self.link.send_replace(true);
            return Ok(());
        }
        let asked = self.filters.iter().map(|filter| match filter.to {
            Taker::Orders(_) => Ask::new(&filter.text, 1),
            // What stands is asked for with every link: this box may have been away for long.
            Taker::States(_) | Taker::Boxes(_) => Ask::new(&filter.text, 1).with_what_stands(),
        });
        link.subscribe(id, asked)
    }

    fn publish(&mut self, job: Job, link: &mut Link) -> Result<(), LinkError> {
        let Job { message, reply } = job;
        if publish_size(&message) > self.largest {
            let _ = reply.send(Err(PublishError::TooLarge));
            return Ok(());
        }
        let id = self.next_id();
        self.pending.insert(id, reply);
        link.publish(id, &message)?;
        // At once, where it goes: an alert should not wait for the next turn.
        link.flush()
    }

    /// A packet id that nobody waits for. There are many more ids than messages in flight.
    fn next_id(&mut self) -> u16 {
        loop {
            self.last_id = self.last_id.checked_add(1).unwrap_or(1);
            if !self.pending.contains_key(&self.last_id) {
                return self.last_id;
            }
        }
    }

    fn settle(&mut self, arrival: Arrival) {
        match arrival {
            Arrival::Confirmed { id, code, reason } => {
                let answer = match code {
                    0x80.. => Err(PublishError::Refused { code, reason }),
                    _ => Ok(()),
                };
                if let Some(reply) = self.pending.remove(&id) {
                    // The caller may have gone; then nobody wants to know.
                    let _ = reply.send(answer);
                }
            }
            Arrival::Subscribed(refusals) => self.subscribed(&refusals),
            Arrival::Message(message) => self.take(&message),
            Arrival::Unsubscribed => {}
        }
    }

    /// Without commands the alerts must still go out; so a refusal does not keep the link down.
    fn subscribed(&self, refusals: &[Option<String>]) {
        for (refusal, filter) in refusals.iter().zip(&self.filters) {
            let Some(reason) = refusal else { continue };
            let (broker, filter) = (&self.broker_name, &filter.text);
            tracing::error!(
                broker,
                filter,
                reason,
                "the broker refuses a subscription: over it alerts cannot be acknowledged, or verdicts labelled"
            );
        }
        self.link.send_replace(true);
    }

    /// Never waits: the one who takes commands may himself wait for a publish.
    fn take(&self, message: &Received) {
        let topic = String::from_utf8_lossy(&message.topic);
        let found = self.filters.iter().find_map(|filter| {
            let names = filter.pattern.captures(&topic)?;
            Some((&filter.to, names.asset?, names.tag))
        });
        let room = match found {
            Some((Taker::Orders(to), asset, Some(prediction))) => {
                return self.take_command(to, (asset, prediction), message);
            }
            Some((Taker::States(standing), asset, Some(prediction))) => {
                standing.alert(asset, prediction, &message.payload)
            }
            Some((Taker::Boxes(standing), name, None)) => standing.told(name, &message.payload),
            _ => {
                tracing::warn!(%topic, "a message that is no command came in; it is ignored");
                return;
            }
        };
        if !room {
            tracing::error!(%topic, "too much stands at the broker; a takeover would miss this");
        }
    }

    fn take_command(
        &self,
        to: &mpsc::Sender<CommandMessage>,
        (asset, prediction): (&str, &str),
        message: &Received,
    ) {
        let topic = String::from_utf8_lossy(&message.topic);
        let from =
            Origin::Mqtt { broker: self.broker_name.clone(), topic: topic.clone().into_owned() };
        let object = format!("{asset}/{prediction}");
        let entry = || Entry { action: "command", object: &object, by: None, from: &from };
        if message.retained {
            entry().refused(&"it is retained, and would be obeyed for ever");
            return;
        }
        let command = CommandMessage {
            asset: asset.to_owned(),
            prediction: prediction.to_owned(),
            body: message.payload.clone(),
            from: from.clone(),
        };
        if to.try_send(command).is_err() {
            entry().refused(&"too many commands wait already");
        }
    }

    /// Sends what is queued, then the Will's message, then DISCONNECT.
    async fn finish(&mut self, mut link: Link) -> Result<(), LinkError> {
        let deadline = Instant::now() + DRAIN;
        self.jobs.close();
        let mut last = match &self.dialer.role {
            Role::Egress { will } => will.clone(),
            Role::Ingest { .. } => None,
        };
        loop {
            while self.pending.len() < self.in_flight
                && let Ok(job) = self.jobs.try_recv()
            {
                self.publish(job, &mut link)?;
            }
            if self.pending.is_empty() {
                let Some(message) = last.take() else { break };
                let (reply, _) = oneshot::channel();
                self.publish(Job { message, reply }, &mut link)?;
            }
            tokio::select! {
                arrival = link.next() => self.settle(arrival?),
                () = sleep_until(deadline) => break,
            }
        }
        link.close(deadline).await;
        Ok(())
    }

    /// Without a link nothing may pile up.
    async fn wait(&mut self, delay: Duration, token: &CancellationToken) -> Result<(), ()> {
        let mut pause = pin!(sleep(delay));
        loop {
            tokio::select! {
                () = token.cancelled() => return Err(()),
                () = &mut pause => return Ok(()),
                Ok(()) = self.brokers.changed() => {
                    self.turn_to_the_new_broker();
                    return Ok(());
                }
                Some(job) = self.jobs.recv() => {
                    let _ = job.reply.send(Err(PublishError::Disconnected));
                }
                Some(_) = self.soon.recv() => {}
            }
        }
    }

    fn turn_to_the_new_broker(&mut self) {
        let broker = self.brokers.borrow_and_update().clone();
        match Dialer::new(&broker, &self.site, self.dialer.role.clone()) {
            Ok(dialer) => self.dialer = dialer,
            Err(error) => {
                tracing::error!(broker = self.broker_name, %error, "the old settings stay");
            }
        }
    }

    fn fail_all(&mut self) {
        for (_, reply) in self.pending.drain() {
            let _ = reply.send(Err(PublishError::Disconnected));
        }
        while let Ok(job) = self.jobs.try_recv() {
            let _ = job.reply.send(Err(PublishError::Disconnected));
        }
        while self.soon.try_recv().is_ok() {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_name_asset_and_prediction_by_their_place() {
        let pattern = command_pattern("acme/plant7/+/alert/+/command").unwrap();
        let names = pattern.captures("acme/plant7/press-3/alert/wear/command").unwrap();
        assert_eq!((names.asset, names.tag), (Some("press-3"), Some("wear")));
        assert!(command_pattern("acme/alert/+/command").is_err());
    }

    #[test]
    fn wrong_topics_are_refused_before_they_cost_the_link() {
        assert_eq!(check_topic("a/b"), Ok(()));
        for topic in ["", "a/+/b", "a/#", "a\0b"] {
            assert!(matches!(check_topic(topic), Err(PublishError::Refused { code: 0x90, .. })));
        }
    }
}
