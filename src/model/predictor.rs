//! What answers for a model: its graph on this box, or a server elsewhere.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::answer::Judge;
use super::device::OnDevice;
use super::items::ItemsRef;
use super::remote::Remote;
use super::session::{RunError, Session};
use crate::explain::Map;
use crate::health::RemoteHealth;
use crate::oip::{Signature, Tensor};
use crate::verdict::ModelIdentity;

pub(super) enum Predictor {
    Local(Box<Session>),
    Remote(Box<Remote>),
}

/// Answers requests that bring their own tensors.
pub(super) trait Serve: Send {
    fn signature(&self, max_batch: usize) -> Signature;

    /// The output whose rows are those of the one input, each as it would be alone: the card says
    /// so. Requests for it may run together.
    fn by_rows(&self) -> Option<&str>;

    /// `inputs` fit the signature; gives `outputs` in their order.
    fn serve(&mut self, inputs: Vec<Tensor>, outputs: &[String]) -> Result<Vec<Tensor>, RunError>;
}

impl Predictor {
    pub(super) fn judge(&self) -> &Judge {
        match self {
            Self::Local(session) => session.judge(),
            Self::Remote(remote) => remote.judge(),
        }
    }

    /// Numbers that one item takes; a text is one.
    pub(super) fn item_len(&self) -> usize {
        match self {
            Self::Local(session) => session.item_len(),
            Self::Remote(remote) => remote.item_len(),
        }
    }

    /// Runs whole items, which stand one after the other, and puts what comes out, item after
    /// item, in `out`. Returns how many numbers an item has there.
    pub(super) fn run(
        &mut self,
        items: ItemsRef<'_>,
        out: &mut Vec<f64>,
    ) -> Result<usize, RunError> {
        match self {
            Self::Local(session) => session.run(items, out),
            Self::Remote(remote) => remote.run(items, out),
        }
    }

    /// The same, and only by the one that gave an earlier answer: an explanation mixes no two.
    pub(super) fn run_as(
        &mut self,
        who: &ModelIdentity,
        items: ItemsRef<'_>,
        out: &mut Vec<f64>,
    ) -> Result<usize, RunError> {
        match self {
            Self::Local(session) => session.run(items, out),
            Self::Remote(remote) => remote.run_as(who, items, out),
        }
    }

    /// How long the runtime itself had the last run, where it is here.
    pub(super) fn inside(&self) -> Option<Duration> {
        match self {
            Self::Local(session) => Some(session.inside()),
            Self::Remote(_) => None,
        }
    }

    /// Where an item of the last run is how bad, where the model tells.
    pub(super) fn map(&self, item: usize) -> Option<Map<'_>> {
        match self {
            Self::Local(session) => session.map(item),
            Self::Remote(_) => None,
        }
    }

    /// Who gave the last answer, where it was not the model itself.
    pub(super) fn stand_in(&self) -> Option<&Arc<ModelIdentity>> {
        match self {
            Self::Local(_) => None,
            Self::Remote(remote) => remote.stand_in(),
        }
    }

    pub(super) fn remote_health(&self) -> Option<Arc<RemoteHealth>> {
        match self {
            Self::Local(_) => None,
            Self::Remote(remote) => Some(remote.health()),
        }
    }

    /// When it wants to be tended, frames or not.
    pub(super) fn due(&self) -> Option<Instant> {
        match self {
            Self::Local(_) => None,
            Self::Remote(remote) => remote.due(),
        }
    }

    /// Asks a server that was away whether it is back. The error is one that leaves frames
    /// without an answer. Blocks.
    pub(super) fn tend(&mut self) -> Result<(), String> {
        match self {
            Self::Local(_) => Ok(()),
            Self::Remote(remote) => remote.tend(),
        }
    }

    pub(super) fn into_server(self) -> Box<dyn Serve> {
        match self {
            Self::Local(session) => Box::new(session.into_graph()),
            Self::Remote(remote) => remote,
        }
    }
}

impl Serve for Predictor {
    fn signature(&self, max_batch: usize) -> Signature {
        match self {
            Self::Local(session) => session.graph().signature(max_batch),
            Self::Remote(remote) => remote.signature(max_batch),
        }
    }

    fn by_rows(&self) -> Option<&str> {
        match self {
            Self::Local(session) => session.graph().by_rows(),
            Self::Remote(remote) => remote.by_rows(),
        }
    }

    fn serve(&mut self, inputs: Vec<Tensor>, outputs: &[String]) -> Result<Vec<Tensor>, RunError> {
        match self {
            Self::Local(session) => session.graph_mut().serve(inputs, outputs),
            Self::Remote(remote) => remote.serve(inputs, outputs),
        }
    }
}

impl Serve for OnDevice {
    fn signature(&self, max_batch: usize) -> Signature {
        self.signature(max_batch)
    }

    fn by_rows(&self) -> Option<&str> {
        self.rows.as_deref()
    }

    fn serve(&mut self, inputs: Vec<Tensor>, outputs: &[String]) -> Result<Vec<Tensor>, RunError> {
        self.serve(inputs, outputs)
    }
}
