//! The daemon as a process: signals, exit codes, SIGKILL.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use andon::ledger::Ledger;
use andon::settings::StoreSettings;
use andon::store::Store;
use andon::tag::Registry;
use andon::time::Timestamp;

use super::plant::Plant;
use super::relay::{Relay, Weather};
use super::{HOT_RULE, PATIENCE};

pub(crate) fn andon(command: &str, config: &Path) -> Command {
    let mut andon = Command::new(env!("CARGO_BIN_EXE_andon"));
    andon.arg(command).arg("--config").arg(config).stderr(Stdio::piped()).stdout(Stdio::piped());
    andon
}

pub(crate) async fn ended(child: &mut Child) -> ExitStatus {
    let exit = async {
        loop {
            if let Some(status) = child.try_wait().expect("a child") {
                return status;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, exit).await.expect("the process ends")
}

pub(crate) fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill").arg(name).arg(child.id().to_string()).status();
    assert!(sent.expect("kill").success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_drains_and_exits_with_zero() {
    let mut plant = Plant::new(HOT_RULE).await;
    let mut daemon = andon("run", &plant.config()).spawn().expect("the daemon");
    let raised = first_alert(&mut plant).await;
    assert_eq!(raised["data"]["state"], "active");
    signal(&daemon, "-TERM");
    let status = ended(&mut daemon).await;
    assert!(status.success(), "exit: {status}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn systemd_is_told_of_the_start_of_each_beat_and_of_the_stop() {
    let plant = Plant::new(HOT_RULE).await;
    let path = plant.folder.path().join("notify");
    let systemd = std::os::unix::net::UnixDatagram::bind(&path).expect("a socket");
    systemd.set_read_timeout(Some(PATIENCE)).expect("a patience");
    let told = || {
        let mut buffer = [0; 256];
        let length = systemd.recv(&mut buffer).expect("a notification in time");
        String::from_utf8(buffer[..length].to_vec()).expect("text")
    };
    let mut command = andon("run", &plant.config());
    // A third of the limit is the distance of the beats.
    command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "150000");
    let mut daemon = command.spawn().expect("the daemon");
    assert_eq!(told().trim_end(), "READY=1\nSTATUS=running");
    for _ in 0..3 {
        assert_eq!(told().trim_end(), "WATCHDOG=1");
    }
    signal(&daemon, "-TERM");
    let last = (0..1000).map(|_| told()).find(|told| told.trim_end() != "WATCHDOG=1");
    assert_eq!(last.as_deref().map(str::trim_end), Some("STOPPING=1"));
    assert!(ended(&mut daemon).await.success());
}

/// A daemon whose alert is over, and whose broker has fallen silent before it could confirm that.
async fn unconfirmed(plant: &mut Plant) -> (Relay, Child, serde_json::Value) {
    let relay = Relay::before(plant, 1).await;
    let daemon = andon("run", &plant.config()).spawn().expect("the daemon");
    let raised = first_alert(plant).await;
    relay.weather.send_replace(Weather::Silent);
    plant.send("press-1", 1000, &[("temperature", 60.0)]).await;
    relay.swallowed("io.andon.alert.cleared.v1").await;
    (relay, daemon, raised)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_15_a_broker_that_falls_silent_keeps_no_daemon_from_an_orderly_end() {
    let mut plant = Plant::new(HOT_RULE).await;
    let (relay, mut daemon, raised) = unconfirmed(&mut plant).await;
    signal(&daemon, "-TERM");
    let status = ended(&mut daemon).await;
    assert!(status.success(), "exit: {status}");

    relay.weather.send_replace(Weather::Fair);
    let mut daemon = andon("run", &plant.config()).spawn().expect("the daemon");
    let cleared = plant.next_event("press-1", "hot").await;
    assert_eq!(cleared["type"], "io.andon.alert.cleared.v1", "the outbox has kept it");
    assert_eq!(cleared["data"]["alert_id"], raised["data"]["alert_id"]);
    signal(&daemon, "-TERM");
    assert!(ended(&mut daemon).await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_45_a_second_signal_ends_a_drain_at_once() {
    let mut plant = Plant::new(HOT_RULE).await;
    // Its drain would wait a second for the broker.
    let (relay, mut daemon, raised) = unconfirmed(&mut plant).await;
    let mut log = BufReader::new(daemon.stderr.take().expect("a pipe"));
    signal(&daemon, "-TERM");
    read_until(&mut log, "Stopping");
    let told = tokio::time::Instant::now();
    signal(&daemon, "-TERM");
    let status = ended(&mut daemon).await;
    assert!(told.elapsed() < Duration::from_millis(700), "{:?}", told.elapsed());
    assert_eq!(status.code(), Some(1), "what was asked first was not done");
    read_until(&mut log, "A second signal");

    relay.weather.send_replace(Weather::Fair);
    let mut daemon = andon("run", &plant.config()).spawn().expect("the daemon");
    // What was confirmed and not yet deleted comes once more, with the same id.
    let mut cleared = plant.next_event("press-1", "hot").await;
    while cleared["id"] == raised["id"] {
        cleared = plant.next_event("press-1", "hot").await;
    }
    assert_eq!(cleared["type"], "io.andon.alert.cleared.v1", "nothing is lost by it");
    assert_eq!(cleared["data"]["alert_id"], raised["data"]["alert_id"]);
    signal(&daemon, "-TERM");
    assert!(ended(&mut daemon).await.success());
}

fn read_until(log: &mut impl BufRead, word: &str) {
    let mut line = String::new();
    while !line.contains(word) {
        line.clear();
        assert_ne!(log.read_line(&mut line).expect("text"), 0, "the log ends without {word:?}");
    }
}

/// The daemon subscribes at some time after its start: readings are sent until it has.
async fn first_alert(plant: &mut Plant) -> serde_json::Value {
    for second in 1.. {
        plant.send("press-1", second, &[("temperature", 85.0)]).await;
        let event = plant.next_event("press-1", "hot");
        if let Ok(event) = tokio::time::timeout(Duration::from_millis(200), event).await {
            return event;
        }
        assert!(second < 100, "no alert");
    }
    unreachable!("the loop ends with an alert or a panic")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_sigkill_under_load_nothing_acknowledged_is_lost_and_no_alert_comes_twice() {
    let mut plant = Plant::new(HOT_RULE).await;
    let mut second = 1000;
    let raised = {
        let mut daemon = andon("run", &plant.config()).spawn().expect("the daemon");
        let raised = first_alert(&mut plant).await;
        for _ in 0..300 {
            second += 1;
            plant.send("press-1", second, &[("temperature", 86.0)]).await;
        }
        daemon.kill().expect("killed");
        let _ = ended(&mut daemon).await;
        raised
    };

    let mut daemon = andon("run", &plant.config()).spawn().expect("the daemon");
    second += 1;
    // The lasting session brings what was not acknowledged, and this one after it.
    plant.send("press-1", second, &[("temperature", 60.0)]).await;
    // A confirmed message may go out once more if the crash came before its deletion; it is
    // the same message, with the same id.
    let mut next = plant.next_event("press-1", "hot").await;
    while next["id"] == raised["id"] {
        next = plant.next_event("press-1", "hot").await;
    }
    assert_eq!(next["type"], "io.andon.alert.cleared.v1", "no second raise");
    assert_eq!(next["data"]["alert_id"], raised["data"]["alert_id"]);
    signal(&daemon, "-TERM");
    assert!(ended(&mut daemon).await.success());

    let stored = stored_seconds(&plant).await;
    let missing: Vec<i64> = (1001..=second).filter(|second| !stored.contains(second)).collect();
    assert_eq!(missing, [0i64; 0], "every message of QoS 1 is stored");
}

async fn stored_seconds(plant: &Plant) -> BTreeSet<i64> {
    let times = stored_times(plant).await;
    let distinct: BTreeSet<i64> = times.iter().copied().collect();
    assert_eq!(times.len(), distinct.len(), "no sample is stored twice");
    distinct
}

/// The seconds of press-1's temperatures on disk.
pub(crate) async fn stored_times(plant: &Plant) -> Vec<i64> {
    let registry = Arc::new(Registry::new(1000));
    let settings =
        StoreSettings { path: plant.folder.path().join("andon.db"), ..StoreSettings::default() };
    let opened = Store::open(&settings, Arc::clone(&registry), Arc::new(Ledger::default())).await;
    let (store, _writer) = opened.expect("the buffer opens");
    let tag = registry.lookup("press-1", "temperature").expect("a known tag");
    let samples = store.read_tag(tag, Timestamp::MIN, Timestamp::MAX).await.expect("readable");
    samples.iter().map(|sample| sample.time.as_millis() / 1000 - 1_700_000_000).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_says_good_or_lists_every_error_with_its_place() {
    let plant = Plant::new(HOT_RULE).await;
    let good = andon("check", &plant.config()).output().expect("check");
    assert!(good.status.success(), "{}", String::from_utf8_lossy(&good.stderr));

    let bad = plant.folder.path().join("bad.toml");
    std::fs::write(&bad, "[site]\nnaem = \"x\"\n[store]\nretain_age = 5\n[http]\nlisten = 1\n")
        .expect("written");
    let wrong = andon("check", &bad).output().expect("check");
    assert_eq!(wrong.status.code(), Some(1));
    let text = String::from_utf8_lossy(&wrong.stderr);
    for place in ["bad.toml:2:", "bad.toml:4:", "bad.toml:6:"] {
        assert!(text.contains(place), "{place} is missing in:\n{text}");
    }
    let refused = andon("run", &bad).output().expect("run");
    assert_eq!(refused.status.code(), Some(1), "run refuses what check refuses");
}
