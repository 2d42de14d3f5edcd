//! Control charts and process capability of one tag, reading by reading.
//!
//! Montgomery, "Introduction to Statistical Quality Control": individuals charts (6.4), tabular
//! CUSUM (9.1), EWMA (9.2), capability (8.3); Nelson, "The Shewhart Control Chart: Tests for Special
//! Causes", Journal of Quality Technology 16 (1984). Mean and sigma are given, or taken from the
//! first readings: sigma is the mean moving range over 1.128.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::settings::{ChartSettings, RuleKind};

const BASELINE: u32 = 100;
const READINGS: u32 = 100;
const WEIGHT: f64 = 0.2;
const SLACK: f64 = 0.5;
/// Mean range of two normal readings in sigmas.
const D2: f64 = 1.128;
/// Nelson's longest rule looks back so far.
const NELSON: usize = 15;

const RULES: [&str; 8] = [
    "one beyond 3 sigma",
    "nine in a row on one side",
    "six in a row rising or falling",
    "fourteen in a row alternating",
    "two of three beyond 2 sigma",
    "four of five beyond 1 sigma",
    "fifteen in a row within 1 sigma",
    "eight in a row beyond 1 sigma, on both sides",
];

/// What a chart says of a reading.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// Shewhart, EWMA: sigmas of what is charted from the mean. CUSUM: the larger sum, in sigmas.
    /// Nelson: broken rules. Capability: Cpk.
    pub score: f64,
    pub label: Option<Arc<str>>,
    /// Readings that count in it.
    pub samples: u32,
}

#[derive(Debug)]
pub struct Chart {
    centre: Centre,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Shewhart,
    Ewma { weight: f64, average: f64, count: u32 },
    Cusum { slack: f64, above: f64, below: f64, count: u32 },
    Nelson { rules: [bool; 8], last: VecDeque<f64> },
    Capability { lower: Option<f64>, upper: Option<f64>, readings: usize, last: VecDeque<f64> },
}

/// Mean and sigma of the process when it was well.
#[derive(Debug)]
struct Centre {
    known: Option<(f64, f64)>,
    needed: usize,
    first: Vec<f64>,
}

impl Chart {
    /// `None` for a rule that is no chart.
    pub fn new(kind: RuleKind, settings: &ChartSettings) -> Option<Self> {
        let kind = match kind {
            RuleKind::Shewhart => Kind::Shewhart,
            RuleKind::Ewma => {
                Kind::Ewma { weight: settings.weight.unwrap_or(WEIGHT), average: 0.0, count: 0 }
            }
            RuleKind::Cusum => {
                let slack = settings.slack.unwrap_or(SLACK);
                Kind::Cusum { slack, above: 0.0, below: 0.0, count: 0 }
            }
            RuleKind::Nelson => {
                let wanted = |rule: u8| settings.rules.as_ref().is_none_or(|it| it.contains(&rule));
                let rules = [1, 2, 3, 4, 5, 6, 7, 8].map(wanted);
                Kind::Nelson { rules, last: VecDeque::with_capacity(NELSON) }
            }
            RuleKind::Capability => Kind::Capability {
                lower: settings.lower,
                upper: settings.upper,
                readings: settings.readings.unwrap_or(READINGS).max(2) as usize,
                last: VecDeque::new(),
            },
            RuleKind::Above
            | RuleKind::Below
            | RuleKind::Rate
            | RuleKind::Flat
            | RuleKind::Silent => return None,
        };
        let centre = Centre {
            known: settings.mean.zip(settings.sigma),
            needed: settings.baseline.unwrap_or(BASELINE).max(2) as usize,
            first: Vec::new(),
        };
        Some(Self { centre, kind })
    }

    /// Takes the next reading; nothing while too little is known.
    pub fn push(&mut self, value: f64) -> Option<Reading> {
        if let Kind::Capability { lower, upper, readings, last } = &mut self.kind {
            if last.len() == *readings {
                last.pop_front();
            }
            last.push_back(value);
            return (last.len() == *readings).then(|| capability(last, *lower, *upper))?;
        }
        let (mean, sigma) = self.centre.of(value)?;
        let z = (value - mean) / sigma;
        let plain = |score: f64, samples: u32| Reading { score, label: None, samples };
        Some(match &mut self.kind {
            Kind::Shewhart => plain(z.abs(), 1),
            Kind::Ewma { weight, average, count } => {
                *count = count.saturating_add(1);
                *average = *weight * z + (1.0 - *weight) * *average;
                let fades = (1.0 - *weight).powf(2.0 * f64::from(*count));
                let width = (*weight / (2.0 - *weight) * (1.0 - fades)).sqrt();
                plain(average.abs() / width, *count)
            }
            Kind::Cusum { slack, above, below, count } => {
                *above = (*above + z - *slack).max(0.0);
                *below = (*below - z - *slack).max(0.0);
                *count = if above.max(*below) > 0.0 { count.saturating_add(1) } else { 0 };
                plain(above.max(*below), (*count).max(1))
            }
            Kind::Nelson { rules, last } => {
                if last.len() == NELSON {
                    last.pop_front();
                }
                last.push_back(z);
                nelson(last.make_contiguous(), *rules)
            }
            Kind::Capability { .. } => return None,
        })
    }
}

