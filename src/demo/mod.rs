//! The demonstration's world: a simulated plant with its broker and its PLC.
//!
//! [`Demo::start`] brings it up and writes the configuration of a daemon that watches it. It
//! knows nothing of that daemon; the [`narrator`] hears of its alerts through the broker. Read
//! [`plant`] for what is simulated, and `fault.rs` for what goes wrong when.

pub mod broker;
mod client;
mod fault;
pub mod narrator;
pub mod plant;
pub mod plc;
mod press;
mod publisher;
pub mod record;
mod rng;
pub mod settings;
mod spindle;
pub mod summary;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

pub use self::fault::{Fault, FaultKind, FaultPlan};
pub use self::narrator::{Heard, Narrator};
pub use self::plant::Plant;
use self::plc::Plc;
use self::publisher::Publisher;
use self::settings::Places;
pub use self::summary::{Header, Latency, Summary};
use crate::settings::Settings;
use crate::time::Timestamp;

/// The plant of the demonstration when nobody asks for another.
pub const SEED: u64 = 7;

/// The plant with its broker and its PLC. Dropping it stops machines and PLC; the broker lives
/// as long as the process.
#[derive(Debug)]
pub struct Demo {
    broker: SocketAddr,
    plc: SocketAddr,
    dir: PathBuf,
    models: PathBuf,
    settings_path: PathBuf,
    /// Until the machines run.
    standing: Option<(Plant, Plc)>,
    tasks: TaskTracker,
    stop: CancellationToken,
    _stop_on_drop: DropGuard,
}

impl Demo {
    /// Starts broker and PLC, and writes `andon.toml` into `dir`, which is made if need be. The
    /// machines stand still until [`run_plant`](Self::run_plant), so that the daemon can come up
    /// first and sees everything.
    pub async fn start(
        seed: u64,
        faults: FaultPlan,
        dir: &Path,
        models: &Path,
    ) -> anyhow::Result<Self> {
        std::fs::create_dir_all(dir)
            .with_context(|| format!("cannot make the folder {}", dir.display()))?;
        let stop = CancellationToken::new();
        let broker = broker::start().await.context("the demonstration's broker did not start")?;
        let registers = Plc::default();
        // Healthy values, lest a press at 0 bar raises an alert before anything runs.
        registers.update(Plant::new(seed, FaultPlan::none()).step(Timestamp::now()));
        let plc =
            registers.serve(stop.clone()).await.context("the demonstration's PLC did not start")?;
        let settings_path = settings::write(&Places { broker, plc, dir, models })
            .with_context(|| format!("cannot write into {}", dir.display()))?;
        Ok(Self {
            broker,
            plc,
            dir: dir.to_owned(),
            models: models.to_owned(),
            settings_path,
            standing: Some((Plant::new(seed, faults), registers)),
            tasks: TaskTracker::new(),
            _stop_on_drop: stop.clone().drop_guard(),
            stop,
        })
    }

    /// Switches the machines on; the faults' timetable starts now. Once is enough.
    pub fn run_plant(&mut self) {
        let Some((plant, plc)) = self.standing.take() else { return };
        let (publisher, events) = Publisher::new(self.broker);
        self.tasks.spawn(publisher::drive(events, self.stop.clone()));
        self.tasks.spawn(run(plant, publisher, plc, self.stop.clone()));
    }

    pub fn broker(&self) -> SocketAddr {
        self.broker
    }

    pub fn plc(&self) -> SocketAddr {
        self.plc
    }

    /// The file that the daemon reads.
    pub fn settings_path(&self) -> &Path {
        &self.settings_path
    }

    pub fn settings_text(&self) -> String {
        settings::text(&self.places())
    }

    pub fn settings(&self) -> Settings {
        settings::settings(&self.places())
    }

    /// What to print first. `metrics` is known once the daemon runs.
    pub fn header(&self, metrics: Option<SocketAddr>, length: Option<Duration>) -> Header {
        Header {
            broker: self.broker,
            plc: self.plc,
            metrics,
            database: self.dir.join(settings::DATABASE),
            settings: self.settings_path.clone(),
            length,
        }
    }

    /// A subscriber of the alerts; connect it before the machines run.
    pub async fn narrator(&self) -> anyhow::Result<Narrator> {
        Narrator::connect(self.broker).await.context("the narrator found no broker")
    }

    /// Switches machines and PLC off and waits until they are.
    pub async fn stop(self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }

    fn places(&self) -> Places<'_> {
        Places { broker: self.broker, plc: self.plc, dir: &self.dir, models: &self.models }
    }
}

async fn run(mut plant: Plant, mut publisher: Publisher, plc: Plc, stop: CancellationToken) {
    loop {
        let now = Timestamp::now();
        let readings = plant.step(now);
        plc.update(readings);
        publisher.publish(readings);
        publisher.extras(&mut plant, now);
        let due = plant.next_due().unwrap_or(now);
        tokio::select! {
            () = stop.cancelled() => break,
            () = tokio::time::sleep(due.since(Timestamp::now())) => {}
        }
    }
    if publisher.dropped() > 0 {
        tracing::warn!(messages = publisher.dropped(), "the demonstration's gateway fell behind");
    }
}
