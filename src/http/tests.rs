//! The port with TLS, and the socket in the file system, from a client's side.

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::accept::{self, Inside, Limits};
use super::{Caller, Listener, bind};
use crate::message::Origin;
use crate::settings::{HttpSettings, HttpTls, Listen, Tls};
use crate::tls;

const PATIENCE: Duration = Duration::from_secs(10);
const SHORT: Duration = Duration::from_millis(200);
const ASK: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

/// An authority and what it signs, as files.
struct Authority {
    folder: TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.pem"), issuer.pem()).unwrap();
        Self { folder, issuer }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes `name.pem` and `name.key`.
    fn sign(&self, name: &str, until: i32) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(until, 1, 1);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        std::fs::write(self.file(&format!("{name}.key")), key.serialize_pem()).unwrap();
        std::fs::write(self.file(&format!("{name}.pem")), certificate.pem()).unwrap();
    }

    fn port(&self, name: &str) -> HttpTls {
        HttpTls {
            cert_file: self.file(&format!("{name}.pem")),
            key_file: self.file(&format!("{name}.key")),
            client_ca_file: None,
            min_version: crate::settings::TlsVersion::V1_2,
        }
    }

    fn client(&self) -> Tls {
        Tls::trusting(self.file("ca.pem"))
    }
}

fn settings(listen: &str, tls: Option<HttpTls>) -> HttpSettings {
    HttpSettings { listen: Some(listen.parse().unwrap()), tls, ..HttpSettings::default() }
}

/// Serves who asks.
struct Served {
    url: String,
    address: Option<SocketAddr>,
    token: CancellationToken,
    task: JoinHandle<()>,
}

async fn serve(settings: &HttpSettings, limits: Limits) -> Served {
    let listener: Listener = bind(settings).await.unwrap().unwrap();
    let (url, address) = (listener.url(), listener.address());
    let whoever = get(|Caller(from): Caller| async move {
        let Origin::Http { peer, .. } = from else { unreachable!("it comes over HTTP") };
        format!("you are {peer}")
    });
    let (router, token) = (Router::new().route("/", whoever), CancellationToken::new());
    let inside = Inside { router, guard: Arc::default(), limits };
    let task = tokio::spawn(accept::run(listener, inside, token.clone()));
    Served { url, address, token, task }
}

impl Served {
    async fn plain(&self) -> TcpStream {
        TcpStream::connect(self.address.unwrap()).await.unwrap()
    }

    async fn ask(&self, client: &Tls) -> io::Result<String> {
        let stream = tls::connect(client, "localhost", self.plain().await).await?;
        answer(stream).await
    }

    async fn end(self) {
        self.token.cancel();
        timeout(PATIENCE, self.task).await.expect("it ends").unwrap();
    }
}

