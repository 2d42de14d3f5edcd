//! The plant as a table: the training data of `spindle-anomaly`.

use std::io::{self, Write};
use std::time::Duration;

use super::fault::FaultPlan;
use super::plant::{Plant, SPINDLE_PERIOD, SPINDLE_TAGS, SPINDLES};
use crate::time::Timestamp;

pub const COLUMNS: &str = "time_ms,asset,wear,fault,speed,load,current,temperature,vibration";

/// Writes `minutes` of the spindles' readings, a row a spindle and a tenth of a second, with
/// the truth beside them. Time starts at 0; a sensor that has dropped out leaves its cell empty.
pub fn write_csv(out: impl Write, seed: u64, minutes: u32, faults: FaultPlan) -> io::Result<()> {
    let mut out = io::BufWriter::new(out);
    let mut plant = Plant::new(seed, faults);
    let length = Duration::from_secs(60) * minutes;
    writeln!(out, "{COLUMNS}")?;
    let mut elapsed = Duration::ZERO;
    while elapsed < length {
        let time = Timestamp::default().saturating_add(elapsed);
        let readings = plant.step(time).to_vec();
        let spindles = readings.chunks(SPINDLE_TAGS.len()).zip(SPINDLES);
        for (row, asset) in spindles {
            let label = plant.label(asset);
            write!(out, "{},{asset},{:.3},{}", time.as_millis(), label.wear, label.fault)?;
            for reading in row {
                if reading.value.is_finite() {
                    write!(out, ",{}", reading.value)?;
                } else {
                    write!(out, ",")?;
                }
            }
            writeln!(out)?;
        }
        elapsed += SPINDLE_PERIOD;
    }
    out.flush()
}
