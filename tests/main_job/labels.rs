//! What turned out to be true joins the verdicts, over MQTT and over HTTP.

use serde_json::{Value, json};

use super::PATIENCE;
use super::board::json;
use super::plant::{Daemon, Plant};
use super::swap;

const JSON: &str = "Content-Type: application/json\r\n";
/// Event time of second 0 in the tests.
const BEGIN: i64 = 1_700_000_000;

/// The model answers the root of `a`; from 2 on it says "bad".
async fn rooted() -> Plant {
    let plant = swap::plant(&["1.0.0"]).await;
    plant.rewrite(|text| text.replace("alert = { raise = 100.0 }", "alert = { raise = 2.0 }"));
    plant
}

fn time(second: i64) -> String {
    andon::time::Timestamp::from_secs(BEGIN + second).to_rfc3339()
}

async fn label(daemon: &Daemon, body: Value) -> (u16, Value) {
    let answer = daemon.post("/api/v1/labels", JSON, &body.to_string()).await;
    let code = answer.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("an answer");
    let empty = answer.split_once("\r\n\r\n").is_none_or(|(_, body)| body.is_empty());
    (code, if empty { Value::Null } else { json(&answer) })
}

async fn window(daemon: &Daemon, second: i64, word: &str) -> (u16, Value) {
    let body =
        json!({ "asset": "press-1", "prediction": "root", "time": time(second), "label": word });
    label(daemon, body).await
}

async fn labels(daemon: &Daemon) -> Value {
    json(&daemon.get("/api/v1/models/health").await)[0]["labels"].clone()
}