async fn answer(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<String> {
    let mut text = String::new();
    stream.write_all(ASK).await?;
    timeout(PATIENCE, stream.read_to_string(&mut text)).await.expect("an end")?;
    Ok(text)
}

fn refusal(error: &io::Error, client: &Tls) -> String {
    tls::explain(error, client).unwrap_or_else(|| error.to_string())
}

#[tokio::test]
async fn who_trusts_the_authority_is_served_and_who_trusts_another_leaves() {
    let (plant, foreign) = (Authority::new("one"), Authority::new("another"));
    plant.sign("box", 2090);
    let port = serve(&settings("127.0.0.1:0", Some(plant.port("box"))), Limits::default()).await;
    assert!(port.url.starts_with("https://127.0.0.1:"), "{}", port.url);
    let told = port.ask(&plant.client()).await.unwrap();
    assert!(told.starts_with("HTTP/1.1 200") && told.contains("you are 127.0.0.1:"), "{told}");
    let error = port.ask(&foreign.client()).await.unwrap_err();
    assert!(refusal(&error, &foreign.client()).contains("no authority in"), "{error}");
    port.ask(&plant.client()).await.expect("the port serves on");
    port.end().await;
}

#[tokio::test]
async fn an_expired_certificate_is_noticed_by_the_client() {
    let plant = Authority::new("plant");
    plant.sign("box", 2021);
    let port = serve(&settings("127.0.0.1:0", Some(plant.port("box"))), Limits::default()).await;
    let error = port.ask(&plant.client()).await.unwrap_err();
    assert!(refusal(&error, &plant.client()).contains("has expired"), "{error}");
}

#[tokio::test]
async fn who_speaks_plain_http_to_the_port_is_told_what_it_speaks() {
    let plant = Authority::new("plant");
    plant.sign("box", 2090);
    let port = serve(&settings("127.0.0.1:0", Some(plant.port("box"))), Limits::default()).await;
    let mut stream = port.plain().await;
    stream.write_all(b"G").await.unwrap();
    let mut told = String::new();
    timeout(PATIENCE, stream.read_to_string(&mut told)).await.expect("an end").unwrap();
    assert!(told.starts_with("HTTP/1.1 400"), "{told}");
    assert!(told.ends_with("\r\n\r\nThis port speaks https://.\n"), "{told}");
    port.ask(&plant.client()).await.expect("the port serves on");
}

#[tokio::test]
async fn a_handshake_that_takes_too_long_loses_its_place() {
    let plant = Authority::new("plant");
    plant.sign("box", 2090);
    let limits = Limits { connections: 1, header: SHORT, ..Limits::default() };
    let port = serve(&settings("127.0.0.1:0", Some(plant.port("box"))), limits).await;
    let silent = port.plain().await;
    let mut half = port.plain().await;
    half.write_all(&[0x16, 3, 1, 2, 0, 1]).await.unwrap();
    let told = timeout(PATIENCE, port.ask(&plant.client())).await.expect("a place").unwrap();
    assert!(told.starts_with("HTTP/1.1 200"), "{told}");
    drop((silent, half));
}

#[tokio::test]
async fn where_the_port_asks_for_a_certificate_nobody_is_served_without() {
    let (plant, foreign) = (Authority::new("one"), Authority::new("another"));
    plant.sign("box", 2090);
    plant.sign("desk", 2090);
    foreign.sign("desk", 2090);
    let mut tls = plant.port("box");
    tls.client_ca_file = Some(plant.file("ca.pem"));
    let port = serve(&settings("127.0.0.1:0", Some(tls)), Limits::default()).await;
    let with = |authority: &Authority| {
        let mut client = plant.client();
        client.cert_file = Some(authority.file("desk.pem"));
        client.key_file = Some(authority.file("desk.key"));
        client
    };
    let served = |told: io::Result<String>| told.is_ok_and(|told| told.contains("200 OK"));
    assert!(!served(port.ask(&plant.client()).await), "none at all");
    assert!(!served(port.ask(&with(&foreign)).await), "one of another authority");
    assert!(served(port.ask(&with(&plant)).await));
}

#[tokio::test]
async fn an_exchanged_certificate_meets_the_next_client_and_half_of_one_changes_nothing() {
    let (old, new) = (Authority::new("one"), Authority::new("another"));
    old.sign("box", 2090);
    new.sign("box", 2091);
    let port = serve(&settings("127.0.0.1:0", Some(old.port("box"))), Limits::default()).await;
    port.ask(&old.client()).await.unwrap();
    std::fs::copy(new.file("box.key"), old.file("box.key")).unwrap();
    // A clock of coarse ticks could give both files the same age; their lengths may be the same.
    touch(&old.file("box.key"), 1);
    port.ask(&old.client()).await.expect("the old one, as long as the files do not fit");
    std::fs::copy(new.file("box.pem"), old.file("box.pem")).unwrap();
    touch(&old.file("box.pem"), 2);
    port.ask(&new.client()).await.expect("the new one");
    port.ask(&old.client()).await.expect_err("the old one is gone");
}

fn touch(file: &Path, seconds: u64) {
    let file = std::fs::File::options().write(true).open(file).unwrap();
    let modified = file.metadata().unwrap().modified().unwrap();
    file.set_modified(modified + Duration::from_secs(seconds)).unwrap();
}

#[tokio::test]
async fn a_socket_serves_its_user_and_goes_with_the_daemon() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("http.sock");
    let settings = settings(&format!("unix:{}", file.display()), None);
    for stale in [false, true] {
        if stale {
            drop(std::os::unix::net::UnixListener::bind(&file).unwrap());
            assert!(file.exists(), "what a daemon leaves that was killed");
        }
        let port = serve(&settings, Limits::default()).await;
        assert_eq!(port.url, format!("unix:{}", file.display()));
        let mode = std::fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o660, "for its user and group alone");
        let told = answer(UnixStream::connect(&file).await.unwrap()).await.unwrap();
        assert!(told.contains("200 OK") && told.contains("you are user "), "{told}");
        let second = bind(&settings).await.unwrap_err().to_string();
        assert!(second.contains("another process listens there"), "{second}");
        port.end().await;
        assert!(!file.exists(), "it goes with the daemon");
    }
}

#[tokio::test]
async fn a_file_that_is_no_socket_is_left_where_it_lies() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("notes.txt");
    std::fs::write(&file, "a person's").unwrap();
    let settings =
        HttpSettings { listen: Some(Listen::Socket(file.clone())), ..HttpSettings::default() };
    let error = bind(&settings).await.unwrap_err().to_string();
    assert!(error.contains("a file that is no socket lies there"), "{error}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "a person's");
}
