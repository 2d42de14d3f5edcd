//! Another version of a model while the daemon runs.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use andon::model::Choice;
use andon::reload::{Swap, SwapError};
use serde_json::Value;
use tokio::time::Instant;

use super::PATIENCE;
use super::plant::{Daemon, Plant, listen};

const MODEL: &str = "[publish]\nbroker = \"plant\"\nprefix = \"site\"\nverdicts = true\n";

/// A plant with versions of a model that draws roots, and answers NaN below zero.
pub(super) async fn plant(versions: &[&str]) -> Plant {
    let rules = "[[prediction]]\nname = \"root\"\nmodel = \"root\"\nassets = [\"press-*\"]\n\
                 alert = { raise = 100.0 }\n";
    let plant = Plant::new(rules).await;
    let models = plant.folder.path().join("models");
    plant.rewrite(|text| {
        let text = text.replace("[publish]\nbroker = \"plant\"\nprefix = \"site\"\n", MODEL);
        format!("{text}[runtime]\nmodels = {models:?}\n")
    });
    versions.iter().for_each(|version| put(&plant, version, |card| card));
    plant
}

pub(super) fn put(plant: &Plant, version: &str, change: impl FnOnce(String) -> String) {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/models/root/1.0.0");
    let to = plant.folder.path().join("models/root").join(version);
    std::fs::create_dir_all(&to).expect("a folder");
    for file in ["model.onnx", "golden.json"] {
        std::fs::copy(from.join(file), to.join(file)).expect("copied");
    }
    let card = std::fs::read_to_string(from.join("model.toml")).expect("a card");
    let card = card.replace("version = \"1.0.0\"", &format!("version = \"{version}\""));
    std::fs::write(to.join("model.toml"), change(card)).expect("written");
}

pub(super) fn activate(version: &str) -> Swap {
    Swap::Activate { name: "root".into(), version: version.into(), by: "R. Meyer".into() }
}

pub(super) async fn swap(daemon: &mut Daemon, swap: Swap) -> Result<Choice, SwapError> {
    tokio::time::timeout(PATIENCE, daemon.tuning().swap(&swap)).await.expect("in time")
}

