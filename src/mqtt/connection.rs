//! The seam to the client library (rumqttc): one [`Link`] is one life of one connection.
//!
//! What is worked around here, so that nobody else needs to know: an event loop is never used
//! again after an error; it is polled to completion and not cancelled while it lives; its own
//! check for a silent peer comes late, and a blocked write has no timeout, so a deadline of 1.5
//! times the keep alive on what was last heard stands around it; its in-flight tables are sized
//! by our limit and not by the protocol's.

use std::future::poll_fn;
use std::path::PathBuf;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{
    ConnAck, ConnectProperties, ConnectReturnCode, DisconnectReasonCode, Filter, LastWill, Packet,
    PubAck, PubAckReason, Publish, RetainForwardRule, SubscribeReasonCode,
};
use rumqttc::v5::{AsyncClient, ConnectionError, Event, EventLoop, MqttOptions, StateError};
use rumqttc::{NetworkOptions, Outgoing};
use tokio::time::{Instant, timeout_at};

use super::address::{Address, AddressError, PasswordError, client_id, read_password};
use crate::message::Message;
use crate::settings::Broker;

/// Requests that wait for the event loop.
pub(super) const REQUESTS: usize = 1024;
/// rumqttc takes no less than 5 s, the protocol no more than 65535 s.
const KEEP_ALIVE: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(65_535));
/// Room for the topic and the properties beside the payload.
const HEADER_ROOM: u64 = 128 * 1024;
/// Payloads up to so many times the limit are taken in, so that they can be counted.
const OVERSIZE: u64 = 16;
const LARGEST_PACKET: u64 = 256 << 20;

/// How to reach a broker; checked, and good for any number of links.
#[derive(Clone, Debug)]
pub(super) struct Dialer {
    pub(super) address: Address,
    pub(super) client_id: String,
    username: Option<String>,
    password_file: Option<PathBuf>,
    keep_alive: Duration,
    session_expiry: u32,
    max_packet: u32,
    pub(super) role: Role,
}

#[derive(Clone, Debug)]
pub(super) enum Role {
    /// Confirms messages only when told to, and accepts so many unconfirmed ones.
    Ingest { receive_maximum: u16 },
    /// Publishes, with so many messages in flight.
    Egress { in_flight: u16, will: Option<Message> },
}

/// What keeps a broker's settings from being used.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    #[error(transparent)]
    Address(#[from] AddressError),
    #[error(transparent)]
    Password(#[from] PasswordError),
    #[error("`password_file` is set without `username`")]
    PasswordWithoutUser,
    #[error("`receive_maximum` is 0; write 1 to 65535")]
    ReceiveMaximum,
    #[error(
        "`{0}` is not a command filter: it wants one `+` for the asset, one for the prediction"
    )]
    CommandFilter(String),
}

