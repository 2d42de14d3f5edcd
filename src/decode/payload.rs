//! Payloads to samples: one [`Decoder`] a subscription, [`Decoders`] for those of a connection.
//!
//! Pure: the time of arrival is an argument. What cannot be used is counted by reason and told
//! in [`Decoded`]; the good samples of a message survive its bad ones. Names are looked up once
//! for a topic and then remembered, so that a sample costs no allocation and no lock.

mod json;
mod packed;
mod plan;
mod tags;
mod time;

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use self::plan::Plan;
use self::tags::Topic;
use super::topic::{TopicError, TopicPattern};
use crate::clock;
use crate::ledger::Rejection;
use crate::note::{self, NoteError};
use crate::picture::Format;
use crate::sample::Sample;
use crate::settings::Subscription;
use crate::share::Shares;
use crate::snapshot::Kind;
use crate::tag::{Registry, RegistryFull};
use crate::time::Timestamp;

/// Topics remembered at most. A broker with more of them is served at the price of look-ups.
const TOPICS: usize = 65_536;

/// Reads the payloads of one subscription.
#[derive(Debug)]
pub struct Decoder {
    pattern: TopicPattern,
    asset: Option<Box<str>>,
    tag: Option<Box<str>>,
    plan: Plan,
}

/// What is wrong with a subscription, and what to write instead.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum DecoderError {
    #[error(transparent)]
    Topic(#[from] TopicError),
    #[error("`qos` is {0}; write 0 or 1")]
    Qos(u8),
    #[error("nothing says which asset: capture `{{asset}}` in the topic or set `asset`")]
    NoAsset,
    #[error("nothing says which tag: capture `{{tag}}` in the topic or set `tag`")]
    NoTag,
    #[error("packed payloads need `sample_rate`, the samples a second")]
    NoSampleRate,
    #[error("`sample_rate` is {0}; write the samples a second, above 0")]
    SampleRate(f64),
    #[error("`scale` is {0}; write a finite number other than 0")]
    Scale(f64),
    #[error("`{setting}` is `{path}`; write keys joined by dots, such as `data.{setting}`")]
    Path { setting: &'static str, path: String },
    #[error("`{0}` is read from `json` and `samples` payloads only; leave it out here")]
    NoJson(&'static str),
}

/// What became of one message. The samples themselves went to the caller's vector.
#[must_use]
#[derive(Debug, Default)]
pub struct Decoded {
    /// Samples found, good and rejected; an unreadable payload counts as one.
    pub received: u64,
    pub rejected: Rejects,
    /// The message is a picture or text of this asset. It is not counted among the samples.
    pub snapshot: Option<(Kind, Arc<str>)>,
    /// Messages or elements left to another box, unread.
    pub foreign: u64,
    /// The first thing that was wrong.
    pub fault: Option<Fault>,
}

/// Why something was rejected, for the quarantine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub reason: Rejection,
    /// A sentence.
    pub detail: String,
}

/// Counts by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rejects([u64; Rejection::ALL.len()]);

impl Rejects {
    pub fn of(&self, reason: Rejection) -> u64 {
        self.0[reason as usize]
    }

    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// The reasons that occurred.
    pub fn iter(&self) -> impl Iterator<Item = (Rejection, u64)> + '_ {
        Rejection::ALL.iter().map(|reason| (*reason, self.of(*reason))).filter(|(_, n)| *n > 0)
    }
}

impl Decoded {
    fn reject(&mut self, reason: Rejection, count: u64, detail: impl FnOnce() -> String) {
        self.rejected.0[reason as usize] += count;
        if self.fault.is_none() {
            self.fault = Some(Fault { reason, detail: detail() });
        }
    }

    /// A whole message that gives nothing.
    pub fn refused(reason: Rejection, detail: impl Into<String>) -> Self {
        let mut decoded = Self { received: 1, ..Self::default() };
        decoded.reject(reason, 1, || detail.into());
        decoded
    }
}

impl Decoder {
    pub fn new(subscription: &Subscription) -> Result<Self, DecoderError> {
        let pattern = TopicPattern::parse(&subscription.topic)?;
        if subscription.qos > 1 {
            return Err(DecoderError::Qos(subscription.qos));
        }
        let plan = Plan::new(subscription)?;
        let asset = subscription.asset.as_deref().filter(|name| !name.is_empty());
        let tag = subscription.tag.as_deref().filter(|name| !name.is_empty());
        if asset.is_none() && !pattern.captures_asset() && !plan.names_assets() {
            return Err(DecoderError::NoAsset);
        }
        if tag.is_none() && !pattern.captures_tag() && !plan.names_tags() {
            return Err(DecoderError::NoTag);
        }
        Ok(Self { pattern, asset: asset.map(Box::from), tag: tag.map(Box::from), plan })
    }

    pub fn pattern(&self) -> &TopicPattern {
        &self.pattern
    }

    /// What this subscription knows about `topic`; `None` when it is not for it.
    fn open(&self, topic: &str, shares: &Shares) -> Option<Result<Topic, &'static str>> {
        let captures = self.pattern.captures(topic)?;
        if captures.asset == Some("") || captures.tag == Some("") {
            return Some(Err("a captured level of the topic is empty"));
        }
        // What the topic says is nearer to the machine than what the configuration says.
        let asset = captures.asset.or(self.asset.as_deref());
        let tag = captures.tag.or(self.tag.as_deref());
        // Where the payload names its assets, each of them is asked about.
        let known = asset.filter(|_| !self.plan.names_assets());
        let foreign = known.is_some_and(|asset| !shares.owns(asset));
        let mut opened = Topic::new(asset, tag);
        opened.foreign = foreign;
        Some(Ok(opened))
    }
}

