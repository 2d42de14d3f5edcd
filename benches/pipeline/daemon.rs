//! The processes under test: mosquitto and the daemon, and what the kernel says of them.

use std::fmt::Write as _;
use std::io::{BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

/// The buffer in a daemon's folder.
pub(crate) const DATABASE: &str = "andon.db";

pub(crate) struct Broker {
    child: Child,
    pub(crate) port: u16,
    _folder: tempfile::TempDir,
}

impl Broker {
    pub(crate) fn start() -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let port = free_port()?;
        let config = folder.path().join("mosquitto.conf");
        let text = format!(
            "listener {port} 127.0.0.1\nallow_anonymous true\nset_tcp_nodelay true\n\
             max_inflight_messages 0\nmax_queued_messages 0\nlog_type error\n"
        );
        std::fs::write(&config, text)?;
        let program = ["/usr/sbin/mosquitto", "mosquitto"]
            .into_iter()
            .find(|path| Command::new(path).arg("-h").output().is_ok())
            .context("mosquitto is not installed: apt-get install mosquitto")?;
        let child = Command::new(program).arg("-c").arg(&config).stderr(Stdio::null()).spawn()?;
        let broker = Self { child, port, _folder: folder };
        until(Duration::from_secs(5), || TcpStream::connect(("127.0.0.1", port)).is_ok())
            .context("mosquitto takes no connection")?;
        Ok(broker)
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) struct Daemon {
    child: Child,
    pub(crate) http: u16,
    pub(crate) started_in: Duration,
    folder: tempfile::TempDir,
}

#[derive(Debug)]
pub(crate) struct Usage {
    pub(crate) cpu_us: f64,
    pub(crate) written: u64,
    pub(crate) rss: u64,
    pub(crate) stored: u64,
    received: u64,
}

impl Usage {
    pub(crate) fn between(before: &Self, after: &Self) -> Self {
        Self {
            cpu_us: after.cpu_us - before.cpu_us,
            written: after.written - before.written,
            rss: after.rss,
            stored: after.stored - before.stored,
            received: after.received - before.received,
        }
    }
}

impl Daemon {
    /// Starts `andon run` with `config` plus a store and an HTTP port of its own.
    pub(crate) fn start(config: &str) -> anyhow::Result<Self> {
        Self::start_in(folder()?, config)
    }

    /// The same, with the buffer that lies in `folder`.
    pub(crate) fn start_in(folder: tempfile::TempDir, config: &str) -> anyhow::Result<Self> {
        let models = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/models");
        Self::start_with(folder, config, Path::new(models))
    }

    /// The same, with a repository of its own.
    pub(crate) fn start_with(
        folder: tempfile::TempDir,
        config: &str,
        models: &Path,
    ) -> anyhow::Result<Self> {
        let http = free_port()?;
        let mut text = config.to_owned();
        let database = folder.path().join(DATABASE);
        write!(
            text,
            "\n[store]\npath = {database:?}\n[runtime]\nmodels = {models:?}\n\
             [http]\nlisten = \"127.0.0.1:{http}\"\n[log]\nlevel = \"warn\"\n"
        )?;
        let file = folder.path().join("andon.toml");
        std::fs::write(&file, text)?;
        let began = Instant::now();
        let binary = std::env::var_os("ANDON_BIN")
            .map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_andon")), PathBuf::from);
        let child = Command::new(binary).arg("run").arg("--config").arg(&file).spawn()?;
        let mut daemon = Self { child, http, started_in: Duration::ZERO, folder };
        let ready = until(Duration::from_secs(20), || {
            daemon.get("/readyz").is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
        });
        if ready.is_err() {
            let _ = daemon.child.kill();
            bail!("the daemon did not get ready");
        }
        daemon.started_in = began.elapsed();
        Ok(daemon)
    }

    pub(crate) fn usage(&self) -> anyhow::Result<Usage> {
        let proc = format!("/proc/{}", self.child.id());
        let stat = std::fs::read_to_string(format!("{proc}/stat"))?;
        let fields: Vec<&str> =
            stat.rsplit(") ").next().context("stat has a name")?.split(' ').collect();
        let ticks: f64 = fields[11].parse::<f64>()? + fields[12].parse::<f64>()?;
        let number = |file: &str, key: &str| -> anyhow::Result<u64> {
            let text = std::fs::read_to_string(format!("{proc}/{file}"))?;
            let line = text.lines().find(|line| line.starts_with(key)).context("a known key")?;
            Ok(line.split_whitespace().nth(1).context("a number")?.parse()?)
        };
        let metrics = self.get("/metrics")?;
        let counter = |name: &str| -> u64 {
            metrics
                .lines()
                .find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
                .unwrap_or_default()
        };
        Ok(Usage {
            cpu_us: ticks * 10_000.0,
            written: number("io", "write_bytes")?,
            rss: number("status", "VmRSS:")? * 1024,
            stored: counter("andon_samples_stored_total "),
            received: counter("andon_samples_received_total "),
        })
    }

    /// All samples of a metric, summed by their label `le`; a metric without it has one sum.
    pub(crate) fn metric(&self, name: &str) -> anyhow::Result<Vec<(f64, f64)>> {
        let text = self.get("/metrics")?;
        let mut sums: Vec<(f64, f64)> = Vec::new();
        for line in text.lines().filter_map(|line| line.strip_prefix(name)) {
            let Some((labels, value)) = line.rsplit_once(' ') else { continue };
            if !labels.is_empty() && !labels.starts_with('{') {
                continue;
            }
            let bound = labels.split_once("le=\"").and_then(|(_, rest)| rest.split('"').next());
            let bound = bound.map_or(0.0, |bound| bound.parse().unwrap_or(f64::INFINITY));
            let value: f64 = value.parse()?;
            match sums.iter_mut().find(|(le, _)| *le == bound) {
                Some((_, sum)) => *sum += value,
                None => sums.push((bound, value)),
            }
        }
        Ok(sums)
    }

    /// Waits until nothing more comes in and all of it is stored; how long that took.
    pub(crate) fn wait_until_idle(&self, limit: Duration) -> anyhow::Result<Duration> {
        let began = Instant::now();
        let mut last = self.usage()?;
        let mut changed = began;
        while began.elapsed() < limit {
            std::thread::sleep(Duration::from_millis(50));
            let now = self.usage()?;
            if (now.received, now.stored) != (last.received, last.stored) {
                changed = Instant::now();
            } else if changed.elapsed() > Duration::from_millis(1500) {
                break;
            }
            last = now;
        }
        Ok(changed - began)
    }

    pub(crate) fn stop(mut self) -> anyhow::Result<()> {
        Command::new("kill").arg(self.child.id().to_string()).status()?;
        let status = self.child.wait()?;
        anyhow::ensure!(status.success(), "the daemon ended with {status}");
        Ok(())
    }

    /// SIGKILL; gives back the folder as it was left.
    pub(crate) fn kill(mut self) -> anyhow::Result<tempfile::TempDir> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(std::mem::replace(&mut self.folder, folder()?))
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Rows that the first model has run together, on average, for requests.
    pub(crate) fn rows_a_run(&self) -> anyhow::Result<f64> {
        let answer = self.get("/v2/models/stats")?;
        let (_, body) = answer.split_once("\r\n\r\n").context("a body")?;
        let stats: serde_json::Value = serde_json::from_str(body)?;
        let count = |key: &str| stats["model_stats"][0][key].as_f64().unwrap_or_default();
        Ok(count("inference_count") / count("execution_count"))
    }

    /// Fails with the answer where that is not 200.
    pub(crate) fn post(&self, path: &str, body: &str) -> anyhow::Result<()> {
        let length = body.len();
        let answer = self.ask(&format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
        ))?;
        anyhow::ensure!(answer.starts_with("HTTP/1.1 200"), "{path} {body}: {answer}");
        Ok(())
    }

    fn get(&self, path: &str) -> anyhow::Result<String> {
        self.ask(&format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"))
    }

    fn ask(&self, request: &str) -> anyhow::Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.http))?;
        stream.write_all(request.as_bytes())?;
        let mut answer = String::new();
        BufReader::new(stream).read_to_string(&mut answer)?;
        Ok(answer)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Versions of one model, which differ in their name alone.
