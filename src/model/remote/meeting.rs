//! A server proves itself: its metadata fit the card, and its golden pair is right. From then on
//! frames go to it.

use std::time::Duration;

use tokio::time::Instant;

use super::address::RemoteSettings;
use super::http::Http;
use super::reading::Expected;
use super::{Failure, Limits, Plan, Remote, Wire};
use crate::health::{BreakerState, RemoteError, RemoteHealth};
use crate::model::answer::Judge;
use crate::model::card::OutputKind;
use crate::model::golden::GoldenError;
use crate::model::graph::{self, ClaimError, Element, Outlet, Read};
use crate::model::items::{Items, ItemsRef};
use crate::model::session::RunError;
use crate::oip::{Data, Question, Tensor};

/// The whole of it may take so many times the card's deadline.
const DEADLINES: u32 = 10;

/// Bytes of an answer's JSON beside its numbers, and of a number with what stands around it.
const FRAME: u64 = 16 << 10;
const NUMBER: u64 = 40;
/// Numbers an item, where neither card nor server tell.
const UNTOLD: usize = 4096;

const SERVER: &str = "at the server";

/// Why a server does not count as good.
#[derive(Debug, thiserror::Error)]
pub(in crate::model) enum NotMet {
    /// It is not there, or not now.
    #[error(transparent)]
    Failed(Failure),
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Claims(Vec<ClaimError>),
    #[error(transparent)]
    Golden(GoldenError),
}

impl NotMet {
    const fn kind(&self) -> RemoteError {
        match self {
            Self::Failed(failure) => failure.kind,
            Self::Claims(_) | Self::Golden(_) => RemoteError::Mismatch,
        }
    }
}

/// A server, and how it wants to be asked.
pub(super) struct Met {
    wire: Box<dyn Wire>,
    element: Element,
    dims: Vec<usize>,
    batch: Option<usize>,
    read: Option<Read>,
    shape: Option<Vec<i64>>,
    width: Option<usize>,
    asked: u64,
}

impl Remote {
    /// Files are read anew each time, so that a token or certificate that was exchanged holds.
    pub(in crate::model) fn meet(&mut self) -> Result<(), NotMet> {
        let before = self.health.breaker(BreakerState::HalfOpen);
        let met = Met::prove(&self.plan, &self.judge, &self.health);
        match met {
            Ok(met) => {
                self.met = Some(met);
                self.breaker.close();
                self.health.breaker(BreakerState::Closed);
                let remote = &self.health.url;
                tracing::info!(remote, "The model server fits the card and its golden pair.");
                Ok(())
            }
            Err(error) => {
                self.breaker.open(Instant::now());
                let (remote, told) = (&self.health.url, error.to_string());
                self.health.failed(error.kind(), &*told);
                // What goes on is told once.
                if before == BreakerState::Open {
                    self.health.still_open();
                    tracing::debug!(remote, error = told, "The model server is not usable yet.");
                } else {
                    self.health.breaker(BreakerState::Open);
                    tracing::warn!(remote, error = told, "The model server is not usable.");
                }
                Err(error)
            }
        }
    }
}

/// A client for the server; reads the files that the card names.
pub(super) fn wire(plan: &Plan) -> Result<Box<dyn Wire>, String> {
    let RemoteSettings { connect, .. } = plan.settings;
    let connect = connect.unwrap_or(plan.card.runtime.deadline / 2);
    Ok(Box::new(Http::new(&plan.settings, &plan.address, connect)?))
}

/// What a server that describes nothing is sent.
fn told(plan: &Plan) -> Element {
    if plan.spec.text.is_some() { Element::Text } else { Element::Float }
}

