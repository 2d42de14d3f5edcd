//! One HTTP/2 connection to a server, driven by a thread of its own, and unary calls of gRPC on it.
//!
//! Whoever calls blocks, until the call's end at most. A connection on which a call has failed is
//! not used again.

use std::io;
use std::sync::mpsc as std_mpsc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use h2::client::SendRequest;
use h2::{Reason, RecvStream};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};
use ureq::http::{HeaderMap, HeaderValue, Request, Response, header};

use super::address::{Address, RemoteSettings};
use super::{Failure, Limits, REFUSAL};
use crate::health::RemoteError;
use crate::oip;
use crate::settings::Tls;
use crate::tls;

/// Headers and trailers of one answer.
const HEADERS: u32 = 16 << 10;
/// Before a message: whether it is packed, and its length.
const PREFIX: usize = 5;
/// The thread keeps the time; whoever waits for it gives it this much more.
const GRACE: Duration = Duration::from_secs(1);

/// Where the server is, and how it is spoken to.
pub(super) struct Target {
    authority: String,
    host: String,
    tls: Option<Tls>,
    token: Option<HeaderValue>,
    connect: Duration,
}

impl Target {
    /// Reads the files that the card names, so that one that is unfit is told at once.
    pub(super) fn new(
        settings: &RemoteSettings,
        address: &Address,
        connect: Duration,
    ) -> Result<Self, String> {
        let token = settings.token_file.as_deref().map(super::token).transpose()?;
        let mut token = token.and_then(|token| HeaderValue::from_str(&token).ok());
        token.iter_mut().for_each(|token| token.set_sensitive(true));
        let mut tls = settings.tls.clone();
        if let Some(tls) = &mut tls {
            tls::client_config(tls).map_err(|error| error.to_string())?;
            if tls.alpn.is_empty() {
                tls.alpn = vec!["h2".into()];
            }
        }
        let (authority, host) = (address.authority.clone(), address.host().to_owned());
        Ok(Self { authority, host, tls, token, connect })
    }
}

pub(super) struct Call {
    /// Of `inference.GRPCInferenceService`.
    pub(super) method: &'static str,
    pub(super) message: Vec<u8>,
    pub(super) limits: Limits,
}

struct Asked {
    call: Call,
    reply: std_mpsc::SyncSender<Result<Bytes, Failure>>,
}

/// The way to the thread, which ends with it.
pub(super) struct Channel {
    asked: mpsc::Sender<Asked>,
}

impl Channel {
    pub(super) fn open(target: Target) -> io::Result<Self> {
        let (asked, waiting) = mpsc::channel(1);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        std::thread::Builder::new()
            .name("andon-grpc".into())
            .spawn(move || runtime.block_on(run(target, waiting)))?;
        Ok(Self { asked })
    }

    /// The answer's message.
    pub(super) fn call(&self, call: Call) -> Result<Bytes, Failure> {
        let left = call.limits.end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(late());
        }
        let (reply, answer) = std_mpsc::sync_channel(1);
        let stopped = || Failure::new(RemoteError::Cut, "the client's thread has ended".into());
        self.asked.try_send(Asked { call, reply }).map_err(|_| stopped())?;
        match answer.recv_timeout(left + GRACE) {
            Ok(answer) => answer,
            Err(std_mpsc::RecvTimeoutError::Timeout) => Err(late()),
            Err(std_mpsc::RecvTimeoutError::Disconnected) => Err(stopped()),
        }
    }
}

async fn run(target: Target, mut waiting: mpsc::Receiver<Asked>) {
    let mut link: Option<Link> = None;
    while let Some(Asked { call, reply }) = waiting.recv().await {
        let end = call.limits.end;
        if link.as_ref().is_some_and(Link::is_over) {
            link = None;
        }
        let answer = async {
            let current = match &mut link {
                Some(link) => link,
                none => none.insert(Link::open(&target, end).await?),
            };
            current.call(&target, &call).await
        };
        let answer = timeout_at(end, answer).await.unwrap_or_else(|_| Err(late()));
        if answer.as_ref().is_err_and(Failure::spoils_the_connection) {
            link = None;
        }
        // Whoever asked may have given up.
        let _ = reply.send(answer);
    }
}

fn late() -> Failure {
    Failure::new(RemoteError::Timeout, "no answer in time".into())
}

impl Failure {
    const fn spoils_the_connection(&self) -> bool {
        !matches!(self.kind, RemoteError::Refused | RemoteError::Unavailable)
    }
}

