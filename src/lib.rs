//! Andon: machines in over MQTT and Modbus, ONNX models on the box, alerts out.
//!
//! This file is the map of the house. Modules stand in layer order, imports go strictly
//! downward, and `tests/layers.rs` holds them to it. Read [`pipeline`] next.

// Layer 0: the vocabulary. Plain data, no I/O.
pub mod asset;
pub mod health;
pub mod ledger;
pub mod message;
pub mod sample;
pub mod settings;
pub mod snapshot;
pub mod standing;
pub mod tag;
pub mod time;
pub mod verdict;

// Layer 1: pure cores. No I/O, no async, no clock: `now` is an argument.
pub mod alert;
pub mod backoff;
pub mod clock;
pub mod decode;
pub mod drift;
pub mod evaluate;
pub mod explain;
pub mod feature;
pub mod feedback;
pub mod frame;
pub mod note;
pub mod oip;
pub mod picture;
pub mod quality;
pub mod share;
pub mod window;

// Between: what several adapters need of the world outside.
pub mod audit;
pub mod carrier;
pub mod tls;

// Layer 2: adapters to the world outside. They never import one another.
pub mod config;
pub mod folder;
pub mod http;
pub mod modbus;
pub mod model;
pub mod mqtt;
pub mod store;
pub mod table;

// Layer 3: wiring.
pub mod api;
pub mod board;
pub mod certificates;
pub mod deliver;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod lifecycle;
pub mod live;
pub mod pipeline;
pub mod plan;
pub mod rehearsal;
pub mod reload;
pub mod replay;
pub mod serving;
pub mod sources;
pub mod stages;
pub mod status;
pub mod telemetry;
pub mod watch;

pub mod cli;
#[cfg(feature = "demo")]
pub mod demo;
