//! What became of the configuration since the start.

use std::sync::{Arc, Mutex};

use tokio::sync::watch;

use super::Applied;
use crate::alert::wire::{ConfigState, ConfigStatus};
use crate::config::{Diagnostic, Diagnostics, Sheet};
use crate::settings::ShareSettings;
use crate::settings::change::Change;
use crate::time::Timestamp;

/// How often a reload ended in which way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reloads {
    pub applied: u64,
    pub unchanged: u64,
    pub refused: u64,
}

/// A configuration that has just been read and is good.
#[derive(Clone, Copy)]
pub(super) struct Read<'a> {
    pub(super) sheets: &'a [Sheet],
    pub(super) warnings: &'a [Diagnostic],
}

#[derive(Debug)]
pub struct Report {
    kept: Mutex<Kept>,
    moves: watch::Sender<u64>,
}

/// The files as they were read, for people to look at.
#[derive(Clone, Debug, Default)]
pub struct Papers {
    /// What the daemon runs with.
    pub running: Arc<[Sheet]>,
    /// What stands on the disk and is refused; empty while nothing is.
    pub refused: Arc<[Sheet]>,
    /// What is wrong, or suspicious, in `refused`, or else in `running`.
    pub findings: Arc<[Diagnostic]>,
    /// What the next start would change.
    pub waiting: Arc<[Change]>,
}

#[derive(Debug)]
struct Kept {
    status: ConfigStatus,
    reloads: Reloads,
    papers: Papers,
    share: Option<ShareSettings>,
    /// Of the file that was refused last, as `andon check` prints it.
    refusal: Option<String>,
}

impl Report {
    pub fn new(started: Timestamp) -> Self {
        let status = ConfigStatus {
            state: ConfigState::Current,
            loaded: started,
            errors: Vec::new(),
            restart: Vec::new(),
        };
        let (reloads, papers) = (Reloads::default(), Papers::default());
        let kept = Kept { status, reloads, papers, share: None, refusal: None };
        Self { kept: Mutex::new(kept), moves: watch::Sender::new(0) }
    }

    pub fn status(&self) -> ConfigStatus {
        self.with(|kept| kept.status.clone())
    }

    pub fn reloads(&self) -> Reloads {
        self.with(|kept| kept.reloads)
    }

    /// What is wrong with the file, in full, while it is not in effect.
    pub fn refusal(&self) -> Option<String> {
        self.with(|kept| kept.refusal.clone())
    }

    pub fn papers(&self) -> Papers {
        self.with(|kept| kept.papers.clone())
    }

    /// This box's part of the site, where several split it.
    pub fn share(&self) -> Option<ShareSettings> {
        self.with(|kept| kept.share.clone())
    }

    pub fn shared(&self, share: Option<ShareSettings>) {
        self.with(|kept| kept.share = share);
    }

    /// The files that the daemon has started with.
    pub fn started_with(&self, sheets: &[Sheet], warnings: &[Diagnostic]) {
        self.with(|kept| {
            kept.papers.running = sheets.into();
            kept.papers.findings = warnings.into();
        });
    }

    /// Counts the reloads; wakes whoever waits for one.
    pub fn moves(&self) -> watch::Receiver<u64> {
        self.moves.subscribe()
    }

    pub(super) fn applied(&self, applied: &Applied, read: Read<'_>, now: Timestamp) {
        self.with(|kept| {
            kept.papers = Papers {
                running: read.sheets.into(),
                refused: Arc::default(),
                findings: read.warnings.into(),
                waiting: applied.left.as_slice().into(),
            };
            kept.refusal = None;
            kept.status.errors.clear();
            kept.status.restart = applied.left.iter().map(|change| change.key.clone()).collect();
            kept.status.state = match applied.left.is_empty() {
                true => ConfigState::Current,
                false => ConfigState::NeedsRestart,
            };
            if applied.done.is_empty() {
                kept.reloads.unchanged += 1;
            } else {
                kept.reloads.applied += 1;
                kept.status.loaded = now;
            }
        });
        self.moves.send_modify(|moves| *moves += 1);
    }

    pub(super) fn refused(&self, diagnostics: &Diagnostics, sheets: &[Sheet]) {
        self.with(|kept| {
            kept.papers.refused = sheets.into();
            kept.papers.findings = diagnostics.iter().cloned().collect();
        });
        let lines = diagnostics.iter().map(|found| {
            let text = found.to_string();
            text.lines().next().unwrap_or_default().to_owned()
        });
        self.failed(lines.collect(), diagnostics.to_string());
    }

    pub(super) fn failed(&self, errors: Vec<String>, refusal: String) {
        self.with(|kept| {
            kept.refusal = Some(refusal);
            kept.status.errors = errors;
            kept.status.state = ConfigState::Refused;
            kept.reloads.refused += 1;
        });
        self.moves.send_modify(|moves| *moves += 1);
    }

    fn with<T>(&self, look: impl FnOnce(&mut Kept) -> T) -> T {
        look(&mut self.kept.lock().expect("no code panics while it holds the report"))
    }
}
