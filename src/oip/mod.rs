//! The Open Inference Protocol's bodies, version 2 over HTTP: bytes to tensors and back, as a
//! server needs them, and as a client does (`ask`, `answer`).
//!
//! Pure: sizes are checked before anything is allocated for them, and whatever a client sends
//! ends in an [`Invalid`] that says what and where. Metadata, requests and responses are told as
//! `kserve/open-inference-protocol` and Triton's binary tensor extension have them.

mod answer;
mod ask;
mod binary;
mod cells;
pub mod grpc;
mod request;
mod response;
mod signature;
mod tensor;

#[cfg(test)]
mod tests;

pub use self::answer::{Answer, Described, Port, describe, extensions, read_answer, refusal};
pub use self::ask::{Question, question};
pub use self::request::{Request, Wanted, parse};
pub use self::response::{Body, encode};
pub use self::signature::{Signature, TensorSpec};
pub use self::tensor::{Data, DataType, Tensor};

/// What is wrong with a request, for the person who wrote it.
#[must_use = "a refusal is told"]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Invalid(pub String);

impl Invalid {
    fn new<T>(message: impl Into<String>) -> Result<T, Self> {
        Err(Self(message.into()))
    }
}
