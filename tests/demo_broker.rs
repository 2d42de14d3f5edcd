//! The demonstration's broker, as an MQTT 5 client sees it.
#![cfg(feature = "demo")]

use std::net::SocketAddr;
use std::time::Duration;

use andon::demo::broker;
use rumqttc::NetworkOptions;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{LastWill, Packet, Publish};
use rumqttc::v5::{AsyncClient, Event, EventLoop, MqttOptions};
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(10);

fn options(id: &str, broker: SocketAddr) -> MqttOptions {
    let mut options = MqttOptions::new(id, broker.ip().to_string(), broker.port());
    options.set_keep_alive(Duration::from_secs(10)).set_max_packet_size(Some(1 << 24));
    let mut network = NetworkOptions::new();
    network.set_tcp_nodelay(true);
    options.set_network_options(network);
    options
}

struct Client {
    client: AsyncClient,
    events: EventLoop,
}

impl Client {
    async fn connect(options: MqttOptions) -> Self {
        let (client, events) = AsyncClient::new(options, 1_000);
        let mut client = Self { client, events };
        client.until(|packet| matches!(packet, Packet::ConnAck(_))).await;
        client
    }

    async fn subscribe(&mut self, filter: &str) {
        self.client.subscribe(filter, QoS::AtLeastOnce).await.expect("the queue has room");
        self.until(|packet| matches!(packet, Packet::SubAck(_))).await;
    }

    async fn publish(&mut self, topic: &str, retain: bool, body: &[u8]) {
        self.client
            .publish(topic, QoS::AtLeastOnce, retain, body.to_vec())
            .await
            .expect("the queue has room");
        self.until(|packet| matches!(packet, Packet::PubAck(_))).await;
    }

    async fn message(&mut self) -> Publish {
        match self.until(|packet| matches!(packet, Packet::Publish(_))).await {
            Packet::Publish(publish) => publish,
            _ => unreachable!(),
        }
    }

    async fn until(&mut self, wanted: impl Fn(&Packet) -> bool) -> Packet {
        let found = async {
            loop {
                if let Event::Incoming(packet) = self.events.poll().await.expect("the link holds")
                    && wanted(&packet)
                {
                    return packet;
                }
            }
        };
        timeout(PATIENCE, found).await.expect("the broker answers in time")
    }
}

#[tokio::test]
async fn a_wildcard_subscriber_gets_what_is_published() {
    let broker = broker::start().await.unwrap();
    let mut subscriber = Client::connect(options("subscriber", broker)).await;
    subscriber.subscribe("line/+/telemetry").await;
    let mut publisher = Client::connect(options("publisher", broker)).await;
    publisher.publish("line/press-1/other", false, b"no").await;
    publisher.publish("line/press-1/telemetry", false, b"81.2").await;

    let message = subscriber.message().await;
    assert_eq!(message.topic, "line/press-1/telemetry");
    assert_eq!((message.payload.as_ref(), message.retain), (b"81.2".as_slice(), false));
}

#[tokio::test]
async fn a_large_payload_passes() {
    let broker = broker::start().await.unwrap();
    let mut subscriber = Client::connect(options("subscriber", broker)).await;
    subscriber.subscribe("line/#").await;
    let mut publisher = Client::connect(options("publisher", broker)).await;
    publisher.publish("line/image", false, &vec![7; 10 * 1024 * 1024]).await;
    assert_eq!(subscriber.message().await.payload.len(), 10 * 1024 * 1024);
}

#[tokio::test]
async fn a_retained_message_waits_for_new_subscribers_until_it_is_cleared() {
    let broker = broker::start().await.unwrap();
    let mut publisher = Client::connect(options("publisher", broker)).await;
    publisher.publish("line/press-1/alert/hot", true, b"active").await;
    publisher.publish("line/press-2/alert/hot", true, b"active").await;
    publisher.publish("line/press-2/alert/hot", true, b"").await;

    let mut late = Client::connect(options("late", broker)).await;
    late.subscribe("line/+/alert/+").await;
    let message = late.message().await;
    assert_eq!(message.topic, "line/press-1/alert/hot");
    assert_eq!((message.payload.as_ref(), message.retain), (b"active".as_slice(), true));

    publisher.publish("line/press-3/alert/hot", true, b"marker").await;
    let next = late.message().await;
    assert_eq!(next.topic, "line/press-3/alert/hot", "press-2 was cleared");
}

