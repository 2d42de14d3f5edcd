//! Alert messages in a flood: what is told at once, and what waits.
//!
//! A bucket of tokens, one for each transition told. When it is empty a transition is held; of each
//! alert only the newest one, so what is held is bounded by the number of alerts there are. As tokens
//! come back the held ones are told, the longest waiting first. Nothing here touches the states of
//! alerts or their history. Time is monotonic and comes from the caller.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::time::Duration;

use super::record::{AlertRecord, AlertState, Cause, Transition};
use crate::settings::FloodSettings;
use crate::time::Timestamp;

type Key = (String, String);

#[derive(Debug)]
pub struct FloodGate {
    settings: FloodSettings,
    tokens: f64,
    filled: Duration,
    held: BTreeMap<Key, Transition>,
    order: VecDeque<Key>,
    flood: Option<Flood>,
}

/// A flood from the first transition that was held.
#[derive(Debug, Default)]
struct Flood {
    since: Duration,
    held: u64,
    merged: u64,
    by_asset: BTreeMap<String, u64>,
    reported: bool,
}

impl Flood {
    fn report(&self, over: bool, lasted: Duration) -> FloodReport {
        let count = |(asset, count): (&String, &u64)| (asset.clone(), *count);
        let mut worst: Vec<(String, u64)> = self.by_asset.iter().map(count).collect();
        worst.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        worst.truncate(WORST);
        FloodReport { over, lasted, held: self.held, merged: self.merged, worst }
    }
}

/// What there is to say of a flood: once soon after its beginning, once at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FloodReport {
    pub over: bool,
    pub lasted: Duration,
    /// Transitions that found the bucket empty, ...
    pub held: u64,
    /// ... and those of them that a newer one of the same alert has replaced.
    pub merged: u64,
    /// The assets that changed most often, the worst first.
    pub worst: Vec<(String, u64)>,
}

/// `4 changes of alerts in 1s had to wait, 2 of them are told with newer ones; most on press-2 (3), press-3 (1)`
impl fmt::Display for FloodReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = (self.lasted + Duration::from_millis(500)).as_secs();
        let lasted = humantime::format_duration(Duration::from_secs(seconds));
        write!(f, "{} changes of alerts in {lasted} had to wait", self.held)?;
        if self.merged > 0 {
            write!(f, ", {} of them are told with newer ones", self.merged)?;
        }
        for (at, (asset, count)) in self.worst.iter().enumerate() {
            let before = if at == 0 { "; most on " } else { ", " };
            write!(f, "{before}{asset} ({count})")?;
        }
        Ok(())
    }
}

#[must_use = "a transition that is held must be stored as held"]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passage {
    Tell,
    Hold,
}

/// A flood is summarised so long after it began: by then there is something to say.
const FIRST_LOOK: Duration = Duration::from_secs(1);
const WORST: usize = 5;

impl FloodGate {
    pub fn new(settings: FloodSettings) -> Self {
        Self {
            tokens: f64::from(settings.burst),
            settings,
            filled: Duration::ZERO,
            held: BTreeMap::new(),
            order: VecDeque::new(),
            flood: None,
        }
    }

    pub fn settings(&self) -> &FloodSettings {
        &self.settings
    }

    /// How many alerts have news that nobody was told of yet.
    pub fn held(&self) -> usize {
        self.held.len()
    }

    /// What was held when the last life ended.
    pub fn restore(&mut self, transition: Transition) {
        self.hold(transition);
    }

    /// The last life ended in a flood that it had told of.
    pub fn restore_flood(&mut self) {
        self.flood = Some(Flood { reported: true, ..Flood::default() });
    }

    /// Whether a transition is told now. What a person did, and what is grave, always is.
    /// Also how many transitions it makes needless.
    pub fn pass(&mut self, transition: &Transition, now: Duration) -> (Passage, u64) {
        self.fill(now);
        let key = key(transition);
        let waits = self.held.contains_key(&key);
        if self.hurries(transition) {
            self.tokens = (self.tokens - 1.0).max(0.0);
            return (Passage::Tell, u64::from(self.forget(&key)));
        }
        if !waits && self.order.is_empty() && self.tokens >= 1.0 {
            self.tokens -= 1.0;
            return (Passage::Tell, 0);
        }
        let begun = || Flood { since: now, ..Flood::default() };
        let flood = self.flood.get_or_insert_with(begun);
        flood.held += 1;
        flood.merged += u64::from(waits);
        *flood.by_asset.entry(key.0).or_default() += 1;
        self.hold(transition.clone());
        (Passage::Hold, u64::from(waits))
    }

