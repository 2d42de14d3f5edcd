//! What a prediction has seen of one asset lately, tag by tag.

use std::sync::Arc;

use super::figures;
use super::scores::Scores;
use crate::frame::Bins;
use crate::settings::DriftSettings;
use crate::time::Timestamp;
use crate::verdict::Evidence;

/// What the card says of a tag's training data.
#[derive(Clone, Debug)]
pub struct Reference {
    /// The plant's name.
    pub tag: String,
    pub range: Option<[f64; 2]>,
    pub bins: Option<Bins>,
}

/// Which figure is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    Missing,
    Outside,
    Psi,
    Ks,
}

/// How far one tag is from its training data.
#[derive(Clone, Debug, PartialEq)]
pub struct FeatureFigures {
    pub tag: String,
    /// Share of the frames without a measured value.
    pub missing: f64,
    /// Share of the values outside the training range; nothing where the card has none.
    pub outside: Option<f64>,
    /// Nothing where the card has no bins, as the next.
    pub psi: Option<f64>,
    pub ks: Option<f64>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Figures {
    /// Frames that they rest on.
    pub frames: u32,
    pub features: Vec<FeatureFigures>,
}

/// The last frames of one asset in two halves: what has settled, and what comes in now.
#[derive(Clone, Debug)]
pub struct Track {
    references: Arc<[Reference]>,
    half: u32,
    settled: Half,
    filling: Half,
    pub(super) scores: Scores,
}

#[derive(Clone, Debug)]
struct Half {
    frames: u32,
    start: Timestamp,
    end: Timestamp,
    tags: Vec<Counts>,
}

#[derive(Clone, Debug)]
struct Counts {
    missing: u32,
    outside: u32,
    bins: Box<[u32]>,
}

impl Half {
    fn new(references: &[Reference]) -> Self {
        let counts = |reference: &Reference| Counts {
            missing: 0,
            outside: 0,
            bins: vec![0; reference.bins.as_ref().map_or(0, |bins| bins.shares.len())].into(),
        };
        Self {
            frames: 0,
            start: Timestamp::MAX,
            end: Timestamp::MIN,
            tags: references.iter().map(counts).collect(),
        }
    }
}

impl Track {
    pub fn new(references: Arc<[Reference]>, frames: u32, scores: Scores) -> Self {
        Self {
            half: (frames / 2).max(1),
            settled: Half::new(&references),
            filling: Half::new(&references),
            references,
            scores,
        }
    }

    /// Takes the newest values of a frame's tags. True when a half is full: look now, and then
    /// [`settle`](Self::settle).
    pub fn observe(&mut self, evidence: &Evidence, latest: &[Option<f64>]) -> bool {
        let half = &mut self.filling;
        half.frames += 1;
        half.start = half.start.min(evidence.start);
        half.end = half.end.max(evidence.end);
        for ((value, counts), reference) in latest.iter().zip(&mut half.tags).zip(&*self.references)
        {
            let Some(value) = *value else {
                counts.missing += 1;
                continue;
            };
            if let Some([low, high]) = reference.range {
                counts.outside += u32::from(value < low || value > high);
            }
            if let Some(bins) = &reference.bins
                && let Some(count) = counts.bins.get_mut(figures::bin(bins, value))
            {
                *count += 1;
            }
        }
        half.frames >= self.half
    }

    /// The older half goes.
    pub fn settle(&mut self) {
        self.settled = std::mem::replace(&mut self.filling, Half::new(&self.references));
        self.scores.settle();
    }

    /// Both halves have frames enough for a judgement.
    pub fn is_ripe(&self) -> bool {
        self.settled.frames >= self.half && self.filling.frames >= self.half
    }

    pub fn figures(&self) -> Figures {
        let (old, new) = (&self.settled, &self.filling);
        let frames = old.frames + new.frames;
        let halves = old.tags.iter().zip(&new.tags);
        let feature = |(reference, (old, new)): (&Reference, (&Counts, &Counts))| {
            let missing = old.missing + new.missing;
            let values = frames - missing;
            let counts: Vec<u32> = old.bins.iter().zip(&new.bins).map(|(a, b)| a + b).collect();
            let shares = reference.bins.as_ref().map(|bins| &*bins.shares);
            FeatureFigures {
                tag: reference.tag.clone(),
                missing: share(missing, frames),
                outside: reference.range.map(|_| share(old.outside + new.outside, values)),
                psi: shares.and_then(|shares| figures::psi(shares, &counts)),
                ks: shares.and_then(|shares| figures::ks(shares, &counts)),
            }
        };
        Figures { frames, features: self.references.iter().zip(halves).map(feature).collect() }
    }

    pub(super) fn evidence(&self, figures: &Figures) -> Evidence {
        let missing: f64 = figures.features.iter().map(|feature| feature.missing).sum();
        let tags = figures.features.len().max(1) as f64;
        Evidence {
            start: self.settled.start.min(self.filling.start),
            end: self.settled.end.max(self.filling.end),
            samples: figures.frames,
            coverage: 1.0 - missing / tags,
        }
    }
}

impl FeatureFigures {
    /// The figure that is furthest beyond its limit, and how far: 1 is the limit.
    pub fn worst(&self, limits: &DriftSettings) -> (Measure, f64) {
        let all = [
            (Measure::Missing, Some(self.missing), limits.missing),
            (Measure::Outside, self.outside, limits.outside),
            (Measure::Psi, self.psi, limits.psi),
            (Measure::Ks, self.ks, limits.ks),
        ];
        let ratios =
            all.into_iter().filter_map(|(what, figure, limit)| Some((what, figure? / limit)));
        ratios.max_by(|a, b| a.1.total_cmp(&b.1)).unwrap_or((Measure::Missing, 0.0))
    }

    /// `torque: PSI 0.41`
    pub fn said(&self, measure: Measure) -> String {
        let tag = &self.tag;
        let percent = |share: f64| (share * 100.0).round();
        match measure {
            Measure::Missing => format!("{tag}: {} % missing", percent(self.missing)),
            Measure::Outside => {
                let outside = percent(self.outside.unwrap_or_default());
                format!("{tag}: {outside} % outside the training range")
            }
            Measure::Psi => format!("{tag}: PSI {:.2}", self.psi.unwrap_or_default()),
            Measure::Ks => format!("{tag}: KS {:.2}", self.ks.unwrap_or_default()),
        }
    }
}

fn share(part: u32, whole: u32) -> f64 {
    if whole == 0 { 0.0 } else { f64::from(part) / f64::from(whole) }
}
