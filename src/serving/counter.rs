//! What both forms of the protocol, HTTP and gRPC, ask of the shelf.

use std::sync::Arc;

use super::refusal::Refusal;
use super::shelf::Shelf;
use crate::audit::Entry;
use crate::message::Origin;
use crate::model::{Call, CallError, Service};
use crate::oip::{Request, Tensor};
use crate::telemetry::Overview;

/// Requests up to here are read where they arrive; longer ones would hold up the main loop.
pub(super) const SMALL: usize = 64 * 1024;

#[derive(Clone)]
pub(super) struct Counter {
    pub(super) shelf: Arc<Shelf>,
    /// Shared: axum clones the whole for each request.
    pub(super) overview: Arc<Overview>,
    /// Who asks.
    pub(super) from: Origin,
}

impl Counter {
    /// Largest request, as sent and unpacked.
    pub(super) fn limit(&self) -> usize {
        usize::try_from(self.shelf.settings.body.as_u64()).unwrap_or(usize::MAX)
    }

    /// Takes the inputs out of `request`.
    pub(super) async fn ask(
        &self,
        service: &Service,
        request: &mut Request,
    ) -> Result<Vec<Tensor>, CallError> {
        let settings = &self.shelf.settings;
        let patience =
            request.timeout.map_or(settings.deadline, |timeout| timeout.min(settings.deadline));
        let call = Call {
            inputs: std::mem::take(&mut request.inputs),
            outputs: request.outputs.iter().map(|output| output.name.clone()).collect(),
            patience,
            most_waiting: settings.waiting,
        };
        service.call(call).await
    }

    pub(super) async fn load(&self, model: String) -> Result<(), Refusal> {
        let (shelf, name) = (Arc::clone(&self.shelf), model.clone());
        let outcome = match apart(move || shelf.load(&name)).await {
            Ok(outcome) => outcome,
            Err(broken) => Err(broken),
        };
        self.note("load", &model, outcome)
    }

    pub(super) fn unload(&self, model: &str) -> Result<(), Refusal> {
        self.note("unload", model, self.shelf.unload(model))
    }

    fn note(
        &self,
        action: &str,
        object: &str,
        outcome: Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        let entry = Entry { action, object, by: None, from: &self.from };
        match &outcome {
            Ok(()) => entry.done(),
            Err(refusal) => entry.refused(refusal),
        }
        outcome
    }

    /// Name, version, and whether it is loaded.
    pub(super) async fn index(
        &self,
        only_ready: bool,
    ) -> Result<Vec<(String, String, bool)>, Refusal> {
        let shelf = Arc::clone(&self.shelf);
        let on_disk = apart(move || shelf.index()).await?;
        Ok(on_disk.into_iter().filter(|(_, _, loaded)| *loaded || !only_ready).collect())
    }
}

/// On a thread of its own: the main loop must not wait for it.
pub(super) async fn apart<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Refusal> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| Refusal::broken("the request could not be worked on"))
}
