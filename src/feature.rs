//! Features: one number for what a tag did during a window.
//!
//! Formulas as in `docs/model-card.md`. A feature that cannot be computed is `None`, never 0.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use realfft::num_complex::Complex;
use realfft::{RealFftPlanner, RealToComplex};
use serde::Deserialize;

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Statistic {
    Mean,
    Std,
    Min,
    Max,
    Rms,
    PeakToPeak,
    CrestFactor,
    Kurtosis,
    Slope,
    Last,
    BandPower { low_hz: f64, high_hz: f64 },
}

/// Of the last values of two tags.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Operation {
    Product,
    Difference,
    Ratio,
}

/// One column of a `features` model; tags by their place in the model's order.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Feature {
    OfTag { tag: usize, statistic: Statistic },
    OfTwo { operation: Operation, of: [usize; 2], factor: f64 },
}

impl Feature {
    pub fn reads(&self, tag: usize) -> bool {
        match self {
            Self::OfTag { tag: read, .. } => *read == tag,
            Self::OfTwo { of, .. } => of.contains(&tag),
        }
    }
}

impl Operation {
    pub fn of(self, a: f64, b: f64) -> Option<f64> {
        match self {
            Self::Product => Some(a * b),
            Self::Difference => Some(a - b),
            Self::Ratio => (b != 0.0).then(|| a / b),
        }
    }
}

impl Statistic {
    const PLAIN: [(&'static str, Self); 10] = [
        ("mean", Self::Mean),
        ("std", Self::Std),
        ("min", Self::Min),
        ("max", Self::Max),
        ("rms", Self::Rms),
        ("peak_to_peak", Self::PeakToPeak),
        ("crest_factor", Self::CrestFactor),
        ("kurtosis", Self::Kurtosis),
        ("slope", Self::Slope),
        ("last", Self::Last),
    ];

    pub fn from_word(word: &str, low: Option<f64>, high: Option<f64>) -> Result<Self, String> {
        if word == "band_power" {
            return match (low, high) {
                (Some(low_hz), Some(high_hz)) if 0.0 <= low_hz && low_hz < high_hz => {
                    Ok(Self::BandPower { low_hz, high_hz })
                }
                _ => Err("band_power needs `low_hz` and a higher `high_hz`".into()),
            };
        }
        if low.is_some() || high.is_some() {
            return Err("`low_hz` and `high_hz` go with band_power; leave them out".into());
        }
        let found = Self::PLAIN.iter().find(|(name, _)| *name == word);
        found.map(|(_, statistic)| *statistic).ok_or_else(|| {
            let known: Vec<_> = Self::PLAIN.iter().map(|(name, _)| *name).collect();
            format!("`{word}` is unknown; write one of {}, band_power", known.join(", "))
        })
    }
}

/// The values of one tag, oldest first, none missing.
#[derive(Clone, Copy, Debug)]
pub struct Signal<'a> {
    pub values: &'a [f64],
    /// From any origin.
    pub seconds: &'a [f64],
    /// Values a second; absent: taken from the times.
    pub rate: Option<f64>,
}

const LEAST_FOR_BANDS: usize = 8;
/// Share of a bin by which a band's edge may be missed, so that rounding moves no bin.
const EDGE: f64 = 1e-6;

impl<'a> Signal<'a> {
    pub fn analyse(self, spectra: &'a mut Spectra) -> Analysis<'a> {
        Analysis { signal: self, spectra, moments: None, powers: None }
    }

    #[expect(clippy::cast_precision_loss, reason = "counts of samples")]
    fn slope(self) -> Option<f64> {
        let n = self.values.len() as f64;
        let mean_time = self.seconds.iter().sum::<f64>() / n;
        let mean = self.values.iter().sum::<f64>() / n;
        let (mut rise, mut run) = (0.0, 0.0);
        for (value, time) in self.values.iter().zip(self.seconds) {
            rise += (time - mean_time) * (value - mean);
            run += (time - mean_time) * (time - mean_time);
        }
        (self.values.len() >= 2 && run > 0.0).then(|| rise / run)
    }

    #[expect(clippy::cast_precision_loss, reason = "counts of samples")]
    fn rate(self) -> Option<f64> {
        self.rate.or_else(|| {
            let span = self.seconds.last()? - self.seconds.first()?;
            (span > 0.0).then(|| (self.values.len() - 1) as f64 / span)
        })
    }
}

/// Statistics of one signal; what several of them need is computed once.
pub struct Analysis<'a> {
    signal: Signal<'a>,
    spectra: &'a mut Spectra,
    moments: Option<Moments>,
    powers: Option<usize>,
}

impl Analysis<'_> {
    pub fn value(&mut self, statistic: Statistic) -> Option<f64> {
        match statistic {
            Statistic::Slope => self.signal.slope(),
            Statistic::Last => self.signal.values.last().copied(),
            Statistic::BandPower { low_hz, high_hz } => self.band_power(low_hz, high_hz),
            plain => self.moments().map(|moments| moments.value(plain)),
        }
    }

    fn moments(&mut self) -> Option<Moments> {
        if self.moments.is_none() && !self.signal.values.is_empty() {
            self.moments = Some(Moments::of(self.signal.values));
        }
        self.moments
    }

    #[expect(clippy::cast_precision_loss, reason = "counts of samples")]
    fn band_power(&mut self, low_hz: f64, high_hz: f64) -> Option<f64> {
        let n = self.signal.values.len();
        if n < LEAST_FOR_BANDS {
            return None;
        }
        let step = self.signal.rate()? / n as f64;
        let mean = self.moments()?.mean;
        if self.powers.is_none() {
            self.spectra.transform(self.signal.values, mean);
            self.powers = Some(n);
        }
        let plan = self.spectra.plans.get(&n)?;
        let edge = EDGE * step;
        let band = low_hz - edge..high_hz - edge;
        let in_band = |bin: &usize| band.contains(&(*bin as f64 * step));
        Some((0..plan.output.len()).filter(in_band).map(|bin| plan.power(bin)).sum())
    }
}

