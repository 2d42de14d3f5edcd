//! Against a scripted slave that breaks the rules of the wire.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use crate::support::{PATIENCE, device, start};

const ONE: &[(&str, &str, &str)] = &[("a", "holding:0", "u16")];
const QUICK: &str = "interval = \"20ms\"\ntimeout = \"400ms\"";
/// What a right answer holds.
const RIGHT: f64 = 42.0;
/// What an answer holds that must never be used.
const WRONG: u16 = 666;

/// A request as it came over the wire.
struct Asked {
    /// Number of the connection, and of the request on it, from 0.
    connection: usize,
    nth: usize,
    transaction: u16,
    unit: u8,
    function: u8,
    count: u16,
}

impl Asked {
    fn frame(&self, transaction: u16, unit: u8, pdu: &[u8]) -> Vec<u8> {
        let mut frame = transaction.to_be_bytes().to_vec();
        frame.extend([0, 0]);
        frame.extend(u16::try_from(pdu.len() + 1).unwrap().to_be_bytes());
        frame.push(unit);
        frame.extend(pdu);
        frame
    }

    fn pdu(&self, function: u8, words: usize, value: u16) -> Vec<u8> {
        let mut pdu = vec![function, u8::try_from(2 * words).unwrap()];
        (0..words).for_each(|_| pdu.extend(value.to_be_bytes()));
        pdu
    }

    /// A correct answer in which every register holds `value`.
    fn reply(&self, value: u16) -> Vec<u8> {
        let pdu = self.pdu(self.function, self.count.into(), value);
        self.frame(self.transaction, self.unit, &pdu)
    }
}

enum Reply {
    Say(Vec<u8>),
    Late(Duration, Vec<u8>),
    ByteByByte(Vec<u8>),
    LastWords(Vec<u8>),
    Silence,
}

fn right(asked: &Asked) -> Reply {
    Reply::Say(asked.reply(42))
}

async fn slave(script: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(run(listener, Arc::new(script)));
    port
}

async fn run(listener: TcpListener, script: Arc<impl Fn(&Asked) -> Reply + Send + Sync + 'static>) {
    let mut connections = tokio::task::JoinSet::new();
    for connection in 0.. {
        let (stream, _) = listener.accept().await.unwrap();
        connections.spawn(converse(stream, connection, Arc::clone(&script)));
    }
}

async fn converse(mut stream: TcpStream, connection: usize, script: Arc<impl Fn(&Asked) -> Reply>) {
    for nth in 0.. {
        let mut frame = [0; 12];
        if stream.read_exact(&mut frame).await.is_err() {
            return;
        }
        let word = |at: usize| u16::from_be_bytes([frame[at], frame[at + 1]]);
        assert!((1..=4).contains(&frame[7]), "only reads are sent");
        let asked = Asked {
            connection,
            nth,
            transaction: word(0),
            unit: frame[6],
            function: frame[7],
            count: word(10),
        };
        let said = match script(&asked) {
            Reply::Say(bytes) => stream.write_all(&bytes).await,
            Reply::Late(delay, bytes) => {
                sleep(delay).await;
                stream.write_all(&bytes).await
            }
            Reply::ByteByByte(bytes) => {
                stream.set_nodelay(true).unwrap();
                for byte in bytes {
                    stream.write_all(&[byte]).await.unwrap();
                    tokio::task::yield_now().await;
                }
                Ok(())
            }
            Reply::LastWords(bytes) => {
                let _ = stream.write_all(&bytes).await;
                return;
            }
            Reply::Silence => Ok(()),
        };
        if said.is_err() {
            return;
        }
    }
}

/// The first request is answered with `fault`, all others rightly: the gap is marked once, the
/// right value follows on a new connection, and the wrong one is never seen.
async fn survives(name: &str, fault: impl Fn(&Asked) -> Reply + Send + Sync + 'static) {
    let connections = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&connections);
    let port = slave(move |asked| {
        seen.fetch_max(asked.connection + 1, Ordering::Relaxed);
        if asked.connection == 0 && asked.nth == 0 { fault(asked) } else { right(asked) }
    })
    .await;
    let mut bench = start(vec![device(port, QUICK, ONE)]);
    let seen = bench.until(|values| values == [RIGHT]).await;
    assert_eq!(seen.len(), 2, "{name}: {seen:?}");
    assert!(seen[0][0].is_nan(), "{name}");
    for _ in 0..3 {
        assert_eq!(bench.values().await[0].1, RIGHT, "{name}");
    }
    assert_eq!(connections.load(Ordering::Relaxed), 2, "{name}: the connection is replaced once");
    let health = bench.health[0].snapshot();
    assert!(health.connected && health.errors == 1, "{name}: {health:?}");
    bench.stop().await;
}

