//! The life of one prediction's alert on one asset.

use std::sync::Arc;

use super::command::{Action, Command, CommandError};
use super::evaluate::{Decision, Edge, Memory};
use super::record::{AlertRecord, AlertState, Cause, Latest, Transition, alert_id};
use super::text::Fields;
use super::{AlertSpec, number};
use crate::note;
use crate::time::Timestamp;
use crate::verdict::{Evidence, Explained, Explanation, Verdict};

const DEFAULT_SEVERITY: u16 = 500;

/// What a slot's transitions are about; the same for all assets of a prediction but the name.
#[derive(Clone, Copy, Debug)]
pub(super) struct About<'a> {
    pub(super) site: &'a str,
    pub(super) spec: &'a AlertSpec,
    pub(super) decision: &'a Decision,
}

#[derive(Debug)]
pub(super) struct Slot {
    asset: String,
    memory: Memory,
    evaluated_to: Timestamp,
    /// For a shelf that is put up while all is well.
    latest: Option<Latest>,
    record: Option<AlertRecord>,
    /// Just read from the store: verdicts may be missing between it and the next.
    restored: bool,
}

impl Slot {
    pub(super) fn new(asset: &str) -> Self {
        Self {
            asset: asset.to_owned(),
            memory: Memory::default(),
            evaluated_to: Timestamp::MIN,
            latest: None,
            record: None,
            restored: false,
        }
    }

    pub(super) fn restored(asset: &str, record: AlertRecord, decision: &Decision) -> Self {
        let mut memory = record.memory.clone();
        match record.state {
            AlertState::Active | AlertState::Acknowledged => memory.alarm = true,
            AlertState::Normal | AlertState::Cleared => memory.alarm = false,
            AlertState::Shelved => {}
        }
        memory.resume(decision);
        let record = record.outlived();
        Self {
            asset: asset.to_owned(),
            memory,
            evaluated_to: record.evaluated_to,
            latest: Some(record.latest),
            record: Some(record),
            restored: true,
        }
    }

    /// Other thresholds: what has been remembered of the scores stands.
    pub(super) fn retune(&mut self, decision: &Decision) {
        self.memory.resume(decision);
    }

    pub(super) fn record(&self) -> Option<&AlertRecord> {
        self.record.as_ref()
    }

    pub(super) fn asset(&self) -> &str {
        &self.asset
    }

    pub(super) fn state(&self) -> AlertState {
        self.record.as_ref().map_or(AlertState::Normal, |record| record.state)
    }

    pub(super) fn shelved_until(&self) -> Option<Timestamp> {
        self.record.as_ref().and_then(|record| record.shelved_until)
    }

    /// The clock that the verdicts' times come from was stepped by `nanos`.
    pub(super) fn stepped(&mut self, nanos: i64) {
        self.evaluated_to = self.evaluated_to.stepped(nanos);
        self.memory.stepped(nanos);
    }

    /// Nothing can have been judged after `now`.
    pub(super) fn resumed(&mut self, now: Timestamp) {
        let ahead = self.evaluated_to.since(now);
        self.stepped(-i64::try_from(ahead.as_nanos()).unwrap_or(i64::MAX));
    }

    /// False for a verdict that says nothing new: it repeats what has been judged.
    pub(super) fn is_news(&mut self, verdict: &Verdict) -> bool {
        let Evidence { start, end, .. } = verdict.evidence;
        if end <= self.evaluated_to || !verdict.score.is_finite() {
            self.restored = false;
            return false;
        }
        if std::mem::take(&mut self.restored)
            && start > self.evaluated_to.saturating_add(end.since(start))
        {
            self.memory.forget();
        }
        true
    }

    pub(super) fn judge(&mut self, about: About<'_>, verdict: &Verdict) -> Option<Transition> {
        let end = verdict.evidence.end;
        self.evaluated_to = end;
        self.latest = Some(latest(verdict));
        match self.memory.judge(about.decision, verdict.score, end)? {
            Edge::Up => Some(self.raise(about, verdict)),
            Edge::Down => self.lower(about, verdict),
        }
    }

