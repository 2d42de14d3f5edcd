//! Alerts out and commands in, with a broker that misbehaves.

use andon::message::{CommandMessage, Message};
use andon::mqtt::{PublishError, Publisher, PublisherSettings, connect};
use bytes::Bytes;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{ConnAckProperties, Packet, PubAckReason, SubscribeReasonCode};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::scripted::{Peer, Scripted, limits};
use crate::{broker, within};

pub(crate) struct Out {
    pub(crate) publisher: Publisher,
    pub(crate) commands: mpsc::Receiver<CommandMessage>,
    labels: mpsc::Receiver<CommandMessage>,
    pub(crate) task: JoinHandle<()>,
    pub(crate) stop: DropGuard,
}

pub(crate) fn message(topic: &str, body: &'static str) -> Message {
    Message { topic: topic.into(), body: Bytes::from_static(body.as_bytes()), retain: false }
}

impl Out {
    pub(crate) fn start(port: u16) -> Self {
        let will = Message { retain: true, ..message("acme/status", "offline") };
        let (commands_out, commands) = mpsc::channel(4);
        let (labels_out, labels) = mpsc::channel(4);
        let settings = PublisherSettings {
            broker_name: "plant".into(),
            broker: broker(port),
            site: "site".into(),
            will: Some(will),
            command_filter: Some("acme/+/alert/+/command".into()),
            labels: Some(("acme/+/label/+".into(), labels_out)),
            site_wide: None,
        };
        let (publisher, task) = connect(settings, commands_out).unwrap();
        let token = CancellationToken::new();
        let task = tokio::spawn(task.run(token.clone()));
        Self { publisher, commands, labels, task, stop: token.drop_guard() }
    }

    pub(crate) async fn up(&self) {
        within("the link", self.publisher.link().wait_for(|up| *up)).await.unwrap();
    }

    async fn down(&self) {
        within("the end of the link", self.publisher.link().wait_for(|up| !*up)).await.unwrap();
    }

    /// Publishes in the background.
    fn publish(&self, message: Message) -> JoinHandle<Result<(), PublishError>> {
        let publisher = self.publisher.clone();
        tokio::spawn(async move { publisher.publish(message).await })
    }
}

async fn answer(task: JoinHandle<Result<(), PublishError>>) -> Result<(), PublishError> {
    within("an answer to a publish", task).await.unwrap()
}

pub(crate) async fn started() -> (Scripted, Out, Peer) {
    let (script, port) = Scripted::bind().await;
    let out = Out::start(port);
    let peer = script.subscribed().await;
    out.up().await;
    (script, out, peer)
}

#[tokio::test]
async fn a_publish_resolves_at_its_own_puback() {
    let (_script, out, mut peer) = started().await;
    let first = out.publish(message("acme/a", "1"));
    let one = peer.published().await;
    let second = out.publish(message("acme/b", "2"));
    let two = peer.published().await;
    assert_eq!(
        (one.qos, &one.topic[..], &two.topic[..]),
        (QoS::AtLeastOnce, &b"acme/a"[..], &b"acme/b"[..])
    );
    peer.confirm(two.pkid, PubAckReason::NoMatchingSubscribers).await;
    assert_eq!(answer(second).await, Ok(()));
    assert!(!first.is_finished());
    peer.confirm(one.pkid, PubAckReason::Success).await;
    assert_eq!(answer(first).await, Ok(()));
}

#[tokio::test]
async fn fault_16_an_error_code_in_the_puback_is_a_refusal_and_the_link_survives() {
    let (_script, out, mut peer) = started().await;
    let refused = out.publish(message("acme/a", "1"));
    let id = peer.published().await.pkid;
    peer.confirm(id, PubAckReason::QuotaExceeded).await;
    let error = PublishError::Refused { code: 0x97, reason: "quota exceeded".into() };
    assert_eq!(answer(refused).await, Err(error));
    let next = out.publish(message("acme/a", "2"));
    let id = peer.published().await.pkid;
    peer.confirm(id, PubAckReason::Success).await;
    assert_eq!(answer(next).await, Ok(()));
}

