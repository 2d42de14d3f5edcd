//! Bare numbers and packed arrays. Their time is that of arrival.

use super::plan::PackedPlan;
use super::{Decoded, Scope};
use crate::ledger::Rejection;
use crate::sample::Sample;
use crate::settings::{ByteOrder, PayloadKind};
use crate::time::Timestamp;

/// `81.2`, `true` or `null`, with white space around it.
pub(super) fn decode_number(mut scope: Scope<'_>, payload: &[u8]) -> Decoded {
    let text = payload.trim_ascii();
    let value = match text {
        b"null" => f64::NAN,
        b"true" => 1.0,
        b"false" => 0.0,
        [b'"', .., b'"'] => {
            return Decoded::refused(Rejection::NotANumber, "the payload is a string");
        }
        _ => match parse_number(text) {
            Some(value) => value,
            None => {
                return Decoded::refused(Rejection::Unreadable, "the payload is not a number");
            }
        },
    };
    match scope.topic.single(scope.registry) {
        Ok(tag) => scope.push(Sample::new(tag, scope.arrival, value)),
        Err(full) => scope.reject_tag(&full),
    }
    scope.decoded
}

/// Digits and exponents only: Rust would also take `inf`, `nan` and what overflows to them.
fn parse_number(text: &[u8]) -> Option<f64> {
    let plain = |byte: &u8| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E');
    let text = std::str::from_utf8(text).ok().filter(|text| text.as_bytes().iter().all(plain))?;
    text.parse().ok().filter(|value: &f64| value.is_finite())
}

/// The last value was measured at the time of arrival, the others before it at the sample rate.
pub(super) fn decode_array(plan: &PackedPlan, mut scope: Scope<'_>, payload: &[u8]) -> Decoded {
    let width = match plan.kind {
        PayloadKind::I16 => 2,
        PayloadKind::F64 => 8,
        _ => 4,
    };
    if payload.is_empty() || !payload.len().is_multiple_of(width) {
        let detail =
            format!("{} bytes are not a whole number of {width}-byte values", payload.len());
        return Decoded::refused(Rejection::Unreadable, detail);
    }
    let tag = match scope.topic.single(scope.registry) {
        Ok(tag) => tag,
        Err(full) => {
            return Decoded::refused(Rejection::TooManyTags, full.to_string());
        }
    };
    let count = payload.len() / width;
    let arrival = scope.arrival;
    let scale = plan.scale;
    let place = |at: usize, value: f64| {
        #[expect(clippy::cast_possible_truncation, reason = "saturates; days at any real rate")]
        let age = ((count - 1 - at) as f64 * plan.period).round() as i64;
        let time = Timestamp::from_nanos(arrival.as_nanos().saturating_sub(age));
        Sample::new(tag, time, value * scale)
    };
    let big = plan.order == ByteOrder::Big;
    let out = &mut *scope.out;
    out.reserve(count);
    macro_rules! unpack {
        ($type:ty) => {{
            let (chunks, _) = payload.as_chunks::<{ size_of::<$type>() }>();
            out.extend(chunks.iter().enumerate().map(|(at, bytes)| {
                let value = if big {
                    <$type>::from_be_bytes(*bytes)
                } else {
                    <$type>::from_le_bytes(*bytes)
                };
                place(at, f64::from(value))
            }));
        }};
    }
    match plan.kind {
        PayloadKind::I16 => unpack!(i16),
        PayloadKind::I32 => unpack!(i32),
        PayloadKind::F64 => unpack!(f64),
        _ => unpack!(f32),
    }
    scope.decoded.received += count as u64;
    scope.decoded
}
