//! More people than one: two who acknowledge at the same moment, and viewers who stop reading.

use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::task::JoinSet;

use super::board::{json, status};
use super::plant::{Daemon, Plant};
use super::{HOT_RULE, PATIENCE};

const JSON: &str = "Content-Type: application/json\r\n";
const COMMAND: &str = "/api/v1/alerts/press-1/hot/command";
const VIEWERS: usize = 50;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_people_who_acknowledge_at_once_the_first_is_told_to_everyone_once() {
    let mut plant = Plant::new(HOT_RULE).await;
    let daemon = Daemon::start(&plant).await;
    for round in 0..5 {
        plant.send("press-1", 10 * round + 1, &[("temperature", 85.0)]).await;
        let raised = plant.next_event("press-1", "hot").await;
        let id = raised["data"]["alert_id"].as_str().expect("an id");
        let body = |by| format!(r#"{{"action":"acknowledge","by":"{by}","alert_id":"{id}"}}"#);
        let (first, second) = (body("R. Meyer"), body("shift lead"));
        let (first, second) =
            tokio::join!(daemon.post(COMMAND, JSON, &first), daemon.post(COMMAND, JSON, &second));
        // Either has what they want, and both are told who was first.
        assert_eq!([status(&first), status(&second)], [200, 200], "{first}\n{second}");
        let by = json(&first)["acknowledged_by"].clone();
        assert_eq!(json(&second)["acknowledged_by"], by);
        let event = plant.next_event("press-1", "hot").await;
        assert_eq!(event["data"]["acknowledged_by"], by, "subscribers hear of the first");
        plant.send("press-1", 10 * round + 2, &[("temperature", 60.0)]).await;
        let cleared = plant.next_event("press-1", "hot").await;
        assert_eq!(cleared["data"]["state"], "normal", "nothing was told twice");
    }
    daemon.stop().await;
}

/// Resident memory of this process, in KiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("procfs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn viewers_who_stop_reading_cost_no_memory_and_hold_nobody_up() {
    let mut plant = Plant::new(&format!("{HOT_RULE}\n[flood]\nburst = 10000\n")).await;
    let daemon = Daemon::start(&plant).await;
    for asset in 0..100 {
        let tags: Vec<String> = (0..10).map(|tag| format!("tag-{tag}")).collect();
        let values: Vec<(&str, f64)> = tags.iter().map(|tag| (tag.as_str(), 1.5)).collect();
        plant.send(&format!("asset-{asset:02}"), 1, &values).await;
    }
    let mut viewers = Vec::new();
    for _ in 0..VIEWERS {
        let mut viewer = daemon.connect().await;
        let ask = b"GET /api/v1/events?asset=* HTTP/1.1\r\nHost: localhost\r\n\r\n";
        viewer.write_all(ask).await.expect("sent");
        viewers.push(viewer);
    }
    // Each change of an alert is news for every viewer, and none of them reads.
    let mut second = 2;
    let mut change = async |plant: &mut Plant, count: i64| {
        for _ in 0..count {
            for temperature in [85.0, 60.0] {
                second += 1;
                plant.send("press-1", second, &[("temperature", temperature)]).await;
                plant.next_event("press-1", "hot").await;
            }
        }
    };
    change(&mut plant, 10).await;
    let before = resident();
    change(&mut plant, 60).await;
    let grown = resident().saturating_sub(before);
    // Were events kept, 120 changes of 20 kB and more would wait for each of 50 viewers: 120 MB.
    assert!(grown < 40_000, "{grown} KiB more");
    let mut readers = JoinSet::new();
    for _ in 0..4 {
        let mut other = daemon.connect().await;
        readers.spawn(async move {
            let ask =
                b"GET /api/v1/assets HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
            other.write_all(ask).await.expect("sent");
            let mut answer = String::new();
            tokio::io::AsyncReadExt::read_to_string(&mut other, &mut answer).await.expect("read");
            assert_eq!(status(&answer), 200, "{answer}");
        });
    }
    tokio::time::timeout(PATIENCE, readers.join_all()).await.expect("others are answered");
    drop(viewers);
    tokio::time::timeout(Duration::from_secs(10), daemon.stop()).await.expect("in time");
}
