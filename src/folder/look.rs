//! One look at a folder: which files are whole, and which are none of ours.

use std::collections::BTreeMap;
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use tokio::time::Instant;

/// More files than this are not looked through.
pub(super) const MOST_FILES: usize = 100_000;

/// What tells one content of a name from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Stamp {
    /// Of the last write, in nanoseconds since 1970.
    pub(super) written: i64,
    pub(super) size: u64,
}

impl Stamp {
    pub(super) fn of(meta: &Metadata) -> Self {
        let written = meta.mtime().saturating_mul(1_000_000_000).saturating_add(meta.mtime_nsec());
        Self { written, size: meta.size() }
    }
}

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    File(Stamp),
    /// A link, which may lead anywhere.
    Link(Stamp),
}

/// The pictures' names in the folder, by their endings. Hidden ones are somebody's drafts.
pub(super) fn list(folder: &Path, most: usize) -> io::Result<BTreeMap<String, Entry>> {
    let mut found = BTreeMap::new();
    for (count, entry) in fs::read_dir(folder)?.enumerate() {
        if count >= most {
            let message = format!("it holds more than {most} files: move or delete what is old");
            return Err(io::Error::other(message));
        }
        let entry = entry?;
        let Some(name) = entry.file_name().to_str().map(str::to_owned) else { continue };
        if !is_picture(&name) {
            continue;
        }
        // It does not follow links.
        let meta = match entry.metadata() {
            Ok(meta) => meta,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        let stamp = Stamp::of(&meta);
        if meta.is_symlink() {
            found.insert(name, Entry::Link(stamp));
        } else if meta.is_file() {
            found.insert(name, Entry::File(stamp));
        }
    }
    Ok(found)
}

fn is_picture(name: &str) -> bool {
    let ending = name.rsplit_once('.').filter(|(stem, _)| !stem.is_empty());
    !name.starts_with('.')
        && ending.is_some_and(|(_, ending)| {
            ["jpg", "jpeg", "png"].iter().any(|known| ending.eq_ignore_ascii_case(known))
        })
}

/// The bytes of a file that is still as it was seen; `None` where it is another by now.
pub(super) fn read(folder: &Path, name: &str, seen: Stamp) -> io::Result<Option<Vec<u8>>> {
    let path = folder.join(name);
    let before = fs::symlink_metadata(&path)?;
    if !before.is_file() {
        return Ok(None);
    }
    let mut file = File::open(&path)?;
    let same = |meta: &Metadata| {
        // What was put in its place since, a link too, is another file.
        Stamp::of(meta) == seen && (meta.dev(), meta.ino()) == (before.dev(), before.ino())
    };
    if !same(&file.metadata()?) {
        return Ok(None);
    }
    let mut bytes = Vec::with_capacity(usize::try_from(seen.size).unwrap_or(0));
    (&mut file).take(seen.size.saturating_add(1)).read_to_end(&mut bytes)?;
    let whole = bytes.len() as u64 == seen.size && same(&file.metadata()?);
    Ok(whole.then_some(bytes))
}

/// Files that have been seen and may still grow.
#[derive(Debug, Default)]
pub(super) struct Growing(BTreeMap<String, (Stamp, Instant)>);

impl Growing {
    /// Whether the file has been the same for `settle`. An empty one is still to be written.
    pub(super) fn is_whole(
        &mut self,
        name: &str,
        stamp: Stamp,
        now: Instant,
        settle: Duration,
    ) -> bool {
        match self.0.get(name) {
            Some((known, since)) if *known == stamp => {
                stamp.size > 0 && now.duration_since(*since) >= settle
            }
            _ => {
                self.0.insert(name.to_owned(), (stamp, now));
                stamp.size > 0 && settle.is_zero()
            }
        }
    }

    pub(super) fn forget(&mut self, name: &str) {
        self.0.remove(name);
    }

    pub(super) fn keep(&mut self, is_there: impl Fn(&str) -> bool) {
        self.0.retain(|name, _| is_there(name));
    }
}
