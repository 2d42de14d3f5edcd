//! Connections to the port: how many there may be at once, and how long one may say nothing.
//!
//! A client that opens connections and leaves them, or sends its request byte by byte, costs a
//! place for seconds and no more.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Request};
use axum::handler::HandlerWithoutStateExt as _;
use axum::http::HeaderValue;
use futures_util::{StreamExt, stream};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use super::begun::Begun;
use super::guard::{Guard, admit};
use super::listen::{Guest, Listener};
use crate::message::Peer;
use crate::tls::Acceptor;

/// How much a client may ask of the port.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Connections at once; more wait in the kernel's queue for a place.
    pub(super) connections: usize,
    /// From one request's end to the next one's last header.
    pub(super) header: Duration,
    /// From a request's headers to the last byte of its body.
    pub(super) body: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connections: 256, header: Duration::from_secs(10), body: Duration::from_secs(30) }
    }
}

/// No request needs more, but where its route says so.
const LARGEST_BODY: usize = 64 * 1024;
/// How long answers under way are waited for at the end.
const LAST: Duration = Duration::from_secs(5);
/// What is the matter when no more files can be opened takes a moment to pass.
const PAUSE: Duration = Duration::from_millis(100);
/// How every TLS connection begins.
const HANDSHAKE: u8 = 0x16;
const SPEAK_TLS: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\n\
    Content-Length: 27\r\nConnection: close\r\n\r\nThis port speaks https://.\n";
/// Requests of one HTTP/2 connection at once.
const STREAMS: u32 = 64;

/// What clients come to.
#[derive(Clone)]
pub(super) struct Inside {
    pub(super) router: Router,
    pub(super) guard: Arc<Guard>,
    pub(super) limits: Limits,
}

