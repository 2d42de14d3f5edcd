//! The seam to the client library (rumqttc): its MQTT 5 codec, and what it says in our words.
//!
//! Pure. Packets are cut out of the stream here and not by the library, because it takes a
//! DISCONNECT without properties, as mosquitto sends it, for an incomplete one and waits on.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use rumqttc::v5::mqttbytes::v5::{
    ConnAck, Connect, ConnectProperties, Disconnect, Filter, FixedHeader, LastWill, Login, Packet,
    PubAck, Publish, RetainForwardRule, SubAck, Subscribe, Unsubscribe,
};
use rumqttc::v5::mqttbytes::{self, QoS};

use super::dialer::{Dialer, Role};
use crate::message::Message;

/// The broker broke the protocol.
#[derive(Debug, thiserror::Error)]
pub(super) enum WireError {
    #[error("a packet of {0} bytes is larger than we said we take")]
    TooLarge(usize),
    #[error("the length of a packet is malformed")]
    Length,
    #[error("a packet is malformed: {0}")]
    Malformed(#[from] mqttbytes::Error),
    #[error("a packet of type {0} is not for a client")]
    Unexpected(u8),
}

/// A packet from the broker.
#[derive(Debug)]
pub(super) enum Incoming {
    Welcome(Welcome),
    /// CONNACK with an error.
    Refused(String),
    Message(Received),
    /// The answer to a publish: below 0x80 is good.
    Confirmed {
        id: u16,
        code: u8,
        reason: String,
    },
    /// The answer to a subscription, one entry a filter: why it was refused, if it was.
    Subscribed(Vec<Option<String>>),
    Unsubscribed,
    Goodbye {
        code: u8,
        reason: String,
    },
    Pong,
}

/// What the broker says about the session.
#[derive(Debug)]
pub(super) struct Welcome {
    pub(super) session_present: bool,
    /// The largest packet that it takes.
    pub(super) max_packet: Option<u32>,
    /// Unconfirmed messages that it takes.
    pub(super) receive_maximum: Option<u16>,
    /// Seconds; in place of ours.
    pub(super) keep_alive: Option<u16>,
}

#[derive(Debug)]
pub(super) struct Received {
    pub(super) topic: Bytes,
    pub(super) payload: Bytes,
    /// 0 for QoS 0.
    pub(super) id: u16,
    pub(super) retained: bool,
    /// The broker has sent it before.
    pub(super) again: bool,
}

/// Takes the next whole packet off the front of `input`.
pub(super) fn read(input: &mut BytesMut, max: u32) -> Result<Option<Incoming>, WireError> {
    let Some((header_len, body_len)) = lengths(input)? else {
        return Ok(None);
    };
    let whole = header_len + body_len;
    if whole > max as usize {
        return Err(WireError::TooLarge(whole));
    }
    if input.len() < whole {
        input.reserve(whole - input.len());
        return Ok(None);
    }
    let first = input[0];
    let packet = input.split_to(whole).freeze();
    if first >> 4 == 3 {
        return message(first, packet, header_len).map(|message| Some(Incoming::Message(message)));
    }
    let header = FixedHeader::new(first, header_len - 1, body_len);
    let body = packet.slice(header_len..);
    understand(header, first >> 4, packet, &body).map(Some)
}

/// Of the fixed header and of what follows it, once the header is there.
fn lengths(input: &[u8]) -> Result<Option<(usize, usize)>, WireError> {
    let Some(length) = input.get(1..) else {
        return Ok(None);
    };
    Ok(varint(length)?.map(|(len, value)| (len + 1, value)))
}

/// The bytes and the value of the number at the front of `input`, once it is all there.
fn varint(input: &[u8]) -> Result<Option<(usize, usize)>, WireError> {
    let mut value = 0;
    for (at, byte) in input.iter().take(4).enumerate() {
        value |= usize::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return Ok(Some((at + 1, value)));
        }
    }
    if input.len() >= 4 { Err(WireError::Length) } else { Ok(None) }
}

