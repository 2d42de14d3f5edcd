//! A model that a server runs: the good way, and every bad one, from a scripted server.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod model_support;
mod remote_support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use andon::health::BreakerState;
use remote_support::{card, start};
use serde_json::{Value, json};
use tokio::time::Instant;

/// How the server answers requests for an inference.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Mode {
    Good,
    Status(u16),
    /// These bytes as the whole answer.
    Body(&'static str),
    /// A right head, and the connection ends in the middle of the body.
    Cut,
    /// No byte, ever.
    Silent,
    /// A body without an end.
    Endless,
    /// Says that more binary data follow than do.
    Lies,
    /// No number is one.
    Nan,
}

/// A server that draws roots.
struct Server {
    url: String,
    mode: Arc<Mutex<Mode>>,
    asked: Arc<Mutex<Vec<String>>>,
    input: Arc<Mutex<&'static str>>,
}

impl Server {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/v2/models/far", listener.local_addr().unwrap());
        let mode = Arc::new(Mutex::new(Mode::Good));
        let asked = Arc::new(Mutex::new(Vec::new()));
        let input = Arc::new(Mutex::new("FP32"));
        let own = (Arc::clone(&mode), Arc::clone(&asked), Arc::clone(&input));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (mode, asked, input) = own.clone();
                std::thread::spawn(move || serve(stream, &mode, &asked, &input));
            }
        });
        Self { url, mode, asked, input }
    }

    fn set(&self, mode: Mode) {
        *self.mode.lock().unwrap() = mode;
    }
}

/// Requests on one connection, until it ends.
fn serve(
    stream: TcpStream,
    mode: &Mutex<Mode>,
    asked: &Mutex<Vec<String>>,
    input: &Mutex<&'static str>,
) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut stream = stream;
    loop {
        let (mut first, mut length, mut json) = (String::new(), 0_usize, None);
        reader.read_line(&mut first).ok().filter(|read| *read > 0)?;
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
            let lower = line.trim().to_ascii_lowercase();
            match lower.split_once(": ") {
                Some(("content-length", value)) => length = value.parse().ok()?,
                Some(("inference-header-content-length", value)) => json = value.parse().ok(),
                Some(_) => {}
                None => break,
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        let path = first.split(' ').nth(1)?.to_owned();
        asked.lock().unwrap().push(path.clone());
        match path.as_str() {
            "/v2" => answer(&mut stream, &json!({ "extensions": ["binary_tensor_data"] }))?,
            "/v2/models/far" => {
                let input = *input.lock().unwrap();
                answer(
                    &mut stream,
                    &json!({
                        "name": "far", "versions": ["1"], "platform": "x",
                        "inputs": [{ "name": "x", "datatype": input, "shape": [-1, 1] }],
                        "outputs": [{ "name": "root", "datatype": "FP32", "shape": [-1, 1] }],
                    }),
                )?;
            }
            _ => {
                let mode = *mode.lock().unwrap();
                infer(&mut stream, mode, &body, json.unwrap_or(length))?;
            }
        }
    }
}

fn answer(stream: &mut TcpStream, body: &Value) -> Option<()> {
    send(stream, 200, "", body.to_string().as_bytes())
}

fn send(stream: &mut TcpStream, status: u16, head: &str, body: &[u8]) -> Option<()> {
    let length = body.len();
    let head = format!("HTTP/1.1 {status} x\r\ncontent-length: {length}\r\n{head}\r\n");
    stream.write_all(&[head.as_bytes(), body].concat()).ok()
}

fn infer(stream: &mut TcpStream, mode: Mode, body: &[u8], json: usize) -> Option<()> {
    match mode {
        Mode::Status(status) => return send(stream, status, "", b"{\"error\": \"not today\"}"),
        Mode::Body(body) => return send(stream, 200, "", body.as_bytes()),
        Mode::Cut => {
            let _ = stream.write_all(b"HTTP/1.1 200 x\r\ncontent-length: 400\r\n\r\n{\"outputs\":");
            return None;
        }
        Mode::Silent => {
            std::thread::sleep(Duration::from_secs(20));
            return None;
        }
        Mode::Endless => {
            let _ = stream.write_all(b"HTTP/1.1 200 x\r\ncontent-length: 99999999999\r\n\r\n");
            while stream.write_all(&[b' '; 65536]).is_ok() {}
            return None;
        }
        Mode::Good | Mode::Lies | Mode::Nan => {}
    }
    let asked: Value = serde_json::from_slice(&body[..json]).unwrap();
    assert_eq!(asked["inputs"][0]["datatype"], "FP32");
    let items: Vec<f32> =
        body[json..].as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
    let mut roots: Vec<u8> = items.iter().flat_map(|x| x.sqrt().to_le_bytes()).collect();
    if mode == Mode::Nan {
        roots = items.iter().flat_map(|_| f32::NAN.to_le_bytes()).collect();
    }
    let size = if mode == Mode::Lies { 4000 } else { roots.len() };
    let told = json!({
        "id": asked["id"], "model_name": "far", "model_version": "1",
        "outputs": [{ "name": "root", "datatype": "FP32", "shape": [items.len(), 1],
                      "parameters": { "binary_data_size": size } }],
    });
    let told = told.to_string();
    let head = format!("inference-header-content-length: {}\r\n", told.len());
    send(stream, 200, &head, &[told.as_bytes(), &roots].concat())
}

