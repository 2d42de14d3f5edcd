//! What goes wrong in the plant, where, when and how badly.

use std::time::Duration;

use super::plant::{PRESSES, SPINDLES};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// A spindle's bearing: vibration, friction and heat.
    BearingWear,
    /// A spindle's coolant: heat stays in the machine.
    CoolantLoss,
    /// A press: pressure sags, strokes slow down, oil warms up.
    HydraulicLeak,
    /// The sensor of this tag repeats its last value.
    Stuck(&'static str),
    /// The sensor of this tag gives no number (NaN).
    Dropout(&'static str),
}

impl FaultKind {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BearingWear => "bearing_wear",
            Self::CoolantLoss => "coolant_loss",
            Self::HydraulicLeak => "hydraulic_leak",
            Self::Stuck(_) => "stuck",
            Self::Dropout(_) => "dropout",
        }
    }
}

/// One fault of one asset. Its degree grows from 0 at `start` to 1 at `full`; at `end` it is
/// repaired. All times count from the plant's start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    pub asset: &'static str,
    pub kind: FaultKind,
    pub start: Duration,
    pub full: Duration,
    pub end: Duration,
}

/// Faults, and whether they come again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FaultPlan {
    pub faults: Vec<Fault>,
    /// The plan starts over after this time, each fault on the next machine of its kind.
    pub every: Option<Duration>,
}

impl FaultPlan {
    /// A healthy plant.
    pub fn none() -> Self {
        Self::default()
    }

    /// Every fault once in 20 seconds, then again on the next machines.
    pub fn demo() -> Self {
        let fault = |asset, kind, start: f64, full: f64, end: f64| Fault {
            asset,
            kind,
            start: Duration::from_secs_f64(start),
            full: Duration::from_secs_f64(full),
            end: Duration::from_secs_f64(end),
        };
        Self {
            faults: vec![
                fault(SPINDLES[2], FaultKind::BearingWear, 4.0, 8.0, 12.0),
                fault(SPINDLES[4], FaultKind::CoolantLoss, 4.0, 5.0, 13.0),
                fault(PRESSES[1], FaultKind::HydraulicLeak, 7.0, 10.0, 14.0),
                fault(PRESSES[2], FaultKind::Stuck("oil_temperature"), 6.0, 6.0, 13.0),
                fault(SPINDLES[5], FaultKind::Dropout("vibration"), 8.0, 8.0, 13.0),
            ],
            every: Some(Duration::from_secs(20)),
        }
    }

    /// The faults of `asset` at `elapsed` after the plant's start, with their degree, 0 to 1.
    pub(super) fn active(
        &self,
        asset: &str,
        elapsed: Duration,
    ) -> impl Iterator<Item = (FaultKind, f64)> {
        let (round, elapsed) = match self.every {
            Some(every) if !every.is_zero() => {
                let round = elapsed.as_nanos() / every.as_nanos();
                let within = elapsed.as_nanos() % every.as_nanos();
                let within = u64::try_from(within).expect("less than `every`, which is short");
                (usize::try_from(round).unwrap_or(0), Duration::from_nanos(within))
            }
            _ => (0, elapsed),
        };
        self.faults
            .iter()
            .filter(move |fault| (fault.start..fault.end).contains(&elapsed))
            .filter(move |fault| moved_on(fault.asset, round) == asset)
            .map(move |fault| (fault.kind, fault.degree(elapsed)))
    }
}

impl Fault {
    fn degree(&self, elapsed: Duration) -> f64 {
        if elapsed >= self.full {
            return 1.0;
        }
        let (grown, growth) = (elapsed - self.start, self.full - self.start);
        grown.as_secs_f64() / growth.as_secs_f64()
    }
}

/// The machine `steps` places after `asset` in its row.
fn moved_on(asset: &'static str, steps: usize) -> &'static str {
    let row: &[&'static str] = if SPINDLES.contains(&asset) { &SPINDLES } else { &PRESSES };
    match row.iter().position(|name| *name == asset) {
        Some(at) => row[(at + steps) % row.len()],
        None => asset,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn active(asset: &str, secs: f64) -> Vec<(FaultKind, f64)> {
        FaultPlan::demo().active(asset, Duration::from_secs_f64(secs)).collect()
    }

    #[test]
    fn a_fault_grows_and_is_repaired() {
        assert_eq!(active("spindle-3", 3.9), []);
        assert_eq!(active("spindle-3", 6.0), [(FaultKind::BearingWear, 0.5)]);
        assert_eq!(active("spindle-3", 10.0), [(FaultKind::BearingWear, 1.0)]);
        assert_eq!(active("spindle-3", 12.0), []);
    }

    #[test]
    fn the_next_round_hits_the_next_machines() {
        assert_eq!(active("spindle-3", 26.0), []);
        assert_eq!(active("spindle-4", 26.0), [(FaultKind::BearingWear, 0.5)]);
        assert_eq!(active("press-1", 20.0 + 6.5), [(FaultKind::Stuck("oil_temperature"), 1.0)]);
    }
}