    pub(super) fn obey(
        &mut self,
        about: About<'_>,
        command: Command,
        now: Timestamp,
    ) -> Result<Option<Transition>, CommandError> {
        let Command { action, by, comment, alert_id } = command;
        if let (Some(asked), Some(record)) = (alert_id, &self.record)
            && asked != record.alert_id
        {
            return Err(CommandError::Superseded { asked, newest: record.alert_id.clone() });
        }
        match action {
            Action::Acknowledge => self.acknowledge(by, comment, now),
            Action::Shelve(span) => {
                let until = now.saturating_add(span);
                self.shelve(about, now)?;
                Ok(Some(self.transition(Cause::Shelved, AlertState::Shelved, now, |record| {
                    record.changed_at = now;
                    record.shelved_until = Some(until);
                    record.shelved_by = Some(by);
                    record.comment = comment;
                })))
            }
            Action::Unshelve if self.state() != AlertState::Shelved => {
                Err(CommandError::NotShelved(self.state()))
            }
            Action::Unshelve => {
                if let Some(record) = &mut self.record {
                    record.comment = comment;
                }
                Ok(Some(self.unshelve(now, now)))
            }
        }
    }

    /// The shelf comes down: the state is that of the condition now. Whoever put it up has
    /// seen the alert, so what is over needs no acknowledgement any more.
    pub(super) fn unshelve(&mut self, at: Timestamp, arrived: Timestamp) -> Transition {
        let on = self.memory.alarm;
        let told = self.record.as_ref().is_some_and(|record| record.announced);
        let seen = self.record.as_ref().is_some_and(|record| record.acknowledged_at.is_some());
        let state = match (on, seen) {
            (false, _) => AlertState::Normal,
            (true, false) => AlertState::Active,
            (true, true) => AlertState::Acknowledged,
        };
        let cause = if on && !told { Cause::Raised } else { Cause::Unshelved };
        self.transition(cause, state, arrived, |record| {
            record.changed_at = at;
            record.shelved_until = None;
            record.shelved_by = None;
            record.announced = true;
        })
    }

    fn raise(&mut self, about: About<'_>, verdict: &Verdict) -> Transition {
        let previous = self.state();
        let mut record = self.draft(about, verdict.evidence.end, latest(verdict));
        record.raised_at = Some(verdict.evidence.end);
        record.label.clone_from(&verdict.label);
        record.note = written(verdict);
        record.model.clone_from(&verdict.model);
        record.region = verdict.region;
        record.contributions = number::contributions(&verdict.contributions);
        if verdict.subject.is_some() {
            record.explanation = Explanation::Pending;
        }
        record.text = sentence(about, &record);
        let (cause, state) =
            match self.record.as_ref().filter(|old| old.state == AlertState::Shelved) {
                Some(shelf) => {
                    record.shelved_until = shelf.shelved_until;
                    record.shelved_by.clone_from(&shelf.shelved_by);
                    record.comment.clone_from(&shelf.comment);
                    record.announced = false;
                    (Cause::Suppressed, AlertState::Shelved)
                }
                None => (Cause::Raised, AlertState::Active),
            };
        record.state = previous;
        self.record = Some(record);
        self.transition(cause, state, verdict.arrived, |_| {})
    }

    /// The reasons for the raise have come. Nothing if another alert stands by now, or it is over.
    pub(super) fn explain(
        &mut self,
        about: About<'_>,
        explained: &Explained,
        now: Timestamp,
    ) -> Option<Transition> {
        let record = self.record.as_ref().filter(|record| {
            record.alert_id == explained.alert_id
                && record.explanation == Explanation::Pending
                && record.state != AlertState::Normal
        })?;
        let (state, is_on) = (record.state, record.cleared_at.is_none());
        let hidden = state == AlertState::Shelved;
        let cause = if hidden { Cause::Suppressed } else { Cause::Explained };
        Some(self.transition(cause, state, now, |record| {
            record.explanation = explained.how;
            record.contributions = number::contributions(&explained.contributions);
            // What is over shows the score that ended it; its sentence tells of the raise.
            if is_on {
                record.text = sentence(about, record);
            }
        }))
    }

    fn lower(&mut self, about: About<'_>, verdict: &Verdict) -> Option<Transition> {
        let (cause, state) = match self.record.as_ref()?.state {
            AlertState::Shelved => (Cause::Suppressed, AlertState::Shelved),
            AlertState::Acknowledged => (Cause::Cleared, AlertState::Normal),
            AlertState::Active | AlertState::Cleared | AlertState::Normal => {
                (Cause::Cleared, AlertState::Cleared)
            }
        };
        let end = verdict.evidence.end;
        Some(self.transition(cause, state, verdict.arrived, |record| {
            record.changed_at = end;
            record.cleared_at = Some(end);
            record.score = number::score(verdict.score);
            record.threshold = number::value(about.decision.clear);
            record.evidence = number::evidence(verdict.evidence);
        }))
    }

