//! A model that a server runs, asked over gRPC: the good way, and every bad one, from a scripted
//! server.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod model_support;
mod remote_support;

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use andon::health::BreakerState;
use andon::oip::grpc::{self, ModelInferRequest, ModelMetadata, TensorMetadata};
use andon::oip::{Data, Tensor};
use andon::settings::{HttpTls, TlsVersion};
use andon::tls;
use andon::verdict::{Explanation, Verdict};
use bytes::{BufMut, Bytes, BytesMut};
use h2::RecvStream;
use h2::server::SendResponse;
use prost::Message;
use remote_support::{Running, card, start, start_explaining};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use ureq::http::{HeaderMap, HeaderValue, Request, Response};

/// How the server answers requests for an inference.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Mode {
    Good,
    /// A status of gRPC, and no message.
    Status(&'static str),
    /// Not even gRPC's own refusal.
    Http(u16),
    /// These bytes as the message.
    Message(&'static [u8]),
    /// These bytes as the whole body.
    Body(&'static [u8]),
    /// A right message, and no trailers.
    NoStatus,
    /// The connection ends in the middle of the message.
    Cut,
    /// No byte, ever.
    Silent,
    /// A body without an end.
    Endless,
    /// A tensor that has fewer bytes than its shape says.
    Lies,
    /// Another output than the one that was asked for.
    Other,
}

#[derive(Clone)]
struct Script {
    mode: Arc<Mutex<Mode>>,
    /// Methods with the token that came with them, in order.
    asked: Arc<Mutex<Vec<String>>>,
    cut: Arc<Notify>,
}

/// A server that draws roots, on a runtime of its own.
struct Server {
    address: String,
    script: Script,
    _runtime: tokio::runtime::Runtime,
}

impl Server {
    fn start(tls: Option<TlsAcceptor>) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (mode, cut) = (Arc::new(Mutex::new(Mode::Good)), Arc::new(Notify::new()));
        let script = Script { mode, asked: Arc::default(), cut };
        let own = script.clone();
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (script, tls) = (own.clone(), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        Some(tls) => serve(tls.accept(stream).await.ok()?, script).await,
                        None => serve::<TcpStream>(stream, script).await,
                    }
                });
            }
        });
        Self { address, script, _runtime: runtime }
    }

    fn plain() -> Self {
        Self::start(None)
    }

    fn url(&self) -> String {
        format!("grpc://{}/v2/models/far", self.address)
    }

    fn set(&self, mode: Mode) {
        *self.script.mode.lock().unwrap() = mode;
    }
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin>(stream: S, script: Script) -> Option<()> {
    let mut connection = h2::server::handshake(stream).await.ok()?;
    loop {
        let (request, respond) = tokio::select! {
            () = script.cut.notified() => return None,
            next = connection.accept() => next?.ok()?,
        };
        tokio::spawn(answer(request, respond, script.clone()));
    }
}

async fn answer(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    script: Script,
) -> Option<()> {
    let (head, mut body) = request.into_parts();
    let method = head.uri.path().rsplit_once('/')?.1.to_owned();
    let token = head.headers.get("authorization").map_or("", |token| token.to_str().unwrap());
    assert_eq!(head.headers["te"], "trailers");
    script.asked.lock().unwrap().push(format!("{method} {token}").trim().to_owned());
    let mut message = BytesMut::new();
    while let Some(piece) = body.data().await {
        let piece = piece.ok()?;
        body.flow_control().release_capacity(piece.len()).ok()?;
        message.extend_from_slice(&piece);
    }
    let message = message.split_off(5).freeze();
    if method == "ModelMetadata" {
        let told = metadata().encode_to_vec();
        return send(&mut respond, &framed(&told), Some("0"));
    }
    let mode = *script.mode.lock().unwrap();
    match mode {
        Mode::Status(status) => {
            let head = Response::builder().header("content-type", "application/grpc");
            let head = head.header("grpc-status", status).header("grpc-message", "not%20today");
            respond.send_response(head.body(()).unwrap(), true).ok()?;
        }
        Mode::Http(status) => {
            let head = Response::builder().status(status).body(()).unwrap();
            let mut body = respond.send_response(head, false).ok()?;
            body.send_data(Bytes::from_static(b"{\"error\": \"not today\"}"), true).ok()?;
        }
        Mode::Message(bytes) => send(&mut respond, &framed(bytes), Some("0"))?,
        Mode::Body(bytes) => send(&mut respond, bytes, Some("0"))?,
        Mode::NoStatus => send(&mut respond, &framed(&roots(&message, mode)), None)?,
        Mode::Cut => {
            let mut body = respond.send_response(Response::new(()), false).ok()?;
            body.send_data(Bytes::from_static(b"\0\0\0\0\x20half"), false).ok()?;
            script.cut.notify_waiters();
        }
        Mode::Silent => tokio::time::sleep(Duration::from_secs(20)).await,
        Mode::Endless => {
            let mut body = respond.send_response(Response::new(()), false).ok()?;
            while body.send_data(Bytes::from_static(&[b' '; 16384]), false).is_ok() {
                tokio::task::yield_now().await;
            }
        }
        Mode::Good | Mode::Lies | Mode::Other => {
            send(&mut respond, &framed(&roots(&message, mode)), Some("0"))?;
        }
    }
    Some(())
}

