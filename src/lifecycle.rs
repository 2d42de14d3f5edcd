//! From start to exit: signals, the drain and its deadline, and systemd's notifications.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::telemetry::Meters;

/// Longest that the drain may take before the process leaves anyway.
pub const DRAIN_DEADLINE: Duration = Duration::from_millis(4500);

/// SIGTERM and SIGINT. The first asks for a drain, the second ends the process at once.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    pub fn install() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    pub async fn recv(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

/// SIGHUP, which would otherwise end the process: it asks for the configuration anew.
pub fn hangups() -> std::io::Result<Signal> {
    signal(SignalKind::hangup())
}

pub fn ready(status: &str) {
    notify(&[NotifyState::Ready, NotifyState::Status(status)]);
}

pub fn stopping() {
    notify(&[NotifyState::Stopping]);
}

/// Feeds systemd's watchdog for as long as the main loop moves.
pub async fn watchdog(meters: Arc<Meters>, token: CancellationToken) {
    let Some(limit) = sd_notify::watchdog_enabled() else {
        return;
    };
    let mut ticks = tokio::time::interval(limit / 3);
    let mut pulse = Pulse::default();
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = token.cancelled() => return,
        }
        if pulse.moved(meters.heartbeat.load(Relaxed)) {
            notify(&[NotifyState::Watchdog]);
        }
    }
}

/// Whether a count has gone on since it was last looked at.
#[derive(Debug, Default)]
struct Pulse {
    last: Option<u64>,
}

impl Pulse {
    fn moved(&mut self, beat: u64) -> bool {
        self.last.replace(beat) != Some(beat)
    }
}

fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "systemd could not be notified.");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loop_that_stands_still_feeds_nothing_until_it_moves_again() {
        let mut pulse = Pulse::default();
        let fed: Vec<bool> = [7, 8, 8, 8, 9, 9].into_iter().map(|beat| pulse.moved(beat)).collect();
        assert_eq!(fed, [true, true, false, false, true, false]);
    }
}
