//! The audit log: who had what done, from where, and how it ended. One line each.
//!
//! The lines go to the log under the target `audit`, whatever `log.level` says. Names that people
//! or messages gave are quoted and escaped there, so that no one can forge a second line.

use std::fmt::Display;

use crate::message::Origin;

/// The target of every line.
pub const TARGET: &str = "audit";

/// Something that a person or another system asked for.
#[derive(Clone, Copy, Debug)]
#[must_use = "nothing is written before it is known how it ended"]
pub struct Entry<'a> {
    /// `acknowledge`, `shelve`, `unshelve`, `label`, `activate`, `rollback`, `check`, `add`, `remove`, `reload`,
    /// `load`, `unload`; a request that was turned away before it was read is `request`, a command likewise `command`.
    pub action: &'a str,
    /// What it is about: `press-3/wear`, `spindle-anomaly/1.1.0`, a file.
    pub object: &'a str,
    /// Who it says asks. Nobody has checked that.
    pub by: Option<&'a str>,
    pub from: &'a Origin,
}

impl Entry<'_> {
    pub fn done(self) {
        self.done_with("");
    }

    /// `detail` is what else matters: the version before, the number of changes.
    pub fn done_with(self, detail: &str) {
        let Self { action, object, by, .. } = self;
        let from = self.from.to_string();
        tracing::info!(
            target: TARGET,
            action,
            object,
            by = by.unwrap_or_default(),
            from = from.as_str(),
            outcome = "done",
            detail,
            "Something was asked for and done."
        );
    }

    pub fn refused(self, why: &dyn Display) {
        let Self { action, object, by, .. } = self;
        let (from, why) = (self.from.to_string(), why.to_string());
        tracing::warn!(
            target: TARGET,
            action,
            object,
            by = by.unwrap_or_default(),
            from = from.as_str(),
            outcome = "refused",
            detail = why.as_str(),
            "Something was asked for and refused."
        );
    }
}
