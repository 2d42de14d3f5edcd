//! Modbus registers to numbers and back: addresses, widths, types and byte orders.
//!
//! Every integer up to 2^53 is exact as an `f64`; larger 64-bit ones are rounded, knowingly.

use std::fmt;
use std::str::FromStr;

use crate::settings::{RegisterType, WordOrder};

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

/// A place in a table, zero-based as on the wire: `holding:100` or `holding:0x64`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Address {
    pub table: Table,
    pub offset: u16,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.table, self.offset)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    #[error("`{text}` names no table: write {hint}, zero-based as on the wire")]
    NoTable { text: String, hint: String },
    #[error("`{text}` names the table `{table}`: write `coil`, `discrete`, `input` or `holding`")]
    UnknownTable { text: String, table: String },
    #[error("`{text}` has no readable offset: write a number from 0 to 65535, or 0x0 to 0xFFFF")]
    BadOffset { text: String },
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let Some((name, offset)) = text.split_once(':') else {
            return Err(AddressError::NoTable { text: text.into(), hint: hint(text) });
        };
        let table = Table::ALL.into_iter().find(|table| table.as_str() == name.trim()).ok_or_else(
            || AddressError::UnknownTable { text: text.into(), table: name.trim().into() },
        )?;
        let offset = parse_offset(offset.trim())
            .ok_or_else(|| AddressError::BadOffset { text: text.into() })?;
        Ok(Self { table, offset })
    }
}

fn parse_offset(text: &str) -> Option<u16> {
    let hexadecimal = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
    let (digits, radix) = hexadecimal.map_or((text, 10), |digits| (digits, 16));
    // `from_str_radix` takes a sign, which no offset has.
    if digits.starts_with('+') { None } else { u16::from_str_radix(digits, radix).ok() }
}

/// What `text` probably means: manuals count `40101` from one and put the table in front.
fn hint(text: &str) -> String {
    let table = match (text.len(), text.as_bytes().first()) {
        (5 | 6, Some(b'0')) => Table::Coil,
        (5 | 6, Some(b'1')) => Table::Discrete,
        (5 | 6, Some(b'3')) => Table::Input,
        (5 | 6, Some(b'4')) => Table::Holding,
        _ => return "a table and an offset, such as `holding:100`".into(),
    };
    match text[1..].parse::<u32>().ok().and_then(|number| number.checked_sub(1)) {
        Some(offset) if offset <= u32::from(u16::MAX) => format!("`{table}:{offset}`"),
        _ => format!("a table and an offset, such as `{table}:100`"),
    }
}

/// How many registers a value of this type takes.
pub const fn width(kind: RegisterType) -> u16 {
    match kind {
        RegisterType::U16 | RegisterType::I16 => 1,
        RegisterType::U32 | RegisterType::I32 | RegisterType::F32 => 2,
        RegisterType::U64 | RegisterType::I64 | RegisterType::F64 => 4,
    }
}

/// The number that the first [`width`] of `words` hold; NaN when there are too few.
pub fn decode(kind: RegisterType, order: WordOrder, words: &[u16]) -> f64 {
    let Some(words) = words.get(..usize::from(width(kind))) else { return f64::NAN };
    let bits = match order {
        WordOrder::Abcd => join(words.iter().copied()),
        WordOrder::Cdab => join(words.iter().rev().copied()),
        WordOrder::Badc => join(words.iter().map(|word| word.swap_bytes())),
        WordOrder::Dcba => join(words.iter().rev().map(|word| word.swap_bytes())),
    };
    let [.., a, b, c, d, e, f, g, h] = bits.to_be_bytes();
    match kind {
        RegisterType::U16 => u16::from_be_bytes([g, h]).into(),
        RegisterType::I16 => i16::from_be_bytes([g, h]).into(),
        RegisterType::U32 => u32::from_be_bytes([e, f, g, h]).into(),
        RegisterType::I32 => i32::from_be_bytes([e, f, g, h]).into(),
        RegisterType::F32 => f32::from_be_bytes([e, f, g, h]).into(),
        RegisterType::U64 => bits as f64,
        RegisterType::I64 => i64::from_be_bytes([a, b, c, d, e, f, g, h]) as f64,
        RegisterType::F64 => f64::from_bits(bits),
    }
}