fn understand(
    header: FixedHeader,
    kind: u8,
    packet: Bytes,
    body: &[u8],
) -> Result<Incoming, WireError> {
    match kind {
        2 => welcome(header, packet, body),
        4 => {
            let [high, low, rest @ ..] = body else {
                return Err(WireError::Length);
            };
            let id = u16::from_be_bytes([*high, *low]);
            let code = rest.first().copied().unwrap_or(0);
            let said = PubAck::read(header, packet).ok().and_then(|puback| puback.properties);
            let reason = said.and_then(|properties| properties.reason_string);
            Ok(Incoming::Confirmed { id, code, reason: word(code, reason) })
        }
        9 => {
            // Read for its form; the codes at the end are ours to put into words.
            let count = SubAck::read(header, packet)?.return_codes.len();
            let codes = &body[body.len() - count..];
            let refusal = |code: &u8| (*code >= 0x80).then(|| word(*code, None));
            Ok(Incoming::Subscribed(codes.iter().map(refusal).collect()))
        }
        // Whether a filter was known or not, nothing comes on it any more.
        11 => Ok(Incoming::Unsubscribed),
        13 => Ok(Incoming::Pong),
        14 => {
            let code = body.first().copied().unwrap_or(0);
            let said = Disconnect::read(header, packet).ok().and_then(|said| said.properties);
            let reason = said.and_then(|properties| properties.reason_string);
            Ok(Incoming::Goodbye { code, reason: word(code, reason) })
        }
        other => Err(WireError::Unexpected(other)),
    }
}

fn welcome(header: FixedHeader, packet: Bytes, body: &[u8]) -> Result<Incoming, WireError> {
    // A broker of MQTT 3 answers in MQTT 3, without properties.
    if let [_, code] = body
        && *code != 0
    {
        return Ok(Incoming::Refused("it does not speak MQTT 5".to_owned()));
    }
    if let [_, code, ..] = body
        && *code != 0
    {
        let said = ConnAck::read(header, packet).ok().and_then(|connack| connack.properties);
        let reason = said.and_then(|properties| properties.reason_string);
        return Ok(Incoming::Refused(word(*code, reason)));
    }
    let connack = ConnAck::read(header, packet)?;
    let limits = connack.properties.as_ref();
    Ok(Incoming::Welcome(Welcome {
        session_present: connack.session_present,
        max_packet: limits.and_then(|limits| limits.max_packet_size),
        receive_maximum: limits.and_then(|limits| limits.receive_max),
        keep_alive: limits.and_then(|limits| limits.server_keep_alive),
    }))
}

/// A PUBLISH. Its properties say nothing that we need, and the library would copy each of them.
fn message(first: u8, mut packet: Bytes, header_len: usize) -> Result<Received, WireError> {
    let malformed = || WireError::Malformed(mqttbytes::Error::MalformedPacket);
    let mut rest = &packet[header_len..];
    let topic_len = usize::from(rest.try_get_u16().map_err(|_| malformed())?);
    let topic_at = header_len + 2;
    rest = rest.get(topic_len..).ok_or_else(malformed)?;
    let id = match first >> 1 & 3 {
        0 => 0,
        1 => rest.try_get_u16().ok().filter(|id| *id != 0).ok_or_else(malformed)?,
        _ => return Err(malformed()),
    };
    let (length_len, length) = varint(rest)?.ok_or_else(malformed)?;
    rest = rest.get(length_len + length..).ok_or_else(malformed)?;
    let payload_at = packet.len() - rest.len();
    let topic = packet.slice(topic_at..topic_at + topic_len);
    packet.advance(payload_at);
    Ok(Received { topic, payload: packet, id, retained: first & 1 != 0, again: first & 8 != 0 })
}

/// What the broker says itself, or the word of the standard (MQTT 5, 2.4).
fn word(code: u8, said: Option<String>) -> String {
    if let Some(said) = said.filter(|said| !said.is_empty()) {
        return said;
    }
    let word = match code {
        0x00 => "success",
        0x10 => "no matching subscribers",
        0x81 => "malformed packet",
        0x82 => "protocol error",
        0x83 => "implementation specific error",
        0x84 => "it does not speak MQTT 5",
        0x85 => "client id not valid",
        0x86 => "bad user name or password",
        0x87 => "not authorized",
        0x88 => "server unavailable",
        0x89 => "server busy",
        0x8a => "banned",
        0x8b => "server shutting down",
        0x8c => "bad authentication method",
        0x8d => "keep alive timeout",
        0x8e => "session taken over",
        0x8f => "topic filter invalid",
        0x90 => "topic name invalid",
        0x91 => "packet identifier in use",
        0x93 => "receive maximum exceeded",
        0x95 => "packet too large",
        0x96 => "message rate too high",
        0x97 => "quota exceeded",
        0x98 => "administrative action",
        0x99 => "payload format invalid",
        0x9a => "retain not supported",
        0x9b => "QoS not supported",
        0x9c | 0x9d => "use another server",
        0x9e => "shared subscriptions not supported",
        0x9f => "connection rate exceeded",
        0xa0 => "maximum connect time",
        0xa1 => "subscription identifiers not supported",
        0xa2 => "wildcard subscriptions not supported",
        _ => "unspecified error",
    };
    word.to_owned()
}

