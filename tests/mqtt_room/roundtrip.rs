//! The whole way through a real broker, in this process.

use std::net::TcpListener;

use andon::message::Message;
use rumqttd::{Broker, Config};

use crate::egress::{Out, message};
use crate::{Running, broker, numbers, until};

/// A broker on a port that was free a moment ago. It ends with the process.
fn start_broker() -> u16 {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let config: Config = serde_json::from_value(serde_json::json!({
        "id": 0,
        "router": {
            "max_connections": 20, "max_outgoing_packet_count": 200,
            "max_segment_size": 1_048_576, "max_segment_count": 10
        },
        "v5": { "plant": {
            "name": "plant", "listen": format!("127.0.0.1:{port}"),
            "next_connection_delay_ms": 1,
            "connections": {
                "connection_timeout_ms": 60_000, "max_payload_size": 1_048_576,
                "max_inflight_count": 100, "dynamic_filters": true
            }
        }}
    }))
    .unwrap();
    std::thread::spawn(move || drop(Broker::new(config).start()));
    port
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_published_arrives_once_and_is_confirmed() {
    const MESSAGES: usize = 2000;
    let port = start_broker();
    let mut running = Running::start(broker(port), vec![numbers("plant/{asset}/{tag}", 1)]);
    let out = Out::start(port);
    out.up().await;
    until("the ingest is connected", || running.health.snapshot().connected).await;

    let publisher = out.publisher.clone();
    let publishing = tokio::spawn(async move {
        // The subscription may come a moment after the connection: so first until one arrives.
        for n in 0..MESSAGES {
            let body = n.to_string().into();
            let message = Message { body, ..message("plant/press/pressure", "") };
            publisher.publish(message).await.unwrap();
        }
    });
    let mut last = -1.0;
    while last < (MESSAGES - 1) as f64 {
        let batch = running.batch().await;
        for (tag, value) in running.values(&batch) {
            assert_eq!(tag, "pressure");
            assert!(last < 0.0 || value == last + 1.0, "{last} was followed by {value}");
            last = value;
        }
        batch.receipt.expect("QoS 1 wants a receipt").settle();
    }
    publishing.await.unwrap();
    assert_eq!(running.health.snapshot().connects, 1);
}
