//! Another configuration while the daemon runs.

use std::time::Duration;

use andon::settings::change::Change;

use super::plant::{Daemon, Plant};
use super::{HOT_RULE, PATIENCE};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rule_that_is_gone_ends_its_alert_and_one_that_comes_judges_the_next_reading() {
    let mut plant = Plant::new(HOT_RULE).await;
    let mut daemon = Daemon::start(&plant).await;
    plant.send("press-1", 1, &[("temperature", 85.0)]).await;
    let raised = plant.next_event("press-1", "hot").await;
    plant.rewrite(|text| text.replace("name = \"hot\"", "name = \"warm\""));
    let applied = daemon.reload(&plant).await;
    let told: Vec<String> = applied.done.iter().map(Change::to_string).collect();
    assert_eq!(told, ["rule.hot: removed (live)", "rule.warm: added (live)"]);
    assert_eq!(applied.left, []);
    let withdrawn = plant.next_event("press-1", "hot").await;
    assert_eq!(withdrawn["data"]["state"], "normal");
    assert_eq!(withdrawn["data"]["alert_id"], raised["data"]["alert_id"]);
    plant.no_retained("press-1", "hot").await;

    plant.send("press-1", 2, &[("temperature", 85.0)]).await;
    let anew = plant.next_event("press-1", "warm").await;
    assert_eq!(anew["data"]["state"], "active");
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_whose_settings_change_is_connected_anew_and_alerts_go_on() {
    let mut plant = Plant::new(HOT_RULE).await;
    let mut daemon = Daemon::start(&plant).await;
    plant.send("press-1", 1, &[("temperature", 85.0)]).await;
    let raised = plant.next_event("press-1", "hot").await;
    plant.rewrite(|text| text.replace("client_id = \"andon\"", "client_id = \"andon-2\""));
    let applied = daemon.reload(&plant).await;
    let told: Vec<String> = applied.done.iter().map(Change::to_string).collect();
    assert_eq!(told, ["broker.plant.client_id: \"andon\" -> \"andon-2\" (reconnects)"]);
    let anew = async {
        let line = "andon_source_connects_total{source=\"mqtt:plant\"} 2\n";
        while !daemon.get("/metrics").await.contains(line) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, anew).await.expect("a second connection");
    daemon.until_ready().await;

    plant.send("press-1", 2, &[("temperature", 60.0)]).await;
    let mut cleared = plant.next_event("press-1", "hot").await;
    while cleared["id"] == raised["id"] {
        // The first connection may have ended before the broker's PUBACK was read.
        cleared = plant.next_event("press-1", "hot").await;
    }
    assert_eq!(cleared["data"]["state"], "cleared");
    assert_eq!(cleared["data"]["alert_id"], raised["data"]["alert_id"]);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_silence_rule_misses_a_machine_that_stopped_before_it_came() {
    let mut plant = Plant::new(HOT_RULE).await;
    let mut daemon = Daemon::start(&plant).await;
    plant.send("press-1", 1, &[("temperature", 85.0)]).await;
    let _raised = plant.next_event("press-1", "hot").await;
    let silent = "[[rule]]\nname = \"silent\"\nassets = [\"press-*\"]\ntag = \"temperature\"\n\
                  when = \"silent\"\nfor = \"200ms\"\n";
    plant.rewrite(|text| format!("{text}\n{silent}"));
    let applied = daemon.reload(&plant).await;
    assert_eq!(applied.done.len(), 1);
    let missed = plant.next_event("press-1", "silent").await;
    assert_eq!(missed["data"]["state"], "active");
    daemon.stop().await;
}
