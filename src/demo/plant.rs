//! A simulated line: six milling spindles and three hydraulic presses. No I/O, no clock.
//!
//! The same seed and plan give the same readings, however the time between is cut into steps.
//!
//! **A spindle** works through a part program of six tools, each with its own speed and
//! cutting load, with a pause to change the tool and a longer one to change the part. Load
//! (%) is the cutting force, the friction and the effort to spin up; tools dull over some
//! sixty parts and pull the load up by up to 8 %, which is healthy. Current (A) follows the
//! load at right angles to the magnetising current. Temperature (degC) lags behind load and
//! speed on top of the hall's. Vibration (mm/s rms) is unbalance, which grows with the square
//! of the speed, chatter, which grows with the cut, and the bearing, which grows with speed.
//!
//! *Bearing wear* makes the bearing knock and rub: a fast tool shows it plainly in the
//! vibration, a slow one hides it below what a fast one does in health; load and temperature
//! creep up. So no fixed limit finds it early, but speed, load and vibration together do. A
//! repair replaces the bearing cartridge. *Coolant loss* leaves the heat in the machine.
//!
//! **A press** makes a stroke some every three seconds. The accumulator holds 180 bar and
//! gives a little in each stroke; force (kN) follows the stroke and the pressure. A *leak*
//! lets the pressure sag, the stroke weaken, the cycle lengthen and the oil warm up.
//!
//! Machines of one type differ by a few per cent, the hall's temperature drifts, and sensors
//! are noisy and have a resolution. Heat moves much faster than in real iron, so that twenty
//! seconds of a demonstration show what takes an hour on a shop floor.

use std::time::Duration;

use super::fault::{FaultKind, FaultPlan};
use super::press::{self, Press};
use super::rng::Rng;
use super::spindle::{self, Condition, Spindle};
use crate::time::Timestamp;

pub const SPINDLES: [&str; 6] =
    ["spindle-1", "spindle-2", "spindle-3", "spindle-4", "spindle-5", "spindle-6"];
pub const PRESSES: [&str; 3] = ["press-1", "press-2", "press-3"];
pub const SPINDLE_TAGS: [&str; 5] = spindle::TAGS;
pub const PRESS_TAGS: [&str; 4] = press::TAGS;
pub const SPINDLE_PERIOD: Duration = Duration::from_millis(100);
pub const PRESS_PERIOD: Duration = Duration::from_millis(200);

/// One value of one sensor; NaN from a sensor that has dropped out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reading {
    pub time: Timestamp,
    pub asset: &'static str,
    pub tag: &'static str,
    pub value: f64,
}

/// The truth about an asset, for training and scoring.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Label {
    /// Degree of bearing wear, 0 to 1.
    pub wear: f64,
    /// A [`FaultKind`]'s word, or `none`.
    pub fault: &'static str,
}

#[derive(Clone, Debug)]
pub struct Plant {
    plan: FaultPlan,
    started: Option<Timestamp>,
    ticks: u32,
    hall: Hall,
    spindles: Vec<Sensed<Spindle, { SPINDLE_TAGS.len() }>>,
    presses: Vec<Sensed<Press, { PRESS_TAGS.len() }>>,
    bursts: Rng,
    readings: Vec<Reading>,
}

/// A machine and what its sensors last showed.
#[derive(Clone, Debug)]
struct Sensed<M, const N: usize> {
    name: &'static str,
    machine: M,
    shown: [f64; N],
}

/// Ticks a press reading takes; a spindle reads every tick.
const PRESS_TICKS: u32 = 2;

impl Plant {
    pub fn new(seed: u64, faults: FaultPlan) -> Self {
        let spindles = (1..).zip(SPINDLES).map(|(stream, name)| Sensed {
            name,
            machine: Spindle::new(seed, stream),
            shown: [f64::NAN; SPINDLE_TAGS.len()],
        });
        let presses = (101..).zip(PRESSES).map(|(stream, name)| Sensed {
            name,
            machine: Press::new(seed, stream),
            shown: [f64::NAN; PRESS_TAGS.len()],
        });
        Self {
            plan: faults,
            started: None,
            ticks: 0,
            hall: Hall::new(seed),
            spindles: spindles.collect(),
            presses: presses.collect(),
            bursts: Rng::new(seed, 201),
            readings: Vec::new(),
        }
    }

    /// All readings that fell due since the last call, in time order, up to and including
    /// `now`. The first call starts the plant: its readings bear `now` itself.
    pub fn step(&mut self, now: Timestamp) -> &[Reading] {
        self.readings.clear();
        let started = *self.started.get_or_insert(now);
        loop {
            let elapsed = SPINDLE_PERIOD * self.ticks;
            let due = started.saturating_add(elapsed);
            if due > now {
                return &self.readings;
            }
            self.tick(due, elapsed);
            self.ticks += 1;
        }
    }

    /// When the next reading falls due; none before the first step.
    pub fn next_due(&self) -> Option<Timestamp> {
        Some(self.started?.saturating_add(SPINDLE_PERIOD * self.ticks))
    }

