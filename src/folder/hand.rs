//! The thread of one folder: looks, reads what is whole, and tidies up what is done with.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};

use tokio::sync::mpsc::Sender;
use tokio::time::Instant;

use super::look::{self, Entry, Growing, MOST_FILES, Stamp};
use super::memory::Memory;
use super::{DRAIN, Found, UNDER_WAY};
use crate::health::SourceHealth;
use crate::settings::{AfterUse, Folder};
use crate::snapshot::{Fate, PICTURE_BYTES, Tally};
use crate::time::Timestamp;

/// Names tried where a file of that name has been moved before.
const MOST_NAMESAKES: u32 = 1000;

/// What the thread is told.
#[derive(Debug)]
pub(super) enum Event {
    /// Without a fate the picture was dropped, and is shown again.
    Ended {
        name: String,
        stamp: Stamp,
        fate: Option<Fate>,
    },
    Stop,
}

#[derive(Debug)]
pub(super) struct Hand {
    folder: Folder,
    memory: Memory,
    pictures: Arc<Tally>,
    health: Arc<SourceHealth>,
    growing: Growing,
    under_way: BTreeSet<String>,
    /// Counted as received, and dropped before they ended.
    dropped: BTreeMap<String, Stamp>,
    /// The folder could be read the last time.
    is_there: Option<bool>,
    told: Option<String>,
}

impl Hand {
    pub(super) fn new(
        folder: Folder,
        memory: Memory,
        pictures: Arc<Tally>,
        health: Arc<SourceHealth>,
    ) -> Self {
        let (growing, under_way, dropped) = Default::default();
        let (is_there, told) = (None, None);
        Self { folder, memory, pictures, health, growing, under_way, dropped, is_there, told }
    }

    /// Until it is told to stop, and what is under way has ended or has had its time.
    pub(super) fn run(mut self, out: &Sender<Found>, events: &Receiver<Event>) {
        if let Err(error) = self.memory.read() {
            self.note(format!("what was done before is not known: {error}"));
        }
        loop {
            self.look(out);
            let due = Instant::now() + self.folder.interval;
            loop {
                match events.recv_timeout(due.saturating_duration_since(Instant::now())) {
                    Ok(Event::Ended { name, stamp, fate }) => {
                        let is_done = fate.is_some();
                        self.ended(name, stamp, fate.as_ref());
                        // The next ones wait on the disk.
                        if is_done && self.under_way.is_empty() {
                            break;
                        }
                    }
                    Err(RecvTimeoutError::Timeout) => break,
                    Ok(Event::Stop) | Err(RecvTimeoutError::Disconnected) => {
                        return self.finish(events);
                    }
                }
            }
            self.save();
        }
    }

    fn finish(mut self, events: &Receiver<Event>) {
        let until = Instant::now() + DRAIN;
        while !self.under_way.is_empty()
            && let Ok(event) = events.recv_timeout(until.saturating_duration_since(Instant::now()))
        {
            if let Event::Ended { name, stamp, fate } = event {
                self.ended(name, stamp, fate.as_ref());
            }
        }
        self.save();
    }

    fn look(&mut self, out: &Sender<Found>) {
        let files = match look::list(&self.folder.path, MOST_FILES) {
            Ok(files) => files,
            Err(error) => return self.lost(&error),
        };
        self.found_again();
        let oldest = Timestamp::now().saturating_sub(self.folder.max_age);
        self.memory.forget(|name| files.contains_key(name), oldest.as_nanos());
        self.growing.keep(|name| files.contains_key(name));
        self.dropped.retain(|name, _| files.contains_key(name));
        let (now, settle) = (Instant::now(), self.folder.settle);
        let mut whole: Vec<(Stamp, String, bool)> = Vec::new();
        for (name, entry) in files {
            let (Entry::File(stamp) | Entry::Link(stamp)) = entry;
            let is_link = matches!(entry, Entry::Link(_));
            if self.memory.knows(&name, stamp) || self.under_way.contains(&name) {
                continue;
            }
            if is_link || self.growing.is_whole(&name, stamp, now, settle) {
                whole.push((stamp, name, is_link));
            }
        }
        // As the camera has written them.
        whole.sort_unstable();
        for (stamp, name, is_link) in whole {
            if self.under_way.len() >= UNDER_WAY || !self.take(&name, stamp, is_link, oldest, out) {
                break;
            }
        }
    }