fn framed(message: &[u8]) -> Vec<u8> {
    let mut framed = vec![0];
    framed.put_u32(u32::try_from(message.len()).unwrap());
    framed.put_slice(message);
    framed
}

fn send(
    respond: &mut SendResponse<Bytes>,
    body: &[u8],
    status: Option<&'static str>,
) -> Option<()> {
    let mut stream = respond.send_response(Response::new(()), false).ok()?;
    stream.send_data(Bytes::copy_from_slice(body), status.is_none()).ok()?;
    let Some(status) = status else { return Some(()) };
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static(status));
    stream.send_trailers(trailers).ok()
}

fn metadata() -> ModelMetadata {
    let tensor = |name: &str| TensorMetadata {
        name: name.into(),
        datatype: "FP32".into(),
        shape: vec![-1, 1],
    };
    ModelMetadata {
        name: "far".into(),
        versions: vec!["1".into()],
        platform: "x".into(),
        inputs: vec![tensor("x")],
        outputs: vec![tensor("root")],
    }
}

/// The message of an answer, by the same code that serves here; the wire is what is tested.
fn roots(message: &[u8], mode: Mode) -> Vec<u8> {
    let asked = grpc::read(ModelInferRequest::decode(message).unwrap()).unwrap();
    let Tensor { shape, data: Data::Fp32(items), .. } = asked.inputs[0].clone() else { panic!() };
    let data = Data::Fp32(items.iter().map(|item| item.sqrt()).collect());
    let name = if mode == Mode::Other { "square" } else { "root" }.into();
    let mut told = grpc::told(asked.id, "far", "1", &[Tensor { name, shape, data }]);
    if mode == Mode::Lies {
        told.raw_output_contents[0].pop();
    }
    told.encode_to_vec()
}

impl Running {
    fn verdict(&mut self, value: f64) -> Verdict {
        self.ask(value);
        self.verdicts.blocking_recv().unwrap()
    }

    /// Asks for the verdict's reasons.
    fn explain(&self, verdict: &Verdict) {
        let inquiry = andon::model::Inquiry {
            prediction: verdict.prediction,
            asset: verdict.asset,
            alert_id: "an alert".into(),
            subject: Arc::clone(verdict.subject.as_ref().unwrap()),
            spec: Arc::clone(&self.spec),
            model: Arc::clone(verdict.model.as_ref().unwrap()),
        };
        assert!(self.worker.handle().explain(inquiry).is_ok());
    }
}

#[test]
fn a_server_answers_over_grpc_in_the_models_place() {
    let server = Server::plain();
    for more in ["", "binary = false"] {
        let mut running = start(&server.url(), false, more);
        let verdict = running.verdict(16.0);
        assert_eq!(verdict.score, 4.0, "{more}");
        assert_eq!(verdict.model.unwrap().device, format!("remote {}", server.url()));
        let remote = running.remote();
        assert_eq!((remote.breaker, remote.failed(), remote.retries), (BreakerState::Closed, 0, 0));
    }
    let asked = server.script.asked.lock().unwrap().clone();
    assert_eq!(asked[..3], ["ModelMetadata", "ModelInfer", "ModelInfer"], "{asked:?}");
}

