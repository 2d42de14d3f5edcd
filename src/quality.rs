//! Looks at every sample before it is stored: is it plausible, and has it come before?
//!
//! A value outside the tag's range, or one that stands for "no reading", becomes missing. The
//! same tag, time and value as one of the last readings is a redelivery. The same time with
//! another value is kept as uncertain: one of the two is wrong, and nobody can say which.

use std::collections::HashSet;
use std::time::Duration;

use crate::asset::NamePattern;
use crate::clock;
use crate::ledger::Rejection;
use crate::sample::{Quality, Sample};
use crate::settings::TagSettings;
use crate::tag::TagId;
use crate::time::Timestamp;

/// Readings of a tag that a redelivery is compared with.
pub const REMEMBERED: u32 = 64;
const NO_RULE: u32 = u32::MAX;

/// What becomes of a sample.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Inspection {
    /// To be stored. Its value and quality may have been changed.
    Accept,
    /// Same tag, time and value as before.
    Duplicate,
    /// Before 2000, or further ahead than allowed.
    BadTime,
}

impl Inspection {
    /// The ledger's word for a sample that is not stored.
    pub const fn rejection(self) -> Option<Rejection> {
        match self {
            Self::Accept => None,
            Self::Duplicate => Some(Rejection::Duplicate),
            Self::BadTime => Some(Rejection::BadTime),
        }
    }
}

/// What has been found, since the start. `accepted` includes the samples that were changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct InspectionCounts {
    pub accepted: u64,
    pub duplicate: u64,
    pub bad_time: u64,
    /// A value that stands for "no reading".
    pub sentinel: u64,
    pub out_of_range: u64,
    /// Another value at a time that had one.
    pub conflicting: u64,
}

#[derive(Debug)]
pub struct Inspector {
    settings: Vec<(NamePattern, NamePattern, Plausible)>,
    future: Duration,
    /// So far the box's clock has been stepped back: samples may lie further ahead of it.
    behind: Duration,
    tracks: Vec<Track>,
    past: Past,
    counts: InspectionCounts,
}

/// The newest readings of the life before this one: a broker sends again what that life has
/// committed and not confirmed, and of one tag that may be more than a track remembers.
#[derive(Debug, Default)]
struct Past {
    older: HashSet<(TagId, Timestamp)>,
    newer: HashSet<(TagId, Timestamp)>,
}

/// As many twice at most.
const PAST: usize = 1 << 17;

/// What is plausible for a tag.
#[derive(Debug)]
struct Plausible {
    low: f64,
    high: f64,
    missing: Vec<f64>,
}

impl Inspector {
    /// `future`: how far a sample may lie ahead of the box's clock.
    pub fn new(settings: Vec<TagSettings>, future: Duration) -> Self {
        let plausible = |tag: TagSettings| {
            let [low, high] = tag.range.unwrap_or([f64::NEG_INFINITY, f64::INFINITY]);
            let plausible = Plausible { low, high, missing: tag.missing };
            (NamePattern::new(tag.asset), NamePattern::new(tag.name), plausible)
        };
        Self {
            settings: settings.into_iter().map(plausible).collect(),
            future,
            behind: Duration::ZERO,
            tracks: Vec::new(),
            past: Past::default(),
            counts: InspectionCounts::default(),
        }
    }

    /// Other settings from now on; what is remembered of each tag stays. Attach every known tag
    /// anew after it.
    pub fn retune(&mut self, settings: Vec<TagSettings>) {
        self.settings = Self::new(settings, self.future).settings;
        self.tracks.iter_mut().for_each(|track| track.rule = NO_RULE);
    }

    /// A tag has become known: the last settings that match it hold.
    pub fn attach(&mut self, tag: TagId, asset_name: &str, tag_name: &str) {
        let matches = |(asset, name, _): &(NamePattern, NamePattern, Plausible)| {
            asset.matches(asset_name) && name.matches(tag_name)
        };
        let rule = self.settings.iter().rposition(matches);
        self.track(tag).rule = rule.and_then(|rule| u32::try_from(rule).ok()).unwrap_or(NO_RULE);
    }

