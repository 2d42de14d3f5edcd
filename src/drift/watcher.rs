//! All that the predictions see: a [`Track`] for each asset of each prediction.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::constant::Constant;
use super::scores::Scores;
use super::track::{FeatureFigures, Figures, Reference, Track};
use crate::asset::AssetId;
use crate::frame::{Bins, FrameSpec};
use crate::settings::DriftSettings;
use crate::verdict::{Contribution, Evidence, PredictionId};

/// Assets of one prediction that are watched; more are counted and not looked at.
const ASSETS: usize = 256;

/// A prediction as the watcher needs it.
#[derive(Clone, Debug)]
pub struct Subject {
    pub id: PredictionId,
    pub name: String,
    pub references: Arc<[Reference]>,
    pub raise: Option<f64>,
}

impl Subject {
    pub fn new(id: PredictionId, name: &str, spec: &FrameSpec, raise: Option<f64>) -> Self {
        let reference = |(tag, plant): (&crate::frame::TagInput, &String)| Reference {
            tag: plant.clone(),
            range: tag.min.zip(tag.max).map(|(min, max)| [min, max]),
            bins: tag.bins.clone().filter(Bins::is_sound),
        };
        let references = spec.tags.iter().zip(&spec.plant_tags).map(reference).collect();
        Self { id, name: name.to_owned(), references, raise }
    }
}

/// What a look has shown. A score of 1 is at a limit.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    pub score: f64,
    /// The tags at or beyond a limit, in words; the furthest where there is none.
    pub text: String,
    pub contributions: Vec<Contribution>,
    pub evidence: Evidence,
}

/// The figures of one asset.
#[derive(Clone, Debug, PartialEq)]
pub struct AssetFigures {
    pub asset: AssetId,
    pub figures: Figures,
    pub scores: Scores,
}

#[derive(Clone, Debug, PartialEq)]
pub struct PredictionFigures {
    pub id: PredictionId,
    pub name: String,
    pub assets: Vec<AssetFigures>,
    /// Frames of assets beyond the number that is watched.
    pub unwatched: u64,
}

#[derive(Debug)]
pub struct Watcher {
    settings: DriftSettings,
    subjects: Vec<Watched>,
}

#[derive(Debug)]
struct Watched {
    subject: Subject,
    tracks: BTreeMap<AssetId, Track>,
    constants: BTreeMap<AssetId, Constant>,
    unwatched: u64,
}

/// A prediction that gives one asset the very same score whatever its readings are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stuck {
    pub asset: AssetId,
    pub score: f64,
    /// So many times at least.
    pub times: u32,
}

impl Watched {
    fn new(subject: Subject) -> Self {
        Self { subject, tracks: BTreeMap::new(), constants: BTreeMap::new(), unwatched: 0 }
    }
}

impl Watcher {
    pub fn new(settings: DriftSettings, subjects: Vec<Subject>) -> Self {
        Self { settings, subjects: subjects.into_iter().map(Watched::new).collect() }
    }

    pub const fn settings(&self) -> &DriftSettings {
        &self.settings
    }

    /// A prediction with another model: what was held against the old one's training is forgotten.
    pub fn replace(&mut self, subject: Subject) {
        let known = self.subjects.iter_mut().find(|watched| watched.subject.id == subject.id);
        if let Some(watched) = known {
            *watched = Watched::new(subject);
        }
    }

    /// Takes a frame's newest values, by tag. Every half of the configured frames there is a
    /// finding, good or bad.
    pub fn observe(
        &mut self,
        prediction: PredictionId,
        asset: AssetId,
        evidence: &Evidence,
        latest: &[Option<f64>],
    ) -> Option<Finding> {
        if !self.settings.enabled {
            return None;
        }
        let watched = self.subjects.iter_mut().find(|w| w.subject.id == prediction)?;
        if watched.tracks.len() >= ASSETS && !watched.tracks.contains_key(&asset) {
            watched.unwatched += 1;
            return None;
        }
        let Subject { references, raise, .. } = &watched.subject;
        let track = watched.tracks.entry(asset).or_insert_with(|| {
            Track::new(Arc::clone(references), self.settings.frames, Scores::around(*raise))
        });
        if self.settings.constant > 0 {
            watched.constants.entry(asset).or_default().read(latest);
        }
        if !track.observe(evidence, latest) {
            return None;
        }
        let finding = track.is_ripe().then(|| find(track, &self.settings));
        track.settle();
        finding
    }

    pub fn score(&mut self, prediction: PredictionId, asset: AssetId, score: f64) {
        let Some(watched) = self.subjects.iter_mut().find(|w| w.subject.id == prediction) else {
            return;
        };
        if let Some(track) = watched.tracks.get_mut(&asset) {
            track.scores.add(score);
        }
        if let Some(constant) = watched.constants.get_mut(&asset) {
            constant.answered(score);
        }
    }

    /// The first asset to which the prediction says the same as long as [`DriftSettings::constant`] allows.
    pub fn stuck(&self, prediction: PredictionId) -> Option<Stuck> {
        let watched = self.subjects.iter().find(|w| w.subject.id == prediction)?;
        let times = self.settings.constant;
        let stuck = |(asset, constant): (&AssetId, &Constant)| {
            Some(Stuck { asset: *asset, score: constant.stuck(times)?, times })
        };
        watched.constants.iter().find_map(stuck)
    }

    /// The figures of this moment.
    pub fn figures(&self) -> Vec<PredictionFigures> {
        let asset = |(asset, track): (&AssetId, &Track)| AssetFigures {
            asset: *asset,
            figures: track.figures(),
            scores: track.scores.clone(),
        };
        let prediction = |watched: &Watched| PredictionFigures {
            id: watched.subject.id,
            name: watched.subject.name.clone(),
            assets: watched.tracks.iter().map(asset).collect(),
            unwatched: watched.unwatched,
        };
        self.subjects.iter().map(prediction).collect()
    }
}

fn find(track: &Track, limits: &DriftSettings) -> Finding {
    let figures = track.figures();
    let mut ranked: Vec<(&FeatureFigures, _)> =
        figures.features.iter().map(|feature| (feature, feature.worst(limits))).collect();
    ranked.sort_by(|a, b| b.1.1.total_cmp(&a.1.1));
    let beyond = ranked.iter().take_while(|(_, (_, ratio))| *ratio >= 1.0).count().max(1);
    let said: Vec<String> = ranked[..beyond.min(ranked.len())]
        .iter()
        .map(|(feature, (measure, _))| feature.said(*measure))
        .collect();
    let contributions = ranked.iter().map(|(feature, (_, ratio))| Contribution {
        tag: feature.tag.clone(),
        value: None,
        share: *ratio,
    });
    Finding {
        score: ranked.first().map_or(0.0, |(_, (_, ratio))| *ratio),
        text: said.join(", "),
        contributions: contributions.collect(),
        evidence: track.evidence(&figures),
    }
}
