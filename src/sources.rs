//! The sources that the configuration names: builds them, runs them, and changes only those
//! that a new configuration changes.
//!
//! A source is one connection to a broker, one poller of a Modbus address or one folder. Subscriptions
//! change on the living connection; any other difference ends the source in order and starts it
//! anew, while the rest run on.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{Id, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::folder::{Watcher, WatcherParts};
use crate::health::{Roster, SourceHealth};
use crate::ledger::Ledger;
use crate::message::Quarantined;
use crate::modbus::{self, Poller};
use crate::mqtt::{Ingest, IngestParts, Reading};
use crate::sample::Batch;
use crate::settings::{Broker, Folder, ModbusDevice, Settings, Subscription};
use crate::share::Shares;
use crate::tag::Registry;

/// Configurations that wait for their turn.
const REORDERS: usize = 1;

/// What every source writes to.
#[derive(Clone)]
pub struct Sinks {
    pub registry: Arc<Registry>,
    pub ledger: Arc<Ledger>,
    pub batches: mpsc::Sender<Batch>,
    pub quarantine: mpsc::Sender<Quarantined>,
    /// So far the box's clock was ahead in the life before; others may have kept that time.
    pub behind: Duration,
}

/// Asks for the sources of another configuration.
#[derive(Debug)]
pub struct Reorder {
    pub settings: Settings,
    /// Answered when every source runs as asked, or with what keeps it from that.
    pub done: oneshot::Sender<Result<(), String>>,
}

pub struct Sources {
    sinks: Sinks,
    roster: Roster,
    running: BTreeMap<String, Runner>,
    /// Built and not yet started.
    built: Vec<Built>,
    tasks: JoinSet<()>,
    reorders: mpsc::Receiver<Reorder>,
}

/// What the configuration says of one source.
#[derive(Clone, PartialEq)]
enum Wanted {
    Mqtt { broker_name: String, broker: Box<Broker>, reading: Reading },
    Modbus(Vec<ModbusDevice>),
    Folder(Folder),
}

struct Runner {
    wanted: Wanted,
    health: Vec<Arc<SourceHealth>>,
    stop: CancellationToken,
    /// Of a broker.
    retunes: Option<watch::Sender<Reading>>,
    task: Id,
}

struct Built {
    key: String,
    wanted: Wanted,
    health: Vec<Arc<SourceHealth>>,
    retunes: Option<watch::Sender<Reading>>,
    source: Source,
}

enum Source {
    Mqtt(Box<Ingest>),
    Modbus(Poller),
    Folder(Watcher),
}

impl Sources {
    /// Builds every source and starts none.
    pub fn build(
        settings: &Settings,
        sinks: Sinks,
        roster: Roster,
    ) -> anyhow::Result<(Self, mpsc::Sender<Reorder>)> {
        let (sender, reorders) = mpsc::channel(REORDERS);
        let mut sources = Self {
            sinks,
            roster,
            running: BTreeMap::new(),
            built: Vec::new(),
            tasks: JoinSet::new(),
            reorders,
        };
        let wanted = wanted(settings);
        for (key, wanted) in &wanted {
            sources.built.push(sources.prepare(settings, key, wanted)?);
        }
        let health = sources.built.iter().flat_map(|built| built.health.clone());
        sources.roster.replace(health.collect());
        Ok((sources, sender))
    }

    /// Runs until `token` is cancelled and every source has ended; an error when one ends by
    /// itself.
    pub async fn run(mut self, token: CancellationToken) -> anyhow::Result<()> {
        for built in std::mem::take(&mut self.built) {
            self.start(built, &token);
        }
        loop {
            tokio::select! {
                () = token.cancelled() => break,
                Some(Reorder { settings, done }) = self.reorders.recv() => {
                    let outcome = self.reorder(&settings, &token).await;
                    // Whoever asked may have gone.
                    let _ = done.send(outcome.map_err(|error| format!("{error:#}")));
                }
                Some(ended) = self.tasks.join_next_with_id() => self.expected(&ended)?,
            }
        }
        while self.tasks.join_next().await.is_some() {}
        Ok(())
    }

