//! Samples in, with a broker that misbehaves.

use std::io::Write;
use std::time::Duration;

use andon::ledger::Rejection;
use rumqttc::v5::mqttbytes::v5::{ConnAckProperties, Packet, PingResp, SubscribeReasonCode};

use crate::scripted::{Scripted, limits};
use crate::{LOOK, Running, broker, numbers, until, within};

const TOPIC: &str = "plant/press/pressure";

fn ingest(port: u16) -> Running {
    Running::start(broker(port), vec![numbers("plant/{asset}/{tag}", 1)])
}

#[tokio::test]
async fn a_puback_goes_out_only_after_the_receipt_is_settled_and_in_order() {
    let (script, port) = Scripted::bind().await;
    let mut running = ingest(port);
    let mut peer = script.subscribed().await;
    peer.publish(5, TOPIC, b"1").await;
    let first = running.batch().await;
    peer.publish(6, TOPIC, b"2").await;
    let second = running.batch().await;
    assert_eq!(running.values(&second), [("pressure".to_owned(), 2.0)]);
    assert!(!second.stale);
    second.receipt.unwrap().settle();
    assert!(peer.says_nothing().await);
    first.receipt.unwrap().settle();
    assert_eq!(peer.confirmed().await, 5);
    assert_eq!(peer.confirmed().await, 6);
}

#[tokio::test]
async fn poison_waits_for_its_turn_although_nothing_has_to_be_stored() {
    let (script, port) = Scripted::bind().await;
    let mut running = ingest(port);
    let mut peer = script.subscribed().await;
    let mut receipts = Vec::new();
    for id in (1..=10).step_by(2) {
        peer.publish(id, TOPIC, b"1").await;
        receipts.push(running.batch().await.receipt.unwrap());
        peer.publish(id + 1, TOPIC, b"poison").await;
        let rejected = u64::from(id).div_ceil(2);
        until("the poison", || running.ledger.totals().rejected_total() == rejected).await;
    }
    for receipt in receipts.drain(1..).rev() {
        receipt.settle();
    }
    assert!(peer.says_nothing().await);
    receipts.remove(0).settle();
    for id in 1..=10 {
        assert_eq!(peer.confirmed().await, id);
    }
}

#[tokio::test]
async fn the_session_is_asked_for_as_configured() {
    let (script, port) = Scripted::bind().await;
    let mut password = tempfile::NamedTempFile::new().unwrap();
    writeln!(password, "secret").unwrap();
    let mut settings = broker(port);
    settings.username = Some("andon".into());
    settings.password_file = Some(password.path().to_owned());
    let _running = Running::start(settings, vec![numbers("plant/{asset}/{tag}", 1)]);
    let mut peer = script.welcome().await;
    let login = peer.login.as_ref().unwrap();
    assert_eq!((login.username.as_str(), login.password.as_str()), ("andon", "secret"));
    assert_eq!(peer.connect.client_id, "edge-in");
    assert_eq!(peer.connect.keep_alive, 30);
    assert!(!peer.connect.clean_start);
    let properties = peer.connect.properties.as_ref().unwrap();
    assert_eq!(properties.receive_maximum, Some(100));
    assert_eq!(properties.session_expiry_interval, Some(3600));
    assert!(properties.max_packet_size.unwrap() > 16 * 1024);
    assert_eq!(peer.grant().await, ["plant/+/+"]);
}

#[tokio::test]
async fn fault_05_and_fault_09_what_cannot_be_read_is_counted_quarantined_and_confirmed() {
    let (script, port) = Scripted::bind().await;
    let mut running = ingest(port);
    let mut peer = script.subscribed().await;
    peer.publish(1, TOPIC, b"poison").await;
    assert_eq!(peer.confirmed().await, 1);
    peer.publish(2, TOPIC, &[b'7'; 2000]).await;
    assert_eq!(peer.confirmed().await, 2);
    peer.publish(3, "plant//pressure", b"1").await;
    assert_eq!(peer.confirmed().await, 3);
    peer.publish(4, TOPIC, b"1").await;
    let batch = running.batch().await;
    assert_eq!((batch.samples.len(), batch.messages), (1, 1));

    let poison = running.quarantine.recv().await.unwrap();
    assert_eq!((poison.reason, &poison.head[..]), ("unreadable", &b"poison"[..]));
    assert_eq!((poison.topic.as_str(), poison.source.as_str()), (TOPIC, "mqtt:plant"));
    let large = running.quarantine.recv().await.unwrap();
    assert_eq!((large.reason, large.head.len(), large.length), ("too_large", 1024, 2000));
    assert_eq!(running.quarantine.recv().await.unwrap().reason, "unknown_topic");
    let totals = running.ledger.totals();
    assert_eq!((totals.received, totals.rejected_total(), totals.in_flight), (4, 3, 1));
    assert!(totals.rejected.contains(&(Rejection::TooLarge, 1)));
    assert_eq!(running.health.snapshot().connects, 1);
}