/// A connection, and the task that drives it.
struct Link {
    requests: SendRequest<Bytes>,
    driver: JoinHandle<()>,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Link {
    async fn open(target: &Target, end: Instant) -> Result<Self, Failure> {
        let within = end.min(Instant::now() + target.connect);
        let connect = |message| Failure::new(RemoteError::Connect, message);
        let dial = async {
            let stream = TcpStream::connect(&target.authority)
                .await
                .map_err(|error| connect(format!("no connection: {error}")))?;
            stream.set_nodelay(true).map_err(|error| connect(error.to_string()))?;
            let Some(tls) = &target.tls else { return Self::greet(stream).await };
            let stream = tls::connect(tls, &target.host, stream).await.map_err(|error| {
                let told = tls::explain(&error, tls);
                connect(told.unwrap_or_else(|| format!("no TLS: {error}")))
            })?;
            Self::greet(stream).await
        };
        let late = || connect("no connection in time".into());
        timeout_at(within, dial).await.unwrap_or_else(|_| Err(late()))
    }

    async fn greet<S>(stream: S) -> Result<Self, Failure>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (requests, connection) = h2::client::Builder::new()
            .enable_push(false)
            .max_header_list_size(HEADERS)
            .handshake(stream)
            .await
            .map_err(|error| failure(&error))?;
        let driver = tokio::spawn(async move {
            // What ends it is told to the call that it ends.
            let _ended = connection.await;
        });
        Ok(Self { requests, driver })
    }

    fn is_over(&self) -> bool {
        self.driver.is_finished()
    }

    async fn call(&mut self, target: &Target, call: &Call) -> Result<Bytes, Failure> {
        let of = |error: h2::Error| failure(&error);
        let mut ready = self.requests.clone().ready().await.map_err(of)?;
        let request = request(target, call)?;
        let (answer, mut body) = ready.send_request(request, false).map_err(of)?;
        body.send_data(framed(&call.message)?, true).map_err(of)?;
        let (head, mut body) = answer.await.map_err(of)?.into_parts();
        let head = Response::from_parts(head, ());
        if !head.status().is_success() {
            let said = read(&mut body, REFUSAL).await.unwrap_or_default();
            return Err(Failure::answered(head.status().as_u16(), &oip::refusal(&said)));
        }
        // Of an answer without a message the headers are the trailers.
        if let Some(status) = head.headers().get("grpc-status") {
            judge(status, head.headers())?;
        }
        let whole = read(&mut body, call.limits.bytes + PREFIX as u64).await?;
        let trailers = body.trailers().await.map_err(of)?.unwrap_or_default();
        match trailers.get("grpc-status") {
            Some(status) => judge(status, &trailers)?,
            None => return Err(malformed("its answer ends without a status of gRPC".into())),
        }
        message(whole)
    }
}

fn request(target: &Target, call: &Call) -> Result<Request<()>, Failure> {
    let scheme = if target.tls.is_some() { "https" } else { "http" };
    let (authority, method) = (&target.authority, call.method);
    let uri = format!("{scheme}://{authority}/inference.GRPCInferenceService/{method}");
    let left = call.limits.end.saturating_duration_since(Instant::now());
    let mut request = Request::post(uri)
        .header(header::CONTENT_TYPE, "application/grpc")
        .header(header::TE, "trailers")
        .header(header::USER_AGENT, concat!("andon/", env!("CARGO_PKG_VERSION")))
        .header("grpc-timeout", format!("{}m", left.as_millis().max(1)));
    if let Some(token) = &target.token {
        request = request.header(header::AUTHORIZATION, token);
    }
    request
        .body(())
        .map_err(|error| Failure::new(RemoteError::Connect, format!("no address: {error}")))
}

fn framed(message: &[u8]) -> Result<Bytes, Failure> {
    let length = u32::try_from(message.len())
        .map_err(|_| malformed("the request has more than 4 GiB".into()))?;
    let mut framed = BytesMut::with_capacity(PREFIX + message.len());
    framed.put_u8(0);
    framed.put_u32(length);
    framed.put_slice(message);
    Ok(framed.freeze())
}

/// All of a body that has no more than `most` bytes.
async fn read(body: &mut RecvStream, most: u64) -> Result<Bytes, Failure> {
    let mut whole = BytesMut::new();
    while let Some(piece) = body.data().await {
        let piece = piece.map_err(|error| failure(&error))?;
        if (whole.len() + piece.len()) as u64 > most {
            let message = format!("its answer has more than {most} bytes, which no right one has");
            return Err(Failure::new(RemoteError::TooLarge, message));
        }
        whole.extend_from_slice(&piece);
        body.flow_control().release_capacity(piece.len()).map_err(|error| failure(&error))?;
    }
    Ok(whole.freeze())
}