    async fn reorder(
        &mut self,
        settings: &Settings,
        token: &CancellationToken,
    ) -> anyhow::Result<()> {
        let wanted = wanted(settings);
        let mut fresh = Vec::new();
        for (key, wanted) in &wanted {
            let running = self.running.get(key).map(|runner| &runner.wanted);
            if let (Some(running), Wanted::Mqtt { reading, .. }) = (running, wanted)
                && running.same_link(wanted)
            {
                Ingest::check(&reading.subscriptions)?;
            } else if running != Some(wanted) {
                fresh.push(self.prepare(settings, key, wanted)?);
            }
        }
        // From here on nothing fails.
        for (key, wanted) in &wanted {
            if let (Some(runner), Wanted::Mqtt { reading, .. }) =
                (self.running.get_mut(key), wanted)
                && runner.wanted.same_link(wanted)
                && runner.wanted != *wanted
                && let Some(sender) = &runner.retunes
            {
                tracing::info!(source = key, "The subscriptions change on the living connection.");
                sender.send_replace(reading.clone());
                runner.wanted = wanted.clone();
            }
        }
        let is_wanted = |key: &String| wanted.iter().any(|(wanted, _)| wanted == key);
        let replaced = |key: &String| fresh.iter().any(|built: &Built| built.key == *key);
        let (kept, ending): (BTreeMap<_, _>, BTreeMap<_, _>) = std::mem::take(&mut self.running)
            .into_iter()
            .partition(|(key, _)| is_wanted(key) && !replaced(key));
        self.running = kept;
        for (key, runner) in &ending {
            tracing::info!(source = key, "The source ends: the configuration has changed.");
            runner.stop.cancel();
        }
        let (waiting, free): (Vec<_>, Vec<_>) =
            fresh.into_iter().partition(|built| ending.contains_key(&built.key));
        free.into_iter().for_each(|built| self.start(built, token));
        self.ended(ending.into_values().map(|runner| runner.task).collect()).await?;
        waiting.into_iter().for_each(|built| self.start(built, token));
        let health = wanted.iter().filter_map(|(key, _)| self.running.get(key));
        self.roster.replace(health.flat_map(|runner| runner.health.clone()).collect());
        Ok(())
    }

    /// Waits for the tasks that were asked to end.
    async fn ended(&mut self, mut ending: Vec<Id>) -> anyhow::Result<()> {
        while !ending.is_empty()
            && let Some(ended) = self.tasks.join_next_with_id().await
        {
            let id = ended.as_ref().map_or_else(JoinError::id, |(id, ())| *id);
            match ending.iter().position(|waited| *waited == id) {
                Some(at) => drop(ending.swap_remove(at)),
                None => self.expected(&ended)?,
            }
        }
        Ok(())
    }

    fn expected(&self, ended: &Result<(Id, ()), JoinError>) -> anyhow::Result<()> {
        let id = ended.as_ref().map_or_else(JoinError::id, |(id, ())| *id);
        match self.running.iter().find(|(_, runner)| runner.task == id) {
            Some((_, runner)) if runner.stop.is_cancelled() => Ok(()),
            Some((key, _)) => bail!("the source `{key}` ended by itself"),
            None => Ok(()),
        }
    }

    fn start(&mut self, built: Built, token: &CancellationToken) {
        let Built { key, wanted, health, retunes, source } = built;
        let stop = token.child_token();
        let child = stop.clone();
        let task = match source {
            Source::Mqtt(ingest) => self.tasks.spawn(ingest.run_on_thread(child)),
            Source::Modbus(poller) => self.tasks.spawn(poller.run(child)),
            Source::Folder(watcher) => self.tasks.spawn(watcher.run(child)),
        };
        let task = task.id();
        self.running.insert(key, Runner { wanted, health, stop, retunes, task });
    }