/// The version that the status names.
async fn predicting(daemon: &Daemon) -> String {
    let answer = daemon.get("/status").await;
    let (_, body) = answer.split_once("\r\n\r\n").expect("a body");
    let status: Value = serde_json::from_str(body).expect("JSON");
    let versions: Vec<_> =
        status["models"].as_array().expect("models").iter().map(|m| &m["version"]).collect();
    let [Value::String(version)] = versions[..] else { panic!("{versions:?}") };
    version.clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_takes_over_between_two_frames_and_each_window_has_one_verdict() {
    const ROWS: usize = 300;
    let plant = plant(&["1.0.0"]).await;
    let (_listener, mut heard) = listen(plant.broker, "site/+/verdict/root").await;
    let mut daemon = Daemon::start(&plant).await;
    put(&plant, "1.1.0", |card| card);
    assert_eq!(predicting(&daemon).await, "1.0.0");
    let stream = async {
        for second in (1..).take(ROWS) {
            let value = [("a", f64::from(second))];
            plant.send("press-1", i64::from(second), &value).await;
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let swapped = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        swap(&mut daemon, activate("1.1.0")).await.expect("a good version")
    };
    let ((), choice) = tokio::join!(stream, swapped);
    assert_eq!((&*choice.version, choice.previous.as_deref()), ("1.1.0", Some("1.0.0")));

    let mut verdicts: BTreeMap<String, String> = BTreeMap::new();
    for _ in 1..=ROWS {
        let message = tokio::time::timeout(PATIENCE, heard.recv()).await.expect("a verdict");
        let body: Value = serde_json::from_slice(&message.expect("a message").payload).unwrap();
        let data = &body["data"];
        let version = data["model"]["version"].as_str().expect("a version").to_owned();
        let end = data["window"]["end"].as_str().expect("a time").to_owned();
        assert_eq!(verdicts.insert(end, version), None, "a window has two verdicts: {data}");
    }
    let versions: Vec<String> = verdicts.into_values().collect();
    let old = versions.iter().position(|version| version == "1.1.0").expect("the new one answers");
    assert!(old > 0 && versions[old..].iter().all(|version| version == "1.1.0"), "{versions:?}");
    assert_eq!(predicting(&daemon).await, "1.1.0");
    daemon.stop().await;
}

/// Until 1.1.0 has looked at so many frames since it was put in place.
async fn answered(daemon: &Daemon, frames: u64) {
    let line = format!("andon_inferences_total{{model=\"root/1.1.0@cpu\"}} {frames}\n");
    let seen = async {
        while !daemon.get("/metrics").await.contains(&line) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, seen).await.expect("the frames are looked at");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_that_fails_on_trial_is_taken_back_and_one_that_does_not_stays() {
    let plant = plant(&["1.0.0"]).await;
    let mut daemon = Daemon::start(&plant).await;
    put(&plant, "1.1.0", |card| card);
    swap(&mut daemon, activate("1.1.0")).await.expect("a good version");
    daemon.tuning().judge_trials(Instant::now()).await;
    assert_eq!(predicting(&daemon).await, "1.1.0", "nothing speaks against it");
    let later = Instant::now() + Duration::from_secs(601);
    daemon.tuning().judge_trials(later).await;

    plant.send("press-1", 1, &[("a", -1.0)]).await;
    let taken_back = async {
        while predicting(&daemon).await != "1.0.0" {
            daemon.tuning().judge_trials(Instant::now()).await;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, taken_back)
        .await
        .expect("NaN ends a trial that no frame has passed");
    let metrics = daemon.get("/metrics").await;
    assert!(metrics.contains("andon_model_activations_total 1\n"), "{metrics}");
    assert!(metrics.contains("andon_model_rollbacks_total 1\n"), "{metrics}");

    swap(&mut daemon, activate("1.1.0")).await.expect("again");
    plant.send("press-1", 2, &[("a", 4.0)]).await;
    answered(&daemon, 1).await;
    daemon.tuning().judge_trials(later).await;
    plant.send("press-1", 3, &[("a", -1.0)]).await;
    answered(&daemon, 2).await;
    daemon.tuning().judge_trials(later).await;
    assert_eq!(predicting(&daemon).await, "1.1.0", "it has proved itself before");
    let by = "R. Meyer".into();
    let back = swap(&mut daemon, Swap::RollBack { name: "root".into(), by }).await;
    assert_eq!(back.expect("by hand it goes back still").version, "1.0.0");
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_version_that_was_chosen_predicts_after_a_restart_and_the_highest_otherwise() {
    let plant = plant(&["1.0.0", "1.1.0", "2.0.0"]).await;
    let mut daemon = Daemon::start(&plant).await;
    assert_eq!(predicting(&daemon).await, "2.0.0");
    swap(&mut daemon, activate("1.0.0")).await.expect("a good version");
    daemon.stop().await;
    let daemon = Daemon::start(&plant).await;
    assert_eq!(predicting(&daemon).await, "1.0.0");
    daemon.stop().await;
    std::fs::remove_dir_all(plant.folder.path().join("models/root/1.0.0")).expect("removed");
    let daemon = Daemon::start(&plant).await;
    assert_eq!(predicting(&daemon).await, "2.0.0", "the chosen one is gone");
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_that_is_not_good_is_refused_and_the_running_one_is_untouched() {
    let plant = plant(&["1.0.0"]).await;
    let mut daemon = Daemon::start(&plant).await;
    put(&plant, "1.1.0", |card| card.replace("sha256 = \"d", "sha256 = \"e"));
    put(&plant, "1.2.0", |card| card.replace("length = 1", "length = 2"));
    put(&plant, "1.3.0", |card| card.replace("name = \"a\"", "name = \"b\""));
    put(&plant, "1.4.0", |card| card);
    let golden = plant.folder.path().join("models/root/1.4.0/golden.json");
    let text = std::fs::read_to_string(&golden).expect("a golden pair");
    std::fs::write(golden, text.replace("3.0", "3.5")).expect("spoilt");
    for (version, words) in [
        ("9.9.9", "has no version `9.9.9`"),
        ("1.1.0", "is not the file that the card means"),
        ("1.2.0", "window"),
        ("1.3.0", "other tags or windows"),
        ("1.4.0", "this is not the model"),
        ("1.0.0", "predicts already"),
    ] {
        let error = swap(&mut daemon, activate(version)).await.expect_err(version).to_string();
        assert!(error.contains(words), "{version}: {error}");
    }
    let by = || "R. Meyer".to_owned();
    let unknown = Swap::Activate { name: "none".into(), version: "1".into(), by: by() };
    let error = swap(&mut daemon, unknown).await.expect_err("unknown").to_string();
    assert_eq!(error, "no prediction uses a model `none`");
    let back = Swap::RollBack { name: "root".into(), by: by() };
    let error = swap(&mut daemon, back).await.expect_err("nothing before").to_string();
    assert!(error.contains("there is no version to go back to"), "{error}");
    assert_eq!(predicting(&daemon).await, "1.0.0");
    daemon.stop().await;

    plant.rewrite(|text| text.replace("model = \"root\"", "model = \"root/1.0.0\""));
    let mut daemon = Daemon::start(&plant).await;
    let error = swap(&mut daemon, activate("1.4.0")).await.expect_err("pinned").to_string();
    assert!(error.contains("prediction `root` names `root/1.0.0`"), "{error}");
    daemon.stop().await;
}
