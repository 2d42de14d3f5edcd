//! The bytes of a read and of its answer, in both framings. Pure.
//!
//! [`Read::pdu`] is the only place that makes a request, and it knows four function codes, all
//! of which read.

use std::fmt;

use crate::decode::registers::Table;

/// Most registers in one answer, from the Modbus specification.
pub(crate) const MAX_REGISTERS: u16 = 125;
/// Most coils or discrete inputs in one answer, from the Modbus specification.
pub(crate) const MAX_BITS: u16 = 2000;
/// Longest frame of a serial line.
pub(crate) const MAX_RTU: usize = 256;
/// Set in the function code of an exception.
const EXCEPTION: u8 = 0x80;
const MBAP: usize = 7;
const CRC: usize = 2;

/// One read of `count` registers or bits from `start` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Read {
    pub table: Table,
    pub start: u16,
    pub count: u16,
}

/// What a device answered, as much as was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Registers(Vec<u16>),
    Bits(Vec<bool>),
}

/// The device said no, and why, by its code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Exception(pub u8);

/// How frames begin and end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// A header with transaction and length.
    Tcp,
    /// A check sum, and silence around it.
    Rtu,
}

/// A request that is under way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    pub(crate) framing: Framing,
    /// Only for [`Framing::Tcp`].
    pub(crate) transaction: u16,
    pub(crate) unit: u8,
    pub(crate) read: Read,
}

/// What came is no answer to the request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    #[error("it is for another request")]
    Transaction,
    #[error("it is for another unit")]
    Unit,
    #[error("it is for another function")]
    Function,
    #[error("it holds {got} bytes instead of {expected}")]
    Length { expected: usize, got: usize },
    #[error("it is not Modbus")]
    Protocol,
    #[error("its check sum is wrong, or it is noise")]
    Noise,
}

impl Exception {
    pub const ILLEGAL_FUNCTION: Self = Self(0x01);
    pub const ILLEGAL_ADDRESS: Self = Self(0x02);
    pub const ILLEGAL_VALUE: Self = Self(0x03);
    pub const DEVICE_FAILURE: Self = Self(0x04);
    pub const BUSY: Self = Self(0x06);
    pub const GATEWAY_PATH: Self = Self(0x0A);
    pub const GATEWAY_TARGET: Self = Self(0x0B);
}

impl fmt::Display for Exception {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = match self.0 {
            0x01 => "illegal function",
            0x02 => "illegal data address",
            0x03 => "illegal data value",
            0x04 => "device failure",
            0x05 => "acknowledge: it takes long",
            0x06 => "device busy",
            0x08 => "memory parity error",
            0x0A => "gateway path unavailable",
            0x0B => "gateway target does not answer",
            _ => "unknown exception",
        };
        write!(f, "exception 0x{:02X}, {words}", self.0)
    }
}

impl Read {
    /// The function code, 1 to 4.
    pub const fn function(self) -> u8 {
        match self.table {
            Table::Coil => 1,
            Table::Discrete => 2,
            Table::Holding => 3,
            Table::Input => 4,
        }
    }

    /// The request itself. Nothing else in this program makes one.
    pub const fn pdu(self) -> [u8; 5] {
        let [a, b] = self.start.to_be_bytes();
        let [c, d] = self.count.to_be_bytes();
        [self.function(), a, b, c, d]
    }

    /// Bytes of data in the answer.
    pub const fn bytes(self) -> usize {
        if self.table.is_bits() { self.count.div_ceil(8) as usize } else { 2 * self.count as usize }
    }

    /// Reads the answer's PDU.
    pub fn answer(self, pdu: &[u8]) -> Result<Result<Answer, Exception>, FrameError> {
        let expected = self.bytes();
        let length = |got| FrameError::Length { expected, got };
        match *pdu {
            [function, code] if function == self.function() | EXCEPTION => Ok(Err(Exception(code))),
            [function, count, ref data @ ..] if function == self.function() => {
                if usize::from(count) != expected || data.len() != expected {
                    return Err(length(data.len()));
                }
                Ok(Ok(self.values(data)))
            }
            [function, ..] if function & !EXCEPTION == self.function() => Err(length(pdu.len())),
            _ => Err(FrameError::Function),
        }
    }

