//! What goes out over MQTT: topics, and CloudEvents 1.0 in structured JSON.
//!
//! An alert's event and its retained state are the same bytes, with the same CloudEvents id.
//! `docs/schema` describes every body; `tests/alert_wire.rs` holds the two together.

mod adopt;
mod envelope;
mod level;
mod status;

use bytes::Bytes;

pub use self::adopt::{AdoptError, adopted};
pub use self::envelope::schema;
pub use self::level::{decode_level, encode_level};
pub use self::status::{
    ConfigState, ConfigStatus, Liveness, ModelStatus, OutboxStatus, ShareStatus, StatusBody,
    StoreStatus,
};

use self::envelope::{AlertData, Envelope, VerdictData, uri};
use self::status::{StatusData, WillData};
use super::record::{Cause, Transition};
use crate::message::Message;
use crate::time::Timestamp;
use crate::verdict::Verdict;

/// Writes messages of one site. `prefix` is its path in the unified namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wire {
    pub prefix: String,
    pub site: String,
    /// This box's name, where several split the site.
    pub station: Option<String>,
}

/// How an alert's body ends; absent fields are written too, so it always does.
const PROMPT: &[u8] = b"\"historical\":false}}";
const LATE: &[u8] = b"\"historical\":true}}";

/// The same message, told late, after an outage: `historical` is true in it.
pub fn told_late(message: &Message) -> Message {
    let body = match message.body.strip_suffix(PROMPT) {
        Some(head) => [head, LATE].concat().into(),
        None => message.body.clone(),
    };
    Message { body, ..message.clone() }
}

impl Wire {
    /// The event, then the retained state; nothing for what happened behind a shelf.
    pub fn messages(&self, transition: &Transition) -> Vec<Message> {
        if transition.cause == Cause::Suppressed {
            return Vec::new();
        }
        let record = &transition.record;
        let body = Envelope {
            id: format!("{}-{}", record.alert_id, record.seq),
            source: self.source(&record.asset),
            kind: format!("io.andon.alert.{}.v1", transition.cause.as_str()),
            subject: Some(&record.prediction),
            time: Some(record.changed_at),
            dataschema: schema::ALERT,
            data: AlertData::new(transition),
        }
        .to_body();
        let topic = self.topic(&record.asset, "alert", &record.prediction);
        let event = Message { topic: format!("{topic}/event"), body: body.clone(), retain: false };
        let state = if transition.finished { Bytes::new() } else { body };
        vec![event, Message { topic, body: state, retain: true }]
    }

    /// One verdict, alert or not.
    pub fn verdict(&self, verdict: &Verdict, asset: &str, prediction: &str) -> Message {
        let end = verdict.evidence.end;
        let body = Envelope {
            id: format!("{prediction}-{}", end.as_nanos()),
            source: self.source(asset),
            kind: "io.andon.verdict.v1".into(),
            subject: Some(prediction),
            time: Some(end),
            dataschema: schema::VERDICT,
            data: VerdictData::new(verdict, asset, prediction),
        }
        .to_body();
        Message { topic: self.topic(asset, "verdict", prediction), body, retain: false }
    }

    /// How the daemon is at `now`.
    pub fn status(&self, status: &StatusBody, now: Timestamp) -> Message {
        let data = StatusData { site: &self.site, status };
        self.status_message(format!("status-{}", now.as_nanos()), Some(now), data)
    }

    /// What the broker says for the daemon when the daemon cannot.
    pub fn will(&self) -> Message {
        self.status_message("offline".into(), None, WillData::new(&self.site))
    }

    /// Where commands come in: the first `+` is the asset, the second the prediction.
    pub fn command_filter(&self) -> String {
        format!("{}/+/alert/+/command", self.prefix)
    }

    /// Where labels come in, with the same two levels.
    pub fn label_filter(&self) -> String {
        format!("{}/+/label/+", self.prefix)
    }

    /// Where the retained states of all alerts of the site come, with the same two levels.
    pub fn state_filter(&self) -> String {
        format!("{}/+/alert/+", self.prefix)
    }

    /// Where all boxes of the site tell how they are.
    pub fn box_filter(&self) -> String {
        format!("{}/status/+", self.prefix)
    }

    /// The levels of asset and prediction in the topic of a retained state.
    pub fn state_of<'t>(&self, topic: &'t str) -> Option<(&'t str, &'t str)> {
        let levels = topic.strip_prefix(&self.prefix)?.strip_prefix('/')?;
        let (asset, rest) = levels.split_once('/')?;
        let prediction = rest.strip_prefix("alert/")?;
        (!prediction.contains('/')).then_some((asset, prediction))
    }

    fn status_topic(&self) -> String {
        match &self.station {
            Some(station) => format!("{}/status/{}", self.prefix, encode_level(station)),
            None => format!("{}/status", self.prefix),
        }
    }

    fn status_message<D: serde::Serialize>(
        &self,
        id: String,
        time: Option<Timestamp>,
        data: D,
    ) -> Message {
        let body = Envelope {
            id,
            source: self.status_source(),
            kind: "io.andon.status.v1".into(),
            subject: None,
            time,
            dataschema: schema::STATUS,
            data,
        }
        .to_body();
        Message { topic: self.status_topic(), body, retain: true }
    }

    /// An id is unique for its source: each box of a site counts for itself.
    fn status_source(&self) -> String {
        match &self.station {
            Some(station) => {
                format!("/{}/status/{}", uri(&self.prefix), uri(&encode_level(station)))
            }
            None => format!("/{}", uri(&self.prefix)),
        }
    }

    fn topic(&self, asset: &str, what: &str, prediction: &str) -> String {
        format!("{}/{}/{what}/{}", self.prefix, encode_level(asset), encode_level(prediction))
    }

    fn source(&self, asset: &str) -> String {
        format!("/{}/{}", uri(&self.prefix), uri(&encode_level(asset)))
    }
}
