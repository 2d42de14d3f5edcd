//! Which models a box takes: any, or those alone that a trusted key has signed.
//!
//! A signature is `model.sig` in the version's folder, in the format of OpenSSF Model Signing
//! (version 1.0, key method), so that its reference implementation signs for Andon and verifies
//! what Andon signs. A model that must verify is run from the very bytes that were verified.

mod bundle;
mod files;
mod key;

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

pub use self::bundle::BundleError;
#[cfg(any(test, fuzzing))]
pub(crate) use self::bundle::read_untrusted;
pub(super) use self::bundle::sha256;
pub(super) use self::files::Files;
pub use self::files::FilesError;
pub use self::key::{KeyError, PublicKey, SecretKey};
use crate::settings::RuntimeSettings;

/// The signature's file, in the version's folder.
pub const SIGNATURE: &str = "model.sig";
/// A bundle names each file in some hundred bytes.
const LARGEST_SIGNATURE: u64 = 4 << 20;

/// Why a folder is not taken as what was signed.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error(
        "{} has no {SIGNATURE}, and `runtime.require_signature` asks for one; \
         sign it: andon model sign --key KEY.pem {}",
        folder.display(),
        folder.display()
    )]
    Unsigned { folder: PathBuf },
    #[error("{} cannot be read: {error}", file.display())]
    Unreadable { file: PathBuf, error: io::Error },
    #[error("{}: {error}", file.display())]
    Bundle { file: PathBuf, error: BundleError },
    #[error(transparent)]
    Files(#[from] FilesError),
}

/// What `[runtime]` says about signatures.
#[derive(Debug)]
pub(super) enum Policy {
    Anyone,
    Keys(Vec<PublicKey>),
}

impl Policy {
    /// Reads the keys anew, so that one that was exchanged holds from the next model on.
    pub(super) fn of(settings: &RuntimeSettings) -> Result<Self, KeyError> {
        if !settings.require_signature {
            return Ok(Self::Anyone);
        }
        if settings.trusted_keys.is_empty() {
            return Err(KeyError::None);
        }
        let keys = settings.trusted_keys.iter().map(|file| PublicKey::read(file));
        Ok(Self::Keys(keys.collect::<Result<_, _>>()?))
    }
}

/// Whose signature a folder bears, and over what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The trusted key's file.
    pub key: PathBuf,
    /// SHA-256 of that key, as the bundle tells it.
    pub fingerprint: String,
    pub files: usize,
}

/// Holds every file of `folder` against its signature, which must be of one of `keys`.
pub fn verify(folder: &Path, keys: &[PublicKey]) -> Result<Verified, TrustError> {
    Ok(read_signed(folder, keys)?.1)
}

/// The folder's files in memory, each of them as it was signed.
fn read_signed(folder: &Path, keys: &[PublicKey]) -> Result<(Files, Verified), TrustError> {
    let file = folder.join(SIGNATURE);
    let text = match files::read_plain(&file, LARGEST_SIGNATURE) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(TrustError::Unsigned { folder: folder.to_owned() });
        }
        Err(error) => return Err(TrustError::Unreadable { file, error }),
    };
    let (manifest, key) =
        bundle::open(&text, keys).map_err(|error| TrustError::Bundle { file, error })?;
    let files = Files::signed(folder, &manifest)?;
    let key = &keys[key];
    let verified = Verified {
        key: key.file().to_owned(),
        fingerprint: key.fingerprint().to_owned(),
        files: manifest.len(),
    };
    Ok((files, verified))
}

/// What `policy` lets be read of `folder`.
pub(super) fn open(folder: &Path, policy: &Policy) -> Result<Files, TrustError> {
    match policy {
        Policy::Anyone => Ok(Files::on_disk(folder)),
        Policy::Keys(keys) => {
            let (files, verified) = read_signed(folder, keys)?;
            tracing::info!(
                folder = %folder.display(),
                key = %verified.key.display(),
                files = verified.files,
                "the model's signature is good"
            );
            Ok(files)
        }
    }
}

/// Signs every file of `folder` and writes the signature beside them, whole or not at all.
pub fn sign(folder: &Path, key: &SecretKey) -> Result<Verified, TrustError> {
    let manifest = files::hash_all(folder)?;
    let name = folder.file_name().map_or_else(String::new, |name| name.to_string_lossy().into());
    let text = bundle::seal(&name, &manifest, key);
    let file = folder.join(SIGNATURE);
    let beside = folder.join(format!(".{SIGNATURE}.{}", std::process::id()));
    let written = File::create(&beside)
        .and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.sync_all()
        })
        .and_then(|()| fs::rename(&beside, &file));
    if let Err(error) = written {
        // What could not be written whole is no use; the first error is told.
        let _ = fs::remove_file(&beside);
        return Err(TrustError::Unreadable { file, error });
    }
    Ok(Verified {
        key: key.file().to_owned(),
        fingerprint: key.fingerprint().to_owned(),
        files: manifest.len(),
    })
}

#[cfg(test)]
mod tests;