pub(crate) struct Repository(tempfile::TempDir);

impl Repository {
    pub(crate) fn of(name: &str, versions: &[&str]) -> anyhow::Result<Self> {
        let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/models");
        let (from, folder) = (models.join(name).join("1.0.0"), tempfile::tempdir()?);
        for version in versions {
            let to = folder.path().join(name).join(version);
            std::fs::create_dir_all(&to)?;
            for file in ["model.onnx", "golden.json"] {
                std::fs::copy(from.join(file), to.join(file))?;
            }
            let card = std::fs::read_to_string(from.join("model.toml"))?;
            let card = card.replace("\"1.0.0\"", &format!("\"{version}\""));
            std::fs::write(to.join("model.toml"), card)?;
        }
        Ok(Self(folder))
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }
}

/// A folder of its own, on the disk that `ANDON_BENCH_DIR` names.
pub(crate) fn folder() -> anyhow::Result<tempfile::TempDir> {
    let disk = std::env::var_os("ANDON_BENCH_DIR").map_or_else(std::env::temp_dir, PathBuf::from);
    Ok(tempfile::tempdir_in(disk)?)
}

fn common(port: u16) -> String {
    format!(
        "[broker.bench]\nurl = \"mqtt://127.0.0.1:{port}\"\n\
         [publish]\nbroker = \"bench\"\nprefix = \"bench\"\n"
    )
}

