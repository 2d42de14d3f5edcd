//! Shapley values of tags: what each moved the score from its mean over ordinary windows.
//!
//! The worth of a set of tags is the mean score with those tags as they were and the others as in
//! the background rows; a cell that two tags make counts as measured only with both. Up to
//! [`EXACT_TAGS`] tags every set is asked about. Beyond, tags join one by one in random orders,
//! each order also backwards, each background row equally often: Castro, Gómez and Tejada,
//! "Polynomial calculation of the Shapley value based on sampling" (2009). Either way the values
//! add up to the score less the mean over the background. The caller runs the model.

use std::sync::Arc;

use super::for_cells;
use crate::frame::FrameSpec;

/// Up to so many tags all sets are asked about.
const EXACT_TAGS: usize = 10;
/// About so many questions where orders are drawn.
const SAMPLED_QUESTIONS: usize = 2048;

/// One explanation under way.
#[derive(Clone, Debug)]
pub struct Shapley {
    tags: usize,
    /// By cell: the tags that make it, the same one twice where it is one.
    owners: Vec<[usize; 2]>,
    item: Vec<f32>,
    background: Arc<[Vec<f32>]>,
    /// Empty where all sets are asked about. Every second one is the one before it, backwards;
    /// a pair belongs to one background row, and a round of pairs to all of them.
    orders: Vec<Vec<usize>>,
    asked: usize,
    scores: Vec<f64>,
}

impl Shapley {
    /// `item` is what the model saw; each row of `background`, of which there is at least one, is
    /// what it sees ordinarily. `alert_id` chooses the random orders.
    pub fn new(
        spec: &FrameSpec,
        item: Vec<f32>,
        background: Arc<[Vec<f32>]>,
        alert_id: &str,
    ) -> Self {
        let tags = spec.tags.len();
        let mut owners = vec![None; item.len()];
        for tag in 0..tags {
            for_cells(spec, tag, |cell, _| match &mut owners[cell] {
                empty @ None => *empty = Some([tag, tag]),
                Some(pair) => pair[1] = tag,
            });
        }
        let owned = |owner: Option<[usize; 2]>| owner.expect("each cell is made of a tag");
        let orders = if tags <= EXACT_TAGS {
            Vec::new()
        } else {
            let pair = 2 * (tags - 1);
            let rounds = (SAMPLED_QUESTIONS / (pair * background.len())).max(1);
            orders(tags, rounds * background.len(), seed(alert_id))
        };
        Self {
            tags,
            owners: owners.into_iter().map(owned).collect(),
            item,
            background,
            orders,
            asked: 0,
            scores: Vec::new(),
        }
    }

    pub fn is_exact(&self) -> bool {
        self.orders.is_empty()
    }

    /// Cells of one question.
    pub fn item_len(&self) -> usize {
        self.item.len()
    }

    pub fn is_done(&self) -> bool {
        self.scores.len() == self.questions()
    }

    /// Appends at most `most` items to `out`, whose scores are to be answered; their number.
    pub fn ask(&mut self, most: usize, out: &mut Vec<f32>) -> usize {
        let count = most.min(self.questions() - self.asked);
        let mut present = vec![false; self.tags];
        for question in self.asked..self.asked + count {
            let row = self.pose(question, &mut present);
            let row = &self.background[row];
            let cells = self.item.iter().zip(row).zip(&self.owners);
            out.extend(cells.map(
                |((own, other), [a, b])| {
                    if present[*a] && present[*b] { *own } else { *other }
                },
            ));
        }
        self.asked += count;
        count
    }

    /// The scores of what was asked, in the same order; not finite where the model cannot say.
    pub fn answer(&mut self, scores: &[f64]) {
        self.scores.extend_from_slice(scores);
    }

    /// The model could not answer something.
    pub fn has_failed(&self) -> bool {
        self.scores.iter().any(|score| !score.is_finite())
    }

    /// What each tag added to the score; `None` while too little has been answered, or when the
    /// model could not answer all. Of sampled orders the whole rounds count.
    pub fn pushes(&self) -> Option<Vec<f64>> {
        if self.has_failed() {
            return None;
        }
        if self.is_exact() { self.is_done().then(|| self.exact()) } else { self.sampled() }
    }