impl Centre {
    /// Mean and sigma; the readings that they are taken from are not judged.
    fn of(&mut self, value: f64) -> Option<(f64, f64)> {
        if self.known.is_none() {
            self.first.push(value);
            if self.first.len() == self.needed {
                let (mean, sigma) = spread(self.first.iter().copied());
                // A tag that has not moved says nothing of how far it may.
                self.known = (sigma > 0.0).then_some((mean, sigma));
                self.first = Vec::new();
            }
            return None;
        }
        self.known
    }
}

/// Mean, and sigma by the mean moving range.
#[expect(clippy::cast_precision_loss, reason = "counts of readings")]
fn spread(values: impl Iterator<Item = f64> + Clone) -> (f64, f64) {
    let (count, sum) = values.clone().fold((0_usize, 0.0), |(n, sum), v| (n + 1, sum + v));
    let moves: f64 = values.clone().zip(values.skip(1)).map(|(a, b)| (b - a).abs()).sum();
    (sum / count as f64, moves / (count - 1) as f64 / D2)
}

fn capability(last: &VecDeque<f64>, lower: Option<f64>, upper: Option<f64>) -> Option<Reading> {
    let (mean, sigma) = spread(last.iter().copied());
    if sigma <= 0.0 {
        return None;
    }
    let sides = [upper.map(|upper| upper - mean), lower.map(|lower| mean - lower)];
    let score = sides.into_iter().flatten().map(|room| room / (3.0 * sigma)).reduce(f64::min)?;
    let label = upper.zip(lower).map(|(upper, lower)| {
        format!("Cp {:.2}, Cpk {score:.2}", (upper - lower) / (6.0 * sigma)).into()
    });
    let samples = u32::try_from(last.len()).unwrap_or(u32::MAX);
    Some(Reading { score, label, samples })
}

fn nelson(z: &[f64], rules: [bool; 8]) -> Reading {
    let newest = |count: usize| z.len().checked_sub(count).map(|from| &z[from..]);
    let all = |count: usize, is: &dyn Fn(&f64) -> bool| {
        newest(count).is_some_and(|run| run.iter().all(is))
    };
    let some = |count: usize, of: usize, limit: f64| {
        newest(of).is_some_and(|run| {
            [1.0, -1.0].iter().any(|side| run.iter().filter(|z| *z * side > limit).count() >= count)
        })
    };
    let steps = |count: usize| newest(count).map(|run| run.windows(2).map(|w| w[1] - w[0]));
    let trend = |side: f64| steps(6).is_some_and(|mut steps| steps.all(|step| step * side > 0.0));
    let alternates =
        newest(14).is_some_and(|run| run.windows(3).all(|w| (w[1] - w[0]) * (w[2] - w[1]) < 0.0));
    let far = |z: &f64| z.abs() > 1.0;
    let found = [
        all(1, &|z| z.abs() > 3.0),
        all(9, &|z| *z > 0.0) || all(9, &|z| *z < 0.0),
        trend(1.0) || trend(-1.0),
        alternates,
        some(2, 3, 2.0),
        some(4, 5, 1.0),
        all(15, &|z| z.abs() < 1.0),
        all(8, &far) && !all(8, &|z| *z > 0.0) && !all(8, &|z| *z < 0.0),
    ];
    let broken = || (0..8).filter(|rule| rules[*rule] && found[*rule]);
    let names: Vec<String> =
        broken().map(|rule| format!("rule {}: {}", rule + 1, RULES[rule])).collect();
    Reading {
        score: broken().map(|_| 1.0).sum(),
        label: (!names.is_empty()).then(|| names.join("; ").into()),
        samples: u32::try_from(z.len()).unwrap_or(u32::MAX),
    }
}

#[cfg(test)]
mod tests;
