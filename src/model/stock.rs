//! Packages into the repository and out of it: whole, or not at all.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::load::LoadError;
use super::open::open;
use super::repository::{RepositoryError, find};
use super::service::Service;
use crate::settings::RuntimeSettings;

#[derive(Debug, thiserror::Error)]
pub enum StockError {
    #[error("{}: expected a folder <name>/<version>", .0.display())]
    NoVersion(PathBuf),
    #[error(transparent)]
    Missing(#[from] RepositoryError),
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    NotGood(Vec<LoadError>),
    #[error("{} is there already; a version never changes: count it up", .0.display())]
    Taken(PathBuf),
    #[error("{} cannot be written: {error}", path.display())]
    Unwritten { path: PathBuf, error: io::Error },
    #[error("{} cannot be taken away: {error}", path.display())]
    Stays { path: PathBuf, error: io::Error },
    #[error("the version is gone, and what is left of it lies in {}: {error}", path.display())]
    Remains { path: PathBuf, error: io::Error },
}

/// Loads the package in `folder`, which is a `<name>/<version>`, as a prediction or a request
/// would, and lets go of it. Blocks.
pub fn verify(folder: &Path, runtime: &RuntimeSettings) -> Result<Service, StockError> {
    let (name, version, models) = place(folder)?;
    let own = RuntimeSettings { models: models.to_owned(), ..runtime.clone() };
    let service = open(&own, &format!("{name}/{version}")).map_err(StockError::NotGood)?;
    service.close();
    Ok(service)
}

/// Verifies the package in `folder` and copies it into the repository; gives its place there.
/// Blocks.
pub fn add(folder: &Path, runtime: &RuntimeSettings) -> Result<(Service, PathBuf), StockError> {
    let service = verify(folder, runtime)?;
    let identity = &service.identity;
    let target = copy(folder, &runtime.models, &identity.name, &identity.version)?;
    Ok((service, target))
}

/// The folder of `reference`, which names a version, in or below the repository.
pub fn folder(models: &Path, within: &str, reference: &str) -> Result<PathBuf, StockError> {
    let plain = |part: &str| !part.is_empty() && !part.starts_with('.') && !part.contains('\\');
    if !within.split('/').all(plain) {
        return Err(RepositoryError::BadReference(within.to_owned()).into());
    }
    Ok(find(&models.join(within), reference)?)
}

/// Name, version, and the folder of all models that both lie in.
fn place(folder: &Path) -> Result<(&str, &str, &Path), StockError> {
    let parent = folder.parent();
    let parts = parent
        .and_then(Path::file_name)
        .and_then(OsStr::to_str)
        .zip(folder.file_name().and_then(OsStr::to_str))
        .zip(parent.and_then(Path::parent));
    let ((name, version), models) =
        parts.ok_or_else(|| StockError::NoVersion(folder.to_owned()))?;
    Ok((name, version, models))
}

/// Copies the package beside its place first: a version is there whole, or not at all.
fn copy(from: &Path, models: &Path, name: &str, version: &str) -> Result<PathBuf, StockError> {
    let target = models.join(name).join(version);
    if target.exists() {
        return Err(StockError::Taken(target));
    }
    let beside = models.join(name).join(format!(".{version}.{}", std::process::id()));
    let copied = copy_files(from, &beside)
        .and_then(|()| fs::rename(&beside, &target))
        .and_then(|()| File::open(models.join(name))?.sync_all());
    match copied {
        Ok(()) => Ok(target),
        Err(error) => {
            // What could not be written whole is no use; the first error is told.
            let _ = fs::remove_dir_all(&beside);
            Err(StockError::Unwritten { path: target, error })
        }
    }
}

fn copy_files(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        if entry.path().is_file() {
            let file = to.join(entry.file_name());
            fs::copy(entry.path(), &file)?;
            File::open(&file)?.sync_all()?;
        }
    }
    File::open(to)?.sync_all()
}

/// Takes a version's folder away: out of sight in one step, then off the disk. A power cut leaves a
/// version whole or none of it that anybody would load.
pub fn discard(folder: &Path) -> Result<(), StockError> {
    let parts = folder.parent().zip(folder.file_name().and_then(OsStr::to_str));
    let (parent, version) = parts.ok_or_else(|| StockError::NoVersion(folder.to_owned()))?;
    let away = parent.join(format!(".{version}.removed.{}", std::process::id()));
    fs::rename(folder, &away)
        .and_then(|()| File::open(parent)?.sync_all())
        .map_err(|error| StockError::Stays { path: folder.to_owned(), error })?;
    fs::remove_dir_all(&away).map_err(|error| StockError::Remains { path: away.clone(), error })?;
    // A model without versions is none; one that has others keeps its folder.
    let _ = fs::remove_dir(parent);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_goes_whole_and_the_last_one_takes_the_models_folder_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let version = |version: &str| folder.path().join("root").join(version);
        for name in ["1.0.0", "1.1.0"] {
            fs::create_dir_all(version(name)).unwrap();
            fs::write(version(name).join("model.toml"), "").unwrap();
        }
        discard(&version("1.0.0")).unwrap();
        let left: Vec<_> = fs::read_dir(folder.path().join("root")).unwrap().flatten().collect();
        assert_eq!(left.len(), 1, "{left:?}");
        discard(&version("1.1.0")).unwrap();
        assert!(!folder.path().join("root").exists());
    }

    #[test]
    fn a_folder_outside_of_the_repository_is_none_of_it() {
        let models = Path::new("models");
        for within in ["", "..", "a/..", "/etc", "incoming/.hidden", "a\\b"] {
            let found = folder(models, within, "root/1.0.0");
            let refused =
                matches!(found, Err(StockError::Missing(RepositoryError::BadReference(_))));
            assert!(refused, "{within}: {found:?}");
        }
    }
}
