//! The HTTP API and the board, over a real socket against the running daemon.

use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::plant::{Daemon, Plant};
use super::{HOT_RULE, PATIENCE};

const JSON: &str = "Content-Type: application/json\r\n";
const COMMAND: &str = "/api/v1/alerts/press-1/hot/command";

pub(super) fn status(answer: &str) -> u16 {
    answer.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("an HTTP answer")
}

pub(super) fn json(answer: &str) -> Value {
    let body = answer.split_once("\r\n\r\n").expect("a body").1;
    serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_alert_is_seen_acknowledged_and_remembered_over_http() {
    let mut plant = Plant::new(HOT_RULE).await;
    let daemon = Daemon::start(&plant).await;
    plant.send("press-1", 1, &[("temperature", 60.0)]).await;
    plant.send("press-1", 2, &[("temperature", 85.0)]).await;
    plant.next_event("press-1", "hot").await;

    let assets = json(&daemon.get("/api/v1/assets").await);
    assert_eq!(assets[0]["name"], "press-1");
    assert_eq!(assets[0]["state"], "alert");
    let asset = json(&daemon.get("/api/v1/assets/press-1").await);
    assert_eq!(asset["readings"][0]["value"], 85.0);
    assert_eq!(asset["judges"][0]["score"], 85.0);
    let tags = json(&daemon.get("/api/v1/tags?asset=press-*&tag=temp*").await);
    assert_eq!(tags.as_array().expect("a list").len(), 1);
    let alerts = json(&daemon.get("/api/v1/alerts").await);
    let id = alerts[0]["alert_id"].as_str().expect("an id");
    let line = daemon.get("/").await;
    assert!(line.contains("data-asset=\"press-1\""), "{line}");
    assert!(line.contains(">Acknowledge<"), "{line}");
    assert!(daemon.get("/?lang=de").await.contains(">Quittieren<"));

    let body = format!(r#"{{"action":"acknowledge","by":"shift lead","alert_id":"{id}"}}"#);
    let answer = daemon.post(COMMAND, JSON, &body).await;
    assert_eq!((status(&answer), json(&answer)["state"].as_str()), (200, Some("acknowledged")));
    let event = plant.next_event("press-1", "hot").await;
    assert_eq!(event["data"]["acknowledged_by"], "shift lead", "subscribers hear of it");

    plant.send("press-1", 3, &[("temperature", 65.0)]).await;
    plant.next_event("press-1", "hot").await;
    let history = json(&daemon.get("/api/v1/history").await);
    let causes: Vec<&str> = history
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|event| event["cause"].as_str())
        .collect();
    assert_eq!(causes, ["cleared", "acknowledged", "raised"], "the newest first");
    assert_eq!(history[1]["by"], "shift lead");
    let then = daemon.get("/history?from=2001-01-01T00:00&to=2100-01-01T00:00:00Z").await;
    assert!(then.contains("hot: seen") && then.contains("value=\"2001-01-01T00:00\""), "{then}");
    assert!(!daemon.get("/history?from=2100-01-01T00:00&to=").await.contains("hot: seen"));
    let soon = daemon.get("/history?from=soon").await;
    assert_eq!(status(&soon), 400);
    assert!(soon.contains("`soon` is not a time; write 2026-11-28T17:05"), "{soon}");
    let asset = daemon.get("/assets/press-1").await;
    assert!(asset.contains("data-limit=\"80\""), "{asset}");
    assert!(asset.contains("data-marks=\"1700000002000\""), "{asset}");
    assert!(daemon.get("/health").await.contains("data-rate-of=\"mqtt:plant\""));
    daemon.stop().await;

    let daemon = Daemon::start(&plant).await;
    let history = json(&daemon.get("/api/v1/history?limit=2").await);
    assert_eq!(history.as_array().expect("a list").len(), 2, "a restart forgets nothing");
    assert_eq!(json(&daemon.get("/api/v1/alerts").await), Value::Array(Vec::new()));
    let samples =
        daemon.get("/api/v1/samples?asset=press-1&tag=temperature&from=2000-01-01T00:00:00Z").await;
    assert_eq!(json(&samples)["samples"], 3);
    assert_eq!(json(&samples)["last"], serde_json::json!([60.0, 85.0, 65.0]));
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_page_says_what_keeps_the_box_from_its_work() {
    let plant = Plant::new(HOT_RULE).await;
    let daemon = Daemon::start(&plant).await;
    assert!(!daemon.get("/").await.contains("not connected"));
    daemon.stop().await;
    plant.lose_broker();
    let daemon = Daemon::start_unready(&plant).await;
    let told = async {
        loop {
            let line = daemon.get("/").await;
            if line.contains("127.0.0.1:1 cannot be reached") {
                return line;
            }
        }
    };
    let line = tokio::time::timeout(PATIENCE, told).await.expect("the reason");
    assert!(line.contains("mqtt:plant"), "{line}");
    for page in ["/", "/history", "/health"] {
        let page = daemon.get(page).await;
        assert!(page.contains("The alert broker is not connected"), "{page}");
    }
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_requests_are_told_what_is_wrong() {
    let mut plant = Plant::new(HOT_RULE).await;
    let daemon = Daemon::start(&plant).await;
    plant.send("press-1", 1, &[("temperature", 85.0)]).await;
    plant.next_event("press-1", "hot").await;
    let good = r#"{"action":"acknowledge","by":"x"}"#;
    let long = "x".repeat(100_000);
    let cases = [
        (COMMAND, "", good, 415, "application/json"),
        (COMMAND, JSON, "{", 400, "cannot be read"),
        (COMMAND, JSON, r#"{"action":"acknowledge"}"#, 400, "by"),
        (COMMAND, JSON, r#"{"action":"unshelve","by":"x"}"#, 409, "not shelved"),
        (COMMAND, JSON, &long, 413, ""),
        ("/api/v1/alerts/press-9/hot/command", JSON, good, 404, "press-9"),
        ("/api/v1/alerts/press-1/cold/command", JSON, good, 404, "cold"),
        (
            COMMAND,
            "Content-Type: application/json\r\nOrigin: http://evil.example\r\n",
            good,
            403,
            "another site",
        ),
    ];
    for (path, headers, body, code, says) in cases {
        let answer = daemon.post(path, headers, body).await;
        assert_eq!(status(&answer), code, "{answer}");
        assert!(answer.contains(says), "{answer}");
    }
    for (path, code, says) in [
        ("/api/v1/samples?asset=press-1", 400, "tag"),
        ("/api/v1/samples?asset=press-1&tag=nope", 404, "nope"),
        ("/api/v1/samples?asset=press-1&tag=temperature&points=0", 400, "points"),
        ("/api/v1/samples?asset=press-1&tag=temperature&from=soon", 400, "RFC 3339"),
        (
            "/api/v1/samples?asset=press-1&tag=temperature&from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z",
            400,
            "before",
        ),
        ("/api/v1/tags?assets=press-1", 400, "assets"),
        ("/api/v1/assets/%FF", 400, "UTF-8"),
        ("/api/v1/assets/nobody", 404, "nobody"),
        ("/assets/nobody", 404, "nobody"),
    ] {
        let answer = daemon.get(path).await;
        assert_eq!(status(&answer), code, "{path}: {answer}");
        assert!(answer.contains(says), "{path}: {answer}");
    }
    let alerts = json(&daemon.get("/api/v1/alerts").await);
    assert_eq!(alerts[0]["state"], "active", "nobody has acknowledged it");
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_viewer_hears_of_an_alert_at_once_and_lets_the_daemon_stop() {
    let plant = Plant::new(HOT_RULE).await;
    let daemon = Daemon::start(&plant).await;
    let mut viewer = daemon.connect().await;
    viewer
        .write_all(b"GET /api/v1/events?asset=press-1 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await
        .expect("sent");
    plant.send("press-1", 1, &[("temperature", 85.0)]).await;
    let mut heard = String::new();
    let all = async {
        while !(heard.contains("\"prediction\":\"hot\"") && heard.contains("event: tags")) {
            let mut part = [0; 4096];
            let count = viewer.read(&mut part).await.expect("the stream goes on");
            assert!(count > 0, "the stream ended: {heard}");
            heard.push_str(&String::from_utf8_lossy(&part[..count]));
        }
    };
    tokio::time::timeout(PATIENCE, all).await.expect("the viewer hears of it");
    // It stops although a viewer still listens, and in much less than its drain's deadline.
    tokio::time::timeout(Duration::from_secs(3), daemon.stop()).await.expect("in time");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_api_describes_itself() {
    let plant = Plant::new(HOT_RULE).await;
    let daemon = Daemon::start(&plant).await;
    let document = json(&daemon.get("/api/v1/openapi.json").await);
    assert!(document["openapi"].as_str().is_some_and(|version| version.starts_with("3.1")));
    let paths = document["paths"].as_object().expect("paths");
    for path in ["/api/v1/assets", "/api/v1/alerts/{asset}/{prediction}/command"] {
        assert!(paths.contains_key(path), "{path}");
    }
    assert!(paths.contains_key("/api/v1/models"));
    assert_eq!(paths.len(), 22);
    daemon.stop().await;
}
