//! A model at work, without a thread: frames to verdicts. The worker drives one in its thread,
//! a replay in the order of its frames.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::answer::Answer;
use super::card::OutputKind;
use super::predictor::Predictor;
use super::session::RunError;
use super::stats::ModelStats;
use crate::asset::AssetId;
use crate::explain::{self, Shapley};
use crate::frame::{Frame, FrameSpec};
use crate::verdict::{
    Contribution, Explained, Explanation, ModelIdentity, PredictionId, Subject, Verdict,
};

/// Frames wait no longer than so many questions take.
const QUESTIONS_AT_ONCE: usize = 16;

/// A batch's verdicts, and what was wrong with one of the answers.
pub type Inferred = (Vec<Option<Verdict>>, Option<String>);

/// How a model is run.
#[derive(Clone, Debug)]
pub(super) struct Manner {
    pub(super) kind: OutputKind,
    pub(super) max_batch: usize,
    pub(super) deadline: Duration,
}

pub struct Engine {
    session: Predictor,
    manner: Manner,
    stats: Arc<ModelStats>,
    items: Vec<f32>,
    numbers: Vec<f64>,
    background: Arc<[Vec<f32>]>,
}

impl Engine {
    pub(super) fn new(
        session: Predictor,
        identity: Arc<ModelIdentity>,
        manner: Manner,
        background: Arc<[Vec<f32>]>,
    ) -> Self {
        let stats = Arc::new(ModelStats::new(identity, session.remote_health()));
        Self { session, manner, stats, items: Vec::new(), numbers: Vec::new(), background }
    }

    pub fn stats(&self) -> &Arc<ModelStats> {
        &self.stats
    }

    /// For requests that bring their own tensors.
    pub(super) fn predictor(&mut self) -> &mut Predictor {
        &mut self.session
    }

    pub(super) fn due(&self) -> Option<Instant> {
        self.session.due()
    }

    pub(super) fn tend(&mut self) -> Result<(), String> {
        self.session.tend()
    }

    pub fn max_batch(&self) -> usize {
        self.manner.max_batch
    }

    /// The verdict of each frame, none where the answer cannot be believed, and the last thing that
    /// was wrong with one.
    pub fn infer(&mut self, batch: &[Frame]) -> Result<Inferred, RunError> {
        self.items.clear();
        batch.iter().for_each(|frame| self.items.extend_from_slice(&frame.values));
        let started = Instant::now();
        let width = self.session.run(&self.items, &mut self.numbers)?;
        let took = started.elapsed();
        self.stats.ran(batch.len(), took);
        if took > self.manner.deadline {
            self.stats.late();
            tracing::debug!(?took, frames = batch.len(), "a batch ran past its deadline");
        }
        let mut verdicts = Vec::with_capacity(batch.len());
        let mut wrong = None;
        let numbers = std::mem::take(&mut self.numbers);
        for (frame, row) in batch.iter().zip(numbers.chunks(width)) {
            match self.session.judge().answer(row, &frame.values) {
                Ok(answer) => verdicts.push(Some(self.verdict(frame, answer, row))),
                Err(error) => {
                    self.stats.unhealthy();
                    verdicts.push(None);
                    wrong = Some(error.to_string());
                }
            }
        }
        self.numbers = numbers;
        Ok((verdicts, wrong))
    }

    fn verdict(&self, frame: &Frame, answer: Answer, row: &[f64]) -> Verdict {
        let threshold = frame.spec.explain_from.filter(|from| from.is_reached(answer.score));
        let (mut contributions, mut subject) = (Vec::new(), None);
        if let Some(threshold) = threshold {
            if self.manner.kind == OutputKind::Reconstruction {
                self.stats.explained();
                let errors = explain::error_by_tag(&frame.spec, &frame.values, row);
                contributions = explain::contributions(
                    &frame.spec,
                    &frame.latest,
                    &errors,
                    threshold.direction,
                );
            } else {
                let (values, latest) = (frame.values.clone(), frame.latest.clone());
                subject = Some(Arc::new(Subject { values, latest }));
            }
        }
        Verdict {
            prediction: frame.prediction,
            asset: frame.asset,
            evidence: frame.evidence,
            score: answer.score,
            label: answer.label,
            contributions,
            subject,
            model: Some(Arc::clone(self.session.stand_in().unwrap_or(&self.stats.identity))),
            arrived: frame.arrived,
        }
    }

    /// The runtime alone: whole items in, numbers out. Gives how many numbers an item has.
    pub fn run(&mut self, items: &[f32], out: &mut Vec<f64>) -> Result<usize, RunError> {
        self.session.run(items, out)
    }

    /// Works out an explanation to its end.
    pub fn explain(&mut self, inquiry: Inquiry) -> Explained {
        let mut study = self.study(inquiry);
        while !self.pursue(&mut study) {}
        study.conclude()
    }

    pub(super) fn study(&self, inquiry: Inquiry) -> Study {
        self.stats.explained();
        let values = inquiry.subject.values.clone();
        let background = Arc::clone(&self.background);
        let shapley = Shapley::new(&inquiry.spec, values, background, &inquiry.alert_id);
        Study { inquiry, shapley }
    }

    /// Asks the model the next few questions; true when there are no more.
    pub(super) fn pursue(&mut self, study: &mut Study) -> bool {
        self.items.clear();
        let asked =
            study.shapley.ask(self.manner.max_batch.min(QUESTIONS_AT_ONCE), &mut self.items);
        let who = &study.inquiry.model;
        let answers = match self.session.run_as(who, &self.items, &mut self.numbers) {
            Ok(width) => {
                let items = self.items.chunks(self.session.item_len());
                let rows = self.numbers.chunks(width).zip(items);
                let score = |(row, item): (&[f64], &[f32])| {
                    self.session.judge().answer(row, item).map_or(f64::NAN, |answer| answer.score)
                };
                rows.map(score).collect()
            }
            Err(error) => {
                tracing::debug!(%error, "An alert cannot be explained.");
                vec![f64::NAN; asked]
            }
        };
        let failed = answers.iter().any(|score| score.is_nan());
        study.shapley.answer(&answers);
        failed || study.shapley.is_done()
    }
}

/// An alert whose reasons are wanted.
#[derive(Clone, Debug)]
pub struct Inquiry {
    pub prediction: PredictionId,
    pub asset: AssetId,
    pub alert_id: String,
    pub subject: Arc<Subject>,
    pub spec: Arc<FrameSpec>,
    /// Who gave the verdict: no other explains it.
    pub model: Arc<ModelIdentity>,
}

/// An explanation under way.
#[derive(Debug)]
pub(super) struct Study {
    inquiry: Inquiry,
    shapley: Shapley,
}

impl Study {
    /// What is known by now.
    pub(super) fn conclude(self) -> Explained {
        let Self { inquiry, shapley } = self;
        let pushes = shapley.pushes();
        let how = match pushes {
            Some(_) if shapley.is_exact() => Explanation::Exact,
            Some(_) => Explanation::Sampled,
            None if shapley.has_failed() => Explanation::Failed,
            None => Explanation::Late,
        };
        let direction = inquiry.spec.explain_from.map(|from| from.direction).unwrap_or_default();
        let contributions = pushes.map_or_else(Vec::new, |pushes| {
            explain::contributions(&inquiry.spec, &inquiry.subject.latest, &pushes, direction)
        });
        inquiry.answered(how, contributions)
    }
}

impl Inquiry {
    pub fn answered(self, how: Explanation, contributions: Vec<Contribution>) -> Explained {
        let Self { prediction, asset, alert_id, .. } = self;
        Explained { prediction, asset, alert_id, how, contributions }
    }
}