    fn acknowledge(
        &mut self,
        by: String,
        comment: Option<String>,
        now: Timestamp,
    ) -> Result<Option<Transition>, CommandError> {
        let state = match self.state() {
            AlertState::Active => AlertState::Acknowledged,
            AlertState::Cleared => AlertState::Normal,
            // A broker may deliver a command twice.
            AlertState::Acknowledged => return Ok(None),
            state @ AlertState::Normal => return Err(CommandError::NothingToAcknowledge(state)),
            AlertState::Shelved => {
                let until = self.shelved_until().unwrap_or(now);
                return Err(CommandError::Shelved(until));
            }
        };
        Ok(Some(self.transition(Cause::Acknowledged, state, now, |record| {
            record.changed_at = now;
            record.acknowledged_at = Some(now);
            record.acknowledged_by = Some(by);
            record.comment = comment;
        })))
    }

    /// Makes sure that there is a record to shelve.
    fn shelve(&mut self, about: About<'_>, now: Timestamp) -> Result<(), CommandError> {
        if self.state() == AlertState::Normal {
            let latest = self.latest.ok_or(CommandError::Unknown("shelve"))?;
            let mut record = self.draft(about, now, latest);
            record.text = format!("{}: {} is shelved.", self.asset, about.spec.name);
            self.record = Some(record);
        }
        Ok(())
    }

    /// A new record with a new id, in the state normal. The count of transitions goes on.
    fn draft(&self, about: About<'_>, at: Timestamp, latest: Latest) -> AlertRecord {
        let latest = told(latest);
        let About { site, spec, decision } = about;
        AlertRecord {
            alert_id: alert_id(site, &self.asset, &spec.name, at),
            asset: self.asset.clone(),
            prediction: spec.name.clone(),
            state: AlertState::Normal,
            severity: spec.policy.severity.unwrap_or(DEFAULT_SEVERITY),
            text: String::new(),
            raised_at: None,
            changed_at: at,
            acknowledged_at: None,
            acknowledged_by: None,
            cleared_at: None,
            shelved_until: None,
            shelved_by: None,
            comment: None,
            score: latest.score,
            threshold: number::value(decision.raise),
            label: None,
            note: None,
            evidence: latest.evidence,
            model: None,
            region: None,
            contributions: Vec::new(),
            explanation: Explanation::Direct,
            seq: self.record.as_ref().map_or(0, |record| record.seq),
            evaluated_to: self.evaluated_to,
            latest,
            announced: true,
            memory: Memory::default(),
            clock_doubted: false,
            held: false,
        }
    }

    fn transition(
        &mut self,
        cause: Cause,
        state: AlertState,
        arrived: Timestamp,
        change: impl FnOnce(&mut AlertRecord),
    ) -> Transition {
        let record = self.record.as_mut().expect("only an alert with a record changes");
        let previous = record.state;
        change(record);
        record.state = state;
        record.seq += u64::from(cause != Cause::Suppressed);
        record.evaluated_to = self.evaluated_to;
        record.latest = self.latest.map_or(record.latest, told);
        record.memory = self.memory.clone();
        Transition {
            record: record.clone(),
            previous,
            cause,
            arrived,
            finished: state == AlertState::Normal,
        }
    }
}

/// What the model read, fit to be shown.
fn written(verdict: &Verdict) -> Option<Arc<str>> {
    let text = verdict.subject.as_ref()?.text.as_ref()?;
    Some(note::shown(text).into())
}

fn latest(verdict: &Verdict) -> Latest {
    Latest { score: verdict.score, evidence: verdict.evidence }
}

fn told(latest: Latest) -> Latest {
    Latest { score: number::score(latest.score), evidence: number::evidence(latest.evidence) }
}

/// What is wrong, in words.
fn sentence(about: About<'_>, record: &AlertRecord) -> String {
    Fields {
        asset: &record.asset,
        prediction: &about.spec.name,
        kind: &about.spec.kind,
        score: record.score,
        threshold: about.decision.raise,
        label: record.label.as_deref(),
        note: record.note.as_deref(),
        pending: record.explanation == Explanation::Pending,
        region: record.region,
        contributions: &record.contributions,
    }
    .render(about.spec.policy.text.as_deref())
}