    #[inline]
    pub fn inspect(&mut self, sample: &mut Sample, now: Timestamp) -> Inspection {
        let ahead = self.future + self.behind;
        if !clock::plausible(now, ahead).contains(&sample.time) {
            self.counts.bad_time += 1;
            return Inspection::BadTime;
        }
        let at = sample.tag.0 as usize;
        if at >= self.tracks.len() {
            self.track(sample.tag);
        }
        let track = &mut self.tracks[at];
        match track.meet(sample.time, sample.value.to_bits()) {
            Meeting::Newest => {}
            Meeting::New if !self.past.knows(sample) => {}
            Meeting::New | Meeting::Repeat => {
                self.counts.duplicate += 1;
                return Inspection::Duplicate;
            }
            Meeting::Conflict => {
                self.counts.conflicting += 1;
                sample.quality = sample.quality.max(Quality::Uncertain);
            }
        }
        self.counts.accepted += 1;
        if track.rule != NO_RULE {
            let plausible = &self.settings[track.rule as usize].2;
            plausible.check(sample, &mut self.counts);
        }
        Inspection::Accept
    }

    /// See [`clock::Steps::behind`].
    pub fn clock_is_behind(&mut self, behind: Duration) {
        self.behind = behind;
    }

    /// What was committed in the life before, oldest first.
    pub fn recall(&mut self, sample: &Sample) {
        if self.past.newer.len() >= PAST {
            self.past.older = std::mem::take(&mut self.past.newer);
        }
        self.past.newer.insert((sample.tag, sample.time));
    }

    /// Nothing of the life before comes any more.
    pub fn forget(&mut self) {
        self.past = Past::default();
    }

    pub fn counts(&self) -> InspectionCounts {
        self.counts
    }

    fn track(&mut self, tag: TagId) -> &mut Track {
        let at = tag.0 as usize;
        if at >= self.tracks.len() {
            self.tracks.resize_with(at + 1, Track::default);
        }
        &mut self.tracks[at]
    }
}

impl Past {
    fn knows(&self, sample: &Sample) -> bool {
        let key = (sample.tag, sample.time);
        self.newer.contains(&key) || self.older.contains(&key)
    }
}

impl Plausible {
    fn check(&self, sample: &mut Sample, counts: &mut InspectionCounts) {
        let value = sample.value;
        if value.is_nan() {
            return;
        }
        let counter = if self.missing.contains(&value) {
            &mut counts.sentinel
        } else if !(self.low..=self.high).contains(&value) {
            &mut counts.out_of_range
        } else {
            return;
        };
        *counter += 1;
        *sample = Sample::missing(sample.tag, sample.time);
    }
}

#[derive(Clone, Copy, Debug)]
struct Reading {
    time: Timestamp,
    bits: u64,
}

/// The last readings of one tag, in order of arrival. Its memory is taken at the first sample.
#[derive(Debug)]
struct Track {
    newest: Timestamp,
    rule: u32,
    /// Where the next reading goes.
    next: u32,
    readings: Vec<Reading>,
}

enum Meeting {
    Newest,
    /// Not the newest, and not remembered.
    New,
    Repeat,
    /// The time is known, with another value.
    Conflict,
}

impl Default for Track {
    fn default() -> Self {
        Self { newest: Timestamp::MIN, rule: NO_RULE, next: 0, readings: Vec::new() }
    }
}

impl Track {
    #[inline]
    fn meet(&mut self, time: Timestamp, bits: u64) -> Meeting {
        if time > self.newest {
            self.newest = time;
            self.remember(Reading { time, bits });
            return Meeting::Newest;
        }
        self.meet_old(time, bits)
    }