#[tokio::test]
async fn fault_01_a_broker_that_dies_in_a_publish_disconnects_and_is_found_again() {
    let (script, out, mut peer) = started().await;
    let lost = out.publish(message("acme/a", "1"));
    peer.published().await;
    drop(peer);
    assert_eq!(answer(lost).await, Err(PublishError::Disconnected));
    out.down().await;
    assert_eq!(
        out.publisher.publish(message("acme/a", "1")).await,
        Err(PublishError::Disconnected)
    );
    assert!(!out.publisher.publish_soon(message("acme/a", "1")));

    let mut peer = script.welcome().await;
    assert_eq!(peer.grant().await, ["acme/+/alert/+/command", "acme/+/label/+"]);
    out.up().await;
    let again = out.publish(message("acme/a", "1"));
    let id = peer.published().await.pkid;
    peer.confirm(id, PubAckReason::Success).await;
    assert_eq!(answer(again).await, Ok(()));
}

#[tokio::test]
async fn the_link_is_up_only_when_the_commands_are_answered_for() {
    let (script, port) = Scripted::bind().await;
    let out = Out::start(port);
    let mut peer = script.welcome().await;
    let subscribe = peer.subscription().await;
    assert!(!*out.publisher.link().borrow());
    peer.answer(subscribe.pkid, vec![SubscribeReasonCode::NotAuthorized]).await;
    out.up().await;
}

#[tokio::test]
async fn what_the_broker_cannot_take_does_not_cost_the_link() {
    let (script, port) = Scripted::bind().await;
    let out = Out::start(port);
    let limits = ConnAckProperties { max_packet_size: Some(64), ..limits() };
    let mut peer = script.welcome_with(Some(limits)).await;
    peer.grant().await;
    out.up().await;
    let large = Message { body: vec![b'x'; 100].into(), ..message("acme/a", "") };
    assert_eq!(out.publisher.publish(large.clone()).await, Err(PublishError::TooLarge));
    let _ = out.publisher.publish_soon(large);
    let wrong = out.publisher.publish(message("acme/+", "1")).await;
    assert!(matches!(wrong, Err(PublishError::Refused { code: 0x90, .. })));
    assert!(out.publisher.publish_soon(message("acme/v", "1")));
    let soon = peer.published().await;
    assert_eq!((soon.qos, &soon.topic[..]), (QoS::AtMostOnce, &b"acme/v"[..]));
}

#[tokio::test]
async fn commands_come_with_their_names_and_retained_ones_not_at_all() {
    let (_script, mut out, mut peer) = started().await;
    peer.publish_retained(0, "acme/press/alert/wear/command", b"old").await;
    peer.publish(7, "acme/press-3/alert/wear/command", b"{}").await;
    let command = within("a command", out.commands.recv()).await.unwrap();
    assert_eq!((command.asset.as_str(), command.prediction.as_str()), ("press-3", "wear"));
    assert_eq!(&command.body[..], b"{}");
    assert_eq!(peer.confirmed().await, 7);
    peer.publish(8, "acme/press-3/label/wear", b"{}").await;
    let label = within("a label", out.labels.recv()).await.unwrap();
    assert_eq!((label.asset.as_str(), label.prediction.as_str()), ("press-3", "wear"));
}

#[tokio::test]
async fn more_publishes_than_are_allowed_in_flight_all_get_through() {
    let (_script, out, mut peer) = started().await;
    let publishes: Vec<_> = (0..1000).map(|_| out.publish(message("acme/a", "1"))).collect();
    let broker = tokio::spawn(async move {
        for _ in 0..1000 {
            let id = peer.published().await.pkid;
            peer.confirm(id, PubAckReason::Success).await;
        }
        peer
    });
    for publish in publishes {
        assert_eq!(answer(publish).await, Ok(()));
    }
    broker.await.unwrap();
}

#[tokio::test]
async fn the_will_is_given_and_at_an_orderly_end_published_by_ourselves() {
    let (_script, out, mut peer) = started().await;
    let will = peer.will.as_ref().unwrap();
    assert_eq!(
        (&will.topic[..], &will.message[..], will.retain),
        (&b"acme/status"[..], &b"offline"[..], true)
    );
    assert_eq!(peer.connect.client_id, "edge-out");
    let last = out.publish(message("acme/a", "1"));
    let id = peer.published().await.pkid;
    drop(out.stop);
    peer.confirm(id, PubAckReason::Success).await;
    assert_eq!(answer(last).await, Ok(()));
    let status = peer.published().await;
    assert_eq!((&status.topic[..], &status.payload[..]), (&b"acme/status"[..], &b"offline"[..]));
    assert!(status.retain);
    peer.confirm(status.pkid, PubAckReason::Success).await;
    assert!(matches!(peer.read().await, Some(Packet::Disconnect(_))));
    within("the end of the publisher", out.task).await.unwrap();
    assert_eq!(out.publisher.publish(message("acme/a", "1")).await, Err(PublishError::Closed));
}
