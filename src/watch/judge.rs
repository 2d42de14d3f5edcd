//! Verdicts to alerts, and alerts to whoever wants to know: store, board, subscribers, log.

use std::sync::Arc;

use super::Watch;
use crate::alert::{Cause, Transition};
use crate::model::{Answers, Inquiry};
use crate::telemetry::add;
use crate::time::Timestamp;
use crate::verdict::{Explained, Explanation, ModelIdentity, Verdict};

impl Watch {
    pub(super) fn judge_rules(&mut self, now: Timestamp) {
        for verdict in std::mem::take(&mut self.ruled) {
            self.judge(&verdict, now);
        }
    }

    pub(super) fn judge_all(&mut self, answers: &Answers) {
        let now = Timestamp::now();
        answers.verdicts.iter().for_each(|verdict| self.judge(verdict, now));
    }

    pub(super) fn judge(&mut self, verdict: &Verdict, now: Timestamp) {
        let asset = self.asset_name(verdict.asset);
        if !self.shares.owns(&asset) {
            return;
        }
        if let (Some(stream), Some(wire)) = (&self.verdict_stream, &self.wire)
            && self.streams
            && verdict.model.is_some()
        {
            let name = &self.names[usize::from(verdict.prediction.0)];
            let _shed_first = stream.publish_soon(wire.verdict(verdict, &asset, name));
        }
        self.live.judged(verdict);
        self.compare(verdict);
        self.remember(verdict, now);
        if let Some(transition) = self.book.apply(verdict, &asset, now) {
            self.commit(&transition);
            self.inquire(verdict, &transition);
        }
    }

    /// Asks the model why, if this alert's reasons have to be worked out.
    fn inquire(&mut self, verdict: &Verdict, transition: &Transition) {
        let record = &transition.record;
        let Some((subject, model)) = verdict.subject.as_ref().zip(verdict.model.as_ref()) else {
            return;
        };
        if record.explanation != Explanation::Pending {
            return;
        }
        let bound = &self.predictions[usize::from(verdict.prediction.0)];
        let inquiry = Inquiry {
            prediction: verdict.prediction,
            asset: verdict.asset,
            alert_id: record.alert_id.clone(),
            subject: Arc::clone(subject),
            spec: Arc::clone(&bound.loaded.spec),
            model: Arc::clone(model),
        };
        // A model that was swapped since then is not asked for its successor's reasons. The local
        // one that stands in for a server has the server's name and version.
        let of = |model: &ModelIdentity| (model.name.clone(), model.version.clone());
        let same = of(model) == of(&bound.loaded.model);
        let asked = if same { bound.model.explain(inquiry) } else { Err(inquiry) };
        if let Err(inquiry) = asked {
            self.explained(&inquiry.answered(Explanation::Late, Vec::new()), Timestamp::now());
        }
    }

    pub(super) fn explained(&mut self, explained: &Explained, now: Timestamp) {
        if let Some(transition) = self.book.explain(explained, now) {
            self.commit(&transition);
        }
    }

    pub(super) fn commit(&mut self, transition: &Transition) {
        let mut transition = transition.clone();
        transition.record.clock_doubted = !self.store.clock_is_believed(Timestamp::now());
        let record = &transition.record;
        match transition.cause {
            Cause::Raised => add(&self.meters.alerts_raised, 1),
            Cause::Cleared => add(&self.meters.alerts_cleared, 1),
            _ => {}
        }
        self.meters.set_alerts(self.book.counts());
        self.live.moved(&transition);
        self.note_raise(record);
        tracing::info!(
            asset = record.asset,
            prediction = record.prediction,
            state = ?record.state,
            previous = ?transition.previous,
            score = record.score,
            "{}",
            record.text
        );
        self.settle(&transition);
    }
}
