//! Row 48: hundreds of tags flip at once.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;
use tokio::time::{Instant, timeout};

use super::PATIENCE;
use super::plant::{Daemon, Plant};

const MACHINES: usize = 300;
const BURST: usize = 20;
const PER_SECOND: usize = 100;

async fn plant() -> Plant {
    Plant::new(&format!(
        "[[rule]]\nname = \"hot\"\nassets = [\"press-*\"]\ntag = \"temperature\"\nwhen = \"above\"\n\
         limit = 50.0\n[flood]\nburst = {BURST}\nper_second = {PER_SECOND}\n"
    ))
    .await
}

async fn all_send(plant: &Plant, second: i64, temperature: f64) {
    for machine in 0..MACHINES {
        plant.send(&format!("press-{machine}"), second, &[("temperature", temperature)]).await;
    }
}

/// What is heard until `done` says so, each with its time.
async fn heard(plant: &mut Plant, mut done: impl FnMut(&Value) -> bool) -> Vec<(Instant, Value)> {
    let mut all = Vec::new();
    let listen = async {
        let mut ended = false;
        while !ended {
            for event in plant.events_so_far().await {
                ended |= done(&event);
                all.push((Instant::now(), event));
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let ended = timeout(PATIENCE, listen).await;
    assert!(ended.is_ok(), "{} events, and not the last one", all.len());
    all
}

fn of<'a>(events: &'a [(Instant, Value)], rule: &str, kind: &str) -> Vec<&'a (Instant, Value)> {
    let kind = format!("io.andon.alert.{kind}.v1");
    let wanted = |(_, event): &&(Instant, Value)| {
        event["data"]["prediction"] == rule && event["type"] == kind.as_str()
    };
    events.iter().filter(wanted).collect()
}

fn is_end_of_flood(event: &Value) -> bool {
    event["data"]["prediction"] == "alert-flood" && event["type"] == "io.andon.alert.cleared.v1"
}

async fn metric(daemon: &Daemon, name: &str) -> f64 {
    let page = daemon.get("/metrics").await;
    let line = page.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
    line.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("{name} is not in\n{page}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_48_a_storm_of_alerts_is_held_off_summed_up_and_told_at_its_pace() {
    let mut plant = plant().await;
    let daemon = Daemon::start(&plant).await;
    all_send(&plant, 1, 90.0).await;
    let events = heard(&mut plant, is_end_of_flood).await;
    let raises = of(&events, "hot", "raised");
    let ids: BTreeSet<&str> = raises
        .iter()
        .map(|(_, event)| event["data"]["alert_id"].as_str().expect("an id"))
        .collect();
    assert_eq!((raises.len(), ids.len()), (MACHINES, MACHINES), "each is told, and once");

    let took = raises[MACHINES - 1].0 - raises[0].0;
    let least = Duration::from_secs_f64((MACHINES - BURST) as f64 / PER_SECOND as f64);
    assert!(took > least.mul_f64(0.8), "{MACHINES} in {took:?}: a flood at the subscriber");
    let [summary] = of(&events, "alert-flood", "raised")[..] else { panic!("one summary") };
    assert!(summary.0 < raises[MACHINES - 1].0, "the summary comes while the others wait");
    let text = summary.1["data"]["text"].as_str().expect("a text");
    assert!(text.contains("changes of alerts") && text.contains("most on press-"), "{text}");

    let held = metric(&daemon, "andon_alert_transitions_held_total").await;
    assert!(held > 100.0 && held <= (MACHINES - BURST) as f64, "{held}");
    assert_eq!(metric(&daemon, "andon_alerts_held").await, 0.0);

    // Flapping: however often an alert changes while it waits, its newest state is told, once.
    for second in 2..10 {
        all_send(&plant, second, if second % 2 == 0 { 10.0 } else { 90.0 }).await;
    }
    let flapping = heard(&mut plant, is_end_of_flood).await;
    let told = of(&flapping, "hot", "raised").len() + of(&flapping, "hot", "cleared").len();
    let merged = metric(&daemon, "andon_alert_transitions_merged_total").await;
    let all = (8 * MACHINES) as f64;
    assert_eq!(told as f64 + merged, all, "what is not told by itself is counted");
    assert!(merged > all / 4.0, "{merged} of {all}");
    for machine in [0, 1, MACHINES / 2, MACHINES - 1] {
        let state = plant.retained(&format!("press-{machine}"), "hot").await;
        assert_eq!(state["data"]["state"], "active", "{state}");
    }
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_48_what_is_held_at_the_end_of_a_life_is_told_by_the_next() {
    let mut plant = plant().await;
    let daemon = Daemon::start(&plant).await;
    all_send(&plant, 1, 90.0).await;
    // The summary comes a second after the flood has begun.
    let mut events = heard(&mut plant, |event| event["data"]["prediction"] == "alert-flood").await;
    daemon.stop().await;
    let daemon = Daemon::start(&plant).await;
    let hot = |event: &Value| event["data"]["prediction"] == "hot";
    let mut ids: BTreeSet<String> = BTreeSet::new();
    let mut all = |event: &Value| {
        if hot(event) {
            ids.insert(event["data"]["alert_id"].to_string());
        }
        ids.len() == MACHINES
    };
    if !events.iter().map(|(_, event)| all(event)).fold(false, |_, done| done) {
        events.extend(heard(&mut plant, all).await);
    }
    if of(&events, "alert-flood", "cleared").is_empty() {
        events.extend(heard(&mut plant, is_end_of_flood).await);
    }
    assert_eq!(of(&events, "alert-flood", "cleared").len(), 1);
    let told = events.iter().filter(|(_, event)| hot(event)).count();
    assert!(told >= MACHINES, "{told}");
    daemon.stop().await;
}
