//! The bodies. Fields stand in the order in which they are written, absent ones are null, so
//! that a subscriber can map them to columns.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Serialize, Serializer};

use super::level::percent;
use crate::alert::number;
use crate::alert::record::{AlertRecord, AlertState, Transition};
use crate::time::Timestamp;
use crate::verdict::{Contribution, Evidence, Explanation, ModelIdentity, Region, Verdict};

/// Names of the JSON Schemas in `docs/schema`.
pub mod schema {
    pub const ALERT: &str = "urn:andon:schema:alert:v1";
    pub const VERDICT: &str = "urn:andon:schema:verdict:v1";
    pub const STATUS: &str = "urn:andon:schema:status:v1";
    pub const COMMAND: &str = "urn:andon:schema:command:v1";
}

pub(super) struct Envelope<'a, D> {
    pub(super) id: String,
    pub(super) source: String,
    pub(super) kind: String,
    pub(super) subject: Option<&'a str>,
    pub(super) time: Option<Timestamp>,
    pub(super) dataschema: &'static str,
    pub(super) data: D,
}

impl<D: Serialize> Envelope<'_, D> {
    pub(super) fn to_body(&self) -> Bytes {
        serde_json::to_vec(self).expect("the bodies have string keys and finite numbers").into()
    }
}

impl<D: Serialize> Serialize for Envelope<'_, D> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Shape<'a, D> {
            specversion: &'static str,
            id: &'a str,
            source: &'a str,
            #[serde(rename = "type")]
            kind: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            subject: Option<&'a str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            time: Option<Timestamp>,
            datacontenttype: &'static str,
            dataschema: &'static str,
            data: &'a D,
        }
        Shape {
            specversion: "1.0",
            id: &self.id,
            source: &self.source,
            kind: &self.kind,
            subject: self.subject,
            time: self.time,
            datacontenttype: "application/json",
            dataschema: self.dataschema,
            data: &self.data,
        }
        .serialize(serializer)
    }
}

#[derive(Serialize)]
pub(super) struct AlertData<'a> {
    alert_id: &'a str,
    asset: &'a str,
    prediction: &'a str,
    state: AlertState,
    previous_state: AlertState,
    severity: u16,
    text: &'a str,
    raised_at: Option<Timestamp>,
    changed_at: Timestamp,
    acknowledged_at: Option<Timestamp>,
    acknowledged_by: Option<&'a str>,
    cleared_at: Option<Timestamp>,
    shelved_until: Option<Timestamp>,
    shelved_by: Option<&'a str>,
    comment: Option<&'a str>,
    score: f64,
    threshold: f64,
    label: Option<&'a str>,
    note: Option<&'a str>,
    window: Evidence,
    model: Option<&'a ModelIdentity>,
    region: Option<Region>,
    contributions: &'a [Contribution],
    explanation: Explanation,
    seq: u64,
    clock_doubted: bool,
    /// Stands last, where [`told_late`](super::told_late) finds it.
    historical: bool,
}

impl<'a> AlertData<'a> {
    pub(super) fn new(transition: &'a Transition) -> Self {
        let record: &AlertRecord = &transition.record;
        Self {
            alert_id: &record.alert_id,
            asset: &record.asset,
            prediction: &record.prediction,
            state: record.state,
            previous_state: transition.previous,
            severity: record.severity,
            text: &record.text,
            raised_at: record.raised_at,
            changed_at: record.changed_at,
            acknowledged_at: record.acknowledged_at,
            acknowledged_by: record.acknowledged_by.as_deref(),
            cleared_at: record.cleared_at,
            shelved_until: record.shelved_until,
            shelved_by: record.shelved_by.as_deref(),
            comment: record.comment.as_deref(),
            score: record.score,
            threshold: record.threshold,
            label: record.label.as_deref(),
            note: record.note.as_deref(),
            window: record.evidence,
            model: record.model.as_deref(),
            region: record.region,
            contributions: &record.contributions,
            explanation: record.explanation,
            seq: record.seq,
            clock_doubted: record.clock_doubted,
            historical: false,
        }
    }
}

#[derive(Serialize)]
pub(super) struct VerdictData<'a> {
    asset: &'a str,
    prediction: &'a str,
    score: f64,
    label: Option<&'a str>,
    window: Evidence,
    model: Option<&'a Arc<ModelIdentity>>,
    region: Option<Region>,
    contributions: Vec<Contribution>,
}

impl<'a> VerdictData<'a> {
    pub(super) fn new(verdict: &'a Verdict, asset: &'a str, prediction: &'a str) -> Self {
        Self {
            asset,
            prediction,
            score: number::score(verdict.score),
            label: verdict.label.as_deref(),
            window: number::evidence(verdict.evidence),
            model: verdict.model.as_ref(),
            region: verdict.region,
            contributions: number::contributions(&verdict.contributions),
        }
    }
}

/// `path` as part of a URI: what a URI cannot hold is percent-encoded, `/` and `%` stay.
pub(super) fn uri(path: &str) -> String {
    let mut text = String::with_capacity(path.len());
    for c in path.chars() {
        if c.is_ascii_alphanumeric() || "-._~/%!$&'()*+,;=:@".contains(c) {
            text.push(c);
        } else {
            percent(&mut text, c);
        }
    }
    text
}