    #[inline(never)]
    fn meet_old(&mut self, time: Timestamp, bits: u64) -> Meeting {
        let mut known = false;
        for reading in &self.readings {
            if reading.time == time {
                if reading.bits == bits {
                    return Meeting::Repeat;
                }
                known = true;
            }
        }
        self.remember(Reading { time, bits });
        if known { Meeting::Conflict } else { Meeting::New }
    }

    #[inline]
    fn remember(&mut self, reading: Reading) {
        let at = self.next as usize;
        match self.readings.get_mut(at) {
            Some(place) => *place = reading,
            None => self.readings.push(reading),
        }
        self.next = (self.next + 1) % REMEMBERED;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_700_000_000);
    const TAG: TagId = TagId(3);

    fn inspector() -> Inspector {
        let tag = |name: &str, range, missing| TagSettings {
            asset: "press-*".into(),
            name: name.into(),
            unit: None,
            range,
            missing,
        };
        let settings = vec![
            tag("*", Some([0.0, 1.0]), Vec::new()),
            tag("pressure", Some([0.0, 250.0]), vec![-9999.0, 100.0]),
        ];
        let mut inspector = Inspector::new(settings, Duration::from_secs(300));
        inspector.attach(TAG, "press-3", "pressure");
        inspector
    }

    fn at(millis: i64, value: f64) -> Sample {
        Sample::new(TAG, NOW.saturating_sub(Duration::from_secs(600)).plus(millis), value)
    }

    trait Plus {
        fn plus(self, millis: i64) -> Self;
    }

    impl Plus for Timestamp {
        fn plus(self, millis: i64) -> Self {
            Self::from_nanos(self.as_nanos() + millis * 1_000_000)
        }
    }

    fn qualities(inspector: &mut Inspector, values: &[f64]) -> Vec<Quality> {
        (0..)
            .zip(values)
            .map(|(millis, &value)| {
                let mut sample = at(millis, value);
                assert_eq!(inspector.inspect(&mut sample, NOW), Inspection::Accept);
                assert_eq!(sample.value.is_nan(), sample.quality == Quality::Bad);
                sample.quality
            })
            .collect()
    }

    #[test]
    fn what_the_life_before_has_committed_is_a_duplicate_however_much_there_is_of_it() {
        let mut inspector = inspector();
        let many = i64::from(REMEMBERED) * 5;
        for millis in 0..many {
            let mut sample = at(millis, 1.0);
            let _known = inspector.inspect(&mut sample, NOW);
            inspector.recall(&sample);
        }
        for millis in 0..many {
            assert_eq!(inspector.inspect(&mut at(millis, 1.0), NOW), Inspection::Duplicate);
        }
        assert_eq!(inspector.inspect(&mut at(many, 1.0), NOW), Inspection::Accept);
        inspector.forget();
        assert_eq!(inspector.inspect(&mut at(0, 1.0), NOW), Inspection::Accept);
    }

    #[test]
    fn implausible_values_become_missing_and_the_last_settings_win() {
        let mut inspector = inspector();
        let values = [0.0, 250.0, 250.1, -0.1, -9999.0, 100.0, f64::NAN, 81.0];
        use Quality::{Bad, Good};
        assert_eq!(qualities(&mut inspector, &values), [Good, Good, Bad, Bad, Bad, Bad, Bad, Good]);
        let counts = inspector.counts();
        assert_eq!((counts.accepted, counts.sentinel, counts.out_of_range), (8, 2, 2));
    }

    #[test]
    fn fault_13_a_box_whose_clock_is_not_set_refuses_no_time() {
        let mut inspector = inspector();
        let booted = Timestamp::from_secs(20);
        for time in [booted, NOW] {
            let mut sample = Sample::new(TAG, time, 1.0);
            assert_eq!(inspector.inspect(&mut sample, booted), Inspection::Accept);
        }
    }