#[tokio::test]
async fn a_full_quarantine_stops_nothing() {
    let (script, port) = Scripted::bind().await;
    let running = ingest(port);
    let mut peer = script.subscribed().await;
    for id in 1..=50 {
        peer.publish(id, TOPIC, b"poison").await;
        assert_eq!(peer.confirmed().await, id);
    }
    assert_eq!(running.ledger.totals().rejected_total(), 50);
}

#[tokio::test]
async fn fault_08_retained_messages_travel_apart_and_are_stale() {
    let (script, port) = Scripted::bind().await;
    let mut running = ingest(port);
    let mut peer = script.subscribed().await;
    peer.publish_retained(0, TOPIC, b"1").await;
    peer.publish(0, TOPIC, b"2").await;
    let (old, new) = (running.batch().await, running.batch().await);
    assert_eq!((old.stale, running.values(&old)), (true, vec![("pressure".to_owned(), 1.0)]));
    assert_eq!((new.stale, running.values(&new)), (false, vec![("pressure".to_owned(), 2.0)]));
    assert!(new.receipt.is_none());
}

#[tokio::test]
async fn a_refused_subscription_is_told_and_the_others_go_on() {
    let (script, port) = Scripted::bind().await;
    let subscriptions = vec![numbers("secret/{asset}/{tag}", 1), numbers("plant/{asset}/{tag}", 0)];
    let mut running = Running::start(broker(port), subscriptions);
    let mut peer = script.welcome().await;
    let subscribe = peer.subscription().await;
    let granted = SubscribeReasonCode::Success(subscribe.filters[1].qos);
    peer.answer(subscribe.pkid, vec![SubscribeReasonCode::NotAuthorized, granted]).await;
    peer.publish(0, TOPIC, b"1").await;
    running.batch().await;
    let health = running.health.snapshot();
    assert!(health.connected);
    assert_eq!(
        health.last_error.unwrap(),
        "the broker refuses the subscription `secret/+/+`: not authorized"
    );
}

#[tokio::test]
async fn fault_03_a_new_link_subscribes_again_and_forgets_the_old_receipts() {
    let (script, port) = Scripted::bind().await;
    let mut running = ingest(port);
    let mut peer = script.subscribed().await;
    peer.publish(1, TOPIC, b"1").await;
    let before = running.batch().await;
    drop(peer);
    let mut peer = script.subscribed().await;
    before.receipt.unwrap().settle();
    peer.publish(9, TOPIC, b"1").await;
    let after = running.batch().await;
    after.receipt.unwrap().settle();
    assert_eq!(peer.confirmed().await, 9);
    assert_eq!(running.health.snapshot().connects, 2);
}

#[tokio::test]
async fn a_receipt_that_is_dropped_makes_the_broker_deliver_again() {
    let (script, port) = Scripted::bind().await;
    let mut running = ingest(port);
    let mut peer = script.subscribed().await;
    peer.publish(1, TOPIC, b"1").await;
    drop(running.batch().await);
    let _peer = script.subscribed().await;
    assert!(running.health.snapshot().last_error.unwrap().contains("given up"));
}

#[tokio::test]
async fn fault_02_a_silent_peer_is_left_after_one_and_a_half_keep_alives() {
    let (script, port) = Scripted::bind().await;
    let running = ingest(port);
    let limits = ConnAckProperties { server_keep_alive: Some(1), ..limits() };
    let mut half_open = script.welcome_with(Some(limits)).await;
    half_open.grant().await;
    let since = tokio::time::Instant::now();
    let _again = script.welcome().await;
    assert!(since.elapsed() > Duration::from_millis(1200), "{:?}", since.elapsed());
    assert!(since.elapsed() < Duration::from_secs(5), "{:?}", since.elapsed());
    let error = running.health.snapshot().last_error.unwrap();
    assert_eq!(error, "nothing was heard for 1.5 times the keep alive");
}

#[tokio::test]
async fn an_idle_link_lives_on_pings() {
    let (script, port) = Scripted::bind().await;
    let running = ingest(port);
    let limits = ConnAckProperties { server_keep_alive: Some(1), ..limits() };
    let mut peer = script.welcome_with(Some(limits)).await;
    peer.grant().await;
    for _ in 0..3 {
        assert!(matches!(peer.read().await, Some(Packet::PingReq(_))));
        peer.write(Packet::PingResp(PingResp)).await;
    }
    assert_eq!(running.health.snapshot().connects, 1);
}

