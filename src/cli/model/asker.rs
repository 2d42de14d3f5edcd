//! Who changes the repository with a command, in the same audit log as what the daemon is asked.

use std::env;
use std::os::unix::fs::MetadataExt;

use crate::audit::Entry;
use crate::cli::log;
use crate::message::Origin;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Asker {
    /// Who asks, for the audit log; without it who called sudo, or $USER.
    #[arg(long)]
    by: Option<String>,
}

impl Asker {
    /// Does `act` and writes down how that ended.
    pub(super) fn audited<T>(
        &self,
        action: &str,
        object: &str,
        act: impl FnOnce() -> anyhow::Result<T>,
        detail: impl FnOnce(&T) -> String,
    ) -> anyhow::Result<T> {
        log::audit()?;
        // Root of a namespace that hides /proc is still root.
        let user = std::fs::metadata("/proc/self").map_or(0, |process| process.uid());
        let by = self.by.clone().or_else(|| env::var("SUDO_USER").ok());
        let by = by.or_else(|| env::var("USER").ok());
        let from = Origin::Command { user };
        let entry = Entry { action, object, by: by.as_deref(), from: &from };
        let outcome = act();
        match &outcome {
            Ok(done) => entry.done_with(&detail(done)),
            Err(error) => entry.refused(&format!("{error:#}")),
        }
        outcome
    }
}
