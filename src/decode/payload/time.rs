//! Event times as payloads write them.

use serde::Deserializer;
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::settings::TimeUnit;
use crate::time::Timestamp;

/// Follows `path` to a time. Gives `None` where there is something that is not one.
pub(super) struct TimeAt<'a> {
    pub(super) path: &'a [Box<str>],
    pub(super) unit: TimeUnit,
}

pub(super) fn whole(number: i64, unit: TimeUnit) -> Option<Timestamp> {
    number.checked_mul(nanos_in(unit)?).map(Timestamp::from_nanos)
}

/// Splits before it multiplies, and rounds seconds and milliseconds to the microsecond: a double
/// of today's seconds steps by 0.24 us, so `1700000000.123` is only then what was written.
pub(super) fn fractional(number: f64, unit: TimeUnit) -> Option<Timestamp> {
    let scale = nanos_in(unit)?;
    if number.is_nan() || number.abs() >= 9.2e18 {
        return None;
    }
    let step = if scale >= 1_000_000 { 1_000 } else { 1 };
    let steps = (number.fract() * (scale / step) as f64).round();
    #[expect(clippy::cast_possible_truncation, reason = "within i64, as checked above")]
    let (units, rest) = (number.trunc() as i64, steps as i64 * step);
    units.checked_mul(scale)?.checked_add(rest).map(Timestamp::from_nanos)
}

const fn nanos_in(unit: TimeUnit) -> Option<i64> {
    match unit {
        TimeUnit::Seconds => Some(1_000_000_000),
        TimeUnit::Millis => Some(1_000_000),
        TimeUnit::Micros => Some(1_000),
        TimeUnit::Nanos => Some(1),
        TimeUnit::Rfc3339 => None,
    }
}

impl<'de> DeserializeSeed<'de> for TimeAt<'_> {
    type Value = Option<Timestamp>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for TimeAt<'_> {
    type Value = Option<Timestamp>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a time")
    }

    fn visit_i64<E>(self, number: i64) -> Result<Self::Value, E> {
        Ok(if self.path.is_empty() { whole(number, self.unit) } else { None })
    }

    fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
        let number = i64::try_from(number).ok().filter(|_| self.path.is_empty());
        Ok(number.and_then(|number| whole(number, self.unit)))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Self::Value, E> {
        Ok(if self.path.is_empty() { fractional(number, self.unit) } else { None })
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        let readable = self.path.is_empty() && self.unit == TimeUnit::Rfc3339;
        Ok(if readable { Timestamp::parse_rfc3339(text) } else { None })
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(None)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut time = None;
        while let Some(wanted) = map.next_key_seed(KeyIs(self.path.first().map(|key| &**key)))? {
            if wanted {
                time = map.next_value_seed(TimeAt { path: &self.path[1..], unit: self.unit })?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(time)
    }
}

/// Whether the next key is the one.
struct KeyIs<'a>(Option<&'a str>);

impl<'de> DeserializeSeed<'de> for KeyIs<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for KeyIs<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<bool, E> {
        Ok(self.0 == Some(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_unit_gives_the_same_instant() {
        let time = Some(Timestamp::from_millis(1_700_000_000_123));
        assert_eq!(whole(1_700_000_000_123, TimeUnit::Millis), time);
        assert_eq!(whole(1_700_000_000_123_000, TimeUnit::Micros), time);
        assert_eq!(whole(1_700_000_000_123_000_000, TimeUnit::Nanos), time);
        assert_eq!(fractional(1_700_000_000.123, TimeUnit::Seconds), time);
        assert_eq!(fractional(-0.5, TimeUnit::Millis), Some(Timestamp::from_nanos(-500_000)));
    }

    #[test]
    fn numbers_beyond_the_calendar_are_no_times() {
        assert_eq!(whole(i64::MAX, TimeUnit::Seconds), None);
        assert_eq!(fractional(1e300, TimeUnit::Nanos), None);
        assert_eq!(fractional(f64::NAN, TimeUnit::Seconds), None);
        assert_eq!(fractional(9.1e18, TimeUnit::Seconds), None);
        assert_eq!(whole(5, TimeUnit::Rfc3339), None);
    }
}