#[tokio::test]
async fn fault_17_a_late_reply_is_never_used() {
    survives("late", |asked| Reply::Late(Duration::from_millis(600), asked.reply(WRONG))).await;
}

#[tokio::test]
async fn fault_17_and_fault_18_an_answer_to_another_request_unit_or_function_is_refused() {
    survives("transaction", |asked| {
        let pdu = asked.pdu(asked.function, 1, WRONG);
        Reply::Say(asked.frame(asked.transaction.wrapping_add(1), asked.unit, &pdu))
    })
    .await;
    survives("unit", |asked| {
        let pdu = asked.pdu(asked.function, 1, WRONG);
        Reply::Say(asked.frame(asked.transaction, asked.unit + 1, &pdu))
    })
    .await;
    survives("function", |asked| {
        let pdu = asked.pdu(4, 1, WRONG);
        Reply::Say(asked.frame(asked.transaction, asked.unit, &pdu))
    })
    .await;
    survives("exception of another function", |asked| {
        Reply::Say(asked.frame(asked.transaction, asked.unit, &[0x84, 0x02]))
    })
    .await;
}

#[tokio::test]
async fn fault_19_an_answer_of_the_wrong_length_is_refused() {
    for words in [0, 2, 125] {
        survives("registers", move |asked| {
            let pdu = asked.pdu(asked.function, words, WRONG);
            Reply::Say(asked.frame(asked.transaction, asked.unit, &pdu))
        })
        .await;
    }
    for pdu in [&[][..], &[3], &[3, 2], &[3, 2, 1], &[3, 1, 1], &[3, 200, 2, 2], &[0x83]] {
        survives("pdu", |asked| Reply::Say(asked.frame(asked.transaction, asked.unit, pdu))).await;
    }
}

#[tokio::test]
async fn fault_19_broken_frames_cost_a_connection_and_no_more() {
    survives("truncated", |asked| {
        let frame = asked.reply(WRONG);
        Reply::Say(frame[..frame.len() - 1].to_vec())
    })
    .await;
    survives("truncated and closed", |asked| {
        let frame = asked.reply(WRONG);
        Reply::LastWords(frame[..frame.len() - 1].to_vec())
    })
    .await;
    survives("protocol", |asked| {
        let mut frame = asked.reply(WRONG);
        frame[3] = 1;
        Reply::Say(frame)
    })
    .await;
    survives("no length", |_| Reply::Say(vec![0; 9])).await;
    survives("noise", |_| Reply::Say(vec![0xFF; 300])).await;
    survives("silence", |_| Reply::Silence).await;
    survives("closed", |_| Reply::LastWords(Vec::new())).await;
}

#[tokio::test]
async fn fault_19_split_and_coalesced_frames_are_understood() {
    let port = slave(|asked| match asked.nth % 2 {
        0 => Reply::ByteByByte(asked.reply(42)),
        _ => {
            let mut twice = asked.reply(42);
            twice.extend(asked.reply(WRONG));
            Reply::Say(twice)
        }
    })
    .await;
    let mut bench = start(vec![device(port, QUICK, ONE)]);
    for _ in 0..10 {
        assert_eq!(bench.values().await[0].1, RIGHT);
    }
    assert_eq!(bench.health[0].snapshot().errors, 0);
    bench.stop().await;
}

#[tokio::test]
async fn a_device_that_closes_idle_connections_leaves_no_gap() {
    let port = slave(|asked| match asked.nth {
        0 => right(asked),
        _ => Reply::LastWords(Vec::new()),
    })
    .await;
    let mut bench = start(vec![device(port, QUICK, ONE)]);
    for _ in 0..10 {
        assert_eq!(bench.values().await[0].1, RIGHT);
    }
    let health = bench.health[0].snapshot();
    assert_eq!((health.errors, health.connects), (0, 1));
    bench.stop().await;
}

/// A device that can be switched off and on again at the same port.
async fn switched_on(port: u16) -> (u16, JoinHandle<()>) {
    let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (port, tokio::spawn(run(listener, Arc::new(right))))
}

async fn switch_off(device: JoinHandle<()>) {
    device.abort();
    let _ = device.await;
}

