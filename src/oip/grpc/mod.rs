//! The protocol's messages as gRPC carries them, and the way from them to requests and back.
//!
//! Field numbers are those of `kserve/open-inference-protocol` and, for repository, configuration
//! and statistics, of Triton's extensions. Fields that nobody here reads or writes are left out:
//! protobuf skips them.

mod client;
mod infer;
mod messages;

pub use self::client::{described, question, read_answer};
pub use self::infer::{
    Contents, InputTensor, ModelInferRequest, ModelInferResponse, OutputTensor, read, told,
};
pub use self::messages::*;

#[cfg(test)]
mod tests;
