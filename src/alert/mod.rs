//! Verdicts to alerts: when one is raised, what people may do with it, and how it is told.
//!
//! The states are those of ISA-18.2. All of it is pure: the same verdicts and commands in the
//! same order give the same transitions, with the same ids, byte for byte. Start at
//! [`AlertBook`]; [`wire`] turns its transitions into messages, [`rules`] makes verdicts of
//! plain tags.

mod book;
pub mod chart;
mod command;
mod evaluate;
pub mod flood;
mod number;
mod record;
pub mod rules;
mod slot;
mod spec;
mod text;
pub mod wire;

pub use self::book::{AlertBook, AlertCounts};
pub use self::command::{Action, Command, CommandError, ParseError};
pub use self::record::{AlertRecord, AlertState, Cause, Latest, Transition};
pub use self::spec::{AlertKind, AlertSpec};
pub use self::text::{PLACEHOLDERS, UnknownPlaceholder, check_template};
