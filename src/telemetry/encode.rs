//! The overview as Prometheus metrics.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::Ordering::Relaxed;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;

use super::page::Page;
use super::{Overview, UNPOISONED};
use crate::drift::FeatureFigures;
use crate::feedback::Confusion;
use crate::health::{BreakerState, Polling, RemoteSnapshot};
use crate::model::ModelSnapshot;

impl Collector for Overview {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut page = Page(encoder);
        self.encode_ledger(&mut page)?;
        self.encode_work(&mut page)?;
        self.encode_sources(&mut page)?;
        self.encode_models(&mut page)?;
        self.encode_remotes(&mut page)?;
        self.encode_drift(&mut page)?;
        self.encode_labels(&mut page)?;
        self.encode_shadows(&mut page)?;
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
        let pictures = &self.ledger.pictures;
        page.count("andon_pictures_received", "Pictures that came in", pictures.received())?;
        let fates = pictures.fates().into_iter();
        page.counts("andon_pictures", "What became of pictures", "fate", fates)?;
        let texts = &self.ledger.texts;
        page.count("andon_texts_received", "Texts that came in", texts.received())?;
        let fates = texts.fates().into_iter();
        page.counts("andon_texts", "What became of texts", "fate", fates)?;
        if let Some(share) = self.share() {
            page.count("andon_foreign", "Messages left to the other boxes", share.foreign)?;
            let contested = share.contested.len() as f64;
            page.gauge("andon_share_contested", "Shares that another box takes too", contested)?;
            let orphaned = share.orphaned.len() as f64;
            page.gauge("andon_share_orphaned", "Shares that no box takes", orphaned)?;
        }
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
        for (reason, count) in self.models.ever().iter().flat_map(|stats| stats.snapshot().unfit) {
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
        let held = meters.held.load(Relaxed);
        page.count("andon_alert_transitions_held", "Not told at once: too many came", held)?;
        page.count(
            "andon_alert_transitions_merged",
            "Held, and told as part of a newer one of the same alert",
            meters.merged.load(Relaxed),
        )?;
        page.gauge(
            "andon_alerts_held",
            "Alerts whose newest state nobody was told of yet",
            meters.holding.load(Relaxed) as f64,
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

    /// Models that a server runs; no family where there is none.
    fn encode_remotes(&self, page: &mut Page<'_>) -> fmt::Result {
        let all = self.models.all();
        let remotes: Vec<_> = all
            .iter()
            .filter_map(|stats| {
                let (model, remote) = (&stats.identity, stats.remote.as_ref()?);
                Some((format!("{}/{}", model.name, model.version), remote.snapshot()))
            })
            .collect();
        if remotes.is_empty() {
            return Ok(());
        }
        let each = |value: fn(&RemoteSnapshot) -> u64| {
            remotes.iter().map(move |(name, remote)| (name.as_str(), value(remote)))
        };
        page.gauges(
            "andon_remote_up",
            "1 while the model server is asked, 0 while it is left alone or proves itself",
            "model",
            each(|remote| u64::from(remote.breaker == BreakerState::Closed)),
        )?;
        page.counts("andon_remote_requests", "To the model server", "model", each(|r| r.requests))?;
        page.counts(
            "andon_remote_retries",
            "Requests that repeated a failed one",
            "model",
            each(|remote| remote.retries),
        )?;
        let failures = remotes.iter().flat_map(|(name, remote)| {
            remote.failures.iter().map(|(kind, count)| ((name.as_str(), *kind), *count))
        });
        page.counted_pairs(
            "andon_remote_failures",
            "Requests without an answer that can be used",
            ["model", "kind"],
            failures,
        )?;
        page.counts(
            "andon_remote_skipped",
            "Batches the model server was not asked about: it was left alone",
            "model",
            each(|remote| remote.skipped),
        )?;
        page.counts(
            "andon_remote_fallbacks",
            "Frames that the local model answered in its place",
            "model",
            each(|remote| remote.fallbacks),
        )?;
        page.counts(
            "andon_remote_breaker_opened",
            "How often the model server was left alone",
            "model",
            each(|remote| remote.opened),
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

    /// Of the models that predict.
    fn encode_labels(&self, page: &mut Page<'_>) -> fmt::Result {
        let (predictions, lost) = {
            let feedback = self.feedback.lock().expect(UNPOISONED);
            (feedback.figures(), feedback.lost())
        };
        let cells = predictions.iter().flat_map(|figures| {
            let Confusion { true_positives, false_positives, true_negatives, false_negatives } =
                figures.confusion;
            [
                ((&*figures.name, "true_positive"), true_positives as f64),
                ((&*figures.name, "false_positive"), false_positives as f64),
                ((&*figures.name, "true_negative"), true_negatives as f64),
                ((&*figures.name, "false_negative"), false_negatives as f64),
            ]
        });
        page.pairs(
            "andon_model_labels",
            "Verdicts with a label, by what they were; positive is bad",
            ["prediction", "outcome"],
            cells,
        )?;
        let waiting = predictions.iter().map(|f| ((&*f.name, "waiting"), f.waiting as f64));
        let unplaced = predictions.iter().flat_map(|figures| {
            let name = |(reason, count): &(&'static str, u64)| {
                ((figures.name.as_str(), *reason), *count as f64)
            };
            figures.unplaced.iter().map(name)
        });
        page.pairs(
            "andon_model_labels_without_verdict",
            "Labels that joined none, or wait",
            ["prediction", "reason"],
            waiting.chain(unplaced),
        )?;
        page.counts(
            "andon_labels_lost",
            "Labels that name nothing known",
            "reason",
            lost.into_iter(),
        )
    }

    fn encode_shadows(&self, page: &mut Page<'_>) -> fmt::Result {
        let shadows = self.shadows.lock().expect(UNPOISONED);
        let predictions = self.drift.lock().expect(UNPOISONED).figures();
        let named = predictions.iter().filter_map(|prediction| {
            let shadow = shadows.get(&prediction.id)?;
            Some((prediction.name.as_str(), shadow.comparison.figures(), shadow.stats.snapshot()))
        });
        let (mut frames, mut alerts) = (Vec::new(), Vec::new());
        for (name, compared, stats) in named {
            let counts = [
                ("agreed", compared.agreed),
                ("only_active", compared.only_active),
                ("only_shadow", compared.only_shadow),
                ("alone", compared.alone),
                ("shed", stats.replaced),
                ("unfit", compared.unfit),
                ("error", stats.unhealthy + stats.failed),
            ];
            frames.extend(counts.map(|(outcome, count)| ((name, outcome), count as f64)));
            let raised = [("active", compared.active_alerts), ("shadow", compared.shadow_alerts)];
            alerts.extend(raised.map(|(side, count)| ((name, side), count as f64)));
        }
        page.pairs(
            "andon_shadow_frames",
            "Frames of a candidate beside the active model, since the comparison began",
            ["prediction", "outcome"],
            frames.into_iter(),
        )?;
        page.pairs(
            "andon_shadow_alerts",
            "Alerts that each would have raised on the same frames",
            ["prediction", "side"],
            alerts.into_iter(),
        )
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
        )?;
        page.gauge(
            "andon_clock_doubted",
            "1 while the box's clock is in doubt: it jumped, or is not set",
            f64::from(u8::from(store.clock_doubted)),
        )
    }
}