    /// The truth about `asset` at its latest reading.
    pub fn label(&self, asset: &str) -> Label {
        let mut label = Label { wear: 0.0, fault: "none" };
        for (kind, degree) in self.plan.active(asset, self.elapsed()) {
            label.fault = kind.as_str();
            if kind == FaultKind::BearingWear {
                label.wear = degree;
            }
        }
        label
    }

    /// A burst of `count` raw vibration values (m/s2) at `rate` a second, as an accelerometer
    /// on the spindle nose gives it: the rotation, its first harmonic, noise, and a ringing
    /// at each pass of a ball once the bearing is worn. Empty for anything but a spindle.
    pub fn vibration_burst(&mut self, asset: &str, count: usize, rate: f64) -> Vec<f32> {
        let wear = self.label(asset).wear;
        let Some(spindle) = self.spindles.iter().find(|spindle| spindle.name == asset) else {
            return Vec::new();
        };
        let hertz = spindle.machine.speed() / 60.0;
        burst(&mut self.bursts, hertz, wear, count, rate)
    }

    fn elapsed(&self) -> Duration {
        SPINDLE_PERIOD * self.ticks.saturating_sub(1)
    }

    fn tick(&mut self, time: Timestamp, elapsed: Duration) {
        let ambient = self.hall.temperature(elapsed);
        for spindle in &mut self.spindles {
            let mut condition = Condition::default();
            for (kind, degree) in self.plan.active(spindle.name, elapsed) {
                match kind {
                    FaultKind::BearingWear => condition.wear = degree,
                    FaultKind::CoolantLoss => condition.coolant_loss = degree,
                    _ => {}
                }
            }
            let values = spindle.machine.step(condition, ambient);
            let faults = self.plan.active(spindle.name, elapsed);
            spindle.show(values, SPINDLE_TAGS, faults, time, &mut self.readings);
        }
        if !self.ticks.is_multiple_of(PRESS_TICKS) {
            return;
        }
        for press in &mut self.presses {
            let leak = self
                .plan
                .active(press.name, elapsed)
                .filter(|(kind, _)| *kind == FaultKind::HydraulicLeak)
                .fold(0.0, |_, (_, degree)| degree);
            let values = press.machine.step(leak, ambient);
            let faults = self.plan.active(press.name, elapsed);
            press.show(values, PRESS_TAGS, faults, time, &mut self.readings);
        }
    }
}

impl<M, const N: usize> Sensed<M, N> {
    fn show(
        &mut self,
        values: [f64; N],
        tags: [&'static str; N],
        faults: impl Iterator<Item = (FaultKind, f64)>,
        time: Timestamp,
        readings: &mut Vec<Reading>,
    ) {
        let mut shown = values;
        for (kind, _) in faults {
            for (at, tag) in tags.iter().enumerate() {
                match kind {
                    FaultKind::Stuck(stuck) if stuck == *tag => shown[at] = self.shown[at],
                    FaultKind::Dropout(gone) if gone == *tag => shown[at] = f64::NAN,
                    _ => {}
                }
            }
        }
        self.shown = shown;
        readings.extend(tags.into_iter().zip(shown).map(|(tag, value)| Reading {
            time,
            asset: self.name,
            tag,
            value,
        }));
    }
}

/// The hall's air: the heating's rhythm and the day's.
#[derive(Clone, Debug)]
struct Hall {
    heating: f64,
    day: f64,
}

impl Hall {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed, 0);
        Self { heating: rng.unit(), day: rng.unit() }
    }

    fn temperature(&self, elapsed: Duration) -> f64 {
        let turn = |period: f64, phase: f64| {
            (std::f64::consts::TAU * (elapsed.as_secs_f64() / period + phase)).sin()
        };
        22.0 + 1.2 * turn(1_500.0, self.heating) + 1.0 * turn(8.0 * 3_600.0, self.day)
    }
}

/// Passes of a ball over a spall in the outer race, a turn.
const BALL_PASSES: f64 = 7.14;
const RINGING_HERTZ: f64 = 2_100.0;
const RINGING_DECAY: f64 = 900.0;

#[expect(clippy::cast_possible_truncation, reason = "a sensor value fits f32")]
fn burst(rng: &mut Rng, hertz: f64, wear: f64, count: usize, rate: f64) -> Vec<f32> {
    let force = (hertz / 160.0).powi(2);
    (0..count)
        .map(|at| {
            let seconds = at as f64 / rate;
            let turns = hertz * seconds;
            let rotation = (std::f64::consts::TAU * turns).sin()
                + 0.3 * (2.0 * std::f64::consts::TAU * turns).sin();
            let since_pass = (turns * BALL_PASSES).fract() / (hertz * BALL_PASSES).max(1.0);
            let ringing = (-RINGING_DECAY * since_pass).exp()
                * (std::f64::consts::TAU * RINGING_HERTZ * since_pass).sin();
            (2.0 * force * rotation + 9.0 * wear * force * ringing + 0.4 * rng.bell()) as f32
        })
        .collect()
}
