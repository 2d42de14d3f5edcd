//! The demonstration's world: a simulated plant with its broker and its PLC.
//!
//! Start with [`plant`].

mod fault;
pub mod plant;
mod press;
pub mod record;
mod rng;
mod spindle;

pub use self::fault::{Fault, FaultKind, FaultPlan};