/// Why a link ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum LinkError {
    #[error(transparent)]
    Password(#[from] PasswordError),
    #[error("the broker refuses the connection: {0}")]
    Refused(&'static str),
    #[error("another client has connected with our client id")]
    TakenOver,
    #[error("the broker closed the connection: {0}")]
    Closed(String),
    #[error("nothing was heard for 1.5 times the keep alive")]
    Silent,
    #[error("the broker broke the protocol: {0}")]
    Protocol(String),
    #[error("the link broke: {0}")]
    Broken(String),
    #[error("messages were given up unstored; connecting again so that the broker resends them")]
    GivenUp,
}

/// What comes over a link.
#[derive(Debug)]
pub(super) enum Arrival {
    /// Connected.
    Up {
        session_present: bool,
        max_packet: Option<u32>,
    },
    /// The answer to [`Requests::subscribe`], one entry a filter: why it was refused, if it was.
    Subscribed(Vec<Option<&'static str>>),
    Message(Received),
    /// A publish went out. QoS 0 has the id 0.
    Sent {
        id: u16,
    },
    /// The broker answered a QoS 1 publish: 0 and 0x10 are good.
    Confirmed {
        id: u16,
        code: u8,
        reason: String,
    },
    /// Our DISCONNECT went out.
    Closing,
}

#[derive(Debug)]
pub(super) struct Received {
    pub(super) topic: Bytes,
    pub(super) payload: Bytes,
    /// 0 for QoS 0.
    pub(super) id: u16,
    pub(super) retained: bool,
}

/// Asks something of a link. Fails only when the link is gone.
#[derive(Clone)]
pub(super) struct Requests(AsyncClient);

pub(super) struct Link {
    events: EventLoop,
    /// Since the deadline was last set.
    heard: bool,
    deadline: Instant,
    up: bool,
}

impl Dialer {
    pub(super) fn new(broker: &Broker, site: &str, role: Role) -> Result<Self, BrokerError> {
        if broker.password_file.is_some() && broker.username.is_none() {
            return Err(BrokerError::PasswordWithoutUser);
        }
        if broker.receive_maximum == 0 {
            return Err(BrokerError::ReceiveMaximum);
        }
        let suffix = match role {
            Role::Ingest { .. } => "-in",
            Role::Egress { .. } => "-out",
        };
        let max_packet = broker.max_payload.as_u64().saturating_mul(OVERSIZE) + HEADER_ROOM;
        let dialer = Self {
            address: Address::parse(&broker.url)?,
            client_id: client_id(broker, site, suffix),
            username: broker.username.clone(),
            password_file: broker.password_file.clone(),
            keep_alive: broker.keep_alive.clamp(KEEP_ALIVE.0, KEEP_ALIVE.1),
            session_expiry: u32::try_from(broker.session_expiry.as_secs()).unwrap_or(u32::MAX),
            max_packet: u32::try_from(max_packet.min(LARGEST_PACKET)).unwrap_or(u32::MAX),
            role,
        };
        dialer.password()?;
        Ok(dialer)
    }

    /// A new link. It connects when it is first waited for.
    pub(super) fn open(&self) -> Result<(Requests, Link), LinkError> {
        let (client, events) = AsyncClient::new(self.options()?, REQUESTS);
        let link = Link { events, heard: false, deadline: Instant::now(), up: false };
        Ok((Requests(client), link))
    }

    /// Read anew for every link, so that a changed password needs no restart.
    fn password(&self) -> Result<Option<String>, PasswordError> {
        self.password_file.as_deref().map(read_password).transpose()
    }

    fn options(&self) -> Result<MqttOptions, LinkError> {
        let mut options = MqttOptions::new(&self.client_id, &self.address.host, self.address.port);
        let mut network = NetworkOptions::new();
        network.set_tcp_nodelay(true);
        let mut properties = ConnectProperties::new();
        properties.session_expiry_interval = Some(self.session_expiry);
        properties.max_packet_size = Some(self.max_packet);
        if let Some(user) = &self.username {
            options.set_credentials(user, self.password()?.unwrap_or_default());
        }
        match &self.role {
            Role::Ingest { receive_maximum } => {
                properties.receive_maximum = Some(*receive_maximum);
                options.set_manual_acks(true).set_outgoing_inflight_upper_limit(INGEST_IN_FLIGHT);
            }
            Role::Egress { in_flight, will } => {
                options.set_outgoing_inflight_upper_limit(*in_flight);
                if let Some(will) = will {
                    let body = will.body.to_vec();
                    let will =
                        LastWill::new(&will.topic, body, QoS::AtLeastOnce, will.retain, None);
                    options.set_last_will(will);
                }
            }
        }
        options
            .set_network_options(network)
            .set_connect_properties(properties)
            .set_clean_start(false)
            .set_keep_alive(self.keep_alive);
        Ok(options)
    }
}

/// Ingest publishes nothing, but the library wants room for a few packet ids.
const INGEST_IN_FLIGHT: u16 = 16;

impl Link {
    /// The next thing that comes. Poll it to completion; drop it only together with the link.
    pub(super) async fn next(&mut self) -> Result<Arrival, LinkError> {
        loop {
            let event = self.event().await?;
            if matches!(event, Event::Incoming(_)) {
                self.heard = true;
            }
            match event {
                Event::Incoming(Packet::Publish(publish)) => {
                    return Ok(Arrival::Message(received(publish)));
                }
                Event::Incoming(Packet::ConnAck(connack)) => return Ok(self.connected(&connack)),
                Event::Incoming(Packet::PubAck(puback)) => return Ok(confirmed(puback)),
                Event::Incoming(Packet::SubAck(suback)) => {
                    let codes = suback.return_codes.into_iter();
                    return Ok(Arrival::Subscribed(codes.map(refusal).collect()));
                }
                Event::Outgoing(Outgoing::Publish(id)) => return Ok(Arrival::Sent { id }),
                Event::Outgoing(Outgoing::Disconnect) => return Ok(Arrival::Closing),
                Event::Incoming(_) | Event::Outgoing(_) => {}
            }
        }
    }

    async fn event(&mut self) -> Result<Event, LinkError> {
        let silence = self.silence();
        let mut poll = pin!(self.events.poll());
        // Most events are there already; only a real wait is worth a timer.
        if let Poll::Ready(event) = poll_fn(|cx| Poll::Ready(poll.as_mut().poll(cx))).await {
            return event.map_err(link_error);
        }
        if !self.up {
            return poll.await.map_err(link_error);
        }
        if std::mem::take(&mut self.heard) {
            self.deadline = Instant::now() + silence;
        }
        timeout_at(self.deadline, poll).await.map_err(|_| LinkError::Silent)?.map_err(link_error)
    }

    fn connected(&mut self, connack: &ConnAck) -> Arrival {
        self.up = true;
        // A broker may ask for no keep alive at all; the library would then ping without end.
        if self.events.options.keep_alive().is_zero() {
            self.events.options.set_keep_alive(KEEP_ALIVE.0);
        }
        let limits = connack.properties.as_ref();
        Arrival::Up {
            session_present: connack.session_present,
            max_packet: limits.and_then(|limits| limits.max_packet_size),
        }
    }

    /// How long the peer may be silent: the broker may have set another keep alive than ours.
    fn silence(&self) -> Duration {
        self.events.options.keep_alive().mul_f64(1.5)
    }
}

impl Requests {
    /// Confirms a QoS 1 message.
    pub(super) async fn ack(&self, id: u16) -> Result<(), ()> {
        let publish = Publish { pkid: id, qos: QoS::AtLeastOnce, ..Publish::default() };
        self.0.ack(&publish).await.map_err(drop)
    }

    /// Retained messages come once in the life of a session, not with every new connection.
    pub(super) fn subscribe<'a>(
        &self,
        filters: impl IntoIterator<Item = (&'a str, u8)>,
    ) -> Result<(), ()> {
        let filters = filters.into_iter().map(|(path, qos)| {
            let qos = if qos == 0 { QoS::AtMostOnce } else { QoS::AtLeastOnce };
            let mut filter = Filter::new(path, qos);
            filter.retain_forward_rule = RetainForwardRule::OnNewSubscribe;
            filter
        });
        self.0.try_subscribe_many(filters).map_err(drop)
    }

    pub(super) fn publish(&self, message: Message, qos: u8) -> Result<(), ()> {
        let qos = if qos == 0 { QoS::AtMostOnce } else { QoS::AtLeastOnce };
        self.0.try_publish(message.topic, qos, message.retain, message.body).map_err(drop)
    }

    pub(super) fn disconnect(&self) -> Result<(), ()> {
        self.0.try_disconnect().map_err(drop)
    }
}

/// The bytes of a QoS 1 PUBLISH packet for `message`.
pub(super) fn packet_size(message: &Message) -> usize {
    // Fixed header 5 at most; topic length, packet id and empty properties.
    5 + 2 + message.topic.len() + 2 + 1 + message.body.len()
}

fn received(publish: Publish) -> Received {
    Received {
        topic: publish.topic,
        payload: publish.payload,
        id: publish.pkid,
        retained: publish.retain,
    }
}

fn confirmed(puback: PubAck) -> Arrival {
    let reason = puback.properties.and_then(|properties| properties.reason_string);
    let (code, word) = match puback.reason {
        PubAckReason::Success => (0x00, "success"),
        PubAckReason::NoMatchingSubscribers => (0x10, "no matching subscribers"),
        PubAckReason::UnspecifiedError => (0x80, "unspecified error"),
        PubAckReason::ImplementationSpecificError => (0x83, "implementation specific error"),
        PubAckReason::NotAuthorized => (0x87, "not authorized"),
        PubAckReason::TopicNameInvalid => (0x90, "topic name invalid"),
        PubAckReason::PacketIdentifierInUse => (0x91, "packet identifier in use"),
        PubAckReason::QuotaExceeded => (0x97, "quota exceeded"),
        PubAckReason::PayloadFormatInvalid => (0x99, "payload format invalid"),
    };
    Arrival::Confirmed { id: puback.pkid, code, reason: reason.unwrap_or_else(|| word.to_owned()) }
}

const fn refusal(code: SubscribeReasonCode) -> Option<&'static str> {
    use SubscribeReasonCode as Code;
    match code {
        Code::Success(_) => None,
        Code::Failure | Code::Unspecified => Some("unspecified error"),
        Code::ImplementationSpecific => Some("implementation specific error"),
        Code::NotAuthorized => Some("not authorized"),
        Code::TopicFilterInvalid => Some("topic filter invalid"),
        Code::PkidInUse => Some("packet identifier in use"),
        Code::QuotaExceeded => Some("quota exceeded"),
        Code::SharedSubscriptionsNotSupported => Some("shared subscriptions not supported"),
        Code::SubscriptionIdNotSupported => Some("subscription identifiers not supported"),
        Code::WildcardSubscriptionsNotSupported => Some("wildcard subscriptions not supported"),
    }
}

const fn connect_refusal(code: ConnectReturnCode) -> &'static str {
    use ConnectReturnCode as Code;
    match code {
        Code::BadUserNamePassword => "bad user name or password",
        Code::NotAuthorized => "not authorized",
        Code::ClientIdentifierNotValid | Code::BadClientId => "client id not valid",
        Code::ServerUnavailable | Code::ServiceUnavailable => "server unavailable",
        Code::ServerBusy => "server busy",
        Code::Banned => "banned",
        Code::BadAuthenticationMethod => "bad authentication method",
        Code::UnsupportedProtocolVersion | Code::RefusedProtocolVersion => {
            "it does not speak MQTT 5"
        }
        Code::TopicNameInvalid => "the Will's topic is not valid",
        Code::PacketTooLarge => "packet too large",
        Code::QuotaExceeded => "quota exceeded",
        Code::RetainNotSupported => "it does not keep retained messages",
        Code::QoSNotSupported => "it does not support QoS 1",
        Code::UseAnotherServer | Code::ServerMoved => "it names another server to use",
        Code::ConnectionRateExceeded => "connection rate exceeded",
        Code::Success
        | Code::UnspecifiedError
        | Code::MalformedPacket
        | Code::ProtocolError
        | Code::ImplementationSpecificError
        | Code::PayloadFormatInvalid => "unspecified error",
    }
}