/// Lets every client that the guard admits to `inside` until `token` is cancelled.
pub(super) async fn run(listener: Listener, inside: Inside, token: CancellationToken) {
    let limits = inside.limits;
    let places = Arc::new(Semaphore::new(limits.connections));
    let server = server(limits.header);
    let graceful = GracefulShutdown::new();
    let listener = Arc::new(listener);
    loop {
        let next = async {
            let place = Arc::clone(&places).acquire_owned().await.ok()?;
            Some((listener.accept().await, place))
        };
        let (accepted, place) = tokio::select! {
            () = token.cancelled() => break,
            Some(next) = next => next,
        };
        match accepted {
            Ok((guest, peer)) => {
                let door = Door {
                    server: server.clone(),
                    watcher: graceful.watcher(),
                    inside: inside.clone(),
                    peer,
                };
                let (stopping, listener) = (token.clone(), Arc::clone(&listener));
                tokio::spawn(async move {
                    door.let_in(guest, listener.tls(), &stopping).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::debug!(%error, "A connection could not be taken.");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
    drop(listener);
    if timeout(LAST, graceful.shutdown()).await.is_err() {
        tracing::debug!("Some answers over HTTP did not get to their end.");
    }
}

fn server(header: Duration) -> auto::Builder<TokioExecutor> {
    let mut server = auto::Builder::new(TokioExecutor::new());
    server.http1().timer(TokioTimer::new()).header_read_timeout(header);
    server
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(header)
        .keep_alive_timeout(header)
        .max_concurrent_streams(STREAMS);
    server
}

/// What one connection is served with.
struct Door {
    server: auto::Builder<TokioExecutor>,
    watcher: Watcher,
    inside: Inside,
    peer: Peer,
}

impl Door {
    async fn let_in(self, guest: Guest, tls: Option<&Acceptor>, stopping: &CancellationToken) {
        match (guest, tls) {
            (Guest::Socket(stream), _) => self.greet(stream, stopping).await,
            (Guest::Port(stream), None) => self.greet(stream, stopping).await,
            (Guest::Port(stream), Some(tls)) => {
                let shaken = timeout(self.inside.limits.header, handshake(stream, tls));
                if let Some(Ok(Some(stream))) = stopping.run_until_cancelled(shaken).await {
                    self.greet(stream, stopping).await;
                }
            }
        }
    }

    /// The server waits for the first words without limit, so they are waited for here.
    async fn greet<S>(self, stream: S, stopping: &CancellationToken)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let mut stream = Begun::new(stream);
        let begun = timeout(self.inside.limits.header, stream.tells_version());
        if stopping.run_until_cancelled(begun).await != Some(Ok(true)) {
            return;
        }
        let (Inside { router, guard, limits }, peer) = (self.inside, self.peer);
        let answer = move |request: Request| {
            let mut request = hurried(request, limits.body);
            DefaultBodyLimit::max(LARGEST_BODY).apply(&mut request);
            admit(Arc::clone(&guard), peer, request, router.clone())
        };
        let service = TowerToHyperService::new(answer.into_service());
        let connection = self.server.serve_connection(TokioIo::new(stream), service).into_owned();
        if let Err(error) = self.watcher.watch(connection).await {
            tracing::debug!(error, "A connection over HTTP ended early.");
        }
    }
}

/// `None` where nobody can be spoken to: one who speaks no TLS is told so.
async fn handshake(stream: TcpStream, tls: &Acceptor) -> Option<TlsStream<Begun<TcpStream>>> {
    let mut stream = Begun::new(stream);
    if stream.first().await? != HANDSHAKE {
        let _told = stream.write_all(SPEAK_TLS).await;
        let _ended = stream.shutdown().await;
        return None;
    }
    match tls.accept(stream).await {
        Ok(stream) => Some(stream),
        Err(error) => {
            tracing::debug!(%error, "A client and the port did not agree on TLS.");
            None
        }
    }
}

/// The request with a body that ends in an error when it takes too long.
fn hurried(request: Request, within: Duration) -> Request {
    let bodiless = request.method().is_safe()
        || request.headers().get("content-length") == Some(&HeaderValue::from_static("0"));
    if bodiless {
        return request;
    }
    let deadline = Instant::now() + within;
    request.map(|body| {
        let pieces = stream::unfold(body.into_data_stream(), move |mut pieces| async move {
            match timeout_at(deadline, pieces.next()).await {
                Ok(piece) => piece.map(|piece| (piece, pieces)),
                Err(_) => Some((Err(axum::Error::new(TooSlow(within))), pieces)),
            }
        });
        Body::from_stream(pieces)
    })
}

#[derive(Debug, thiserror::Error)]
#[error("the body took longer than {}", humantime::format_duration(*.0))]
struct TooSlow(Duration);

#[cfg(test)]
mod tests {
    use axum::body::Bytes;
    use axum::routing::post;
    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);
    const SHORT: Duration = Duration::from_millis(200);

    async fn port(limits: Limits) -> std::net::SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let echo = post(|body: Bytes| async { body });
        let router = Router::new().route("/", echo);
        let listener = Listener::Port { listener, tls: None };
        let guard = Arc::new(Guard { loopback: true, ..Guard::default() });
        tokio::spawn(run(listener, Inside { router, guard, limits }, CancellationToken::new()));
        address
    }

    /// What the port answers until it closes the connection.
    async fn answer(mut stream: TcpStream) -> String {
        let mut text = String::new();
        // What the port left unread makes its end a reset.
        let _end = timeout(PATIENCE, stream.read_to_string(&mut text)).await.expect("it closes");
        text
    }

    async fn say(address: std::net::SocketAddr, text: &str) -> TcpStream {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        stream
    }

    const WHOLE: &str =
        "POST / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi";

    #[tokio::test]
    async fn who_says_nothing_or_half_a_header_is_left() {
        let address = port(Limits { header: SHORT, ..Limits::default() }).await;
        let silent = say(address, "").await;
        let half = say(address, "POST / HTTP/1.1\r\nHost: localhost\r\n").await;
        let preface = say(address, "PRI * HTTP").await;
        assert_eq!(answer(silent).await, "");
        assert_eq!(answer(preface).await, "");
        assert!(!answer(half).await.contains("200 OK"));
        assert!(answer(say(address, WHOLE).await).await.ends_with("hi"));
    }

    #[tokio::test]
    async fn a_body_that_takes_too_long_is_refused() {
        let address = port(Limits { body: SHORT, ..Limits::default() }).await;
        let head =
            "POST / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 9\r\n\r\nh";
        let told = answer(say(address, head).await).await;
        assert!(told.starts_with("HTTP/1.1 4"), "{told}");
    }

    #[tokio::test]
    async fn more_connections_than_places_wait_for_one() {
        let limits = Limits { connections: 1, header: SHORT, ..Limits::default() };
        let address = port(limits).await;
        let first = say(address, "").await;
        let second = say(address, WHOLE).await;
        assert!(answer(second).await.ends_with("hi"), "served when the first has lost its place");
        assert_eq!(answer(first).await, "");
    }
}
