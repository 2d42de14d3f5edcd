//! Which files have been done with, kept over restarts: `folders/<folder>.jsonl` beside the buffer.
//!
//! A line a file, appended and synced; written anew when most of it is about files that are gone.
//! A line that a power cut has cut off costs one file's place: it is shown once more.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::look::{MOST_FILES, Stamp};

/// Lines about files that are gone, before the rest is written anew.
const SPARE: usize = 1024;

#[derive(Debug)]
pub(super) struct Memory {
    file: PathBuf,
    known: BTreeMap<String, Stamp>,
    fresh: Vec<(String, Stamp)>,
    lines: usize,
    /// The file ends within a line.
    torn: bool,
}

impl Memory {
    /// Of the watched folder. Reads nothing yet.
    pub(super) fn beside(store: &Path, folder: &Path) -> Self {
        let hash = Sha256::digest(folder.as_os_str().as_encoded_bytes());
        let name: String = hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        let file = store.with_file_name("folders").join(format!("{name}.jsonl"));
        Self { file, known: BTreeMap::new(), fresh: Vec::new(), lines: 0, torn: false }
    }

    pub(super) fn read(&mut self) -> io::Result<()> {
        let bytes = match fs::read(&self.file) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(self.named(&error)),
        };
        self.torn = bytes.last().is_some_and(|last| *last != b'\n');
        for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            self.lines += 1;
            if let Ok((name, written, size)) = serde_json::from_slice(line) {
                self.known.insert(name, Stamp { written, size });
            }
        }
        Ok(())
    }

    pub(super) fn knows(&self, name: &str, stamp: Stamp) -> bool {
        self.known.get(name) == Some(&stamp)
    }

    pub(super) fn add(&mut self, name: String, stamp: Stamp) {
        self.fresh.push((name.clone(), stamp));
        self.known.insert(name, stamp);
    }

    /// Forgets what is gone and was written before `oldest`: a share that comes back does not
    /// bring it as new. Never more than a folder may hold.
    pub(super) fn forget(&mut self, is_there: impl Fn(&str) -> bool, oldest: i64) {
        self.known.retain(|name, stamp| is_there(name) || stamp.written >= oldest);
        if self.known.len() > MOST_FILES {
            let mut times: Vec<i64> = self.known.values().map(|stamp| stamp.written).collect();
            times.sort_unstable();
            let bound = times[times.len() - MOST_FILES];
            self.known.retain(|name, stamp| is_there(name) || stamp.written >= bound);
        }
    }

    /// Puts on the disk what is new.
    pub(super) fn save(&mut self) -> io::Result<()> {
        let anew = self.lines + self.fresh.len() > 2 * self.known.len() + SPARE;
        if self.fresh.is_empty() && !anew {
            return Ok(());
        }
        let saved = if anew { self.write_anew() } else { self.append() };
        saved.map_err(|error| self.named(&error))
    }

    fn append(&mut self) -> io::Result<()> {
        self.make_room()?;
        let mut text = String::new();
        if self.torn {
            text.push('\n');
        }
        self.fresh.iter().for_each(|(name, stamp)| line(&mut text, name, *stamp));
        let mut file = OpenOptions::new().create(true).append(true).open(&self.file)?;
        // Until all of it is there.
        self.torn = true;
        file.write_all(text.as_bytes())?;
        file.sync_data()?;
        (self.lines, self.torn) = (self.lines + self.fresh.len(), false);
        self.fresh.clear();
        Ok(())
    }

    fn write_anew(&mut self) -> io::Result<()> {
        self.make_room()?;
        let mut text = String::new();
        self.known.iter().for_each(|(name, stamp)| line(&mut text, name, *stamp));
        let draft = self.file.with_extension("new");
        let mut file = File::create(&draft)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&draft, &self.file)?;
        (self.lines, self.torn) = (self.known.len(), false);
        self.fresh.clear();
        Ok(())
    }

    fn make_room(&self) -> io::Result<()> {
        self.file.parent().map_or(Ok(()), fs::create_dir_all)
    }

    fn named(&self, error: &io::Error) -> io::Error {
        io::Error::other(format!("{}: {error}", self.file.display()))
    }
}

fn line(text: &mut String, name: &str, stamp: Stamp) {
    text.push_str(&serde_json::json!([name, stamp.written, stamp.size]).to_string());
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn stamp(written: i64) -> Stamp {
        Stamp { written, size: 7 }
    }

    fn memory(root: &Path) -> Memory {
        let mut memory = Memory::beside(&root.join("andon.db"), Path::new("/srv/camera"));
        memory.read().unwrap();
        memory
    }

    #[test]
    fn what_was_done_is_known_after_a_restart_and_a_torn_line_costs_only_itself() {
        let root = tempfile::tempdir().unwrap();
        let mut first = memory(root.path());
        first.add("a\n\"b\".png".into(), stamp(1));
        first.add("c.png".into(), stamp(2));
        first.save().unwrap();
        let bytes = fs::read(&first.file).unwrap();
        fs::write(&first.file, &bytes[..bytes.len() - 4]).unwrap();
        let mut again = memory(root.path());
        assert!(again.knows("a\n\"b\".png", stamp(1)) && !again.knows("a\n\"b\".png", stamp(2)));
        assert!(!again.knows("c.png", stamp(2)));
        again.add("d.png".into(), stamp(3));
        again.save().unwrap();
        assert!(memory(root.path()).knows("d.png", stamp(3)));
    }

    #[test]
    fn what_is_gone_and_old_is_forgotten_and_the_file_stays_small() {
        let root = tempfile::tempdir().unwrap();
        let mut memory = memory(root.path());
        for round in 0..3 * i64::try_from(SPARE).unwrap() {
            memory.add(format!("{round}.png"), stamp(round));
            memory.forget(|name| name == "0.png", round - 10);
        }
        memory.save().unwrap();
        assert!(memory.knows("0.png", stamp(0)) && !memory.knows("1.png", stamp(1)));
        assert_eq!(memory.lines, memory.known.len());
        assert_eq!(fs::read_to_string(&memory.file).unwrap().lines().count(), 12);
    }
}
