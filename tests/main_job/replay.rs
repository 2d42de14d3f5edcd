//! What the daemon said live, its buffer says again.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use super::plant::{Daemon, Plant};
use super::process::andon;
use super::{HOT_RULE, PATIENCE};

/// Models on rows and on times, and rules.
fn judges() -> String {
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/models");
    format!(
        r#"{HOT_RULE}
[[rule]]
name = "jump"
assets = ["press-*"]
tag = "temperature"
when = "rate"
limit = 9.0
[[prediction]]
name = "wear"
model = "zipmap-int"
assets = ["press-*"]
alert = {{ raise = 0.4, clear = 0.3 }}
[[prediction]]
name = "life"
model = "remaining"
assets = ["press-*"]
alert = {{ raise = 11.0 }}
[runtime]
models = {models:?}
# Every change is to be compared.
[flood]
burst = 100000
"#
    )
}

/// A plant that does not repeat itself for a while.
async fn play(plant: &Plant, seconds: std::ops::RangeInclusive<i64>) {
    for second in seconds {
        for press in 1..=3 {
            let turn = (second * 7 + press * 13) as f64;
            let values = [
                ("temperature", 75.0 + 9.0 * (turn / 5.0).sin()),
                ("a", (turn / 3.0).sin() + 1.0),
                ("b", (turn / 11.0).cos() + 1.0),
            ];
            plant.send(&format!("press-{press}"), second, &values).await;
        }
    }
}

