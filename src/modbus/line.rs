//! What a line costs: time for a byte, for a request, and the silence that frames want. Pure.

use std::time::Duration;

use super::Endpoint;
use super::frame::{Framing, Read};
use crate::settings::{ModbusDevice, Parity, SerialLine};

/// Of a device on a network: an assumption, because only the device knows.
const NETWORK_ROUND: Duration = Duration::from_millis(1);
/// Devices copy their registers one by one.
const NETWORK_BYTE: Duration = Duration::from_micros(10);
/// A serial device thinks before it answers.
const SERIAL_ROUND: Duration = Duration::from_millis(5);
/// From the specification: above 19,200 baud the gap is fixed.
const LEAST_GAP: Duration = Duration::from_micros(1750);
const GAP_CHARACTERS: f64 = 3.5;
/// Header, request and the answer's own bytes around the data.
const TCP_OVERHEAD: usize = 12 + 9;
const RTU_OVERHEAD: usize = 8 + 5;

/// Times on the way to one device.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Line {
    pub framing: Framing,
    /// Time for one byte.
    pub byte: Duration,
    /// Silence before each request.
    pub gap: Duration,
    /// From the end of a request to the begin of its answer, and the device's pause after it.
    round: Duration,
}

impl Line {
    /// The line of `device`, if its address can be read.
    pub fn of(device: &ModbusDevice) -> Option<Self> {
        let endpoint: Endpoint = device.address.parse().ok()?;
        Some(Self::new(&endpoint, device.serial.as_ref(), device.pause))
    }

    pub fn new(endpoint: &Endpoint, serial: Option<&SerialLine>, pause: Duration) -> Self {
        match endpoint.framing() {
            Framing::Tcp => Self {
                framing: Framing::Tcp,
                byte: NETWORK_BYTE,
                gap: Duration::ZERO,
                round: NETWORK_ROUND + pause,
            },
            Framing::Rtu => {
                let standard = SerialLine::default();
                let serial = serial.unwrap_or(&standard);
                let byte = character(serial);
                let gap = serial.frame_gap.unwrap_or(byte.mul_f64(GAP_CHARACTERS).max(LEAST_GAP));
                Self { framing: Framing::Rtu, byte, gap, round: SERIAL_ROUND + pause }
            }
        }
    }

    /// How long a read takes on this line, about.
    pub fn time(&self, read: &Read) -> Duration {
        self.request() + self.byte * u32::try_from(read.bytes()).unwrap_or(u32::MAX)
    }

    /// The part of it that does not depend on how much is read.
    pub fn request(&self) -> Duration {
        let overhead = match self.framing {
            Framing::Tcp => TCP_OVERHEAD,
            Framing::Rtu => RTU_OVERHEAD,
        };
        self.round + 2 * self.gap + self.byte * u32::try_from(overhead).unwrap_or(u32::MAX)
    }
}

/// Start bit, data, parity and stop bits.
fn character(serial: &SerialLine) -> Duration {
    let parity = u32::from(serial.parity != Parity::None);
    let bits = 1 + u32::from(serial.data_bits) + parity + u32::from(serial.stop_bits);
    Duration::from_secs(1) * bits / serial.baud.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::registers::Table;

    fn line(address: &str, serial: &SerialLine) -> Line {
        Line::new(&address.parse().unwrap(), Some(serial), Duration::ZERO)
    }

    #[test]
    fn a_serial_line_costs_eleven_bits_a_byte_and_its_gaps() {
        let slow = line("rtu:///dev/ttyS0", &SerialLine { baud: 9600, ..SerialLine::default() });
        assert_eq!(slow.byte, Duration::from_nanos(1_145_833));
        assert!(slow.gap > Duration::from_millis(4) && slow.gap < Duration::from_micros(4_020));
        let fast = line("rtu:///dev/ttyS0", &SerialLine { baud: 115_200, ..SerialLine::default() });
        assert_eq!(fast.gap, LEAST_GAP);
        let read = Read { table: Table::Holding, start: 0, count: 10 };
        let bytes = slow.byte * (13 + 20);
        assert_eq!(slow.time(&read), bytes + 2 * slow.gap + SERIAL_ROUND);
    }

    #[test]
    fn a_gap_can_be_given() {
        let gap = Duration::from_millis(30);
        let serial = SerialLine { frame_gap: Some(gap), ..SerialLine::default() };
        assert_eq!(line("rtu+tcp://converter:4001", &serial).gap, gap);
    }
}
