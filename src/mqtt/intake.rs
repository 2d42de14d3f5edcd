//! From messages to batches: decodes, counts and quarantines. No I/O.
//!
//! Retained messages go into batches of their own, because they are stale.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::acks::Acks;
use super::recent::Recent;
use super::wire::Received;
use crate::clock::{Reading, Steps};
use crate::decode::payload::{Decoded, Decoders, Fault};
use crate::health::SourceHealth;
use crate::ledger::{Ledger, Rejection};
use crate::message::Quarantined;
use crate::sample::{Batch, Receipt, Sample};
use crate::snapshot::{Fate, Held, Kind, Snapshot};
use crate::time::Timestamp;

/// A batch is handed over at the latest when it holds so many samples…
const BATCH_SAMPLES: usize = 4096;
/// …or came from so many messages.
const BATCH_MESSAGES: u32 = 4096;
/// …or so many pictures and texts.
const BATCH_PICTURES: usize = 16;

#[derive(Debug)]
pub(super) struct Intake {
    pub(super) decoders: Decoders,
    pub(super) max_payload: usize,
    pub(super) ledger: Arc<Ledger>,
    pub(super) health: Arc<SourceHealth>,
    pub(super) quarantine: mpsc::Sender<Quarantined>,
    pub(super) recent: Recent,
    pub(super) steps: Steps,
    pub(super) opened: Instant,
    pub(super) open: OpenBatch,
}

/// A picture or text without its receipt, which is the batch's.
#[derive(Debug)]
struct Arrived {
    kind: Kind,
    asset: Arc<str>,
    now: Timestamp,
    bytes: Bytes,
    topic: String,
    held: Held,
}

#[derive(Debug, Default)]
pub(super) struct OpenBatch {
    samples: Vec<Sample>,
    pictures: Vec<Arrived>,
    /// Packet ids to confirm.
    ids: Vec<u16>,
    messages: u32,
    /// When the first message came.
    received: Timestamp,
    stale: bool,
}

impl Intake {
    /// The message may join the open batch.
    pub(super) const fn fits(&self, message: &Received) -> bool {
        self.open.messages == 0 || self.open.stale == message.retained
    }

    pub(super) const fn is_full(&self) -> bool {
        self.open.samples.len() >= BATCH_SAMPLES
            || self.open.messages >= BATCH_MESSAGES
            || self.open.pictures.len() >= BATCH_PICTURES
    }

    /// In the open batch.
    pub(super) const fn messages(&self) -> u32 {
        self.open.messages
    }

    pub(super) fn add(&mut self, message: &Received, now: Timestamp) {
        let open = &mut self.open;
        if open.messages == 0 {
            open.received = now;
            open.stale = message.retained;
            if self.steps.observe(Reading { wall: now, steady: self.opened.elapsed() }) != 0 {
                self.decoders.clock_is_behind(self.steps.behind());
            }
        }
        open.messages += 1;
        if message.id != 0 {
            open.ids.push(message.id);
        }
        let before = open.samples.len();
        let length = message.payload.len();
        let decoded = if length > self.max_payload {
            let detail = format!("{length} bytes; `max_payload` is {}", self.max_payload);
            Decoded::refused(Rejection::TooLarge, detail)
        } else {
            self.decoders.decode(&message.topic, &message.payload, now, &mut open.samples)
        };
        if decoded.foreign > 0 {
            self.ledger.leave(decoded.foreign);
            if decoded.received == 0 {
                return;
            }
        }
        let mut known = false;
        if message.id != 0 {
            let print = Recent::fingerprint(&message.topic, &message.payload);
            known = self.recent.repeats(message.id, message.again, print);
        }
        // Without a time of its own, a reading is not known to be the same one.
        let known = known && open.samples[before..].iter().all(|sample| sample.time != now);
        self.ledger.receive(decoded.received);
        if let Some((kind, asset)) = decoded.snapshot {
            self.keep(kind, asset, message, now);
        }
        if let Some(fault) = decoded.fault {
            decoded.rejected.iter().for_each(|(reason, n)| self.ledger.reject(reason, n));
            if !known {
                self.set_aside(message, now, fault);
            }
        }
        if known {
            let again = self.open.samples.len() - before;
            self.open.samples.truncate(before);
            self.ledger.reject(Rejection::Duplicate, again as u64);
        }
    }

