//! Numbers about the daemon itself: counted where things happen, read at one place.
//!
//! [`Meters`] holds what the wiring counts. [`Overview`] gathers it with the ledger, the
//! sources, the models and the store, and renders Prometheus metrics and the status message.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry as Exposition;

use crate::alert::AlertCounts;
use crate::alert::wire::{Liveness, ModelStatus, OutboxStatus, StatusBody, StoreStatus};
use crate::certificates::Certificates;
use crate::drift::{FeatureFigures, Watcher};
use crate::health::{PollError, Polling, Roster, SourceHealth, Spread};
use crate::ledger::Ledger;
use crate::model::{ModelSnapshot, Models};
use crate::reload::Report;
use crate::store::Store;
use crate::time::Timestamp;
use crate::tls::Certificate;

/// Latencies kept for percentiles.
const RECENT: usize = 10_000;

#[derive(Debug)]
pub struct Meters {
    pub windows: AtomicU64,
    pub late_samples: AtomicU64,
    pub alerts_raised: AtomicU64,
    pub alerts_cleared: AtomicU64,
    pub published: AtomicU64,
    pub refused: AtomicU64,
    /// Retained states of a backlog that newer ones had replaced.
    pub superseded: AtomicU64,
    /// Versions that a person put in another's place while the daemon ran.
    pub activations: AtomicU64,
    /// Versions that were taken back, by hand or because they failed.
    pub rollbacks: AtomicU64,
    /// Turns of the main loop; the watchdog is fed while it moves.
    pub heartbeat: AtomicU64,
    alerts: Mutex<AlertCounts>,
    latency: Histogram,
    recent: Mutex<VecDeque<Duration>>,
}

impl Default for Meters {
    fn default() -> Self {
        Self {
            windows: AtomicU64::new(0),
            late_samples: AtomicU64::new(0),
            alerts_raised: AtomicU64::new(0),
            alerts_cleared: AtomicU64::new(0),
            published: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            superseded: AtomicU64::new(0),
            activations: AtomicU64::new(0),
            rollbacks: AtomicU64::new(0),
            heartbeat: AtomicU64::new(0),
            alerts: Mutex::default(),
            latency: Histogram::new(exponential_buckets(0.000_25, 2.0, 16)),
            recent: Mutex::default(),
        }
    }
}

pub fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Relaxed);
}

impl Meters {
    /// From the arrival of the deciding sample to the broker's confirmation of the alert.
    pub fn alert_latency(&self, latency: Duration) {
        self.latency.observe(latency.as_secs_f64());
        let mut recent = self.recent.lock().expect(UNPOISONED);
        if recent.len() == RECENT {
            recent.pop_front();
        }
        recent.push_back(latency);
    }

    /// The given share (0 to 1) of the recent alerts were faster than this.
    pub fn alert_latency_quantile(&self, share: f64) -> Option<Duration> {
        let mut sorted: Vec<Duration> =
            self.recent.lock().expect(UNPOISONED).iter().copied().collect();
        sorted.sort_unstable();
        let last = sorted.len().checked_sub(1)?;
        #[expect(clippy::cast_possible_truncation, reason = "a share of at most RECENT")]
        #[expect(clippy::cast_sign_loss, reason = "shares are positive")]
        let at = (share.clamp(0.0, 1.0) * last as f64).round() as usize;
        Some(sorted[at])
    }

    /// How many alerts stand in each state.
    pub fn set_alerts(&self, counts: AlertCounts) {
        *self.alerts.lock().expect(UNPOISONED) = counts;
    }

    pub fn alerts(&self) -> AlertCounts {
        *self.alerts.lock().expect(UNPOISONED)
    }
}

const UNPOISONED: &str = "no code panics while it holds a meter";

/// Everything there is to know about the running daemon.
#[derive(Clone)]
pub struct Overview {
    pub started: Timestamp,
    pub ledger: Arc<Ledger>,
    pub meters: Arc<Meters>,
    pub config: Arc<Report>,
    pub sources: Roster,
    pub models: Models,
    pub drift: Arc<Mutex<Watcher>>,
    pub store: Store,
    pub link: Option<tokio::sync::watch::Receiver<bool>>,
    pub certificates: Arc<Certificates>,
}

