//! The world around the daemon, its faults, and the promises it is held to.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use andon::message::Message;
use andon::sample::Sample;
use andon::time::Timestamp;

use crate::daemon::{Daemon, Disk, Mutant, tags};
use crate::rng::Rng;

pub(crate) const ASSETS: [&str; 3] = ["machine-0", "machine-1", "machine-2"];
/// So many samples low, as many high, and again: each step up is an alert.
const HALF: u32 = 10;
/// Unacknowledged packets of the producer: more of a tag than an inspector's track remembers.
const WINDOWS: [usize; 3] = [20, 300, 3000];
const STEPS: usize = 1500;
const START: i64 = 1_700_000_000_000;
/// How far the box's clock may be off, in milliseconds, either way: a bad minute, a wrong time zone.
/// Further back than the daemon's limit for the future and it refuses every sample, and counts it.
const SKEWS: [i64; 2] = [30_000, 3 * 3_600_000];
/// A clock that a wrong time server has set.
const YEAR: i64 = 365 * 86_400_000;

/// One QoS 1 message of the producer.
#[derive(Clone, Debug)]
pub(crate) struct Packet {
    pub(crate) id: u16,
    /// Sent again over a new link.
    pub(crate) again: bool,
    pub(crate) samples: [Sample; 2],
    asset: usize,
    pub(crate) n: u32,
}

pub(crate) struct Run {
    pub(crate) acknowledged: usize,
    pub(crate) alerts: usize,
    pub(crate) crashes: usize,
}

pub(crate) struct World {
    rng: Rng,
    mutant: Mutant,
    /// Milliseconds of true time, and what the box's clock is off by.
    now: i64,
    skew: i64,
    next: [u32; ASSETS.len()],
    next_id: u16,
    sent: BTreeMap<(usize, u32), i64>,
    unacknowledged: VecDeque<Packet>,
    acknowledged: BTreeSet<(usize, u32)>,
    /// On the wire to the daemon, and its confirmations on the way back.
    inbound: VecDeque<Packet>,
    pubacks: VecDeque<u16>,
    /// Whether this seed's network changes the order of what it carries.
    reorders: bool,
    window: usize,
    /// This seed's box never crashes: only its links break.
    steady: bool,
    /// Of a hundred commits so many come to nothing: the disk is slow.
    slow: usize,
    broker_up: bool,
    told: Vec<Message>,
    retained: BTreeMap<String, Message>,
    confirmations: VecDeque<(i64, bool)>,
    disk: Disk,
    daemon: Option<Daemon>,
    crashes: usize,
    /// No more faults.
    calm: bool,
}

/// A broker sends again what it has seen no confirmation of.
fn sent_again(unacknowledged: &VecDeque<Packet>) -> VecDeque<Packet> {
    unacknowledged.iter().map(|packet| Packet { again: true, ..packet.clone() }).collect()
}

impl World {
    pub(crate) fn new(seed: u64, mutant: Mutant) -> Self {
        let mut rng = Rng::new(seed);
        let reorders = rng.one_in(2);
        let window = WINDOWS[rng.below(WINDOWS.len())];
        let steady = rng.one_in(4);
        let slow = [10, 10, 97][rng.below(3)];
        Self {
            rng,
            mutant,
            now: START,
            skew: 0,
            next: [0; ASSETS.len()],
            next_id: 0,
            sent: BTreeMap::new(),
            unacknowledged: VecDeque::new(),
            acknowledged: BTreeSet::new(),
            inbound: VecDeque::new(),
            pubacks: VecDeque::new(),
            reorders,
            window,
            steady,
            slow,
            broker_up: true,
            told: Vec::new(),
            retained: BTreeMap::new(),
            confirmations: VecDeque::new(),
            disk: Disk::default(),
            daemon: None,
            crashes: 0,
            calm: false,
        }
    }

    pub(crate) fn run(mut self) -> Result<Run, String> {
        for _ in 0..STEPS {
            self.now += 1 + i64::try_from(self.rng.below(20)).expect("small");
            match self.rng.below(100) {
                0..30 => self.produce(),
                30..55 => self.deliver_in(),
                55..70 => self.commit(),
                70..78 => self.confirm_in(),
                78..86 => self.send_alerts(),
                86..94 => self.confirm_alerts(),
                _ => self.fault()?,
            }
        }
        self.settle()?;
        self.judge()
    }

    fn wall(&self) -> Timestamp {
        Timestamp::from_millis(self.now + self.skew)
    }

    fn daemon(&mut self) -> &mut Daemon {
        let wall = self.wall();
        let Self { daemon, disk, mutant, unacknowledged, inbound, .. } = self;
        daemon.get_or_insert_with(|| {
            *inbound = sent_again(unacknowledged);
            Daemon::start(disk, *mutant, wall)
        })
    }

