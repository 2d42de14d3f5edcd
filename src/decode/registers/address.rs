//! Where a value lies, as people write it: `holding:100`, `holding:0x64.3`, `40101`, `0x64`.

use std::fmt;

use super::Table;
use crate::settings::Numbering;

/// A place in a table, zero-based as on the wire.
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

/// Bits of a value, both included; 0 is the lowest.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Bits {
    pub first: u8,
    pub last: u8,
}

impl Bits {
    /// How many there are.
    pub const fn count(self) -> u8 {
        self.last - self.first + 1
    }
}

/// An address, and the part of the value that is meant.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Field {
    pub address: Address,
    pub bits: Option<Bits>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    #[error(
        "`{text}` is no address: write a table and an offset, such as `holding:100`, or the \
         manual's number, such as `40101`"
    )]
    Unreadable { text: String },
    #[error("`{text}` names the table `{table}`: write `coil`, `discrete`, `input` or `holding`")]
    UnknownTable { text: String, table: String },
    #[error("`{text}` has no readable offset: write a number from 0 to 65535, or 0x0 to 0xFFFF")]
    BadOffset { text: String },
    #[error("`{text}` is before the first: with one-based numbering that is `{table}:1`")]
    BeforeFirst { text: String, table: Table },
    #[error(
        "`{text}` is outside its table: the manuals' notation begins at `{first}` and ends at \
         `{last}`; write `{table}:` and an offset if you mean one"
    )]
    OutsideTable { text: String, table: Table, first: String, last: String },
    #[error("`{text}` names no bits: write `.3` for one bit or `.4-7` for a field, lowest 0")]
    BadBits { text: String },
}

impl Field {
    /// `numbering` says how offsets count; the manuals' notation always counts from one.
    pub fn parse(text: &str, numbering: Numbering) -> Result<Self, AddressError> {
        let (place, bits) = match text.split_once('.') {
            Some((place, bits)) => (place, Some(parse_bits(text, bits)?)),
            None => (text, None),
        };
        Ok(Self { address: Address::parse_as(text, place.trim(), numbering)?, bits })
    }
}

impl Address {
    /// As [`Field::parse`], without bits.
    pub fn parse(text: &str, numbering: Numbering) -> Result<Self, AddressError> {
        Self::parse_as(text, text.trim(), numbering)
    }

    fn parse_as(text: &str, place: &str, numbering: Numbering) -> Result<Self, AddressError> {
        let owned = || text.to_owned();
        let (table, offset) = match place.split_once(':') {
            Some((name, offset)) => {
                let table = Table::ALL.into_iter().find(|table| table.as_str() == name.trim());
                let unknown =
                    || AddressError::UnknownTable { text: owned(), table: name.trim().to_owned() };
                (table.ok_or_else(unknown)?, offset.trim())
            }
            None => match manual(place) {
                Some(table) => return from_manual(text, place, table),
                None if place.starts_with(|c: char| c.is_ascii_digit()) => (Table::Holding, place),
                None => return Err(AddressError::Unreadable { text: owned() }),
            },
        };
        let number = parse_offset(offset).ok_or_else(|| AddressError::BadOffset { text: owned() });
        let offset = match numbering {
            Numbering::ZeroBased => number?.try_into().ok(),
            Numbering::OneBased => match number?.checked_sub(1) {
                None => return Err(AddressError::BeforeFirst { text: owned(), table }),
                Some(offset) => offset.try_into().ok(),
            },
        };
        let offset = offset.ok_or_else(|| AddressError::BadOffset { text: owned() })?;
        Ok(Self { table, offset })
    }
}

/// The table of five or six digits in the manuals' notation.
fn manual(text: &str) -> Option<Table> {
    if !matches!(text.len(), 5 | 6) || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    match text.as_bytes().first() {
        Some(b'0') => Some(Table::Coil),
        Some(b'1') => Some(Table::Discrete),
        Some(b'3') => Some(Table::Input),
        Some(b'4') => Some(Table::Holding),
        _ => None,
    }
}

fn from_manual(text: &str, place: &str, table: Table) -> Result<Address, AddressError> {
    let number: Option<u32> = place[1..].parse().ok();
    match number.and_then(|number| number.checked_sub(1)).map(u16::try_from) {
        Some(Ok(offset)) => Ok(Address { table, offset }),
        _ => {
            let digit = &place[..1];
            let (first, last) = match place.len() {
                5 => (format!("{digit}0001"), format!("{digit}9999")),
                _ => (format!("{digit}00001"), format!("{digit}65536")),
            };
            Err(AddressError::OutsideTable { text: text.to_owned(), table, first, last })
        }
    }
}

