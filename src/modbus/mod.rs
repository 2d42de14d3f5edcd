//! Modbus: polls devices over TCP, TLS and serial lines and hands their registers on as samples.
//!
//! [`Plan`] joins the registers of a device into few requests and does no I/O; a [`Poller`]
//! owns one address with all units behind it; a [`Probe`] asks a device that nobody has
//! described yet. Everything that goes out is made by `frame.rs` from one of the four tables:
//! only function codes 1 to 4, which read, can be reached from this room. Nothing here can write
//! to a machine.

mod endpoint;
mod frame;
mod line;
mod link;
pub mod plan;
mod poller;
mod probe;
mod round;
mod transport;
mod unit;

pub use self::endpoint::{Endpoint, EndpointError, group};
#[cfg(any(test, fuzzing))]
pub(crate) use self::frame::find_answer;
pub use self::frame::{Answer, Exception, Framing, Read};
pub use self::line::Line;
pub use self::link::LinkError;
pub use self::plan::{Plan, PlanError};
pub use self::poller::Poller;
pub use self::probe::Probe;
pub use self::transport::Dialer;
