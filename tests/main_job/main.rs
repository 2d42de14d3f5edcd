//! The main job, end to end: a real broker, a real database file, the daemon as `run` starts it.

mod ailing;
mod audit;
mod board;
mod drift;
mod flood;
mod hostile;
mod labels;
mod modbus;
mod notes;
mod places;
mod plant;
mod process;
mod reach;
mod relay;
mod reload;
mod replay;
mod shadow;
mod snapshots;
mod swap;
mod viewers;
mod wire;

use std::time::Duration;

use plant::{Daemon, Plant};

const HOT_RULE: &str = r#"
[[rule]]
name = "hot"
assets = ["press-*"]
tag = "temperature"
when = "above"
limit = 80.0
alert = { clear = 70.0, severity = 800 }
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hot_machine_raises_one_alert_that_a_person_acknowledges_and_that_clears() {
    let mut plant = Plant::new(HOT_RULE).await;
    let daemon = Daemon::start(&plant).await;
    plant.send("press-1", 1, &[("temperature", 60.0)]).await;
    plant.send("press-1", 2, &[("temperature", 85.0)]).await;
    let raised = plant.next_event("press-1", "hot").await;
    assert_eq!(raised["type"], "io.andon.alert.raised.v1");
    assert_eq!(raised["data"]["state"], "active");
    assert_eq!(raised["data"]["score"], 85.0);
    assert_eq!(plant.retained("press-1", "hot").await["data"]["state"], "active");

    plant.command("press-1", "hot", r#"{"action":"acknowledge","by":"shift lead"}"#).await;
    let acknowledged = plant.next_event("press-1", "hot").await;
    assert_eq!(acknowledged["data"]["state"], "acknowledged");
    assert_eq!(acknowledged["data"]["acknowledged_by"], "shift lead");

    plant.send("press-1", 3, &[("temperature", 90.0)]).await;
    plant.send("press-1", 4, &[("temperature", 65.0)]).await;
    let cleared = plant.next_event("press-1", "hot").await;
    assert_eq!(cleared["type"], "io.andon.alert.cleared.v1");
    assert_eq!(cleared["data"]["alert_id"], raised["data"]["alert_id"]);
    plant.no_retained("press-1", "hot").await;
    let totals = daemon.stop().await;
    assert_eq!((totals.received, totals.stored, totals.in_flight), (4, 4, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_keeps_the_alert_and_raises_it_no_second_time() {
    let mut plant = Plant::new(HOT_RULE).await;
    let daemon = Daemon::start(&plant).await;
    plant.send("press-1", 1, &[("temperature", 85.0)]).await;
    let raised = plant.next_event("press-1", "hot").await;
    daemon.stop().await;

    let daemon = Daemon::start(&plant).await;
    plant.send("press-1", 2, &[("temperature", 86.0)]).await;
    plant.send("press-1", 3, &[("temperature", 60.0)]).await;
    let next = plant.next_event("press-1", "hot").await;
    assert_eq!(next["type"], "io.andon.alert.cleared.v1", "no second raise came before");
    assert_eq!(next["data"]["alert_id"], raised["data"]["alert_id"]);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_08_a_stale_retained_reading_is_stored_and_raises_no_alert() {
    let mut plant = Plant::new(HOT_RULE).await;
    plant.retain("press-1", 1, 95.0).await;
    let daemon = Daemon::start(&plant).await;
    plant.send("press-1", 2, &[("temperature", 60.0)]).await;
    plant.send("press-1", 3, &[("temperature", 85.0)]).await;
    let raised = plant.next_event("press-1", "hot").await;
    assert_eq!(raised["data"]["score"], 85.0, "the old 95 degrees raise nothing");
    assert_eq!(daemon.stop().await.stored, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_payloads_are_counted_and_the_next_good_one_is_used() {
    let mut plant = Plant::new(HOT_RULE).await;
    let daemon = Daemon::start(&plant).await;
    let deep = "[".repeat(5_000);
    for body in ["", "{", "hot", "\u{0}", &deep, r#"{"ts":1,"values":{"temperature":1}}"#] {
        plant.publish("plant/press-1/telemetry", body.as_bytes()).await;
    }
    plant.publish("plant/press-1/telemetry", &[0xff, 0xfe, 0x00]).await;
    let words = br#"{"ts":1700000001000,"values":{"temperature":"hot","load":3}}"#;
    plant.publish("plant/press-1/telemetry", words).await;
    plant.send("press-1", 2, &[("temperature", 85.0)]).await;
    let raised = plant.next_event("press-1", "hot").await;
    assert_eq!(raised["data"]["score"], 85.0);
    let totals = daemon.stop().await;
    assert_eq!(totals.stored, 2, "the good value of the mixed message, and the hot one");
    assert_eq!(totals.rejected_total(), 8);
    assert_eq!(totals.received, 10);
    assert_eq!(totals.in_flight, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redelivered_message_is_stored_once() {
    let mut plant = Plant::new(HOT_RULE).await;
    let daemon = Daemon::start(&plant).await;
    for _ in 0..2 {
        plant.send("press-1", 1, &[("temperature", 60.0)]).await;
    }
    plant.send("press-1", 2, &[("temperature", 85.0)]).await;
    let _raised = plant.next_event("press-1", "hot").await;
    let totals = daemon.stop().await;
    assert_eq!((totals.received, totals.stored, totals.rejected_total()), (3, 2, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_machine_is_noticed_even_if_it_never_spoke() {
    let rule = r#"
[[rule]]
name = "silent"
assets = ["press-9"]
tag = "temperature"
when = "silent"
for = "300ms"
"#;
    let mut plant = Plant::new(rule).await;
    let daemon = Daemon::start(&plant).await;
    let raised = plant.next_event("press-9", "silent").await;
    assert_eq!(raised["data"]["state"], "active");
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_and_health_are_served() {
    let mut plant = Plant::new(HOT_RULE).await;
    let daemon = Daemon::start(&plant).await;
    plant.send("press-1", 2, &[("temperature", 85.0)]).await;
    let _raised = plant.next_event("press-1", "hot").await;
    assert!(daemon.get("/healthz").await.starts_with("HTTP/1.1 200"));
    assert!(daemon.get("/readyz").await.starts_with("HTTP/1.1 200"));
    let metrics = daemon.get("/metrics").await;
    assert!(metrics.contains("andon_samples_received_total 1\n"), "{metrics}");
    assert!(metrics.contains("andon_alerts_raised_total 1\n"), "{metrics}");
    assert!(metrics.contains("andon_source_connected{source=\"mqtt:plant\"} 1\n"), "{metrics}");
    let status = daemon.get("/status").await;
    assert!(status.contains("\"state\": \"online\""), "{status}");
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_with_modbus_alone_keeps_running() {
    let plant = Plant::new("").await;
    plant.rewrite(|text| {
        let (before, rest) = text.split_once("[[mqtt]]").expect("a subscription");
        let (_, after) = rest.split_once("[store]").expect("a store");
        let device = "[[modbus]]\nasset = \"press-1\"\naddress = \"tcp://127.0.0.1:9\"\n\
                      register = [{ tag = \"pressure\", address = \"holding:0\" }]\n";
        format!("{before}{device}[store]{after}")
    });
    let mut daemon = Daemon::start_unready(&plant).await;
    assert_eq!(daemon.failed_within(Duration::from_millis(300)).await, None);
    daemon.stop().await;
}

/// How long anything may take that a test waits for.
const PATIENCE: Duration = Duration::from_secs(20);
