//! The outbox, on a real file, against a broker that misbehaves.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use andon::deliver;
use andon::ledger::Ledger;
use andon::message::Message;
use andon::settings::StoreSettings;
use andon::store::{AlertChange, AlertKey, Store};
use andon::tag::Registry;
use andon::telemetry::Meters;
use andon::time::Timestamp;
use rumqttc::v5::mqttbytes::v5::{ConnAckProperties, PubAckReason};
use tempfile::TempDir;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::egress::{Out, message, started};
use crate::scripted::{Peer, Scripted, limits};
use crate::{until, within};

/// `deliver` hands out no more at a time.
const IN_FLIGHT: usize = 64;

struct Bench {
    store: Store,
    out: Out,
    meters: Arc<Meters>,
    _stop: DropGuard,
    _folder: TempDir,
}

impl Bench {
    async fn with(out: Out) -> Self {
        let folder = TempDir::new().unwrap();
        let settings = StoreSettings {
            path: folder.path().join("andon.db"),
            commit_interval: Duration::from_millis(5),
            ..StoreSettings::default()
        };
        let registry = Arc::new(Registry::new(10));
        let (store, writer) =
            Store::open(&settings, registry, Arc::new(Ledger::default())).await.unwrap();
        let token = CancellationToken::new();
        tokio::spawn(writer.run(token.clone()));
        let meters = Arc::new(Meters::default());
        let (sending, counting) = (out.publisher.clone(), meters.clone());
        tokio::spawn(deliver::run(store.clone(), sending, counting, token.clone()));
        Self { store, out, meters, _stop: token.drop_guard(), _folder: folder }
    }

    async fn alert(&self, topic: &str, body: &'static str) {
        let change = AlertChange {
            key: AlertKey { asset: "press-1".into(), prediction: topic.into() },
            state: Some("{}".into()),
            messages: vec![message(topic, body)],
            at: Timestamp::now(),
            cause: None,
        };
        within("the alert on disk", self.store.commit_change(change)).await.unwrap();
    }

    /// As committed `ago`: an event that knows the field `historical`, and the state.
    async fn told(&self, ago: Duration, topic: &str, id: &str) {
        let body = format!("{{\"id\":\"{id}\",\"data\":{{\"historical\":false}}}}");
        let event = Message { topic: format!("{topic}/event"), body: body.into(), retain: false };
        let state = Message { topic: topic.into(), retain: true, ..event.clone() };
        let change = AlertChange {
            key: AlertKey { asset: "press-1".into(), prediction: topic.into() },
            state: Some("{}".into()),
            messages: vec![event, state],
            at: Timestamp::now().saturating_sub(ago),
            cause: None,
        };
        within("the alert on disk", self.store.commit_change(change)).await.unwrap();
    }

    async fn emptied(&self) {
        until("an empty outbox", || self.store.stats().outbox == 0).await;
    }
}

/// Takes one message, confirms it: topic, id, whether it is told late, whether it is retained.
async fn take_alert(peer: &mut Peer) -> (String, String, bool, bool) {
    let publish = peer.published().await;
    peer.confirm(publish.pkid, PubAckReason::Success).await;
    let body: serde_json::Value = serde_json::from_slice(&publish.payload).unwrap();
    let topic = String::from_utf8(publish.topic.to_vec()).unwrap();
    let id = body["id"].as_str().unwrap().to_owned();
    (topic, id, body["data"]["historical"].as_bool().unwrap(), publish.retain)
}

/// Takes one message, confirms it, gives its body.
async fn take(peer: &mut Peer) -> Vec<u8> {
    let publish = peer.published().await;
    peer.confirm(publish.pkid, PubAckReason::Success).await;
    publish.payload.to_vec()
}

#[tokio::test]
async fn fault_01_a_broker_that_comes_back_without_the_session_gets_the_same_alerts_again() {
    let (script, out, mut peer) = started().await;
    let bench = Bench::with(out).await;
    bench.alert("acme/a", "id-1").await;
    bench.alert("acme/b", "id-2").await;
    let lost = [peer.published().await, peer.published().await].map(|sent| sent.payload.to_vec());
    drop(peer);
    let died = Instant::now();
    let mut peer = script.welcome().await;
    assert_eq!(peer.grant().await, ["acme/+/alert/+/command", "acme/+/label/+"]);
    assert!(died.elapsed() < Duration::from_secs(5), "{:?}", died.elapsed());
    let back = Instant::now();
    let again = [take(&mut peer).await, take(&mut peer).await];
    assert!(back.elapsed() < Duration::from_secs(1), "{:?}", back.elapsed());
    assert_eq!(again, lost);
    bench.emptied().await;
}

#[tokio::test]
async fn fault_02_alerts_leave_a_half_open_link_for_the_next() {
    let (script, port) = Scripted::bind().await;
    let out = Out::start(port);
    let limits = ConnAckProperties { server_keep_alive: Some(1), ..limits() };
    let mut half_open = script.welcome_with(Some(limits)).await;
    half_open.grant().await;
    out.up().await;
    let bench = Bench::with(out).await;
    bench.alert("acme/a", "id-1").await;
    let since = Instant::now();
    let mut peer = script.subscribed().await;
    assert!(since.elapsed() < Duration::from_secs(5), "{:?}", since.elapsed());
    assert_eq!(take(&mut peer).await, b"id-1");
    bench.emptied().await;
}

