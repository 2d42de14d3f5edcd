//! The audit log: one line for each thing that was asked for, whoever asked, however it ended.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::mpsc;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::plant::Plant;
use super::process::andon;
use super::{HOT_RULE, PATIENCE};

const JSON: &str = "Content-Type: application/json\r\n";

/// The daemon as a process, and what its log says.
struct Logged {
    process: Child,
    lines: mpsc::Receiver<Value>,
    http: String,
}

impl Logged {
    /// `level` keeps everything quiet but the audit and the port's address.
    fn start(plant: &Plant) -> Self {
        plant.rewrite(|text| {
            format!("{text}[log]\nlevel = \"error,andon::cli::run=info\"\njson = true\n")
        });
        let mut process = andon("run", &plant.config()).spawn().expect("the daemon");
        let stderr = BufReader::new(process.stderr.take().expect("piped"));
        let (said, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                let Ok(line) = serde_json::from_str(&line) else { continue };
                if said.send(line).is_err() {
                    return;
                }
            }
        });
        let mut own = Self { process, lines, http: String::new() };
        let running = own.line("andon::cli::run");
        let address = running["fields"]["http"].as_str().expect("an address");
        own.http = address.trim_start_matches("http://").to_owned();
        own
    }

    fn line(&self, target: &str) -> Value {
        loop {
            let line = self.lines.recv_timeout(PATIENCE).expect("a line in time");
            if line["target"] == target {
                return line;
            }
        }
    }

    /// The next line of the audit: action, object, by, from, outcome, detail.
    fn audited(&self) -> [String; 6] {
        let line = self.line("audit");
        ["action", "object", "by", "from", "outcome", "detail"]
            .map(|key| line["fields"][key].as_str().expect("a text").to_owned())
    }

    async fn ask(&self, request: String) -> String {
        let mut stream = tokio::net::TcpStream::connect(&self.http).await.expect("a connection");
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("an answer");
        answer
    }

    async fn post(&self, path: &str, headers: &str, body: &str) -> String {
        let length = body.len();
        self.ask(format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\
             Content-Length: {length}\r\n\r\n{body}"
        ))
        .await
    }
}

