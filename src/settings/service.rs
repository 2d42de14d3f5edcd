//! The models as a service over HTTP.

use std::time::Duration;

use bytesize::ByteSize;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[service]`
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ServiceSettings {
    /// Largest request, as sent and unpacked.
    #[schemars(with = "String")]
    pub body: ByteSize,
    /// Requests that may wait for one model; more are told to come back.
    pub waiting: usize,
    /// How long a request waits for its answer at most.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub deadline: Duration,
    /// Models that may be loaded for requests alone.
    pub models: usize,
}

impl Default for ServiceSettings {
    fn default() -> Self {
        Self { body: ByteSize::mib(16), waiting: 64, deadline: Duration::from_secs(10), models: 16 }
    }
}
