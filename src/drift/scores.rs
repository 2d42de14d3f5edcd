//! How a prediction's scores are spread.

/// Bars of the distribution.
pub const SCORE_BINS: usize = 24;

/// A histogram over the last frames: what has settled, and what comes in now.
#[derive(Clone, Debug, PartialEq)]
pub struct Scores {
    /// From the lowest bar's beginning to the highest bar's end; what lies outside is in the
    /// first or the last bar.
    pub range: [f64; 2],
    settled: [u32; SCORE_BINS],
    filling: [u32; SCORE_BINS],
}

impl Scores {
    /// From 0 to twice the limit, so that the limit stands in the middle.
    pub fn around(raise: Option<f64>) -> Self {
        let raise = raise.filter(|raise| raise.is_finite() && *raise != 0.0).unwrap_or(0.5);
        let range = if raise > 0.0 { [0.0, 2.0 * raise] } else { [2.0 * raise, 0.0] };
        Self { range, settled: [0; SCORE_BINS], filling: [0; SCORE_BINS] }
    }

    #[expect(clippy::cast_possible_truncation, reason = "clamped to the bars")]
    #[expect(clippy::cast_sign_loss, reason = "clamped to the bars")]
    pub(super) fn add(&mut self, score: f64) {
        let [low, high] = self.range;
        let at = (score - low) / (high - low) * SCORE_BINS as f64;
        self.filling[(at.max(0.0) as usize).min(SCORE_BINS - 1)] += 1;
    }

    pub(super) fn settle(&mut self) {
        self.settled = std::mem::replace(&mut self.filling, [0; SCORE_BINS]);
    }

    pub fn counts(&self) -> Vec<u32> {
        self.settled.iter().zip(&self.filling).map(|(a, b)| a + b).collect()
    }
}
