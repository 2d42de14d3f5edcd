//! The physics of one hydraulic press, a fifth of a second at a time.

use super::rng::Rng;
use super::spindle::quantise;

/// Seconds between two readings.
pub(super) const STEP: f64 = 0.2;
pub(super) const TAGS: [&str; 4] =
    ["hydraulic_pressure", "oil_temperature", "stroke_force", "cycle_time"];

const RECOVERY_LAG: f64 = 0.5;
const THERMAL_LAG: f64 = 30.0;
/// Share of the cycle after which the die closes, and opens again.
const CLOSE: f64 = 0.3;
const OPEN: f64 = 0.55;

#[derive(Clone, Debug)]
pub(super) struct Press {
    rng: Rng,
    /// Bar with everything tight.
    set_pressure: f64,
    /// Kilonewton at that pressure.
    peak_force: f64,
    /// Seconds.
    cycle: f64,
    this_cycle: f64,
    last_cycle: f64,
    since_start: f64,
    pressure: f64,
    heat: f64,
}

impl Press {
    pub(super) fn new(seed: u64, stream: u64) -> Self {
        let mut rng = Rng::new(seed, stream);
        let set_pressure = 180.0 + 2.0 * rng.bell();
        let cycle = 2.8 * (1.0 + 0.05 * rng.bell());
        Self {
            set_pressure,
            peak_force: 850.0 * (1.0 + 0.03 * rng.bell()),
            cycle,
            this_cycle: cycle,
            last_cycle: cycle,
            since_start: rng.between(0.0, cycle),
            pressure: set_pressure,
            heat: 24.0 + rng.bell(),
            rng,
        }
    }

    /// The next readings, in the order of [`TAGS`]. `leak` is 0 to 1.
    pub(super) fn step(&mut self, leak: f64, ambient: f64) -> [f64; TAGS.len()] {
        self.since_start += STEP;
        if self.since_start >= self.this_cycle {
            self.since_start -= self.this_cycle;
            self.last_cycle = self.this_cycle;
            self.this_cycle = self.cycle * (1.0 + 0.015 * self.rng.bell()) * (1.0 + 0.22 * leak);
        }
        let phase = self.since_start / self.this_cycle;
        let stroke = if (CLOSE..OPEN).contains(&phase) {
            (std::f64::consts::PI * (phase - CLOSE) / (OPEN - CLOSE)).sin()
        } else {
            0.0
        };

        let target = self.set_pressure * (1.0 - 0.38 * leak) - 14.0 * stroke;
        self.pressure += (target - self.pressure) * (1.0 - (-STEP / RECOVERY_LAG).exp());
        let force = self.peak_force * stroke * self.pressure / self.set_pressure;
        // The pump of a leaking press never rests.
        self.heat += (24.0 + 14.0 * leak - self.heat) * STEP / THERMAL_LAG;

        [
            quantise(self.pressure + 0.5 * self.rng.bell(), 0.1),
            quantise(ambient + self.heat + 0.05 * self.rng.bell(), 0.001),
            quantise((force + 2.0 * self.rng.bell()).max(0.0), 0.1),
            quantise(self.last_cycle, 0.01),
        ]
    }
}
