//! Why an alert was raised: what is asked of the model, and what its answers come to.

use std::sync::Arc;

use super::items::Items;
use crate::asset::AssetId;
use crate::explain::{self, Shapley, Words};
use crate::frame::FrameSpec;
use crate::verdict::{Contribution, Explained, Explanation, PredictionId, Subject};

/// An alert whose reasons are wanted.
#[derive(Clone, Debug)]
pub struct Inquiry {
    pub prediction: PredictionId,
    pub asset: AssetId,
    pub alert_id: String,
    pub subject: Arc<Subject>,
    pub spec: Arc<FrameSpec>,
}

/// An explanation under way.
#[derive(Debug)]
pub(super) struct Study {
    inquiry: Inquiry,
    method: Method,
}

#[derive(Debug)]
enum Method {
    Tags(Shapley),
    Words(Words),
}

impl Study {
    pub(super) fn new(inquiry: Inquiry, background: Arc<[Vec<f32>]>) -> Self {
        let method = match (&inquiry.subject.text, inquiry.spec.text) {
            (Some(text), Some(input)) => Method::Words(Words::new(Arc::clone(text), input)),
            _ => {
                let values = inquiry.subject.values.clone();
                let (spec, id) = (&inquiry.spec, &inquiry.alert_id);
                Method::Tags(Shapley::new(spec, values, background, id))
            }
        };
        Self { inquiry, method }
    }

    /// Puts at most `most` items into `out`, whose scores are to be answered; their number.
    pub(super) fn ask(&mut self, most: usize, out: &mut Items) -> usize {
        match (&mut self.method, out) {
            (Method::Tags(tags), Items::Numbers(out)) => tags.ask(most, out),
            (Method::Words(words), Items::Texts(out)) => words.ask(most, out),
            _ => unreachable!("a model is asked what its layout makes"),
        }
    }

    /// The scores of what was asked, in the same order; true when there is nothing more to ask.
    pub(super) fn answer(&mut self, scores: &[f64]) -> bool {
        let done = match &mut self.method {
            Method::Tags(tags) => {
                tags.answer(scores);
                tags.is_done()
            }
            Method::Words(words) => {
                words.answer(scores);
                words.is_done()
            }
        };
        done || scores.iter().any(|score| !score.is_finite())
    }

    /// What is known by now.
    pub(super) fn conclude(self) -> Explained {
        let Self { inquiry, method } = self;
        let direction = inquiry.spec.explain_from.map(|from| from.direction).unwrap_or_default();
        let (failed, found) = match method {
            Method::Tags(tags) => {
                let how = if tags.is_exact() { Explanation::Exact } else { Explanation::Sampled };
                let told = |pushes: Vec<f64>| {
                    let latest = &inquiry.subject.latest;
                    (how, explain::contributions(&inquiry.spec, latest, &pushes, direction))
                };
                (tags.has_failed(), tags.pushes().map(told))
            }
            Method::Words(words) => {
                let told = words.contributions(direction);
                (words.has_failed(), told.map(|told| (Explanation::Words, told)))
            }
        };
        let nothing = if failed { Explanation::Failed } else { Explanation::Late };
        let (how, contributions) = found.unwrap_or((nothing, Vec::new()));
        inquiry.answered(how, contributions)
    }
}

impl Inquiry {
    pub fn answered(self, how: Explanation, contributions: Vec<Contribution>) -> Explained {
        let Self { prediction, asset, alert_id, .. } = self;
        Explained { prediction, asset, alert_id, how, contributions }
    }
}
