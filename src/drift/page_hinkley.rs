//! The Page-Hinkley test: has the mean of a stream moved?
//!
//! E. S. Page, Continuous Inspection Schemes, Biometrika 41, 1954; with the forgetting factor,
//! the defaults and, step for step, the answers of river's `PageHinkley`.

/// Which way the mean may move.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Side {
    Up,
    Down,
    #[default]
    Both,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PageHinkleySettings {
    /// Values before the first answer.
    pub least: u64,
    /// Deviation that is let pass.
    pub delta: f64,
    pub threshold: f64,
    /// How much of the sums is kept from one value to the next.
    pub alpha: f64,
    pub side: Side,
}

impl Default for PageHinkleySettings {
    fn default() -> Self {
        Self { least: 30, delta: 0.005, threshold: 50.0, alpha: 1.0 - 0.0001, side: Side::Both }
    }
}

#[derive(Clone, Debug)]
pub struct PageHinkley {
    settings: PageHinkleySettings,
    state: State,
    detected: bool,
}

#[derive(Clone, Copy, Debug)]
struct State {
    count: u64,
    mean: f64,
    increase: f64,
    decrease: f64,
    lowest: f64,
    highest: f64,
}

/// `highest` begins at -1, as in river: a first fall counts from there.
const BEGIN: State = State {
    count: 0,
    mean: 0.0,
    increase: 0.0,
    decrease: 0.0,
    lowest: f64::INFINITY,
    highest: -1.0,
};

impl PageHinkley {
    pub const fn new(settings: PageHinkleySettings) -> Self {
        Self { settings, state: BEGIN, detected: false }
    }

    /// Takes a value; true when the mean has moved. After that it begins anew.
    pub fn update(&mut self, value: f64) -> bool {
        if self.detected {
            self.state = BEGIN;
        }
        let PageHinkleySettings { least, delta, threshold, alpha, side } = self.settings;
        let state = &mut self.state;
        state.count += 1;
        #[expect(clippy::cast_precision_loss, reason = "a count of values")]
        let count = state.count as f64;
        state.mean += (value - state.mean) / count;
        let deviation = value - state.mean;
        state.increase = alpha * state.increase + deviation - delta;
        state.decrease = alpha * state.decrease + deviation + delta;
        state.lowest = state.lowest.min(state.increase);
        state.highest = state.highest.max(state.decrease);
        let up = state.increase - state.lowest > threshold;
        let down = state.highest - state.decrease > threshold;
        self.detected = state.count >= least
            && match side {
                Side::Up => up,
                Side::Down => down,
                Side::Both => up || down,
            };
        self.detected
    }

    /// Of the values since the last detection.
    pub const fn mean(&self) -> f64 {
        self.state.mean
    }
}
