//! Serial lines: RTU over a pair of pseudo-terminals, and over TCP.

use std::os::unix::fs::symlink;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use andon::decode::registers::encode;
use andon::health::PollError;
use andon::settings::{RegisterType, WordOrder};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use tokio_serial::{SerialPort as _, SerialStream};

use crate::support::{Rows, device_at, start};

pub(crate) const ONE: Rows<'_> = &[("a", "holding:0", "u16")];
pub(crate) const RIGHT: u16 = 42;
/// What must never be used.
const WRONG: u16 = 666;

/// A request as it came over the line.
#[derive(Clone, Copy)]
pub(crate) struct Asked {
    /// Number of the request on this line, from 0.
    nth: usize,
    pub(crate) unit: u8,
    function: u8,
    pub(crate) start: u16,
    pub(crate) count: u16,
}

impl Asked {
    /// The answer in which every register holds `value`.
    pub(crate) fn reply(&self, unit: u8, value: u16) -> Vec<u8> {
        self.words(unit, &vec![value; self.count.into()])
    }

    pub(crate) fn words(&self, unit: u8, words: &[u16]) -> Vec<u8> {
        let mut frame = vec![unit, self.function, u8::try_from(2 * words.len()).unwrap()];
        words.iter().for_each(|word| frame.extend(word.to_be_bytes()));
        sealed(frame)
    }
}

/// With its check sum: computed bit by bit here, from a table in the daemon.
fn sealed(mut frame: Vec<u8>) -> Vec<u8> {
    let mut crc = 0xFFFF_u16;
    for byte in &frame {
        crc ^= u16::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0xA001 } else { crc >> 1 };
        }
    }
    frame.extend(crc.to_le_bytes());
    frame
}

/// What is said, and after how long.
pub(crate) type Said = (Duration, Vec<u8>);

pub(crate) fn now(bytes: Vec<u8>) -> Said {
    (Duration::ZERO, bytes)
}

pub(crate) async fn slave(
    mut line: impl AsyncRead + AsyncWrite + Unpin,
    script: impl Fn(&Asked) -> Vec<Said>,
) {
    for nth in 0.. {
        let mut frame = [0; 8];
        if line.read_exact(&mut frame).await.is_err() {
            return;
        }
        assert!((1..=4).contains(&frame[1]), "only reads are sent");
        assert_eq!(sealed(frame[..6].to_vec()), frame, "the check sum is right");
        let word = |at: usize| u16::from_be_bytes([frame[at], frame[at + 1]]);
        let (unit, function) = (frame[0], frame[1]);
        let asked = Asked { nth, unit, function, start: word(2), count: word(4) };
        for (delay, bytes) in script(&asked) {
            if !delay.is_zero() {
                sleep(delay).await;
            }
            if line.write_all(&bytes).await.is_err() {
                return;
            }
        }
    }
}

/// A line with a slave at its other end. The near end stays open, as a driver's port does.
pub(crate) struct Line {
    path: String,
    task: JoinHandle<()>,
    pub(crate) near: SerialStream,
}

impl Line {
    pub(crate) fn new(script: impl Fn(&Asked) -> Vec<Said> + Send + 'static) -> Self {
        let (far, near) = SerialStream::pair().unwrap();
        let path = near.name().unwrap();
        let task = tokio::spawn(slave(far, script));
        Self { path, task, near }
    }

    pub(crate) fn address(&self) -> String {
        format!("rtu://{}", self.path)
    }

    /// The adapter is pulled out.
    async fn pull_out(self) {
        self.task.abort();
        let _ = self.task.await;
    }
}

pub(crate) fn right(asked: &Asked) -> Vec<Said> {
    vec![now(asked.reply(asked.unit, RIGHT))]
}

#[tokio::test]
async fn all_types_and_orders_arrive_over_a_serial_line_and_over_rtu_in_tcp() {
    for order in WordOrder::ALL {
        let mut words = Vec::new();
        let mut names = Vec::new();
        for kind in RegisterType::NUMBERS {
            let value = if kind == RegisterType::Bcd16 { 1234.0 } else { 23.0 };
            names.push((kind.as_str().to_owned(), format!("holding:{}", words.len()), value));
            words.extend(encode(kind, order, value));
        }
        let rows: Vec<(&str, &str, &str)> =
            names.iter().map(|(kind, at, _)| (kind.as_str(), at.as_str(), kind.as_str())).collect();
        let expected: Vec<(String, f64)> =
            names.iter().map(|(kind, _, value)| (kind.clone(), *value)).collect();
        let script = move |asked: &Asked| {
            let range = usize::from(asked.start)..usize::from(asked.start + asked.count);
            vec![now(asked.words(asked.unit, &words[range]))]
        };
        let settings = format!("order = \"{}\"\nunit = 17", order.as_str());

        let line = Line::new(script.clone());
        let mut bench = start(vec![device_at(&line.address(), &settings, &rows)]);
        assert_eq!(bench.values().await, expected);
        bench.stop().await;

        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("rtu+tcp://{}", listener.local_addr().unwrap());
        let converter = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            slave(stream, script).await;
        });
        let mut bench = start(vec![device_at(&address, &settings, &rows)]);
        assert_eq!(bench.values().await, expected);
        bench.stop().await;
        converter.abort();
    }
}

