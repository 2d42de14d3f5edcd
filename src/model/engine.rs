//! A model at work, without a thread: frames to verdicts. The worker drives one in its thread,
//! a replay in the order of its frames.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::answer::Answer;
use super::block::Block;
use super::card::OutputKind;
use super::items::{Items, ItemsRef};
use super::predictor::Predictor;
use super::session::RunError;
use super::stats::ModelStats;
use super::study::{Inquiry, Study};
use crate::explain::{self, Map};
use crate::frame::{Frame, Layout};
use crate::verdict::{Explained, ModelIdentity, Subject, Verdict};

/// Frames wait no longer than so many questions take.
const QUESTIONS_AT_ONCE: usize = 16;

/// What has come of a batch.
#[derive(Debug, Default)]
pub struct Inferred {
    /// Of each frame; none where the answer cannot be believed.
    pub verdicts: Vec<Option<Verdict>>,
    /// The last thing that was wrong with an answer.
    pub wrong: Option<String>,
    /// How long the model ran.
    pub took: Duration,
}

/// How a model is run.
#[derive(Clone, Debug)]
pub(super) struct Manner {
    pub(super) layout: Layout,
    pub(super) kind: OutputKind,
    pub(super) max_batch: usize,
    pub(super) deadline: Duration,
}

/// One of a batch: where it stands there, what went in, and what came out.
#[derive(Clone, Copy)]
struct Item<'a> {
    at: usize,
    values: &'a [f32],
    row: &'a [f64],
}

pub struct Engine {
    session: Predictor,
    manner: Manner,
    stats: Arc<ModelStats>,
    items: Items,
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
        let (items, numbers) = (Items::none(manner.layout), Vec::new());
        Self { session, manner, stats, items, numbers, background }
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

    /// What a frame holds goes with its verdict where it may have to be explained.
    pub fn infer(&mut self, batch: &mut Block) -> Result<Inferred, RunError> {
        let (batch, values) = batch.parts();
        let items = match self.manner.layout {
            Layout::Text => self.items.of_texts(batch),
            _ => ItemsRef::Numbers(values),
        };
        let started = Instant::now();
        let width = self.session.run(items, &mut self.numbers)?;
        let took = started.elapsed();
        self.stats.ran(batch.len(), took, self.session.inside().unwrap_or(took));
        if took > self.manner.deadline {
            self.stats.late();
            tracing::debug!(?took, frames = batch.len(), "a batch ran past its deadline");
        }
        let mut verdicts = Vec::with_capacity(batch.len());
        let mut wrong = None;
        let numbers = std::mem::take(&mut self.numbers);
        let length = values.len() / batch.len().max(1);
        for (at, (frame, row)) in batch.iter_mut().zip(numbers.chunks(width)).enumerate() {
            let item = Item { at, values: &values[at * length..][..length], row };
            match self.session.judge().answer(row, item.values) {
                Ok(answer) => verdicts.push(Some(self.verdict(frame, answer, item))),
                Err(error) => {
                    self.stats.unhealthy();
                    verdicts.push(None);
                    wrong = Some(error.to_string());
                }
            }
        }
        self.numbers = numbers;
        Ok(Inferred { verdicts, wrong, took })
    }

    fn verdict(&self, frame: &mut Frame, answer: Answer, item: Item<'_>) -> Verdict {
        let threshold = frame.spec.explain_from.filter(|from| from.is_reached(answer.score));
        let (mut contributions, mut region, mut subject) = (Vec::new(), None, None);
        if let Some(threshold) = threshold {
            if self.manner.layout == Layout::Image {
                // A picture has no tags or words whose part in the score could be told.
                let worst = self.session.map(item.at).and_then(Map::worst);
                region = worst.map(|worst| worst.within(frame.shown));
            } else if self.manner.kind == OutputKind::Reconstruction {
                self.stats.explained();
                let errors = explain::error_by_tag(&frame.spec, item.values, item.row);
                contributions = explain::contributions(
                    &frame.spec,
                    &frame.latest,
                    &errors,
                    threshold.direction,
                );
            } else {
                let (values, latest) = (item.values.to_vec(), std::mem::take(&mut frame.latest));
                subject = Some(Arc::new(Subject { values, text: frame.text.take(), latest }));
            }
        }
        Verdict {
            prediction: frame.prediction,
            asset: frame.asset,
            evidence: frame.evidence,
            score: answer.score,
            label: answer.label,
            contributions,
            region,
            subject,
            model: Some(Arc::clone(self.session.stand_in().unwrap_or(&self.stats.identity))),
            arrived: frame.arrived,
        }
    }

    /// The runtime alone: whole items in, numbers out. Gives how many numbers an item has.
    pub fn run(&mut self, items: ItemsRef<'_>, out: &mut Vec<f64>) -> Result<usize, RunError> {
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
        Study::new(inquiry, Arc::clone(&self.background))
    }

    /// Asks the model the next few questions; true when there are no more.
    pub(super) fn pursue(&mut self, study: &mut Study) -> bool {
        self.items.clear();
        let asked = study.ask(self.manner.max_batch.min(QUESTIONS_AT_ONCE), &mut self.items);
        let items = self.items.lend();
        let answers = match self.session.run_as(study.who(), items, &mut self.numbers) {
            Ok(width) => {
                let items = items.chunks(self.session.item_len());
                let rows = self.numbers.chunks(width).zip(items);
                let score = |(row, item): (&[f64], ItemsRef<'_>)| {
                    let answer = self.session.judge().answer(row, item.numbers());
                    answer.map_or(f64::NAN, |answer| answer.score)
                };
                rows.map(score).collect()
            }
            Err(error) => {
                tracing::debug!(%error, "An alert cannot be explained.");
                vec![f64::NAN; asked]
            }
        };
        study.answer(&answers)
    }
}
