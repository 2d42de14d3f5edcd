//! Against tokio-modbus's own server.

use std::collections::BTreeSet;
use std::future::{Ready, ready};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use andon::decode::registers::encode;
use andon::settings::{RegisterType, WordOrder};
use tokio::net::TcpListener;
use tokio::time::Instant;
use tokio_modbus::server::Service;
use tokio_modbus::server::tcp::{Server, accept_tcp_connection};
use tokio_modbus::{ExceptionCode, Request, Response, SlaveRequest};

use crate::support::{PATIENCE, device, start, start_with};

/// A device whose tables hold what the test puts there.
#[derive(Default)]
pub(crate) struct Plc {
    pub(crate) words: Mutex<Vec<u16>>,
    /// Registers that do not exist.
    pub(crate) absent: BTreeSet<u16>,
    pub(crate) busy: AtomicBool,
    pub(crate) reads: AtomicU64,
    pub(crate) others: AtomicU64,
    /// Units that a gateway cannot reach.
    pub(crate) dead: BTreeSet<u8>,
}

impl Plc {
    pub(crate) fn with_words(words: Vec<u16>) -> Self {
        Self { words: Mutex::new(words), ..Self::default() }
    }

    fn answer(&self, unit: u8, request: &Request<'_>) -> Result<Response, ExceptionCode> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        if self.dead.contains(&unit) {
            return Err(ExceptionCode::GatewayTargetDevice);
        }
        if self.busy.load(Ordering::Relaxed) {
            return Err(ExceptionCode::ServerDeviceBusy);
        }
        let words = |start: u16, count: u16| {
            let all = self.words.lock().unwrap();
            let range = usize::from(start)..usize::from(start) + usize::from(count);
            if (start..start + count).any(|register| self.absent.contains(&register)) {
                return Err(ExceptionCode::IllegalDataAddress);
            }
            all.get(range).map(<[u16]>::to_vec).ok_or(ExceptionCode::IllegalDataAddress)
        };
        let bits = |start, count| {
            words(start, count).map(|words| words.into_iter().map(|word| word != 0).collect())
        };
        match *request {
            Request::ReadCoils(start, count) => bits(start, count).map(Response::ReadCoils),
            Request::ReadDiscreteInputs(start, count) => {
                bits(start, count).map(Response::ReadDiscreteInputs)
            }
            Request::ReadInputRegisters(start, count) => {
                words(start, count).map(Response::ReadInputRegisters)
            }
            Request::ReadHoldingRegisters(start, count) => {
                words(start, count).map(Response::ReadHoldingRegisters)
            }
            _ => {
                self.others.fetch_add(1, Ordering::Relaxed);
                Err(ExceptionCode::IllegalFunction)
            }
        }
    }
}

struct Handle(Arc<Plc>);

impl Service for Handle {
    type Request = SlaveRequest<'static>;
    type Response = Response;
    type Exception = ExceptionCode;
    type Future = Ready<Result<Response, ExceptionCode>>;

    fn call(&self, asked: Self::Request) -> Self::Future {
        ready(self.0.answer(asked.slave, &asked.request))
    }
}

/// Serves `plc` on a free port for as long as the test runs.
pub(crate) async fn serve(plc: Arc<Plc>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let connected = |stream: tokio::net::TcpStream, address| {
            let plc = Arc::clone(&plc);
            async move {
                stream.set_nodelay(true)?;
                accept_tcp_connection(stream, address, move |_| Ok(Some(Handle(Arc::clone(&plc)))))
            }
        };
        Server::new(listener).serve(&connected, |_| ()).await.unwrap();
    });
    port
}

