//! ADWIN: a window over a stream that shrinks when its older part has another mean than its newer.
//!
//! A. Bifet, R. Gavalda, Learning from Time-Changing Data with Adaptive Windowing, SDM 2007; the
//! variance after Babcock et al., PODS 2003. Detections and figures are those of river's `ADWIN`,
//! to the last comparison, so what it decides is decided here in the same order.

use std::collections::VecDeque;

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdwinSettings {
    /// How sure a detection is; smaller is surer.
    pub delta: f64,
    /// A look every so many values.
    pub clock: u64,
    /// Buckets of one size before two of them become one of the next.
    pub buckets: usize,
    /// Values in either part of a cut.
    pub least: f64,
    /// Values before the first look.
    pub grace: f64,
}

impl Default for AdwinSettings {
    fn default() -> Self {
        Self { delta: 0.002, clock: 32, buckets: 5, least: 5.0, grace: 10.0 }
    }
}

/// Sum and squared deviations of `2^row` values.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    total: f64,
    variance: f64,
}

#[derive(Clone, Debug)]
pub struct Adwin {
    settings: AdwinSettings,
    /// By size, the oldest of a size first. The last row holds the oldest values.
    rows: Vec<VecDeque<Bucket>>,
    width: f64,
    total: f64,
    variance: f64,
    ticks: u64,
    detected: bool,
}

impl Adwin {
    pub fn new(settings: AdwinSettings) -> Self {
        Self {
            settings,
            rows: vec![VecDeque::new()],
            width: 0.0,
            total: 0.0,
            variance: 0.0,
            ticks: 0,
            detected: false,
        }
    }

    /// Takes a value; true when the mean has changed. After that it begins anew.
    pub fn update(&mut self, value: f64) -> bool {
        if self.detected {
            *self = Self::new(self.settings);
        }
        self.insert(value);
        self.ticks += 1;
        if self.ticks.is_multiple_of(self.settings.clock) && self.width > self.settings.grace {
            while self.cut() {
                self.detected = true;
            }
        }
        self.detected
    }

    /// Values that are remembered.
    pub const fn width(&self) -> f64 {
        self.width
    }

    pub const fn total(&self) -> f64 {
        self.total
    }

    /// The mean of what is remembered; 0 of nothing.
    pub fn mean(&self) -> f64 {
        if self.width == 0.0 { 0.0 } else { self.total / self.width }
    }

    fn insert(&mut self, value: f64) {
        self.rows[0].push_back(Bucket { total: value, variance: 0.0 });
        self.width += 1.0;
        if self.width > 1.0 {
            let before = self.width - 1.0;
            let off = value - self.total / before;
            self.variance += before * off * off / self.width;
        }
        self.total += value;
        self.compress();
    }

    fn compress(&mut self) {
        for row in 0..self.rows.len() {
            if self.rows[row].len() <= self.settings.buckets {
                break;
            }
            if row + 1 == self.rows.len() {
                self.rows.push(VecDeque::new());
            }
            let (Some(a), Some(b)) = (self.rows[row].pop_front(), self.rows[row].pop_front())
            else {
                break;
            };
            let size = size(row);
            let off = a.total / size - b.total / size;
            let between = size * size * off * off / (size + size);
            let merged =
                Bucket { total: a.total + b.total, variance: a.variance + b.variance + between };
            self.rows[row + 1].push_back(merged);
        }
    }

    /// Drops the oldest bucket if any cut of the window shows two means.
    fn cut(&mut self) -> bool {
        let mut old = Part { size: 0.0, total: 0.0 };
        let mut new = Part { size: self.width, total: self.total };
        for (row, buckets) in self.rows.iter().enumerate().rev() {
            for (at, bucket) in buckets.iter().enumerate() {
                old.size += size(row);
                new.size -= size(row);
                old.total += bucket.total;
                new.total -= bucket.total;
                if row == 0 && at + 1 == buckets.len() {
                    return false;
                }
                let least = self.settings.least;
                if old.size >= least && new.size >= least && self.differ(&old, &new) {
                    self.drop_oldest();
                    return true;
                }
            }
        }
        false
    }

    fn differ(&self, old: &Part, new: &Part) -> bool {
        let difference = old.total / old.size - new.total / new.size;
        let doubt = (2.0 * self.width.ln() / self.settings.delta).ln();
        let least = self.settings.least;
        let weight = 1.0 / (old.size - least + 1.0) + 1.0 / (new.size - least + 1.0);
        let variance = self.variance / self.width;
        let epsilon = (2.0 * weight * variance * doubt).sqrt() + 2.0 / 3.0 * doubt * weight;
        difference.abs() > epsilon
    }

    fn drop_oldest(&mut self) {
        let row = self.rows.len() - 1;
        let Some(bucket) = self.rows[row].pop_front() else { return };
        let size = size(row);
        self.width -= size;
        self.total -= bucket.total;
        let off = bucket.total / size - self.total / self.width;
        self.variance -= bucket.variance + size * self.width * off * off / (size + self.width);
        if self.rows[row].is_empty() && row > 0 {
            self.rows.pop();
        }
    }
}

struct Part {
    size: f64,
    total: f64,
}

/// Values in a bucket of `row`.
fn size(row: usize) -> f64 {
    f64::powi(2.0, i32::try_from(row).unwrap_or(i32::MAX))
}