    fn questions(&self) -> usize {
        let rows = self.background.len();
        if self.is_exact() {
            1 + ((1 << self.tags) - 1) * rows
        } else {
            1 + rows + self.orders.len() * (self.tags - 1)
        }
    }

    /// Sets which tags are present in a question, and gives the row of the others.
    fn pose(&self, question: usize, present: &mut [bool]) -> usize {
        let rows = self.background.len();
        let Some(question) = question.checked_sub(1) else {
            present.fill(true);
            return 0;
        };
        if self.is_exact() {
            let set = question / rows;
            present.iter_mut().enumerate().for_each(|(tag, is)| *is = set >> tag & 1 == 1);
            return question % rows;
        }
        present.fill(false);
        let Some(step) = question.checked_sub(rows) else { return question };
        let (order, joined) = (step / (self.tags - 1), step % (self.tags - 1) + 1);
        self.orders[order][..joined].iter().for_each(|tag| present[*tag] = true);
        order / 2 % rows
    }

    #[expect(clippy::cast_precision_loss, reason = "small counts")]
    fn exact(&self) -> Vec<f64> {
        let rows = self.background.len();
        let mut worth: Vec<f64> = self.scores[1..]
            .chunks(rows)
            .map(|scores| scores.iter().sum::<f64>() / rows as f64)
            .collect();
        worth.push(self.scores[0]);
        let mut weights = vec![1.0 / self.tags as f64];
        for size in 1..self.tags {
            let previous = weights[size - 1];
            weights.push(previous * size as f64 / (self.tags - size) as f64);
        }
        let push = |tag: usize| {
            let without = (0..worth.len()).filter(|set| set >> tag & 1 == 0);
            let gain = |set: usize| {
                weights[set.count_ones() as usize] * (worth[set | 1 << tag] - worth[set])
            };
            without.map(gain).sum()
        };
        (0..self.tags).map(push).collect()
    }

    #[expect(clippy::cast_precision_loss, reason = "small counts")]
    fn sampled(&self) -> Option<Vec<f64>> {
        let (rows, steps) = (self.background.len(), self.tags - 1);
        let answered = self.scores.len().checked_sub(1 + rows)? / steps;
        let orders = answered - answered % (2 * rows);
        if orders == 0 {
            return None;
        }
        let (whole, empty) = (self.scores[0], &self.scores[1..=rows]);
        let mut pushes = vec![0.0; self.tags];
        let walks = self.scores[1 + rows..].chunks(steps);
        for (at, (order, walk)) in self.orders.iter().zip(walks).take(orders).enumerate() {
            let mut before = empty[at / 2 % rows];
            for (tag, after) in order.iter().zip(walk.iter().chain([&whole])) {
                pushes[*tag] += after - before;
                before = *after;
            }
        }
        pushes.iter_mut().for_each(|push| *push /= orders as f64);
        Some(pushes)
    }
}

/// `pairs` random orders, each followed by itself backwards.
fn orders(tags: usize, pairs: usize, seed: u64) -> Vec<Vec<usize>> {
    let mut state = seed;
    let mut orders = Vec::with_capacity(2 * pairs);
    for _ in 0..pairs {
        let mut order: Vec<usize> = (0..tags).collect();
        for last in (1..tags).rev() {
            order.swap(last, below(&mut state, last + 1));
        }
        let backwards = order.iter().rev().copied().collect();
        orders.extend([order, backwards]);
    }
    orders
}

/// FNV-1a.
fn seed(text: &str) -> u64 {
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    text.bytes().fold(0xcbf2_9ce4_8422_2325, step)
}

/// A number from 0 to below `limit`, by SplitMix64.
fn below(state: &mut u64, limit: usize) -> usize {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut word = *state;
    word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^= word >> 31;
    let scaled = (u128::from(word) * limit as u128) >> 64;
    usize::try_from(scaled).expect("below a usize")
}
