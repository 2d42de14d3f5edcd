//! The files of a version's folder, as a model is read from them.
//!
//! Where a signature is asked for, each file is read once, its bytes are held against the
//! signature, and those very bytes are what the model is made of: whoever changes the disk
//! afterwards changes nothing.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::SIGNATURE;
use super::bundle::{Manifest, sha256};

/// Protobuf, and so ONNX, ends at 2 GiB.
const LARGEST_FILE: u64 = 2 << 30;
const DEEPEST: usize = 8;
/// What the reference implementation leaves out of every signature.
const GIT: [&str; 4] = [".git", ".gitattributes", ".github", ".gitignore"];

/// A folder that is not what was signed, or cannot be signed.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    #[error("{} cannot be read: {error}", path.display())]
    Unreadable { path: PathBuf, error: io::Error },
    #[error(
        "{} was changed since it was signed: expected sha256 {expected}, got {got}; \
         copy the model again",
        path.display()
    )]
    Changed { path: PathBuf, expected: String, got: String },
    #[error("{} is signed, and is not there; copy the model again", path.display())]
    Missing { path: PathBuf },
    #[error("{} is not signed; remove it, or sign the model again", path.display())]
    Unsigned { path: PathBuf },
    #[error("{} is neither a file nor a folder, and links are not followed; copy what it leads to", path.display())]
    Link { path: PathBuf },
    #[error("{} is no part of a model; remove it", path.display())]
    Git { path: PathBuf },
    #[error("{} lies too deep: at most {DEEPEST} folders are followed", path.display())]
    TooDeep { path: PathBuf },
    #[error("{} has a name that is no text", path.display())]
    Name { path: PathBuf },
    #[error("{} holds nothing to sign", folder.display())]
    Nothing { folder: PathBuf },
}

/// What a model is read from.
#[derive(Debug)]
pub(in crate::model) struct Files {
    folder: PathBuf,
    /// Absent: whatever the disk holds.
    signed: Option<BTreeMap<String, Vec<u8>>>,
}

impl Files {
    pub(super) fn on_disk(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), signed: None }
    }

    /// All that `manifest` names, and nothing else may lie there.
    pub(super) fn signed(folder: &Path, manifest: &Manifest) -> Result<Self, FilesError> {
        let lying = list(folder)?;
        if let Some(stray) = lying.iter().find(|name| !manifest.contains_key(*name)) {
            return Err(FilesError::Unsigned { path: folder.join(stray) });
        }
        let mut held = BTreeMap::new();
        for (name, expected) in manifest {
            let path = folder.join(name);
            if !lying.contains(name) {
                return Err(FilesError::Missing { path });
            }
            let bytes = read_plain(&path, LARGEST_FILE)
                .map_err(|error| FilesError::Unreadable { path: path.clone(), error })?;
            let got = sha256(&bytes);
            if got != *expected {
                return Err(FilesError::Changed { path, expected: expected.clone(), got });
            }
            held.insert(name.clone(), bytes);
        }
        Ok(Self { folder: folder.to_owned(), signed: Some(held) })
    }

    pub(in crate::model) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(in crate::model) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    pub(in crate::model) fn read(&self, name: &str) -> io::Result<Cow<'_, [u8]>> {
        match &self.signed {
            None => fs::read(self.path(name)).map(Cow::Owned),
            Some(held) => held.get(name).map(|bytes| Cow::Borrowed(&**bytes)).ok_or_else(unsigned),
        }
    }

    /// Reads a large file that nobody asks for again.
    pub(in crate::model) fn take(&mut self, name: &str) -> io::Result<Vec<u8>> {
        match &mut self.signed {
            None => fs::read(self.folder.join(name)),
            Some(held) => held.remove(name).ok_or_else(unsigned),
        }
    }
}

fn unsigned() -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, "the signature names no such file")
}

/// The hash of every file of `folder`, for a signature.
pub(super) fn hash_all(folder: &Path) -> Result<Manifest, FilesError> {
    let mut manifest = Manifest::new();
    for name in list(folder)? {
        let path = folder.join(&name);
        if GIT.iter().any(|git| name.split('/').next() == Some(git)) {
            return Err(FilesError::Git { path });
        }
        let bytes = read_plain(&path, LARGEST_FILE)
            .map_err(|error| FilesError::Unreadable { path, error })?;
        manifest.insert(name, sha256(&bytes));
    }
    if manifest.is_empty() {
        return Err(FilesError::Nothing { folder: folder.to_owned() });
    }
    Ok(manifest)
}

/// Every file's name from `folder` on, but for the signature's own.
fn list(folder: &Path) -> Result<Vec<String>, FilesError> {
    let mut names = Vec::new();
    walk(folder, "", 0, &mut names)?;
    names.retain(|name| name != SIGNATURE);
    names.sort();
    Ok(names)
}

fn walk(
    folder: &Path,
    before: &str,
    depth: usize,
    names: &mut Vec<String>,
) -> Result<(), FilesError> {
    if depth > DEEPEST {
        return Err(FilesError::TooDeep { path: folder.to_owned() });
    }
    let unreadable = |error| FilesError::Unreadable { path: folder.to_owned(), error };
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let path = entry.path();
        let Ok(name) = entry.file_name().into_string() else {
            return Err(FilesError::Name { path });
        };
        let name = format!("{before}{name}");
        // Of the entry itself, not of what a link leads to.
        let kind = entry.file_type().map_err(unreadable)?;
        if kind.is_dir() {
            walk(&path, &format!("{name}/"), depth + 1, names)?;
        } else if kind.is_file() {
            names.push(name);
        } else {
            return Err(FilesError::Link { path });
        }
    }
    Ok(())
}

/// A file's bytes, if it is a plain file and no larger than `most`.
pub(super) fn read_plain(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    if !fs::symlink_metadata(path)?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "this is no plain file"));
    }
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    if length > most {
        let message = format!("{length} bytes are more than the {most} that are read");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or_default());
    // It may have become a device or a growing file since: no more than was promised.
    file.take(length + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}
