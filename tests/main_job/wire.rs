//! The main job over a network in foul weather.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::plant::{Daemon, Plant};
use super::process::stored_times;
use super::relay::{Relay, Weather};
use super::{HOT_RULE, PATIENCE};

/// At least so many, and on until so many links have broken.
const SECONDS: i64 = 600;
const BROKEN: u32 = 4;
/// The temperature goes up or down every so many seconds.
const HALF: i64 = 10;

fn temperature(second: i64) -> f64 {
    if second / HALF % 2 == 0 { 60.0 } else { 90.0 }
}

async fn weather(seed: u64) {
    let mut plant = Plant::new(HOT_RULE).await;
    let relay = Relay::before(&plant, seed).await;
    let daemon = Daemon::start(&plant).await;
    relay.weather.send_replace(Weather::Foul);
    let mut events = Vec::new();
    let mut seconds = 0;
    while seconds < SECONDS || relay.broken.load(Relaxed) < BROKEN || seconds % (2 * HALF) > 0 {
        seconds += 1;
        assert!(seconds < 20 * SECONDS, "seed {seed}: too few links break");
        plant.send("press-1", seconds, &[("temperature", temperature(seconds))]).await;
        if seconds % 20 == 0 {
            // What has been told leaves room for more, and the wire gets time to fail.
            events.extend(plant.events_so_far().await);
            tokio::time::sleep(Duration::from_millis(40)).await;
        }
    }
    relay.weather.send_replace(Weather::Fair);
    let raises = usize::try_from(seconds / HALF / 2).expect("a small number");
    let all_told = async {
        loop {
            events.extend(plant.events_so_far().await);
            let ids: BTreeSet<String> = events
                .iter()
                .filter(|event| event["type"] == "io.andon.alert.raised.v1")
                .map(|event| event["data"]["alert_id"].to_string())
                .collect();
            if ids.len() >= raises && daemon.stored() >= seconds.unsigned_abs() {
                return ids.len();
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let told = tokio::time::timeout(3 * PATIENCE, all_told).await;
    let broken = relay.broken.load(Relaxed);
    assert_eq!(told, Ok(raises), "seed {seed}: {} stored, {broken} links broken", daemon.stored());
    daemon.stop().await;
    // This broker repeats under new packet ids and without the mark of a repeat, against MQTT, so
    // some may be stored twice; with mosquitto none is: interop/test_wire.py.
    let stored: BTreeSet<i64> = stored_times(&plant).await.into_iter().collect();
    let missing: Vec<i64> = (1..=seconds).filter(|second| !stored.contains(second)).collect();
    assert_eq!(missing, [0i64; 0], "seed {seed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wire_that_stalls_splits_and_breaks_loses_nothing_and_tells_each_alert() {
    weather(11).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_01_links_that_break_in_mid_publish_are_made_good() {
    weather(12).await;
}
