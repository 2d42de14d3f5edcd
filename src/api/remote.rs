//! A server that runs a model, as the API tells it.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use crate::health::RemoteSnapshot;

/// A model server and what became of the requests to it, since the model was loaded.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct RemoteBody {
    pub(crate) url: String,
    /// `closed`: it is asked; `open`: it is left alone for a time; `half_open`: it proves itself.
    pub(crate) breaker: &'static str,
    /// A local model answers while it does not.
    pub(crate) has_fallback: bool,
    pub(crate) requests: u64,
    pub(crate) retries: u64,
    /// By kind: connect, timeout, cut, unavailable, refused, malformed, mismatch, too_large.
    #[schema(value_type = Object)]
    pub(crate) failures: BTreeMap<&'static str, u64>,
    /// Batches that it was not asked about.
    pub(crate) skipped: u64,
    /// Frames that the local model answered.
    pub(crate) fallbacks: u64,
    pub(crate) opened: u64,
    /// The last failure; it stays when it is over.
    pub(crate) last_error: Option<String>,
}

impl From<RemoteSnapshot> for RemoteBody {
    fn from(remote: RemoteSnapshot) -> Self {
        Self {
            url: remote.url,
            breaker: remote.breaker.as_str(),
            has_fallback: remote.has_fallback,
            requests: remote.requests,
            retries: remote.retries,
            failures: remote.failures,
            skipped: remote.skipped,
            fallbacks: remote.fallbacks,
            opened: remote.opened,
            last_error: remote.last_error,
        }
    }
}