/// Until the figure has become so.
async fn until(daemon: &Daemon, key: &str, value: u64) {
    let reached = async {
        while labels(daemon).await[key] != value {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    let reached = tokio::time::timeout(PATIENCE, reached).await;
    assert!(reached.is_ok(), "{key} does not become {value}: {}", labels(daemon).await);
}

/// Until the window of that second has its verdict, which is labelled then.
async fn until_judged(daemon: &Daemon, second: i64) {
    let joins = async {
        while window(daemon, second, "good").await.0 != 200 {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, joins).await.expect("the verdict comes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn labels_make_precision_and_recall_known_and_a_restart_keeps_them() {
    let mut plant = rooted().await;
    let daemon = Daemon::start(&plant).await;
    for (second, a) in [(1, 9.0), (2, 1.0), (3, 1.0), (4, 9.0)] {
        plant.send("press-1", second, &[("a", a)]).await;
    }
    let raised = plant.next_event("press-1", "root").await;
    let _cleared = plant.next_event("press-1", "root").await;
    let again = plant.next_event("press-1", "root").await;
    let topic = "site/press-1/label/root";
    let body = json!({ "time": time(2), "label": "bad" }).to_string();
    plant.publish(topic, body.as_bytes()).await;
    until(&daemon, "false_negatives", 1).await;
    plant.publish(topic, b"{}").await;

    let (code, answer) = window(&daemon, 1, "bad").await;
    assert_eq!((code, &answer["outcome"]), (200, &json!("true_positive")));
    assert_eq!((&answer["model"], &answer["end"]), (&json!("root/1.0.0"), &json!(time(1))));
    assert_eq!(window(&daemon, 3, "good").await.1["outcome"], "true_negative");
    let id = &raised["data"]["alert_id"];
    let (code, answer) = label(&daemon, json!({ "alert_id": id, "label": "true" })).await;
    assert_eq!((code, &answer["repeated"]), (200, &json!(true)), "it is the window of second 1");
    let id = &again["data"]["alert_id"];
    let answer = label(&daemon, json!({ "alert_id": id, "label": "false" })).await.1;
    assert_eq!(answer["outcome"], "false_positive");

    assert_eq!(window(&daemon, 9, "bad").await, (202, Value::Null), "it waits");
    plant.send("press-1", 9, &[("a", 9.0)]).await;
    until(&daemon, "true_positives", 2).await;

    let health = labels(&daemon).await;
    assert_eq!((&health["precision"], &health["recall"]), (&json!(2.0 / 3.0), &json!(2.0 / 3.0)));
    let metrics = daemon.get("/metrics").await;
    for line in [
        "andon_model_labels{prediction=\"root\",outcome=\"true_positive\"} 2.0\n",
        "andon_labels_lost_total{reason=\"malformed\"} 1\n",
    ] {
        assert!(metrics.contains(line), "{metrics}");
    }
    assert!(daemon.get("/models?lang=de").await.contains("Trefferquote"));
    daemon.stop().await;

    let daemon = Daemon::start(&plant).await;
    let health = labels(&daemon).await;
    assert_eq!((&health["true_positives"], &health["recall"]), (&json!(2), &json!(2.0 / 3.0)));
    let (code, answer) = label(&daemon, json!({ "alert_id": id, "label": "false" })).await;
    assert_eq!((code, &answer["outcome"]), (200, &json!("false_positive")), "ids outlive it too");
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_label_that_joins_nothing_is_told_why_and_counted() {
    let plant = rooted().await;
    let daemon = Daemon::start(&plant).await;
    plant.send("press-1", 100, &[("a", 1.0)]).await;
    plant.send("press-1", 200, &[("a", 1.0)]).await;
    until_judged(&daemon, 200).await;

    let about = |asset: &str, prediction: &str, time: &str| json!({ "asset": asset, "prediction": prediction, "time": time, "label": "bad" });
    let cases = [
        (about("press-1", "root", &time(50)), 404, "before the oldest"),
        (about("press-1", "root", &time(150)), 404, "no verdict's window covers"),
        (about("press-1", "root", "now"), 400, "not an RFC 3339"),
        (about("press-1", "root", "2999-01-01T00:00:00Z"), 404, "future"),
        (about("press-7", "root", &time(200)), 404, "no asset `press-7`"),
        (about("press-1", "hot", &time(200)), 404, "no prediction `hot`"),
        (json!({ "alert_id": "x", "label": "true" }), 404, "no alert x"),
        (json!({ "alert_id": "x", "label": "good" }), 400, "\"true\""),
        (json!({ "label": "good" }), 400, "`alert_id`"),
    ];
    for (body, code, words) in cases {
        let (got, answer) = label(&daemon, body.clone()).await;
        let error = answer["error"].as_str().unwrap_or_default();
        assert!(got == code && error.contains(words), "{body}: {got} {error}");
    }
    let health = labels(&daemon).await;
    let unplaced: Vec<_> =
        health["unplaced"].as_array().expect("a list").iter().map(|u| &u["reason"]).collect();
    assert_eq!(unplaced, ["too_old", "no_window", "future", "unknown"]);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_model_that_is_wrong_more_often_than_it_was_raises_an_alert_of_its_own() {
    const RIGHT: i64 = 128;
    let mut plant = rooted().await;
    let daemon = Daemon::start(&plant).await;
    plant.send("press-1", 0, &[("a", 1.0)]).await;
    until_judged(&daemon, 0).await;
    for second in 1..=2 * RIGHT {
        plant.send("press-1", second, &[("a", 1.0)]).await;
        let word = if second <= RIGHT { "good" } else { "bad" };
        let body = json!({ "time": time(second), "label": word }).to_string();
        plant.publish("site/press-1/label/root", body.as_bytes()).await;
        if second == RIGHT {
            until(&daemon, "true_negatives", 129).await;
        }
    }
    let raised = plant.next_event("press-1", "root-errors").await;
    assert_eq!(raised["type"], "io.andon.alert.raised.v1");
    let text = raised["data"]["text"].as_str().expect("a sentence");
    assert!(text.starts_with("press-1: root is wrong more often than it was: 0 % of"), "{text}");
    assert_eq!(raised["data"]["model"]["version"], "1.0.0");
    until(&daemon, "risen", 1).await;
    daemon.stop().await;
}
