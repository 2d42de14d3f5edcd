//! The book of all alerts: one slot for each prediction on each asset.
//!
//! Transitions come out one by one, in the order of what caused them. Whoever wants to group a
//! storm of them does so between the book and the [wire](super::wire).

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::command::{Command, CommandError};
use super::evaluate::Decision;
use super::record::{AlertRecord, AlertState, Cause, Transition};
use super::slot::{About, Slot};
use super::spec::AlertSpec;
use crate::asset::AssetId;
use crate::time::Timestamp;
use crate::verdict::{Explained, PredictionId, Verdict};

type Key = (AssetId, PredictionId);

#[derive(Debug)]
pub struct AlertBook {
    site: String,
    specs: BTreeMap<PredictionId, (AlertSpec, Decision)>,
    slots: BTreeMap<Key, Slot>,
    shelves: BTreeSet<(Timestamp, Key)>,
    /// Of predictions that are no longer configured.
    orphans: Vec<AlertRecord>,
    repeats: u64,
}

/// How many alerts are in each state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct AlertCounts {
    pub active: u64,
    pub acknowledged: u64,
    pub cleared: u64,
    pub shelved: u64,
}

impl AlertBook {
    /// `site` is part of every alert id. Every policy must have its `raise`.
    pub fn new(site: &str, specs: Vec<AlertSpec>) -> Self {
        let complete = |spec: AlertSpec| {
            let decision = Decision::new(&spec);
            (spec.id, (spec, decision))
        };
        Self {
            site: site.to_owned(),
            specs: specs.into_iter().map(complete).collect(),
            slots: BTreeMap::new(),
            shelves: BTreeSet::new(),
            orphans: Vec::new(),
            repeats: 0,
        }
    }

    /// Takes back what the store kept. Then feed the stored samples: verdicts that the record
    /// already knows are ignored. Call [`withdraw`](Self::withdraw) when all are restored.
    pub fn restore(&mut self, asset: AssetId, asset_name: &str, record: AlertRecord) {
        let spec = self.specs.values().find(|(spec, _)| spec.name == record.prediction);
        let Some((spec, decision)) = spec else {
            if record.state != AlertState::Normal {
                self.orphans.push(record);
            }
            return;
        };
        let key = (asset, spec.id);
        let slot = Slot::restored(asset_name, record, decision);
        self.shelves.extend(slot.shelved_until().map(|until| (until, key)));
        self.slots.insert(key, slot);
    }

    /// Takes an alert over that stands for an asset of another box until now. False: this box knows
    /// newer things of it, or nothing of its prediction.
    #[must_use]
    pub fn adopt(&mut self, asset: AssetId, asset_name: &str, record: &AlertRecord) -> bool {
        let spec = self.specs.values().find(|(spec, _)| spec.name == record.prediction);
        let Some((spec, _)) = spec else { return false };
        let known = self.slots.get(&(asset, spec.id)).and_then(Slot::record);
        // Every change counts on, in whichever box; what this box has told itself comes back too.
        let newer = known.is_none_or(|known| known.seq < record.seq);
        if newer {
            self.restore(asset, asset_name, record.clone());
        }
        newer
    }

    /// Forgets all alerts of the assets that `foreign` names, and gives what stood.
    pub fn let_go(&mut self, foreign: impl Fn(&str) -> bool) -> Vec<AlertRecord> {
        let gone = self.slots.extract_if(.., |_, slot| foreign(slot.asset())).collect::<Vec<_>>();
        for (key, _) in &gone {
            self.shelves.retain(|(_, shelved)| shelved != key);
        }
        gone.into_iter().filter_map(|(_, slot)| slot.record().cloned()).collect()
    }

    /// Ends the restored alerts whose prediction or rule the configuration no longer has, so
    /// that no subscriber keeps them for ever.
    #[must_use]
    pub fn withdraw(&mut self, now: Timestamp) -> Vec<Transition> {
        let withdraw = |mut record: AlertRecord| {
            let previous = std::mem::replace(&mut record.state, AlertState::Normal);
            record.changed_at = now;
            record.cleared_at.get_or_insert(now);
            record.shelved_until = None;
            record.shelved_by = None;
            record.seq += 1;
            Transition { record, previous, cause: Cause::Withdrawn, arrived: now, finished: true }
        };
        std::mem::take(&mut self.orphans).into_iter().map(withdraw).collect()
    }