    /// What is held of an alert; it is told at once by whoever asks.
    pub fn take(&mut self, asset: &str, prediction: &str) -> Option<Transition> {
        let key = (asset.to_owned(), prediction.to_owned());
        let held = self.held.remove(&key);
        self.order.retain(|waiting| *waiting != key);
        held
    }

    /// The next held transition that may be told.
    pub fn release(&mut self, now: Duration) -> Option<Transition> {
        self.fill(now);
        if self.tokens < 1.0 {
            return None;
        }
        let key = self.order.pop_front()?;
        self.tokens -= 1.0;
        self.held.remove(&key)
    }

    /// What is to be said of the flood, if it is time.
    pub fn report(&mut self, now: Duration) -> Option<FloodReport> {
        let flood = self.flood.as_mut()?;
        let lasted = now.saturating_sub(flood.since);
        let over = self.held.is_empty();
        let first = !flood.reported && lasted >= FIRST_LOOK;
        if !over && !first {
            return None;
        }
        // One that ends before its first look is not worth an alert.
        let known = std::mem::replace(&mut flood.reported, true);
        let report = (known || !over).then(|| flood.report(over, lasted));
        if over {
            self.flood = None;
        }
        report
    }

    fn hurries(&self, transition: &Transition) -> bool {
        let by_hand = match transition.cause {
            Cause::Acknowledged | Cause::Shelved | Cause::Unshelved | Cause::Withdrawn => true,
            // Behind a shelf nothing is told anyway.
            Cause::Suppressed => true,
            Cause::Raised | Cause::Cleared | Cause::Explained => false,
        };
        let own = transition.record.prediction == FloodSettings::ALERT;
        by_hand || own || transition.record.severity >= self.settings.always_from
    }

    fn hold(&mut self, newer: Transition) {
        let key = key(&newer);
        match self.held.get_mut(&key) {
            Some(held) => *held = merged(held, newer),
            None => {
                self.order.push_back(key.clone());
                self.held.insert(key, newer);
            }
        }
    }

    fn forget(&mut self, key: &Key) -> bool {
        let held = self.held.remove(key).is_some();
        if held {
            self.order.retain(|waiting| waiting != key);
        }
        held
    }

    fn fill(&mut self, now: Duration) {
        let passed = now.saturating_sub(self.filled).as_secs_f64();
        self.filled = now;
        let more = passed * f64::from(self.settings.per_second);
        self.tokens = (self.tokens + more).min(f64::from(self.settings.burst));
    }
}

fn key(transition: &Transition) -> Key {
    (transition.record.asset.clone(), transition.record.prediction.clone())
}

/// The newer one, told as a subscriber sees it who knows the state before the older one.
fn merged(older: &Transition, newer: Transition) -> Transition {
    let cause = match newer.cause {
        // The reasons ride along with the news that they are about.
        Cause::Explained => older.cause,
        cause => cause,
    };
    Transition { previous: older.previous, cause, ..newer }
}

/// The transition of a record that was held when the last life ended, as far as it can be told.
pub fn resumed(record: &AlertRecord, now: Timestamp) -> Transition {
    let (cause, previous) = match record.state {
        AlertState::Active => (Cause::Raised, AlertState::Normal),
        // Its reasons were the news.
        AlertState::Acknowledged => (Cause::Explained, AlertState::Acknowledged),
        AlertState::Normal | AlertState::Cleared | AlertState::Shelved => {
            (Cause::Cleared, AlertState::Active)
        }
    };
    let finished = record.state == AlertState::Normal;
    Transition { record: record.clone().outlived(), previous, cause, arrived: now, finished }
}

#[cfg(test)]
mod tests;