/// The registers that hold `value`. Integers are rounded, and what does not fit becomes the
/// nearest value that does.
#[expect(clippy::cast_possible_truncation, reason = "float casts saturate, as documented")]
pub fn encode(kind: RegisterType, order: WordOrder, value: f64) -> Vec<u16> {
    let rounded = value.round();
    let bytes = match kind {
        RegisterType::U16 => widen((rounded as u16).to_be_bytes()),
        RegisterType::I16 => widen((rounded as i16).to_be_bytes()),
        RegisterType::U32 => widen((rounded as u32).to_be_bytes()),
        RegisterType::I32 => widen((rounded as i32).to_be_bytes()),
        RegisterType::F32 => widen((value as f32).to_be_bytes()),
        RegisterType::U64 => (rounded as u64).to_be_bytes(),
        RegisterType::I64 => (rounded as i64).to_be_bytes(),
        RegisterType::F64 => value.to_be_bytes(),
    };
    let first = bytes.len() - 2 * usize::from(width(kind));
    let mut words: Vec<u16> =
        bytes[first..].chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect();
    if matches!(order, WordOrder::Cdab | WordOrder::Dcba) {
        words.reverse();
    }
    if matches!(order, WordOrder::Badc | WordOrder::Dcba) {
        words.iter_mut().for_each(|word| *word = word.swap_bytes());
    }
    words
}

fn join(words: impl Iterator<Item = u16>) -> u64 {
    words.fold(0, |bits, word| bits << 16 | u64::from(word))
}