    /// Closes the open batch. One without samples is confirmed at once and gives nothing.
    pub(super) fn close(&mut self, acks: &mut Acks) -> Option<Batch> {
        if self.open.messages == 0 {
            return None;
        }
        let mut open = std::mem::take(&mut self.open);
        self.health.heard(open.received, u64::from(open.messages));
        let messages = u32::try_from(open.ids.len()).expect("a batch has few messages");
        if open.samples.is_empty() && open.pictures.is_empty() {
            if messages > 0 {
                acks.confirm(open.ids);
            }
            return None;
        }
        // The next batch is likely to be as large. One that is not gives the room back: it may wait long.
        self.open.samples = Vec::with_capacity(open.samples.len().min(BATCH_SAMPLES));
        if open.samples.capacity() / 2 > open.samples.len() {
            open.samples.shrink_to_fit();
        }
        let receipt = (messages > 0).then(|| acks.receipt(open.ids));
        let mut parts = receipt.map(|receipt| receipt.split(open.pictures.len() + 1).into_iter());
        let mut part = || parts.as_mut().and_then(Iterator::next);
        let receipt = part();
        let pictures =
            open.pictures.into_iter().map(|picture| self.snapshot(picture, part())).collect();
        Some(Batch {
            samples: Arc::new(open.samples),
            pictures,
            received: open.received,
            messages,
            receipt,
            stale: open.stale,
        })
    }

    /// Keeps a picture or text for the models, or gives it up where too many wait.
    fn keep(&mut self, kind: Kind, asset: Arc<str>, message: &Received, now: Timestamp) {
        let tally = self.ledger.tally(kind);
        tally.receive();
        let Some(held) = tally.hold(message.payload.len(), kind.most_held()) else {
            tally.settle(&Fate::Memory);
            return;
        };
        self.open.pictures.push(Arrived {
            kind,
            asset,
            now,
            // Copied: a slice would keep the whole receive buffer alive.
            bytes: Bytes::copy_from_slice(&message.payload),
            topic: String::from_utf8_lossy(&message.topic).into_owned(),
            held,
        });
    }

    /// Confirmed when a model has answered, or when it is counted as refused or given up.
    fn snapshot(&self, picture: Arrived, receipt: Option<Receipt>) -> Snapshot {
        let Arrived { kind, asset, now, bytes, topic, held } = picture;
        let (tally, quarantine) = (Arc::clone(self.ledger.tally(kind)), self.quarantine.clone());
        let (source, encoded) = (self.health.name.clone(), bytes.clone());
        Snapshot::new(kind, asset, now, bytes, move |fate| {
            tally.settle(&fate);
            if let Fate::Refused(detail) = fate
                && let Ok(place) = quarantine.try_reserve()
            {
                let head = encoded.slice(..encoded.len().min(Quarantined::MAX_BYTES));
                let reason = Rejection::Unreadable.as_str();
                let (received, length) = (now, encoded.len() as u64);
                place.send(Quarantined { received, source, topic, reason, detail, head, length });
            }
            drop((held, encoded));
            if let Some(receipt) = receipt {
                receipt.settle();
            }
        })
    }

    /// Keeps the head for an engineer. When the quarantine is full, the count must do.
    fn set_aside(&self, message: &Received, now: Timestamp, fault: Fault) {
        let Ok(place) = self.quarantine.try_reserve() else {
            return;
        };
        let payload = &message.payload;
        let head = &payload[..payload.len().min(Quarantined::MAX_BYTES)];
        place.send(Quarantined {
            received: now,
            source: self.health.name.clone(),
            topic: String::from_utf8_lossy(&message.topic).into_owned(),
            reason: fault.reason.as_str(),
            detail: fault.detail,
            // Copied: a slice would keep the whole receive buffer alive.
            head: Bytes::copy_from_slice(head),
            length: payload.len() as u64,
        });
    }
}
