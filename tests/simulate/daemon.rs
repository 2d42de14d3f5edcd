//! One life of the daemon: `watch` and `deliver` step by step, with the real cores, and the disk
//! that outlives it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use andon::alert::rules::RuleBook;
use andon::alert::wire::Wire;
use andon::alert::{AlertBook, AlertRecord, AlertSpec, Transition};
use andon::message::Message;
use andon::mqtt::Recent;
use andon::quality::{Inspection, Inspector};
use andon::sample::Sample;
use andon::settings::{AlertPolicy, Rule, RuleKind};
use andon::tag::{Registry, TagId};
use andon::time::Timestamp;
use andon::verdict::{PredictionId, Verdict};

use crate::world::{ASSETS, Packet};

const IN_FLIGHT: usize = 64;
/// As in `watch::restore`.
const TAIL: Duration = Duration::from_secs(60);
/// As in `store::read`.
const LONGEST_STEP: Duration = Duration::from_secs(5);

/// A mistake that the simulation must catch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mutant {
    None,
    AckBeforeCommit,
    DeleteBeforePuback,
    NoRecall,
    ForgetsAtReconnect,
}

/// What was committed.
#[derive(Default)]
pub(crate) struct Disk {
    pub(crate) samples: Vec<Sample>,
    /// Of each block: when it was received, and where in `samples` it begins.
    blocks: Vec<(Timestamp, usize)>,
    pub(crate) alerts: BTreeMap<String, String>,
    pub(crate) outbox: BTreeMap<i64, Message>,
    pub(crate) dead: Vec<Message>,
    /// The newest retained message of each topic, confirmed or not.
    pub(crate) newest: BTreeMap<String, Message>,
    next_seq: i64,
}

impl Disk {
    /// As `store::read::tail_ids`.
    fn tail(&self) -> &[Sample] {
        let (mut first, mut ago, mut after) = (self.samples.len(), Duration::ZERO, None);
        for (received, begin) in self.blocks.iter().rev() {
            let step = after.map_or(Duration::ZERO, |after: Timestamp| after.since(*received));
            ago += step.min(LONGEST_STEP);
            if ago >= TAIL {
                break;
            }
            (first, after) = (*begin, Some(*received));
        }
        &self.samples[first..]
    }
}

enum Entry {
    Samples { samples: Vec<Sample>, receipts: Vec<u16>, received: Timestamp },
    Change { asset: String, state: String, messages: Vec<Message> },
    Delivered(i64),
    Dead(i64),
}

pub(crate) struct Daemon {
    mutant: Mutant,
    registry: Registry,
    recent: Recent,
    /// The producer's link is new: nothing is read until this has come down to nothing.
    unsettled: usize,
    inspector: Inspector,
    rules: RuleBook,
    ruled: Vec<Verdict>,
    book: AlertBook,
    wire: Wire,
    queue: VecDeque<Entry>,
    in_flight: BTreeSet<i64>,
    /// What is in the queue on its way out of the outbox, as `Store` knows it too.
    leaving: BTreeSet<i64>,
    received: u64,
    committed: u64,
    /// Rejected while the past was read back.
    recalled: u64,
    /// Rejected as messages.
    repeated: u64,
}

fn rule() -> Rule {
    Rule {
        name: "load".into(),
        assets: vec!["machine-*".into()],
        tag: "load".into(),
        when: RuleKind::Above,
        limit: Some(50.0),
        span: None,
        chart: None,
        alert: AlertPolicy::default(),
    }
}

/// The ids of `n` and `load` of each asset; the same in every life, as the store sees to.
pub(crate) fn tags(asset: usize) -> [TagId; 2] {
    let first = u32::try_from(asset * 2).expect("few assets");
    [TagId(first), TagId(first + 1)]
}

impl Daemon {
    /// Starts, and restores what the disk has, in `Watch::restore`'s order.
    pub(crate) fn start(disk: &Disk, mutant: Mutant, now: Timestamp) -> Self {
        let registry = Registry::new(64);
        let rules = vec![(PredictionId(0), rule())];
        let mut daemon = Self {
            mutant,
            recent: Recent::new(u16::MAX),
            unsettled: 0,
            inspector: Inspector::new(Vec::new(), Duration::from_secs(4 * 3600)),
            rules: RuleBook::new(rules),
            ruled: Vec::new(),
            book: AlertBook::new("sim", vec![AlertSpec::rule(PredictionId(0), &rule())]),
            wire: Wire { prefix: "sim".into(), site: "sim".into(), station: None },
            queue: VecDeque::new(),
            in_flight: BTreeSet::new(),
            leaving: BTreeSet::new(),
            registry,
            received: 0,
            committed: 0,
            recalled: 0,
            repeated: 0,
        };
        for (at, asset) in ASSETS.iter().enumerate() {
            for (tag, id) in ["n", "load"].into_iter().zip(tags(at)) {
                let tag_id = daemon.registry.intern(asset, tag).expect("there is room");
                assert_eq!(tag_id, id);
                let info = daemon.registry.tag(id).expect("it was just made");
                daemon.inspector.attach(id, asset, tag);
                daemon.rules.attach(id, info.asset, asset, tag);
            }
        }
        for (asset, state) in &disk.alerts {
            let record: AlertRecord = serde_json::from_str(state).expect("we wrote it");
            let id = daemon.registry.intern_asset(asset);
            daemon.book.restore(id, asset, record);
        }
        assert!(daemon.book.withdraw(now).is_empty(), "the rule is still there");
        for sample in disk.tail() {
            let mut sample = *sample;
            if mutant != Mutant::NoRecall {
                let _known = daemon.inspector.inspect(&mut sample, now);
                daemon.inspector.recall(&sample);
            }
            daemon.rules.observe(&sample, sample.time, &mut daemon.ruled);
            daemon.judge(sample.time);
        }
        let silences = daemon.rules.resume(now);
        daemon.book.resumed(&silences, now);
        daemon.recalled = daemon.rejected();
        daemon
    }

