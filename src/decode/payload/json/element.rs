//! One element of a `samples` array: `{"tag": "pressure", "ts": 1700000000000, "value": 81.2}`.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use serde::Deserializer;
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::super::plan::{ElementKeys, JsonPlan};
use super::super::time::TimeAt;
use super::reading::{Reading, ReadingSeed};
use super::{Walk, bad_time, below};
use crate::ledger::Rejection;
use crate::time::Timestamp;

pub(super) struct ElementSeed<'w, 'a> {
    pub(super) walk: &'w mut Walk<'a>,
}

#[derive(Default)]
struct Element<'de> {
    tag: Option<Cow<'de, str>>,
    asset: Option<Cow<'de, str>>,
    reading: Option<Reading>,
    time: Option<Option<Timestamp>>,
}

impl Walk<'_> {
    fn take_element(&mut self, element: &Element<'_>) {
        let time = match self.element_time(element) {
            Ok(time) => time,
            Err(detail) => return self.scope.reject(Rejection::BadTime, || detail),
        };
        let scope = &mut self.scope;
        let own_asset = scope.topic.asset.as_ref().map(Arc::clone);
        let Some(asset) = element.asset.as_deref().or(own_asset.as_deref()) else {
            return scope.reject(Rejection::Unreadable, || "an element has no asset".to_owned());
        };
        let own_tag = if element.tag.is_none() { scope.topic.tag.clone() } else { None };
        let Some(tag) = element.tag.as_deref().or(own_tag.as_deref()) else {
            return scope.reject(Rejection::Unreadable, || "an element has no tag".to_owned());
        };
        if asset.is_empty() || tag.is_empty() {
            return scope.reject(Rejection::Unreadable, || "an element's name is empty".to_owned());
        }
        let reading = element.reading.unwrap_or(Reading::Other("without a value"));
        if let Reading::Other(word) = reading {
            return scope.reject(Rejection::NotANumber, || format!("`{tag}` is {word}"));
        }
        match scope.topic.find(asset, tag, (scope.registry, scope.shares)) {
            Ok(None) => scope.decoded.foreign += 1,
            Ok(Some(tag)) => {
                self.untimed += usize::from(time == Timestamp::MIN);
                self.take(tag, reading, time);
            }
            Err(full) => scope.reject_tag(&full),
        }
    }

    /// [`Timestamp::MIN`]: the time may still stand outside the array.
    fn element_time(&self, element: &Element<'_>) -> Result<Timestamp, String> {
        match element.time {
            _ if self.plan.time.is_none() => Ok(self.scope.arrival),
            None => Ok(Timestamp::MIN),
            Some(Some(time)) if self.scope.is_plausible(time) => Ok(time),
            unusable => Err(bad_time(unusable)),
        }
    }

    fn take_misfit(&mut self) {
        self.scope.reject(Rejection::Unreadable, || {
            "an element of the array is not an object".to_owned()
        });
    }
}

impl<'de> DeserializeSeed<'de> for ElementSeed<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ElementSeed<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with a tag and a value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let plan = self.walk.plan;
        let keys = plan.element.as_ref().expect("elements are only read with their keys");
        let mut element = Element::default();
        while let Some(field) = map.next_key_seed(FieldSeed { plan, keys })? {
            match field {
                Field::Tag => element.tag = map.next_value_seed(NameSeed)?,
                Field::Asset => element.asset = map.next_value_seed(NameSeed)?,
                Field::Value => element.reading = Some(map.next_value_seed(ReadingSeed)?),
                Field::Time(path) => {
                    let seed = TimeAt { path, unit: plan.unit };
                    element.time = Some(map.next_value_seed(seed)?);
                }
                Field::Other => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        self.walk.take_element(&element);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        self.walk.take_misfit();
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        self.walk.take_misfit();
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        self.walk.take_misfit();
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        self.walk.take_misfit();
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        self.walk.take_misfit();
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        self.walk.take_misfit();
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.walk.take_misfit();
        Ok(())
    }
}

enum Field<'a> {
    Tag,
    Asset,
    Value,
    Time(&'a [Box<str>]),
    Other,
}

struct FieldSeed<'a> {
    plan: &'a JsonPlan,
    keys: &'a ElementKeys,
}

impl<'de, 'a> DeserializeSeed<'de> for FieldSeed<'a> {
    type Value = Field<'a>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Field<'a>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'a> Visitor<'_> for FieldSeed<'a> {
    type Value = Field<'a>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<Field<'a>, E> {
        let time = self.plan.time.as_deref().and_then(|path| below(path, key));
        Ok(if key == &*self.keys.value {
            Field::Value
        } else if key == &*self.keys.tag {
            Field::Tag
        } else if let Some(path) = time {
            Field::Time(path)
        } else if self.keys.asset.as_deref() == Some(key) {
            Field::Asset
        } else {
            Field::Other
        })
    }
}

/// A name, borrowed from the payload where it has no escapes; `None` for what is not text.
struct NameSeed;

impl<'de> DeserializeSeed<'de> for NameSeed {
    type Value = Option<Cow<'de, str>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for NameSeed {
    type Value = Option<Cow<'de, str>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Self::Value, E> {
        Ok(Some(Cow::Borrowed(name)))
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(Some(Cow::Owned(name.to_owned())))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
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
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(None)
    }
}
