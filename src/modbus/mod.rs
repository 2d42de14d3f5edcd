//! Modbus: polls devices over TCP and hands their registers on as samples.
//!
//! [`Plan`] joins the registers of a device into few requests and does no I/O; a [`Poller`]
//! owns one TCP address with all units behind it. Everything that goes out is built in
//! `link.rs` from the four tables of a plan: only function codes 1 to 4, which read, can be
//! reached from this room. Nothing here can write to a machine.

mod endpoint;
mod link;
pub mod plan;
mod poller;
mod unit;

pub use self::endpoint::{Endpoint, EndpointError, group};
pub use self::plan::{Plan, PlanError};
pub use self::poller::Poller;