/// 100 assets of 10 tags, one JSON message an asset, and the Conv1d classifier on each.
pub(crate) fn json_config(port: u16, qos: u8) -> String {
    common(port)
        + &format!(
            "[[mqtt]]\nbroker = \"bench\"\ntopic = \"plant/line1/{{asset}}/telemetry\"\n\
             qos = {qos}\npayload = \"json\"\ntime = \"ts\"\nvalues = \"values\"\n\
             [[prediction]]\nname = \"conv\"\nmodel = \"bench-conv1d\"\nassets = [\"*\"]\n"
        )
}

/// 1,000 topics with a bare number each.
pub(crate) fn number_config(port: u16) -> String {
    common(port)
        + "[[mqtt]]\nbroker = \"bench\"\ntopic = \"plant/{asset}/{tag}\"\nqos = 0\npayload = \"number\"\n"
}

/// What is read of a slave: `count` adjacent values of one type of one or two registers.
#[derive(Clone, Copy)]
pub(crate) struct Registers {
    pub(crate) count: usize,
    pub(crate) kind: &'static str,
}

/// One slave at each port.
pub(crate) fn modbus_config(ports: &[u16], registers: Registers, interval: &str) -> String {
    let Registers { count, kind } = registers;
    let width = if kind.ends_with("32") { 2 } else { 1 };
    let mut text = String::new();
    for (device, port) in ports.iter().enumerate() {
        let _ = write!(
            text,
            "[[modbus]]\nasset = \"plc-{device}\"\naddress = \"tcp://127.0.0.1:{port}\"\ninterval = \"{interval}\"\n"
        );
        for value in 0..count {
            let _ = write!(
                text,
                "[[modbus.register]]\ntag = \"r{value}\"\naddress = \"holding:{}\"\ntype = \"{kind}\"\n",
                value * width
            );
        }
    }
    text
}

fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

fn until(limit: Duration, mut holds: impl FnMut() -> bool) -> anyhow::Result<()> {
    let began = Instant::now();
    while !holds() {
        anyhow::ensure!(began.elapsed() < limit, "not within {limit:?}");
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}
