//! MQTT 5: [`Ingest`] takes samples in, [`Publisher`] sends alerts and status out.
//!
//! Ingest and egress have a connection each, so that a flood of samples never delays an alert.
//! The client library stays behind `wire.rs`. A connection is rebuilt on every error and
//! subscribes on every CONNACK; a peer that has fallen silent is left after 1.5 times the keep
//! alive. A QoS 1 message is confirmed to the broker only when its receipt is settled.

mod acks;
mod address;
mod connection;
mod dialer;
mod ingest;
mod intake;
mod pace;
mod publisher;
mod readers;
mod recent;
mod reconnect;
mod stream;
mod wire;

pub use self::address::{Address, AddressError};
pub use self::dialer::BrokerError;
pub use self::ingest::{Ingest, IngestError, IngestParts};
pub use self::publisher::{
    Confirmation, PublishError, Publisher, PublisherSettings, PublisherTask, SiteWide, connect,
};
pub use self::readers::Reading;
pub use self::recent::Recent;
