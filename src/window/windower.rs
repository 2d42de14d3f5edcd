//! All windows of all assets: which tag goes where, and which window is due.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::count::Counts;
use super::span::{Closed, Spans};
use super::{Admission, Point, Window};
use crate::asset::{AssetId, NamePattern};
use crate::sample::Sample;
use crate::settings::Extent;
use crate::tag::{TagId, TagInfo};
use crate::time::Timestamp;
use crate::verdict::PredictionId;

/// What a prediction wants to see.
#[derive(Clone, Debug)]
pub struct WindowSpec {
    pub prediction: PredictionId,
    pub assets: Vec<NamePattern>,
    /// Plant tags in the model's order.
    pub tags: Vec<String>,
    pub length: Extent,
    /// Of the same kind as `length`.
    pub hop: Extent,
    pub lateness: Duration,
    /// Windows that a restart must see again, because the alert rule looks back on them.
    pub history: usize,
}

/// Where the windows of one asset and prediction stand: enough to go on after a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    pub asset: AssetId,
    pub prediction: PredictionId,
    /// Samples from here on have to be fed again.
    pub start: Timestamp,
    /// A window ended here; the next one to close is the one after it. [`Timestamp::MIN`] while
    /// none has.
    pub end: Timestamp,
}

/// Feeds samples to windows. Time is passed in; the caller asks for [`Windower::poll`] after
/// every insert and every [`Windower::advance`].
#[derive(Debug)]
pub struct Windower {
    specs: Vec<WindowSpec>,
    series: Vec<Series>,
    by_key: BTreeMap<(AssetId, PredictionId), usize>,
    /// By tag id: which column of which series it feeds.
    slots: Vec<Vec<Slot>>,
    resumed: BTreeMap<(AssetId, PredictionId), Mark>,
    ready: VecDeque<Window>,
    begun: bool,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    series: usize,
    column: usize,
}

#[derive(Debug)]
struct Series {
    asset: AssetId,
    prediction: PredictionId,
    kind: Kind,
    arrived: Timestamp,
    /// Of the earliest sample, until a window has closed.
    first: Option<Timestamp>,
    /// Starts and ends of the last windows, oldest first.
    past: VecDeque<(Timestamp, Timestamp)>,
    history: usize,
}

#[derive(Debug)]
enum Kind {
    Spans(Spans),
    Counts(Counts),
}

impl Windower {
    pub fn new(specs: Vec<WindowSpec>) -> Self {
        Self {
            specs,
            series: Vec::new(),
            by_key: BTreeMap::new(),
            slots: Vec::new(),
            resumed: BTreeMap::new(),
            ready: VecDeque::new(),
            begun: false,
        }
    }

    /// Tells of a tag before its first sample.
    pub fn attach(&mut self, tag: TagId, info: &TagInfo) {
        let at = tag.0 as usize;
        if self.slots.len() <= at {
            self.slots.resize(at + 1, Vec::new());
        }
        self.slots[at].clear();
        for spec in 0..self.specs.len() {
            let wanted = &self.specs[spec];
            if !wanted.assets.iter().any(|pattern| pattern.matches(&info.asset_name)) {
                continue;
            }
            let Some(column) = wanted.tags.iter().position(|name| **name == *info.name) else {
                continue;
            };
            let series = self.series_of(info.asset, spec);
            self.slots[at].push(Slot { series, column });
        }
    }

    /// Takes up the phase of an earlier life. Call it before the samples are fed again.
    pub fn resume(&mut self, mark: Mark) {
        self.resumed.insert((mark.asset, mark.prediction), mark);
        if let Some(at) = self.by_key.get(&(mark.asset, mark.prediction)) {
            self.series[*at].resume(mark);
        }
    }

    /// How many windows a restart must see again from now on.
    pub fn remember(&mut self, prediction: PredictionId, history: usize) {
        let history = history.max(1);
        self.specs.iter_mut().filter(|spec| spec.prediction == prediction).for_each(|spec| {
            spec.history = history;
        });
        self.series.iter_mut().filter(|series| series.prediction == prediction).for_each(
            |series| {
                series.history = history;
            },
        );
    }

    /// `arrived` is when the daemon got the sample.
    pub fn insert(&mut self, sample: &Sample, arrived: Timestamp) -> Admission {
        let Some(slots) = self.slots.get(sample.tag.0 as usize) else {
            return Admission::Unwatched;
        };
        let point = Point { time: sample.time, value: sample.value, quality: sample.quality };
        let mut admission = Admission::Unwatched;
        for slot in slots {
            let series = &mut self.series[slot.series];
            series.arrived = series.arrived.max(arrived);
            self.begun |= series.begin(sample.time);
            admission = admission.or(series.insert(slot.column, point));
            let reached = series.newest();
            series.close(reached, &mut self.ready);
        }
        admission
    }

