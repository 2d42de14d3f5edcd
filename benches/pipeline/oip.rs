//! Requests over the Open Inference Protocol against the runtime alone: binary tensors, one row a
//! request, eight clients that keep their connections.
//!
//! Twice: with the two sides free to take any core, and with the daemon on one core, the clients on
//! another and the runtime alone on the daemon's, which is the comparison on the same cores.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use andon::model::{self, ItemsRef};
use andon::settings::Settings;
use anyhow::{Context, bail};

use super::daemon::{self, Broker, Daemon};
use super::load::Noise;
use super::{SECONDS, figure};

const CLIENTS: usize = 8;
const ROW: usize = 640;
const NAME: &str = "oip";
/// A runtime that has not been asked yet is slow.
const WARM_UP: Duration = Duration::from_secs(1);

/// Clock ticks of the kernel's accounts.
const TICK_US: f64 = 10_000.0;

pub(crate) fn run() -> anyhow::Result<()> {
    let cores = std::thread::available_parallelism()?.get();
    let everywhere = format!("0-{}", cores - 1);
    measure("free", &everywhere, &everywhere)?;
    if cores > 1 {
        measure("pinned", "0", "1")?;
    }
    pin(std::process::id(), &everywhere)
}

fn measure(how: &str, server: &str, clients: &str) -> anyhow::Result<()> {
    let told = |name: &str, value, unit| figure(&format!("{NAME}-{how}"), name, value, unit);
    pin(std::process::id(), server)?;
    let (alone, alone_cpu) = runtime_alone()?;
    told("runtime_alone", alone, "rows/s");
    told("runtime_alone_cpu", alone_cpu, "us/row");
    let broker = Broker::start()?;
    let daemon = Daemon::start(&daemon::json_config(broker.port, 0))?;
    pin(daemon.id(), server)?;
    pin(std::process::id(), clients)?;
    closed(daemon.http, WARM_UP)?;
    let (before, own_before) = (daemon.usage()?, ticks(std::process::id())?);
    let seconds = Duration::from_secs(SECONDS);
    let mut taken = closed(daemon.http, seconds)?;
    let (after, own_after) = (daemon.usage()?, ticks(std::process::id())?);
    let requests = taken.len() as f64;
    let rate = requests / SECONDS as f64;
    let cpu = (after.cpu_us - before.cpu_us) / requests;
    told("requests", rate, "rows/s");
    told("of_the_runtime", rate / alone * 100.0, "%");
    told("daemon_cpu", cpu, "us/request");
    told("clients_cpu", (own_after - own_before) * TICK_US / requests, "us/request");
    told("rows_a_cpu_second_of_the_runtime", alone_cpu / cpu * 100.0, "%");
    told("rows_a_run", daemon.rows_a_run()?, "rows");
    quantiles(&mut taken, |name, value| told(&format!("closed_{name}"), value, "ms"));
    let paced = paced(daemon.http, rate / 2.0, seconds)?;
    told("paced", paced.len() as f64 / SECONDS as f64, "requests/s");
    for (what, part) in [
        ("paced", (|asked: &Asked| asked.answered - asked.due) as fn(&Asked) -> Duration),
        ("paced_client_late", |asked| asked.late),
        ("paced_without_late", |asked| asked.answered - asked.due - asked.late),
    ] {
        let mut taken: Vec<f64> =
            paced.iter().map(|asked| part(asked).as_secs_f64() * 1e3).collect();
        quantiles(&mut taken, |name, value| told(&format!("{what}_{name}"), value, "ms"));
    }
    daemon.stop()
}

/// Rows a second, and microseconds of CPU a row: one session of one thread, as the daemon has it.
fn runtime_alone() -> anyhow::Result<(f64, f64)> {
    let text = format!(
        "[runtime]\nmodels = {:?}\n[[prediction]]\nname = \"conv\"\nmodel = \"bench-conv1d\"\n\
         assets = [\"*\"]\n",
        concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/models"),
    );
    let settings: Settings = toml::from_str(&text)?;
    let mut loaded = model::load(&settings).map_err(|errors| anyhow::anyhow!("{errors:?}"))?;
    let mut engine = loaded.models.remove(0).engine();
    let (row, mut out) = (row(), Vec::new());
    let began = Instant::now();
    while began.elapsed() < WARM_UP {
        engine.run(ItemsRef::Numbers(&row), &mut out)?;
    }
    let (began, before, mut rows) = (Instant::now(), ticks(std::process::id())?, 0_u64);
    while began.elapsed() < Duration::from_secs(SECONDS / 2) {
        engine.run(ItemsRef::Numbers(&row), &mut out)?;
        rows += 1;
    }
    let rate = rows as f64 / began.elapsed().as_secs_f64();
    Ok((rate, (ticks(std::process::id())? - before) * TICK_US / rows as f64))
}

fn row() -> Vec<f32> {
    let mut noise = Noise(42);
    (0..ROW).map(|_| noise.next() as f32).collect()
}