fn widen<const N: usize>(bytes: [u8; N]) -> [u8; 8] {
    let mut wide = [0; 8];
    wide[8 - N..].copy_from_slice(&bytes);
    wide
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use RegisterType::{F32, F64, I16, I32, I64, U16, U32, U64};
    use WordOrder::{Abcd, Badc, Cdab, Dcba};

    const KINDS: [RegisterType; 8] = [U16, I16, U32, I32, U64, I64, F32, F64];
    const ORDERS: [WordOrder; 4] = [Abcd, Cdab, Badc, Dcba];

    fn address(text: &str) -> Result<Address, String> {
        text.parse::<Address>().map_err(|error| error.to_string())
    }

    #[test]
    fn addresses_are_a_table_and_an_offset_in_either_base() {
        let holding = |offset| Ok(Address { table: Table::Holding, offset });
        assert_eq!(address("holding:100"), holding(100));
        assert_eq!(address("holding:0x64"), holding(100));
        assert_eq!(address("coil:65535"), Ok(Address { table: Table::Coil, offset: 65535 }));
        assert_eq!(address("input: 0XfF"), Ok(Address { table: Table::Input, offset: 255 }));
        for table in Table::ALL {
            let at = Address { table, offset: 7 };
            assert_eq!(address(&at.to_string()), Ok(at));
        }
    }

    #[test]
    fn a_wrong_address_says_what_to_write_instead() {
        let error = |text: &str| address(text).unwrap_err();
        assert_eq!(
            error("40101"),
            "`40101` names no table: write `holding:100`, zero-based as on the wire"
        );
        assert!(error("300001").contains("`input:0`"));
        assert!(error("10000").contains("`discrete:100`"));
        assert!(error("0x64").contains("`holding:100`"));
        assert!(error("ÄÖ").contains("`holding:100`"));
        assert!(error("4ÄÖ").contains("`holding:100`"));
        assert!(error("hold:1").contains("`coil`, `discrete`, `input` or `holding`"));
        for text in ["holding:", "holding:65536", "holding:-1", "holding:+1", "holding:0x+1"] {
            assert!(error(text).contains("from 0 to 65535"), "{text}");
        }
    }

    #[test]
    fn every_order_of_32_bits_is_read_as_written() {
        // 0x0A0B0C0D, A = 0x0A.
        let value = f64::from(0x0A0B_0C0D_u32);
        assert_eq!(decode(U32, Abcd, &[0x0A0B, 0x0C0D]), value);
        assert_eq!(decode(U32, Cdab, &[0x0C0D, 0x0A0B]), value);
        assert_eq!(decode(U32, Badc, &[0x0B0A, 0x0D0C]), value);
        assert_eq!(decode(U32, Dcba, &[0x0D0C, 0x0B0A]), value);
        assert_eq!(decode(F32, Cdab, &[0x0000, 0x41BC]), 23.5);
        assert_eq!(decode(I32, Abcd, &[0xFFFF, 0xFFFE]), -2.0);
    }

    #[test]
    fn every_order_of_64_bits_is_read_as_written() {
        // 0x0001_0203_0405_0607: exact in an f64.
        let value = 0x0001_0203_0405_0607_u64 as f64;
        assert_eq!(decode(U64, Abcd, &[0x0001, 0x0203, 0x0405, 0x0607]), value);
        assert_eq!(decode(U64, Cdab, &[0x0607, 0x0405, 0x0203, 0x0001]), value);
        assert_eq!(decode(U64, Badc, &[0x0100, 0x0302, 0x0504, 0x0706]), value);
        assert_eq!(decode(U64, Dcba, &[0x0706, 0x0504, 0x0302, 0x0100]), value);
        assert_eq!(decode(I64, Abcd, &[0xFFFF; 4]), -1.0);
        assert_eq!(decode(F64, Abcd, &[0x4037, 0x8000, 0, 0]), 23.5);
    }

    #[test]
    fn sixteen_bits_know_two_orders() {
        for (order, words) in [(Abcd, 0xFF01), (Cdab, 0xFF01), (Badc, 0x01FF), (Dcba, 0x01FF)] {
            assert_eq!(decode(U16, order, &[words]), 65281.0);
            assert_eq!(decode(I16, order, &[words]), -255.0);
        }
    }

    #[test]
    fn too_few_words_are_no_number() {
        assert!(decode(F32, Abcd, &[1]).is_nan());
        assert!(decode(U16, Abcd, &[]).is_nan());
    }

    #[test]
    fn what_does_not_fit_is_encoded_as_the_nearest_value() {
        assert_eq!(encode(U16, Abcd, -1.0), [0]);
        assert_eq!(encode(I16, Abcd, 40_000.0), [0x7FFF]);
        assert_eq!(encode(U16, Abcd, 2.5), [3]);
    }

    proptest! {
        #[test]
        fn decode_undoes_encode(value in any::<i64>(), real in any::<f64>(), small in any::<f32>()) {
            for kind in KINDS {
                let [a, b, c, d, ..] = value.to_be_bytes();
                let value = match kind {
                    U16 => u16::from_be_bytes([a, b]).into(),
                    I16 => i16::from_be_bytes([a, b]).into(),
                    U32 => u32::from_be_bytes([a, b, c, d]).into(),
                    I32 => i32::from_be_bytes([a, b, c, d]).into(),
                    U64 => (value.cast_unsigned() >> 11) as f64,
                    I64 => (value >> 11) as f64,
                    F32 => f64::from(small),
                    F64 => real,
                };
                for order in ORDERS {
                    let words = encode(kind, order, value);
                    prop_assert_eq!(words.len(), usize::from(width(kind)));
                    prop_assert_eq!(decode(kind, order, &words).to_bits(), value.to_bits());
                }
            }
        }

        #[test]
        fn addresses_of_any_text_never_panic(text in ".{0,12}") {
            let _ = text.parse::<Address>();
        }
    }
}