    fn produce(&mut self) {
        for _ in 0..=self.rng.below(4) {
            if self.unacknowledged.len() >= self.window {
                return;
            }
            let asset = self.rng.below(ASSETS.len());
            let n = self.next[asset];
            self.next[asset] += 1;
            self.now += 1;
            self.next_id = self.next_id.wrapping_add(1);
            self.sent.insert((asset, n), self.now);
            let time = Timestamp::from_millis(self.now);
            let load = if n / HALF % 2 == 1 { 100.0 } else { 0.0 };
            let [count, level] = tags(asset);
            let samples = [Sample::new(count, time, f64::from(n)), Sample::new(level, time, load)];
            let packet = Packet { id: self.next_id, again: false, samples, asset, n };
            self.unacknowledged.push_back(packet.clone());
            self.inbound.push_back(packet);
        }
    }

    fn deliver_in(&mut self) {
        if !self.daemon().reads() {
            return;
        }
        let mut packets = Vec::new();
        for _ in 0..=self.rng.below(8) {
            if self.inbound.is_empty() {
                break;
            }
            let mut at = 0;
            if self.reorders && self.rng.one_in(10) {
                at = self.rng.below(self.inbound.len().min(4));
            }
            let packet = self.inbound.remove(at).expect("in range");
            if self.rng.one_in(20) {
                packets.push(packet.clone());
            }
            packets.push(packet);
        }
        let wall = self.wall();
        let early = self.daemon().take_in(&packets, wall);
        self.pubacks.extend(early);
    }

    fn commit(&mut self) {
        let waiting = self.daemon().waiting();
        // A transaction takes a part of a long queue; one that fails changes nothing.
        let entries = if self.rng.one_in(4) { self.rng.below(waiting + 1) } else { waiting };
        if !self.calm && self.rng.below(100) < self.slow {
            return;
        }
        let Some(daemon) = &mut self.daemon else { return };
        self.pubacks.extend(daemon.commit(&mut self.disk, entries));
    }

    fn confirm_in(&mut self) {
        while let Some(id) = self.pubacks.pop_front() {
            if let Some(at) = self.unacknowledged.iter().position(|packet| packet.id == id) {
                let packet = self.unacknowledged.remove(at).expect("in range");
                self.acknowledged.insert((packet.asset, packet.n));
            }
        }
    }

    fn send_alerts(&mut self) {
        self.daemon();
        let Some(daemon) = self.daemon.as_mut().filter(|_| self.broker_up) else { return };
        for (seq, message) in daemon.send(&self.disk) {
            if !self.calm && self.rng.one_in(50) {
                // Lost with the connection, and all that follows it.
                self.cut_alert_link();
                return;
            }
            let refused = self.rng.one_in(200);
            if !refused {
                if message.retain {
                    self.retained.insert(message.topic.clone(), message.clone());
                }
                self.told.push(message);
            }
            self.confirmations.push_back((seq, refused));
        }
    }

    fn cut_alert_link(&mut self) {
        self.confirmations.clear();
        if let Some(daemon) = &mut self.daemon {
            daemon.link_lost();
        }
    }

    fn confirm_alerts(&mut self) {
        let Some(daemon) = &mut self.daemon else { return };
        for _ in 0..=self.rng.below(64) {
            let at = self.rng.below(self.confirmations.len().min(3));
            let Some((seq, refused)) = self.confirmations.remove(at) else { return };
            daemon.puback(seq, refused);
            if self.rng.one_in(10) {
                daemon.puback(seq, refused);
            }
        }
    }

    fn fault(&mut self) -> Result<(), String> {
        let kind = match self.rng.below(8) {
            0..3 if self.steady => 3,
            kind => kind,
        };
        match kind {
            0 | 1 => self.crash()?,
            2 => {
                // The commit is on disk, and nobody hears of it.
                let Some(daemon) = &mut self.daemon else { return Ok(()) };
                let waiting = daemon.waiting();
                let _never_told = daemon.commit(&mut self.disk, waiting);
                self.crash()?;
            }
            3 => {
                // The producer's connection breaks: everything unconfirmed comes again.
                self.pubacks.clear();
                self.inbound = sent_again(&self.unacknowledged);
                if let Some(daemon) = &mut self.daemon {
                    daemon.producer_is_back();
                }
            }
            4 => {
                self.broker_up = !self.broker_up;
                self.cut_alert_link();
            }
            5 => self.cut_alert_link(),
            6 if self.rng.one_in(8) => self.skew = YEAR,
            6 => {
                let far = SKEWS[self.rng.below(SKEWS.len())];
                let span = usize::try_from(2 * far).expect("positive");
                self.skew = i64::try_from(self.rng.below(span)).expect("small") - far;
            }
            _ => self.rest(),
        }
        Ok(())
    }

    /// Nothing happens for a while. A broker that has something unconfirmed does not wait for long:
    /// what it repeats is known for a minute after its commit.
    fn rest(&mut self) {
        if self.rng.one_in(2) {
            for _ in 0..200 {
                self.deliver_in();
                self.commit();
                self.confirm_in();
            }
        }
        let longest = if self.unacknowledged.is_empty() { 120_000 } else { 2000 };
        self.now += i64::try_from(self.rng.below(longest)).expect("small");
    }

