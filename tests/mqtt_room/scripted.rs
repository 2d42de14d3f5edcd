//! A broker that does what the test says, packet by packet.

use bytes::BytesMut;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{
    ConnAck, ConnAckProperties, Connect, ConnectReturnCode, Disconnect, DisconnectReasonCode,
    LastWill, Login, Packet, PubAck, PubAckReason, Publish, SubAck, Subscribe, SubscribeReasonCode,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::{LOOK, within};

pub(crate) struct Scripted {
    listener: TcpListener,
}

/// One client's connection.
pub(crate) struct Peer {
    stream: TcpStream,
    buffer: BytesMut,
    pub(crate) connect: Connect,
    pub(crate) will: Option<LastWill>,
    pub(crate) login: Option<Login>,
}

impl Scripted {
    pub(crate) async fn bind() -> (Self, u16) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        (Self { listener }, port)
    }

    /// A client that has said CONNECT and heard nothing yet.
    pub(crate) async fn accept(&self) -> Peer {
        let (stream, _) = within("a connection", self.listener.accept()).await.unwrap();
        let connect = Connect {
            keep_alive: 0,
            client_id: String::new(),
            clean_start: true,
            properties: None,
        };
        let mut peer = Peer { stream, buffer: BytesMut::new(), connect, will: None, login: None };
        match peer.read().await {
            Some(Packet::Connect(connect, will, login)) => {
                (peer.connect, peer.will, peer.login) = (connect, will, login);
            }
            other => panic!("not a CONNECT: {other:?}"),
        }
        peer
    }

    /// A client that is connected.
    pub(crate) async fn welcome(&self) -> Peer {
        self.welcome_with(None).await
    }

    pub(crate) async fn welcome_with(&self, properties: Option<ConnAckProperties>) -> Peer {
        let mut peer = self.accept().await;
        let code = ConnectReturnCode::Success;
        peer.write(Packet::ConnAck(ConnAck { session_present: false, code, properties })).await;
        peer
    }

    /// A client that is connected and subscribed.
    pub(crate) async fn subscribed(&self) -> Peer {
        let mut peer = self.welcome().await;
        peer.grant().await;
        peer
    }

    /// True when nobody connects for a while.
    pub(crate) async fn is_left_alone(&self, how_long: std::time::Duration) -> bool {
        tokio::time::timeout(how_long, self.listener.accept()).await.is_err()
    }
}

impl Peer {
    /// The next packet; `None` at the end of the connection.
    pub(crate) async fn read(&mut self) -> Option<Packet> {
        within("a packet", async {
            loop {
                // The library cannot read its own empty DISCONNECT.
                if self.buffer.starts_with(&[0xe0, 0x00]) {
                    return Some(Packet::Disconnect(Disconnect::new(
                        DisconnectReasonCode::NormalDisconnection,
                    )));
                }
                if let Ok(packet) = Packet::read(&mut self.buffer, None) {
                    return Some(packet);
                }
                match self.stream.read_buf(&mut self.buffer).await {
                    Ok(0) | Err(_) => return None,
                    Ok(_) => {}
                }
            }
        })
        .await
    }

    pub(crate) async fn write(&mut self, packet: Packet) {
        let mut bytes = BytesMut::new();
        packet.write(&mut bytes, None).unwrap();
        self.write_bytes(&bytes).await;
    }

    pub(crate) async fn write_bytes(&mut self, bytes: &[u8]) {
        // The client may be gone; the test sees that elsewhere.
        let _ = self.stream.write_all(bytes).await;
    }

    pub(crate) async fn says_nothing(&mut self) -> bool {
        tokio::time::timeout(LOOK, self.stream.read_buf(&mut self.buffer)).await.is_err()
    }

    pub(crate) async fn subscription(&mut self) -> Subscribe {
        match self.read().await {
            Some(Packet::Subscribe(subscribe)) => subscribe,
            other => panic!("not a SUBSCRIBE: {other:?}"),
        }
    }

    pub(crate) async fn answer(&mut self, pkid: u16, codes: Vec<SubscribeReasonCode>) {
        self.write(Packet::SubAck(SubAck { pkid, return_codes: codes, properties: None })).await;
    }

    /// Grants whatever is subscribed to.
    pub(crate) async fn grant(&mut self) -> Vec<String> {
        let subscribe = self.subscription().await;
        let codes = subscribe.filters.iter().map(|f| SubscribeReasonCode::Success(f.qos)).collect();
        self.answer(subscribe.pkid, codes).await;
        subscribe.filters.into_iter().map(|filter| filter.path).collect()
    }

    /// Sends a message; id 0 stands for QoS 0.
    pub(crate) async fn publish(&mut self, id: u16, topic: &str, payload: &[u8]) {
        self.write(message(id, topic, payload, false)).await;
    }

    /// As a broker does with what it has no PUBACK for, on a new link.
    pub(crate) async fn publish_again(&mut self, id: u16, topic: &str, payload: &[u8]) {
        let Packet::Publish(mut publish) = message(id, topic, payload, false) else {
            unreachable!("a message is a PUBLISH");
        };
        publish.dup = true;
        self.write(Packet::Publish(publish)).await;
    }

    pub(crate) async fn publish_retained(&mut self, id: u16, topic: &str, payload: &[u8]) {
        self.write(message(id, topic, payload, true)).await;
    }

    pub(crate) async fn published(&mut self) -> Publish {
        match self.read().await {
            Some(Packet::Publish(publish)) => publish,
            other => panic!("not a PUBLISH: {other:?}"),
        }
    }

    pub(crate) async fn confirm(&mut self, id: u16, reason: PubAckReason) {
        self.write(Packet::PubAck(PubAck { pkid: id, reason, properties: None })).await;
    }

    /// The id of the PUBACK that comes.
    pub(crate) async fn confirmed(&mut self) -> u16 {
        match self.read().await {
            Some(Packet::PubAck(puback)) => puback.pkid,
            other => panic!("not a PUBACK: {other:?}"),
        }
    }
}

fn message(id: u16, topic: &str, payload: &[u8], retain: bool) -> Packet {
    let qos = if id == 0 { QoS::AtMostOnce } else { QoS::AtLeastOnce };
    let mut publish = Publish::new(topic, qos, payload.to_vec(), None);
    publish.pkid = id;
    publish.retain = retain;
    Packet::Publish(publish)
}

pub(crate) fn limits() -> ConnAckProperties {
    ConnAckProperties {
        session_expiry_interval: None,
        receive_max: None,
        max_qos: None,
        retain_available: None,
        max_packet_size: None,
        assigned_client_identifier: None,
        topic_alias_max: None,
        reason_string: None,
        user_properties: Vec::new(),
        wildcard_subscription_available: None,
        subscription_identifiers_available: None,
        shared_subscription_available: None,
        server_keep_alive: None,
        response_information: None,
        server_reference: None,
        authentication_method: None,
        authentication_data: None,
    }
}
