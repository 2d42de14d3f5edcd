//! Who goes first: models that predict before those that only look on.

use std::time::Duration;

use rustix::process::setpriority_process;
use tokio::time::Instant;

use super::stats::Models;

/// How long a shadow lets the models that predict go first, before each batch.
const GIVES_WAY: Duration = Duration::from_millis(100);
const GIVES_WAY_STEP: Duration = Duration::from_millis(1);

/// The kernel's word for "when nobody else wants to".
const LAST: i32 = 19;

/// Before whom a model's thread stands back.
#[derive(Debug)]
pub(super) enum Rank {
    Predicts,
    /// It looks on: the processor belongs to these while frames wait for them.
    After(Models),
}

impl Rank {
    /// As it is named in lists of threads.
    pub(super) const fn thread(&self) -> &'static str {
        match self {
            Self::Predicts => "andon-model",
            Self::After(_) => "andon-shadow",
        }
    }

    /// First thing in the thread.
    pub(super) fn take(&self) {
        if matches!(self, Self::After(_)) {
            stand_back();
        }
    }

    /// Waits while frames wait for those that go first, for a time: it must not starve.
    pub(super) fn let_others_go_first(&self) {
        let Self::After(first) = self else { return };
        let since = Instant::now();
        while first.wait() && since.elapsed() < GIVES_WAY {
            std::thread::sleep(GIVES_WAY_STEP);
        }
    }
}

/// From now on the calling thread, and those that it starts, run when no other wants to. There is
/// no way back.
pub fn stand_back() {
    // Of a thread, although the call speaks of processes: so it is on Linux.
    if let Err(error) = setpriority_process(None, LAST) {
        tracing::debug!(%error, "A thread could not be given the last place.");
    }
}