#[tokio::test]
async fn fault_17_on_a_line_a_late_reply_is_never_taken_for_the_next() {
    const LIMIT: Duration = Duration::from_millis(150);
    let line = Line::new(move |asked| match asked.nth {
        0 => vec![(2 * LIMIT, asked.reply(asked.unit, WRONG))],
        _ => right(asked),
    });
    let settings = "interval = \"20ms\"\ntimeout = \"150ms\"";
    let mut bench = start(vec![device_at(&line.address(), settings, ONE)]);
    let seen = bench.until(|values| values == [f64::from(RIGHT)]).await;
    assert!(seen.len() == 2 && seen[0][0].is_nan(), "{seen:?}");
    for _ in 0..5 {
        assert_eq!(bench.values().await[0].1, f64::from(RIGHT));
    }
    assert_eq!(bench.health[0].polling.errors(PollError::Timeout), 1);
    bench.stop().await;
}

#[tokio::test]
async fn fault_18_on_a_line_the_answer_of_another_unit_is_passed_over() {
    let line = Line::new(|asked| {
        let mut bytes = asked.reply(asked.unit + 1, WRONG);
        bytes.extend(asked.reply(asked.unit, RIGHT));
        vec![now(bytes)]
    });
    let mut bench = start(vec![device_at(&line.address(), "interval = \"20ms\"", ONE)]);
    for _ in 0..5 {
        assert_eq!(bench.values().await[0].1, f64::from(RIGHT));
    }
    assert_eq!(bench.health[0].snapshot().errors, 0);
    bench.stop().await;
}

#[tokio::test]
async fn fault_19_noise_and_broken_check_sums_on_a_line_cost_a_gap_and_no_more() {
    type Fault = (&'static str, fn(&Asked) -> Vec<Said>);
    let faults: [Fault; 3] = [
        ("check sum", |asked| {
            let mut frame = asked.reply(asked.unit, WRONG);
            frame[3] ^= 0x40;
            vec![now(frame)]
        }),
        ("truncated", |asked| {
            let mut frame = asked.reply(asked.unit, WRONG);
            frame.pop();
            vec![now(frame)]
        }),
        ("noise", |_| vec![now(vec![0xFF; 700])]),
    ];
    for (name, fault) in faults {
        let line = Line::new(move |asked| if asked.nth == 0 { fault(asked) } else { right(asked) });
        let settings = "interval = \"20ms\"\ntimeout = \"150ms\"";
        let mut bench = start(vec![device_at(&line.address(), settings, ONE)]);
        let seen = bench.until(|values| values == [f64::from(RIGHT)]).await;
        assert!(seen.len() == 2 && seen[0][0].is_nan(), "{name}: {seen:?}");
        bench.stop().await;
    }
}

#[tokio::test]
async fn a_glitch_before_an_answer_and_an_answer_in_pieces_cost_nothing() {
    let line = Line::new(|asked| {
        let mut bytes = vec![0x00];
        bytes.extend(asked.reply(asked.unit, RIGHT));
        let rest = bytes.split_off(4);
        vec![now(bytes), (Duration::from_millis(5), rest)]
    });
    let mut bench = start(vec![device_at(&line.address(), "interval = \"20ms\"", ONE)]);
    for _ in 0..5 {
        assert_eq!(bench.values().await[0].1, f64::from(RIGHT));
    }
    assert_eq!(bench.health[0].snapshot().errors, 0);
    bench.stop().await;
}

#[tokio::test]
async fn fault_24_one_dead_slave_on_a_line_costs_its_neighbours_nearly_nothing() {
    let asked_dead = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked_dead);
    let line = Line::new(move |asked| {
        if asked.unit == 2 {
            count.fetch_add(1, Ordering::Relaxed);
            return Vec::new();
        }
        right(asked)
    });
    let of = |asset: &str, unit: u8| {
        let settings =
            format!("asset = \"{asset}\"\nunit = {unit}\ninterval = \"50ms\"\ntimeout = \"100ms\"");
        device_at(&line.address(), &settings, &[(asset, "holding:0", "u16")])
    };
    let mut bench = start(vec![of("first", 1), of("dead", 2), of("third", 3)]);
    let begin = Instant::now();
    let (mut polls, mut gaps) = (0, 0);
    while polls < 120 {
        let (name, value) = bench.values().await.remove(0);
        if name == "dead" {
            assert!(value.is_nan());
            gaps += 1;
        } else {
            assert_eq!(value, f64::from(RIGHT), "{name}");
            polls += 1;
        }
    }
    let took = begin.elapsed();
    assert_eq!(gaps, 1);
    // After each timeout of 100 ms it rests for four at least, and longer each time.
    let attempts = asked_dead.load(Ordering::Relaxed);
    assert!(attempts as u128 <= 1 + took.as_millis() / 500, "{attempts} in {took:?}");
    assert_eq!(bench.health[1].polling.errors(PollError::Timeout), attempts as u64);
    bench.stop().await;
}

#[tokio::test]
async fn fault_25_a_serial_port_that_comes_back_under_another_number_is_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let by_id = folder.path().join("usb-FTDI_FT232R_A50285BI-if00-port0");
    let first = Line::new(right);
    symlink(&first.path, &by_id).unwrap();
    let address = format!("rtu://{}", by_id.display());
    let settings = "interval = \"20ms\"\ntimeout = \"200ms\"";
    let mut bench = start(vec![device_at(&address, settings, ONE)]);
    bench.until(|values| values == [f64::from(RIGHT)]).await;

    first.pull_out().await;
    std::fs::remove_file(&by_id).unwrap();
    bench.until(|values| values[0].is_nan()).await;

    let second = Line::new(|asked| vec![now(asked.reply(asked.unit, RIGHT + 1))]);
    symlink(&second.path, &by_id).unwrap();
    bench.until(|values| values == [f64::from(RIGHT + 1)]).await;
    assert_eq!(bench.health[0].snapshot().connects, 2);
    bench.stop().await;
}