    /// SIGKILL or a power cut: here they are the same, since the disk is what was synced.
    fn crash(&mut self) -> Result<(), String> {
        if let Some(daemon) = self.daemon.take() {
            daemon.balance()?;
            self.crashes += 1;
        }
        // What the daemon had written to its sockets may still arrive.
        if self.rng.one_in(2) {
            self.confirm_in();
        }
        self.pubacks.clear();
        self.confirmations.clear();
        Ok(())
    }

    /// No more faults, no more samples: everything must come to its end.
    fn settle(&mut self) -> Result<(), String> {
        self.broker_up = true;
        self.calm = true;
        self.crash()?;
        for _ in 0..2000 {
            self.now += 20;
            self.deliver_in();
            self.commit();
            self.confirm_in();
            self.send_alerts();
            self.confirm_alerts();
            let idle = self.daemon.as_ref().is_some_and(|daemon| daemon.waiting() == 0);
            if idle && self.unacknowledged.is_empty() && self.disk.outbox.is_empty() {
                return self.daemon().balance();
            }
        }
        let (packets, rows) = (self.unacknowledged.len(), self.disk.outbox.len());
        Err(format!("left alone: {packets} packets not acknowledged, {rows} messages not told"))
    }

    fn judge(&self) -> Result<Run, String> {
        self.judge_samples()?;
        let alerts = self.judge_alerts()?;
        self.judge_states()?;
        Ok(Run { acknowledged: self.acknowledged.len(), alerts, crashes: self.crashes })
    }

    fn judge_samples(&self) -> Result<(), String> {
        for asset in 0..ASSETS.len() {
            let [count, level] = tags(asset);
            let mut stored: BTreeMap<u32, usize> = BTreeMap::new();
            let mut order = Vec::new();
            let mut levels = BTreeMap::new();
            for sample in &self.disk.samples {
                if sample.tag == level {
                    levels.insert(sample.time.as_millis(), sample.value);
                }
                if sample.tag != count {
                    continue;
                }
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "n")]
                let n = sample.value as u32;
                if self.sent.get(&(asset, n)) != Some(&sample.time.as_millis()) {
                    return Err(format!("{asset}/{n} is stored at a time it was not sent with"));
                }
                *stored.entry(n).or_default() += 1;
                order.push(n);
            }
            if let Some((n, times)) = stored.iter().find(|(_, times)| **times > 1) {
                return Err(format!("{asset}/{n} is stored {times} times"));
            }
            for n in self.acknowledged.iter().filter(|(a, _)| *a == asset).map(|(_, n)| *n) {
                let at = self.sent[&(asset, n)];
                let load = if n / HALF % 2 == 1 { 100.0 } else { 0.0 };
                if !stored.contains_key(&n) || levels.get(&at) != Some(&load) {
                    return Err(format!("{asset}/{n} is acknowledged and not stored as sent"));
                }
            }
            if !self.reorders && !order.is_sorted() {
                return Err(format!("the samples of {asset} are stored out of order"));
            }
        }
        Ok(())
    }

    /// Each acknowledged step up is told under one id; how many there were.
    fn judge_alerts(&self) -> Result<usize, String> {
        let mut raises: BTreeMap<(usize, u32), BTreeSet<String>> = BTreeMap::new();
        for message in self.told.iter().chain(&self.disk.dead) {
            let body: serde_json::Value =
                serde_json::from_slice(&message.body).map_err(|error| error.to_string())?;
            if !body["type"].as_str().is_some_and(|kind| kind.contains(".raised.")) {
                continue;
            }
            let data = &body["data"];
            let at = data["raised_at"].as_str().and_then(Timestamp::parse_rfc3339);
            let at = at.ok_or("a raise without its time")?.as_millis();
            let asset = ASSETS.iter().position(|asset| data["asset"] == *asset);
            let asset = asset.ok_or("an alert of an unknown asset")?;
            let sample = self.sent.iter().find(|((a, _), sent)| *a == asset && **sent == at);
            let ((_, n), _) = sample.ok_or("an alert at a time without a sample")?;
            if (n / HALF).is_multiple_of(2) {
                return Err(format!("an alert out of nothing at {asset}/{n}"));
            }
            let id = data["alert_id"].as_str().unwrap_or_default().to_owned();
            raises.entry((asset, n / HALF)).or_default().insert(id);
        }
        for (asset, next) in self.next.iter().enumerate() {
            for run in (1..next / HALF).step_by(2) {
                match raises.get(&(asset, run)).map_or(0, BTreeSet::len) {
                    1 => {}
                    0 => return Err(format!("the alert of {asset}, run {run}, was never told")),
                    ids => return Err(format!("the alert of {asset}, run {run}, has {ids} ids")),
                }
            }
        }
        Ok(raises.len())
    }

    /// The broker's retained states are the newest, unless it refused them.
    fn judge_states(&self) -> Result<(), String> {
        for (topic, message) in &self.disk.newest {
            if self.retained.get(topic) != Some(message) && !self.disk.dead.contains(message) {
                return Err(format!("the retained state of {topic} is not the newest"));
            }
        }
        Ok(())
    }
}