fn parse_offset(text: &str) -> Option<u32> {
    let hexadecimal = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
    let (digits, radix) = hexadecimal.map_or((text, 10), |digits| (digits, 16));
    // `from_str_radix` takes a sign, which no offset has.
    if digits.starts_with('+') { None } else { u32::from_str_radix(digits, radix).ok() }
}

fn parse_bits(text: &str, bits: &str) -> Result<Bits, AddressError> {
    let number = |digits: &str| match digits.trim() {
        digits if digits.starts_with('+') => None,
        digits => digits.parse::<u8>().ok().filter(|bit| *bit < 64),
    };
    let (first, last) = bits.split_once('-').unwrap_or((bits, bits));
    match (number(first), number(last)) {
        (Some(first), Some(last)) if first <= last => Ok(Bits { first, last }),
        _ => Err(AddressError::BadBits { text: text.to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use Numbering::{OneBased, ZeroBased};

    fn address(text: &str) -> Result<Address, String> {
        Address::parse(text, ZeroBased).map_err(|error| error.to_string())
    }

    fn shown(text: &str, numbering: Numbering) -> String {
        Address::parse(text, numbering).unwrap().to_string()
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
    fn the_manuals_notation_counts_from_one_whatever_the_device_says() {
        for numbering in [ZeroBased, OneBased] {
            for (text, meant) in [
                ("40101", "holding:100"),
                ("30001", "input:0"),
                ("10001", "discrete:0"),
                ("00001", "coil:0"),
                ("400101", "holding:100"),
                ("465536", "holding:65535"),
                ("300001", "input:0"),
            ] {
                assert_eq!(shown(text, numbering), meant);
            }
        }
        for text in ["40000", "400000", "465537"] {
            assert!(address(text).unwrap_err().contains("`holding:`"), "{text}");
        }
    }

    #[test]
    fn a_bare_number_is_a_holding_register() {
        assert_eq!(shown("0x64", ZeroBased), "holding:100");
        assert_eq!(shown("100", ZeroBased), "holding:100");
        assert_eq!(shown("0x64", OneBased), "holding:99");
        assert_eq!(shown("50000", ZeroBased), "holding:50000");
    }

    #[test]
    fn one_based_numbering_begins_at_one_and_reaches_the_last_register() {
        assert_eq!(shown("holding:1", OneBased), "holding:0");
        assert_eq!(shown("input:65536", OneBased), "input:65535");
        let error = Address::parse("coil:0", OneBased).unwrap_err().to_string();
        assert!(error.contains("`coil:1`"), "{error}");
        assert!(Address::parse("holding:65537", OneBased).is_err());
    }

    #[test]
    fn bits_follow_a_dot() {
        let bits = |text| Field::parse(text, ZeroBased).map(|field| field.bits);
        assert_eq!(bits("holding:10.3"), Ok(Some(Bits { first: 3, last: 3 })));
        assert_eq!(bits("40101.4-7"), Ok(Some(Bits { first: 4, last: 7 })));
        assert_eq!(bits("holding:10"), Ok(None));
        for text in ["holding:1.", "holding:1.64", "holding:1.7-4", "holding:1.+3", "holding:1.a"] {
            let error = bits(text).unwrap_err().to_string();
            assert!(error.contains("`.4-7`"), "{text}: {error}");
        }
    }

    #[test]
    fn a_wrong_address_says_what_to_write_instead() {
        let error = |text: &str| address(text).unwrap_err();
        assert!(error("ÄÖ").contains("`holding:100`"));
        assert!(error("4ÄÖ").contains("from 0 to 65535"));
        assert!(error("hold:1").contains("`coil`, `discrete`, `input` or `holding`"));
        for text in ["holding:", "holding:65536", "holding:-1", "holding:+1", "holding:0x+1"] {
            assert!(error(text).contains("from 0 to 65535"), "{text}");
        }
    }

    proptest! {
        #[test]
        fn addresses_of_any_text_never_panic(text in ".{0,12}", one in any::<bool>()) {
            let _ = Field::parse(&text, if one { OneBased } else { ZeroBased });
        }

        #[test]
        fn all_notations_of_a_register_agree(offset in any::<u16>()) {
            let holding = Address { table: Table::Holding, offset };
            let one = u32::from(offset) + 1;
            for text in [format!("holding:{offset}"), format!("holding:{offset:#x}"),
                         format!("{offset:#x}"), format!("4{one:05}")] {
                prop_assert_eq!(Address::parse(&text, ZeroBased), Ok(holding));
            }
            prop_assert_eq!(Address::parse(&format!("holding:{one}"), OneBased), Ok(holding));
        }
    }
}
