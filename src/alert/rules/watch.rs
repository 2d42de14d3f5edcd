//! One rule on one tag.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::NO_WATCH;
use crate::alert::chart::{Chart, Reading};
use crate::asset::AssetId;
use crate::sample::Sample;
use crate::settings::{Rule, RuleKind};
use crate::time::Timestamp;
use crate::verdict::{Contribution, Evidence, PredictionId, Verdict};

/// Steps into which the span of a rate is cut: the memory of a fast tag stays this small, and
/// the span is right to this part.
const RATE_STEPS: u32 = 256;
const RATE_SPAN: Duration = Duration::from_secs(1);
/// A span of zero would make `advance` go round for ever.
const SHORTEST_SILENCE: Duration = Duration::from_millis(1);

#[derive(Debug)]
pub(super) struct Watch {
    prediction: PredictionId,
    asset: AssetId,
    tag: Box<str>,
    /// The next watch of the same tag.
    pub(super) next: u32,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Above { limit: f64, last: Timestamp },
    Below { limit: f64, last: Timestamp },
    Rate(Rate),
    Flat(Flat),
    Silent(Silent),
    Chart(Charted),
}

impl Watch {
    pub(super) fn new(prediction: PredictionId, rule: &Rule, asset: AssetId) -> Self {
        let last = Timestamp::MIN;
        let span = rule.span;
        let kind = match rule.when {
            RuleKind::Above => Kind::Above { limit: rule.limit.unwrap_or(f64::INFINITY), last },
            RuleKind::Below => Kind::Below { limit: rule.limit.unwrap_or(f64::NEG_INFINITY), last },
            RuleKind::Rate => Kind::Rate(Rate {
                limit: rule.limit.unwrap_or(f64::INFINITY),
                span: span.unwrap_or(RATE_SPAN),
                readings: VecDeque::new(),
                last,
            }),
            RuleKind::Flat => Kind::Flat(Flat {
                band: rule.limit.unwrap_or(0.0),
                span: span.unwrap_or(Duration::MAX),
                stretch: None,
            }),
            RuleKind::Shewhart
            | RuleKind::Ewma
            | RuleKind::Cusum
            | RuleKind::Nelson
            | RuleKind::Capability => Kind::Chart(Charted {
                chart: Chart::new(rule.when, &rule.chart.clone().unwrap_or_default())
                    .expect("these are the charts"),
                limit: rule.limit.or(rule.when.chart_limit()).unwrap_or(f64::INFINITY),
                is_below: rule.when.is_below(),
                last,
            }),
            RuleKind::Silent => Kind::Silent(Silent {
                span: span.unwrap_or(Duration::MAX).max(SHORTEST_SILENCE),
                heard: None,
                told: None,
                quiet: true,
            }),
        };
        Self { prediction, asset, tag: rule.tag.as_str().into(), next: NO_WATCH, kind }
    }

    /// Takes a sample with a finite value.
    pub(super) fn observe(&mut self, sample: &Sample, arrived: Timestamp) -> Option<Verdict> {
        let finding = match &mut self.kind {
            Kind::Above { limit, last } => beyond(sample, last, sample.value >= *limit),
            Kind::Below { limit, last } => beyond(sample, last, sample.value <= *limit),
            Kind::Rate(rate) => rate.observe(sample),
            Kind::Flat(flat) => flat.observe(sample),
            Kind::Silent(silent) => silent.observe(arrived),
            Kind::Chart(charted) => charted.observe(sample),
        }?;
        Some(self.verdict(&finding, Some(sample.value), arrived))
    }

    /// Starts to listen for silence; the first deadline, if it did not listen before.
    #[inline]
    pub(super) fn arm(&mut self, now: Timestamp) -> Option<Timestamp> {
        match &mut self.kind {
            Kind::Silent(silent) if silent.heard.is_none() => {
                silent.heard = Some(now);
                Some(now.saturating_add(silent.span))
            }
            _ => None,
        }
    }

    /// Goes on where `old` stopped, if both are the same rule's; the first deadline, if any.
    pub(super) fn inherit(&mut self, old: &mut Self) -> Option<Timestamp> {
        if self.prediction != old.prediction {
            return None;
        }
        match (&mut self.kind, &mut old.kind) {
            (Kind::Above { last, .. }, Kind::Above { last: before, .. })
            | (Kind::Below { last, .. }, Kind::Below { last: before, .. }) => *last = *before,
            (Kind::Rate(rate), Kind::Rate(before)) => {
                rate.readings = std::mem::take(&mut before.readings);
                rate.last = before.last;
            }
            (Kind::Flat(flat), Kind::Flat(before)) => flat.stretch = before.stretch.take(),
            (Kind::Silent(silent), Kind::Silent(before)) => {
                silent.heard = before.heard;
                silent.told = before.told;
                silent.quiet = before.quiet;
                return silent.heard.map(|heard| heard.saturating_add(silent.span));
            }
            _ => {}
        }
        None
    }

