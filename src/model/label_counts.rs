//! What labels said of each model's version, kept over restarts in `label-counts.toml` beside the
//! buffer. A power cut costs the last seconds of it.

use std::io;
use std::path::{Path, PathBuf};

use super::active::write_whole;
use crate::feedback::Kept;

const FILE: &str = "label-counts.toml";

#[derive(Clone, Debug)]
pub struct LabelCounts {
    file: PathBuf,
    /// As it was written last.
    written: Kept,
}

impl LabelCounts {
    pub fn beside(store: &Path) -> Self {
        Self { file: store.with_file_name(FILE), written: Kept::default() }
    }

    pub fn read(&mut self) -> io::Result<Kept> {
        let text = match std::fs::read_to_string(&self.file) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Kept::default()),
            Err(error) => return Err(named(&self.file, &error)),
        };
        let kept = match toml::from_str::<Kept>(&text) {
            Ok(kept) => kept,
            // As it was written before labels were kept beside their counts.
            Err(error) => match toml::from_str(&text) {
                Ok(counts) => Kept { counts, ..Kept::default() },
                Err(_) => return Err(named(&self.file, &error)),
            },
        };
        self.written.clone_from(&kept);
        Ok(kept)
    }

    /// What has to be written, if `kept` is not what was. Whoever asks writes it.
    #[must_use]
    pub fn changed(&mut self, kept: &Kept) -> Option<Self> {
        if self.written == *kept {
            return None;
        }
        self.written.clone_from(kept);
        Some(self.clone())
    }

    /// Blocks.
    pub fn write(&self, kept: &Kept) -> io::Result<()> {
        let text = toml::to_string(kept).map_err(io::Error::other)?;
        write_whole(&self.file, &text).map_err(|error| named(&self.file, &error))
    }
}

fn named(file: &Path, error: &dyn std::fmt::Display) -> io::Error {
    io::Error::other(format!("{}: {error}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feedback::Confusion;
    use crate::time::Timestamp;

    #[test]
    fn counts_are_there_after_a_restart_and_written_only_when_they_change() {
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join("andon.db");
        let mut counts = LabelCounts::beside(&store);
        assert_eq!(counts.read().unwrap(), Kept::default());
        let confusion = Confusion { true_positives: 3, ..Confusion::default() };
        let model = "wear/1.0.0";
        let told = [("wear".into(), [(model.into(), confusion)].into())].into();
        let label = ("press-3".to_owned(), Timestamp::from_secs(1_700_000_000), true);
        let labels = [("wear".into(), [(model.into(), vec![label])].into())].into();
        let kept = Kept { counts: told, labels };
        counts.changed(&kept).expect("it is news").write(&kept).unwrap();
        assert!(counts.changed(&kept).is_none());
        let mut again = LabelCounts::beside(&store);
        assert_eq!(again.read().unwrap(), kept);
        assert!(again.changed(&kept).is_none());
    }

    #[test]
    fn counts_of_the_older_form_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let text = "[wear.\"wear/1.0.0\"]\ntrue_positives = 3\n";
        std::fs::write(folder.path().join(FILE), text).unwrap();
        let kept = LabelCounts::beside(&folder.path().join("andon.db")).read().unwrap();
        assert_eq!(kept.counts["wear"]["wear/1.0.0"].true_positives, 3);
    }

    #[test]
    fn a_spoilt_file_is_told_with_its_name() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(FILE), "wear = 1").unwrap();
        let error = LabelCounts::beside(&folder.path().join("andon.db")).read().unwrap_err();
        assert!(error.to_string().contains("label-counts.toml"), "{error}");
    }
}
