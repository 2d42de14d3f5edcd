//! The physics of one milling spindle, a tenth of a second at a time.

use super::rng::Rng;

/// Seconds between two readings.
pub(super) const STEP: f64 = 0.1;
pub(super) const TAGS: [&str; 5] = ["speed", "load", "current", "temperature", "vibration"];

/// How badly the spindle is off, each 0 to 1.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Condition {
    pub(super) wear: f64,
    pub(super) coolant_loss: f64,
}

/// One tool of the part program: speed in rpm, cutting load in %, time in seconds.
struct Operation {
    speed: f64,
    load: f64,
    time: f64,
}

const PROGRAM: [Operation; 6] = [
    Operation { speed: 4_200.0, load: 66.0, time: 1.9 },
    Operation { speed: 7_500.0, load: 46.0, time: 1.2 },
    Operation { speed: 11_000.0, load: 27.0, time: 2.2 },
    Operation { speed: 6_000.0, load: 40.0, time: 1.4 },
    Operation { speed: 2_600.0, load: 44.0, time: 0.9 },
    Operation { speed: 9_000.0, load: 34.0, time: 1.6 },
];

const SPEED_LAG: f64 = 0.15;
const LOAD_LAG: f64 = 0.08;
/// Far quicker than real iron and oil, so that twenty seconds show what an hour would.
const THERMAL_LAG: f64 = 8.0;

#[derive(Clone, Debug)]
pub(super) struct Spindle {
    rng: Rng,
    build: Build,
    operation: usize,
    cutting: bool,
    left: f64,
    speed: f64,
    cut: f64,
    /// Above ambient, from load and speed.
    heat: f64,
    /// Above ambient, from a worn bearing. Gone when the cartridge is replaced.
    friction_heat: f64,
    tool_wear: [f64; PROGRAM.len()],
    override_speed: f64,
}

/// What makes two spindles of one type differ.
#[derive(Clone, Debug)]
struct Build {
    load: f64,
    current: f64,
    heat: f64,
    unbalance: f64,
    floor: f64,
    bearing: f64,
    ambient: f64,
}

impl Spindle {
    pub(super) fn new(seed: u64, stream: u64) -> Self {
        let mut rng = Rng::new(seed, stream);
        let build = Build {
            load: 1.0 + 0.04 * rng.bell(),
            current: 1.0 + 0.03 * rng.bell(),
            heat: 1.0 + 0.05 * rng.bell(),
            unbalance: 1.0 + 0.10 * rng.bell(),
            floor: 0.25 + 0.02 * rng.bell(),
            bearing: 1.0 + 0.08 * rng.bell(),
            ambient: 0.6 * rng.bell(),
        };
        let tool_wear = std::array::from_fn(|_| rng.unit());
        let operation = (1..PROGRAM.len()).filter(|_| rng.unit() < 0.5).count();
        let left = rng.between(0.0, 5.0);
        let mut spindle = Self {
            rng,
            build,
            operation,
            cutting: true,
            left,
            speed: PROGRAM[operation].speed,
            cut: PROGRAM[operation].load,
            heat: 24.0,
            friction_heat: 0.0,
            tool_wear,
            override_speed: 1.0,
        };
        // Minutes of running before anybody looks: the machine is warm when the plant starts.
        for _ in 0..1_200 {
            spindle.step(Condition::default(), 22.0);
        }
        spindle
    }

    /// The next readings, in the order of [`TAGS`].
    pub(super) fn step(&mut self, condition: Condition, ambient: f64) -> [f64; TAGS.len()] {
        let wear = condition.wear;
        self.run_program();
        let operation = &PROGRAM[self.operation];

        let (target, cut) = if self.cutting {
            let tool = 1.0 + 0.08 * self.tool_wear[self.operation];
            (operation.speed * self.override_speed, operation.load * self.build.load * tool)
        } else {
            (0.0, 0.0)
        };
        let before = self.speed;
        self.speed += (target - self.speed) * approach(SPEED_LAG);
        // The tool only meets the part once the spindle turns.
        let meets = if self.cutting && self.speed > 0.85 * target { cut } else { 0.0 };
        self.cut += (meets - self.cut) * approach(LOAD_LAG);

        let turning = self.speed / 10_000.0;
        let spin_up = ((self.speed - before) / 10_000.0 / STEP).max(0.0) * 1.6;
        let friction = 3.0 * turning + 7.0 * wear * turning;
        let texture = 1.0 + 0.03 * self.rng.bell();
        let load = self.cut * texture + friction + spin_up;

        // Magnetising and torque current stand at right angles.
        let torque_current = 0.24 * load * self.build.current;
        let current =
            (4.2f64.powi(2) + torque_current.powi(2)).sqrt() * f64::from(self.speed > 50.0) + 0.3;

        let warming = (0.55 * load + 12.0 * turning) * self.build.heat;
        let cooling = 1.0 / (1.0 + 4.0 * condition.coolant_loss);
        self.heat += (warming - cooling * self.heat) * STEP / THERMAL_LAG;
        if wear > 0.0 {
            self.friction_heat +=
                (16.0 * wear * turning - cooling * self.friction_heat) * STEP / THERMAL_LAG;
        } else {
            self.friction_heat = 0.0;
        }
        let temperature = ambient + self.build.ambient + self.heat + self.friction_heat;

        let unbalance = 1.10 * turning.powi(2) * self.build.unbalance;
        let chatter = 0.009 * self.cut;
        let bearing = 0.35 * turning * self.build.bearing;
        // A spalled race knocks: more vibration, and a more ragged one.
        let knocks = turning * wear * (2.3 + 0.9 * self.rng.bell().abs());
        let spread = 1.0 + 0.06 * self.rng.bell();
        let vibration = (self.build.floor + unbalance + chatter + bearing) * spread + knocks;

        [
            quantise((self.speed * (1.0 + 0.0015 * self.rng.bell())).max(0.0), 1.0),
            quantise((load + 0.4 * self.rng.bell()).max(0.0), 0.1),
            quantise((current + 0.08 * self.rng.bell()).max(0.0), 0.01),
            quantise(temperature + 0.08 * self.rng.bell(), 0.01),
            quantise(vibration.max(0.05), 0.001),
        ]
    }

    pub(super) fn speed(&self) -> f64 {
        self.speed
    }

    fn run_program(&mut self) {
        self.left -= STEP;
        if self.left > 0.0 {
            return;
        }
        if self.cutting {
            self.cutting = false;
            self.wear_tool();
            self.operation = (self.operation + 1) % PROGRAM.len();
            // After the last tool the part is changed, which takes a little longer.
            let least = if self.operation == 0 { 0.9 } else { 0.4 };
            self.left = least + self.rng.between(0.0, 0.3);
        } else {
            self.cutting = true;
            self.override_speed = 1.0 + 0.01 * self.rng.bell();
            self.left = PROGRAM[self.operation].time * self.rng.between(0.92, 1.08);
        }
    }

    /// A tool dulls over some sixty parts, and is replaced.
    fn wear_tool(&mut self) {
        let wear = &mut self.tool_wear[self.operation];
        *wear += self.rng.between(0.01, 0.024);
        if *wear > 1.0 {
            *wear = 0.0;
        }
    }
}

fn approach(lag: f64) -> f64 {
    1.0 - (-STEP / lag).exp()
}

pub(super) fn quantise(value: f64, step: f64) -> f64 {
    let steps = (value / step).round();
    // Dividing by the inverse gives the shortest decimal: 3.7 and not 3.7000000000000006.
    let inverse = (1.0 / step).round();
    if inverse > 1.0 { steps / inverse } else { steps * step }
}
