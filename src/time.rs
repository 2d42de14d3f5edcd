//! Event time: nanoseconds since the Unix epoch, UTC.
//!
//! Nothing here reads a clock; [`Timestamp::now`] is the one door to it and only drivers
//! (layers 2 and 3) go through it.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An instant, in nanoseconds since 1970-01-01T00:00:00Z. Covers the years 1678 to 2262.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(i64);

impl Timestamp {
    pub const MIN: Self = Self(i64::MIN);
    pub const MAX: Self = Self(i64::MAX);

    pub const fn from_nanos(nanos: i64) -> Self {
        Self(nanos)
    }

    pub const fn from_millis(millis: i64) -> Self {
        Self(millis.saturating_mul(1_000_000))
    }

    pub const fn from_secs(secs: i64) -> Self {
        Self(secs.saturating_mul(1_000_000_000))
    }

    pub const fn as_nanos(self) -> i64 {
        self.0
    }

    pub const fn as_millis(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }

    /// The wall clock. For drivers only: cores take `now` as an argument.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
    pub fn now() -> Self {
        let since_epoch =
            std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Self(i64::try_from(since_epoch.as_nanos()).unwrap_or(i64::MAX))
    }

    pub fn saturating_add(self, span: Duration) -> Self {
        Self(self.0.saturating_add(nanos(span)))
    }

    pub fn saturating_sub(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(nanos(span)))
    }

    /// Later by `nanos`, or earlier by them if they are negative.
    pub const fn stepped(self, nanos: i64) -> Self {
        Self(self.0.saturating_add(nanos))
    }

    /// Time from `earlier` to `self`; zero when `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        let gap = i128::from(self.0) - i128::from(earlier.0);
        Duration::from_nanos(u64::try_from(gap.max(0)).unwrap_or(u64::MAX))
    }

    /// The latest multiple of `step` (counted from the epoch) that is not after `self`.
    pub fn floor_to(self, step: Duration) -> Self {
        let step = nanos(step).max(1);
        Self(self.0.div_euclid(step).saturating_mul(step))
    }

    /// RFC 3339 in UTC with as many digits as needed, at least milliseconds: `2026-11-23T06:41:23.000Z`.
    pub fn to_rfc3339(self) -> String {
        self.to_string()
    }

    /// The same as [`parse_rfc3339`](Self::parse_rfc3339), with what lies outside of the years
    /// 1677 to 2262 brought to their ends.
    pub fn parse_rfc3339_clamped(text: &str) -> Option<Self> {
        let instant: jiff::Timestamp = text.parse().ok()?;
        let nanos = instant.as_nanosecond().clamp(i64::MIN.into(), i64::MAX.into());
        i64::try_from(nanos).ok().map(Self)
    }

    /// Parses RFC 3339 with any offset.
    pub fn parse_rfc3339(text: &str) -> Option<Self> {
        let instant: jiff::Timestamp = text.parse().ok()?;
        i64::try_from(instant.as_nanosecond()).ok().map(Self)
    }
}

fn nanos(span: Duration) -> i64 {
    i64::try_from(span.as_nanos()).unwrap_or(i64::MAX)
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let instant = jiff::Timestamp::from_nanosecond(i128::from(self.0))
            .expect("every i64 of nanoseconds lies within jiff's years -9999 to 9999");
        if self.0 % 1_000_000 == 0 { write!(f, "{instant:.3}") } else { write!(f, "{instant:.9}") }
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        Self::parse_rfc3339(&text)
            .ok_or_else(|| serde::de::Error::custom(format!("`{text}` is not an RFC 3339 time")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_form_round_trips() {
        for nanos in [0, 1_700_000_000_123_000_000, 1_700_000_000_123_456_789, -1] {
            let time = Timestamp::from_nanos(nanos);
            assert_eq!(Timestamp::parse_rfc3339(&time.to_string()), Some(time));
        }
        assert_eq!(Timestamp::from_millis(0).to_string(), "1970-01-01T00:00:00.000Z");
    }

    #[test]
    fn floor_works_before_the_epoch() {
        let step = Duration::from_secs(10);
        assert_eq!(Timestamp::from_secs(-1).floor_to(step), Timestamp::from_secs(-10));
        assert_eq!(Timestamp::from_secs(25).floor_to(step), Timestamp::from_secs(20));
    }
}
