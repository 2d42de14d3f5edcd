//! What the values of one tag are, so that they can be written small: decimals as JSON has
//! them, 32-bit floats as Modbus has them, or any 64-bit float. Always bit-exact.

use super::Malformed;
use super::stream::{Effort, Reader, put_floats, put_integers};

/// Decimals with more digits after the point than this are written as floats.
const MAX_DIGITS: usize = 9;
const POWERS: [f64; MAX_DIGITS + 1] = [1.0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9];
const INTEGER_POWERS: [i64; MAX_DIGITS + 1] =
    [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000, 1_000_000_000];
/// Integers up to here are exact as f64, with room for the rounding trick below.
const LARGEST: f64 = (1u64 << 50) as f64;

/// Kinds 0 to 9 are decimals with that many digits after the point.
const F32: u8 = 0x40;
const F64: u8 = 0x41;

/// Values on their way into a block: one stream a kind, one kind a tag.
#[derive(Default)]
pub(super) struct Values {
    pub(super) kinds: Vec<u8>,
    differences: Vec<i64>,
    singles: Vec<f32>,
    doubles: Vec<f64>,
}

impl Values {
    pub(super) fn clear(&mut self) {
        self.kinds.clear();
        self.differences.clear();
        self.singles.clear();
        self.doubles.clear();
    }

    /// The values of the next tag.
    pub(super) fn push(&mut self, values: &[f64]) {
        let start = self.differences.len();
        if let Some(digits) = decimals(values, &mut self.differences) {
            let mut previous = 0;
            for integer in &mut self.differences[start..] {
                (previous, *integer) = (*integer, *integer - previous);
            }
            return self.kinds.push(digits);
        }
        self.differences.truncate(start);
        if values.iter().all(|value| f64::from(single(*value)).to_bits() == value.to_bits()) {
            self.singles.extend(values.iter().map(|value| single(*value)));
            self.kinds.push(F32);
        } else {
            self.doubles.extend_from_slice(values);
            self.kinds.push(F64);
        }
    }

    pub(super) fn write(&self, out: &mut Vec<u8>, effort: Effort) {
        out.extend_from_slice(&self.kinds);
        put_integers(out, &self.differences, effort);
        put_floats(out, &self.singles, effort);
        put_floats(out, &self.doubles, effort);
    }
}

#[expect(clippy::cast_possible_truncation, reason = "whether it is exact is tested")]
fn single(value: f64) -> f32 {
    value as f32
}

/// Appends the values as integers of the smallest common power of ten, and says which.
/// Says no, with rubbish appended, when some value is not such a decimal.
fn decimals(values: &[f64], out: &mut Vec<i64>) -> Option<u8> {
    let start = out.len();
    let mut digits = 0;
    for value in values {
        loop {
            if let Some(integer) = as_integer(*value, POWERS[digits]) {
                out.push(integer);
                break;
            }
            let more = (digits + 1..=MAX_DIGITS)
                .find(|digits| as_integer(*value, POWERS[*digits]).is_some())?;
            let factor = INTEGER_POWERS[more - digits];
            for integer in &mut out[start..] {
                *integer = integer.checked_mul(factor)?;
                #[expect(clippy::cast_precision_loss, reason = "a comparison of magnitude")]
                if integer.unsigned_abs() as f64 > LARGEST {
                    return None;
                }
            }
            digits = more;
        }
    }
    u8::try_from(digits).ok()
}

/// `value * power` if it is an integer from which `value` comes back bit by bit.
fn as_integer(value: f64, power: f64) -> Option<i64> {
    /// Adding and subtracting it rounds to an integer, without a call into the C library.
    const ROUND: f64 = 6_755_399_441_055_744.0;
    let scaled = value * power;
    // A NaN fails this comparison too.
    if scaled.abs() <= LARGEST {
        let rounded = (scaled + ROUND) - ROUND;
        if (rounded / power).to_bits() == value.to_bits() {
            #[expect(clippy::cast_possible_truncation, reason = "within 2^50 and an integer")]
            return Some(rounded as i64);
        }
    }
    None
}

/// Reads `lengths[i]` values for tag `i`, one after the other.
pub(super) fn read(reader: &mut Reader<'_>, lengths: &[usize]) -> Result<Vec<f64>, Malformed> {
    let kinds = reader.take(lengths.len())?;
    let total = |wanted: fn(u8) -> bool| -> usize {
        kinds
            .iter()
            .zip(lengths)
            .filter(|(kind, _)| wanted(**kind))
            .map(|(_, length)| *length)
            .sum()
    };
    let differences = reader.integers(total(|kind| kind < F32))?;
    let singles = reader.floats::<f32>(total(|kind| kind == F32))?;
    let doubles = reader.floats::<f64>(total(|kind| kind == F64))?;
    let (mut differences, mut singles, mut doubles) =
        (differences.into_iter(), singles.into_iter(), doubles.into_iter());
    let mut values = Vec::with_capacity(lengths.iter().sum());
    for (kind, length) in kinds.iter().zip(lengths) {
        match *kind {
            F32 => values.extend(singles.by_ref().take(*length).map(f64::from)),
            F64 => values.extend(doubles.by_ref().take(*length)),
            digits => {
                let power = *POWERS
                    .get(usize::from(digits))
                    .ok_or(Malformed("a column has an unknown kind"))?;
                let mut integer = 0i64;
                values.extend(differences.by_ref().take(*length).map(|difference| {
                    integer = integer.wrapping_add(difference);
                    #[expect(clippy::cast_precision_loss, reason = "written from within 2^50")]
                    let value = integer as f64 / power;
                    value
                }));
            }
        }
    }
    Ok(values)
}
