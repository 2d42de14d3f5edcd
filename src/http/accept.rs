//! Connections to the port: how many there may be at once, and how long one may say nothing.
//!
//! A client that opens connections and leaves them, or sends its request byte by byte, costs a
//! place for seconds and no more.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::HeaderValue;
use axum::middleware;
use axum::{Extension, Router};
use futures_util::{StreamExt, stream};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::message::Peer;

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

/// How long answers under way are waited for at the end.
const LAST: Duration = Duration::from_secs(5);
/// What is the matter when no more files can be opened takes a moment to pass.
const PAUSE: Duration = Duration::from_millis(100);
/// How every HTTP/2 connection begins.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Between two looks at a beginning that came in pieces.
const GLANCE: Duration = Duration::from_millis(10);
/// Requests of one HTTP/2 connection at once.
const STREAMS: u32 = 64;

/// Gives `router` to every client until `token` is cancelled.
pub(super) async fn run(
    listener: TcpListener,
    limits: Limits,
    router: Router,
    token: CancellationToken,
) {
    let hurry = move |request| async move { hurried(request, limits.body) };
    let router = router.layer(middleware::map_request(hurry));
    let places = Arc::new(Semaphore::new(limits.connections));
    let server = server(limits.header);
    let graceful = GracefulShutdown::new();
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
            Ok((stream, address)) => {
                let (server, watcher) = (server.clone(), graceful.watcher());
                let router = router.clone().layer(Extension(Peer::Address(address)));
                let stopping = token.clone();
                tokio::spawn(async move {
                    tokio::select! {
                        begun = begins(&stream, limits.header) => if begun {
                            attend(&server, watcher, stream, router).await;
                        },
                        () = stopping.cancelled() => {}
                    }
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

/// Whether enough came in time to tell HTTP/1 from HTTP/2. The server waits for that without limit.
async fn begins(stream: &TcpStream, within: Duration) -> bool {
    let words = async {
        let mut first = [0; PREFACE.len()];
        loop {
            let length = stream.peek(&mut first).await.unwrap_or(0);
            let undecided = length < PREFACE.len() && PREFACE.starts_with(&first[..length]);
            if length == 0 || !undecided {
                return length > 0;
            }
            // More of it cannot be waited for without taking what is there.
            tokio::time::sleep(GLANCE).await;
        }
    };
    timeout(within, words).await.unwrap_or(false)
}

async fn attend(
    server: &auto::Builder<TokioExecutor>,
    watcher: Watcher,
    stream: TcpStream,
    router: Router,
) {
    // Small answers leave at once.
    let _slower_without = stream.set_nodelay(true);
    let service = TowerToHyperService::new(router);
    let connection = server.serve_connection(TokioIo::new(stream), service).into_owned();
    if let Err(error) = watcher.watch(connection).await {
        tracing::debug!(error, "A connection over HTTP ended early.");
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
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);
    const SHORT: Duration = Duration::from_millis(200);

    async fn port(limits: Limits) -> std::net::SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let echo = post(|body: Bytes| async { body });
        let router = Router::new().route("/", echo);
        tokio::spawn(run(listener, limits, router, CancellationToken::new()));
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
        "POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi";

    #[tokio::test]
    async fn who_says_nothing_or_half_a_header_is_left() {
        let address = port(Limits { header: SHORT, ..Limits::default() }).await;
        let silent = say(address, "").await;
        let half = say(address, "POST / HTTP/1.1\r\nHost: x\r\n").await;
        let preface = say(address, "PRI * HTTP").await;
        assert_eq!(answer(silent).await, "");
        assert_eq!(answer(preface).await, "");
        assert!(!answer(half).await.contains("200 OK"));
        assert!(answer(say(address, WHOLE).await).await.ends_with("hi"));
    }

    #[tokio::test]
    async fn a_body_that_takes_too_long_is_refused() {
        let address = port(Limits { body: SHORT, ..Limits::default() }).await;
        let head = "POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 9\r\n\r\nh";
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
