//! JSON to samples in one pass, without building a tree.
//!
//! The walk follows the paths to the time and to the values at once. Samples are written with
//! the time of arrival and get their real one at the end, so the time may stand after them.

mod element;
mod number;
mod reading;
mod shape;

use serde::Deserializer;
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};

use self::element::ElementSeed;
use self::reading::{Reading, ReadingSeed};
pub(super) use self::shape::Shape;
use super::plan::JsonPlan;
use super::time::TimeAt;
use super::{Decoded, Scope};
use crate::ledger::Rejection;
use crate::sample::Sample;
use crate::tag::TagId;
use crate::time::Timestamp;

pub(super) fn decode(plan: &JsonPlan, mut scope: Scope<'_>, payload: &[u8]) -> Decoded {
    let first = scope.out.len();
    if scope.read_as_last_time(plan, payload) {
        scope.decoded.received = (scope.out.len() - first) as u64;
        return scope.decoded;
    }
    scope.topic.rewind();
    let mut walk = Walk { plan, scope, time: None, found: false, untimed: 0, key: String::new() };
    let mut json = serde_json::Deserializer::from_slice(payload);
    let root = Node { time: plan.time.as_deref(), values: Some(&plan.values), walk: &mut walk };
    if let Err(error) = root.deserialize(&mut json).and_then(|()| json.end()) {
        walk.scope.out.truncate(first);
        return Decoded::refused(Rejection::Unreadable, format!("not the JSON expected: {error}"));
    }
    let decoded = walk.finish(first);
    if decoded.fault.is_none() {
        walk.scope.topic.note_shape(|topic| Shape::learn(plan, topic, payload));
    }
    decoded
}

impl Scope<'_> {
    fn read_as_last_time(&mut self, plan: &JsonPlan, payload: &[u8]) -> bool {
        let Some(shape) = &self.topic.shape else {
            return false;
        };
        let times = &self.times;
        shape.read(plan.unit, self.arrival, payload, self.out, |time| times.contains(&time))
    }
}

struct Walk<'a> {
    plan: &'a JsonPlan,
    scope: Scope<'a>,
    /// `Some(None)`: something stands there that is not a time.
    time: Option<Option<Timestamp>>,
    /// The values were where they should be.
    found: bool,
    /// Elements of `samples` without a time of their own, written with [`Timestamp::MIN`].
    untimed: usize,
    /// A key that has not been seen before; here because it may be no tag at all.
    key: String,
}

impl Walk<'_> {
    fn finish(&mut self, first: usize) -> Decoded {
        if !self.found {
            let kind = if self.plan.element.is_some() { "array" } else { "object" };
            let place = match &*self.plan.values {
                [] => "the payload is".to_owned(),
                path => format!("what stands at `{}` is", path.join(".")),
            };
            self.scope.out.truncate(first);
            return Decoded::refused(Rejection::Unreadable, format!("{place} not an {kind}"));
        }
        if self.plan.time.is_some() {
            self.set_times(first);
        }
        std::mem::take(&mut self.scope.decoded)
    }

    fn set_times(&mut self, first: usize) {
        let whole_message = self.plan.element.is_none();
        let count = self.scope.out.len() - first;
        if !whole_message && self.untimed == 0 {
            return;
        }
        match self.time.flatten().filter(|time| self.scope.is_plausible(*time)) {
            Some(time) if whole_message => {
                self.scope.out[first..].iter_mut().for_each(|sample| sample.time = time);
            }
            Some(time) => {
                let untimed = |sample: &&mut Sample| sample.time == Timestamp::MIN;
                let samples = self.scope.out[first..].iter_mut().filter(untimed);
                samples.for_each(|sample| sample.time = time);
            }
            None => {
                let detail = bad_time(self.time);
                // Stable, and only on the way to a rejection: the timed ones go to the front.
                self.scope.out[first..].sort_by_key(|sample| sample.time == Timestamp::MIN);
                let lost = if whole_message { count } else { self.untimed };
                if lost > 0 {
                    self.scope.take_back(lost, Rejection::BadTime, || detail);
                } else if self.scope.decoded.received == 0 {
                    self.scope.reject(Rejection::BadTime, || detail);
                }
            }
        }
    }

    fn take(&mut self, tag: TagId, reading: Reading, time: Timestamp) -> bool {
        match reading {
            Reading::Number(value) => self.scope.push(Sample::new(tag, time, value)),
            Reading::Missing => self.scope.push(Sample::missing(tag, time)),
            Reading::Other(_) => return false,
        }
        true
    }

    fn take_known(&mut self, tag: TagId, reading: Reading) {
        let time = self.scope.arrival;
        if !self.take(tag, reading, time) {
            let name = self.scope.registry.tag(tag).map(|info| info.name);
            self.scope.reject(Rejection::NotANumber, || {
                format!("`{}` is {}", name.as_deref().unwrap_or("a tag"), reading.word())
            });
        }
    }

    /// A key becomes a tag only when a number stands there: `"unit": "bar"` is none.
    fn take_new(&mut self, reading: Reading) {
        let key = std::mem::take(&mut self.key);
        if let Reading::Other(word) = reading {
            self.scope.reject(Rejection::NotANumber, || format!("`{key}` is {word}"));
        } else if key.is_empty() {
            self.scope.reject(Rejection::Unreadable, || "a key is empty".to_owned());
        } else {
            match self.scope.topic.learn(&key, self.scope.registry) {
                Ok(tag) => self.take_known(tag, reading),
                Err(full) => self.scope.reject_tag(&full),
            }
        }
        self.key = key;
    }

    /// A number where an object was expected serves a topic that names its tag.
    fn take_single(&mut self, reading: Reading) {
        if self.scope.topic.tag.is_none() || self.plan.element.is_some() {
            return;
        }
        self.found = true;
        match self.scope.topic.single(self.scope.registry) {
            Ok(tag) => self.take_known(tag, reading),
            Err(full) => self.scope.reject_tag(&full),
        }
    }
}