impl Drop for Logged {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A line without the port that the client happened to have.
fn told(line: [String; 6]) -> String {
    let [action, object, by, from, outcome, detail] = line;
    let from = from
        .split(' ')
        .map(|word| if word.starts_with("127.0.0.1:") { "127.0.0.1" } else { word })
        .collect::<Vec<_>>()
        .join(" ");
    format!("{action} | {object} | {by} | {from} | {outcome} | {detail}")
}

const ROOT: &str = "[[prediction]]\nname = \"root\"\nmodel = \"root\"\nassets = [\"press-*\"]\n\
                    alert = { raise = 100.0 }\n";

/// A version of the model `root` in a repository; gives its folder.
fn put(models: &Path, version: &str) -> PathBuf {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/models/root/1.0.0");
    let to = models.join("root").join(version);
    std::fs::create_dir_all(&to).expect("a folder");
    for file in ["model.onnx", "golden.json"] {
        std::fs::copy(from.join(file), to.join(file)).expect("copied");
    }
    let card = std::fs::read_to_string(from.join("model.toml")).expect("a card");
    let card = card.replace("version = \"1.0.0\"", &format!("version = \"{version}\""));
    std::fs::write(to.join("model.toml"), card).expect("written");
    to
}

async fn alert(plant: &mut Plant) {
    plant.send("press-1", 1, &[("temperature", 60.0)]).await;
    // The daemon may not have subscribed yet.
    let raised = async {
        for second in 2.. {
            plant.send("press-1", second, &[("temperature", 85.0)]).await;
            let next = plant.next_event("press-1", "hot");
            if tokio::time::timeout(PATIENCE / 20, next).await.is_ok() {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, raised).await.expect("an alert");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_acknowledges_and_shelves_over_mqtt_is_written_with_the_topic_and_its_claim() {
    let mut plant = Plant::new(HOT_RULE).await;
    let daemon = Logged::start(&plant);
    alert(&mut plant).await;
    let from = "mqtt plant site/press-1/alert/hot/command";
    plant.command("press-1", "hot", r#"{"action":"acknowledge","by":"R. Meyer"}"#).await;
    let line = told(daemon.audited());
    assert_eq!(line, format!("acknowledge | press-1/hot | R. Meyer | {from} | done | "));
    plant.command("press-1", "hot", r#"{"action":"shelve","by":"B","for":"1h"}"#).await;
    assert_eq!(told(daemon.audited()), format!("shelve | press-1/hot | B | {from} | done | "));
    plant.command("press-1", "hot", r#"{"action":"unshelve","by":"B"}"#).await;
    assert_eq!(told(daemon.audited()), format!("unshelve | press-1/hot | B | {from} | done | "));
    plant.command("press-1", "hot", r#"{"action":"unshelve","by":"B"}"#).await;
    let line = told(daemon.audited());
    let refused =
        format!("unshelve | press-1/hot | B | {from} | refused | the alert is not shelved");
    assert!(line.starts_with(&refused), "{line}");
    plant.command("press-1", "hot", "gibberish").await;
    let line = told(daemon.audited());
    let refused =
        format!("command | press-1/hot |  | {from} | refused | the command cannot be read");
    assert!(line.starts_with(&refused), "{line}");
    plant.command("nobody", "hot", r#"{"action":"acknowledge","by":"R. Meyer"}"#).await;
    let line = told(daemon.audited());
    assert!(line.ends_with("| refused | there is no asset `nobody`"), "{line}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_acknowledges_over_http_is_written_with_the_address_and_the_token() {
    let mut plant = Plant::new(HOT_RULE).await;
    let token = plant.folder.path().join("http.token");
    std::fs::write(&token, "a token of the test").expect("written");
    plant.rewrite(|text| {
        text.replace("[http]\n", &format!("[http]\ntoken_file = \"{}\"\n", token.display()))
    });
    let daemon = Logged::start(&plant);
    alert(&mut plant).await;
    let path = "/api/v1/alerts/press-1/hot/command";
    let body = r#"{"action":"acknowledge","by":"R. Meyer"}"#;
    let answer = daemon.post(path, JSON, body).await;
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
    let line = told(daemon.audited());
    let refused =
        format!("request | POST {path} |  | http 127.0.0.1 without token | refused | this needs");
    assert!(line.starts_with(&refused), "{line}");
    let headers = format!("{JSON}Authorization: Bearer a token of the test\r\n");
    let answer = daemon.post(path, &headers, body).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let line = told(daemon.audited());
    assert_eq!(line, "acknowledge | press-1/hot | R. Meyer | http 127.0.0.1 with token | done | ");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_of_another_site_and_a_name_bent_to_the_box_are_written() {
    let plant = Plant::new(HOT_RULE).await;
    let daemon = Logged::start(&plant);
    let path = "/api/v1/alerts/press-1/hot/command";
    daemon.post(path, "Origin: http://evil.example\r\n", "{}").await;
    let line = told(daemon.audited());
    assert!(line.ends_with("| refused | pages of another site may not change anything here"));
    daemon
        .ask(format!(
            "POST {path} HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
        ))
        .await;
    let line = told(daemon.audited());
    assert!(line.contains("| refused | `evil.example` is not a name of this box"), "{line}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_version_the_way_back_and_loading_for_requests_are_written() {
    let plant = Plant::new(ROOT).await;
    let models = plant.folder.path().join("models");
    put(&models, "1.0.0");
    put(&models, "1.1.0");
    plant.rewrite(|text| format!("{text}[runtime]\nmodels = {models:?}\n"));
    let daemon = Logged::start(&plant);
    let here = "http 127.0.0.1 without token";
    let activate = "/api/v1/models/root/activate";
    let answer = daemon.post(activate, JSON, r#"{"version":"1.0.0","by":"A"}"#).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let done = format!("activate | root/1.0.0 | A | {here} | done | 1.0.0 in the place of 1.1.0");
    assert_eq!(told(daemon.audited()), done);
    daemon.post(activate, JSON, r#"{"version":"9","by":"A"}"#).await;
    let line = told(daemon.audited());
    let refused = format!("activate | root/9 | A | {here} | refused | ");
    assert!(line.starts_with(&refused), "{line}");
    let shadow = "/api/v1/models/root/shadow";
    daemon.post(shadow, JSON, r#"{"version":"1.1.0","by":"C"}"#).await;
    let done = format!("shadow | root/1.1.0 | C | {here} | done | 1.1.0 beside 1.0.0");
    assert_eq!(told(daemon.audited()), done);
    daemon.post(shadow, JSON, r#"{"by":"C"}"#).await;
    let done = format!("end shadow | root | C | {here} | done | 1.1.0 is no shadow any more");
    assert_eq!(told(daemon.audited()), done);
    daemon.post(activate, JSON, r#"{"version":"../../etc","by":"A"}"#).await;
    let line = told(daemon.audited());
    assert!(line.starts_with("activate | root/../../etc | A | "), "{line}");
    assert!(line.contains("is no model"), "{line}");
    daemon.post("/api/v1/models/root/rollback", JSON, r#"{"by":"B"}"#).await;
    let done = format!("rollback | root | B | {here} | done | 1.1.0 in the place of 1.0.0");
    assert_eq!(told(daemon.audited()), done);
    daemon.post("/v2/repository/models/none/load", JSON, "").await;
    let line = told(daemon.audited());
    assert!(line.starts_with(&format!("load | none |  | {here} | refused | ")), "{line}");
    daemon.post("/v2/repository/models/root/unload", JSON, "").await;
    let line = told(daemon.audited());
    assert!(line.starts_with(&format!("unload | root |  | {here} | refused | ")), "{line}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn versions_are_checked_added_and_removed_over_the_api_and_that_is_written() {
    let plant = Plant::new(ROOT).await;
    let models = plant.folder.path().join("models");
    put(&models, "1.0.0");
    put(&models, "1.1.0");
    put(&models.join("incoming"), "1.2.0");
    let spoilt = put(&models.join("brought/by/hand"), "1.3.0").join("golden.json");
    std::fs::write(spoilt, r#"{"input": [[4.0]], "output": [[2.5]]}"#).expect("spoilt");
    plant.rewrite(|text| format!("{text}[runtime]\nmodels = {models:?}\n"));
    let daemon = Logged::start(&plant);
    let asked = async |action: &str, body: &str| {
        let answer = daemon.post(&format!("/api/v1/models/root/{action}"), JSON, body).await;
        let status: u16 = answer[9..12].parse().expect("a status");
        (status, answer, told(daemon.audited()))
    };
    let (status, answer, line) = asked("add", r#"{"version":"1.2.0","by":"A"}"#).await;
    assert_eq!(status, 200, "{answer}");
    assert!(answer.contains(r#""device":"cpu""#), "{answer}");
    let start = "add | root/1.2.0 | A | http 127.0.0.1 without token | done | SHA-256 d59d0032";
    assert!(line.starts_with(start) && models.join("root/1.2.0/model.onnx").exists(), "{line}");
    let (status, answer, line) = asked("check", r#"{"version":"1.2.0","by":"A"}"#).await;
    assert_eq!(status, 200, "{answer}");
    assert!(line.starts_with("check | root/1.2.0 | A | "), "{line}");
    for (action, body, status, why) in [
        ("add", r#"{"version":"1.2.0","by":"A"}"#, 409, "is there already"),
        ("add", r#"{"version":"1.3.0","by":"A"}"#, 404, "has no version `1.3.0`"),
        ("add", r#"{"version":"1.3.0","from":"..","by":"A"}"#, 404, "is no model"),
        ("add", r#"{"version":"1.3.0","from":"brought/by/hand","by":"A"}"#, 400, "not the model"),
        ("check", r#"{"version":"9","by":"A"}"#, 404, "has no version `9`"),
        ("remove", r#"{"version":"1.1.0","by":"A"}"#, 409, "it predicts"),
        ("remove", r#"{"version":"../1.0.0","by":"A"}"#, 404, "is no model"),
    ] {
        let (got, answer, line) = asked(action, body).await;
        assert_eq!(got, status, "{action} {body}: {answer}");
        assert!(answer.contains(why) && line.contains("| refused |"), "{action}: {answer} {line}");
    }
    assert!(!models.join("root/1.3.0").exists(), "nothing of it is left");
    assert_eq!(asked("activate", r#"{"version":"1.2.0","by":"A"}"#).await.0, 200);
    assert_eq!(asked("shadow", r#"{"version":"1.0.0","by":"A"}"#).await.0, 200);
    for (version, why) in [("1.0.0", "it is a shadow"), ("1.1.0", "trial"), ("1.2.0", "predicts")] {
        let body = format!(r#"{{"version":"{version}","by":"A"}}"#);
        let (status, answer, _) = asked("remove", &body).await;
        assert!(status == 409 && answer.contains(why), "{version}: {answer}");
    }
    assert_eq!(asked("shadow", r#"{"by":"A"}"#).await.0, 200);
    let (status, answer, line) = asked("remove", r#"{"version":"1.0.0","by":"A"}"#).await;
    assert_eq!(status, 200, "{answer}");
    assert!(line.starts_with("remove | root/1.0.0 | A | http "), "{line}");
    assert!(!models.join("root/1.0.0").exists() && models.join("root/1.1.0").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_label_says_and_what_became_of_it_is_written() {
    let plant = Plant::new(ROOT).await;
    let models = plant.folder.path().join("models");
    put(&models, "1.0.0");
    plant.rewrite(|text| format!("{text}[runtime]\nmodels = {models:?}\n"));
    let daemon = Logged::start(&plant);
    let here = "http 127.0.0.1 without token";
    let path = "/api/v1/labels";
    daemon.post(path, JSON, "gibberish").await;
    let line = told(daemon.audited());
    assert!(line.starts_with(&format!("label | unreadable |  | {here} | refused | ")), "{line}");
    daemon.post(path, JSON, r#"{"alert_id":"x","label":"true"}"#).await;
    let line = told(daemon.audited());
    let refused = format!("label | alert x |  | {here} | refused | there is no alert x");
    assert!(line.starts_with(&refused), "{line}");
    // The asset is known from its first reading on; the verdict on that time never comes.
    plant.send("press-1", 1, &[("a", 4.0)]).await;
    let known = async {
        let tags = "GET /api/v1/tags HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        while !daemon.ask(tags.into()).await.contains("press-1") {
            plant.send("press-1", 1, &[("a", 4.0)]).await;
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, known).await.expect("the reading comes");
    let body =
        r#"{"asset":"press-1","prediction":"root","time":"2023-11-14T23:00:00Z","label":"bad"}"#;
    let taken = daemon.post(path, JSON, body).await;
    assert!(taken.starts_with("HTTP/1.1 202"), "{taken}");
    let done = format!("label | press-1/root |  | {here} | done | bad: waits for its verdict");
    assert_eq!(told(daemon.audited()), done);
    plant.publish("site/press-1/label/root", b"gibberish").await;
    let from = "mqtt plant site/press-1/label/root";
    let line = told(daemon.audited());
    assert!(line.starts_with(&format!("label | press-1/root |  | {from} | refused | ")), "{line}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_that_change_the_repository_without_the_daemon_write_it_too() {
    // Where there is a journal, the lines are there; `make boot-test` looks at them.
    if Path::new("/run/systemd/journal/socket").exists() {
        return;
    }
    let plant = Plant::new("").await;
    let models = plant.folder.path().join("models");
    put(&models, "1.0.0");
    plant.rewrite(|text| format!("{text}[runtime]\nmodels = {models:?}\n"));
    let brought = put(&plant.folder.path().join("brought"), "1.1.0");
    let run = |action: &str, what: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_andon"));
        command.args(["model", action, what, "--by", "R. Meyer", "--config"]).arg(plant.config());
        if action == "remove" {
            command.args(["--url", "http://127.0.0.1:1"]);
        }
        let output = command.output().expect("an outcome");
        String::from_utf8(output.stderr).expect("text")
    };
    let package = brought.display().to_string();
    let added = run("add", &package);
    let line = format!(
        "audit: Something was asked for and done. action=\"add\" object={package:?} by=\"R. Meyer\" from=\"command user "
    );
    assert!(added.contains(&line) && added.contains("SHA-256"), "{added}");
    let again = run("add", &package);
    assert!(again.contains("outcome=\"refused\"") && again.contains("is there already"), "{again}");
    let removed = run("remove", "root/1.1.0");
    let line = "action=\"remove\" object=\"root/1.1.0\" by=\"R. Meyer\"";
    assert!(removed.contains(line) && removed.contains("outcome=\"done\""), "{removed}");
    let missing = run("remove", "root/../1.0.0");
    assert!(missing.contains("outcome=\"refused\""), "{missing}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_is_written_whether_a_signal_or_the_file_asked_for_it() {
    let plant = Plant::new(HOT_RULE).await;
    let daemon = Logged::start(&plant);
    let file = plant.config().display().to_string();
    let hup = Command::new("kill").arg("-HUP").arg(daemon.process.id().to_string()).status();
    assert!(hup.expect("kill").success());
    let line = told(daemon.audited());
    let detail = "0 settings have changed, 0 need a restart";
    assert_eq!(line, format!("reload | {file} |  | signal SIGHUP | done | {detail}"));
    plant.rewrite(|text| text.replace("limit = 80.0", "limit = 81.0"));
    let detail = "1 settings have changed, 0 need a restart";
    let line = told(daemon.audited());
    assert_eq!(line, format!("reload | {file} |  | file | done | {detail}"));
    plant.rewrite(|text| text.replace("limit = 81.0", "limit = \"much\""));
    let line = told(daemon.audited());
    assert!(line.starts_with(&format!("reload | {file} |  | file | refused | ")), "{line}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_names_forge_no_second_line() {
    let plant = Plant::new(HOT_RULE).await;
    let daemon = Logged::start(&plant);
    let body = r#"{"version":"1\n{\"target\":\"audit\"}","by":"A"}"#;
    daemon.post("/api/v1/models/root/activate", JSON, body).await;
    let [_, object, ..] = daemon.audited();
    assert_eq!(object, "root/1\n{\"target\":\"audit\"}", "in one line, escaped");
    let body = "{\"version\":\"1\",\"by\":\"A\\nB\"}";
    let answer = daemon.post("/api/v1/models/root/activate", JSON, body).await;
    assert!(answer.contains("without control characters"), "{answer}");
}
