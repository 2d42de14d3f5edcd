//! One value: a number, nothing, or something else.

use serde::Deserializer;
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Reading {
    Number(f64),
    /// JSON's null.
    Missing,
    /// What it is instead, as it stands in a sentence.
    Other(&'static str),
}

impl Reading {
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Number(_) => "a number",
            Self::Missing => "null",
            Self::Other(word) => word,
        }
    }
}

pub(super) struct ReadingSeed;

impl<'de> DeserializeSeed<'de> for ReadingSeed {
    type Value = Reading;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Reading, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ReadingSeed {
    type Value = Reading;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a value")
    }

    fn visit_f64<E>(self, value: f64) -> Result<Reading, E> {
        Ok(Reading::Number(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Reading, E> {
        Ok(Reading::Number(value as f64))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Reading, E> {
        Ok(Reading::Number(value as f64))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Reading, E> {
        Ok(Reading::Number(f64::from(u8::from(value))))
    }

    fn visit_unit<E>(self) -> Result<Reading, E> {
        Ok(Reading::Missing)
    }

    fn visit_str<E>(self, _: &str) -> Result<Reading, E> {
        Ok(Reading::Other("a string"))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Reading, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Reading::Other("an array"))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Reading, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Reading::Other("an object"))
    }
}