#[tokio::test]
async fn fault_11_two_clients_with_one_id_do_not_throw_each_other_out_for_ever() {
    let (script, port) = Scripted::bind().await;
    let running = ingest(port);
    for _ in 0..2 {
        let mut peer = script.subscribed().await;
        // As mosquitto says it: the reason and no properties.
        peer.write_bytes(&[0xe0, 1, 0x8e]).await;
        while peer.read().await.is_some() {}
    }
    until("the contest is told", || {
        let error = running.health.snapshot().last_error;
        error.is_some_and(|error| error.contains("give each box its own `client_id`"))
    })
    .await;
    assert!(script.is_left_alone(Duration::from_millis(1000)).await);
}

#[tokio::test]
async fn a_slow_store_stops_the_reading_and_loses_nothing() {
    const MESSAGES: u64 = 60_000;
    let (script, port) = Scripted::bind().await;
    let mut running = ingest(port);
    let mut peer = script.subscribed().await;
    let flood = tokio::spawn(async move {
        for _ in 0..MESSAGES {
            peer.publish(0, TOPIC, b"1").await;
        }
        peer
    });
    let first = running.batch().await;
    let mut read = running.ledger.totals().received;
    loop {
        tokio::time::sleep(LOOK).await;
        let now = running.ledger.totals().received;
        if now == read {
            break;
        }
        read = now;
    }
    assert!(read < MESSAGES, "the reading did not stop");
    let mut samples = first.samples.len() as u64;
    while samples < MESSAGES {
        samples += running.batch().await.samples.len() as u64;
    }
    assert_eq!(samples, MESSAGES);
    let _peer = within("the flood", flood).await.unwrap();
    assert_eq!(running.health.snapshot().connects, 1);
}

#[tokio::test]
async fn a_slow_store_does_not_cost_the_session() {
    let (script, port) = Scripted::bind().await;
    let mut running = ingest(port);
    let limits = ConnAckProperties { server_keep_alive: Some(1), ..limits() };
    let mut peer = script.welcome_with(Some(limits)).await;
    peer.grant().await;
    for id in 1..=20 {
        peer.publish(id, TOPIC, b"1").await;
        peer.publish_retained(0, TOPIC, b"1").await;
    }
    for _ in 0..3 {
        assert!(matches!(peer.read().await, Some(Packet::PingReq(_))));
        peer.write(Packet::PingResp(PingResp)).await;
    }
    running.batch().await.receipt.unwrap().settle();
    assert_eq!(peer.confirmed().await, 1);
    assert_eq!(running.health.snapshot().connects, 1);
}

#[tokio::test]
async fn a_thread_of_its_own_serves_as_well() {
    let (script, port) = Scripted::bind().await;
    let mut running =
        Running::start_on_thread(broker(port), vec![numbers("plant/{asset}/{tag}", 1)]);
    let mut peer = script.subscribed().await;
    peer.publish(1, TOPIC, b"1").await;
    running.batch().await.receipt.unwrap().settle();
    assert_eq!(peer.confirmed().await, 1);
    drop(running.stop);
    assert!(matches!(peer.read().await, Some(Packet::Disconnect(_))));
    within("the end of the ingest", running.task).await.unwrap();
}

#[tokio::test]
async fn refused_credentials_are_told_in_the_brokers_words() {
    let (script, port) = Scripted::bind().await;
    let running = ingest(port);
    let mut peer = script.accept().await;
    peer.write_bytes(&[0x20, 3, 0, 0x86, 0]).await;
    let told = "the broker refuses the connection: bad user name or password";
    until("the refusal is told", || running.health.snapshot().last_error.as_deref() == Some(told))
        .await;
}

#[tokio::test]
async fn at_the_end_the_last_receipts_are_waited_for() {
    let (script, port) = Scripted::bind().await;
    let mut running = ingest(port);
    let mut peer = script.subscribed().await;
    peer.publish(3, TOPIC, b"1").await;
    let batch = running.batch().await;
    drop(running.stop);
    assert!(within("the end of the batches", running.batches.recv()).await.is_none());
    batch.receipt.unwrap().settle();
    assert_eq!(peer.confirmed().await, 3);
    assert!(matches!(peer.read().await, Some(Packet::Disconnect(_))));
    within("the end of the ingest", running.task).await.unwrap();
}

#[tokio::test]
async fn fault_04_an_ingest_without_a_broker_keeps_trying_and_stops_when_told() {
    let (script, port) = Scripted::bind().await;
    drop(script);
    let running = ingest(port);
    until("two attempts", || running.health.snapshot().errors >= 2).await;
    drop(running.stop);
    within("the end of the ingest", running.task).await.unwrap();
}