#[test]
fn each_kind_of_bad_answer_is_counted_as_what_it_is_and_the_next_good_one_counts_again() {
    let cases = [
        (Mode::Status("14"), "unavailable"),
        (Mode::Status("13"), "unavailable"),
        (Mode::Status("5"), "refused"),
        (Mode::Status("4"), "timeout"),
        (Mode::Http(503), "unavailable"),
        (Mode::Http(401), "refused"),
        (Mode::Message(b"\xff\xff"), "malformed"),
        (Mode::Message(b""), "mismatch"),
        (Mode::Body(b"\0\0\0\x20\0abc"), "malformed"),
        (Mode::Body(b"\x01\0\0\0\x03abc"), "malformed"),
        (Mode::NoStatus, "malformed"),
        (Mode::Lies, "malformed"),
        (Mode::Other, "mismatch"),
        (Mode::Endless, "too_large"),
        (Mode::Cut, "cut"),
        (Mode::Silent, "timeout"),
    ];
    for (mode, kind) in cases {
        let server = Server::plain();
        let mut running = start(&server.url(), false, "");
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
        assert_eq!(running.verdict(9.0).score, 3.0, "{mode:?}");
    }
}

#[test]
fn the_local_model_stands_in_and_verdict_and_reasons_are_of_one_model() {
    let server = Server::plain();
    let (reasons, mut explained) = mpsc::channel(64);
    let mut running = start_explaining(card(&server.url(), true, ""), reasons);
    let mut how = |running: &Running, verdict: &Verdict| {
        running.explain(verdict);
        explained.blocking_recv().unwrap().how
    };
    let of_the_server = running.verdict(25.0);
    assert!(of_the_server.model.as_ref().unwrap().device.starts_with("remote grpc://"));
    assert_eq!(how(&running, &of_the_server), Explanation::Exact);
    server.set(Mode::Status("14"));
    let of_the_box = running.verdict(16.0);
    assert_eq!((of_the_box.score, &*of_the_box.model.as_ref().unwrap().device), (4.0, "cpu"));
    let asked = server.script.asked.lock().unwrap().len();
    assert_eq!(how(&running, &of_the_box), Explanation::Exact);
    assert_eq!(server.script.asked.lock().unwrap().len(), asked, "the server is not asked");
    let fallbacks = running.remote().fallbacks;
    let failed = how(&running, &of_the_server);
    assert_eq!(
        failed,
        Explanation::Failed,
        "the local model does not explain the server's verdict"
    );
    assert_eq!((running.remote().fallbacks, fallbacks), (1, 1));
}

#[test]
fn the_token_travels_under_tls_and_only_to_the_server_that_the_authority_knows() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let certificate = params.self_signed(&key).unwrap();
    std::fs::write(file("server.pem"), certificate.pem()).unwrap();
    std::fs::write(file("server.key"), key.serialize_pem()).unwrap();
    let other = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    params.distinguished_name.push(rcgen::DnType::CommonName, "another plant");
    std::fs::write(file("other.pem"), params.self_signed(&other).unwrap().pem()).unwrap();
    std::fs::write(file("token"), "sixteen-letters!\n").unwrap();
    let config = tls::server_config(&HttpTls {
        cert_file: file("server.pem"),
        key_file: file("server.key"),
        client_ca_file: None,
        min_version: TlsVersion::V1_3,
    });
    let server = Server::start(Some(TlsAcceptor::from(Arc::new(config.unwrap()))));
    let url = format!("grpcs://{}/v2/models/far", server.address);
    let more = |ca: &str| {
        format!("token_file = {:?}\ntls = {{ ca_file = {:?} }}", file("token"), file(ca))
    };
    let mut running = start(&url, false, &more("server.pem"));
    assert_eq!(running.verdict(16.0).score, 4.0);
    let asked = server.script.asked.lock().unwrap().clone();
    assert_eq!(asked[0], "ModelMetadata Bearer sixteen-letters!");
    let stranger = start(&url, false, &more("other.pem"));
    let remote = stranger.remote();
    assert_eq!((remote.breaker, remote.failures["connect"]), (BreakerState::Open, 1));
    let told = remote.last_error.unwrap();
    assert!(told.contains("no authority in") && told.contains("other.pem"), "{told}");
}

#[test]
fn what_speaks_no_http_2_or_is_not_there_stops_no_start() {
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let running = start(&format!("grpc://{gone}/v2/models/far"), false, "");
    assert_eq!(running.remote().failures["connect"], 1);
    let old = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("grpc://{}/v2/models/far", old.local_addr().unwrap());
    std::thread::spawn(move || {
        for mut stream in old.incoming().map_while(Result::ok) {
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n");
            std::thread::sleep(Duration::from_secs(1));
        }
    });
    let running = start(&url, false, "");
    let remote = running.remote();
    assert_eq!(remote.failures["malformed"], 1, "{remote:?}");
    assert!(remote.last_error.unwrap().contains("that is no HTTP/2"));
}