#[tokio::test]
async fn all_tables_types_and_orders_arrive_as_they_were_set() {
    let kinds = [
        ("u16", RegisterType::U16, 65_000.0),
        ("i16", RegisterType::I16, -12_345.0),
        ("u32", RegisterType::U32, 4_000_000_000.0),
        ("i32", RegisterType::I32, -2_000_000_000.0),
        ("u64", RegisterType::U64, 9_007_199_254_740_991.0),
        ("i64", RegisterType::I64, -9_007_199_254_740_991.0),
        ("f32", RegisterType::F32, 23.5),
        ("f64", RegisterType::F64, -1.0e-300),
    ];
    let orders = [
        ("ABCD", WordOrder::Abcd),
        ("CDAB", WordOrder::Cdab),
        ("BADC", WordOrder::Badc),
        ("DCBA", WordOrder::Dcba),
    ];
    for (name, order) in orders {
        let mut words = vec![0; 8];
        words[5] = 1;
        let mut registers = vec![
            ("coil".to_owned(), "coil:5".to_owned(), "u16"),
            ("discrete".to_owned(), "discrete:0x4".to_owned(), "u16"),
        ];
        let mut expected = vec![("coil".to_owned(), 1.0), ("discrete".to_owned(), 0.0)];
        for (text, kind, value) in kinds {
            for table in ["input", "holding"] {
                registers.push((
                    format!("{table}-{text}"),
                    format!("{table}:{}", words.len()),
                    text,
                ));
                expected.push((format!("{table}-{text}"), value));
            }
            words.extend(encode(kind, order, value));
        }
        let registers: Vec<(&str, &str, &str)> =
            registers.iter().map(|(tag, at, kind)| (tag.as_str(), at.as_str(), *kind)).collect();
        let plc = Arc::new(Plc::with_words(words));
        let port = serve(Arc::clone(&plc)).await;
        let mut bench = start(vec![device(port, &format!("order = \"{name}\""), &registers)]);
        assert_eq!(bench.values().await, expected, "{name}");
        assert_eq!(plc.reads.load(Ordering::Relaxed), 4, "one request a table");
        assert_eq!(plc.others.load(Ordering::Relaxed), 0);
        bench.stop().await;
    }
}

#[tokio::test]
async fn a_poll_is_counted_timed_and_seen_in_health() {
    let port = serve(Arc::new(Plc::with_words(vec![7; 4]))).await;
    let registers = [("a", "holding:0", "u16"), ("b", "holding:2", "f32")];
    let mut bench = start(vec![device(port, "interval = \"20ms\"", &registers)]);
    let first = bench.batch().await;
    let second = bench.batch().await;
    let gap = second.received.since(first.received);
    assert!(gap > Duration::from_millis(5), "{gap:?}");
    assert_eq!(first.samples[0].time, first.received);
    let health = bench.health[0].snapshot();
    assert!(health.connected && health.connects == 1 && health.messages >= 2);
    assert!(health.last_data >= Some(second.received));
    assert!(bench.ledger.totals().received >= 4);
    bench.stop().await;
}

#[tokio::test]
async fn the_schedule_keeps_its_rate() {
    let port = serve(Arc::new(Plc::with_words(vec![7; 4]))).await;
    let mut bench = start(vec![device(port, "interval = \"20ms\"", &[("a", "holding:0", "u16")])]);
    let first = bench.batch().await.received;
    let mut last = first;
    for _ in 0..50 {
        last = bench.batch().await.received;
    }
    // Skipped polls may make it longer on a busy machine, never shorter.
    assert!(last.since(first) >= Duration::from_millis(980), "{:?}", last.since(first));
    bench.stop().await;
}

#[tokio::test]
async fn fault_21_one_absent_register_of_a_block_is_isolated_and_the_others_are_still_polled() {
    let absent = BTreeSet::from([13]);
    let words = Mutex::new((0..40).collect());
    let plc = Arc::new(Plc { words, absent, ..Plc::default() });
    let port = serve(Arc::clone(&plc)).await;
    let names: Vec<(String, String)> =
        (0..20).map(|i| (format!("t{i}"), format!("holding:{}", 2 * i + 1))).collect();
    let registers: Vec<_> = names.iter().map(|(t, a)| (t.as_str(), a.as_str(), "u16")).collect();
    let mut bench = start(vec![device(port, "interval = \"20ms\"", &registers)]);
    for poll in 0..3 {
        for (index, (_, value)) in bench.values().await.into_iter().enumerate() {
            if index == 6 {
                assert!(value.is_nan(), "poll {poll}");
            } else {
                assert_eq!(value, (2 * index + 1) as f64, "poll {poll}");
            }
        }
    }
    let health = bench.health[0].snapshot();
    assert!(health.connected && health.connects == 1);
    assert!(health.last_error.unwrap().contains("exception 0x02"));
    bench.stop().await;
}

