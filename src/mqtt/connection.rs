//! One [`Link`] is one life of one connection: a socket, two buffers and the keep alive.
//!
//! It keeps no session state and is never used again after an error. Why not the library's own
//! event loop: it makes one system call for each PUBACK, takes nine packets at a time, does not
//! see a DISCONNECT of mosquitto's, cannot notice a blocked write, and holds on to requests of
//! dead sessions.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at, timeout_at};

use super::address::PasswordError;
use super::dialer::{Dialer, Role};
use super::stream::Stream;
use super::wire::{self, Incoming, Received, Welcome, WireError};
use crate::message::Message;
use crate::settings::Tls;
use crate::tls::{self, Stamp};

/// From the name look-up to the CONNACK.
const PATIENCE: Duration = Duration::from_secs(5);
/// Read at once, where there is so much.
const READ: usize = 64 * 1024;
/// Once so much waits to be written, nothing more should be added.
const WRITE: usize = 64 * 1024;

/// The keep alive is watched in quarters of it. We say something after three…
const PING: u8 = 3;
/// …and leave a peer after five in which nothing came; with the one in which something last did,
/// that is at most 1.5 times the keep alive.
const SILENCE: u8 = 5;

/// Why a link ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum LinkError {
    #[error(transparent)]
    Password(#[from] PasswordError),
    #[error("the broker refuses the connection: {0}")]
    Refused(String),
    #[error("another client has connected with our client id")]
    TakenOver,
    #[error("the broker closed the connection: {0}")]
    Closed(String),
    #[error("nothing was heard for 1.5 times the keep alive")]
    Silent,
    #[error("the broker broke the protocol: {0}")]
    Protocol(#[from] WireError),
    #[error("{host}:{port} cannot be reached: {error}")]
    Unreachable { host: String, port: u16, error: std::io::Error },
    #[error("no encrypted link: {0}")]
    Secrecy(String),
    #[error("certificate files were exchanged; connecting again with them")]
    Renewed,
    #[error("the link broke: {0}")]
    Broken(#[from] std::io::Error),
    #[error("messages were given up unstored; connecting again so that the broker resends them")]
    GivenUp,
    #[error("the broker's settings have changed")]
    Moved,
}

/// What comes over a link.
#[derive(Debug)]
pub(super) enum Arrival {
    Message(Received),
    /// The answer to a QoS 1 publish: below 0x80 is good.
    Confirmed {
        id: u16,
        code: u8,
        reason: String,
    },
    /// The answer to a subscription, one entry a filter: why it was refused, if it was.
    Subscribed(Vec<Option<String>>),
    Unsubscribed,
}

#[derive(Debug)]
pub(super) struct Link {
    stream: Stream,
    /// Of the certificates this link was made with.
    stamp: Option<Stamp>,
    tls: Option<Tls>,
    input: BytesMut,
    output: BytesMut,
    max_packet: u32,
    /// Messages are confirmed as they come.
    confirms: bool,
    quarters: Interval,
    heard: bool,
    quiet: u8,
    unsaid: u8,
}

impl Link {
    /// Connects and waits for the CONNACK.
    pub(super) async fn open(dialer: &Dialer) -> Result<(Self, Welcome), LinkError> {
        let deadline = Instant::now() + PATIENCE;
        let late = |_| std::io::Error::new(std::io::ErrorKind::TimedOut, "no answer within 5 s");
        let host = dialer.address.host.trim_matches(['[', ']']);
        let port = dialer.address.port;
        let stream = timeout_at(deadline, TcpStream::connect((host, port))).await;
        let stream = stream.map_err(late).flatten().map_err(|error| LinkError::Unreachable {
            host: host.to_owned(),
            port,
            error,
        })?;
        stream.set_nodelay(true)?;
        let stamp = dialer.tls.as_ref().map(Stamp::of);
        let stream = match &dialer.tls {
            None => Stream::from(stream),
            Some(tls) => {
                let secured = timeout_at(deadline, tls::connect(tls, host, stream)).await;
                secured.map_err(late).flatten().map_err(|error| secrecy(error, tls))?.into()
            }
        };
        let mut link = Self {
            stream,
            stamp,
            tls: dialer.tls.clone(),
            input: BytesMut::with_capacity(READ),
            output: BytesMut::new(),
            max_packet: dialer.max_packet,
            confirms: matches!(dialer.role, Role::Egress { .. }),
            quarters: quarters(dialer.keep_alive),
            heard: false,
            quiet: 0,
            unsaid: 0,
        };
        wire::connect(dialer, dialer.password()?, &mut link.output)?;
        // With TLS 1.3 a refusal of our certificate comes only now.
        let welcome = timeout_at(deadline, link.handshake()).await.map_err(late)?;
        let welcome = welcome.map_err(|error| match (error, &dialer.tls) {
            (LinkError::Broken(error), Some(tls)) => secrecy(error, tls),
            (error, _) => error,
        })?;
        if let Some(keep_alive) = welcome.keep_alive.filter(|seconds| *seconds > 0) {
            link.quarters = quarters(Duration::from_secs(u64::from(keep_alive)));
        }
        Ok((link, welcome))
    }

    /// The next thing that is there already; `None` when it would have to be waited for.
    pub(super) async fn ready(&mut self) -> Result<Option<Arrival>, LinkError> {
        loop {
            if let Some(arrival) = self.take()? {
                return Ok(Some(arrival));
            }
            self.input.reserve(READ / 2);
            let mut read = pin!(self.stream.read_buf(&mut self.input));
            match poll_fn(|cx| Poll::Ready(read.as_mut().poll(cx))).await {
                Poll::Ready(count) => self.note_read(count?)?,
                Poll::Pending => return Ok(None),
            }
        }
    }

    /// The next thing that comes. May be dropped and called again; nothing is lost by that.
    pub(super) async fn next(&mut self) -> Result<Arrival, LinkError> {
        loop {
            if let Some(arrival) = self.take()? {
                return Ok(arrival);
            }
            self.input.reserve(READ / 2);
            let Self { stream, output, input, quarters, .. } = self;
            let turn = poll_fn(|cx| {
                if let Poll::Ready(Err(error)) = stream.poll_send(output, cx) {
                    return Poll::Ready(Err(error));
                }
                // Before the reading, or a flood would leave no time for the ping.
                if quarters.poll_tick(cx).is_ready() {
                    return Poll::Ready(Ok(None));
                }
                pin!(stream.read_buf(input)).poll(cx).map_ok(Some)
            });
            match turn.await? {
                None => self.watch()?,
                Some(count) => self.note_read(count)?,
            }
        }
    }

    /// Writes what waits to be written and keeps the broker company, without reading; for as
    /// long as nothing more can be taken. Ends only with an error.
    pub(super) async fn hold(&mut self) -> LinkError {
        loop {
            let Self { stream, output, quarters, .. } = self;
            let turn = poll_fn(|cx| {
                if let Poll::Ready(Err(error)) = stream.poll_send(output, cx) {
                    return Poll::Ready(Err(error));
                }
                quarters.poll_tick(cx).map(|_| Ok(()))
            });
            match turn.await {
                // What the broker says meanwhile is not read; so its silence means nothing.
                Ok(()) => self.say(),
                Err(error) => return error.into(),
            }
        }
    }

    /// Writes what can be written at once.
    pub(super) fn flush(&mut self) -> Result<(), LinkError> {
        Ok(self.stream.send_now(&mut self.output)?)
    }

    /// So much waits to be written that nothing more should be added.
    pub(super) fn is_full(&self) -> bool {
        self.output.len() >= WRITE
    }

    pub(super) fn subscribe<'a>(
        &mut self,
        id: u16,
        filters: impl IntoIterator<Item = wire::Ask<'a>>,
    ) -> Result<(), LinkError> {
        wire::subscribe(id, filters, &mut self.output)?;
        Ok(())
    }

    pub(super) fn unsubscribe(&mut self, id: u16, filters: &[String]) -> Result<(), LinkError> {
        wire::unsubscribe(id, filters, &mut self.output)?;
        Ok(())
    }

    /// QoS 1 with an id, QoS 0 with the id 0.
    pub(super) fn publish(&mut self, id: u16, message: &Message) -> Result<(), LinkError> {
        wire::publish(id, message, &mut self.output)?;
        Ok(())
    }

    pub(super) fn confirm(&mut self, ids: &[u16]) {
        ids.iter().for_each(|id| wire::puback(*id, &mut self.output));
    }

    /// Says goodbye, so that the broker neither waits for us nor publishes our Will.
    pub(super) async fn close(mut self, deadline: Instant) {
        wire::disconnect(&mut self.output);
        // A link that breaks now has ended as well.
        let _ = timeout_at(deadline, async {
            self.send().await?;
            poll_fn(|cx| self.stream.poll_close(cx)).await
        })
        .await;
    }

    async fn handshake(&mut self) -> Result<Welcome, LinkError> {
        self.send().await?;
        loop {
            match wire::read(&mut self.input, self.max_packet)? {
                Some(Incoming::Welcome(welcome)) => return Ok(welcome),
                Some(Incoming::Refused(reason)) => return Err(LinkError::Refused(reason)),
                Some(Incoming::Goodbye { code, reason }) => return Err(goodbye(code, reason)),
                Some(_) => return Err(WireError::Unexpected(0).into()),
                None => {
                    let count = self.stream.read_buf(&mut self.input).await?;
                    self.note_read(count)?;
                }
            }
        }
    }

    async fn send(&mut self) -> std::io::Result<()> {
        poll_fn(|cx| self.stream.poll_send(&mut self.output, cx)).await
    }

    /// What is in the buffer.
    fn take(&mut self) -> Result<Option<Arrival>, LinkError> {
        while let Some(packet) = wire::read(&mut self.input, self.max_packet)? {
            return Ok(Some(match packet {
                Incoming::Message(message) => {
                    if self.confirms && message.id != 0 {
                        wire::puback(message.id, &mut self.output);
                    }
                    Arrival::Message(message)
                }
                Incoming::Confirmed { id, code, reason } => Arrival::Confirmed { id, code, reason },
                Incoming::Subscribed(refusals) => Arrival::Subscribed(refusals),
                Incoming::Unsubscribed => Arrival::Unsubscribed,
                Incoming::Pong => continue,
                Incoming::Goodbye { code, reason } => return Err(goodbye(code, reason)),
                Incoming::Welcome(_) | Incoming::Refused(_) => {
                    return Err(WireError::Unexpected(2).into());
                }
            }));
        }
        Ok(None)
    }

    fn note_read(&mut self, count: usize) -> Result<(), LinkError> {
        if count == 0 {
            return Err(LinkError::Closed("without a reason".to_owned()));
        }
        self.heard = true;
        Ok(())
    }

    /// A quarter of the keep alive has passed.
    fn watch(&mut self) -> Result<(), LinkError> {
        self.quiet = if std::mem::take(&mut self.heard) { 0 } else { self.quiet + 1 };
        if self.quiet >= SILENCE {
            return Err(LinkError::Silent);
        }
        self.say();
        self.renew()?;
        Ok(())
    }

    /// Exchanged certificates hold from the next link on, so this one ends; but not for files
    /// that are half written or wrong.
    fn renew(&mut self) -> Result<(), LinkError> {
        let (Some(tls), Some(stamp)) = (&self.tls, &self.stamp) else { return Ok(()) };
        let now = Stamp::of(tls);
        if now == *stamp {
            return Ok(());
        }
        match tls::client_config(tls) {
            Ok(_) => Err(LinkError::Renewed),
            Err(error) => {
                tracing::error!(%error, "exchanged TLS files cannot be used; the link keeps the old");
                self.stamp = Some(now);
                Ok(())
            }
        }
    }

    fn say(&mut self) {
        self.unsaid += 1;
        if self.unsaid >= PING {
            self.unsaid = 0;
            wire::ping(&mut self.output);
        }
    }
}

fn secrecy(error: std::io::Error, tls: &Tls) -> LinkError {
    match tls::explain(&error, tls) {
        Some(words) => LinkError::Secrecy(words),
        None => error.into(),
    }
}

/// Ticks that were missed are not made up for: they were missed because nobody listened.
fn quarters(keep_alive: Duration) -> Interval {
    let quarter = keep_alive / 4;
    let mut quarters = interval_at(Instant::now() + quarter, quarter);
    quarters.set_missed_tick_behavior(MissedTickBehavior::Delay);
    quarters
}

fn goodbye(code: u8, reason: String) -> LinkError {
    if code == 0x8e { LinkError::TakenOver } else { LinkError::Closed(reason) }
}
