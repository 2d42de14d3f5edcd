//! The model repository: `<name>/<version>/{model.onnx, model.toml, golden.json}`.

use std::cmp::Ordering;
use std::fs;
use std::path::{Path, PathBuf};

use super::card::{Card, CardError};
use super::external;
use super::golden::{self, GoldenError};
use super::items::Items;
use super::trust::{self, Files, Policy, TrustError, sha256};
use crate::settings::RuntimeSettings;

#[derive(Debug, thiserror::Error)]
pub enum RepositoryError {
    #[error("`{0}` is no model; write `<name>` or `<name>/<version>`")]
    BadReference(String),
    #[error("no model `{name}` in {}; it has {}", models.display(), list(have))]
    NoModel { models: PathBuf, name: String, have: Vec<String> },
    #[error("model `{name}` has no version `{version}`; it has {}", list(have))]
    NoVersion { name: String, version: String, have: Vec<String> },
    #[error("{} cannot be read: {error}", path.display())]
    Unreadable { path: PathBuf, error: std::io::Error },
    #[error(
        "{} is not the file that the card means: expected sha256 {expected}, got {got}; \
         copy the model again, or write its hash in the card",
        path.display()
    )]
    WrongHash { path: PathBuf, expected: String, got: String },
    #[error(
        "{} keeps weights outside, in `{outside}`; save the model as one file",
        path.display()
    )]
    External { path: PathBuf, outside: String },
    #[error(transparent)]
    Card(CardError),
    #[error(transparent)]
    Trust(#[from] TrustError),
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "none".into() } else { names.join(", ") }
}

/// A model as it lies on the disk, its bytes checked against its card.
#[derive(Debug)]
pub struct Package {
    pub card: Card,
    /// The card's text, for errors that name a line.
    pub(super) text: String,
    /// Empty where a server has the model, and none lies here.
    pub onnx: Vec<u8>,
    /// The card's other files; where a signature is asked for, those that were verified.
    pub(super) files: Files,
}

impl Package {
    /// What this box knows for certain of a model that a server runs.
    pub(super) fn card_hash(&self) -> String {
        sha256(self.text.as_bytes())
    }

    pub fn card_file(&self) -> PathBuf {
        self.files.path(CARD)
    }

    /// What goes into the model in its golden pairs, item after item of `item_len` numbers, or texts.
    pub fn golden_inputs(&self, item_len: usize) -> Result<Items, GoldenError> {
        let none = Items::none(self.card.input.layout);
        golden::inputs(&self.files, &self.card.reference.golden, item_len, none)
    }

    /// Reads the model in `folder`, under the policy of `settings`; every problem of the card at
    /// once.
    pub fn read(folder: &Path, settings: &RuntimeSettings) -> Result<Self, Vec<RepositoryError>> {
        Self::from_files(open(folder, settings)?)
    }

    pub(super) fn from_files(mut files: Files) -> Result<Self, Vec<RepositoryError>> {
        let file = files.path(CARD);
        let text = card_text(&files)?;
        let card = Card::parse(&file, &text)
            .map_err(|errors| errors.into_iter().map(RepositoryError::Card).collect::<Vec<_>>())?;
        let onnx = match card.has_graph() {
            true => read_service(&mut files, &card.name, &card.version, &card.sha256)?,
            false => match misplaced(files.folder(), &card.name, &card.version) {
                wrong if wrong.is_empty() => Vec::new(),
                wrong => return Err(wrong),
            },
        };
        Ok(Self { card, text, onnx, files })
    }
}

/// The files of `folder`, which must be signed where `settings` ask for that.
pub(super) fn open(
    folder: &Path,
    settings: &RuntimeSettings,
) -> Result<Files, Vec<RepositoryError>> {
    Policy::of(settings)
        .map_err(TrustError::from)
        .and_then(|policy| trust::open(folder, &policy))
        .map_err(|error| vec![error.into()])
}

pub(super) fn card_text(files: &Files) -> Result<String, Vec<RepositoryError>> {
    let bytes = files
        .read(CARD)
        .map_err(|error| vec![RepositoryError::Unreadable { path: files.path(CARD), error }])?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The graph's bytes, which must be those that the card means, where the card says it lies.
pub(super) fn read_service(
    files: &mut Files,
    name: &str,
    version: &str,
    hash: &str,
) -> Result<Vec<u8>, Vec<RepositoryError>> {
    let mut errors = misplaced(files.folder(), name, version);
    let path = files.path(ONNX);
    let onnx = files
        .take(ONNX)
        .map_err(|error| vec![RepositoryError::Unreadable { path: path.clone(), error }])?;
    let (expected, got) = (hash.to_ascii_lowercase(), sha256(&onnx));
    if expected != got {
        errors.push(RepositoryError::WrongHash { path: path.clone(), expected, got });
    }
    if let Some(outside) = external::outside_file(&onnx) {
        errors.push(RepositoryError::External { path, outside });
    }
    if errors.is_empty() { Ok(onnx) } else { Err(errors) }
}

/// Every `(name, version)` that has a card, versions from the lowest to the highest.
pub fn index(models: &Path) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for name in folders(models) {
        let mut versions = folders_with_cards(&models.join(&name));
        versions.sort_by(|a, b| compare_versions(a, b));
        found.extend(versions.into_iter().map(|version| (name.clone(), version)));
    }
    found
}

