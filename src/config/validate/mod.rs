//! What the types cannot say: names, references, limits and settings that contradict each other.

mod alerts;
mod brokers;
mod charts;
mod drift;
mod flood;
mod folders;
mod household;
mod modbus;
mod names;
mod predictions;
mod share;
mod sources;
mod subscriptions;
mod topic;

pub use self::sources::may_hear;
use super::diagnostic::{Diagnostic, Severity};
use super::path;
use super::peel::Silenced;
use super::source::Source;
use crate::settings::Settings;

/// Every finding about settings that could be read. `silenced` paths have been reported.
pub(super) fn validate(
    settings: &Settings,
    source: &Source,
    silenced: &Silenced,
) -> Vec<Diagnostic> {
    let mut check = Check { source, silenced, found: Vec::new() };
    household::check(&mut check, settings);
    brokers::check(&mut check, settings);
    subscriptions::check(&mut check, settings);
    modbus::check(&mut check, settings);
    folders::check(&mut check, settings);
    sources::check(&mut check, settings);
    predictions::check(&mut check, settings);
    drift::check(&mut check, settings);
    flood::check(&mut check, settings);
    share::check(&mut check, settings);
    alerts::check_rules(&mut check, settings);
    check.found
}

/// Collects findings. Each says what is wrong and what to write instead.
struct Check<'a> {
    source: &'a Source,
    silenced: &'a Silenced,
    found: Vec<Diagnostic>,
}

impl Check<'_> {
    fn error(&mut self, path: &str, message: impl Into<String>, help: impl Into<String>) {
        if !self.silenced.covers(path) {
            self.found.push(self.source.error(path, message).with_help(help));
        }
    }

    /// An error that does not show the line, which holds a secret: it goes to the journal.
    fn secret_error(&mut self, path: &str, message: &str, help: &str) {
        let error = self.source.error(path, message).with_help(help);
        self.found.push(error.without_excerpt());
    }

    fn warning(&mut self, path: &str, message: impl Into<String>, help: impl Into<String>) {
        if !self.silenced.covers(path) {
            self.found.push(self.source.warning(path, message).with_help(help));
        }
    }

    fn errors(&self) -> usize {
        self.found.iter().filter(|found| found.severity == Severity::Error).count()
    }

    /// Whether the settings of `table` can be held against one another.
    fn is_decided(&self, table: &str) -> bool {
        !self.silenced.leaves_open(table)
    }

    /// Warns about a setting that is written and does nothing.
    fn idle(&mut self, table: &str, name: &str, why: &str) {
        let path = path::child(table, name);
        if self.source.has(&path) {
            self.warning(&path, format!("`{name}` has no effect: {why}"), "leave it out");
        }
    }
}