#[tokio::test]
async fn the_will_of_a_client_that_vanishes_is_published_and_retained() {
    let broker = broker::start().await.unwrap();
    let mut subscriber = Client::connect(options("subscriber", broker)).await;
    subscriber.subscribe("line/status").await;
    let mut mortal = options("mortal", broker);
    mortal.set_last_will(LastWill::new("line/status", "offline", QoS::AtLeastOnce, true, None));
    drop(Client::connect(mortal).await);
    assert_eq!(subscriber.message().await.payload.as_ref(), b"offline");

    let mut late = Client::connect(options("late", broker)).await;
    late.subscribe("line/status").await;
    let message = late.message().await;
    assert_eq!((message.payload.as_ref(), message.retain), (b"offline".as_slice(), true));
}

#[tokio::test]
async fn a_client_that_says_goodbye_leaves_no_will() {
    let broker = broker::start().await.unwrap();
    let mut subscriber = Client::connect(options("subscriber", broker)).await;
    subscriber.subscribe("line/#").await;
    let mut polite = options("polite", broker);
    polite.set_last_will(LastWill::new("line/status", "offline", QoS::AtLeastOnce, true, None));
    let mut polite = Client::connect(polite).await;
    polite.client.disconnect().await.unwrap();
    while polite.events.poll().await.is_ok() {}
    let mut publisher = Client::connect(options("publisher", broker)).await;
    publisher.publish("line/marker", false, b"marker").await;
    assert_eq!(subscriber.message().await.topic, "line/marker");
}

#[tokio::test]
async fn a_session_without_clean_start_keeps_what_came_meanwhile() {
    let broker = broker::start().await.unwrap();
    let lasting = || {
        let mut options = options("lasting", broker);
        options.set_clean_start(false).set_session_expiry_interval(Some(3_600));
        options
    };
    let mut subscriber = Client::connect(lasting()).await;
    subscriber.subscribe("line/#").await;
    drop(subscriber);
    let mut publisher = Client::connect(options("publisher", broker)).await;
    publisher.publish("line/meanwhile", false, b"1").await;

    let (client, events) = AsyncClient::new(lasting(), 10);
    let mut subscriber = Client { client, events };
    let packet = subscriber.until(|packet| matches!(packet, Packet::ConnAck(_))).await;
    let Packet::ConnAck(ack) = packet else { unreachable!() };
    assert!(ack.session_present);
    assert_eq!(subscriber.message().await.topic, "line/meanwhile");
}

/// What the daemon must live with in the demonstration.
#[tokio::test]
async fn a_hundred_messages_may_wait_for_their_receipts_and_no_more() {
    let broker = broker::start().await.unwrap();
    let mut manual = options("manual", broker);
    manual.set_manual_acks(true).set_receive_maximum(Some(16_384));
    let mut subscriber = Client::connect(manual).await;
    subscriber.subscribe("line/#").await;
    let mut publisher = Client::connect(options("publisher", broker)).await;
    for at in 0..150u8 {
        publisher.publish("line/a", false, &[at]).await;
    }
    let mut waiting = Vec::new();
    for _ in 0..100 {
        waiting.push(subscriber.message().await);
    }
    let more = timeout(Duration::from_millis(200), subscriber.message()).await;
    assert!(more.is_err(), "rumqttd heeds Receive Maximum now: the settings can be relaxed");
    for message in &waiting {
        subscriber.client.ack(message).await.unwrap();
    }
    for at in 100..150u8 {
        assert_eq!(subscriber.message().await.payload.as_ref(), [at]);
    }
}
