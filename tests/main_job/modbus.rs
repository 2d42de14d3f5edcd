//! Modbus in the whole daemon: what metrics and API say of devices that answer, refuse and are gone.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::PATIENCE;
use super::board::json;
use super::plant::{Daemon, Plant};

/// A device whose register 0 is 7 and whose registers 10 and 11 are a float that is no number; it
/// has no other.
async fn device() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut frame = [0; 12];
                while stream.read_exact(&mut frame).await.is_ok() {
                    let pdu: &[u8] = match frame[7..] {
                        [3, 0, 0, 0, 1] => &[3, 2, 0, 7],
                        [3, 0, 10, 0, 2] => &[3, 4, 0x7F, 0xC0, 0, 0],
                        _ => &[0x83, 2],
                    };
                    let length = u8::try_from(pdu.len() + 1).expect("a short answer");
                    let mut answer = vec![frame[0], frame[1], 0, 0, 0, length, frame[6]];
                    answer.extend(pdu);
                    if stream.write_all(&answer).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    port
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_device_of_an_asset_has_its_metrics_and_fault_26_no_number_is_null() {
    let plant = Plant::new("").await;
    let port = device().await;
    plant.rewrite(|text| {
        let devices = format!(
            "[[modbus]]\nasset = \"press-1\"\naddress = \"tcp://127.0.0.1:{port}\"\n\
             interval = \"20ms\"\ngap = 0\nregister = [\n\
             {{ tag = \"seven\", address = \"holding:0\" }},\n\
             {{ tag = \"none\", address = \"holding:10\", type = \"f32\" }},\n\
             {{ tag = \"absent\", address = \"holding:99\" }},\n]\n\
             [[modbus]]\nasset = \"press-1\"\naddress = \"tcp://127.0.0.1:9\"\nunit = 3\n\
             register = [{{ tag = \"gone\", address = \"holding:0\" }}]\n"
        );
        text.replace("[store]", &format!("{devices}[store]"))
    });
    let daemon = Daemon::start_unready(&plant).await;
    let alive = format!("source=\"modbus:press-1 (unit 1 at tcp://127.0.0.1:{port})\"");
    let gone = "source=\"modbus:press-1 (unit 3 at tcp://127.0.0.1:9)\"";
    let series = |page: &str, start: &str| -> Option<f64> {
        let line = page.lines().find(|line| line.starts_with(start))?;
        line.rsplit_once(' ')?.1.parse().ok()
    };
    let polled = async {
        loop {
            let page = daemon.get("/metrics").await;
            let failed = format!("andon_poll_errors_total{{{gone},kind=\"connect\"}}");
            let polls = series(&page, &format!("andon_polls_total{{{alive}}}"));
            if polls >= Some(5.0) && series(&page, &failed) >= Some(1.0) {
                return page;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let page = tokio::time::timeout(PATIENCE, polled).await.expect("both have been polled");
    let of = |name: &str, labels: &str| {
        series(&page, &format!("{name}{{{labels}")).unwrap_or_else(|| panic!("{name}:\n{page}"))
    };
    assert_eq!(of("andon_source_connected", &alive), 1.0);
    assert_eq!(of("andon_source_connected", gone), 0.0);
    assert!(of("andon_poll_errors_total", &format!("{alive},kind=\"exception\"")) >= 1.0);
    assert_eq!(of("andon_poll_errors_total", &format!("{alive},kind=\"timeout\"")), 0.0);
    assert!(of("andon_poll_round_trip_seconds_count", &alive) >= 10.0);
    assert!(of("andon_poll_lateness_seconds_count", &alive) >= 4.0);
    assert_eq!(of("andon_polls_total", gone), 0.0);
    let connected = page.lines().filter(|line| line.starts_with("andon_source_connected{"));
    assert_eq!(connected.filter(|line| line.contains("modbus:")).count(), 2, "{page}");

    let asset = json(&daemon.get("/api/v1/assets/press-1").await);
    let readings = asset["readings"].as_array().expect("readings");
    let value = |tag: &str| {
        let reading = readings.iter().find(|reading| reading["tag"] == tag).expect("a reading");
        (reading["value"].as_f64(), reading["quality"].as_str().map(str::to_owned))
    };
    assert_eq!(value("seven"), (Some(7.0), Some("good".to_owned())));
    for tag in ["none", "absent", "gone"] {
        assert_eq!(value(tag), (None, Some("bad".to_owned())), "{tag}");
    }
    daemon.stop().await;
}