/// Each client asks again when it has its answer; how long each answer took, in milliseconds.
fn closed(port: u16, time: Duration) -> anyhow::Result<Vec<f64>> {
    let end = Instant::now() + time;
    clients(port, move |client, _| {
        let mut taken = Vec::new();
        while Instant::now() < end {
            let began = Instant::now();
            client.ask()?;
            taken.push(began.elapsed().as_secs_f64() * 1e3);
        }
        Ok(taken)
    })
}

/// A paced request.
struct Asked {
    due: Instant,
    answered: Instant,
    /// So long after it was due, and had its last answer, the client's thread got to ask: that is
    /// the scheduler's doing, not the daemon's.
    late: Duration,
}

/// So many a second altogether, whatever the answers do: a request that comes late because the one
/// before it was slow is counted from the time when it was due.
fn paced(port: u16, rate: f64, time: Duration) -> anyhow::Result<Vec<Asked>> {
    let begin = Instant::now() + Duration::from_millis(50);
    let every = Duration::from_secs_f64(CLIENTS as f64 / rate);
    clients(port, move |client, number| {
        let mut taken = Vec::new();
        let mut due = begin + every.mul_f64(number as f64 / CLIENTS as f64);
        let mut free = begin;
        while due < begin + time {
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            let late = free.max(due).elapsed();
            client.ask()?;
            free = Instant::now();
            taken.push(Asked { due, answered: free, late });
            due += every;
        }
        Ok(taken)
    })
}

fn clients<T: Send + 'static>(
    port: u16,
    work: impl Fn(&mut Client, usize) -> anyhow::Result<Vec<T>> + Send + Sync + 'static,
) -> anyhow::Result<Vec<T>> {
    let work = Arc::new(work);
    let mut threads = Vec::new();
    for number in 0..CLIENTS {
        let (mut client, work) = (Client::connect(port)?, Arc::clone(&work));
        threads.push(std::thread::spawn(move || work(&mut client, number)));
    }
    let mut taken = Vec::new();
    for thread in threads {
        taken.extend(thread.join().map_err(|_| anyhow::anyhow!("a client panicked"))??);
    }
    Ok(taken)
}

/// A client that costs as little as one can: its request is made once.
struct Client {
    stream: TcpStream,
    request: Vec<u8>,
    answer: Vec<u8>,
}

impl Client {
    fn connect(port: u16) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        let head = serde_json::json!({
            "inputs": [{ "name": "input", "shape": [1, 10, 64], "datatype": "FP32",
                         "parameters": { "binary_data_size": ROW * 4 } }],
            "outputs": [{ "name": "probability", "parameters": { "binary_data": true } }],
        })
        .to_string();
        let (json, whole) = (head.len(), head.len() + ROW * 4);
        let mut request = format!(
            "POST /v2/models/bench-conv1d/infer HTTP/1.1\r\nHost: localhost\r\n\
             Inference-Header-Content-Length: {json}\r\nContent-Length: {whole}\r\n\r\n{head}"
        )
        .into_bytes();
        row().iter().for_each(|value| request.extend_from_slice(&value.to_le_bytes()));
        Ok(Self { stream, request, answer: vec![0; 16 * 1024] })
    }

    fn ask(&mut self) -> anyhow::Result<()> {
        self.stream.write_all(&self.request)?;
        let mut length = 0;
        loop {
            let read = self.stream.read(&mut self.answer[length..])?;
            anyhow::ensure!(read > 0, "the daemon has closed the connection");
            length += read;
            let answer = &self.answer[..length];
            let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") else {
                continue;
            };
            let head = std::str::from_utf8(&answer[..end])?;
            if !head.starts_with("HTTP/1.1 200") {
                bail!("{}", String::from_utf8_lossy(answer));
            }
            let body = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            if length >= end + 4 + body.context("a length")?.parse::<usize>()? {
                return Ok(());
            }
        }
    }
}

fn quantiles(taken: &mut [f64], told: impl Fn(&str, f64)) {
    taken.sort_unstable_by(f64::total_cmp);
    let at = |share: f64| taken[((taken.len() - 1) as f64 * share).round() as usize];
    told("p50", at(0.5));
    told("p99", at(0.99));
    told("p99.9", at(0.999));
    told("worst", at(1.0));
}

/// All threads of a process on these cores; what it starts later inherits them.
fn pin(process: u32, cores: &str) -> anyhow::Result<()> {
    let pid = process.to_string();
    let done = Command::new("taskset").args(["-a", "-c", "-p", cores, &pid]).output();
    let done = done.context("taskset is missing: apt-get install util-linux")?;
    anyhow::ensure!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    Ok(())
}

fn ticks(process: u32) -> anyhow::Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    let fields: Vec<&str> =
        stat.rsplit(") ").next().context("stat has a name")?.split(' ').collect();
    Ok(fields[11].parse::<f64>()? + fields[12].parse::<f64>()?)
}