pub(super) const CARD: &str = "model.toml";
pub(super) const ONNX: &str = "model.onnx";

/// A card must stand in the folders that its name and version say.
fn misplaced(folder: &Path, name: &str, version: &str) -> Vec<RepositoryError> {
    let file = folder.join(CARD);
    let in_version = folder.file_name().and_then(|name| name.to_str());
    let in_name = folder.parent().and_then(Path::file_name).and_then(|name| name.to_str());
    [("version", version, in_version), ("name", name, in_name)]
        .into_iter()
        .filter(|(_, says, lies)| lies.is_some_and(|lies| lies != *says))
        .map(|(key, says, lies)| {
            let lies = lies.unwrap_or_default();
            RepositoryError::Card(CardError {
                file: file.clone(),
                key: key.into(),
                place: None,
                message: format!("says `{says}`, but the folder is `{lies}`; make them the same"),
            })
        })
        .collect()
}

/// The folder of `reference`: `<name>` (highest version) or `<name>/<version>`.
pub fn find(models: &Path, reference: &str) -> Result<PathBuf, RepositoryError> {
    let (name, version) = match reference.split_once('/') {
        Some((name, version)) => (name, Some(version)),
        None => (reference, None),
    };
    let plain =
        |part: &str| !part.is_empty() && !part.starts_with('.') && !part.contains(['/', '\\']);
    if !plain(name) || version.is_some_and(|version| !plain(version)) {
        return Err(RepositoryError::BadReference(reference.into()));
    }
    let folder = models.join(name);
    let mut have = folders_with_cards(&folder);
    have.sort_by(|a, b| compare_versions(a, b));
    if have.is_empty() {
        let mut have = folders(models);
        have.retain(|name| !folders_with_cards(&models.join(name)).is_empty());
        let (models, name) = (models.to_owned(), name.into());
        return Err(RepositoryError::NoModel { models, name, have });
    }
    match version {
        None => Ok(folder.join(have.last().expect("checked to hold one"))),
        Some(version) if have.iter().any(|known| known == version) => Ok(folder.join(version)),
        Some(version) => {
            let (name, version) = (name.into(), version.into());
            Err(RepositoryError::NoVersion { name, version, have })
        }
    }
}

fn folders(path: &Path) -> Vec<String> {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    let folders = entries.filter(|entry| entry.path().is_dir());
    let mut names: Vec<_> =
        folders.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.retain(|name| !name.starts_with('.'));
    names.sort();
    names
}

fn folders_with_cards(path: &Path) -> Vec<String> {
    let mut names = folders(path);
    names.retain(|name| path.join(name).join(CARD).is_file());
    names
}

/// Number by number; a pre-release (`1.0.0-rc1`) comes before its release.
pub fn compare_versions(a: &str, b: &str) -> Ordering {
    let (a_main, a_pre) = a.split_once('-').map_or((a, None), |(main, pre)| (main, Some(pre)));
    let (b_main, b_pre) = b.split_once('-').map_or((b, None), |(main, pre)| (main, Some(pre)));
    compare_parts(a_main, b_main).then_with(|| match (a_pre, b_pre) {
        (None, None) => Ordering::Equal,
        (None, Some(_)) => Ordering::Greater,
        (Some(_), None) => Ordering::Less,
        (Some(a), Some(b)) => compare_parts(a, b),
    })
}

fn compare_parts(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.split('.'), b.split('.'));
    loop {
        let order = match (a.next(), b.next()) {
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => Ordering::Less,
            (Some(_), None) => Ordering::Greater,
            (Some(a), Some(b)) => match (a.parse::<u64>(), b.parse::<u64>()) {
                (Ok(a), Ok(b)) => a.cmp(&b),
                _ => a.cmp(b),
            },
        };
        if order != Ordering::Equal {
            return order;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_number_by_number() {
        let mut versions = ["1.10.0", "1.2.0", "2.0.0-rc1", "2.0.0", "1.9", "1.9.1"];
        versions.sort_by(|a, b| compare_versions(a, b));
        assert_eq!(versions, ["1.2.0", "1.9", "1.9.1", "1.10.0", "2.0.0-rc1", "2.0.0"]);
    }

    #[test]
    fn references_that_leave_the_repository_are_refused() {
        for reference in ["", "..", "../x", "a/..", "a/b/c", "/etc"] {
            let found = find(Path::new("models"), reference);
            assert!(matches!(found, Err(RepositoryError::BadReference(_))), "{reference}");
        }
    }

    #[test]
    fn the_hash_is_the_one_sha256sum_prints() {
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(sha256(b""), empty);
    }
}
