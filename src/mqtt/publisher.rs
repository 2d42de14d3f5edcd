//! Alerts, status and verdicts out; commands in.
//!
//! [`Publisher`] is a handle for any number of tasks, [`PublisherTask`] owns the connection (`task`).
//! A confirmed publish resolves when the broker's PUBACK is there; when the link breaks before,
//! it fails with [`PublishError::Disconnected`] and the caller's outbox keeps the message.

mod task;

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot, watch};

use super::dialer::{BrokerError, Dialer, Role};
use crate::decode::topic::TopicPattern;
use crate::message::{CommandMessage, Message};
use crate::settings::Broker;
use crate::standing::Standing;

/// Confirmed publishes that wait to be taken.
const JOBS: usize = 256;
/// Verdicts that wait to be taken.
const SOON: usize = 1024;
/// QoS 1 messages in flight, unless the broker allows fewer.
const IN_FLIGHT: usize = 128;
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