impl fmt::Debug for Overview {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Overview").finish_non_exhaustive()
    }
}

/// The counts that the demo and the status show.
#[derive(Clone, Copy, Debug)]
pub struct Counts {
    pub windows: u64,
    pub inferences: u64,
    pub alerts_raised: u64,
    pub alerts_cleared: u64,
    pub published: u64,
}

impl Overview {
    /// Without a broker to publish to, nothing is missing.
    pub fn publishing(&self) -> bool {
        self.link.as_ref().is_none_or(|link| *link.borrow())
    }

    pub fn counts(&self) -> Counts {
        Counts {
            windows: self.meters.windows.load(Relaxed),
            inferences: self.models.all().iter().map(|stats| stats.snapshot().inferences).sum(),
            alerts_raised: self.meters.alerts_raised.load(Relaxed),
            alerts_cleared: self.meters.alerts_cleared.load(Relaxed),
            published: self.meters.published.load(Relaxed),
        }
    }

    /// OpenMetrics text.
    pub fn metrics(&self) -> String {
        let mut exposition = Exposition::default();
        exposition.register_collector(Box::new(self.clone()));
        exposition.register(
            "andon_alert_latency_seconds",
            "From the arrival of the deciding sample to the broker's confirmation",
            self.meters.latency.clone(),
        );
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &exposition)
            .expect("writing to a string does not fail");
        text
    }
}

impl Collector for Overview {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut page = Page(encoder);
        self.encode_ledger(&mut page)?;
        self.encode_work(&mut page)?;
        self.encode_sources(&mut page)?;
        self.encode_models(&mut page)?;
        self.encode_drift(&mut page)?;
        self.encode_store(&mut page)
    }
}

impl Overview {
    fn encode_ledger(&self, page: &mut Page<'_>) -> fmt::Result {
        let totals = self.ledger.totals();
        page.count(
            "andon_samples_received",
            "Samples and unreadable payloads that came in",
            totals.received,
        )?;
        page.count("andon_samples_stored", "Samples on disk", totals.stored)?;
        let rejected = totals.rejected.iter().map(|(reason, count)| (reason.as_str(), *count));
        page.counts("andon_samples_rejected", "Not stored because wrong", "reason", rejected)?;
        let shed = totals.shed.iter().map(|(reason, count)| (reason.as_str(), *count));
        page.counts("andon_samples_shed", "Given up because there was too much", "reason", shed)?;
        page.gauge(
            "andon_samples_in_flight",
            "Received and not yet settled",
            totals.in_flight as f64,
        )
    }

    fn encode_work(&self, page: &mut Page<'_>) -> fmt::Result {
        let counts = self.counts();
        let meters = &self.meters;
        page.count("andon_windows", "Windows closed", counts.windows)?;
        let mut unfit: BTreeMap<&'static str, u64> = BTreeMap::new();
        for (reason, count) in self.models.all().iter().flat_map(|stats| stats.snapshot().unfit) {
            *unfit.entry(reason).or_default() += count;
        }
        page.counts(
            "andon_windows_unfit",
            "Windows no model was asked about",
            "reason",
            unfit.into_iter(),
        )?;
        let late = meters.late_samples.load(Relaxed);
        page.count("andon_samples_late", "Stored, but too late for their windows", late)?;
        page.count("andon_alerts_raised", "Alerts raised", counts.alerts_raised)?;
        page.count("andon_alerts_cleared", "Alerts cleared", counts.alerts_cleared)?;
        page.count("andon_alert_messages_published", "Confirmed by the broker", counts.published)?;
        let refused = meters.refused.load(Relaxed);
        page.count("andon_alert_messages_refused", "Refused by the broker: dead letters", refused)?;
        page.count(
            "andon_alert_states_superseded",
            "Retained states not sent after an outage: newer ones had replaced them",
            meters.superseded.load(Relaxed),
        )?;
        let reloads = self.config.reloads();
        let results = [
            ("applied", reloads.applied),
            ("refused", reloads.refused),
            ("unchanged", reloads.unchanged),
        ];
        page.counts(
            "andon_config_reloads",
            "Readings of the configuration since the start",
            "result",
            results.into_iter(),
        )?;
        page.gauge(
            "andon_publishing",
            "1 while the alert broker is connected",
            f64::from(u8::from(self.publishing())),
        )?;
        page.expiries(&self.certificates.seen())
    }

