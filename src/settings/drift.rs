//! Whether the data still look like those of the training.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[drift]`: each limit raises the alert `<prediction>-drift` of the asset.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DriftSettings {
    /// False: nothing is counted.
    pub enabled: bool,
    /// False: figures without alerts.
    pub alerts: bool,
    /// The figures are those of the last so many frames of an asset, looked at every half of it.
    pub frames: u32,
    /// Population stability index of a tag against the card's bins.
    pub psi: f64,
    /// Kolmogorov-Smirnov statistic of a tag against the card's bins, 0 to 1.
    pub ks: f64,
    /// Share of frames without a measured value of a tag.
    pub missing: f64,
    /// Share of values outside the card's `min` and `max`.
    pub outside: f64,
    /// So many times in a row an asset may be given the very same score while its readings change,
    /// before the model counts as broken. 0: any number.
    pub constant: u32,
    /// 1 to 1000, as in OPC UA.
    pub severity: u16,
}

impl Default for DriftSettings {
    fn default() -> Self {
        Self {
            enabled: true,
            alerts: true,
            frames: 1000,
            psi: 0.25,
            ks: 0.25,
            missing: 0.2,
            outside: 0.1,
            constant: 1000,
            severity: 300,
        }
    }
}

impl DriftSettings {
    /// The name of a prediction's drift alert.
    pub fn alert_of(prediction: &str) -> String {
        format!("{prediction}-drift")
    }

    /// The name of the alert that a prediction's model gives no answers that can be used. It stands
    /// on the box, as that of a flood: the model is the same for all assets.
    pub fn model_of(prediction: &str) -> String {
        format!("{prediction}-model")
    }

    /// The name of the alert that a prediction is wrong more often than it was.
    pub fn errors_of(prediction: &str) -> String {
        format!("{prediction}-errors")
    }
}
