//! `andon check`: every error at once, each with file, line and column.

use std::path::Path;
use std::process::ExitCode;

use crate::plan::{self, Plan};

pub(super) fn main(file: &Path) -> anyhow::Result<ExitCode> {
    let Some(plan) = plan(file) else {
        return Ok(ExitCode::FAILURE);
    };
    let settings = &plan.settings;
    println!(
        "{}: good. {} MQTT subscriptions, {} Modbus devices, {} predictions, {} rules.",
        file.display(),
        settings.mqtt.len(),
        settings.modbus.len(),
        settings.prediction.len(),
        settings.rule.len(),
    );
    Ok(ExitCode::SUCCESS)
}

/// A configuration whose models have been loaded too, or `None` after printing what is wrong.
pub(super) fn plan(file: &Path) -> Option<Plan> {
    match plan::read(file) {
        Ok(checked) => {
            for warning in &checked.warnings {
                eprintln!("{warning}");
            }
            let models = checked.models.expect("`read` loads the models");
            Some(Plan { settings: checked.settings, models })
        }
        Err(diagnostics) => {
            eprintln!("{diagnostics}");
            None
        }
    }
}
