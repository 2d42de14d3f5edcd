//! The models as a service: the Open Inference Protocol for every loaded model, under `/v2`
//! and over gRPC.
//!
//! The daemon's own frames go first; a request waits for a moment in which the model has none.
//! Loading and unloading here never touches a model that a prediction uses.

mod body;
mod counter;
mod grpc;
mod refusal;
mod routes;
mod shelf;
mod tell;

pub use self::routes::router;
pub use self::shelf::{Place, Row, Shelf};