    /// The rule, if it goes by the box's clock.
    pub(super) fn resume(&mut self, now: Timestamp) -> Option<PredictionId> {
        let Kind::Silent(silent) = &mut self.kind else { return None };
        silent.told = silent.told.map(|told| told.min(now));
        if let Some(heard) = &mut silent.heard {
            *heard = now;
            silent.quiet = true;
        }
        Some(self.prediction)
    }

    /// When it has been silent for the first span.
    pub(super) fn deadline(&self) -> Option<Timestamp> {
        match &self.kind {
            Kind::Silent(Silent { heard, span, .. }) => Some((*heard)?.saturating_add(*span)),
            _ => None,
        }
    }

    /// The rule, if it goes by the clock that was stepped.
    pub(super) fn stepped(&mut self, nanos: i64) -> Option<PredictionId> {
        let Kind::Silent(silent) = &mut self.kind else { return None };
        silent.heard = silent.heard.map(|heard| heard.stepped(nanos));
        silent.told = silent.told.map(|told| told.stepped(nanos));
        Some(self.prediction)
    }

    /// The deadline has come: says whether the tag is silent, and when to look again.
    pub(super) fn miss(&mut self, now: Timestamp, out: &mut Vec<Verdict>) -> Timestamp {
        let Kind::Silent(silent) = &mut self.kind else { return Timestamp::MAX };
        let (findings, next) = silent.miss(now);
        out.extend(findings.into_iter().flatten().map(|finding| self.verdict(&finding, None, now)));
        next
    }

    fn verdict(&self, finding: &Finding, value: Option<f64>, arrived: Timestamp) -> Verdict {
        let contribution =
            || Contribution { tag: self.tag.to_string(), value, share: finding.score };
        Verdict {
            prediction: self.prediction,
            asset: self.asset,
            evidence: Evidence {
                start: finding.start,
                end: finding.end,
                samples: finding.samples,
                coverage: if finding.samples == 0 { 0.0 } else { 1.0 },
            },
            score: finding.score,
            label: finding.label.clone(),
            contributions: if finding.is_beyond { vec![contribution()] } else { Vec::new() },
            region: None,
            subject: None,
            model: None,
            arrived,
        }
    }
}

/// What a watch has to say.
#[derive(Debug)]
struct Finding {
    score: f64,
    start: Timestamp,
    end: Timestamp,
    samples: u32,
    is_beyond: bool,
    label: Option<Arc<str>>,
}

/// Event time goes on; a sample from before says nothing new.
fn advances(last: &mut Timestamp, sample: &Sample) -> bool {
    let newer = sample.time > *last;
    if newer {
        *last = sample.time;
    }
    newer
}

fn beyond(sample: &Sample, last: &mut Timestamp, is_beyond: bool) -> Option<Finding> {
    let time = sample.time;
    advances(last, sample).then_some(Finding {
        score: sample.value,
        start: time,
        end: time,
        samples: 1,
        is_beyond,
        label: None,
    })
}

/// Change a second against the youngest reading that is at least `span` old.
#[derive(Debug)]
struct Rate {
    limit: f64,
    span: Duration,
    readings: VecDeque<(Timestamp, f64)>,
    last: Timestamp,
}

impl Rate {
    fn observe(&mut self, sample: &Sample) -> Option<Finding> {
        let Sample { time, value, .. } = *sample;
        if !advances(&mut self.last, sample) {
            return None;
        }
        let horizon = time.saturating_sub(self.span);
        while self.readings.get(1).is_some_and(|(next, _)| *next <= horizon) {
            self.readings.pop_front();
        }
        let reference = self.readings.front().copied().filter(|(then, _)| *then <= horizon);
        let step = self.span / RATE_STEPS;
        if self.readings.back().is_none_or(|(newest, _)| time.since(*newest) >= step) {
            self.readings.push_back((time, value));
        }
        let (start, before) = reference?;
        let score = (value - before).abs() / time.since(start).as_secs_f64();
        score.is_finite().then_some(Finding {
            score,
            start,
            end: time,
            samples: 2,
            is_beyond: score >= self.limit,
            label: None,
        })
    }
}

