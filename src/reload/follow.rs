//! Reads the configuration again when its files change, or when SIGHUP asks for it.
//!
//! Files are looked at by time, size and inode. A file that changes from look to look is still
//! being written: it is read when it has been the same twice.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::signal::unix::Signal;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::Tuning;
use super::report::Read;
use crate::config;
use crate::plan::{self, Checked};
use crate::time::Timestamp;

/// Between two looks at the files.
const LOOK: Duration = Duration::from_millis(200);

/// Follows one configuration file and those that it names.
#[derive(Debug)]
pub struct Follower {
    file: PathBuf,
    tuning: Tuning,
    hangups: Signal,
    /// As they were when they were read last.
    read: Stamp,
}

/// When files were written last. Absent entries are files that cannot be looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamp(Vec<(PathBuf, Option<Look>)>);

/// Time with its nanoseconds, size and inode.
type Look = (i64, i64, u64, u64);

impl Stamp {
    /// Of the configuration at `file`, without what it names.
    pub fn of(file: &Path) -> Self {
        Self(config::files(file).into_iter().map(stamp).collect())
    }

    fn with(mut self, more: impl Iterator<Item = PathBuf>) -> Self {
        self.0.extend(more.map(stamp));
        self
    }
}

impl Follower {
    /// `read` was taken before the file was read for the start; `hangups` delivers SIGHUP.
    pub fn new(file: PathBuf, read: Stamp, tuning: Tuning, hangups: Signal) -> Self {
        let mut follower = Self { file, tuning, hangups, read };
        if Stamp::of(&follower.file) == follower.read {
            follower.read = follower.look();
        }
        follower
    }

    /// Runs until `token` is cancelled. No file, however broken, ends it.
    pub async fn run(mut self, token: CancellationToken) {
        let mut looks = tokio::time::interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut last = self.read.clone();
        self.tuning.resume_shadows().await;
        loop {
            let why = tokio::select! {
                () = token.cancelled() => return,
                Some(()) = self.hangups.recv() => "SIGHUP",
                Some(request) = self.tuning.swaps.requests.recv() => {
                    self.tuning.obey(request).await;
                    continue;
                }
                _ = looks.tick() => {
                    self.tuning.judge_trials(Instant::now()).await;
                    let now = self.look();
                    let settled = now == std::mem::replace(&mut last, now.clone());
                    if !settled || now == self.read {
                        continue;
                    }
                    "the file has changed"
                }
            };
            self.read = self.look();
            self.reload(why).await;
        }
    }

    async fn reload(&mut self, why: &str) {
        let begun = Instant::now();
        let (file, running) = (self.file.clone(), self.tuning.settings.clone());
        let read = tokio::task::spawn_blocking(move || plan::reread(&file, &running)).await;
        let report = self.tuning.report.clone();
        let checked = match read {
            Ok(Ok(checked)) => checked,
            Ok(Err(diagnostics)) => {
                report.refused(&diagnostics, &config::sheets(&self.file));
                tracing::error!(
                    why,
                    "The configuration is refused, the old one runs on:\n{diagnostics}"
                );
                return;
            }
            Err(error) => return self.broke(why, &format!("reading it failed: {error}")),
        };
        let Checked { settings, models, warnings, source } = checked;
        for warning in &warnings {
            tracing::warn!("{warning}");
        }
        let predictions = models.map_or_else(Vec::new, |models| models.predictions);
        let applied = match self.tuning.apply(&settings, &predictions).await {
            Ok(applied) => applied,
            Err(error) => return self.broke(why, &format!("{error:#}")),
        };
        let read = Read { sheets: source.sheets(), warnings: &warnings };
        report.applied(&applied, read, Timestamp::now());
        let took = begun.elapsed();
        for change in &applied.done {
            tracing::info!(%change, "A setting has changed.");
        }
        if !applied.left.is_empty() {
            let keys: Vec<&str> = applied.left.iter().map(|change| change.key.as_str()).collect();
            tracing::warn!(
                keys = keys.join(", "),
                "These settings need a restart; until then the old ones hold."
            );
        }
        tracing::info!(
            why,
            changes = applied.done.len(),
            ?took,
            "The configuration was read again."
        );
    }

    fn broke(&self, why: &str, error: &str) {
        self.tuning.report.failed(vec![error.to_owned()], error.to_owned());
        tracing::error!(why, error, "The configuration could not be applied; the old one runs on.");
    }

    /// The configuration and the register maps that it named when it was good.
    fn look(&self) -> Stamp {
        let maps = self.tuning.settings.modbus.iter().filter_map(|device| device.map.as_deref());
        let folder = self.file.parent().unwrap_or(Path::new(""));
        Stamp::of(&self.file).with(maps.map(|map| folder.join(map)))
    }
}

fn stamp(file: PathBuf) -> (PathBuf, Option<Look>) {
    let meta = std::fs::metadata(&file).ok();
    (file, meta.map(|meta| (meta.mtime(), meta.mtime_nsec(), meta.size(), meta.ino())))
}
