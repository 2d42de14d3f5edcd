//! The way back: a retained state to the record of the box that takes the asset over.

use std::sync::Arc;

use serde::Deserialize;

use super::level::decode_level;
use crate::alert::evaluate::Memory;
use crate::alert::record::{AlertRecord, AlertState, Latest};
use crate::time::Timestamp;
use crate::verdict::{Contribution, Evidence, Explanation, ModelIdentity, Region};

/// Why a retained message is taken for no alert.
#[derive(Debug, thiserror::Error)]
pub enum AdoptError {
    #[error("it is no alert's state: {0}")]
    Unreadable(#[from] serde_json::Error),
    #[error("it tells of {0}, which its topic does not")]
    Elsewhere(String),
}

#[derive(Deserialize)]
struct Event {
    data: Data,
}

/// What subscribers get; see `envelope.rs`.
#[derive(Deserialize)]
struct Data {
    alert_id: String,
    asset: String,
    prediction: String,
    state: AlertState,
    severity: u16,
    text: String,
    raised_at: Option<Timestamp>,
    changed_at: Timestamp,
    acknowledged_at: Option<Timestamp>,
    acknowledged_by: Option<String>,
    cleared_at: Option<Timestamp>,
    shelved_until: Option<Timestamp>,
    shelved_by: Option<String>,
    comment: Option<String>,
    score: f64,
    threshold: f64,
    label: Option<Arc<str>>,
    #[serde(default)]
    note: Option<Arc<str>>,
    window: Evidence,
    model: Option<Arc<ModelIdentity>>,
    #[serde(default)]
    region: Option<Region>,
    contributions: Vec<Contribution>,
    explanation: Explanation,
    seq: u64,
    #[serde(default)]
    clock_doubted: bool,
}

/// The record behind the retained `body` that stands on the levels `asset` and `prediction`.
/// What was judged after its last change is not known: it is judged again.
pub fn adopted(asset: &str, prediction: &str, body: &[u8]) -> Result<AlertRecord, AdoptError> {
    let Event { data } = serde_json::from_slice(body)?;
    if decode_level(asset) != data.asset || decode_level(prediction) != data.prediction {
        return Err(AdoptError::Elsewhere(format!("{}/{}", data.asset, data.prediction)));
    }
    let alarm = data.raised_at.is_some() && data.cleared_at.is_none();
    Ok(AlertRecord {
        alert_id: data.alert_id,
        asset: data.asset,
        prediction: data.prediction,
        state: data.state,
        severity: data.severity,
        text: data.text,
        raised_at: data.raised_at,
        changed_at: data.changed_at,
        acknowledged_at: data.acknowledged_at,
        acknowledged_by: data.acknowledged_by,
        cleared_at: data.cleared_at,
        shelved_until: data.shelved_until,
        shelved_by: data.shelved_by,
        comment: data.comment,
        score: data.score,
        threshold: data.threshold,
        label: data.label,
        note: data.note,
        evidence: data.window,
        model: data.model,
        region: data.region,
        contributions: data.contributions,
        explanation: data.explanation,
        seq: data.seq,
        evaluated_to: data.window.end,
        latest: Latest { score: data.score, evidence: data.window },
        announced: true,
        memory: Memory::of(alarm),
        clock_doubted: data.clock_doubted,
        held: false,
    })
}