/// The session is kept, and the broker sends it no more than we can take.
pub(super) fn connect(
    dialer: &Dialer,
    password: Option<String>,
    output: &mut BytesMut,
) -> Result<(), WireError> {
    let mut properties = ConnectProperties::new();
    properties.session_expiry_interval = Some(dialer.session_expiry);
    properties.max_packet_size = Some(dialer.max_packet);
    let will = match &dialer.role {
        Role::Ingest { receive_maximum } => {
            properties.receive_maximum = Some(*receive_maximum);
            None
        }
        Role::Egress { will } => will.as_ref().map(|will| {
            LastWill::new(&will.topic, will.body.to_vec(), QoS::AtLeastOnce, will.retain, None)
        }),
    };
    let connect = Connect {
        keep_alive: u16::try_from(dialer.keep_alive.as_secs()).unwrap_or(u16::MAX),
        client_id: dialer.client_id.clone(),
        clean_start: false,
        properties: Some(properties),
    };
    let login =
        dialer.username.as_ref().map(|user| Login::new(user.clone(), password.unwrap_or_default()));
    Packet::Connect(connect, will, login).write(output, None)?;
    Ok(())
}

/// A filter that is subscribed to.
#[derive(Clone, Debug)]
pub(super) struct Ask<'a> {
    filter: &'a str,
    qos: u8,
    rule: RetainForwardRule,
}

impl<'a> Ask<'a> {
    /// Retained messages come once in the life of a session, not with every new link.
    pub(super) fn new(filter: &'a str, qos: u8) -> Self {
        Self { filter, qos, rule: RetainForwardRule::OnNewSubscribe }
    }

    /// They come with every link.
    pub(super) fn with_what_stands(self) -> Self {
        Self { rule: RetainForwardRule::OnEverySubscribe, ..self }
    }
}

pub(super) fn subscribe<'a>(
    id: u16,
    filters: impl IntoIterator<Item = Ask<'a>>,
    output: &mut BytesMut,
) -> Result<(), WireError> {
    let filters = filters.into_iter().map(|ask| {
        let mut filter = Filter::new(ask.filter, level(ask.qos));
        filter.retain_forward_rule = ask.rule;
        filter
    });
    let mut subscribe = Subscribe::new_many(filters, None);
    subscribe.pkid = id;
    Packet::Subscribe(subscribe).write(output, None)?;
    Ok(())
}

pub(super) fn unsubscribe(
    id: u16,
    filters: &[String],
    output: &mut BytesMut,
) -> Result<(), WireError> {
    let unsubscribe = Unsubscribe { pkid: id, filters: filters.to_vec(), properties: None };
    Packet::Unsubscribe(unsubscribe).write(output, None)?;
    Ok(())
}

/// QoS 1 with an id, QoS 0 with the id 0.
pub(super) fn publish(id: u16, message: &Message, output: &mut BytesMut) -> Result<(), WireError> {
    let publish = Publish {
        dup: false,
        qos: level(u8::from(id != 0)),
        retain: message.retain,
        topic: Bytes::copy_from_slice(message.topic.as_bytes()),
        pkid: id,
        payload: message.body.clone(),
        properties: None,
    };
    publish.write(output)?;
    Ok(())
}

pub(super) fn puback(id: u16, output: &mut BytesMut) {
    output.put_slice(&[0x40, 2]);
    output.put_u16(id);
}

pub(super) fn ping(output: &mut BytesMut) {
    output.put_slice(&[0xc0, 0]);
}

/// The session stays; the Will is not published.
pub(super) fn disconnect(output: &mut BytesMut) {
    output.put_slice(&[0xe0, 0]);
}