impl Met {
    fn prove(plan: &Plan, judge: &Judge, health: &RemoteHealth) -> Result<Self, NotMet> {
        let deadline = plan.card.runtime.deadline;
        let last = Instant::now() + deadline * DEADLINES;
        let mut wire = wire(plan)
            .map_err(|message| NotMet::Failed(Failure::new(RemoteError::Connect, message)))?;
        health.requested();
        let described = wire.describe(Instant::now() + deadline).map_err(NotMet::Failed)?;
        let outlets = |ports: &[_]| ports.iter().map(Outlet::from).collect::<Vec<_>>();
        let (inputs, outputs) = (outlets(&described.inputs), outlets(&described.outputs));
        let mut claims = Vec::new();
        let mut claim = |key: &str, message: String| {
            claims.push(ClaimError { key: key.into(), message });
        };
        if described.name != plan.address.model {
            let (expected, got) = (&plan.address.model, &described.name);
            claim(
                "runtime.remote",
                format!("expected the model `{expected}`, got `{got}` {SERVER}"),
            );
        }
        // Some servers describe no tensors; the golden pair has to say it all then.
        let input = match inputs.is_empty() {
            true => Some((told(plan), plan.spec.item_shape(), None)),
            false => graph::check_input(&plan.card, &plan.spec, (&inputs, SERVER), &mut claim),
        };
        let read = match outputs.is_empty() {
            true => Some(None),
            false => graph::check_output(&plan.card, &plan.spec, (&outputs, SERVER), &mut claim)
                .map(Some),
        };
        let (Some((element, dims, batch)), Some(read), true) = (input, read, claims.is_empty())
        else {
            return Err(NotMet::Claims(claims));
        };
        let port = described.outputs.iter().position(|port| port.name == plan.card.output.tensor);
        let width = port.and_then(|at| outputs[at].width());
        let shape = port.map(|at| described.outputs[at].shape.clone());
        let mut met = Self { wire, element, dims, batch, read, shape, width, asked: 0 };
        met.golden(plan, judge, health, (deadline, last))?;
        Ok(met)
    }

    fn golden(
        &mut self,
        plan: &Plan,
        judge: &Judge,
        health: &RemoteHealth,
        (deadline, last): (Duration, Instant),
    ) -> Result<(), NotMet> {
        let mut failed = None;
        let mut width = None;
        let outcome = plan.golden.check(&mut |items, out| {
            let end = last.min(Instant::now() + deadline);
            match self.exchange(plan, judge, health, (items, end), out) {
                Ok(own) => {
                    width = Some(own);
                    Ok(own)
                }
                Err(failure) => {
                    let message = failure.to_string();
                    failed = Some(failure);
                    Err(RunError(message))
                }
            }
        });
        match (outcome, failed) {
            (Ok(()), _) => {
                self.width = width;
                Ok(())
            }
            (Err(_), Some(failure)) => Err(NotMet::Failed(failure)),
            (Err(error), None) => Err(NotMet::Golden(error)),
        }
    }

    /// Whole items in, their numbers out, as many requests as the server's batch asks for.
    pub(super) fn exchange(
        &mut self,
        plan: &Plan,
        judge: &Judge,
        health: &RemoteHealth,
        (items, end): (ItemsRef<'_>, Instant),
        out: &mut Vec<f64>,
    ) -> Result<usize, Failure> {
        out.clear();
        let length = plan.spec.item_len();
        let most = self.batch.unwrap_or(plan.card.runtime.max_batch);
        let mut width = 0;
        for chunk in items.chunks(most * length) {
            let asked = chunk.len() / length;
            let count = self.batch.unwrap_or(asked);
            let limits = Limits { end, bytes: FRAME + count as u64 * self.bytes_an_item(plan) };
            let question = self.question(plan, chunk, count);
            health.requested();
            let answer = self.wire.infer(&question, limits)?;
            let before = out.len();
            let expected = Expected {
                id: &question.id,
                model: &plan.address.model,
                version: plan.address.version.as_deref(),
                output: &plan.card.output.tensor,
                read: self.read,
                shape: self.shape.as_deref(),
                count,
                width: self.width,
            };
            width = expected.take(answer, judge, out)?;
            out.truncate(before + asked * width);
        }
        Ok(width)
    }

    fn question(&mut self, plan: &Plan, chunk: ItemsRef<'_>, count: usize) -> Question {
        self.asked += 1;
        let length = count * plan.spec.item_len();
        let data = match (Items::padded(chunk, length), self.element) {
            (Items::Numbers(numbers), Element::Double) => {
                Data::Fp64(numbers.into_iter().map(f64::from).collect())
            }
            (Items::Numbers(numbers), _) => Data::Fp32(numbers),
            (Items::Texts(texts), _) => {
                Data::Bytes(texts.iter().map(ToString::to_string).collect())
            }
        };
        let shape = std::iter::once(count).chain(self.dims.iter().copied()).collect();
        Question {
            id: self.asked.to_string(),
            inputs: vec![Tensor { name: plan.card.input.tensor.clone(), shape, data }],
            outputs: vec![plan.card.output.tensor.clone()],
        }
    }

    fn bytes_an_item(&self, plan: &Plan) -> u64 {
        let output = &plan.card.output;
        let longest = output.labels.iter().map(String::len).max().unwrap_or(0) as u64;
        let numbers = self.width.unwrap_or(match output.kind {
            OutputKind::Reconstruction => plan.spec.item_len(),
            OutputKind::Probability | OutputKind::Class => output.labels.len().max(1),
            OutputKind::Value => UNTOLD,
        });
        numbers as u64 * (NUMBER + longest)
    }
}