/// Seconds since the readings last left a band. After the start it says nothing until it has
/// seen a change or a whole span, because it cannot know how long the tag has been flat.
#[derive(Debug)]
struct Flat {
    band: f64,
    span: Duration,
    stretch: Option<Stretch>,
}

#[derive(Debug)]
struct Stretch {
    start: Timestamp,
    end: Timestamp,
    low: f64,
    high: f64,
    samples: u32,
    /// It began with a change and not with the start of the daemon.
    has_begun: bool,
}

impl Flat {
    fn observe(&mut self, sample: &Sample) -> Option<Finding> {
        let Sample { time, value, .. } = *sample;
        let Some(stretch) = &mut self.stretch else {
            self.stretch = Some(Stretch::new(time, value, false));
            return None;
        };
        if time <= stretch.end {
            return None;
        }
        let (low, high) = (stretch.low.min(value), stretch.high.max(value));
        if high - low > self.band {
            *stretch = Stretch::new(time, value, true);
        } else {
            stretch.low = low;
            stretch.high = high;
            stretch.end = time;
            stretch.samples = stretch.samples.saturating_add(1);
        }
        let flat = time.since(stretch.start);
        let is_beyond = flat >= self.span;
        (is_beyond || stretch.has_begun).then_some(Finding {
            score: flat.as_secs_f64(),
            start: stretch.start,
            end: time,
            samples: stretch.samples,
            is_beyond,
            label: None,
        })
    }
}

impl Stretch {
    fn new(time: Timestamp, value: f64, has_begun: bool) -> Self {
        Self { start: time, end: time, low: value, high: value, samples: 1, has_begun }
    }
}

/// A control chart: one verdict a reading.
#[derive(Debug)]
struct Charted {
    chart: Chart,
    limit: f64,
    is_below: bool,
    last: Timestamp,
}

impl Charted {
    fn observe(&mut self, sample: &Sample) -> Option<Finding> {
        if !advances(&mut self.last, sample) {
            return None;
        }
        let Reading { score, label, samples } = self.chart.push(sample.value)?;
        let is_beyond = if self.is_below { score <= self.limit } else { score >= self.limit };
        let (start, end) = (sample.time, sample.time);
        Some(Finding { score, start, end, samples, is_beyond, label })
    }
}

/// Seconds without a reading.
#[derive(Debug)]
struct Silent {
    span: Duration,
    /// When the last reading arrived, or since when one is expected. Absent: not armed.
    heard: Option<Timestamp>,
    /// The end of the last thing said.
    told: Option<Timestamp>,
    /// The next reading is news: it ends a silence, or it is the first.
    quiet: bool,
}

impl Silent {
    /// Speaks when a silence ends, and once a span, so that delays can run out.
    fn observe(&mut self, arrived: Timestamp) -> Option<Finding> {
        let arrived = self.heard.map_or(arrived, |heard| heard.max(arrived));
        self.heard = Some(arrived);
        let is_news = self.quiet || self.told.is_none_or(|told| arrived.since(told) >= self.span);
        if !is_news {
            return None;
        }
        self.quiet = false;
        let end = self.after_told(arrived);
        Some(Finding { score: 0.0, start: end, end, samples: 1, is_beyond: false, label: None })
    }

    fn miss(&mut self, now: Timestamp) -> ([Option<Finding>; 2], Timestamp) {
        let Some(heard) = self.heard else { return ([None, None], Timestamp::MAX) };
        let first = heard.saturating_add(self.span);
        if first > now {
            return ([None, None], first);
        }
        let spans = u32::try_from(now.since(heard).as_nanos() / self.span.as_nanos().max(1))
            .unwrap_or(u32::MAX);
        let latest = heard.saturating_add(self.span.saturating_mul(spans));
        let is_news = |told: Option<Timestamp>, end| told.is_none_or(|told| told < end);
        let onset = is_news(self.told, first).then(|| self.missed(heard, first));
        let latest_finding = is_news(self.told, latest).then(|| self.missed(heard, latest));
        ([onset, latest_finding], latest.saturating_add(self.span))
    }

    fn missed(&mut self, heard: Timestamp, until: Timestamp) -> Finding {
        self.quiet = true;
        self.told = Some(until);
        Finding {
            score: until.since(heard).as_secs_f64(),
            start: heard,
            end: until,
            samples: 0,
            is_beyond: true,
            label: None,
        }
    }

    /// Two things said at one time would be one.
    fn after_told(&mut self, time: Timestamp) -> Timestamp {
        let next = self.told.map_or(Timestamp::MIN, |told| {
            Timestamp::from_nanos(told.as_nanos().saturating_add(1))
        });
        let end = time.max(next);
        self.told = Some(end);
        end
    }
}
