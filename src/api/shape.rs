//! The shapes of the answers.

use serde::Serialize;
use utoipa::ToSchema;

use crate::alert::AlertRecord;
use crate::time::Timestamp;
use crate::verdict::{self, Explanation};

/// How an asset is, in a word: the gravest that holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AssetState {
    /// An alert stands and nobody has seen it.
    Alert,
    /// Alerts stand and have been seen.
    Acknowledged,
    /// What was wrong is over; nobody has seen it yet.
    Cleared,
    /// Nothing has come for five minutes.
    Silent,
    /// Silenced by a person.
    Shelved,
    Normal,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Asset {
    pub name: String,
    pub state: AssetState,
    /// Of the gravest alert, 1 to 1000.
    pub severity: Option<u16>,
    /// What the gravest alert says.
    pub text: Option<String>,
    /// Alerts that are not over and done with.
    pub alerts: usize,
    pub tags: usize,
    /// When its newest sample or picture came.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_data: Option<Timestamp>,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct AssetDetail {
    #[serde(flatten)]
    pub asset: Asset,
    pub readings: Vec<Tag>,
    pub judges: Vec<Judgement>,
    pub active: Vec<Alert>,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Tag {
    pub asset: String,
    pub tag: String,
    pub unit: Option<String>,
    /// Absent when missing.
    pub value: Option<f64>,
    /// `good`, `uncertain` or `bad`.
    pub quality: &'static str,
    /// Event time.
    #[schema(value_type = String, format = DateTime)]
    pub time: Timestamp,
    /// Since it came, seconds.
    pub age: f64,
    /// Plausible values.
    pub range: Option<[f64; 2]>,
}

/// What a prediction or a rule last said of an asset.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Judgement {
    pub name: String,
    /// `name version`, absent for rules.
    pub model: Option<String>,
    pub device: Option<String>,
    pub score: Option<f64>,
    pub label: Option<String>,
    /// Begin of the window.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub from: Option<Timestamp>,
    /// End of the window.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub at: Option<Timestamp>,
    /// Where an alert is raised.
    pub raise: Option<f64>,
    pub clear: Option<f64>,
    /// `above` or `below` the limit is bad.
    pub bad: &'static str,
    pub tags: Vec<String>,
}

/// A picture that is kept in small, with what a model said of it then.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Snapshot {
    pub id: i64,
    /// Where its JPEG is.
    pub path: String,
    pub asset: String,
    pub prediction: String,
    /// When the picture came.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// `bad` where the score reached the limit, `good` where it did not; absent without a limit.
    pub verdict: Option<&'static str>,
    pub score: f64,
    pub label: Option<String>,
    /// Where an alert was raised then.
    pub raise: Option<f64>,
    /// `above` or `below` the limit is bad.
    pub bad: &'static str,
    /// The alert that this picture raised.
    pub alert_id: Option<String>,
    /// `name version`
    pub model: Option<String>,
    pub device: Option<String>,
    /// Where it is worst, where the score reached the limit and the model tells.
    pub region: Option<Region>,
    /// Of the JPEG, pixels.
    pub width: u16,
    pub height: u16,
    /// Of the JPEG.
    pub bytes: u32,
}

/// A part of a picture, in shares of its width and height from the left and the top.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub struct Region {
    pub left: f32,
    pub top: f32,
    pub width: f32,
    pub height: f32,
}

impl From<verdict::Region> for Region {
    fn from(verdict::Region { left, top, width, height }: verdict::Region) -> Self {
        Self { left, top, width, height }
    }
}

/// An alert as `docs/alerts.md` has it.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Alert {
    pub alert_id: String,
    pub asset: String,
    pub prediction: String,
    /// `active`, `acknowledged`, `cleared`, `shelved` or `normal`.
    pub state: String,
    /// 1 to 1000, as in OPC UA.
    pub severity: u16,
    pub text: String,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub raised_at: Option<Timestamp>,
    #[schema(value_type = String, format = DateTime)]
    pub changed_at: Timestamp,
    pub acknowledged_by: Option<String>,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub cleared_at: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub shelved_until: Option<Timestamp>,
    pub shelved_by: Option<String>,
    pub comment: Option<String>,
    pub score: f64,
    pub threshold: f64,
    pub label: Option<String>,
    /// What was written, where the model reads texts.
    pub note: Option<String>,
    pub model: Option<String>,
    pub device: Option<String>,
    /// Where in the picture it was worst, where the model tells.
    pub region: Option<Region>,
    pub contributions: Vec<Reason>,
    /// `direct`, `pending`, `exact`, `sampled`, `words`, `late` or `failed`.
    #[schema(value_type = String)]
    pub explanation: Explanation,
}

/// How much one tag moved the score, or one word of a text.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Reason {
    pub tag: String,
    pub value: Option<f64>,
    /// In units of the score.
    pub share: f64,
}

impl From<AlertRecord> for Alert {
    fn from(record: AlertRecord) -> Self {
        let model = record.model.as_deref();
        Self {
            state: state_word(&record).to_owned(),
            model: model.map(|model| format!("{} {}", model.name, model.version)),
            device: model.map(|model| model.device.clone()),
            region: record.region.map(Region::from),
            contributions: record
                .contributions
                .into_iter()
                .map(|reason| Reason { tag: reason.tag, value: reason.value, share: reason.share })
                .collect(),
            explanation: record.explanation,
            alert_id: record.alert_id,
            asset: record.asset,
            prediction: record.prediction,
            severity: record.severity,
            text: record.text,
            raised_at: record.raised_at,
            changed_at: record.changed_at,
            acknowledged_by: record.acknowledged_by,
            cleared_at: record.cleared_at,
            shelved_until: record.shelved_until,
            shelved_by: record.shelved_by,
            comment: record.comment,
            score: record.score,
            threshold: record.threshold,
            label: record.label.map(|label| label.to_string()),
            note: record.note.map(|note| note.to_string()),
        }
    }
}

fn state_word(record: &AlertRecord) -> &'static str {
    use crate::alert::AlertState as State;
    match record.state {
        State::Normal => "normal",
        State::Active => "active",
        State::Acknowledged => "acknowledged",
        State::Cleared => "cleared",
        State::Shelved => "shelved",
    }
}

/// One line of an alert's life.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Event {
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// `raised`, `cleared`, `acknowledged`, `shelved`, `unshelved`, `suppressed`, `withdrawn`,
    /// `explained`.
    pub cause: String,
    /// Who acknowledged or shelved it.
    pub by: Option<String>,
    /// As it was then.
    pub alert: Alert,
}

/// A stretch of one tag. The columns have one entry a bucket; an empty bucket is left out.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub struct Series {
    pub asset: String,
    pub tag: String,
    pub unit: Option<String>,
    /// Samples in the stretch.
    pub samples: usize,
    /// Of the bucket's newest sample, milliseconds since 1970.
    pub time_ms: Vec<i64>,
    /// `null` where every sample of the bucket is missing.
    pub min: Vec<Option<f64>>,
    pub max: Vec<Option<f64>>,
    pub last: Vec<Option<f64>>,
    /// The worst of the bucket: `good`, `uncertain` or `bad`.
    pub quality: Vec<&'static str>,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Unreadable {
    #[schema(value_type = String, format = DateTime)]
    pub received: Timestamp,
    pub source: String,
    pub topic: String,
    pub reason: &'static str,
    pub detail: String,
    /// The first bytes; what is no text is replaced.
    pub head: String,
    pub length: u64,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct DeadLetter {
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    pub topic: String,
    pub reason: String,
    pub body: String,
}
