//! What a broker sends again on a new link because a PUBACK was lost with the old one.

use andon::ledger::Rejection;
use andon::settings::PayloadKind;

use crate::scripted::Scripted;
use crate::{Running, broker, numbers, until};

const TOPIC: &str = "plant/press/values";
/// More than is remembered of a tag.
const LONG: i64 = 90;

fn ingest(port: u16) -> Running {
    let mut subscription = numbers("plant/{asset}/values", 1);
    subscription.payload = PayloadKind::Json;
    subscription.time = Some("ts".into());
    subscription.values = Some("values".into());
    Running::start(broker(port), vec![subscription])
}

fn reading(number: i64) -> Vec<u8> {
    let ts = 1_700_000_000_000 + number;
    format!("{{\"ts\":{ts},\"values\":{{\"pressure\":{number}}}}}").into_bytes()
}

#[tokio::test]
async fn fault_07_repeats_of_what_is_committed_are_known_however_many_they_are() {
    let (script, port) = Scripted::bind().await;
    let mut running = ingest(port);
    let mut peer = script.subscribed().await;
    let mut receipts = Vec::new();
    let mut taken = 0;
    for number in 1..=LONG {
        peer.publish(u16::try_from(number).unwrap(), TOPIC, &reading(number)).await;
    }
    while taken < LONG {
        let batch = running.batch().await;
        taken += i64::try_from(batch.samples.len()).unwrap();
        receipts.push(batch.receipt.unwrap());
    }
    drop(peer);
    let mut peer = script.subscribed().await;
    for number in 1..=LONG {
        peer.publish_again(u16::try_from(number).unwrap(), TOPIC, &reading(number)).await;
    }
    assert!(peer.says_nothing().await, "what is not on disk yet is waited for");
    receipts.into_iter().for_each(andon::sample::Receipt::settle);
    for number in 1..=LONG {
        assert_eq!(i64::from(peer.confirmed().await), number);
    }
    peer.publish(1, TOPIC, &reading(LONG + 1)).await;
    assert_eq!(running.batch().await.samples.len(), 1, "and the next one is new");
    let totals = running.ledger.totals();
    assert!(totals.rejected.contains(&(Rejection::Duplicate, LONG.unsigned_abs())));
}

#[tokio::test]
async fn fault_07_a_repeat_of_what_was_given_up_is_taken() {
    let (script, port) = Scripted::bind().await;
    let mut running = ingest(port);
    let mut peer = script.subscribed().await;
    peer.publish(1, TOPIC, &reading(1)).await;
    drop(running.batch().await.receipt);
    drop(peer);
    let mut peer = script.subscribed().await;
    peer.publish_again(1, TOPIC, &reading(1)).await;
    running.batch().await.receipt.unwrap().settle();
    assert_eq!(peer.confirmed().await, 1);
}

#[tokio::test]
async fn fault_07_a_repeat_without_a_time_of_its_own_is_taken_rather_than_lost() {
    let (script, port) = Scripted::bind().await;
    let subscriptions = vec![numbers("plant/{asset}/{tag}", 1)];
    let mut running = Running::start(broker(port), subscriptions);
    let mut peer = script.subscribed().await;
    peer.publish(1, "plant/press/pressure", b"7").await;
    running.batch().await.receipt.unwrap().settle();
    assert_eq!(peer.confirmed().await, 1);
    drop(peer);
    let mut peer = script.subscribed().await;
    peer.publish_again(1, "plant/press/pressure", b"7").await;
    let again = running.batch().await;
    assert_eq!(running.values(&again), [("pressure".to_owned(), 7.0)]);
    until("no rejection", || running.ledger.totals().rejected_total() == 0).await;
}