/// The one message that an answer has.
fn message(mut whole: Bytes) -> Result<Bytes, Failure> {
    let Some((prefix, rest)) = whole.split_first_chunk::<PREFIX>() else {
        return Err(malformed(format!("its answer has {} bytes, and no message", whole.len())));
    };
    let [packed, length @ ..] = *prefix;
    if packed != 0 {
        return Err(malformed("its answer is packed, which was not asked for".into()));
    }
    let (says, has) = (u32::from_be_bytes(length), rest.len());
    if usize::try_from(says) != Ok(has) {
        return Err(malformed(format!("its message says it has {says} bytes, and has {has}")));
    }
    Ok(whole.split_off(PREFIX))
}

/// What a status of gRPC means; see <https://grpc.io/docs/guides/status-codes/>.
fn judge(status: &HeaderValue, trailers: &HeaderMap) -> Result<(), Failure> {
    let kind = match status.to_str().ok().and_then(|status| status.parse::<u8>().ok()) {
        Some(0) => return Ok(()),
        Some(1) => RemoteError::Cut,
        Some(4) => RemoteError::Timeout,
        // Unknown, exhausted, aborted, internal, unavailable, data loss.
        Some(2 | 8 | 10 | 13..=15) => RemoteError::Unavailable,
        Some(_) => RemoteError::Refused,
        None => return Err(malformed("the status of its answer is no number".into())),
    };
    let said = trailers.get("grpc-message").map_or(&b""[..], HeaderValue::as_bytes);
    let said = oip::refusal(&unescaped(said));
    let said = if said.is_empty() { said } else { format!(": {said}") };
    let status = status.to_str().unwrap_or_default();
    Err(Failure::new(kind, format!("it answered with gRPC's status {status}{said}")))
}

/// `%20` and its like.
fn unescaped(text: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, after @ ..] = rest {
        let escaped = match (first, after) {
            (b'%', [high, low, ..]) => {
                let digit = |byte: &u8| char::from(*byte).to_digit(16);
                digit(high)
                    .zip(digit(low))
                    .and_then(|(high, low)| u8::try_from(high * 16 + low).ok())
            }
            _ => None,
        };
        plain.push(escaped.unwrap_or(*first));
        rest = if escaped.is_some() { &after[2..] } else { after };
    }
    plain
}

fn malformed(message: String) -> Failure {
    Failure::new(RemoteError::Malformed, message)
}

fn failure(error: &h2::Error) -> Failure {
    match error.reason() {
        Some(Reason::REFUSED_STREAM | Reason::ENHANCE_YOUR_CALM) => {
            Failure::new(RemoteError::Unavailable, format!("it takes no request now: {error}"))
        }
        _ if error.is_io() || error.is_remote() => {
            Failure::new(RemoteError::Cut, format!("the connection was cut: {error}"))
        }
        _ => malformed(format!("that is no HTTP/2: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_as_long_as_it_says_and_not_packed() {
        let framed = framed(b"abc").unwrap();
        assert_eq!(&framed[..], b"\0\0\0\0\x03abc");
        assert_eq!(message(framed.clone()).unwrap(), &b"abc"[..]);
        for wrong in [&framed[..7], &framed[..3], b"\x01\0\0\0\x03abc", b""] {
            let error = message(Bytes::copy_from_slice(wrong)).unwrap_err();
            assert_eq!(error.kind, RemoteError::Malformed, "{wrong:?}");
        }
    }

    #[test]
    fn statuses_are_counted_as_those_of_http_are() {
        let judged = |status: &'static str| {
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-message", HeaderValue::from_static("not%20today%"));
            judge(&HeaderValue::from_static(status), &trailers)
        };
        assert_eq!(judged("0"), Ok(()));
        for (status, kind) in [
            ("4", RemoteError::Timeout),
            ("5", RemoteError::Refused),
            ("14", RemoteError::Unavailable),
            ("16", RemoteError::Refused),
            ("x", RemoteError::Malformed),
        ] {
            assert_eq!(judged(status).unwrap_err().kind, kind, "{status}");
        }
        assert!(judged("14").unwrap_err().message.ends_with("status 14: not today%"));
    }
}
