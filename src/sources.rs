//! Builds the sources that the configuration names, each with its health.

use std::sync::Arc;

use anyhow::Context;
use tokio::sync::mpsc;

use crate::health::SourceHealth;
use crate::ledger::Ledger;
use crate::message::Quarantined;
use crate::modbus::{self, Poller};
use crate::mqtt::{Ingest, IngestParts};
use crate::sample::Batch;
use crate::settings::{Settings, Subscription};
use crate::tag::Registry;

pub enum Source {
    Mqtt(Box<Ingest>, Arc<SourceHealth>),
    Modbus(Poller),
}

impl Source {
    pub fn health(&self) -> Vec<Arc<SourceHealth>> {
        match self {
            Self::Mqtt(_, health) => vec![Arc::clone(health)],
            Self::Modbus(poller) => poller.health.clone(),
        }
    }
}

/// What every source writes to.
pub struct Sinks<'a> {
    pub registry: &'a Arc<Registry>,
    pub ledger: &'a Arc<Ledger>,
    pub batches: &'a mpsc::Sender<Batch>,
    pub quarantine: &'a mpsc::Sender<Quarantined>,
}

/// One connection a broker that is subscribed to, one poller a Modbus address.
pub fn build(settings: &Settings, sinks: &Sinks<'_>) -> anyhow::Result<Vec<Source>> {
    let mut sources = Vec::new();
    for (name, broker) in &settings.broker {
        let subscriptions: Vec<Subscription> =
            settings.mqtt.iter().filter(|entry| entry.broker == *name).cloned().collect();
        if subscriptions.is_empty() {
            continue;
        }
        let health = Arc::new(SourceHealth::new(format!("mqtt:{name}")));
        let ingest = Ingest::prepare(IngestParts {
            broker_name: name.clone(),
            broker: broker.clone(),
            subscriptions,
            site: settings.site.name.clone(),
            future: settings.limits.future,
            registry: Arc::clone(sinks.registry),
            ledger: Arc::clone(sinks.ledger),
            health: Arc::clone(&health),
            batches: sinks.batches.clone(),
            quarantine: sinks.quarantine.clone(),
        });
        let ingest = Box::new(ingest.context("an MQTT source cannot be built")?);
        sources.push(Source::Mqtt(ingest, health));
    }
    for devices in modbus::group(&settings.modbus) {
        let health = devices
            .iter()
            .map(|device| Arc::new(SourceHealth::new(format!("modbus:{}", device.asset))))
            .collect();
        sources.push(Source::Modbus(Poller {
            devices,
            registry: Arc::clone(sinks.registry),
            ledger: Arc::clone(sinks.ledger),
            health,
            batches: sinks.batches.clone(),
        }));
    }
    Ok(sources)
}
