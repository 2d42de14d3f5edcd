//! The local buffer.

use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct StoreSettings {
    pub path: PathBuf,
    /// Samples older than this are deleted.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub retain_age: Duration,
    /// The database and its WAL stay below this; the oldest samples go first, alerts never.
    #[schemars(with = "String")]
    pub retain_bytes: ByteSize,
    /// Samples wait at most this long for their commit: the acknowledgement latency of QoS 1,
    /// and what a power cut may cost a QoS 0 or Modbus source. Longer spares the flash.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub commit_interval: Duration,
    /// A commit starts early at this many samples.
    pub commit_samples: usize,
    /// Samples that may wait in memory while the disk is slow or full.
    pub queue_samples: usize,
}

impl Default for StoreSettings {
    fn default() -> Self {
        Self {
            path: PathBuf::from("/var/lib/andon/andon.db"),
            retain_age: Duration::from_secs(30 * 24 * 3600),
            retain_bytes: ByteSize::gib(2),
            commit_interval: Duration::from_secs(1),
            commit_samples: 100_000,
            queue_samples: 1_000_000,
        }
    }
}