#[tokio::test]
async fn fault_22_a_device_that_reboots_is_back_within_a_poll_and_a_backoff() {
    let (port, power) = switched_on(0).await;
    let settings = [("a", 1), ("b", 2)];
    let devices = settings.map(|(asset, unit)| {
        let settings = format!("asset = \"{asset}\"\nunit = {unit}\n{QUICK}");
        device(port, &settings, &[(asset, "holding:0", "u16")])
    });
    let mut bench = start(devices.to_vec());
    bench.until(|values| values == [RIGHT]).await;
    switch_off(power).await;
    bench.until(|values| values[0].is_nan()).await;
    bench.until(|values| values[0].is_nan()).await;
    let errors = bench.health[0].snapshot().errors;
    let deadline = Instant::now() + PATIENCE;
    while bench.health[0].snapshot().errors < errors + 2 {
        assert!(Instant::now() < deadline);
        sleep(Duration::from_millis(5)).await;
    }
    assert!(bench.batches.is_empty(), "the gap is marked once a unit");

    let (_, power) = switched_on(port).await;
    let back = Instant::now();
    bench.until(|values| values == [RIGHT]).await;
    assert!(back.elapsed() < Duration::from_secs(3), "{:?}", back.elapsed());
    bench.until(|values| values == [RIGHT]).await;
    assert!(bench.health.iter().all(|health| health.snapshot().connects == 2));
    bench.stop().await;
    switch_off(power).await;
}

#[tokio::test]
async fn a_device_that_comes_later_is_found() {
    let (port, power) = switched_on(0).await;
    switch_off(power).await;
    let mut bench = start(vec![device(port, QUICK, ONE)]);
    assert!(bench.values().await[0].1.is_nan());
    let health = bench.health[0].snapshot();
    assert!(!health.connected && health.last_error.unwrap().starts_with("no connection"));
    let (_, power) = switched_on(port).await;
    assert_eq!(bench.values().await[0].1, RIGHT);
    bench.stop().await;
    switch_off(power).await;
}

#[tokio::test]
async fn fault_23_a_device_slower_than_its_interval_is_asked_once_at_a_time() {
    const SLOW: Duration = Duration::from_millis(55);
    let asked_in_all = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked_in_all);
    let port = slave(move |asked| {
        count.fetch_add(1, Ordering::Relaxed);
        Reply::Late(SLOW, asked.reply(42))
    })
    .await;
    let settings = "interval = \"10ms\"\ntimeout = \"10s\"";
    let mut bench = start(vec![device(port, settings, ONE)]);
    let first = bench.batch().await.received;
    let mut last = first;
    for _ in 0..10 {
        last = bench.batch().await.received;
    }
    assert!(last.since(first) >= 10 * SLOW);
    let asked = asked_in_all.load(Ordering::Relaxed);
    assert!(asked <= 12, "{asked} requests for 11 polls");
    assert_eq!(bench.health[0].snapshot().messages, 11);
    let polling = &bench.health[0].polling;
    assert_eq!(polling.polls.load(Ordering::Relaxed), 11, "what was achieved");
    assert!(polling.skipped.load(Ordering::Relaxed) >= 44, "and what was not");
    assert!(polling.round_trips.sum() >= 11.0 * SLOW.as_secs_f64());
    bench.stop().await;
}

#[tokio::test]
async fn fault_24_one_silent_device_does_not_delay_another() {
    let silent = slave(|_| Reply::Silence).await;
    let alive = slave(right).await;
    let mut waiting = start(vec![device(silent, "timeout = \"60s\"", ONE)]);
    let mut bench = start(vec![device(alive, QUICK, ONE)]);
    for _ in 0..20 {
        assert_eq!(bench.values().await[0].1, RIGHT);
    }
    assert!(waiting.batches.try_recv().is_err());
    waiting.stop().await;
    bench.stop().await;
}

#[tokio::test]
async fn fault_24_a_silent_unit_costs_its_neighbours_one_timeout_now_and_then() {
    let port = slave(|asked| if asked.unit == 2 { Reply::Silence } else { right(asked) }).await;
    let of = |asset: &str, unit: u8| {
        let settings = format!("asset = \"{asset}\"\nunit = {unit}\n{QUICK}");
        device(port, &settings, &[(asset, "holding:0", "u16")])
    };
    let mut bench = start(vec![of("silent", 2), of("alive", 1)]);
    let mut gaps = 0;
    let mut polls = 0;
    let begin = Instant::now();
    while polls < 100 {
        let (name, value) = timeout(PATIENCE, bench.values()).await.unwrap().remove(0);
        if name == "silent" {
            assert!(value.is_nan());
            gaps += 1;
        } else {
            assert_eq!(value, RIGHT);
            polls += 1;
        }
    }
    let took = begin.elapsed();
    assert_eq!(gaps, 1);
    let failures = bench.health[0].snapshot().errors;
    let most = 1 + took.as_millis() / 2000;
    assert!(u128::from(failures) <= most, "{failures} attempts at the silent unit in {took:?}");
    assert_eq!(bench.health[1].snapshot().errors, 0);
    bench.stop().await;
}
