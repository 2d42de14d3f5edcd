//! `andon check`: every error at once, each with file, line and column.

use std::path::Path;
use std::process::ExitCode;

use crate::config::Diagnostic;
use crate::plan::{self, Checked};
use crate::settings::Folder;

pub(super) fn main(file: &Path) -> anyhow::Result<ExitCode> {
    let Some(checked) = checked(file) else {
        return Ok(ExitCode::FAILURE);
    };
    for warning in absent_folders(&checked) {
        eprintln!("{warning}");
    }
    let settings = &checked.settings;
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

/// Watched folders that are not there. Only said here: a share may hang, and a daemon must neither
/// wait for it at a reload nor refuse to start because it comes later.
fn absent_folders(checked: &Checked) -> Vec<Diagnostic> {
    let folders = checked.settings.folder.iter().enumerate();
    let absent = folders.filter(|(_, folder)| !folder.path.is_dir());
    let warning = |(at, folder): (usize, &Folder)| {
        let path = folder.path.display();
        let message = format!("{path} is no folder that this user can look into");
        let help =
            "make it, mount it, or correct the path; the daemon looks again until it is there";
        checked.source.warning(&format!("folder[{at}].path"), message).with_help(help)
    };
    absent.map(warning).collect()
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
