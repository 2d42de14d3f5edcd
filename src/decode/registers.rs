//! Modbus registers to values: addresses as people write them, types and byte orders, and what
//! the numbers mean. Pure.

pub mod address;
mod counter;
pub mod guess;
mod signal;
pub mod value;

use std::fmt;

pub use self::address::{Address, AddressError, Bits, Field};
pub use self::counter::Counter;
pub use self::signal::{Signal, SignalError};
pub use self::value::{decode, encode, width};

/// The four tables of a Modbus device.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Table {
    Coil,
    Discrete,
    Input,
    Holding,
}

impl Table {
    pub const ALL: [Self; 4] = [Self::Coil, Self::Discrete, Self::Input, Self::Holding];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Coil => "coil",
            Self::Discrete => "discrete",
            Self::Input => "input",
            Self::Holding => "holding",
        }
    }

    /// Coils and discrete inputs are bits; the others are 16-bit registers.
    pub const fn is_bits(self) -> bool {
        matches!(self, Self::Coil | Self::Discrete)
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