    fn prepare(&self, settings: &Settings, key: &str, wanted: &Wanted) -> anyhow::Result<Built> {
        let (health, retunes, source) = match wanted {
            Wanted::Mqtt { broker_name, broker, reading } => {
                let health = self.health(&format!("mqtt:{broker_name}"));
                let (sender, retunes) = watch::channel(reading.clone());
                let ingest = Ingest::prepare(IngestParts {
                    broker_name: broker_name.clone(),
                    broker: Broker::clone(broker),
                    reading: reading.clone(),
                    site: settings.station(),
                    future: settings.limits.future + self.sinks.behind,
                    registry: Arc::clone(&self.sinks.registry),
                    ledger: Arc::clone(&self.sinks.ledger),
                    health: Arc::clone(&health),
                    batches: self.sinks.batches.clone(),
                    quarantine: self.sinks.quarantine.clone(),
                });
                let ingest = ingest.context("an MQTT source cannot be built")?;
                let ingest = Box::new(ingest.retuned_by(retunes));
                (vec![health], Some(sender), Source::Mqtt(ingest))
            }
            Wanted::Modbus(devices) => {
                let mut health: Vec<Arc<SourceHealth>> = Vec::with_capacity(devices.len());
                for device in devices {
                    let name = name(device, &settings.modbus);
                    let known = health.iter().find(|known| known.name == name).map(Arc::clone);
                    health.push(known.unwrap_or_else(|| self.health(&name)));
                }
                let poller = Poller {
                    devices: devices.clone(),
                    registry: Arc::clone(&self.sinks.registry),
                    ledger: Arc::clone(&self.sinks.ledger),
                    health: health.clone(),
                    batches: self.sinks.batches.clone(),
                };
                (health, None, Source::Modbus(poller))
            }
            Wanted::Folder(folder) => {
                let health = self.health(key);
                let watcher = Watcher::new(WatcherParts {
                    folder: folder.clone(),
                    store: settings.store.path.clone(),
                    ledger: Arc::clone(&self.sinks.ledger),
                    health: Arc::clone(&health),
                    batches: self.sinks.batches.clone(),
                    quarantine: self.sinks.quarantine.clone(),
                });
                (vec![health], None, Source::Folder(watcher))
            }
        };
        Ok(Built { key: key.to_owned(), wanted: wanted.clone(), health, retunes, source })
    }

    /// A source that comes back goes on counting.
    fn health(&self, name: &str) -> Arc<SourceHealth> {
        let known = self.running.values().flat_map(|runner| &runner.health);
        let mut known = known.filter(|health| health.name == name);
        known.next().map_or_else(|| Arc::new(SourceHealth::new(name.to_owned())), Arc::clone)
    }
}

/// The asset, and which of its devices where it has several: a name is one series of the metrics.
fn name(device: &ModbusDevice, all: &[ModbusDevice]) -> String {
    let ModbusDevice { asset, address, unit, .. } = device;
    match all.iter().filter(|other| other.asset == *asset).count() {
        0 | 1 => format!("modbus:{asset}"),
        _ => format!("modbus:{asset} (unit {unit} at {address})"),
    }
}

impl Wanted {
    /// Two that differ in their subscriptions at most.
    fn same_link(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Mqtt { broker, .. }, Self::Mqtt { broker: other, .. }) => broker == other,
            _ => false,
        }
    }
}

/// One connection a broker that is subscribed to, one poller a Modbus address, one watcher a folder; of
/// the assets of other boxes nothing is polled.
fn wanted(settings: &Settings) -> Vec<(String, Wanted)> {
    let shares = Shares::new(settings.share.as_ref());
    let mut wanted = Vec::new();
    for name in settings.broker.keys() {
        let subscriptions: Vec<Subscription> =
            settings.mqtt.iter().filter(|entry| entry.broker == *name).cloned().collect();
        if !subscriptions.is_empty() {
            let broker = settings.broker_as_box(name).expect("its name was just read");
            let (broker_name, broker) = (name.clone(), Box::new(broker));
            let reading = Reading { subscriptions, shares: shares.clone() };
            let link = Wanted::Mqtt { broker_name, broker, reading };
            wanted.push((format!("mqtt:{name}"), link));
        }
    }
    let own: Vec<ModbusDevice> =
        settings.modbus.iter().filter(|device| shares.owns(&device.asset)).cloned().collect();
    for devices in modbus::group(&own) {
        let way = devices.first().map_or("", |device| device.address.as_str());
        let way =
            way.parse::<modbus::Endpoint>().map_or_else(|_| way.to_owned(), |w| w.to_string());
        wanted.push((format!("modbus:{way}"), Wanted::Modbus(devices)));
    }
    for folder in settings.folder.iter().filter(|folder| shares.owns(&folder.asset)) {
        let key = format!("folder:{}", folder.path.display());
        wanted.push((key, Wanted::Folder(folder.clone())));
    }
    wanted
}