    fn encode_sources(&self, page: &mut Page<'_>) -> fmt::Result {
        let sources: Vec<_> = self.sources.list().iter().map(|source| source.snapshot()).collect();
        let each = |value: fn(&crate::health::SourceSnapshot) -> u64| {
            sources.iter().map(move |source| (source.name.as_str(), value(source)))
        };
        page.gauges(
            "andon_source_connected",
            "1 while the source is connected",
            "source",
            each(|source| u64::from(source.connected)),
        )?;
        page.counts(
            "andon_source_messages",
            "Messages or answers",
            "source",
            each(|s| s.messages),
        )?;
        page.counts("andon_source_errors", "Errors of the source", "source", each(|s| s.errors))?;
        page.counts("andon_source_connects", "Connections made", "source", each(|s| s.connects))?;
        self.encode_polling(page)
    }

    /// Of sources that ask; the achieved rate is the rate of `andon_polls`.
    fn encode_polling(&self, page: &mut Page<'_>) -> fmt::Result {
        let sources = self.sources.list();
        let asking = || sources.iter().filter(|source| source.name.starts_with("modbus:"));
        if asking().next().is_none() {
            return Ok(());
        }
        let each = |value: fn(&Polling) -> u64| {
            asking().map(move |source| (source.name.as_str(), value(&source.polling)))
        };
        page.counts("andon_polls", "Polls finished", "source", each(|p| p.polls.load(Relaxed)))?;
        page.counts(
            "andon_polls_skipped",
            "Polls that were due while an earlier one was under way",
            "source",
            each(|polling| polling.skipped.load(Relaxed)),
        )?;
        page.poll_errors(asking())?;
        page.spreads(
            "andon_poll_round_trip_seconds",
            "From a request to its answer",
            asking().map(|source| (source.name.as_str(), &source.polling.round_trips)),
        )?;
        page.spreads(
            "andon_poll_lateness_seconds",
            "From the time a poll was due to its begin",
            asking().map(|source| (source.name.as_str(), &source.polling.lateness)),
        )
    }
}

impl Overview {
    fn encode_models(&self, page: &mut Page<'_>) -> fmt::Result {
        let (activated, back) = (&self.meters.activations, &self.meters.rollbacks);
        let (activated, back) = (activated.load(Relaxed), back.load(Relaxed));
        page.count("andon_model_activations", "Versions put in another's place", activated)?;
        page.count("andon_model_rollbacks", "Versions that were taken back", back)?;
        let models: Vec<_> = self
            .models
            .all()
            .iter()
            .map(|stats| {
                let model = &stats.identity;
                (format!("{}/{}@{}", model.name, model.version, model.device), stats.snapshot())
            })
            .collect();
        let each = |value: fn(&ModelSnapshot) -> u64| {
            models.iter().map(move |(name, stats)| (name.as_str(), value(stats)))
        };
        page.counts("andon_inferences", "Frames answered", "model", each(|s| s.inferences))?;
        page.counts("andon_inference_batches", "Runs of the model", "model", each(|s| s.batches))?;
        page.counts(
            "andon_frames_replaced",
            "Frames given up for newer ones",
            "model",
            each(|s| s.replaced),
        )?;
        page.counts(
            "andon_verdicts_unhealthy",
            "Answers that were no number or implausible",
            "model",
            each(|s| s.unhealthy),
        )?;
        page.gauges(
            "andon_frames_waiting",
            "Frames that wait for the model",
            "model",
            each(|s| s.queued as u64),
        )
    }