#[tokio::test]
async fn fault_06_after_an_outage_what_is_true_goes_first_and_the_past_is_told_late() {
    let (script, port) = Scripted::bind().await;
    let bench = Bench::with(Out::start(port)).await;
    let hour = Duration::from_secs(3600);
    bench.told(3 * hour, "acme/a", "a-1").await;
    bench.told(2 * hour, "acme/a", "a-2").await;
    bench.told(hour, "acme/b", "b-1").await;
    bench.told(Duration::ZERO, "acme/c", "c-1").await;
    let mut peer = script.subscribed().await;
    let mut got = Vec::new();
    for _ in 0..7 {
        got.push(take_alert(&mut peer).await);
    }
    let line = |topic: &str, id: &str, late, retained| (topic.into(), id.into(), late, retained);
    let expected = [
        line("acme/a", "a-2", false, true),
        line("acme/b", "b-1", false, true),
        line("acme/c/event", "c-1", false, false),
        line("acme/c", "c-1", false, true),
        line("acme/a/event", "a-1", true, false),
        line("acme/a/event", "a-2", true, false),
        line("acme/b/event", "b-1", true, false),
    ];
    assert_eq!(got, expected);
    bench.emptied().await;
    assert_eq!(bench.meters.superseded.load(Relaxed), 1, "the state a-1 was replaced by a-2");
}

#[tokio::test]
async fn fault_06_a_fresh_alert_passes_a_long_backlog_which_drains_all_the_same() {
    const BACKLOG: usize = 600;
    let (script, port) = Scripted::bind().await;
    let bench = Bench::with(Out::start(port)).await;
    let day = Duration::from_secs(86_400);
    for index in 0..BACKLOG {
        bench.told(day, "acme/a", &format!("a-{index}")).await;
    }
    let mut peer = script.subscribed().await;
    let began = Instant::now();
    let mut late = Vec::new();
    let mut fresh = 0;
    while late.len() < BACKLOG {
        if late.len() == 50 * (fresh + 1) && fresh < 5 {
            bench.told(Duration::ZERO, "acme/c", "c").await;
            let told = Instant::now();
            fresh += 1;
            loop {
                let (_, id, historical, _) = take_alert(&mut peer).await;
                match historical {
                    true => late.push(id),
                    false => break assert_eq!(id, "c"),
                }
            }
            assert!(told.elapsed() < Duration::from_secs(1), "{:?}", told.elapsed());
        } else if let (_, id, true, _) = take_alert(&mut peer).await {
            late.push(id);
        }
    }
    let expected: Vec<String> = (0..BACKLOG).map(|index| format!("a-{index}")).collect();
    assert_eq!((late, fresh), (expected, 5));
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    bench.emptied().await;
}

#[tokio::test]
async fn fault_15_while_pubacks_are_withheld_little_is_in_flight_and_alerts_are_still_committed() {
    let (_script, out, mut peer) = started().await;
    let bench = Bench::with(out).await;
    for _ in 0..2 * IN_FLIGHT {
        bench.alert("acme/a", "id").await;
    }
    let mut ids = Vec::new();
    for _ in 0..IN_FLIGHT {
        ids.push(peer.published().await.pkid);
    }
    assert!(peer.says_nothing().await);
    assert_eq!(bench.store.stats().outbox, 2 * IN_FLIGHT as u64);
    for id in ids {
        peer.confirm(id, PubAckReason::Success).await;
    }
    for _ in 0..IN_FLIGHT {
        assert_eq!(take(&mut peer).await, b"id");
    }
    bench.emptied().await;
}

#[tokio::test]
async fn fault_15_pubacks_in_the_wrong_order_or_twice_confirm_each_its_own_message() {
    let (_script, out, mut peer) = started().await;
    let bench = Bench::with(out).await;
    bench.alert("acme/a", "id-1").await;
    bench.alert("acme/b", "id-2").await;
    let (one, two) = (peer.published().await.pkid, peer.published().await.pkid);
    peer.confirm(two, PubAckReason::Success).await;
    peer.confirm(two, PubAckReason::Success).await;
    until("the second to go", || bench.store.stats().outbox == 1).await;
    let waiting = bench.store.next_outgoing(0, 9).await.unwrap();
    assert_eq!(waiting[0].message.topic, "acme/a");
    peer.confirm(one, PubAckReason::Success).await;
    bench.emptied().await;
    assert!(*bench.out.publisher.link().borrow());
}

#[tokio::test]
async fn fault_16_a_topic_that_is_forbidden_makes_a_dead_letter_with_the_reason_code() {
    let (_script, out, mut peer) = started().await;
    let bench = Bench::with(out).await;
    bench.alert("acme/secret", "id-1").await;
    let id = peer.published().await.pkid;
    peer.confirm(id, PubAckReason::NotAuthorized).await;
    until("the dead letter", || bench.store.stats().dead_letters == 1).await;
    let letters = bench.store.dead_letters(9).await.unwrap();
    assert!(letters[0].reason.contains("0x87"), "{}", letters[0].reason);
    bench.alert("acme/a", "id-2").await;
    assert_eq!(take(&mut peer).await, b"id-2");
    bench.emptied().await;
}
