//! How many alert messages anyone can read.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[flood]`: what comes beyond it is held and told as one message an alert; `alert-flood` says so.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct FloodSettings {
    /// Changes of alerts told at once, after a quiet time.
    pub burst: u32,
    /// Changes told a second after that.
    pub per_second: u32,
    /// Alerts of this severity and above are never held.
    pub always_from: u16,
    /// Of the alert `alert-flood`, 1 to 1000.
    pub severity: u16,
}

impl Default for FloodSettings {
    fn default() -> Self {
        Self { burst: 200, per_second: 20, always_from: 900, severity: 700 }
    }
}

impl FloodSettings {
    /// The name of the alert that sums a flood up, and of the asset that it stands on.
    pub const ALERT: &str = "alert-flood";
    pub const ASSET: &str = "andon";
}