    /// Of each tag the asset where it is worst: the series are as many as the cards have tags.
    fn encode_drift(&self, page: &mut Page<'_>) -> fmt::Result {
        type Figure = fn(&FeatureFigures) -> Option<f64>;
        let predictions = self.drift.lock().expect(UNPOISONED).figures();
        let families: [(&str, &str, Figure); 4] = [
            ("andon_model_feature_missing", "Share of frames without it", |f| Some(f.missing)),
            ("andon_model_feature_outside", "Share outside the training range", |f| f.outside),
            ("andon_model_feature_psi", "Population stability index", |f| f.psi),
            ("andon_model_feature_ks", "Kolmogorov-Smirnov statistic", |f| f.ks),
        ];
        for (name, help, figure) in families {
            let mut worst: BTreeMap<(&str, &str), f64> = BTreeMap::new();
            for prediction in &predictions {
                let features = prediction.assets.iter().flat_map(|asset| &asset.figures.features);
                for (feature, value) in features.filter_map(|f| Some((f, figure(f)?))) {
                    let key = (prediction.name.as_str(), feature.tag.as_str());
                    let most = worst.entry(key).or_insert(value);
                    *most = most.max(value);
                }
            }
            page.features(name, help, worst.into_iter())?;
        }
        Ok(())
    }

    fn encode_store(&self, page: &mut Page<'_>) -> fmt::Result {
        let store = self.store.stats();
        page.count("andon_commits", "Commits of the buffer", store.commits)?;
        page.count(
            "andon_commits_failed",
            "Commits that failed and were tried again",
            store.failed_commits,
        )?;
        page.count(
            "andon_blocks_damaged",
            "Blocks that could not be read back",
            store.damaged_blocks,
        )?;
        page.gauge(
            "andon_commit_seconds_max",
            "Slowest commit since the start",
            store.commit_seconds_max,
        )?;
        page.gauge(
            "andon_buffer_bytes",
            "The database with its WAL",
            (store.db_bytes + store.wal_bytes) as f64,
        )?;
        page.gauge("andon_wal_bytes", "The WAL alone", store.wal_bytes as f64)?;
        page.gauge(
            "andon_store_queue_samples",
            "Samples that wait for their commit",
            store.queue_samples as f64,
        )?;
        page.gauge(
            "andon_outbox_messages",
            "Alert messages not yet confirmed",
            store.outbox as f64,
        )?;
        page.gauge(
            "andon_dead_letters",
            "Alert messages the broker refuses",
            store.dead_letters as f64,
        )?;
        page.gauge(
            "andon_disk_failing",
            "1 while the last commit failed",
            f64::from(u8::from(store.disk_failing)),
        )
    }

    /// What the retained status message says.
    pub fn status(&self) -> StatusBody {
        let store = self.store.stats();
        let models = self.models.all();
        let models = models.iter().map(|stats| {
            let (model, stats) = (&stats.identity, stats.snapshot());
            ModelStatus {
                name: model.name.clone(),
                version: model.version.clone(),
                sha256: model.sha256.clone(),
                device: model.device.clone(),
                inferences: stats.inferences,
                shed: stats.replaced,
                errors: stats.unhealthy + stats.failed,
            }
        });
        StatusBody {
            state: Liveness::Online,
            version: env!("CARGO_PKG_VERSION").into(),
            started: self.started,
            ledger: self.ledger.totals(),
            alerts: self.meters.alerts(),
            config: self.config.status(),
            sources: self.sources.list().iter().map(|source| source.snapshot()).collect(),
            models: models.collect(),
            outbox: OutboxStatus { waiting: store.outbox, oldest: None, dead: store.dead_letters },
            store: StoreStatus {
                writable: !store.disk_failing,
                bytes: store.db_bytes + store.wal_bytes,
                oldest: store.oldest,
                last_error: None,
            },
        }
    }

