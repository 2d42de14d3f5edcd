//! A model server asked over gRPC, with the same times and sizes as over HTTP.

use std::time::Duration;

use prost::Message;
use tokio::time::Instant;

use super::address::{Address, RemoteSettings};
use super::channel::{Call, Channel, Target};
use super::{DESCRIPTION, Failure, Limits, Wire};
use crate::health::RemoteError;
use crate::oip::grpc::{self, ModelInferResponse, ModelMetadata, Named};
use crate::oip::{Answer, Described, Question};

pub(super) struct Grpc {
    channel: Channel,
    model: String,
    version: Option<String>,
    /// Tensors travel as bytes, and not as typed lists.
    raw: bool,
}

impl Grpc {
    /// Reads the files that the card names; nothing is asked yet.
    pub(super) fn new(
        settings: &RemoteSettings,
        address: &Address,
        connect: Duration,
    ) -> Result<Self, String> {
        let target = Target::new(settings, address, connect)?;
        Ok(Self {
            channel: Channel::open(target).map_err(|error| error.to_string())?,
            model: address.model.clone(),
            version: address.version.clone(),
            raw: settings.binary.unwrap_or(true),
        })
    }

    fn ask<A: Message + Default>(
        &self,
        method: &'static str,
        message: &impl Message,
        limits: Limits,
    ) -> Result<A, Failure> {
        let answer =
            self.channel.call(Call { method, message: message.encode_to_vec(), limits })?;
        A::decode(answer).map_err(|error| {
            let message = format!("its answer is no message of the protocol: {error}");
            Failure::new(RemoteError::Malformed, message)
        })
    }
}

impl Wire for Grpc {
    fn describe(&mut self, end: Instant) -> Result<Described, Failure> {
        let version = self.version.clone().unwrap_or_default();
        let named = Named { name: self.model.clone(), version };
        let limits = Limits { end, bytes: DESCRIPTION };
        let metadata: ModelMetadata = self.ask("ModelMetadata", &named, limits)?;
        Ok(grpc::described(metadata))
    }

    fn infer(&mut self, question: &Question, limits: Limits) -> Result<Answer, Failure> {
        let asked = grpc::question(question, &self.model, self.version.as_deref(), self.raw);
        let answer: ModelInferResponse = self.ask("ModelInfer", &asked, limits)?;
        grpc::read_answer(answer).map_err(Failure::malformed)
    }
}