/// The bytes of a QoS 1 PUBLISH of `message`, at most.
pub(super) fn publish_size(message: &Message) -> usize {
    // Fixed header, length of the topic, packet id, no properties.
    5 + 2 + message.topic.len() + 2 + 1 + message.body.len()
}

const fn level(qos: u8) -> QoS {
    if qos == 0 { QoS::AtMostOnce } else { QoS::AtLeastOnce }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read_all(bytes: &[u8]) -> Result<Option<Incoming>, WireError> {
        read(&mut BytesMut::from(bytes), 1000)
    }

    #[test]
    fn a_disconnect_needs_no_properties() {
        let code = |bytes: &[u8]| match read_all(bytes).unwrap().unwrap() {
            Incoming::Goodbye { code, .. } => code,
            other => panic!("{other:?}"),
        };
        assert_eq!(code(&[0xe0, 0]), 0);
        assert_eq!(code(&[0xe0, 1, 0x8e]), 0x8e);
        assert_eq!(code(&[0xe0, 2, 0x8e, 0]), 0x8e);
    }

    #[test]
    fn a_broker_of_mqtt_3_is_recognised() {
        let refused = read_all(&[0x20, 2, 0, 1]).unwrap().unwrap();
        assert!(matches!(refused, Incoming::Refused(why) if why.contains("MQTT 5")));
    }

    #[test]
    fn properties_of_a_publish_are_passed_over() {
        // Packet id 7, a user property "k" = "v", payload "5".
        let bytes = [0x32, 14, 0, 1, b't', 0, 7, 7, 0x26, 0, 1, b'k', 0, 1, b'v', b'5'];
        let Some(Incoming::Message(message)) = read_all(&bytes).unwrap() else {
            panic!("not a message");
        };
        assert_eq!(
            (&message.topic[..], &message.payload[..], message.id),
            (&b"t"[..], &b"5"[..], 7)
        );
        let id_zero = [0x32, 6, 0, 1, b't', 0, 0, 0];
        assert!(matches!(read_all(&id_zero), Err(WireError::Malformed(_))));
        let qos_3 = [0x36, 6, 0, 1, b't', 0, 1, 0];
        assert!(matches!(read_all(&qos_3), Err(WireError::Malformed(_))));
        let properties_too_long = [0x30, 4, 0, 1, b't', 9];
        assert!(matches!(read_all(&properties_too_long), Err(WireError::Malformed(_))));
    }

    #[test]
    fn what_is_longer_than_agreed_or_malformed_is_an_error_and_not_a_wait() {
        assert!(matches!(read_all(&[0x30, 0xff, 0x7f]), Err(WireError::TooLarge(_))));
        assert!(matches!(read_all(&[0x30, 0xff, 0xff, 0xff, 0xff]), Err(WireError::Length)));
        assert!(matches!(read_all(&[0x30, 2, 0, 9]), Err(WireError::Malformed(_))));
        assert!(matches!(read_all(&[0x10, 0]), Err(WireError::Unexpected(1))));
        assert!(read_all(&[0x30]).unwrap().is_none());
        assert!(read_all(&[0x30, 5, 0]).unwrap().is_none());
    }

    proptest! {
        #[test]
        fn a_publish_comes_back_as_it_was_written(
            topic in "[a-z/]{1,20}", body in prop::collection::vec(any::<u8>(), 0..300), id: u16,
        ) {
            let message = Message { topic, body: body.into(), retain: true };
            let mut bytes = BytesMut::new();
            publish(id, &message, &mut bytes).unwrap();
            prop_assert!(bytes.len() <= publish_size(&message));
            let Some(Incoming::Message(back)) = read(&mut bytes, 1000).unwrap() else {
                panic!("not a message");
            };
            prop_assert_eq!(&back.topic[..], message.topic.as_bytes());
            prop_assert_eq!((back.payload, back.id, back.retained), (message.body, id, true));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let mut input = BytesMut::from(&bytes[..]);
            while let Ok(Some(_)) = read(&mut input, 1000) {}
        }

        #[test]
        fn no_packet_of_a_broker_makes_it_panic(
            kind in 2_u8..15, flags in 0_u8..16, body in prop::collection::vec(any::<u8>(), 0..60),
        ) {
            let mut input = BytesMut::from(&[kind << 4 | flags, u8::try_from(body.len()).unwrap()][..]);
            input.extend_from_slice(&body);
            let _ = read(&mut input, 1000);
        }
    }
}