#[derive(Clone, Copy, Debug)]
struct Moments {
    mean: f64,
    /// Central, over n.
    second: f64,
    fourth: f64,
    square: f64,
    min: f64,
    max: f64,
}

/// Below this share of the largest value a spread is only rounding.
const FLAT: f64 = 1e-9;

impl Moments {
    #[expect(clippy::cast_precision_loss, reason = "counts of samples")]
    fn of(values: &[f64]) -> Self {
        let n = values.len() as f64;
        let (mut sum, mut square) = (0.0, 0.0);
        let (mut min, mut max) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in values {
            sum += value;
            square += value * value;
            min = min.min(*value);
            max = max.max(*value);
        }
        let mean = sum / n;
        let (mut second, mut fourth) = (0.0, 0.0);
        for value in values {
            let deviation = (value - mean) * (value - mean);
            second += deviation;
            fourth += deviation * deviation;
        }
        Self { mean, second: second / n, fourth: fourth / n, square: square / n, min, max }
    }

    fn largest(&self) -> f64 {
        self.max.abs().max(self.min.abs())
    }

    fn value(&self, statistic: Statistic) -> f64 {
        match statistic {
            Statistic::Mean => self.mean,
            Statistic::Std => self.second.sqrt(),
            Statistic::Min => self.min,
            Statistic::Max => self.max,
            Statistic::Rms => self.square.sqrt(),
            Statistic::PeakToPeak => self.max - self.min,
            Statistic::CrestFactor if self.square == 0.0 => 0.0,
            Statistic::CrestFactor => self.largest() / self.square.sqrt(),
            Statistic::Kurtosis if self.second.sqrt() <= FLAT * self.largest() => 0.0,
            Statistic::Kurtosis => self.fourth / (self.second * self.second),
            Statistic::Slope | Statistic::Last | Statistic::BandPower { .. } => {
                unreachable!("not a statistic of moments")
            }
        }
    }
}

/// Plans and buffers for Fourier transforms, by length.
pub struct Spectra {
    planner: RealFftPlanner<f64>,
    plans: HashMap<usize, Plan>,
}

/// Without a period the length varies from window to window.
const MOST_PLANS: usize = 16;

impl Default for Spectra {
    fn default() -> Self {
        Self { planner: RealFftPlanner::new(), plans: HashMap::new() }
    }
}

impl fmt::Debug for Spectra {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spectra").field("plans", &self.plans.len()).finish_non_exhaustive()
    }
}

impl Spectra {
    fn transform(&mut self, values: &[f64], mean: f64) {
        let n = values.len();
        if self.plans.len() >= MOST_PLANS && !self.plans.contains_key(&n) {
            self.plans.clear();
            self.planner = RealFftPlanner::new();
        }
        let planner = &mut self.planner;
        self.plans.entry(n).or_insert_with(|| Plan::new(planner, n)).transform(values, mean);
    }
}

struct Plan {
    transform: Arc<dyn RealToComplex<f64>>,
    /// Periodic Hann.
    taper: Vec<f64>,
    /// One over (n times the taper's sum of squares).
    scale: f64,
    input: Vec<f64>,
    output: Vec<Complex<f64>>,
    scratch: Vec<Complex<f64>>,
}

impl Plan {
    #[expect(clippy::cast_precision_loss, reason = "counts of samples")]
    fn new(planner: &mut RealFftPlanner<f64>, n: usize) -> Self {
        let transform = planner.plan_fft_forward(n);
        let turn = std::f64::consts::TAU / n as f64;
        let taper: Vec<f64> = (0..n).map(|k| 0.5 - 0.5 * (turn * k as f64).cos()).collect();
        let energy: f64 = taper.iter().map(|weight| weight * weight).sum();
        Self {
            scale: 1.0 / (n as f64 * energy),
            input: transform.make_input_vec(),
            output: transform.make_output_vec(),
            scratch: transform.make_scratch_vec(),
            taper,
            transform,
        }
    }

    fn transform(&mut self, values: &[f64], mean: f64) {
        for ((input, value), weight) in self.input.iter_mut().zip(values).zip(&self.taper) {
            *input = (value - mean) * weight;
        }
        self.transform
            .process_with_scratch(&mut self.input, &mut self.output, &mut self.scratch)
            .expect("the buffers come from the plan");
    }

    /// The variance in one bin of the one-sided spectrum.
    fn power(&self, bin: usize) -> f64 {
        let even = self.taper.len().is_multiple_of(2);
        let alone = bin == 0 || (even && bin == self.output.len() - 1);
        self.output[bin].norm_sqr() * self.scale * if alone { 1.0 } else { 2.0 }
    }
}

#[cfg(test)]
mod tests;