fn link_error(error: ConnectionError) -> LinkError {
    match error {
        ConnectionError::ConnectionRefused(code)
        | ConnectionError::MqttState(StateError::ConnFail { reason: code }) => {
            LinkError::Refused(connect_refusal(code))
        }
        ConnectionError::MqttState(StateError::ServerDisconnect { reason_code, reason_string }) => {
            if reason_code == DisconnectReasonCode::SessionTakenOver {
                return LinkError::TakenOver;
            }
            LinkError::Closed(reason_string.unwrap_or_else(|| format!("{reason_code:?}")))
        }
        ConnectionError::MqttState(StateError::AwaitPingResp) => LinkError::Silent,
        ConnectionError::MqttState(StateError::ConnectionAborted) => {
            LinkError::Broken("closed by the broker without a reason".to_owned())
        }
        ConnectionError::MqttState(error) => match error {
            StateError::Io(error) => LinkError::Broken(error.to_string()),
            StateError::Deserialization(rumqttc::v5::mqttbytes::Error::Io(error)) => {
                LinkError::Broken(error.to_string())
            }
            error => LinkError::Protocol(error.to_string()),
        },
        ConnectionError::NotConnAck(_) => LinkError::Protocol("no CONNACK came".to_owned()),
        ConnectionError::Timeout(_) => LinkError::Broken("no answer within 5 s".to_owned()),
        ConnectionError::Io(error) => LinkError::Broken(error.to_string()),
        error => LinkError::Broken(error.to_string()),
    }
}
