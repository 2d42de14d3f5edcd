//! `andon check`: every error at once, each with file, line and column.

use std::path::Path;
use std::process::ExitCode;

use crate::plan::{self, Checked, Plan};

pub(super) fn main(file: &Path) -> anyhow::Result<ExitCode> {
    let Some(plan) = plan(file) else {
        return Ok(ExitCode::FAILURE);
    };
    let settings = &plan.settings;
    println!(
        "{}: good. {} MQTT subscriptions, {} Modbus devices, {} folders, {} predictions, {} rules.",
        file.display(),
        settings.mqtt.len(),
        settings.modbus.len(),
        settings.folder.len(),
        settings.prediction.len(),
        settings.rule.len(),
    );
    Ok(ExitCode::SUCCESS)
}

/// A configuration whose models have been loaded too, or `None` after printing what is wrong.
pub(super) fn checked(file: &Path) -> Option<Checked> {
    plan::read(file)
        .inspect(|checked| {
            for warning in &checked.warnings {
                eprintln!("{warning}");
            }
        })
        .inspect_err(|diagnostics| eprintln!("{diagnostics}"))
        .ok()
}

pub(super) fn plan(file: &Path) -> Option<Plan> {
    checked(file).map(Checked::into_plan)
}
