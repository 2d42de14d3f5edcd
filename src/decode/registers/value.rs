//! Registers to numbers and back: widths, types and byte orders.
//!
//! Every integer up to 2^53 is exact as an `f64`; larger 64-bit ones are rounded, knowingly.

use crate::settings::{RegisterType, WordOrder};

/// How many registers a number of this type takes. A string says its own length.
pub const fn width(kind: RegisterType) -> u16 {
    match kind {
        RegisterType::U32 | RegisterType::I32 | RegisterType::F32 | RegisterType::Bcd32 => 2,
        RegisterType::U64 | RegisterType::I64 | RegisterType::F64 | RegisterType::Bcd64 => 4,
        _ => 1,
    }
}

/// How many bits the number itself has.
pub const fn bits(kind: RegisterType) -> u8 {
    match kind {
        RegisterType::U8h | RegisterType::U8l | RegisterType::I8h | RegisterType::I8l => 8,
        _ => match width(kind) {
            4 => 64,
            2 => 32,
            _ => 16,
        },
    }
}

/// The bits of the number in the first [`width`] of `words`, in its low end; `None` when there
/// are too few. Half registers are shifted into place.
pub fn pattern(kind: RegisterType, order: WordOrder, words: &[u16]) -> Option<u64> {
    let words = words.get(..usize::from(width(kind)))?;
    let joined = match order {
        WordOrder::Abcd => join(words.iter().copied()),
        WordOrder::Cdab => join(words.iter().rev().copied()),
        WordOrder::Badc => join(words.iter().map(|word| word.swap_bytes())),
        WordOrder::Dcba => join(words.iter().rev().map(|word| word.swap_bytes())),
    };
    Some(match kind {
        RegisterType::U8h | RegisterType::I8h => joined >> 8,
        RegisterType::U8l | RegisterType::I8l => joined & 0xFF,
        _ => joined,
    })
}

/// What a [`pattern`] of this type stands for; NaN when it is none of its numbers.
pub fn number(kind: RegisterType, pattern: u64) -> f64 {
    let [.., a, b, c, d, e, f, g, h] = pattern.to_be_bytes();
    match kind {
        RegisterType::U16 => u16::from_be_bytes([g, h]).into(),
        RegisterType::I16 => i16::from_be_bytes([g, h]).into(),
        RegisterType::U32 => u32::from_be_bytes([e, f, g, h]).into(),
        RegisterType::I32 => i32::from_be_bytes([e, f, g, h]).into(),
        RegisterType::F16 => half(u16::from_be_bytes([g, h])),
        RegisterType::F32 => f32::from_be_bytes([e, f, g, h]).into(),
        RegisterType::U64 => pattern as f64,
        RegisterType::I64 => i64::from_be_bytes([a, b, c, d, e, f, g, h]) as f64,
        RegisterType::F64 => f64::from_bits(pattern),
        RegisterType::U8h | RegisterType::U8l => h.into(),
        RegisterType::I8h | RegisterType::I8l => h.cast_signed().into(),
        RegisterType::Bcd16 | RegisterType::Bcd32 | RegisterType::Bcd64 => {
            decimal(pattern).map_or(f64::NAN, |count| count as f64)
        }
        RegisterType::String => f64::NAN,
    }
}

/// The number that the first [`width`] of `words` hold; NaN when they hold none.
pub fn decode(kind: RegisterType, order: WordOrder, words: &[u16]) -> f64 {
    pattern(kind, order, words).map_or(f64::NAN, |pattern| number(kind, pattern))
}

/// The number written in binary-coded decimals; `None` where a nibble is no digit.
pub fn decimal(pattern: u64) -> Option<u64> {
    (0..16).rev().try_fold(0_u64, |sum, nibble| {
        let digit = pattern >> (4 * nibble) & 0xF;
        (digit < 10).then(|| sum * 10 + digit)
    })
}

/// Text of two Latin-1 characters a register, without the zeros and spaces behind it.
pub fn text(order: WordOrder, words: &[u16]) -> String {
    let swapped = matches!(order, WordOrder::Badc | WordOrder::Dcba);
    let bytes =
        words.iter().flat_map(|word| if swapped { word.to_le_bytes() } else { word.to_be_bytes() });
    let text: String = bytes.take_while(|byte| *byte != 0).map(char::from).collect();
    text.trim_end().to_owned()
}

