//! A candidate sees what the model that predicts sees, and nobody hears of it.

use std::process::Command;
use std::time::Duration;

use andon::model::Choice;
use andon::reload::{Swap, SwapError};
use serde_json::{Value, json};

use super::PATIENCE;
use super::board::json;
use super::plant::{Daemon, Plant};
use super::swap::{activate, plant, put, swap};

/// Says "bad" from 3 on, where the active one does from 2 on.
fn stricter() -> impl FnOnce(String) -> String {
    |card| card.replace("raise = 2.0", "raise = 3.0")
}

/// The cards' limits decide.
async fn carded(versions: &[&str]) -> Plant {
    let plant = plant(versions).await;
    plant.rewrite(|text| text.replace("alert = { raise = 100.0 }", ""));
    plant
}

fn shadow(version: &str) -> Swap {
    Swap::Shadow { name: "root".into(), version: version.into(), by: "R. Meyer".into() }
}

async fn health(daemon: &Daemon) -> Value {
    json(&daemon.get("/api/v1/models/health").await)[0]["shadow"].clone()
}

/// Until both have answered so many frames.
pub(super) async fn compared(daemon: &Daemon, frames: u64) -> Value {
    let reached = async {
        while health(daemon).await["compared"] != frames {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let reached = tokio::time::timeout(PATIENCE, reached).await;
    assert!(reached.is_ok(), "not {frames} compared: {}", health(daemon).await);
    health(daemon).await
}

async fn states(daemon: &Daemon) -> Vec<(String, String)> {
    let list = json(&daemon.get("/api/v1/models").await);
    let word = |value: &Value| value.as_str().expect("a word").to_owned();
    let row = |row: &Value| (word(&row["version"]), word(&row["state"]));
    list.as_array().expect("a list").iter().map(row).collect()
}

fn state(version: &str, state: &str) -> (String, String) {
    (version.into(), state.into())
}

async fn end(daemon: &mut Daemon) -> Result<Choice, SwapError> {
    swap(daemon, Swap::EndShadow { name: "root".into(), by: "R. Meyer".into() }).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shadow_is_compared_frame_by_frame_and_raises_no_alert() {
    let mut plant = carded(&["1.0.0"]).await;
    let mut daemon = Daemon::start(&plant).await;
    put(&plant, "1.1.0", stricter());
    assert_eq!(states(&daemon).await[1], state("1.1.0", "offered"));
    swap(&mut daemon, shadow("1.1.0")).await.expect("a good version");
    assert_eq!(states(&daemon).await, [state("1.0.0", "predicting"), state("1.1.0", "shadow")]);

    // Roots 1, 2.5, 1, 4, 1: the active one raises twice, the shadow once.
    for (second, a) in [(1, 1.0), (2, 6.25), (3, 1.0), (4, 16.0), (5, 1.0)] {
        plant.send("press-1", second, &[("a", a)]).await;
    }
    let found = compared(&daemon, 5).await;
    assert_eq!(found["agreement"], json!(0.8));
    assert_eq!((&found["only_active"], &found["only_shadow"]), (&json!(1), &json!(0)));
    assert_eq!((&found["active_alerts"], &found["shadow_alerts"]), (&json!(2), &json!(1)));
    assert_eq!((&found["difference_max"], &found["errors"]), (&json!(0.0), &json!(0)));
    assert_eq!(found["last"].as_array().expect("a list").len(), 5);
    let differing = found["differing"].as_array().expect("a list");
    assert_eq!(differing.len(), 1);
    assert_eq!((&differing[0]["asset"], &differing[0]["active"]), (&json!("press-1"), &json!(2.5)));

    let is_cleared = |event: &Value| event["type"] == "io.andon.alert.cleared.v1";
    let mut told = Vec::new();
    while told.iter().filter(|event| is_cleared(event)).count() < 2 {
        told.push(plant.next_event("press-1", "root").await);
    }
    told.extend(plant.events_so_far().await);
    let raised = told.iter().filter(|event| event["type"] == "io.andon.alert.raised.v1");
    assert_eq!(raised.count(), 2);
    assert!(told.iter().all(|event| event["data"]["model"]["version"] == "1.0.0"), "{told:?}");
    let page = daemon.get("/models").await;
    assert!(page.contains("Shadow 1.1.0") && page.contains("80.0 %"), "{page}");
    let metrics = daemon.get("/metrics").await;
    let line = "andon_shadow_frames{prediction=\"root\",outcome=\"only_active\"} 1.0\n";
    assert!(metrics.contains(line), "{metrics}");

    let topic = "site/press-1/label/root";
    let body = r#"{"time":"2023-11-14T22:13:22Z","label":"good"}"#;
    plant.publish(topic, body.as_bytes()).await;
    let labelled = async {
        while health(&daemon).await["labels"]["true_negatives"] != 1 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, labelled).await.expect("labels are held against it too");
    let active = &json(&daemon.get("/api/v1/models/health").await)[0]["labels"];
    assert_eq!(active["false_positives"], 1);
    daemon.stop().await;
}

/// The nice values of the threads of this name in this process.
fn places(thread: &str) -> Vec<i32> {
    let tasks = std::fs::read_dir("/proc/self/task").expect("threads").flatten();
    let stats = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("stat")).ok());
    let nice = |stat: String| {
        let (head, rest) = stat.rsplit_once(") ")?;
        head.ends_with(&format!("({thread}")).then(|| rest.split(' ').nth(16)?.parse().ok())?
    };
    stats.filter_map(nice).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shadow_s_thread_stands_back_and_that_of_the_active_model_does_not() {
    let plant = carded(&["1.0.0"]).await;
    let mut daemon = Daemon::start(&plant).await;
    put(&plant, "1.1.0", stricter());
    swap(&mut daemon, shadow("1.1.0")).await.expect("a good version");
    plant.send("press-1", 1, &[("a", 4.0)]).await;
    compared(&daemon, 1).await;
    assert!(places("andon-shadow").contains(&19), "{:?}", places("andon-shadow"));
    assert!(places("andon-model").iter().all(|nice| *nice < 19), "{:?}", places("andon-model"));
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shadow_that_answers_nan_hinders_nothing_and_is_told() {
    let plant = carded(&["1.0.0"]).await;
    let mut daemon = Daemon::start(&plant).await;
    put(&plant, "1.1.0", stricter());
    swap(&mut daemon, shadow("1.1.0")).await.expect("a good version");
    plant.send("press-1", 1, &[("a", -1.0)]).await;
    plant.send("press-1", 2, &[("a", 4.0)]).await;
    let found = compared(&daemon, 1).await;
    assert_eq!(found["errors"], 1);
    assert!(found["last_error"].is_string(), "{found}");
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_frame_is_answered_by_the_active_one_and_compared_or_shed_by_the_shadow() {
    const FRAMES: u64 = 2000;
    let plant = carded(&["1.0.0"]).await;
    let mut daemon = Daemon::start(&plant).await;
    put(&plant, "1.1.0", stricter());
    swap(&mut daemon, shadow("1.1.0")).await.expect("a good version");
    for second in (1..).take(2000) {
        plant.send("press-1", second, &[("a", 1.0)]).await;
    }
    let settled = async {
        loop {
            let found = json(&daemon.get("/api/v1/models/health").await)[0].clone();
            let count = |key: &str| found["shadow"][key].as_u64().expect("a count");
            if found["inferences"] == FRAMES && count("compared") + count("shed") == FRAMES {
                return (found["shed"].clone(), count("alone"));
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let (shed, alone) = tokio::time::timeout(PATIENCE, settled).await.expect("all are settled");
    assert_eq!((shed, alone), (json!(0), 0));
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shadow_lives_on_after_a_restart_and_ends_when_it_predicts() {
    let plant = carded(&["1.0.0"]).await;
    let mut daemon = Daemon::start(&plant).await;
    put(&plant, "1.1.0", stricter());
    put(&plant, "1.2.0", stricter());
    swap(&mut daemon, activate("1.0.0")).await.expect_err("it does already");
    swap(&mut daemon, shadow("1.1.0")).await.expect("a good version");
    swap(&mut daemon, shadow("1.2.0")).await.expect("another");
    let now = [state("1.0.0", "predicting"), state("1.1.0", "offered"), state("1.2.0", "shadow")];
    assert_eq!(states(&daemon).await, now, "a model has one shadow");
    daemon.stop().await;

    // A start takes the highest where none was chosen.
    plant.rewrite(|text| text.replace("model = \"root\"", "model = \"root/1.0.0\""));
    let mut daemon = Daemon::start(&plant).await;
    daemon.tuning().resume_shadows().await;
    assert_eq!(states(&daemon).await, now);
    plant.send("press-1", 1, &[("a", 4.0)]).await;
    compared(&daemon, 1).await;
    daemon.stop().await;

    plant.rewrite(|text| text.replace("model = \"root/1.0.0\"", "model = \"root\""));
    std::fs::remove_dir_all(plant.folder.path().join("models/root/1.2.0")).expect("removed");
    std::fs::remove_dir_all(plant.folder.path().join("models/root/1.1.0")).expect("removed");
    let mut daemon = Daemon::start(&plant).await;
    daemon.tuning().resume_shadows().await;
    assert_eq!(health(&daemon).await, Value::Null, "it is gone");
    put(&plant, "1.1.0", stricter());
    swap(&mut daemon, shadow("1.1.0")).await.expect("a good version");
    swap(&mut daemon, activate("1.1.0")).await.expect("a good version");
    assert_eq!(health(&daemon).await, Value::Null, "it predicts");
    let now = [state("1.0.0", "previous"), state("1.1.0", "predicting")];
    assert_eq!(states(&daemon).await, now);
    let error = end(&mut daemon).await.expect_err("it has none").to_string();
    assert_eq!(error, "root has no shadow");
    swap(&mut daemon, shadow("1.0.0")).await.expect("the older one may be held against it");
    end(&mut daemon).await.expect("it ends");
    assert_eq!(health(&daemon).await, Value::Null);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_a_shadow_is_refused_and_the_one_that_is_stays() {
    let plant = carded(&["1.0.0"]).await;
    let mut daemon = Daemon::start(&plant).await;
    put(&plant, "1.1.0", stricter());
    put(&plant, "1.2.0", |card| card.replace("sha256 = \"d", "sha256 = \"e"));
    put(&plant, "1.3.0", |card| card.replace("length = 1", "length = 2"));
    swap(&mut daemon, shadow("1.1.0")).await.expect("a good version");
    let cases = [
        ("1.0.0", "it cannot be its own shadow"),
        ("1.2.0", "sha256"),
        ("1.3.0", "other tags or windows"),
        ("9.0.0", "9.0.0"),
    ];
    for (version, words) in cases {
        let error = swap(&mut daemon, shadow(version)).await.expect_err(version).to_string();
        assert!(error.contains(words), "{version}: {error}");
    }
    let other = Swap::Shadow { name: "none".into(), version: "1".into(), by: "x".into() };
    let error = swap(&mut daemon, other).await.expect_err("unknown").to_string();
    assert_eq!(error, "no prediction uses a model `none`");
    plant.send("press-1", 1, &[("a", 4.0)]).await;
    assert_eq!(compared(&daemon, 1).await["version"], "1.1.0");
    daemon.stop().await;
}

/// What the command says, and whether it did it.
async fn remove(plant: &Plant, url: String, version: &str) -> (bool, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_andon"));
    command.args(["model", "remove", "root", version, "--url", &url, "--config"]);
    command.arg(plant.config());
    let done = tokio::task::spawn_blocking(move || command.output()).await.expect("it runs");
    let done = done.expect("an outcome");
    let said = String::from_utf8_lossy(&[done.stdout, done.stderr].concat()).into_owned();
    (done.status.success(), said)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_can_be_removed_unless_it_predicts_may_have_to_again_or_is_a_shadow() {
    let plant = carded(&["1.0.0"]).await;
    let mut daemon = Daemon::start(&plant).await;
    for version in ["1.1.0", "1.2.0", "1.3.0"] {
        put(&plant, version, stricter());
    }
    swap(&mut daemon, activate("1.1.0")).await.expect("a good version");
    swap(&mut daemon, shadow("1.2.0")).await.expect("a good version");
    let folder = plant.folder.path().join("models/root");
    let stays = [
        ("1.0.0", "on trial"),
        ("1.1.0", "it predicts"),
        ("1.2.0", "shadow"),
        ("7.0.0", "no version `7.0.0`"),
        ("..", "is no model"),
    ];
    for (version, why) in stays {
        let (done, said) = remove(&plant, daemon.url(), version).await;
        assert!(!done && said.contains(why), "{version}: {said}");
    }
    let (done, said) = remove(&plant, daemon.url(), "1.3.0").await;
    assert!(done && !folder.join("1.3.0").exists(), "{said}");
    assert_eq!(states(&daemon).await.len(), 3);

    end(&mut daemon).await.expect("it ends");
    let (done, said) = remove(&plant, daemon.url(), "1.2.0").await;
    assert!(done, "{said}");
    let later = tokio::time::Instant::now() + Duration::from_secs(601);
    plant.send("press-1", 1, &[("a", 4.0)]).await;
    let proved = async {
        while states(&daemon).await[0] != state("1.0.0", "stored") {
            daemon.tuning().judge_trials(later).await;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, proved).await.expect("the trial ends");
    daemon.stop().await;

    let nobody = || "http://127.0.0.1:1".to_owned();
    let (done, said) = remove(&plant, nobody(), "1.0.0").await;
    assert!(!done && said.contains("only lately"), "without the daemon the files say it: {said}");
    let (done, said) = remove(&plant, nobody(), "1.1.0").await;
    assert!(!done && said.contains("the next start takes it"), "{said}");
    plant.rewrite(|text| text.replace("[runtime]\n", "[runtime]\ntrial = \"0s\"\n"));
    let (done, said) = remove(&plant, nobody(), "1.0.0").await;
    assert!(done, "{said}");
    let left: Vec<_> = std::fs::read_dir(&folder).expect("it is there").flatten().collect();
    assert_eq!(left.len(), 1, "{left:?}");
}