    /// Other predictions, rules and thresholds from now on. Alerts keep their states; those whose
    /// prediction or rule is gone end.
    #[must_use]
    pub fn retune(&mut self, specs: Vec<AlertSpec>, now: Timestamp) -> Vec<Transition> {
        self.specs = Self::new("", specs).specs;
        let mut kept = BTreeMap::new();
        for (key, mut slot) in std::mem::take(&mut self.slots) {
            if let Some((_, decision)) = self.specs.get(&key.1) {
                slot.retune(decision);
                kept.insert(key, slot);
                continue;
            }
            self.shelves.retain(|(_, shelved)| *shelved != key);
            let alert = slot.record().filter(|record| record.state != AlertState::Normal);
            self.orphans.extend(alert.cloned());
        }
        self.slots = kept;
        self.withdraw(now)
    }

    /// Judges a verdict. One that is not newer than the last of its asset and prediction is a
    /// repeat: counted, and nothing else.
    #[must_use]
    pub fn apply(
        &mut self,
        verdict: &Verdict,
        asset_name: &str,
        now: Timestamp,
    ) -> Option<Transition> {
        let (spec, decision) = self.specs.get(&verdict.prediction)?;
        let key = (verdict.asset, verdict.prediction);
        let slot = self.slots.entry(key).or_insert_with(|| Slot::new(asset_name));
        if !slot.is_news(verdict) {
            self.repeats += 1;
            return None;
        }
        let about = About { site: &self.site, spec, decision };
        let transition = slot.judge(about, verdict);
        match slot.shelved_until() {
            // A busy driver may bring the verdict before it comes to `advance`.
            Some(until) if until <= now => {
                self.shelves.remove(&(until, key));
                Some(slot.unshelve(until, verdict.arrived))
            }
            _ => transition,
        }
    }

    /// The box's clock was stepped by `nanos`, and `predictions` are judged by its time.
    pub fn stepped(&mut self, predictions: &[PredictionId], nanos: i64) {
        for ((_, judged), slot) in &mut self.slots {
            if predictions.contains(judged) {
                slot.stepped(nanos);
            }
        }
    }

    /// A life begins at `now` by the box's clock, which may have been ahead in the life before;
    /// `predictions` are judged by its time.
    pub fn resumed(&mut self, predictions: &[PredictionId], now: Timestamp) {
        for ((_, judged), slot) in &mut self.slots {
            if predictions.contains(judged) {
                slot.resumed(now);
            }
        }
    }

    /// Puts the reasons to the alert that they are about, if it still stands.
    #[must_use]
    pub fn explain(&mut self, explained: &Explained, now: Timestamp) -> Option<Transition> {
        let (spec, decision) = self.specs.get(&explained.prediction)?;
        let slot = self.slots.get_mut(&(explained.asset, explained.prediction))?;
        slot.explain(About { site: &self.site, spec, decision }, explained, now)
    }

    /// Does what a person asks. `Ok(None)`: it was so already.
    pub fn command(
        &mut self,
        asset: AssetId,
        prediction: PredictionId,
        command: Command,
        now: Timestamp,
    ) -> Result<Option<Transition>, CommandError> {
        let key = (asset, prediction);
        let unknown = CommandError::Unknown(command.action.as_str());
        let Some((spec, decision)) = self.specs.get(&prediction) else { return Err(unknown) };
        let Some(slot) = self.slots.get_mut(&key) else { return Err(unknown) };
        let before = slot.shelved_until();
        let outcome = slot.obey(About { site: &self.site, spec, decision }, command, now);
        let after = slot.shelved_until();
        if let Some(until) = before {
            self.shelves.remove(&(until, key));
        }
        self.shelves.extend(after.map(|until| (until, key)));
        outcome
    }

    /// When [`advance`](Self::advance) has something to do: the first shelf comes down.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.shelves.first().map(|(until, _)| *until)
    }

    #[must_use]
    pub fn advance(&mut self, now: Timestamp) -> Vec<Transition> {
        let mut transitions = Vec::new();
        while let Some(&(until, key)) = self.shelves.first()
            && until <= now
        {
            self.shelves.pop_first();
            if let Some(slot) = self.slots.get_mut(&key) {
                transitions.push(slot.unshelve(until, now));
            }
        }
        transitions
    }

    /// The alerts that are not over and done with.
    pub fn active(&self) -> impl Iterator<Item = &AlertRecord> {
        self.slots
            .values()
            .filter_map(Slot::record)
            .filter(|record| record.state != AlertState::Normal)
    }

    pub fn counts(&self) -> AlertCounts {
        let mut counts = AlertCounts::default();
        for record in self.active() {
            match record.state {
                AlertState::Normal => {}
                AlertState::Active => counts.active += 1,
                AlertState::Acknowledged => counts.acknowledged += 1,
                AlertState::Cleared => counts.cleared += 1,
                AlertState::Shelved => counts.shelved += 1,
            }
        }
        counts
    }

    /// Verdicts ignored since the start, because they were not newer than the last.
    pub fn repeats(&self) -> u64 {
        self.repeats
    }
}
