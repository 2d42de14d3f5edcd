//! The HTTP port against those who mean it no good: what a page elsewhere, a bent name, a crooked
//! path or a client without end may not do.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::board::{json, status};
use super::plant::{Daemon, Plant};
use super::{HOT_RULE, PATIENCE};

const JSON: &str = "Content-Type: application/json\r\n";
const ACKNOWLEDGE: &str = r#"{"action":"acknowledge","by":"x"}"#;
/// Everything that changes something.
const CHANGES: [(&str, &str); 12] = [
    ("/api/v1/alerts/press-1/hot/command", ACKNOWLEDGE),
    ("/api/v1/models/root/activate", r#"{"version":"1","by":"x"}"#),
    ("/api/v1/models/root/rollback", r#"{"by":"x"}"#),
    ("/v2/repository/models/root/load", "{}"),
    ("/v2/repository/models/root/unload", "{}"),
    ("/v2/models/root/infer", "{}"),
    ("/api/v1/models/root/shadow", r#"{"version":"1","by":"x"}"#),
    ("/api/v1/models/root/check", r#"{"version":"1","by":"x"}"#),
    ("/api/v1/models/root/add", r#"{"version":"1","by":"x"}"#),
    ("/api/v1/models/root/remove", r#"{"version":"1","by":"x"}"#),
    ("/api/v1/labels", "{}"),
    ("/inference.GRPCInferenceService/RepositoryModelLoad", ""),
];

async fn raised() -> (Plant, Daemon) {
    let mut plant = Plant::new(HOT_RULE).await;
    let daemon = Daemon::start(&plant).await;
    plant.send("press-1", 1, &[("temperature", 85.0)]).await;
    plant.next_event("press-1", "hot").await;
    (plant, daemon)
}

/// Says `request` as it is; what comes back until the connection ends.
async fn raw(daemon: &Daemon, request: &[u8]) -> String {
    let mut stream = daemon.connect().await;
    // The port may have answered and closed before all was said.
    let said = tokio::time::timeout(PATIENCE, stream.write_all(request)).await;
    let _unread = said.expect("the port reads or closes");
    let mut answer = Vec::new();
    let whole = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
    let head = &request[..request.len().min(200)];
    let _reset = whole.unwrap_or_else(|_| panic!("no end: {}", String::from_utf8_lossy(head)));
    String::from_utf8_lossy(&answer).into_owned()
}

async fn still_unseen(daemon: &Daemon) {
    let alerts = json(&daemon.get("/api/v1/alerts").await);
    assert_eq!(alerts[0]["state"], "active", "nobody has acknowledged it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_names_bent_to_the_box_get_no_page_and_change_nothing() {
    let (_plant, daemon) = raised().await;
    for host in ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "[::1", "a b"]
    {
        for path in ["/", "/config", "/api/v1/alerts", "/metrics", "/board.js", "/v2", "/nothing"] {
            let request =
                format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
            let answer = raw(&daemon, request.as_bytes()).await;
            assert!([400, 421].contains(&status(&answer)), "{host} {path}: {answer}");
        }
        for (path, body) in CHANGES {
            let length = body.len();
            let request = format!(
                "POST {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{JSON}Content-Length: {length}\r\n\r\n{body}"
            );
            let answer = raw(&daemon, request.as_bytes()).await;
            assert!([400, 421].contains(&status(&answer)), "{host} {path}: {answer}");
        }
    }
    still_unseen(&daemon).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_pages_of_other_sites_change_nothing() {
    let (_plant, daemon) = raised().await;
    for (path, body) in CHANGES {
        for foreign in [
            "Origin: http://evil.example\r\n",
            "Origin: null\r\n",
            "Origin: http://localhost:1\r\n",
            "Origin: http://localhost@evil.example\r\n",
            "Sec-Fetch-Site: cross-site\r\n",
            "Sec-Fetch-Site: same-site\r\n",
        ] {
            let answer = daemon.post(path, &format!("{JSON}{foreign}"), body).await;
            assert_eq!(status(&answer), 403, "{path} {foreign}: {answer}");
            let lower = answer.to_ascii_lowercase();
            assert!(!lower.contains("access-control-allow"), "{path}: {answer}");
        }
    }
    for kind in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"] {
        let headers = format!("Content-Type: {kind}\r\n");
        let answer = daemon.post(CHANGES[0].0, &headers, ACKNOWLEDGE).await;
        assert_eq!(status(&answer), 415, "what a form can send without asking: {answer}");
    }
    still_unseen(&daemon).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_paths_lead_to_no_file() {
    let (plant, daemon) = raised().await;
    let secret = "the plant's secret";
    std::fs::write(plant.folder.path().join("secret.txt"), secret).expect("written");
    let climbs = ["../secret.txt", "..%2fsecret.txt", "%2e%2e%2fsecret.txt", "..%5csecret.txt"];
    let deep = "../../../../../../../../etc/passwd";
    let encoded = deep.replace('/', "%2f");
    let places =
        ["/", "/assets/", "/api/v1/assets/", "/v2/models/", "/api/v1/models/", "/board.css/"];
    for place in places {
        for climb in climbs.iter().copied().chain([deep, encoded.as_str(), "%00", "..;/x"]) {
            let request = format!(
                "GET {place}{climb} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
            );
            let answer = raw(&daemon, request.as_bytes()).await;
            assert!([400, 404, 405].contains(&status(&answer)), "{place}{climb}: {answer}");
            assert!(!answer.contains(secret) && !answer.contains("root:x"), "{place}{climb}");
        }
    }
    for name in
        climbs.iter().copied().chain([encoded.as_str(), "..", "%2e%2e", "root%2f..%2f..", "%2fetc"])
    {
        let path = format!("/v2/repository/models/{name}/load");
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{JSON}Content-Length: 2\r\n\r\n{{}}"
        );
        let answer = raw(&daemon, request.as_bytes()).await;
        assert!([400, 404, 405].contains(&status(&answer)), "{path}: {answer}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_lengths_are_left_at_the_limit() {
    let (_plant, daemon) = raised().await;
    let huge = 1_u64 << 40;
    for (at, sent) in [(0, 1 << 17), (1, 1 << 17), (2, 1 << 17), (3, 17 << 20), (4, 17 << 20)] {
        let path = CHANGES[at].0;
        let mut request = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{JSON}Content-Length: {huge}\r\n\r\n"
        );
        request.extend(std::iter::repeat_n('x', sent));
        let answer = raw(&daemon, request.as_bytes()).await;
        // What is left unread may make the end a reset that overtakes the answer.
        assert!(answer.is_empty() || [400, 413].contains(&status(&answer)), "{path}: {answer}");
    }
    let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000)).repeat(4);
    let endless = format!(
        "POST {} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{JSON}Transfer-Encoding: chunked\r\n\r\n{chunk}",
        CHANGES[0].0
    );
    let answer = raw(&daemon, endless.as_bytes()).await;
    assert!(answer.is_empty() || status(&answer) == 413, "a body that tells no length: {answer}");
    let header = format!(
        "GET / HTTP/1.1\r\nHost: localhost\r\nX: {}\r\nConnection: close\r\n\r\n",
        "x".repeat(1 << 20)
    );
    let answer = raw(&daemon, header.as_bytes()).await;
    assert!(!answer.contains("200 OK"), "{answer}");
    let both = format!(
        "POST {} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n0\r\n\r\nGET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        CHANGES[0].0
    );
    let answer = raw(&daemon, both.as_bytes()).await;
    assert!(answer.matches("HTTP/1.1 ").count() <= 1, "one request is one answer: {answer}");
    still_unseen(&daemon).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_commands_over_mqtt_change_nothing() {
    let (mut plant, daemon) = raised().await;
    let long = format!(r#"{{"action":"acknowledge","by":"{}"}}"#, "x".repeat(10_000));
    let nested = "[".repeat(4000);
    for body in [
        "",
        "null",
        r#"{"action":"acknowledge"}"#,
        r#"{"action":"acknowledge","by":""}"#,
        r#"{"action":"acknowledge","by":"a\u0000b"}"#,
        r#"{"action":"acknowledge","action":"acknowledge","by":"x"}"#,
        r#"{"action":"clear","by":"x"}"#,
        r#"{"action":"shelve","by":"x","for":"1000years"}"#,
        r#"{"action":"acknowledge","by":"x","alert_id":"another"}"#,
        &long,
        &nested,
    ] {
        plant.command("press-1", "hot", body).await;
    }
    plant.publish("site/press-1/alert/../hot/command", ACKNOWLEDGE.as_bytes()).await;
    plant.command("press-1%2Fx", "hot", ACKNOWLEDGE).await;
    // Commands are obeyed in order: this one comes after all of them.
    plant.command("press-1", "hot", r#"{"action":"shelve","by":"a person","for":"1h"}"#).await;
    let next = plant.next_event("press-1", "hot").await;
    assert_eq!(next["data"]["state"], "shelved");
    assert_eq!(next["data"]["shelved_by"], "a person");
    assert!(next["data"]["acknowledged_by"].is_null(), "{next}");
    daemon.stop().await;
}
