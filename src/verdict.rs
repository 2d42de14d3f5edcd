//! What a model (or a plain rule) says about one asset at one time.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::asset::AssetId;
use crate::time::Timestamp;

/// A prediction or rule by its place in the configuration: predictions first, then rules.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PredictionId(pub u16);

/// The stretch of data that a verdict rests on.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    pub start: Timestamp,
    /// Exclusive for time windows; the time of the last row for count windows.
    pub end: Timestamp,
    /// Samples inside, of all tags.
    pub samples: u32,
    /// Share of the cells the model reads that hold measured values, 0 to 1.
    pub coverage: f64,
}

/// How much one tag moved the score.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Contribution {
    /// The tag; or a word, where the model reads texts.
    pub tag: String,
    /// The tag's last value in the window, in its unit; absent when missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
    /// In units of the score; positive pushed towards the alert.
    pub share: f64,
}

/// Where an alert's contributions come from, or why there are none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Explanation {
    /// They come with the verdict: a rule's value, a reconstruction's error.
    #[default]
    Direct,
    /// They are being worked out.
    Pending,
    /// Shapley values over all sets of tags.
    Exact,
    /// Shapley values over random orders of the tags.
    Sampled,
    /// What the score loses without each word of a text.
    Words,
    /// They could not be worked out in time.
    Late,
    /// The model could not answer what was asked.
    Failed,
}

/// What a model saw, kept with a verdict that may raise an alert, so that it can be explained.
#[derive(Clone, Debug, PartialEq)]
pub struct Subject {
    /// As it went into the model.
    pub values: Vec<f32>,
    /// As it came, where the model reads texts.
    pub text: Option<Arc<str>>,
    /// The last measured value of each of the model's tags, in its unit.
    pub latest: Vec<Option<f64>>,
}

/// The answer to "why this alert?".
#[derive(Clone, Debug, PartialEq)]
pub struct Explained {
    pub prediction: PredictionId,
    pub asset: AssetId,
    pub alert_id: String,
    pub how: Explanation,
    /// Strongest first.
    pub contributions: Vec<Contribution>,
}

/// A part of a picture, in shares of its width and height from the left and the top.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Region {
    pub left: f32,
    pub top: f32,
    pub width: f32,
    pub height: f32,
}

impl Region {
    pub const WHOLE: Self = Self { left: 0.0, top: 0.0, width: 1.0, height: 1.0 };

    /// What is this part of `part`, as a part of the picture; four digits, which is finer than a pixel
    /// of most cameras.
    #[must_use]
    pub fn within(self, part: Self) -> Self {
        let digits = |share: f32| (share * 1e4).round() / 1e4;
        Self {
            left: digits(part.left + self.left * part.width),
            top: digits(part.top + self.top * part.height),
            width: digits(self.width * part.width),
            height: digits(self.height * part.height),
        }
    }
}

/// Its middle, in words: `63 % from the left, 41 % from the top`.
impl fmt::Display for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let across = (self.left + self.width / 2.0) * 100.0;
        let down = (self.top + self.height / 2.0) * 100.0;
        write!(f, "{across:.0} % from the left, {down:.0} % from the top")
    }
}

/// Which model answered, and what it really ran on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelIdentity {
    pub name: String,
    pub version: String,
    /// Of the `.onnx` file, hex; of the card, where a server ran the model.
    pub sha256: String,
    /// `cpu`, `cuda`, …: as read back from the runtime; or `remote` and the server's address.
    pub device: String,
}

#[derive(Clone, Debug)]
pub struct Verdict {
    pub prediction: PredictionId,
    pub asset: AssetId,
    pub evidence: Evidence,
    /// Probability, regression value or reconstruction error, as the card says. Always finite.
    pub score: f64,
    /// The class's label, where the model names one.
    pub label: Option<Arc<str>>,
    /// Strongest first; empty unless the score asks for an alert and the reasons cost nothing.
    pub contributions: Vec<Contribution>,
    /// Where in the picture it is worst, when the score asks for an alert and the model tells.
    pub region: Option<Region>,
    /// Present when the score asks for an alert whose reasons have to be worked out.
    pub subject: Option<Arc<Subject>>,
    /// Absent for plain rules.
    pub model: Option<Arc<ModelIdentity>>,
    /// When the newest sample of the window arrived: the start of the alert latency.
    pub arrived: Timestamp,
}