    /// `Watch::take_in`. Gives the packets that are confirmed at once: none, without a mistake.
    pub(crate) fn take_in(&mut self, packets: &[Packet], now: Timestamp) -> Vec<u16> {
        let mut samples = Vec::new();
        for packet in packets {
            let print = Recent::fingerprint(b"", packet.n.to_string().as_bytes());
            self.received += packet.samples.len() as u64;
            if self.recent.repeats(packet.id, packet.again, print) {
                self.repeated += packet.samples.len() as u64;
            } else {
                samples.extend(packet.samples);
            }
        }
        samples.retain_mut(|sample| self.inspector.inspect(sample, now) == Inspection::Accept);
        let mut receipts = packets.iter().map(|packet| packet.id).collect();
        let early = match self.mutant {
            Mutant::AckBeforeCommit => std::mem::take(&mut receipts),
            _ => Vec::new(),
        };
        self.queue.push_back(Entry::Samples { samples: samples.clone(), receipts, received: now });
        for sample in &samples {
            self.rules.observe(sample, now, &mut self.ruled);
            self.judge(now);
        }
        early
    }

    /// As `Ingest::remember`: what came over the last link is waited for.
    pub(crate) fn producer_is_back(&mut self) {
        self.unsettled = self.queue.len();
        if self.mutant == Mutant::ForgetsAtReconnect {
            self.recent.link_ended(false);
        }
        self.settled();
    }

    pub(crate) fn reads(&self) -> bool {
        self.unsettled == 0
    }

    fn judge(&mut self, now: Timestamp) {
        for verdict in std::mem::take(&mut self.ruled) {
            let asset = self.registry.asset_name(verdict.asset).expect("a known asset");
            if let Some(transition) = self.book.apply(&verdict, &asset, now) {
                self.commit_later(&transition);
            }
        }
    }

    fn commit_later(&mut self, transition: &Transition) {
        self.queue.push_back(Entry::Change {
            asset: transition.record.asset.clone(),
            state: serde_json::to_string(&transition.record).expect("as watch does"),
            messages: self.wire.messages(transition),
        });
    }

    /// One transaction over the first `entries` of the queue; gives the packets to confirm.
    pub(crate) fn commit(&mut self, disk: &mut Disk, entries: usize) -> Vec<u16> {
        let mut confirmed = Vec::new();
        for _ in 0..entries.min(self.queue.len()) {
            match self.queue.pop_front().expect("counted") {
                Entry::Samples { samples, receipts, received } => {
                    disk.blocks.push((received, disk.samples.len()));
                    self.committed += samples.len() as u64;
                    disk.samples.extend(samples);
                    confirmed.extend(receipts);
                }
                Entry::Change { asset, state, messages } => {
                    disk.alerts.insert(asset, state);
                    for message in messages {
                        disk.next_seq += 1;
                        if message.retain {
                            disk.newest.insert(message.topic.clone(), message.clone());
                        }
                        disk.outbox.insert(disk.next_seq, message);
                    }
                }
                Entry::Delivered(seq) => {
                    disk.outbox.remove(&seq);
                    self.leaving.remove(&seq);
                }
                Entry::Dead(seq) => {
                    disk.dead.extend(disk.outbox.remove(&seq));
                    self.leaving.remove(&seq);
                }
            }
        }
        if self.unsettled > 0 {
            self.unsettled = self.unsettled.saturating_sub(entries);
            self.settled();
        }
        confirmed
    }

    fn settled(&mut self) {
        if self.unsettled == 0 {
            self.recent.link_ended(true);
        }
    }

    pub(crate) fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// The next messages of the outbox, oldest first, within what may be in flight.
    pub(crate) fn send(&mut self, disk: &Disk) -> Vec<(i64, Message)> {
        let room = IN_FLIGHT.saturating_sub(self.in_flight.len());
        let due = disk
            .outbox
            .iter()
            .filter(|(seq, _)| !self.in_flight.contains(seq) && !self.leaving.contains(seq));
        let sent: Vec<(i64, Message)> =
            due.take(room).map(|(seq, message)| (*seq, message.clone())).collect();
        for (seq, _) in &sent {
            self.in_flight.insert(*seq);
            if self.mutant == Mutant::DeleteBeforePuback {
                self.leave(*seq, Entry::Delivered(*seq));
            }
        }
        sent
    }

    pub(crate) fn puback(&mut self, seq: i64, refused: bool) {
        if self.in_flight.remove(&seq) && !self.leaving.contains(&seq) {
            self.leave(seq, if refused { Entry::Dead(seq) } else { Entry::Delivered(seq) });
        }
    }

    fn leave(&mut self, seq: i64, entry: Entry) {
        self.leaving.insert(seq);
        self.queue.push_back(entry);
    }

    /// The alert connection broke: what is not confirmed goes again.
    pub(crate) fn link_lost(&mut self) {
        self.in_flight.clear();
    }

    /// received = stored + rejected + in flight.
    pub(crate) fn balance(&self) -> Result<(), String> {
        let queued = self.queue.iter().map(|entry| match entry {
            Entry::Samples { samples, .. } => samples.len() as u64,
            _ => 0,
        });
        let known = self.committed + queued.sum::<u64>() + self.rejected() - self.recalled;
        if known == self.received {
            return Ok(());
        }
        Err(format!("received {}, accounted for {known}", self.received))
    }

    fn rejected(&self) -> u64 {
        let counts = self.inspector.counts();
        counts.duplicate + counts.bad_time + self.repeated
    }
}