    /// False where no more fit in now.
    fn take(
        &mut self,
        name: &str,
        stamp: Stamp,
        is_link: bool,
        oldest: Timestamp,
        out: &Sender<Found>,
    ) -> bool {
        let most = self.folder.max_size.as_u64();
        let refused = if is_link {
            let what = "it is a link, which may lead out of the folder; write the file itself";
            Some(Fate::Refused(what.to_owned()))
        } else if stamp.size > most {
            Some(Fate::Refused(format!("{} bytes; `max_size` is {most}", stamp.size)))
        } else if stamp.written < oldest.as_nanos() {
            Some(Fate::Stale)
        } else {
            None
        };
        let content = match refused {
            Some(fate) => Err(fate),
            None => {
                let bytes = usize::try_from(stamp.size).unwrap_or(usize::MAX);
                let Some(held) = self.pictures.hold(bytes, PICTURE_BYTES) else { return false };
                match look::read(&self.folder.path, name, stamp) {
                    Ok(Some(bytes)) => Ok((bytes.into(), held)),
                    Ok(None) => {
                        self.growing.forget(name);
                        return true;
                    }
                    Err(error) if error.kind() == io::ErrorKind::NotFound => return true,
                    Err(error) => {
                        self.note(format!("{name}: {error}"));
                        return true;
                    }
                }
            }
        };
        if self.dropped.remove(name) != Some(stamp) {
            self.pictures.receive();
        }
        self.growing.forget(name);
        self.under_way.insert(name.to_owned());
        let taken = out.blocking_send(Found { name: name.to_owned(), stamp, content }).is_ok();
        if !taken {
            self.under_way.remove(name);
        }
        taken
    }

    fn ended(&mut self, name: String, stamp: Stamp, fate: Option<&Fate>) {
        self.under_way.remove(&name);
        match fate {
            None => {
                self.dropped.insert(name, stamp);
            }
            Some(Fate::Shown) if self.folder.after != AfterUse::Keep => {
                if let Err(error) = self.tidy(&name, stamp) {
                    self.note(format!("{name} stays: {error}"));
                    self.memory.add(name, stamp);
                }
            }
            Some(_) => self.memory.add(name, stamp),
        }
    }

    fn tidy(&self, name: &str, stamp: Stamp) -> io::Result<()> {
        let path = self.folder.path.join(name);
        let meta = match fs::symlink_metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            meta => meta?,
        };
        if Stamp::of(&meta) != stamp {
            // The camera has written the next one under the same name.
            return Ok(());
        }
        match (self.folder.after, &self.folder.move_to) {
            (AfterUse::Delete, _) => fs::remove_file(&path),
            (AfterUse::Move, Some(target)) => fs::rename(&path, free(target, name)?),
            (AfterUse::Move, None) | (AfterUse::Keep, _) => Ok(()),
        }
    }

    fn save(&mut self) {
        if let Err(error) = self.memory.save() {
            self.note(format!("what is done is not kept over a restart: {error}"));
        }
    }

    fn lost(&mut self, error: &io::Error) {
        let path = self.folder.path.display();
        if self.is_there != Some(false) {
            self.health.failed(format!("{path}: {error}"));
            tracing::warn!(folder = %path, %error, "The folder cannot be read; it is tried on.");
        }
        self.is_there = Some(false);
        self.growing = Growing::default();
    }

    fn found_again(&mut self) {
        if self.is_there != Some(true) {
            self.health.connected();
            tracing::info!(folder = %self.folder.path.display(), "The folder is watched.");
        }
        self.is_there = Some(true);
    }

    /// Tells the same thing once.
    fn note(&mut self, what: String) {
        if self.told.as_ref() != Some(&what) {
            tracing::warn!(folder = %self.folder.path.display(), "{what}");
            self.health.noted(what.clone());
            self.told = Some(what);
        }
    }
}

/// A name in `target` that no file has.
fn free(target: &Path, name: &str) -> io::Result<PathBuf> {
    let first = target.join(name);
    if fs::symlink_metadata(&first).is_err() {
        return Ok(first);
    }
    let (stem, ending) = name.rsplit_once('.').unwrap_or((name, ""));
    let other = |number: u32| target.join(format!("{stem}-{number}.{ending}"));
    let mut others = (2..MOST_NAMESAKES).map(other);
    let free = others.find(|path| fs::symlink_metadata(path).is_err());
    free.ok_or_else(|| {
        let message = format!("{} has {MOST_NAMESAKES} files of that name", target.display());
        io::Error::other(message)
    })
}