    /// Whether the process does its work; `Err` asks for a restart.
    pub fn healthy(&self) -> Result<(), String> {
        match self.store.stats().disk_failing {
            true => Err("the buffer cannot be written".into()),
            false => Ok(()),
        }
    }

    /// Whether everything is connected that the configuration names.
    pub fn ready(&self) -> Result<(), String> {
        let mut missing: Vec<String> = self
            .sources
            .list()
            .iter()
            .map(|source| source.snapshot())
            .filter(|source| !source.connected)
            .map(|source| format!("{} is not connected", source.name))
            .collect();
        if !self.publishing() {
            missing.push("the alert broker is not connected".into());
        }
        if missing.is_empty() { Ok(()) } else { Err(missing.join("; ")) }
    }
}

/// Writes metric families.
struct Page<'a>(DescriptorEncoder<'a>);

impl Page<'_> {
    fn count(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        let counter = ConstCounter::new(value);
        counter.encode(self.0.encode_descriptor(name, help, None, counter.metric_type())?)
    }

    fn gauge(&mut self, name: &str, help: &str, value: f64) -> fmt::Result {
        let gauge = ConstGauge::new(value);
        gauge.encode(self.0.encode_descriptor(name, help, None, gauge.metric_type())?)
    }

    fn counts<'v>(
        &mut self,
        name: &str,
        help: &str,
        label: &'static str,
        values: impl Iterator<Item = (&'v str, u64)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (word, value) in values {
            ConstCounter::new(value).encode(family.encode_family(&[(label, word)])?)?;
        }
        Ok(())
    }

    fn poll_errors<'v>(
        &mut self,
        sources: impl Iterator<Item = &'v Arc<SourceHealth>>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(
            "andon_poll_errors",
            "Requests without an answer that can be used",
            None,
            MetricType::Counter,
        )?;
        for source in sources {
            for kind in PollError::ALL {
                let labels = [("source", source.name.as_str()), ("kind", kind.as_str())];
                let count = ConstCounter::new(source.polling.errors(kind));
                count.encode(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }

    fn spreads<'v>(
        &mut self,
        name: &str,
        help: &str,
        spreads: impl Iterator<Item = (&'v str, &'v Spread)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Histogram)?;
        for (source, spread) in spreads {
            let counts = spread.counts();
            let bounds = Spread::BOUNDS.into_iter().chain([f64::MAX]);
            let buckets: Vec<(f64, u64)> = bounds.zip(counts.iter().copied()).collect();
            let labels = [("source", source)];
            family.encode_family(&labels)?.encode_histogram::<NoLabelSet>(
                spread.sum(),
                counts.iter().sum(),
                &buckets,
                None,
            )?;
        }
        Ok(())
    }

    fn features<'v>(
        &mut self,
        name: &str,
        help: &str,
        values: impl Iterator<Item = ((&'v str, &'v str), f64)>,
    ) -> fmt::Result {
        let mut values = values.peekable();
        if values.peek().is_none() {
            return Ok(());
        }
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for ((prediction, feature), value) in values {
            let labels = [("prediction", prediction), ("feature", feature)];
            ConstGauge::new(value).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }

    fn expiries(&mut self, certificates: &[Certificate]) -> fmt::Result {
        if certificates.is_empty() {
            return Ok(());
        }
        let name = "andon_certificate_expiry_seconds";
        let help = "When a certificate ends, in seconds since 1970";
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for certificate in certificates {
            let file = certificate.file.display().to_string();
            let labels = [("file", file.as_str()), ("subject", certificate.subject.as_str())];
            let seconds = certificate.not_after.as_nanos() / 1_000_000_000;
            ConstGauge::new(seconds).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }

    fn gauges<'v>(
        &mut self,
        name: &str,
        help: &str,
        label: &'static str,
        values: impl Iterator<Item = (&'v str, u64)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (word, value) in values {
            ConstGauge::new(value).encode(family.encode_family(&[(label, word)])?)?;
        }
        Ok(())
    }
}