/// The registers that hold `value`. Integers are rounded, and what does not fit becomes the
/// nearest value that does. The other half of a half register is zero.
#[expect(clippy::cast_possible_truncation, reason = "float casts saturate, as documented")]
#[expect(clippy::cast_sign_loss, reason = "float casts saturate, as documented")]
pub fn encode(kind: RegisterType, order: WordOrder, value: f64) -> Vec<u16> {
    let rounded = value.round();
    let digits = |most: u64| to_decimal((rounded as u64).min(most));
    let pattern = match kind {
        RegisterType::U16 => (rounded as u16).into(),
        RegisterType::I16 => (rounded as i16).cast_unsigned().into(),
        RegisterType::U32 => (rounded as u32).into(),
        RegisterType::I32 => (rounded as i32).cast_unsigned().into(),
        RegisterType::F16 => to_half(value).into(),
        RegisterType::F32 => (value as f32).to_bits().into(),
        RegisterType::U64 => rounded as u64,
        RegisterType::I64 => (rounded as i64).cast_unsigned(),
        RegisterType::F64 => value.to_bits(),
        RegisterType::U8h => u64::from(rounded as u8) << 8,
        RegisterType::U8l => (rounded as u8).into(),
        RegisterType::I8h => u64::from((rounded as i8).cast_unsigned()) << 8,
        RegisterType::I8l => (rounded as i8).cast_unsigned().into(),
        RegisterType::Bcd16 => digits(9_999),
        RegisterType::Bcd32 => digits(99_999_999),
        RegisterType::Bcd64 => digits(9_999_999_999_999_999),
        RegisterType::String => 0,
    };
    let mut words: Vec<u16> =
        (0..width(kind)).rev().map(|word| (pattern >> (16 * word)) as u16).collect();
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

fn to_decimal(mut value: u64) -> u64 {
    let mut pattern = 0;
    for nibble in 0..16 {
        pattern |= (value % 10) << (4 * nibble);
        value /= 10;
    }
    pattern
}

/// IEEE 754 binary16: one sign bit, five of exponent, ten of fraction.
fn half(bits: u16) -> f64 {
    let sign = if bits >> 15 == 0 { 1.0 } else { -1.0 };
    let (exponent, fraction) = (bits >> 10 & 0x1F, f64::from(bits & 0x3FF));
    sign * match exponent {
        0 => fraction * 2_f64.powi(-24),
        0x1F if fraction == 0.0 => f64::INFINITY,
        0x1F => f64::NAN,
        _ => (1024.0 + fraction) * 2_f64.powi(i32::from(exponent) - 25),
    }
}

/// The nearest binary16, ties to even; infinity beyond the largest.
#[expect(clippy::cast_possible_truncation, reason = "the ranges are checked before")]
#[expect(clippy::cast_sign_loss, reason = "the magnitude is positive")]
fn to_half(value: f64) -> u16 {
    let sign = u16::from(value.is_sign_negative()) << 15;
    let magnitude = value.abs();
    if value.is_nan() {
        return 0x7E00;
    }
    if magnitude >= 65_520.0 {
        return sign | 0x7C00;
    }
    // Steps of 2^-24 below the smallest normal number, of 2^-10 of the power of two above it.
    let exponent = magnitude.log2().floor().max(-14.0) as i32;
    let steps = (magnitude * 2_f64.powi(10 - exponent)).round_ties_even() as u16;
    // A carry out of the fraction raises the exponent by itself.
    let base = u16::try_from(exponent + 14).unwrap_or(0) << 10;
    sign | (base + steps)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use RegisterType::{
        Bcd16, Bcd32, Bcd64, F16, F32, F64, I8h, I8l, I16, I32, I64, U8h, U8l, U16, U32, U64,
    };
    use WordOrder::{Abcd, Badc, Cdab, Dcba};

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

    #[test]
    fn halves_of_a_register_are_read_apart() {
        assert_eq!(decode(U8h, Abcd, &[0x12FE]), 18.0);
        assert_eq!(decode(U8l, Abcd, &[0x12FE]), 254.0);
        assert_eq!(decode(I8l, Abcd, &[0x12FE]), -2.0);
        assert_eq!(decode(I8h, Badc, &[0x12FE]), -2.0);
    }

    #[test]
    fn half_floats_are_read_as_ieee_754_says() {
        for (bits, value) in [
            (0x0000, 0.0),
            (0x3C00, 1.0),
            (0xC000, -2.0),
            (0x7BFF, 65_504.0),
            (0x0001, 2_f64.powi(-24)),
            (0x03FF, 1023.0 * 2_f64.powi(-24)),
            (0x0400, 2_f64.powi(-14)),
            (0x4DE0, 23.5),
            (0x7C00, f64::INFINITY),
            (0xFC00, f64::NEG_INFINITY),
        ] {
            assert_eq!(decode(F16, Abcd, &[bits]), value, "{bits:#06x}");
        }
        assert!(decode(F16, Abcd, &[0x7C01]).is_nan());
        for bits in 0..=u16::MAX {
            let value = half(bits);
            if !value.is_nan() {
                assert_eq!(to_half(value), bits);
            }
        }
        assert_eq!(to_half(65_519.0), 0x7BFF);
        assert_eq!(to_half(65_520.0), 0x7C00);
        assert_eq!(to_half(2_f64.powi(-14) - 2_f64.powi(-30)), 0x0400);
    }

    #[test]
    fn decimals_are_digits_and_anything_else_is_no_number() {
        assert_eq!(decode(Bcd16, Abcd, &[0x1234]), 1234.0);
        assert_eq!(decode(Bcd32, Cdab, &[0x5678, 0x1234]), 12_345_678.0);
        assert_eq!(decode(Bcd64, Abcd, &[0x9999; 4]), 9_999_999_999_999_999.0);
        assert!(decode(Bcd16, Abcd, &[0x12A4]).is_nan());
        assert_eq!(encode(Bcd16, Abcd, 12_345.0), [0x9999]);
    }

    #[test]
    fn text_ends_at_a_zero_and_loses_its_padding() {
        let words = [0x5448, 0x494E, 0x4544, 0x4745];
        assert_eq!(text(Abcd, &words), "THINEDGE");
        assert_eq!(text(Dcba, &words.map(u16::swap_bytes)), "THINEDGE");
        assert_eq!(text(Abcd, &[0x4F4B, 0x2020, 0x2000]), "OK");
        assert_eq!(text(Abcd, &[0x4F00, 0x4B4B]), "O");
        assert_eq!(text(Abcd, &[0xB043]), "\u{b0}C");
    }

    proptest! {
        #[test]
        fn decode_undoes_encode(value in any::<i64>(), real in any::<f64>(), small in any::<f32>()) {
            for kind in RegisterType::NUMBERS {
                let [a, b, c, d, ..] = value.to_be_bytes();
                let count = value.cast_unsigned();
                let value = match kind {
                    U8h | U8l => a.into(),
                    I8h | I8l => a.cast_signed().into(),
                    U16 => u16::from_be_bytes([a, b]).into(),
                    I16 => i16::from_be_bytes([a, b]).into(),
                    U32 => u32::from_be_bytes([a, b, c, d]).into(),
                    I32 => i32::from_be_bytes([a, b, c, d]).into(),
                    U64 => (count >> 11) as f64,
                    I64 => (value >> 11) as f64,
                    F16 => half(u16::from_be_bytes([a & 0x7B, b])),
                    F32 => f64::from(small),
                    F64 => real,
                    Bcd16 => (count % 10_000) as f64,
                    Bcd32 => (count % 100_000_000) as f64,
                    Bcd64 => (count % 9_007_199_254_740_992) as f64,
                    RegisterType::String => continue,
                };
                for order in WordOrder::ALL {
                    let words = encode(kind, order, value);
                    prop_assert_eq!(words.len(), usize::from(width(kind)));
                    prop_assert_eq!(decode(kind, order, &words).to_bits(), value.to_bits());
                }
            }
        }

        #[test]
        fn no_registers_make_it_panic(words in prop::collection::vec(any::<u16>(), 0..9)) {
            for order in WordOrder::ALL {
                for kind in RegisterType::NUMBERS {
                    let _ = decode(kind, order, &words);
                }
                let _ = text(order, &words);
            }
        }
    }
}