fn bad_time(time: Option<Option<Timestamp>>) -> String {
    match time {
        None => "the time is missing".to_owned(),
        Some(None) => "the time cannot be read in its `time_unit`".to_owned(),
        Some(Some(time)) => format!("the time {time} is before 2000 or too far ahead"),
    }
}

/// An object on the way to the time, to the values, or to both.
struct Node<'w, 'a> {
    walk: &'w mut Walk<'a>,
    /// Keys still to follow; absent: the time is not below.
    time: Option<&'a [Box<str>]>,
    /// Keys still to follow; empty: the values are here; absent: they are not below.
    values: Option<&'a [Box<str>]>,
}

enum Key<'a> {
    Known(TagId),
    New,
    Path { time: Option<&'a [Box<str>]>, values: Option<&'a [Box<str>]> },
}

impl Node<'_, '_> {
    fn scalar(self, reading: Reading) {
        if self.values.is_some_and(<[_]>::is_empty) {
            self.walk.take_single(reading);
        }
        if self.time.is_some() {
            self.walk.time = Some(None);
        }
    }
}

impl<'de> DeserializeSeed<'de> for Node<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object of values")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self { walk, time, values } = self;
        if values.is_some_and(<[_]>::is_empty) {
            walk.found = true;
            if walk.plan.element.is_some() {
                return ElementSeed { walk }.visit_map(map);
            }
        }
        while let Some(key) = map.next_key_seed(KeySeed { walk: &mut *walk, time, values })? {
            match key {
                Key::Known(tag) => {
                    let reading = map.next_value_seed(ReadingSeed)?;
                    walk.take_known(tag, reading);
                }
                Key::New => {
                    let reading = map.next_value_seed(ReadingSeed)?;
                    walk.take_new(reading);
                }
                Key::Path { time: None, values: None } => {
                    map.next_value::<IgnoredAny>()?;
                }
                Key::Path { time: Some(path), values: None } => {
                    let unit = walk.plan.unit;
                    walk.time = Some(map.next_value_seed(TimeAt { path, unit })?);
                }
                Key::Path { time, values } => {
                    map.next_value_seed(Node { walk: &mut *walk, time, values })?;
                }
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        if self.values.is_some_and(<[_]>::is_empty) && self.walk.plan.element.is_some() {
            self.walk.found = true;
            while seq.next_element_seed(ElementSeed { walk: &mut *self.walk })?.is_some() {}
        } else {
            while seq.next_element::<IgnoredAny>()?.is_some() {}
            self.scalar(Reading::Other("an array"));
        }
        Ok(())
    }

    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        self.scalar(Reading::Number(f64::from(u8::from(value))));
        Ok(())
    }

    fn visit_i64<E>(self, value: i64) -> Result<(), E> {
        self.scalar(Reading::Number(value as f64));
        Ok(())
    }

    fn visit_u64<E>(self, value: u64) -> Result<(), E> {
        self.scalar(Reading::Number(value as f64));
        Ok(())
    }

    fn visit_f64<E>(self, value: f64) -> Result<(), E> {
        self.scalar(Reading::Number(value));
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        self.scalar(Reading::Other("a string"));
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.scalar(Reading::Missing);
        Ok(())
    }
}

struct KeySeed<'w, 'a> {
    walk: &'w mut Walk<'a>,
    time: Option<&'a [Box<str>]>,
    values: Option<&'a [Box<str>]>,
}

impl<'de, 'a> DeserializeSeed<'de> for KeySeed<'_, 'a> {
    type Value = Key<'a>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Key<'a>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'a> Visitor<'_> for KeySeed<'_, 'a> {
    type Value = Key<'a>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<Key<'a>, E> {
        let time = self.time.and_then(|path| below(path, key));
        if time.is_none() && self.values.is_some_and(<[_]>::is_empty) {
            let topic = &mut *self.walk.scope.topic;
            if let Some(tag) = topic.known(key) {
                return Ok(Key::Known(tag));
            }
            self.walk.key.clear();
            self.walk.key.push_str(key);
            return Ok(Key::New);
        }
        // Where both paths end at one key, the time has it.
        let values = self.values.and_then(|path| below(path, key));
        let values = values.filter(|_| !time.is_some_and(<[_]>::is_empty));
        Ok(Key::Path { time, values })
    }
}

fn below<'a>(path: &'a [Box<str>], key: &str) -> Option<&'a [Box<str>]> {
    path.split_first().and_then(|(head, tail)| (**head == *key).then_some(tail))
}