#[test]
fn a_server_answers_in_the_models_place_and_the_verdict_says_so() {
    let server = Server::start();
    let mut running = start(&server.url, false, "");
    running.ask(16.0);
    let verdict = running.verdicts.blocking_recv().unwrap();
    assert_eq!(verdict.score, 4.0);
    let model = verdict.model.unwrap();
    assert_eq!(model.device, format!("remote {}", server.url));
    let remote = running.remote();
    assert_eq!((remote.breaker, remote.failed(), remote.retries), (BreakerState::Closed, 0, 0));
    let asked = server.asked.lock().unwrap().clone();
    assert_eq!(asked[..2], ["/v2/models/far", "/v2"], "metadata come first: {asked:?}");
}

#[test]
fn each_kind_of_bad_answer_is_counted_as_what_it_is_and_the_next_good_one_counts_again() {
    let cases = [
        (Mode::Status(503), "unavailable"),
        (Mode::Status(404), "refused"),
        (Mode::Body("<html>hello</html>"), "malformed"),
        (Mode::Body("{\"outputs\": []}"), "mismatch"),
        (
            Mode::Body(
                "{\"outputs\": [{\"name\": \"y\", \"datatype\": \"FP32\", \"shape\": [1, 1], \"data\": [2]}]}",
            ),
            "mismatch",
        ),
        (
            Mode::Body(
                "{\"outputs\": [{\"name\": \"root\", \"datatype\": \"INT64\", \"shape\": [1, 1], \"data\": [2]}]}",
            ),
            "mismatch",
        ),
        (
            Mode::Body(
                "{\"outputs\": [{\"name\": \"root\", \"datatype\": \"FP32\", \"shape\": [1, 2], \"data\": [2, 3]}]}",
            ),
            "mismatch",
        ),
        (
            Mode::Body(
                "{\"outputs\": [{\"name\": \"root\", \"datatype\": \"FP32\", \"shape\": [9999999, 1], \"data\": [2]}]}",
            ),
            "malformed",
        ),
        (Mode::Lies, "malformed"),
        (Mode::Endless, "too_large"),
        (Mode::Cut, "cut"),
        (Mode::Silent, "timeout"),
    ];
    for (mode, kind) in cases {
        let server = Server::start();
        let mut running = start(&server.url, false, "");
        server.set(mode);
        let began = Instant::now();
        running.ask(4.0);
        running.until("the frame fails", |running| running.failed() == 1);
        assert!(began.elapsed() < Duration::from_secs(2), "{mode:?} took {:?}", began.elapsed());
        let remote = running.remote();
        assert!(remote.failures[kind] > 0, "{mode:?}: {remote:?}");
        server.set(Mode::Good);
        running
            .until("it is asked again", |running| running.remote().breaker == BreakerState::Closed);
        running.ask(9.0);
        assert_eq!(running.verdicts.blocking_recv().unwrap().score, 3.0, "{mode:?}");
    }
}

#[test]
fn nan_from_a_server_is_suppressed_as_from_a_model_here() {
    let server = Server::start();
    let running = start(&server.url, false, "");
    server.set(Mode::Nan);
    running.ask(4.0);
    let stats = || running.worker.handle().stats().snapshot();
    running.until("it is suppressed and told", |_| stats().last_error.is_some());
    assert_eq!(stats().unhealthy, 1);
    assert_eq!(stats().last_error.unwrap(), "the model answered NaN");
}

#[test]
fn the_local_model_answers_while_the_server_does_not_and_is_named() {
    let server = Server::start();
    let mut running = start(&server.url, true, "");
    server.set(Mode::Status(503));
    for frame in 1..=6 {
        running.ask(16.0);
        let verdict = running.verdicts.blocking_recv().unwrap();
        assert_eq!((verdict.score, verdict.model.unwrap().device.as_str()), (4.0, "cpu"));
        assert_eq!(running.remote().fallbacks, frame);
    }
    let remote = running.remote();
    assert_eq!((remote.breaker, remote.opened), (BreakerState::Open, 1));
    assert_eq!(running.failed(), 0);
    server.set(Mode::Good);
    running.until("it is back", |running| running.remote().breaker == BreakerState::Closed);
    running.ask(25.0);
    let verdict = running.verdicts.blocking_recv().unwrap();
    assert!(verdict.model.unwrap().device.starts_with("remote http://"));
}

#[test]
fn a_server_that_is_not_there_at_the_start_is_found_when_it_comes() {
    let server = Server::start();
    server.set(Mode::Status(503));
    let running = start(&server.url, false, "");
    let remote = running.remote();
    assert_eq!((remote.breaker, remote.opened), (BreakerState::Open, 1));
    assert!(remote.last_error.unwrap().contains("it answered 503: not today"));
    server.set(Mode::Good);
    running.until("it is found", |running| running.remote().breaker == BreakerState::Closed);
}

#[test]
fn a_server_that_contradicts_the_card_or_its_golden_pair_is_refused_at_the_start() {
    let server = Server::start();
    let copy = card(&server.url, false, "");
    *server.input.lock().unwrap() = "INT8";
    let error = copy.errors("model = \"root\"");
    assert!(error.contains("input.tensor: expected float32 or float64, got INT8"), "{error}");
    *server.input.lock().unwrap() = "FP32";
    copy.replace("golden.json", "3.0", "3.5");
    let error = copy.errors("model = \"root\"");
    assert!(error.contains("expected 3.5, got 3"), "{error}");
}

#[test]
fn no_server_at_all_stops_no_start() {
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let running = start(&format!("http://{gone}/v2/models/far"), false, "");
    let remote = running.remote();
    assert_eq!((remote.breaker, remote.failures["connect"]), (BreakerState::Open, 1));
    running.ask(4.0);
    running.until("the frame fails", |running| running.failed() == 1);
}