    fn values(self, data: &[u8]) -> Answer {
        if self.table.is_bits() {
            let bit = |at: u16| data[usize::from(at / 8)] >> (at % 8) & 1 == 1;
            Answer::Bits((0..self.count).map(bit).collect())
        } else {
            let word = |pair: &[u8]| u16::from_be_bytes([pair[0], pair[1]]);
            Answer::Registers(data.chunks_exact(2).map(word).collect())
        }
    }
}

impl Asked {
    pub(crate) fn frame(&self) -> Vec<u8> {
        let pdu = self.read.pdu();
        let mut frame = Vec::with_capacity(MBAP + pdu.len());
        match self.framing {
            Framing::Tcp => {
                frame.extend(self.transaction.to_be_bytes());
                frame.extend([0, 0, 0, 6, self.unit]);
                frame.extend(pdu);
            }
            Framing::Rtu => {
                frame.push(self.unit);
                frame.extend(pdu);
                frame.extend(crc(&frame).to_le_bytes());
            }
        }
        frame
    }

    /// The answer in `bytes`, which hold everything since the request; `None` while it is not
    /// complete.
    pub(crate) fn find(
        &self,
        bytes: &[u8],
    ) -> Result<Option<Result<Answer, Exception>>, FrameError> {
        match self.framing {
            Framing::Tcp => self.find_tcp(bytes),
            Framing::Rtu => self.find_rtu(bytes),
        }
    }

    fn find_tcp(&self, bytes: &[u8]) -> Result<Option<Result<Answer, Exception>>, FrameError> {
        let Some((&[t0, t1, p0, p1, l0, l1, unit], rest)) = bytes.split_first_chunk::<MBAP>()
        else {
            return Ok(None);
        };
        let length = usize::from(u16::from_be_bytes([l0, l1]));
        if [p0, p1] != [0, 0] || !(2..=254).contains(&length) {
            return Err(FrameError::Protocol);
        }
        if u16::from_be_bytes([t0, t1]) != self.transaction {
            return Err(FrameError::Transaction);
        }
        if unit != self.unit {
            return Err(FrameError::Unit);
        }
        rest.get(..length - 1).map(|pdu| self.read.answer(pdu)).transpose()
    }

    /// A line gives no frames, only bytes, and sometimes a glitch before them. So the answer is
    /// looked for: unit, function and length as asked for, and the check sum right. What is of
    /// another unit, or broken, is passed over.
    fn find_rtu(&self, bytes: &[u8]) -> Result<Option<Result<Answer, Exception>>, FrameError> {
        for start in 0..bytes.len() {
            let rest = &bytes[start..];
            let length = match *rest {
                [unit, function, ..]
                    if unit == self.unit && function == self.read.function() | EXCEPTION =>
                {
                    3
                }
                [unit, function, count, ..]
                    if unit == self.unit
                        && function == self.read.function()
                        && usize::from(count) == self.read.bytes() =>
                {
                    3 + self.read.bytes()
                }
                _ => continue,
            };
            if let Some((frame, sum)) = rest.get(..length + CRC).and_then(|f| f.split_last_chunk())
                && crc(frame) == u16::from_le_bytes(*sum)
            {
                return self.read.answer(&frame[1..]).map(Some);
            }
        }
        if bytes.len() > 2 * MAX_RTU { Err(FrameError::Noise) } else { Ok(None) }
    }
}

/// The answer to `read` in the bytes of a device; for the fuzzer.
#[cfg(any(test, fuzzing))]
pub(crate) fn find_answer(
    framing: Framing,
    read: Read,
    bytes: &[u8],
) -> Result<Option<Result<Answer, Exception>>, FrameError> {
    Asked { framing, transaction: 1, unit: 1, read }.find(bytes)
}

/// CRC-16 of Modbus: polynomial 0xA001, reflected, start 0xFFFF.
pub(crate) fn crc(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0xFFFF, |crc, byte| {
        CRC_TABLE[usize::from((crc ^ u16::from(*byte)) & 0xFF)] ^ crc >> 8
    })
}

const CRC_TABLE: [u16; 256] = {
    let mut table = [0_u16; 256];
    let mut at = 0;
    while at < table.len() {
        #[expect(clippy::cast_possible_truncation, reason = "at is below 256")]
        let mut crc = at as u16;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0xA001 } else { crc >> 1 };
            bit += 1;
        }
        table[at] = crc;
        at += 1;
    }
    table
};

#[cfg(test)]
#[path = "frame_tests.rs"]
mod tests;
