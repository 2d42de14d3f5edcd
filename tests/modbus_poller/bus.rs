//! What a bus wants besides its frames: its settings, its silences, and a fair share for each unit.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use andon::modbus::group;
use tokio::net::TcpListener;
use tokio::time::Instant;
use tokio_serial::{DataBits, SerialPort as _, StopBits};

use crate::lines::{Asked, Line, ONE, RIGHT, Said, right, slave};
use crate::support::{Bench, device_at, start};

#[tokio::test]
async fn a_line_is_set_up_by_whichever_of_its_devices_says_so() {
    let line = Line::new(right);
    let plain = device_at(&line.address(), "unit = 1", ONE);
    let said = device_at(
        &line.address(),
        "unit = 2\nserial = { baud = 9600, parity = \"none\", stop_bits = 2 }",
        ONE,
    );
    let groups = group(&[plain, said]);
    assert_eq!(groups.len(), 1);
    assert!(groups[0].iter().all(|device| device.serial.as_ref().unwrap().baud == 9600));
    let mut bench = start(groups.into_iter().next().unwrap());
    assert_eq!(bench.values().await[0].1, f64::from(RIGHT));
    assert_eq!(bench.values().await[0].1, f64::from(RIGHT));
    // What the port has been told; a pseudo-terminal keeps no parity.
    assert_eq!(line.near.baud_rate().unwrap(), 9600);
    assert_eq!(line.near.stop_bits().unwrap(), StopBits::Two);
    assert_eq!(line.near.data_bits().unwrap(), DataBits::Eight);
    bench.stop().await;
}

/// When each request came to a line with these settings, for four polls.
async fn times(settings: &str) -> Vec<Instant> {
    let times = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&times);
    let line = Line::new(move |asked| {
        noted.lock().unwrap().push(Instant::now());
        right(asked)
    });
    let settings = format!("interval = \"20ms\"\n{settings}");
    let mut bench = start(vec![device_at(&line.address(), &settings, ONE)]);
    for _ in 0..4 {
        bench.values().await;
    }
    bench.stop().await;
    let times = times.lock().unwrap();
    times.clone()
}

#[tokio::test]
async fn a_pause_and_a_frame_gap_are_kept_between_an_answer_and_the_next_request() {
    const SILENCE: Duration = Duration::from_millis(60);
    for settings in ["pause = \"60ms\"", "serial = { frame_gap = \"60ms\" }"] {
        let times = times(settings).await;
        assert!(times.windows(2).all(|pair| pair[1] - pair[0] >= SILENCE), "{settings}: {times:?}");
    }
    // Without either a 20 ms interval is kept: the line above is not merely slow.
    let times = times("").await;
    let shortest = times.windows(2).map(|pair| pair[1] - pair[0]).min();
    assert!(shortest < Some(SILENCE), "{times:?}");
}

/// How long a unit of the busy bus takes to answer.
const ANSWER: Duration = Duration::from_millis(4);

fn slow(asked: &Asked) -> Vec<Said> {
    vec![(ANSWER, asked.reply(asked.unit, RIGHT))]
}

/// Polls finished and skipped by each device, once `index` has finished `count`.
async fn polled(bench: &mut Bench, index: usize, count: u64) -> Vec<(u64, u64)> {
    while bench.health[index].polling.polls.load(Ordering::Relaxed) < count {
        bench.values().await;
    }
    let of = |n: usize| &bench.health[n].polling;
    let load = |n| (of(n).polls.load(Ordering::Relaxed), of(n).skipped.load(Ordering::Relaxed));
    (0..bench.health.len()).map(load).collect()
}

#[tokio::test]
async fn a_talkative_unit_leaves_the_others_of_its_bus_their_turns() {
    // Forty requests a poll keep the bus busy for ever; the quiet unit has one.
    let names: Vec<(String, String)> =
        (0..40).map(|n| (format!("t{n}"), format!("holding:{}", 10 * n))).collect();
    let many: Vec<(&str, &str, &str)> =
        names.iter().map(|(tag, at)| (tag.as_str(), at.as_str(), "u16")).collect();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&asked);
    let line = Line::new(move |asked| {
        noted.lock().unwrap().push(asked.unit);
        slow(asked)
    });
    let talkative = "asset = \"talkative\"\nunit = 1\ninterval = \"10ms\"\ngap = 0";
    let quiet = "asset = \"quiet\"\nunit = 2\ninterval = \"10ms\"";
    let mut bench = start(vec![
        device_at(&line.address(), talkative, &many),
        device_at(&line.address(), quiet, ONE),
    ]);
    let polls = polled(&mut bench, 1, 60).await;
    bench.stop().await;
    assert!(polls[0].0 >= 1, "the talkative one comes to its end as well: {polls:?}");
    // While both are due they alternate: the quiet one never waits for two requests of the other.
    let asked = asked.lock().unwrap();
    let first = asked.iter().position(|unit| *unit == 2).unwrap();
    let longest = asked[first..].chunk_by(|a, b| a == b).filter(|turns| turns[0] == 1);
    let longest = longest.map(<[u8]>::len).max();
    assert!(longest <= Some(4), "{longest:?} requests in a row: {asked:?}");
}

#[tokio::test]
async fn units_that_ask_for_more_than_the_gateway_can_carry_get_the_same_share() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("rtu+tcp://{}", listener.local_addr().unwrap());
    let counts = Arc::new(Mutex::new(BTreeMap::<u8, u64>::new()));
    let noted = Arc::clone(&counts);
    let gateway = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let script = move |asked: &Asked| {
            *noted.lock().unwrap().entry(asked.unit).or_default() += 1;
            slow(asked)
        };
        slave(stream, script).await;
    });
    let of = |unit: u8| {
        let settings = format!("asset = \"a{unit}\"\nunit = {unit}\ninterval = \"10ms\"");
        device_at(&address, &settings, ONE)
    };
    let mut bench = start((1..=5).map(of).collect());
    polled(&mut bench, 0, 40).await;
    bench.stop().await;
    gateway.abort();
    let counts = counts.lock().unwrap();
    let (least, most) = (counts.values().min().unwrap(), counts.values().max().unwrap());
    assert!(counts.len() == 5 && most - least <= 1, "{counts:?}");
}
