//! JSON numbers, fast where they have few digits; that is how machines print them.

/// 2^53: up to here a double holds every integer.
const EXACT: u64 = 1 << 53;
/// 10^0 to 10^22 are doubles; so one division of exact numbers gives the nearest double.
const POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
    1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
];
/// More might not fit into 64 bits.
const DIGITS: usize = 19;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Number<'t> {
    text: &'t [u8],
    negative: bool,
    /// As one integer; absent when there are too many or an exponent.
    digits: Option<u64>,
    after_point: usize,
}

impl<'t> Number<'t> {
    /// The number at the front of `bytes`, and what follows it.
    #[inline]
    pub(super) fn read(bytes: &'t [u8]) -> Option<(Self, &'t [u8])> {
        let unsigned = bytes.strip_prefix(b"-").unwrap_or(bytes);
        let (whole, mut rest) = digits(unsigned, 0);
        let mut count = unsigned.len() - rest.len();
        if count == 0 || (count > 1 && unsigned[0] == b'0') {
            return None;
        }
        let (mut all, mut after_point, mut exponent) = (whole, 0, false);
        if let [b'.', part @ ..] = rest {
            (all, rest) = digits(part, whole);
            after_point = part.len() - rest.len();
            if after_point == 0 {
                return None;
            }
            count += after_point;
        }
        if let [b'e' | b'E', part @ ..] = rest {
            let part = part.strip_prefix(b"+").or(part.strip_prefix(b"-")).unwrap_or(part);
            (_, rest) = digits(part, 0);
            if rest.len() == part.len() {
                return None;
            }
            exponent = true;
        }
        let number = Self {
            text: &bytes[..bytes.len() - rest.len()],
            negative: unsigned.len() < bytes.len(),
            digits: (count <= DIGITS && !exponent).then_some(all),
            after_point,
        };
        Some((number, rest))
    }

    /// The double that the full reading gives, to the last bit.
    #[inline]
    pub(super) fn value(self) -> Option<f64> {
        match self.digits {
            Some(digits) if digits <= EXACT => {
                let size = digits as f64 / POWERS[self.after_point];
                Some(if self.negative { -size } else { size })
            }
            _ => serde_json::from_slice(self.text).ok(),
        }
    }

    /// If it is written without a point.
    #[inline]
    pub(super) fn whole(self) -> Option<i64> {
        let size = self.digits.filter(|_| self.after_point == 0)?;
        let size = i64::try_from(size).ok()?;
        Some(if self.negative { -size } else { size })
    }
}

/// Wraps when there are too many; the caller counts them.
#[inline]
fn digits(bytes: &[u8], mut number: u64) -> (u64, &[u8]) {
    let mut rest = bytes;
    while let [digit @ b'0'..=b'9', tail @ ..] = rest {
        number = number.wrapping_mul(10).wrapping_add(u64::from(digit - b'0'));
        rest = tail;
    }
    (number, rest)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_what_json_allows_is_a_number() {
        for text in ["", "-", ".5", "5.", "01", "-01", "00", "+1", "1e", "1e+", "1.e5", "x"] {
            assert_eq!(Number::read(text.as_bytes()), None, "{text}");
        }
        let (number, rest) = Number::read(b"-0.50,7").unwrap();
        assert_eq!((number.value(), number.whole(), rest), (Some(-0.5), None, &b",7"[..]));
        assert_eq!(Number::read(b"0").unwrap().0.whole(), Some(0));
        assert_eq!(Number::read(b"1e999").unwrap().0.value(), None);
        assert_eq!(Number::read(b"99999999999999999999").unwrap().0.whole(), None);
    }

    proptest! {
        #[test]
        fn a_number_is_what_the_parser_reads(
            text in "-?(0|[1-9][0-9]{0,20})(\\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?",
        ) {
            let (number, rest) = Number::read(text.as_bytes()).unwrap();
            prop_assert!(rest.is_empty());
            let parsed = serde_json::from_str::<f64>(&text).ok();
            prop_assert_eq!(number.value().map(f64::to_bits), parsed.map(f64::to_bits));
        }
    }
}
