//! An MQTT 5 broker in this process (rumqttd), on a free port of the loopback interface.
//!
//! For demonstrations and tests. It cannot be stopped: its threads end with the process.
//! What rumqttd 0.20 does that a client must know:
//! - At most 100 unconfirmed QoS 1 messages a client, whatever Receive Maximum says.
//! - PUBACKs must come in the order of the PUBLISHes, as the standard asks; else it hangs up.
//! - A session outlives its connection only without clean start; the expiry is not looked at.
//! - Topic aliases towards clients are wrong with wildcards: do not announce any.
//! - A subscriber gets at most 100 retained messages a filter.
//! - An empty body clears the retained message even without the retain flag.
//! - Sockets keep Nagle's algorithm.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::thread::JoinHandle;
use std::time::Duration;

use rumqttd::{Config, ConnectionSettings, RouterConfig, ServerSettings};
use tokio::time::{Instant, sleep};

const ATTEMPTS: usize = 5;
const READY_WITHIN: Duration = Duration::from_secs(5);
const MAX_CONNECTIONS: usize = 1_000;
const MAX_PAYLOAD: usize = 16 * 1024 * 1024;
const SEGMENT_BYTES: usize = 4 * 1024 * 1024;
const SEGMENTS: usize = 16;

/// Starts a broker and returns its address once it takes connections.
pub async fn start() -> io::Result<SocketAddr> {
    let mut last = None;
    for _ in 0..ATTEMPTS {
        // rumqttd cannot tell which port it got, so a free one is picked for it; somebody else
        // may take it in between, then the next is tried.
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let thread = spawn(address)?;
        match ready(address, &thread).await {
            Ok(()) => return Ok(address),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| io::Error::other("the broker did not start")))
}

fn spawn(address: SocketAddr) -> io::Result<JoinHandle<()>> {
    let mut broker = rumqttd::Broker::new(config(address));
    std::thread::Builder::new().name("demo-broker".into()).spawn(move || {
        if let Err(error) = broker.start() {
            tracing::error!(%error, "the demonstration's broker ended");
        }
    })
}

async fn ready(address: SocketAddr, thread: &JoinHandle<()>) -> io::Result<()> {
    let deadline = Instant::now() + READY_WITHIN;
    loop {
        let connection = tokio::net::TcpStream::connect(address).await;
        if thread.is_finished() {
            return Err(io::Error::new(io::ErrorKind::AddrInUse, "the port was taken"));
        }
        match connection {
            Ok(_) => return Ok(()),
            Err(error) if Instant::now() >= deadline => return Err(error),
            Err(_) => sleep(Duration::from_millis(2)).await,
        }
    }
}

fn config(listen: SocketAddr) -> Config {
    let connections = ConnectionSettings {
        connection_timeout_ms: 10_000,
        max_payload_size: MAX_PAYLOAD,
        max_inflight_count: 10_000,
        auth: None,
        external_auth: None,
        dynamic_filters: true,
    };
    let server = ServerSettings {
        name: "demo-broker".into(),
        listen,
        tls: None,
        next_connection_delay_ms: 1,
        connections,
    };
    let router = RouterConfig {
        max_connections: MAX_CONNECTIONS,
        max_outgoing_packet_count: 200,
        max_segment_size: SEGMENT_BYTES,
        max_segment_count: SEGMENTS,
        ..RouterConfig::default()
    };
    let v5 = Some(HashMap::from([("demo".to_owned(), server)]));
    Config { router, v5, ..Config::default() }
}
