//! Which version of a model predicts where a person has chosen one.
//!
//! The choices stand in `active-models.toml` beside the buffer, which outlives restarts and
//! upgrades of the repository. A configuration that names a version (`model = "x/1.0.0"`) has been
//! decided already and does not look here.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

const FILE: &str = "active-models.toml";
/// Which version sees what the active one sees, in the same form.
const SHADOWS: &str = "shadow-models.toml";

/// The choices, by the model's name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Active {
    file: PathBuf,
    choices: BTreeMap<String, Choice>,
}

/// One model's version, and how it came to it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Choice {
    pub version: String,
    /// The one before it: where a rollback leads.
    pub previous: Option<String>,
    pub by: String,
    pub at: Timestamp,
}

/// The choices cannot be read, so nobody knows which version is meant.
#[derive(Debug, thiserror::Error)]
#[error(
    "{} cannot be read: {reason}; correct it, or remove it to {otherwise}",
    file.display()
)]
pub struct ActiveError {
    file: PathBuf,
    reason: String,
    otherwise: &'static str,
}

impl Active {
    /// Reads the choices beside the buffer at `store`; there may be none yet.
    pub fn beside(store: &Path) -> Result<Self, ActiveError> {
        Self::read(store.with_file_name(FILE), "let the highest versions predict")
    }

    /// The same of the shadows.
    pub fn shadows_beside(store: &Path) -> Result<Self, ActiveError> {
        Self::read(store.with_file_name(SHADOWS), "have no shadows")
    }

    fn read(file: PathBuf, otherwise: &'static str) -> Result<Self, ActiveError> {
        let wrong = |reason: String| ActiveError { file: file.clone(), reason, otherwise };
        let choices = match fs::read_to_string(&file) {
            Ok(text) => toml::from_str(&text).map_err(|error| wrong(error.to_string()))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => return Err(wrong(error.to_string())),
        };
        Ok(Self { file, choices })
    }

    pub fn of(&self, name: &str) -> Option<&Choice> {
        self.choices.get(name)
    }

    /// By the model's name.
    pub fn all(&self) -> impl Iterator<Item = (&str, &Choice)> {
        self.choices.iter().map(|(name, choice)| (name.as_str(), choice))
    }

    pub fn forget(&mut self, name: &str) -> io::Result<()> {
        let mut choices = self.choices.clone();
        choices.remove(name);
        self.write(choices)
    }

    /// Writes the choice down before it is true: a power cut leaves the old file or the new one.
    pub fn choose(&mut self, name: &str, choice: Choice) -> io::Result<()> {
        let mut choices = self.choices.clone();
        choices.insert(name.to_owned(), choice);
        self.write(choices)
    }

    fn write(&mut self, choices: BTreeMap<String, Choice>) -> io::Result<()> {
        let text = toml::to_string(&choices).map_err(io::Error::other)?;
        write_whole(&self.file, &text)?;
        self.choices = choices;
        Ok(())
    }
}

/// A power cut leaves the old file or the new one.
pub(super) fn write_whole(file: &Path, text: &str) -> io::Result<()> {
    let beside = file.with_extension("toml.new");
    let mut new = File::create(&beside)?;
    new.write_all(text.as_bytes())?;
    new.sync_all()?;
    fs::rename(&beside, file)?;
    File::open(folder_of(file))?.sync_all()
}

/// A bare name has an empty parent, which cannot be opened.
fn folder_of(file: &Path) -> &Path {
    match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choice(version: &str) -> Choice {
        let (by, at) = ("R. Meyer".into(), Timestamp::from_secs(1_700_000_000));
        Choice { version: version.into(), previous: Some("1.0.0".into()), by, at }
    }

    #[test]
    fn a_buffer_without_a_folder_lies_in_this_one() {
        for (file, folder) in [("a.toml", "."), ("b/a.toml", "b"), ("/a.toml", "/")] {
            assert_eq!(folder_of(Path::new(file)), Path::new(folder));
        }
    }

    #[test]
    fn a_choice_is_there_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join("andon.db");
        let mut active = Active::beside(&store).unwrap();
        assert_eq!(active.of("press"), None);
        active.choose("press", choice("1.1.0")).unwrap();
        active.choose("lathe", choice("7")).unwrap();
        let again = Active::beside(&store).unwrap();
        assert_eq!(again.of("press"), Some(&choice("1.1.0")));
        assert_eq!(again, active);
    }

    #[test]
    fn a_spoilt_file_is_told_with_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(FILE), "[press]\nversion = 1").unwrap();
        let error = Active::beside(&folder.path().join("andon.db")).unwrap_err().to_string();
        assert!(error.contains("active-models.toml cannot be read"), "{error}");
        assert!(error.contains("remove it"), "{error}");
    }
}