    /// When [`Windower::advance`] could close a window whose asset sends nothing more.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.series.iter().filter_map(Series::deadline).min()
    }

    /// Closes the windows of assets that have fallen silent: event time is taken to go on at
    /// the pace of the box's clock since the last arrival.
    pub fn advance(&mut self, now: Timestamp) {
        for series in &mut self.series {
            let reached = series.newest().saturating_add(now.since(series.arrived));
            series.close(reached, &mut self.ready);
        }
    }

    /// The clock that tells arrivals was stepped by `nanos`: who waits goes on waiting.
    pub fn stepped(&mut self, nanos: i64) {
        for series in self.series.iter_mut().filter(|series| series.arrived > Timestamp::MIN) {
            series.arrived = series.arrived.stepped(nanos);
        }
    }

    /// The next closed window, in the order of closing.
    pub fn poll(&mut self) -> Option<Window> {
        self.ready.pop_front()
    }

    /// Whether an asset has begun to speak since this was last asked: its mark is new.
    pub fn begun(&mut self) -> bool {
        std::mem::take(&mut self.begun)
    }

    pub fn marks(&self) -> Vec<Mark> {
        let mark = |series: &Series| {
            let begun = series.first.map(|first| (first, Timestamp::MIN));
            let (start, end) = series.past.front().copied().or(begun)?;
            Some(Mark { asset: series.asset, prediction: series.prediction, start, end })
        };
        self.series.iter().filter_map(mark).collect()
    }

    fn series_of(&mut self, asset: AssetId, spec: usize) -> usize {
        let spec = &self.specs[spec];
        let key = (asset, spec.prediction);
        if let Some(at) = self.by_key.get(&key) {
            return *at;
        }
        let mut series = Series::new(asset, spec);
        if let Some(mark) = self.resumed.get(&key) {
            series.resume(*mark);
        }
        self.series.push(series);
        self.by_key.insert(key, self.series.len() - 1);
        self.series.len() - 1
    }
}

impl Series {
    fn new(asset: AssetId, spec: &WindowSpec) -> Self {
        let tags = spec.tags.len();
        let kind = match (spec.length, spec.hop) {
            (Extent::Rows(length), Extent::Rows(hop)) => {
                Kind::Counts(Counts::new(length as usize, hop as usize, spec.lateness, tags))
            }
            (Extent::Time(length), Extent::Time(hop)) => {
                Kind::Spans(Spans::new(length, hop, spec.lateness, tags))
            }
            // The configuration check refuses mixtures; the length alone still makes sense.
            (Extent::Rows(length), Extent::Time(_)) => {
                Kind::Counts(Counts::new(length as usize, length as usize, spec.lateness, tags))
            }
            (Extent::Time(length), Extent::Rows(_)) => {
                Kind::Spans(Spans::new(length, length, spec.lateness, tags))
            }
        };
        Self {
            asset,
            prediction: spec.prediction,
            kind,
            arrived: Timestamp::MIN,
            first: None,
            past: VecDeque::new(),
            history: spec.history.max(1),
        }
    }

    /// Notes the first sample; whether this is it.
    fn begin(&mut self, time: Timestamp) -> bool {
        let earlier = self.first.is_none_or(|first| time < first);
        if self.past.is_empty() && earlier {
            return self.first.replace(time).is_none();
        }
        false
    }

    fn resume(&mut self, mark: Mark) {
        if mark.end == Timestamp::MIN {
            return;
        }
        self.past.push_back((mark.start, mark.end));
        match &mut self.kind {
            Kind::Spans(spans) => spans.resume(mark.end),
            Kind::Counts(counts) => counts.resume(mark.end),
        }
    }

    fn insert(&mut self, column: usize, point: Point) -> Admission {
        match &mut self.kind {
            Kind::Spans(spans) => spans.insert(column, point),
            Kind::Counts(counts) => counts.insert(column, point),
        }
    }

    fn newest(&self) -> Timestamp {
        match &self.kind {
            Kind::Spans(spans) => spans.newest(),
            Kind::Counts(counts) => counts.newest(),
        }
    }

    fn deadline(&self) -> Option<Timestamp> {
        let due = match &self.kind {
            Kind::Spans(spans) => spans.due()?,
            Kind::Counts(counts) => counts.due()?,
        };
        Some(self.arrived.saturating_add(due.since(self.newest())))
    }

    fn close(&mut self, reached: Timestamp, ready: &mut VecDeque<Window>) {
        loop {
            let closed = match &mut self.kind {
                Kind::Spans(spans) => spans.close(reached),
                Kind::Counts(counts) => counts.close(reached),
            };
            let Some(Closed { start, end, columns, rows }) = closed else {
                return;
            };
            while self.past.len() >= self.history {
                self.past.pop_front();
            }
            self.past.push_back((start, end));
            ready.push_back(Window {
                prediction: self.prediction,
                asset: self.asset,
                start,
                end,
                columns,
                rows,
                arrived: self.arrived,
            });
        }
    }
}