    #[test]
    fn fault_14_a_clock_that_was_stepped_back_refuses_no_machine_that_kept_the_time() {
        let mut inspector = inspector();
        let an_hour_ahead = NOW.plus(3_600_000);
        let inspect = |inspector: &mut Inspector| {
            inspector.inspect(&mut Sample::new(TAG, an_hour_ahead, 1.0), NOW)
        };
        assert_eq!(inspect(&mut inspector), Inspection::BadTime);
        inspector.clock_is_behind(Duration::from_secs(3600));
        assert_eq!(inspect(&mut inspector), Inspection::Accept);
    }

    #[test]
    fn absurd_times_are_refused() {
        let mut inspector = inspector();
        for (time, expected) in [
            (Timestamp::from_secs(0), Inspection::BadTime),
            (clock::EARLIEST, Inspection::Accept),
            (NOW.plus(300_000), Inspection::Accept),
            (NOW.plus(300_001), Inspection::BadTime),
        ] {
            assert_eq!(inspector.inspect(&mut Sample::new(TAG, time, 1.0), NOW), expected);
        }
        assert_eq!(inspector.counts().bad_time, 2);
    }

    #[test]
    fn redelivered_batches_are_duplicates_in_any_order() {
        let mut inspector = inspector();
        let order = [5, 1, 4, 2, 3, 0];
        for millis in order {
            assert_eq!(inspector.inspect(&mut at(millis, 7.0), NOW), Inspection::Accept);
        }
        for millis in 0..6 {
            assert_eq!(inspector.inspect(&mut at(millis, 7.0), NOW), Inspection::Duplicate);
        }
        assert_eq!(inspector.counts().duplicate, 6);
    }

    #[test]
    fn another_value_at_the_same_time_is_uncertain_and_its_repeat_a_duplicate() {
        let mut inspector = inspector();
        let mut first = at(1, 7.0);
        let mut second = at(1, 8.0);
        assert_eq!(inspector.inspect(&mut first, NOW), Inspection::Accept);
        assert_eq!(inspector.inspect(&mut second, NOW), Inspection::Accept);
        assert_eq!((first.quality, second.quality), (Quality::Good, Quality::Uncertain));
        assert_eq!(inspector.inspect(&mut at(1, 8.0), NOW), Inspection::Duplicate);
        assert_eq!(inspector.inspect(&mut at(1, 7.0), NOW), Inspection::Duplicate);
    }

    #[test]
    fn the_memory_ends_after_its_last_reading() {
        let mut inspector = inspector();
        for millis in 0..=(i64::from(REMEMBERED)) {
            assert_eq!(inspector.inspect(&mut at(millis, 7.0), NOW), Inspection::Accept);
        }
        assert_eq!(inspector.inspect(&mut at(1, 7.0), NOW), Inspection::Duplicate);
        assert_eq!(inspector.inspect(&mut at(0, 7.0), NOW), Inspection::Accept);
    }

    #[test]
    fn tags_are_kept_apart() {
        let mut inspector = inspector();
        for tag in [TagId(0), TagId(9), TAG] {
            let mut sample = Sample { tag, ..at(1, 7.0) };
            assert_eq!(inspector.inspect(&mut sample, NOW), Inspection::Accept);
        }
    }

    #[test]
    #[ignore = "a measurement: cargo test --release -- --ignored --nocapture"]
    #[expect(clippy::disallowed_methods, reason = "a measurement reads the clock")]
    fn nanoseconds_a_sample() {
        let mut inspector = inspector();
        let tags = 1000;
        let rounds = 5000;
        for tag in 0..tags {
            inspector.attach(TagId(tag), "press-1", "pressure");
        }
        let begin = std::time::Instant::now();
        for round in 0..rounds {
            let reading = at(round, round as f64 % 200.0);
            for tag in 0..tags {
                let mut sample = Sample { tag: TagId(tag), ..reading };
                let _accepted = std::hint::black_box(inspector.inspect(&mut sample, NOW));
                std::hint::black_box(sample);
            }
        }
        let spent = begin.elapsed().as_secs_f64() * 1e9 / f64::from(tags) / rounds as f64;
        println!("inspect: {spent:.1} ns a sample ({:?})", inspector.counts());
    }
}