#[tokio::test]
async fn fault_20_a_busy_device_gives_bad_samples_and_keeps_its_link() {
    let plc = Arc::new(Plc::with_words(vec![7; 4]));
    plc.busy.store(true, Ordering::Relaxed);
    let port = serve(Arc::clone(&plc)).await;
    let mut bench = start(vec![device(port, "interval = \"20ms\"", &[("a", "input:0", "u16")])]);
    for _ in 0..8 {
        assert!(bench.values().await[0].1.is_nan());
    }
    assert!(plc.reads.load(Ordering::Relaxed) < 8, "it is not asked at every poll");
    plc.busy.store(false, Ordering::Relaxed);
    let seen = bench.until(|values| values == [7.0]).await;
    assert!(seen.iter().flatten().all(|value| value.is_nan() || *value == 7.0));
    assert_eq!(bench.health[0].snapshot().connects, 1);
    bench.stop().await;
}

#[tokio::test]
async fn fault_26_numbers_that_are_none_are_missing() {
    let mut words = encode(RegisterType::F32, WordOrder::Abcd, f64::NAN);
    words.extend(encode(RegisterType::F32, WordOrder::Abcd, f64::INFINITY));
    let port = serve(Arc::new(Plc::with_words(words))).await;
    let registers = [("nan", "input:0", "f32"), ("inf", "input:2", "f32")];
    let mut bench = start(vec![device(port, "", &registers)]);
    assert!(bench.values().await.iter().all(|(_, value)| value.is_nan()));
    bench.stop().await;
}

#[tokio::test]
async fn fault_24_a_unit_that_the_gateway_cannot_reach_does_not_hold_up_its_neighbour() {
    let words = Mutex::new(vec![7; 4]);
    let plc = Arc::new(Plc { words, dead: BTreeSet::from([2]), ..Plc::default() });
    let port = serve(Arc::clone(&plc)).await;
    let a = |name: &str, unit: u8| {
        let settings = format!("asset = \"{name}\"\nunit = {unit}\ninterval = \"20ms\"");
        device(port, &settings, &[(name, "holding:0", "u16")])
    };
    let mut bench = start(vec![a("alive", 1), a("dead", 2)]);
    let mut polls = 0;
    let mut gaps = 0;
    while polls < 20 {
        for (name, value) in bench.values().await {
            if name == "dead" {
                assert!(value.is_nan());
                gaps += 1;
            } else {
                assert_eq!(value, 7.0);
                polls += 1;
            }
        }
    }
    assert_eq!(gaps, 1, "the gap is marked once");
    let up: Vec<bool> = bench.health.iter().map(|health| health.snapshot().connected).collect();
    assert_eq!(up, [true, false]);
    assert_eq!(bench.health[0].snapshot().connects, 1);
    bench.stop().await;
}

#[tokio::test]
async fn samples_without_room_in_the_registry_or_the_queue_are_counted() {
    let port = serve(Arc::new(Plc::with_words(vec![7; 4]))).await;
    let registers = [("a", "holding:0", "u16"), ("b", "holding:1", "u16")];
    let mut bench = start_with(vec![device(port, "interval = \"20ms\"", &registers)], 1, 1);
    let deadline = Instant::now() + PATIENCE;
    while bench.ledger.totals().shed_total() < 2 {
        assert!(Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(bench.batch().await.samples.len(), 1);
    let totals = bench.ledger.totals();
    assert!(totals.rejected_total() >= 3);
    assert_eq!(totals.received % 2, 0);
    bench.stop().await;
}

#[tokio::test]
async fn the_poller_ends_when_nobody_takes_its_batches() {
    let port = serve(Arc::new(Plc::with_words(vec![7; 4]))).await;
    let mut bench = start(vec![device(port, "interval = \"20ms\"", &[("a", "holding:0", "u16")])]);
    bench.batches.close();
    while bench.batches.recv().await.is_some() {}
    bench.ended().await;
}
