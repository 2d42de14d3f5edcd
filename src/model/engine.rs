//! A model at work, without a thread: frames to verdicts. The worker drives one in its thread,
//! a replay in the order of its frames.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::answer::Answer;
use super::card::OutputKind;
use super::session::{RunError, Session};
use super::stats::ModelStats;
use crate::explain;
use crate::frame::Frame;
use crate::settings::Direction;
use crate::verdict::{Contribution, ModelIdentity, Verdict};

/// How a model is run.
#[derive(Clone, Debug)]
pub(super) struct Manner {
    pub(super) kind: OutputKind,
    pub(super) max_batch: usize,
    pub(super) deadline: Duration,
}

pub struct Engine {
    session: Session,
    manner: Manner,
    stats: Arc<ModelStats>,
    items: Vec<f32>,
    numbers: Vec<f64>,
}

impl Engine {
    pub(super) fn new(session: Session, identity: Arc<ModelIdentity>, manner: Manner) -> Self {
        let stats = Arc::new(ModelStats::new(identity));
        Self { session, manner, stats, items: Vec::new(), numbers: Vec::new() }
    }

    pub fn stats(&self) -> &Arc<ModelStats> {
        &self.stats
    }

    pub fn max_batch(&self) -> usize {
        self.manner.max_batch
    }

    /// The verdicts, and the last thing that was wrong with an answer.
    pub fn infer(&mut self, batch: &[Frame]) -> Result<(Vec<Verdict>, Option<String>), RunError> {
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
                Ok(answer) => verdicts.push(self.verdict(frame, answer, row)),
                Err(error) => {
                    self.stats.unhealthy();
                    wrong = Some(error.to_string());
                }
            }
        }
        self.numbers = numbers;
        Ok((verdicts, wrong))
    }

    fn verdict(&mut self, frame: &Frame, answer: Answer, row: &[f64]) -> Verdict {
        let threshold = frame.spec.explain_from.filter(|from| from.is_reached(answer.score));
        let contributions = threshold.map_or_else(Vec::new, |threshold| {
            self.stats.explained();
            self.reasons(frame, answer.score, row, threshold.direction)
        });
        Verdict {
            prediction: frame.prediction,
            asset: frame.asset,
            evidence: frame.evidence,
            score: answer.score,
            label: answer.label,
            contributions,
            model: Some(Arc::clone(&self.stats.identity)),
            arrived: frame.arrived,
        }
    }

    fn reasons(
        &mut self,
        frame: &Frame,
        score: f64,
        row: &[f64],
        direction: Direction,
    ) -> Vec<Contribution> {
        let spec = &frame.spec;
        let pushes = if self.manner.kind == OutputKind::Reconstruction {
            explain::error_by_tag(spec, &frame.values, row)
        } else {
            self.without_each_tag(frame, score)
        };
        explain::contributions(spec, &frame.latest, &pushes, direction)
    }

    /// How much higher the score is than without each tag; NaN where the model cannot say.
    fn without_each_tag(&mut self, frame: &Frame, score: f64) -> Vec<f64> {
        let tags: Vec<usize> = (0..frame.spec.tags.len()).collect();
        let mut pushes = Vec::with_capacity(tags.len());
        let (mut items, mut numbers) = (Vec::new(), Vec::new());
        for chunk in tags.chunks(self.manner.max_batch) {
            items.clear();
            for tag in chunk {
                explain::without_tag(&frame.spec, &frame.values, *tag, &mut items);
            }
            let Ok(width) = self.session.run(&items, &mut numbers) else {
                pushes.resize(pushes.len() + chunk.len(), f64::NAN);
                continue;
            };
            pushes.extend(numbers.chunks(width).map(|row| {
                let without = self.session.judge().answer(row, &[]);
                without.map_or(f64::NAN, |without| score - without.score)
            }));
        }
        pushes
    }
}
