//! Models: cards and bytes from the repository, ONNX Runtime, and a worker thread a model.
//!
//! Every claim of a card is checked against the graph, and the golden pair is run, before a
//! model goes live. `docs/model-card.md` is the reference for cards and formulas.

mod active;
mod answer;
mod assignment;
mod background;
mod batch;
mod block;
mod card;
mod device;
mod engine;
mod external;
mod golden;
mod graph;
mod items;
mod label_counts;
mod load;
mod locate;
mod maps;
mod open;
mod outbox;
mod predictor;
mod queue;
mod rank;
mod remote;
mod repository;
mod runtime;
mod service;
mod session;
mod stats;
pub mod stock;
mod study;
mod telemetry;
pub mod trust;
mod worker;

pub use self::active::{Active, ActiveError, Choice};
pub use self::answer::{Answer, Unhealthy};
pub use self::background::BackgroundError;
pub use self::block::Block;
pub use self::card::{Card, CardError, OutputKind, OutputSettings, Reference, SessionSettings};
pub use self::engine::{Engine, Inferred};
#[cfg(any(test, fuzzing))]
pub(crate) use self::external::outside_file;
pub use self::golden::GoldenError;
pub use self::graph::ClaimError;
pub use self::items::{Items, ItemsRef};
pub use self::label_counts::LabelCounts;
pub use self::load::{
    LoadError, Loaded, LoadedModel, LoadedPrediction, check_only, load, load_version,
};
pub use self::open::open;
pub use self::rank::stand_back;
pub use self::remote::RemoteSettings;
pub use self::repository::{Package, RepositoryError, compare_versions, find, index};
pub use self::runtime::{Runtime, RuntimeError};
pub use self::service::{Call, CallError, Service, ServiceStats, Tally};
pub use self::session::{RunError, Session, SessionError};
pub use self::stats::{ModelSnapshot, ModelStats, Models};
pub use self::study::Inquiry;
pub use self::telemetry::forbid_telemetry;
pub use self::worker::{Answers, ModelHandle, ModelWorker, Submitted};
