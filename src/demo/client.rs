//! MQTT clients of the demonstration's own programs.

use std::net::SocketAddr;
use std::time::Duration;

use rumqttc::NetworkOptions;
use rumqttc::v5::{AsyncClient, EventLoop, MqttOptions};

const REQUESTS: usize = 1_024;
const MAX_PACKET: u32 = 1024 * 1024;

pub(super) fn connect(id: &str, broker: SocketAddr) -> (AsyncClient, EventLoop) {
    let mut options = MqttOptions::new(id, broker.ip().to_string(), broker.port());
    options.set_keep_alive(Duration::from_secs(10));
    options.set_max_packet_size(Some(MAX_PACKET));
    let mut network = NetworkOptions::new();
    network.set_tcp_nodelay(true);
    options.set_network_options(network);
    AsyncClient::new(options, REQUESTS)
}
