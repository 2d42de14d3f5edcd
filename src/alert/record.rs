//! One alert as the store keeps it, and what changes it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::evaluate::Memory;
use crate::time::Timestamp;
use crate::verdict::{Contribution, Evidence, Explanation, ModelIdentity, Region};

/// The states of ISA-18.2.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlertState {
    /// Nothing is wrong, or what was wrong is over and has been seen.
    Normal,
    /// Raised, and nobody has seen it.
    Active,
    /// Raised, and somebody has seen it.
    Acknowledged,
    /// Over, and nobody has seen it.
    Cleared,
    /// Silenced by a person until a time.
    Shelved,
}

/// What moved an alert from one state to another.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// A new alert with a new id.
    Raised,
    Cleared,
    Acknowledged,
    Shelved,
    /// A person or the time ended the shelving; the state is that of the condition now.
    Unshelved,
    /// Raised or cleared behind the shelf: kept, so that a restart knows it, but not published.
    Suppressed,
    /// The configuration no longer has the prediction or rule.
    Withdrawn,
    /// The state is as it was; the contributions have come, or will not.
    Explained,
}

impl Cause {
    pub const ALL: &[Self] = &[
        Self::Raised,
        Self::Cleared,
        Self::Acknowledged,
        Self::Shelved,
        Self::Unshelved,
        Self::Suppressed,
        Self::Withdrawn,
        Self::Explained,
    ];

    /// The word used in event types, metrics and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Raised => "raised",
            Self::Cleared => "cleared",
            Self::Acknowledged => "acknowledged",
            Self::Shelved => "shelved",
            Self::Unshelved => "unshelved",
            Self::Suppressed => "suppressed",
            Self::Withdrawn => "withdrawn",
            Self::Explained => "explained",
        }
    }
}

/// The newest alert of one prediction on one asset. Its JSON is what the store keeps, also
/// after the alert is over: `evaluated_to` keeps it from being raised again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AlertRecord {
    /// Names one raise: derived from site, asset, prediction and the end of the raising window.
    pub alert_id: String,
    pub asset: String,
    pub prediction: String,
    pub state: AlertState,
    pub severity: u16,
    pub text: String,
    /// Event time. Absent when the alert was shelved before it was ever raised.
    pub raised_at: Option<Timestamp>,
    /// Event time of a raise or clear, wall time of a command.
    pub changed_at: Timestamp,
    pub acknowledged_at: Option<Timestamp>,
    pub acknowledged_by: Option<String>,
    pub cleared_at: Option<Timestamp>,
    pub shelved_until: Option<Timestamp>,
    pub shelved_by: Option<String>,
    /// Of the last command.
    pub comment: Option<String>,
    /// Of the verdict that raised or cleared the alert.
    pub score: f64,
    /// The limit that the score crossed: to raise, or to clear.
    pub threshold: f64,
    pub label: Option<Arc<str>>,
    /// What was written, where the model reads texts: one line, its beginning where it is long.
    #[serde(default)]
    pub note: Option<Arc<str>>,
    pub evidence: Evidence,
    pub model: Option<Arc<ModelIdentity>>,
    /// Where in the picture it was worst, where the model tells.
    #[serde(default)]
    pub region: Option<Region>,
    /// Why it was raised, strongest first.
    pub contributions: Vec<Contribution>,
    #[serde(default)]
    pub explanation: Explanation,
    /// Counts the transitions of this prediction on this asset, from 1; those that nobody is told of
    /// by themselves, in a flood, count too.
    pub seq: u64,
    /// Verdicts up to here have been judged.
    pub evaluated_to: Timestamp,
    /// Of the verdict that ends there.
    pub latest: Latest,
    /// False while the raise stands behind a shelf and nobody has been told.
    pub announced: bool,
    pub memory: Memory,
    /// The box's clock was in doubt when this came about: its times may be wrong.
    #[serde(default)]
    pub clock_doubted: bool,
    /// Nobody has been told of this state yet: too much happened at once. Only as stored.
    #[serde(default)]
    pub held: bool,
}

impl AlertRecord {
    /// As the next life takes it over.
    #[must_use]
    pub(super) fn outlived(mut self) -> Self {
        self.held = false;
        if self.explanation == Explanation::Pending {
            // Whoever worked it out has gone with the last life.
            self.explanation = Explanation::Late;
        }
        self
    }
}

/// The last verdict that was judged, whatever it said.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Latest {
    pub score: f64,
    pub evidence: Evidence,
}

/// An alert changed. The record is to be stored and its messages put into the outbox, in one
/// transaction.
#[derive(Clone, Debug, PartialEq)]
pub struct Transition {
    pub record: AlertRecord,
    pub previous: AlertState,
    pub cause: Cause,
    /// When the deciding sample arrived; for a command, when it came.
    pub arrived: Timestamp,
    /// Over and seen: the retained state is emptied.
    pub finished: bool,
}

/// The first 16 bytes of a SHA-256, written as a UUID of version 8.
pub(super) fn alert_id(site: &str, asset: &str, prediction: &str, end: Timestamp) -> String {
    let mut hash = Sha256::new();
    for part in [site, asset, prediction] {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part.as_bytes());
    }
    hash.update(end.as_nanos().to_le_bytes());
    let digest = hash.finalize();
    let mut id = [0u8; 16];
    id.copy_from_slice(&digest[..16]);
    id[6] = id[6] & 0x0f | 0x80;
    id[8] = id[8] & 0x3f | 0x80;
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let groups = [&id[..4], &id[4..6], &id[6..8], &id[8..10], &id[10..]];
    groups.map(hex).join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_depends_on_every_part_and_on_nothing_else() {
        let at = Timestamp::from_secs(1_700_000_000);
        let id = alert_id("plant7", "press-3", "wear", at);
        assert_eq!(id, alert_id("plant7", "press-3", "wear", at));
        assert_eq!(id.len(), 36);
        assert_eq!(id.as_bytes()[14], b'8');
        for other in [
            alert_id("plant", "7press-3", "wear", at),
            alert_id("plant7", "press-", "3wear", at),
            alert_id("plant7", "press-3", "wear", Timestamp::from_secs(1_700_000_001)),
        ] {
            assert_ne!(id, other);
        }
    }
}
