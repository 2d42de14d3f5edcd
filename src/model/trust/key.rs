//! Keys: ECDSA on P-256 or P-384 in PEM files, as `openssl ecparam` and the reference
//! implementation of Model Signing write and read them.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::SignatureScheme;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{
    AlgorithmIdentifier, PrivateKeyDer, SignatureVerificationAlgorithm, SubjectPublicKeyInfoDer,
    alg_id,
};
use rustls::sign::{SigningKey, public_key_to_spki};

use super::bundle::sha256;

/// A key that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error("{} cannot be read: {error}", file.display())]
    Unreadable { file: PathBuf, error: io::Error },
    #[error(
        "{} holds no public key; expected PEM with `BEGIN PUBLIC KEY`: \
         openssl ec -in KEY.pem -pubout",
        file.display()
    )]
    NoPublic { file: PathBuf },
    #[error(
        "{} holds no private key that is not encrypted; expected PEM with `BEGIN EC PRIVATE KEY` \
         or `BEGIN PRIVATE KEY`: openssl ecparam -name prime256v1 -genkey -noout",
        file.display()
    )]
    NoSecret { file: PathBuf },
    #[error("{} is no key on the curve P-256 or P-384, which model signatures need", file.display())]
    Curve { file: PathBuf },
    #[error("`runtime.trusted_keys` is empty, so no signature can be good; name the public keys")]
    None,
}

/// The curves, each with its hash: (of the key, length of a point, scheme, algorithm of TLS).
const CURVES: [(AlgorithmIdentifier, usize, SignatureScheme, AlgorithmIdentifier); 2] = [
    (alg_id::ECDSA_P256, 65, SignatureScheme::ECDSA_NISTP256_SHA256, alg_id::ECDSA_SHA256),
    (alg_id::ECDSA_P384, 97, SignatureScheme::ECDSA_NISTP384_SHA384, alg_id::ECDSA_SHA384),
];

/// Verifies signatures.
#[derive(Clone, Debug)]
pub struct PublicKey {
    file: PathBuf,
    fingerprint: String,
    point: Vec<u8>,
    algorithm: &'static dyn SignatureVerificationAlgorithm,
}

impl PublicKey {
    pub fn read(file: &Path) -> Result<Self, KeyError> {
        let der = SubjectPublicKeyInfoDer::from_pem_file(file).map_err(|error| {
            let file = file.to_owned();
            match error {
                pem::Error::Io(error) => KeyError::Unreadable { file, error },
                _ => KeyError::NoPublic { file },
            }
        })?;
        let (point, algorithm) =
            recognised(&der).ok_or_else(|| KeyError::Curve { file: file.to_owned() })?;
        let (file, fingerprint) = (file.to_owned(), fingerprint(&der));
        Ok(Self { file, fingerprint, point, algorithm })
    }

    pub fn file(&self) -> &Path {
        &self.file
    }

    /// SHA-256 of the key's PEM, in hexadecimal digits.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    pub(super) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        self.algorithm.verify_signature(&self.point, message, signature).is_ok()
    }
}

/// The point and the algorithm of a key that is written in the one way that DER has for it.
fn recognised(
    der: &SubjectPublicKeyInfoDer<'_>,
) -> Option<(Vec<u8>, &'static dyn SignatureVerificationAlgorithm)> {
    CURVES.iter().find_map(|(curve, length, scheme, signature)| {
        let point = der.get(der.len().checked_sub(*length)?..)?;
        if public_key_to_spki(curve, point) != *der {
            return None;
        }
        let known = rustls::crypto::ring::default_provider().signature_verification_algorithms;
        let (_, algorithms) = known.mapping.iter().find(|(known, _)| known == scheme)?;
        let fits = |algorithm: &&&'static dyn SignatureVerificationAlgorithm| {
            algorithm.public_key_alg_id() == *curve && algorithm.signature_alg_id() == *signature
        };
        Some((point.to_vec(), *algorithms.iter().find(fits)?))
    })
}

/// Makes signatures.
#[derive(Clone, Debug)]
pub struct SecretKey {
    file: PathBuf,
    fingerprint: String,
    key: Arc<dyn SigningKey>,
}

impl SecretKey {
    pub fn read(file: &Path) -> Result<Self, KeyError> {
        let der = PrivateKeyDer::from_pem_file(file).map_err(|error| {
            let file = file.to_owned();
            match error {
                pem::Error::Io(error) => KeyError::Unreadable { file, error },
                _ => KeyError::NoSecret { file },
            }
        })?;
        let curve = || KeyError::Curve { file: file.to_owned() };
        let key = rustls::crypto::ring::sign::any_ecdsa_type(&der).map_err(|_| curve())?;
        let fingerprint = fingerprint(&key.public_key().ok_or_else(curve)?);
        Ok(Self { file: file.to_owned(), fingerprint, key })
    }

    pub fn file(&self) -> &Path {
        &self.file
    }

    pub(super) fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    pub(super) fn sign(&self, message: &[u8]) -> Vec<u8> {
        let schemes = CURVES.map(|(_, _, scheme, _)| scheme);
        let signer = self.key.choose_scheme(&schemes).expect("the key is on one of the curves");
        signer.sign(message).expect("the system gives random numbers")
    }
}

/// The reference implementation's name for a key: the hash of its PEM, with lines of 64.
fn fingerprint(der: &SubjectPublicKeyInfoDer<'_>) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<&str> = text
        .as_bytes()
        .chunks(64)
        .map(|line| std::str::from_utf8(line).expect("base64 is ASCII"))
        .collect();
    let pem =
        format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", lines.join("\n"));
    sha256(pem.as_bytes())
}