/// The decoders of one connection. A topic belongs to the first whose pattern matches it.
#[derive(Debug)]
pub struct Decoders {
    decoders: Vec<Decoder>,
    registry: Arc<Registry>,
    future: Duration,
    shares: Shares,
    /// So far the box's clock has been stepped back: samples may lie further ahead of it.
    behind: Duration,
    /// Places in `topics`.
    routes: HashMap<Box<[u8]>, usize>,
    /// Each with its decoder.
    topics: Vec<(usize, Topic)>,
}

/// What the parts of a decoder work with while they read one message.
struct Scope<'a> {
    registry: &'a Registry,
    shares: &'a Shares,
    arrival: Timestamp,
    times: RangeInclusive<Timestamp>,
    topic: &'a mut Topic,
    out: &'a mut Vec<Sample>,
    decoded: Decoded,
}

impl Decoders {
    /// `future`: how far ahead of the box's clock a sample may lie.
    pub fn new(decoders: Vec<Decoder>, registry: Arc<Registry>, future: Duration) -> Self {
        let (behind, routes, topics) = (Duration::ZERO, HashMap::new(), Vec::new());
        let shares = Shares::default();
        Self { decoders, registry, future, shares, behind, routes, topics }
    }

    /// Reads nothing of the assets that other boxes look after.
    #[must_use]
    pub fn sharing(mut self, shares: Shares) -> Self {
        self.shares = shares;
        self
    }

    /// See [`clock::Steps::behind`].
    pub fn clock_is_behind(&mut self, behind: Duration) {
        self.behind = behind;
    }

    /// The topic filters, in the order of the decoders.
    pub fn filters(&self) -> impl Iterator<Item = &str> {
        self.decoders.iter().map(|decoder| decoder.pattern.filter())
    }

    /// Appends the samples of one message that arrived at `now`.
    pub fn decode(
        &mut self,
        topic: &[u8],
        payload: &[u8],
        now: Timestamp,
        out: &mut Vec<Sample>,
    ) -> Decoded {
        let place = match self.routes.get(topic) {
            Some(place) => *place,
            None => match self.route(topic) {
                Ok(route) => self.remember(topic, route),
                Err(detail) => return Decoded::refused(Rejection::UnknownTopic, detail),
            },
        };
        let (decoder, topic) = &mut self.topics[place];
        if topic.foreign {
            return Decoded { foreign: 1, ..Decoded::default() };
        }
        let scope = Scope {
            registry: &self.registry,
            shares: &self.shares,
            arrival: now,
            times: clock::plausible(now, self.future + self.behind),
            topic,
            out,
            decoded: Decoded::default(),
        };
        match &self.decoders[*decoder].plan {
            Plan::Json(plan) => json::decode(plan, scope, payload),
            Plan::Image => picture(&scope, payload),
            Plan::Text => text(&scope, payload),
            Plan::Number => packed::decode_number(scope, payload),
            Plan::Packed(plan) => packed::decode_array(plan, scope, payload),
        }
    }

    fn remember(&mut self, topic: &[u8], route: (usize, Topic)) -> usize {
        if self.topics.len() >= TOPICS {
            self.routes.clear();
            self.topics.clear();
        }
        self.routes.insert(Box::from(topic), self.topics.len());
        self.topics.push(route);
        self.topics.len() - 1
    }

    fn route(&self, topic: &[u8]) -> Result<(usize, Topic), &'static str> {
        let topic = std::str::from_utf8(topic).map_err(|_| "the topic is not UTF-8")?;
        let mut found = self.decoders.iter().enumerate().filter_map(|(index, decoder)| {
            decoder.open(topic, &self.shares).map(|opened| opened.map(|topic| (index, topic)))
        });
        found.next().unwrap_or(Err("the topic matches no subscription"))
    }
}

/// Only its first bytes are looked at: decoding is the model's thread's work.
fn picture(scope: &Scope<'_>, payload: &[u8]) -> Decoded {
    if Format::of(payload).is_none() {
        let detail = "expected a JPEG or PNG picture; the payload begins like neither";
        return Decoded::refused(Rejection::Unreadable, detail);
    }
    whole(scope, Kind::Picture)
}

fn text(scope: &Scope<'_>, payload: &[u8]) -> Decoded {
    match note::read(payload) {
        Ok(_) => whole(scope, Kind::Text),
        Err(error @ NoteError::TooLong { .. }) => {
            Decoded::refused(Rejection::TooLarge, error.to_string())
        }
        Err(error) => Decoded::refused(Rejection::Unreadable, error.to_string()),
    }
}

/// The message as it is, for the models.
fn whole(scope: &Scope<'_>, kind: Kind) -> Decoded {
    let snapshot = scope.topic.asset.clone().map(|asset| (kind, asset));
    Decoded { snapshot, ..Decoded::default() }
}

impl Scope<'_> {
    fn push(&mut self, sample: Sample) {
        self.decoded.received += 1;
        self.out.push(sample);
    }

    fn reject(&mut self, reason: Rejection, detail: impl FnOnce() -> String) {
        self.decoded.received += 1;
        self.decoded.reject(reason, 1, detail);
    }

    fn reject_tag(&mut self, full: &RegistryFull) {
        self.reject(Rejection::TooManyTags, || full.to_string());
    }

    /// Takes the last `count` samples back: they had been received, and are now rejected.
    fn take_back(&mut self, count: usize, reason: Rejection, detail: impl FnOnce() -> String) {
        self.out.truncate(self.out.len() - count);
        self.decoded.reject(reason, count as u64, detail);
    }

    fn is_plausible(&self, time: Timestamp) -> bool {
        self.times.contains(&time)
    }
}

#[cfg(test)]
mod tests;
