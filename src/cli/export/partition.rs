//! Samples as a folder of Parquet files in the layout that engines know as Hive's:
//! `asset=press-3/date=2026-11-28/part.parquet`, days in UTC.
//!
//! Each file is whole: asset and time stand in its rows too. A file that stands there already is
//! replaced, so that the same day exported twice is there once.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use super::parquet::Rows;
use crate::sample::Sample;
use crate::time::Timestamp;

/// How many files may be open at once; beyond it, those of the oldest day are closed.
const OPEN: usize = 256;

/// What makes a folder of its own, beside the asset.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(super) enum Partition {
    Day,
}

pub(super) struct Folder {
    root: PathBuf,
    /// By day and asset.
    open: BTreeMap<(String, String), Part>,
    written: u64,
    files: usize,
    /// Days that are closed: what comes for them later would overwrite what is there.
    closed: BTreeMap<(String, String), u32>,
}

/// A file that gets its name when it is whole.
struct Part {
    rows: Rows<BufWriter<File>>,
    unfinished: PathBuf,
    file: PathBuf,
}

impl Folder {
    pub(super) fn new(root: &Path) -> anyhow::Result<Self> {
        if root.exists() && !root.is_dir() {
            bail!("--out {}: is a file; with --partition it is a folder", root.display());
        }
        let (open, closed) = (BTreeMap::new(), BTreeMap::new());
        Ok(Self { root: root.to_owned(), open, written: 0, files: 0, closed })
    }

    pub(super) fn write(
        &mut self,
        name: &[String; 2],
        sample: &Sample,
        quality: &'static str,
    ) -> anyhow::Result<()> {
        let key = (day(sample.time), name[0].clone());
        if !self.open.contains_key(&key) {
            if self.open.len() >= OPEN {
                self.close_oldest()?;
            }
            let part = self.begin(&key)?;
            self.open.insert(key.clone(), part);
        }
        let part = self.open.get_mut(&key).expect("it was just opened");
        part.rows.write(name, sample, quality)?;
        self.written += 1;
        Ok(())
    }

    /// Samples and files.
    pub(super) fn finish(mut self) -> anyhow::Result<(u64, usize)> {
        while !self.open.is_empty() {
            self.close_oldest()?;
        }
        Ok((self.written, self.files))
    }

    fn begin(&mut self, key: &(String, String)) -> anyhow::Result<Part> {
        let (day, asset) = key;
        let folder = self.root.join(format!("asset={}", level(asset))).join(format!("date={day}"));
        let at = || format!("{}: cannot be written", folder.display());
        std::fs::create_dir_all(&folder).with_context(at)?;
        let name = match self.closed.get(key) {
            None => {
                remove_further_parts(&folder)?;
                "part.parquet".to_owned()
            }
            Some(number) => format!("part-{number}.parquet"),
        };
        // A name that engines pass over, until the file is whole.
        let unfinished = folder.join(format!("{name}.unfinished"));
        let out = BufWriter::new(File::create(&unfinished).with_context(at)?);
        Ok(Part { rows: Rows::new(out)?, unfinished, file: folder.join(name) })
    }

    fn close_oldest(&mut self) -> anyhow::Result<()> {
        let Some((key, part)) = self.open.pop_first() else { return Ok(()) };
        part.rows.finish()?;
        std::fs::rename(&part.unfinished, &part.file)
            .with_context(|| format!("{}: cannot be written", part.file.display()))?;
        self.files += 1;
        *self.closed.entry(key).or_insert(0) += 1;
        Ok(())
    }
}

/// What an earlier export has put beside the first file of the day.
fn remove_further_parts(folder: &Path) -> anyhow::Result<()> {
    let at = || format!("{}: cannot be looked through", folder.display());
    for entry in std::fs::read_dir(folder).with_context(at)? {
        let entry = entry.with_context(at)?;
        let name = entry.file_name();
        if name.to_string_lossy().starts_with("part-") {
            std::fs::remove_file(entry.path()).with_context(at)?;
        }
    }
    Ok(())
}

/// `2026-11-28`
fn day(time: Timestamp) -> String {
    time.to_rfc3339().chars().take(10).collect()
}

/// A folder's name as Hive escapes it.
fn level(asset: &str) -> String {
    let mut name = String::new();
    for c in asset.chars() {
        if c.is_control() || "\"#%'*/:=?\\{}[]^<>|".contains(c) {
            let mut bytes = [0; 4];
            for byte in c.encode_utf8(&mut bytes).bytes() {
                let _ = write!(name, "%{byte:02X}");
            }
        } else {
            name.push(c);
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tag::TagId;

    #[test]
    fn each_asset_and_day_has_a_file_and_no_unfinished_one_stays() {
        let folder = tempfile::tempdir().unwrap();
        let mut out = Folder::new(folder.path()).unwrap();
        let midnight = 1_700_006_400;
        for second in [midnight - 1, midnight, midnight + 1] {
            for asset in ["press-1", "line 1/press=2"] {
                let sample = Sample::new(TagId(0), Timestamp::from_secs(second), 1.0);
                out.write(&[asset.into(), "flow".into()], &sample, "good").unwrap();
            }
        }
        assert_eq!(out.finish().unwrap(), (6, 4));
        let mut files = Vec::new();
        for asset in ["asset=press-1", "asset=line 1%2Fpress%3D2"] {
            for day in ["date=2023-11-14", "date=2023-11-15"] {
                let day = std::fs::read_dir(folder.path().join(asset).join(day)).unwrap();
                files.extend(day.map(|file| file.unwrap().file_name().into_string().unwrap()));
            }
        }
        assert_eq!(files, ["part.parquet"; 4]);
    }

    #[test]
    fn more_days_than_files_may_be_open_lose_no_row() {
        let folder = tempfile::tempdir().unwrap();
        let mut out = Folder::new(folder.path()).unwrap();
        let days = 266_u32;
        assert!(days as usize > OPEN);
        for turn in 0..2 {
            for day in 0..days {
                let time = Timestamp::from_secs(1_700_000_000 + i64::from(day) * 86_400 + turn);
                let sample = Sample::new(TagId(0), time, 1.0);
                out.write(&["press-1".into(), "flow".into()], &sample, "good").unwrap();
            }
        }
        let (rows, files) = out.finish().unwrap();
        assert_eq!(rows, 2 * u64::from(days));
        assert!(files > days as usize, "some days were closed and came again");
    }
}