async fn stored(daemon: &Daemon, samples: u64) {
    let all = async {
        while daemon.stored() < samples {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, all).await.expect("all is stored");
}

fn replayed(plant: &Plant, more: &[&str]) -> String {
    let output = andon("replay", &plant.config()).args(more).output().expect("a child");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

fn events(lines: &str) -> Vec<Value> {
    lines.lines().map(|line| serde_json::from_str(line).expect("a JSON line")).collect()
}

/// What must be the same, by what it is about: two assets may be told of in either order, and live
/// the reasons for an alert come when they have been worked out, before or after its end.
fn told(events: &[Value]) -> BTreeMap<[String; 2], Value> {
    let of = |event: &Value| {
        let mut data = event["data"].as_object().expect("a body").clone();
        let is_raise = event["type"] == "io.andon.alert.raised.v1";
        let is_reason = event["type"] == "io.andon.alert.explained.v1";
        data.retain(|field, _| match field.as_str() {
            "contributions" | "explanation" => is_raise || is_reason,
            "text" => is_raise,
            "seq" => false,
            _ => !is_reason,
        });
        let key = ["type", "subject"].map(|field| event[field].to_string());
        let about = event["data"]["alert_id"].to_string();
        ([key.concat(), about], Value::Object(data))
    };
    events.iter().map(of).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replay_of_the_buffer_says_what_the_daemon_said_and_the_same_bytes_again() {
    let mut plant = Plant::new(&judges()).await;
    let daemon = Daemon::start(&plant).await;
    play(&plant, 0..=40).await;
    stored(&daemon, 41 * 9).await;
    let beside_the_daemon = replayed(&plant, &[]);
    daemon.stop().await;
    let live = plant.events_so_far().await;
    for prediction in ["hot", "jump", "wear", "life"] {
        assert!(live.iter().any(|event| event["subject"] == prediction), "{prediction}");
    }
    let lines = replayed(&plant, &[]);
    let (live, mut again) = (told(&live), told(&events(&lines)));
    let is_reason = |key: &[String; 2]| key[0].contains("explained");
    assert!(live.keys().filter(|key| is_reason(key)).count() > 3, "alerts are explained live");
    // An alert that a newer one replaced at once has no reasons live.
    again.retain(|key, _| !is_reason(key) || live.contains_key(key));
    assert!(live.len() > 40, "the plant gives cause for alerts: {}", live.len());
    assert_eq!(again, live);
    assert_eq!(lines, beside_the_daemon);
    let explain = |more: &[&str]| {
        let output = andon("explain", &plant.config()).args(more).output().expect("a child");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    };
    let drawn = explain(&["press-1/wear"]);
    assert!(
        drawn.contains("(exact)") && drawn.contains("\n  a ") && drawn.contains('█'),
        "{drawn}"
    );
    let report: Value = serde_json::from_str(&explain(&["press-1/life", "--json"])).expect("JSON");
    let tag = &report["tags"][0];
    assert_eq!(tag["samples"].as_array().expect("its course").len(), 5, "{report}");
    assert_eq!(lines, replayed(&plant, &[]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stretch_of_the_buffer_gives_the_alerts_of_that_stretch() {
    let plant = Plant::new(&judges()).await;
    let daemon = Daemon::start(&plant).await;
    play(&plant, 0..=40).await;
    stored(&daemon, 41 * 9).await;
    daemon.stop().await;
    let ids = |lines: &str| -> Vec<Value> {
        let raised = |event: &Value| event["type"] == "io.andon.alert.raised.v1";
        events(lines).into_iter().filter(raised).map(|e| e["data"]["alert_id"].clone()).collect()
    };
    let from = "2023-11-14T22:13:40.000Z";
    let all = events(&replayed(&plant, &[]));
    let later = all.iter().filter(|event| event["data"]["changed_at"].as_str() >= Some(from));
    let later: String = later.map(|event| format!("{event}\n")).collect();
    let stretch = replayed(&plant, &["--from", from]);
    assert!(!ids(&stretch).is_empty());
    assert_eq!(ids(&stretch), ids(&later));
    let last = replayed(&plant, &["--last", "20001ms"]);
    assert_eq!(ids(&last), ids(&stretch));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_of_rows_is_replayed_like_a_plant() {
    let plant = Plant::new(HOT_RULE).await;
    let csv = plant.folder.path().join("rows.csv");
    let rows = "at,machine,Temperature [C]\n1700000001,press-1,60\n1700000002,press-1,85\n\
                1700000002,press-2,90\n1700000003,press-1,\n1700000004,press-1,65\n";
    std::fs::write(&csv, rows).expect("writable");
    let csv = csv.to_str().expect("text");
    let lines = replayed(&plant, &["--csv", csv, "--group", "machine", "--time", "at"]);
    let told: Vec<_> = events(&lines)
        .iter()
        .map(|event| (event["data"]["asset"].clone(), event["data"]["state"].clone()))
        .collect();
    let expected = [("press-1", "active"), ("press-2", "active"), ("press-1", "cleared")];
    assert_eq!(told, expected.map(|(asset, state)| (asset.into(), state.into())));
    let refused = andon("replay", &plant.config())
        .args(["--csv", csv, "--time", "machine", "--asset", "press-1"])
        .output()
        .expect("a child");
    let told = String::from_utf8_lossy(&refused.stderr);
    assert!(told.contains("row 1, column `machine`: `press-1` is no time"), "{told}");
}

#[test]
fn a_buffer_that_is_not_there_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("andon.toml");
    std::fs::write(
        &config,
        "[store]\npath = \"nowhere.db\"\n[[modbus]]\nasset = \"a\"\n\
        address = \"tcp://127.0.0.1:9\"\nregister = [{ tag = \"t\", address = \"holding:0\" }]\n",
    )
    .expect("writable");
    let output = andon("replay", &config).output().expect("a child");
    assert!(!output.status.success());
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("nowhere.db") && told.contains("no such file"), "{told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backtest_shows_what_another_threshold_would_have_said() {
    let mut plant = Plant::new(HOT_RULE).await;
    let daemon = Daemon::start(&plant).await;
    for (second, temperature) in [60, 85, 60, 95, 60, 60].into_iter().enumerate() {
        let second = i64::try_from(second).expect("few") * 60;
        plant.send("press-1", second, &[("temperature", f64::from(temperature))]).await;
    }
    stored(&daemon, 6).await;
    daemon.stop().await;
    assert_eq!(plant.events_so_far().await.len(), 4);
    let truth = plant.folder.path().join("truth.csv");
    std::fs::write(&truth, "asset,time\npress-1,2023-11-14T22:16:30Z\n").expect("writable");
    plant.rewrite(|text| text.replace("limit = 80.0", "limit = 90.0"));
    let backtest = |more: &[&str]| {
        let output = andon("backtest", &plant.config()).args(more).output().expect("a child");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    };
    let truth = ["--truth", truth.to_str().expect("text"), "--horizon", "1m", "--json"];
    let report: Value = serde_json::from_str(&backtest(&truth)).expect("JSON");
    let hot = &report["predictions"]["hot"];
    assert_eq!((&hot["old"], &hot["new"]), (&2.into(), &1.into()), "{report}");
    assert_eq!(hot["matched"][0][0]["raised"], "2023-11-14T22:16:20.000Z");
    assert_eq!(hot["only_old"][0]["raised"], "2023-11-14T22:14:20.000Z");
    assert_eq!(hot["only_old"][0]["cleared"], "2023-11-14T22:15:20.000Z");
    assert!(hot["only_new"].as_array().is_some_and(Vec::is_empty));
    let days = 300.0 / 86_400.0;
    let old_false = hot["false_alarms"]["old_a_day"].as_f64().expect("a rate");
    assert!((old_false - 1.0 / days).abs() < 1.0, "{old_false}");
    assert_eq!(hot["false_alarms"]["new_a_day"], 0.0);
    let drawn = backtest(&[]);
    assert!(
        drawn.lines().any(|line| line.starts_with(" old") && line.contains("press-1")),
        "{drawn}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_gives_the_samples_back_to_the_last_bit_and_a_replay_takes_them() {
    let plant = Plant::new(HOT_RULE).await;
    let daemon = Daemon::start(&plant).await;
    let odd = 0.1 + 0.2;
    plant.send("press-1", 1, &[("temperature", odd), ("flow", 1.0)]).await;
    plant.send("press-1", 2, &[("temperature", 85.0)]).await;
    plant.send("press-2", 2, &[("temperature", f64::from(f32::MAX))]).await;
    stored(&daemon, 4).await;
    let exported = |more: &[&str]| {
        let output = andon("export", &plant.config()).args(more).output().expect("a child");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    };
    let text = exported(&["press-*", "temperature"]);
    daemon.stop().await;
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let mut rows: Vec<Vec<String>> =
        reader.records().map(|row| row.expect("CSV").iter().map(str::to_owned).collect()).collect();
    rows.sort();
    assert_eq!(rows.len(), 3, "{text}");
    assert_eq!(rows[0][..3], ["2023-11-14T22:13:21.000Z", "press-1", "temperature"]);
    assert_eq!(rows[0][3].parse::<f64>().map(f64::to_bits), Ok(odd.to_bits()));
    assert_eq!(rows[0][4], "good");
    let file = plant.folder.path().join("samples.csv");
    let file = file.to_str().expect("text");
    assert!(exported(&["press-1", "temperature", "--out", file]).is_empty());
    let again = replayed(
        &plant,
        &["--csv", file, "--group", "asset", "--time", "time", "--column", "temperature=value"],
    );
    assert_eq!(events(&again).len(), 1, "{again}");
    let parquet = plant.folder.path().join("samples.parquet");
    assert!(exported(&["--out", parquet.to_str().expect("text")]).is_empty());
    let bytes = std::fs::read(&parquet).expect("readable");
    assert!(bytes.starts_with(b"PAR1") && bytes.ends_with(b"PAR1"));
    let nothing = andon("export", &plant.config())
        .args(["--from", "2030-01-01T00:00:00Z"])
        .output()
        .expect("a child");
    assert!(String::from_utf8_lossy(&nothing.stderr).contains("nothing lies between"));
}
