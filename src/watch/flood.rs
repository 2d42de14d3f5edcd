//! Between the alert book and the outbox: what is told now, and what waits while too much happens.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use tokio::time::Instant;

use super::Watch;
use super::retune::id_of;
use crate::alert::flood::{FloodGate, FloodReport, Passage, resumed};
use crate::alert::{AlertKind, AlertRecord, AlertSpec, Transition};
use crate::settings::{AlertPolicy, Direction, FloodSettings, Settings};
use crate::store::{AlertChange, AlertKey};
use crate::telemetry::add;
use crate::time::Timestamp;
use crate::verdict::{Evidence, PredictionId, Verdict};

/// The gate, and the clock that it goes by.
#[derive(Debug)]
pub(super) struct Flood {
    gate: FloodGate,
    began: Instant,
    /// On which its alert stands.
    asset: String,
}

impl Flood {
    pub(super) fn new(settings: &Settings) -> Self {
        let gate = FloodGate::new(settings.flood.clone());
        let asset = match &settings.share {
            Some(share) => format!("{}-{}", FloodSettings::ASSET, share.name),
            None => FloodSettings::ASSET.to_owned(),
        };
        Self { gate, began: Instant::now(), asset }
    }

    pub(super) fn asset(&self) -> &str {
        &self.asset
    }
}

/// What the book must know to raise the alert that sums a flood up.
pub(super) fn spec(settings: &FloodSettings, names: &mut Vec<Arc<str>>) -> AlertSpec {
    let policy = AlertPolicy {
        raise: Some(1.0),
        clear: Some(0.5),
        direction: Some(Direction::Above),
        severity: Some(settings.severity),
        ..AlertPolicy::default()
    };
    let name = FloodSettings::ALERT.to_owned();
    AlertSpec { id: id_of(names, &name), name, policy, kind: AlertKind::Flood }
}

impl Watch {
    pub(super) fn flood_spec(&mut self) -> AlertSpec {
        spec(self.flood.gate.settings(), &mut self.names)
    }

    /// Alerts whose times are those of the box's clock: silences, as given, floods and models.
    pub(super) fn timed_by_the_box(
        &mut self,
        mut silences: Vec<PredictionId>,
    ) -> Vec<PredictionId> {
        silences.push(id_of(&mut self.names, FloodSettings::ALERT));
        silences.extend(self.model_alerts());
        silences
    }

    /// Stores a transition, and tells of it now or when its turn comes.
    pub(super) fn settle(&mut self, transition: &Transition) {
        let cause = Some(transition.cause.as_str());
        if self.wire.is_none() {
            return self.put(transition, cause, Passage::Tell);
        }
        let (passage, needless) = self.flood.gate.pass(transition, self.flood.began.elapsed());
        add(&self.meters.held, u64::from(passage == Passage::Hold));
        add(&self.meters.merged, needless);
        self.put(transition, cause, passage);
    }

    /// A record whose newest state nobody was told of in the last life.
    pub(super) fn owes(&mut self, record: &AlertRecord) {
        if self.wire.is_none() {
            return;
        }
        if record.prediction == FloodSettings::ALERT && record.cleared_at.is_none() {
            self.flood.gate.restore_flood();
        }
        if record.held {
            self.flood.gate.restore(resumed(record, Timestamp::now()));
        }
    }

    /// Tells what is held of an alert, whatever the pace.
    pub(super) fn tell_held(&mut self, asset: &str, prediction: &str) {
        if let Some(transition) = self.flood.gate.take(asset, prediction) {
            self.put(&transition, None, Passage::Tell);
        }
    }

    /// Tells what may be told by now, and sums up.
    pub(super) fn drain_the_flood(&mut self, now: Timestamp) {
        let at = self.flood.began.elapsed();
        while let Some(transition) = self.flood.gate.release(at) {
            self.put(&Transition { arrived: now, ..transition }, None, Passage::Tell);
        }
        self.meters.holding.store(self.flood.gate.held() as u64, Relaxed);
        if let Some(report) = self.flood.gate.report(at) {
            self.sum_up(&report, now);
        }
    }

    fn sum_up(&mut self, report: &FloodReport, now: Timestamp) {
        let text = report.to_string();
        match report.over {
            true => tracing::info!(
                held = report.held,
                merged = report.merged,
                "The alert flood is over: {text}"
            ),
            false => tracing::warn!("An alert flood: {text}"),
        }
        let start = now.saturating_sub(report.lasted);
        let verdict = Verdict {
            prediction: id_of(&mut self.names, FloodSettings::ALERT),
            asset: self.registry.intern_asset(&self.flood.asset),
            evidence: Evidence { start, end: now, samples: 0, coverage: 1.0 },
            score: if report.over { 0.0 } else { report.held as f64 },
            label: Some(text.into()),
            contributions: Vec::new(),
            region: None,
            subject: None,
            model: None,
            arrived: now,
        };
        if let Some(transition) = self.book.apply(&verdict, &self.flood.asset, now) {
            self.commit(&transition);
        }
    }

    fn put(&self, transition: &Transition, cause: Option<&'static str>, passage: Passage) {
        let held = passage == Passage::Hold;
        let record = &transition.record;
        let wire = self.wire.as_ref().filter(|_| !held);
        let messages = wire.map_or_else(Vec::new, |wire| wire.messages(transition));
        let stored = AlertRecord { held, ..record.clone() };
        let state = serde_json::to_string(&stored).expect("a record holds no map with odd keys");
        let _on_disk = self.store.queue_change(AlertChange {
            key: AlertKey { asset: record.asset.clone(), prediction: record.prediction.clone() },
            state: Some(state),
            messages,
            at: transition.arrived,
            cause,
        });
    }
}
