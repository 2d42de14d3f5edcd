//! What all messages of a topic have in common, and where their values stand in it.
//!
//! A machine prints the same keys in the same order each time. A [`Shape`] is learnt from a
//! message that was read in full; the next ones are read by comparing the text between their
//! values. Whatever differs in the least is left to the full reading, which alone says what is
//! wrong. So both give the same samples, to the bit.

use super::super::plan::JsonPlan;
use super::super::tags::Topic;
use super::super::time::{fractional, whole};
use super::below;
use super::number::Number;
use crate::sample::Sample;
use crate::settings::TimeUnit;
use crate::tag::TagId;
use crate::time::Timestamp;

/// Longer messages are not learnt: a topic should not keep much memory.
const LONGEST: usize = 8192;

#[derive(Debug)]
pub(in super::super) struct Shape {
    /// The texts before the values and after the last, one behind the other.
    text: Box<[u8]>,
    slots: Box<[Slot]>,
    timed: bool,
}

/// The place of one value.
#[derive(Debug)]
struct Slot {
    /// Where the text before it ends.
    end: usize,
    what: What,
}

#[derive(Debug)]
enum What {
    Time,
    Tag(TagId),
    /// Not ours.
    Other,
}

/// What can stand in a slot.
enum Value<'t> {
    Number(Number<'t>),
    Bool(bool),
    Null,
    Text,
}

impl Shape {
    /// From a message of `topic` in which nothing was wrong. `None` for what is not plain.
    pub(super) fn learn(plan: &JsonPlan, topic: &Topic, payload: &[u8]) -> Option<Self> {
        if plan.element.is_some() || payload.len() > LONGEST {
            return None;
        }
        let mut pupil =
            Pupil { topic, rest: payload, since: payload, text: vec![], slots: vec![], times: 0 };
        pupil.space();
        pupil.object(plan.time.as_deref(), Some(&plan.values))?;
        let Pupil { since, mut text, slots, times, .. } = pupil;
        text.extend_from_slice(since);
        (times == usize::from(plan.time.is_some())).then(|| Self {
            text: text.into(),
            slots: slots.into(),
            timed: times > 0,
        })
    }

    /// Appends the samples of `payload`. `false`: it has another shape, or something is odd.
    pub(in super::super) fn read(
        &self,
        unit: TimeUnit,
        arrival: Timestamp,
        payload: &[u8],
        out: &mut Vec<Sample>,
        is_plausible: impl FnOnce(Timestamp) -> bool,
    ) -> bool {
        let first = out.len();
        match self.follow(unit, arrival, payload, out) {
            Some(_) if !self.timed => true,
            Some(Some(time)) if is_plausible(time) => {
                out[first..].iter_mut().for_each(|sample| sample.time = time);
                true
            }
            _ => {
                out.truncate(first);
                false
            }
        }
    }

    fn follow(
        &self,
        unit: TimeUnit,
        arrival: Timestamp,
        payload: &[u8],
        out: &mut Vec<Sample>,
    ) -> Option<Option<Timestamp>> {
        let mut rest = payload;
        let mut start = 0;
        let mut time = None;
        for Slot { end, what } in &self.slots {
            rest = rest.strip_prefix(&self.text[start..*end])?;
            start = *end;
            let (value, after) = Value::read(rest)?;
            rest = after;
            match (what, value) {
                (What::Tag(tag), Value::Number(number)) => {
                    out.push(Sample::new(*tag, arrival, number.value()?));
                }
                (What::Tag(tag), Value::Bool(on)) => {
                    out.push(Sample::new(*tag, arrival, f64::from(u8::from(on))));
                }
                (What::Tag(tag), Value::Null) => out.push(Sample::missing(*tag, arrival)),
                (What::Time, Value::Number(number)) => {
                    time = Some(match number.whole() {
                        Some(number) => whole(number, unit)?,
                        None => fractional(number.value()?, unit)?,
                    });
                }
                (What::Other, _) => {}
                _ => return None,
            }
        }
        (*rest == self.text[start..]).then_some(time)
    }
}

impl<'t> Value<'t> {
    /// The value at the front of `bytes`, and what follows it; `None` for what is not plain.
    #[inline]
    fn read(bytes: &'t [u8]) -> Option<(Self, &'t [u8])> {
        match bytes {
            [b'-' | b'0'..=b'9', ..] => {
                Number::read(bytes).map(|(number, rest)| (Self::Number(number), rest))
            }
            [b't', b'r', b'u', b'e', rest @ ..] => Some((Self::Bool(true), rest)),
            [b'f', b'a', b'l', b's', b'e', rest @ ..] => Some((Self::Bool(false), rest)),
            [b'n', b'u', b'l', b'l', rest @ ..] => Some((Self::Null, rest)),
            _ => string(bytes).map(|(_, rest)| (Self::Text, rest)),
        }
    }
}

/// A string without escapes at the front of `bytes`, and what follows it.
fn string(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let text = bytes.strip_prefix(b"\"")?;
    let length = text.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20))?;
    let rest = text[length..].strip_prefix(b"\"")?;
    Some((&text[..length], rest))
}

/// Walks through a message as the full reading does.
struct Pupil<'a> {
    topic: &'a Topic,
    rest: &'a [u8],
    /// From behind the last value on.
    since: &'a [u8],
    text: Vec<u8>,
    slots: Vec<Slot>,
    times: usize,
}

impl Pupil<'_> {
    fn object(&mut self, time: Option<&[Box<str>]>, values: Option<&[Box<str>]>) -> Option<()> {
        self.byte(b'{')?;
        if self.byte(b'}').is_some() {
            return Some(());
        }
        loop {
            let (key, rest) = string(self.rest)?;
            let key = std::str::from_utf8(key).ok()?;
            self.rest = rest;
            self.space();
            self.byte(b':')?;
            let time = time.and_then(|path| below(path, key));
            if time.is_none() && values.is_some_and(<[_]>::is_empty) {
                let tag = self.topic.named(key)?;
                self.slot(What::Tag(tag))?;
            } else {
                let values = values.and_then(|path| below(path, key));
                match (time, values) {
                    (None, None) => self.slot(What::Other)?,
                    (Some([]), _) => {
                        self.times += 1;
                        self.slot(What::Time)?;
                    }
                    (time, values) => self.object(time, values)?,
                }
            }
            if self.byte(b'}').is_some() {
                return Some(());
            }
            self.byte(b',')?;
        }
    }

    fn slot(&mut self, what: What) -> Option<()> {
        let before = self.since.len() - self.rest.len();
        self.text.extend_from_slice(&self.since[..before]);
        self.slots.push(Slot { end: self.text.len(), what });
        (_, self.rest) = Value::read(self.rest)?;
        self.since = self.rest;
        self.space();
        Some(())
    }

    /// The byte, if it is the next, and the space behind it.
    fn byte(&mut self, byte: u8) -> Option<()> {
        self.rest = self.rest.strip_prefix(&[byte])?;
        self.space();
        Some(())
    }

    fn space(&mut self) {
        while let [b' ' | b'\t' | b'\n' | b'\r', rest @ ..] = self.rest {
            self.rest = rest;
        }
    }
}
