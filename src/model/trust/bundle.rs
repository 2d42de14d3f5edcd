//! The signature's text: a Sigstore bundle, in it a DSSE envelope, in it an in-toto statement
//! that names every file with its hash. Pure.

use std::collections::BTreeMap;
use std::fmt::Write;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::key::{PublicKey, SecretKey};

const MEDIA: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
const PAYLOAD: &str = "application/vnd.in-toto+json";
const STATEMENT: &str = "https://in-toto.io/Statement/v1";
const PREDICATE: &str = "https://model_signing/signature/v1.0";
const MOST_FILES: usize = 1000;

/// The SHA-256 of each file, in hexadecimal digits, by its name from the folder on.
pub(super) type Manifest = BTreeMap<String, String>;

/// A signature that says nothing, or nothing that is trusted.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    #[error("is no Sigstore bundle with a signed statement: {0}; sign the model again")]
    Malformed(String),
    #[error("{what} is `{got}`, expected `{expected}`: not a signature of this kind")]
    Kind { what: &'static str, got: String, expected: &'static str },
    #[error("is signed by the key {0}, which is none of those that are trusted")]
    Stranger(String),
    #[error("is not signed by any of the keys that are trusted, or was changed since")]
    Bad,
    #[error("names the file `{0}`, which cannot be one inside the folder")]
    Name(String),
    #[error("names the file `{0}` twice")]
    Twice(String),
    #[error("names {0} files; at most {MOST_FILES} are read")]
    TooMany(usize),
    #[error("hashes `{name}` by `{algorithm}`; sign it with whole files and sha256")]
    Algorithm { name: String, algorithm: String },
    #[error("contradicts itself: the hashes of its files are not those of its subject")]
    Root,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Bundle {
    media_type: String,
    verification_material: Material,
    dsse_envelope: Envelope,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Material {
    public_key: Option<Hint>,
    #[serde(default)]
    tlog_entries: Vec<serde_json::Value>,
}

#[derive(Serialize, Deserialize)]
struct Hint {
    hint: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope {
    payload: String,
    payload_type: String,
    signatures: Vec<Signature>,
}

#[derive(Serialize, Deserialize)]
struct Signature {
    sig: String,
    #[serde(default)]
    keyid: String,
}

#[derive(Serialize, Deserialize)]
struct Statement {
    #[serde(rename = "_type")]
    kind: String,
    subject: Vec<Subject>,
    #[serde(rename = "predicateType")]
    predicate_type: String,
    predicate: Predicate,
}

#[derive(Serialize, Deserialize)]
struct Subject {
    name: String,
    digest: SubjectDigest,
}

#[derive(Serialize, Deserialize)]
struct SubjectDigest {
    sha256: String,
}

#[derive(Serialize, Deserialize)]
struct Predicate {
    serialization: Serialization,
    resources: Vec<Resource>,
}

#[derive(Serialize, Deserialize)]
struct Serialization {
    method: String,
    hash_type: String,
    allow_symlinks: bool,
    #[serde(default)]
    ignore_paths: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct Resource {
    name: String,
    algorithm: String,
    digest: String,
}

/// What `text` says, and which of `keys` has signed it. Nothing in it is believed before.
pub(super) fn open(text: &[u8], keys: &[PublicKey]) -> Result<(Manifest, usize), BundleError> {
    let malformed = |what: &str| BundleError::Malformed(what.to_owned());
    let bundle: Bundle =
        serde_json::from_slice(text).map_err(|error| BundleError::Malformed(error.to_string()))?;
    expect("mediaType", &bundle.media_type, MEDIA)?;
    let envelope = &bundle.dsse_envelope;
    expect("payloadType", &envelope.payload_type, PAYLOAD)?;
    let [signature] = &*envelope.signatures else {
        return Err(malformed("expected one signature"));
    };
    let decoded = |text: &str| STANDARD.decode(text).map_err(|_| malformed("this is no base64"));
    let (payload, signature) = (decoded(&envelope.payload)?, decoded(&signature.sig)?);
    let message = authenticated(&payload);
    let Some(key) = keys.iter().position(|key| key.verifies(&message, &signature)) else {
        let hint = bundle.verification_material.public_key.and_then(|key| key.hint);
        let known = |hint: &String| keys.iter().any(|key| key.fingerprint() == hint);
        return Err(match hint.filter(|hint| !known(hint)) {
            Some(hint) => BundleError::Stranger(hint),
            None => BundleError::Bad,
        });
    };
    Ok((stated(&payload)?, key))
}

fn stated(payload: &[u8]) -> Result<Manifest, BundleError> {
    let statement: Statement = serde_json::from_slice(payload)
        .map_err(|error| BundleError::Malformed(error.to_string()))?;
    manifest(statement)
}

/// Reads `text` as a bundle, and as the statement that one would carry.
#[cfg(any(test, fuzzing))]
pub(crate) fn read_untrusted(text: &[u8]) {
    open(text, &[]).expect_err("nobody is trusted");
    if let Ok(manifest) = stated(text) {
        for (name, digest) in manifest {
            assert!(is_inside(&name) && digest.len() == 64, "{name}: {digest}");
        }
    }
}

fn manifest(statement: Statement) -> Result<Manifest, BundleError> {
    expect("_type", &statement.kind, STATEMENT)?;
    expect("predicateType", &statement.predicate_type, PREDICATE)?;
    let Predicate { serialization, resources } = statement.predicate;
    expect("serialization.method", &serialization.method, "files")?;
    let [subject] = &*statement.subject else {
        return Err(BundleError::Malformed("expected one subject".into()));
    };
    if resources.len() > MOST_FILES {
        return Err(BundleError::TooMany(resources.len()));
    }
    let mut root = Sha256::new();
    let mut manifest = Manifest::new();
    for Resource { name, algorithm, digest } in resources {
        if algorithm != "sha256" {
            return Err(BundleError::Algorithm { name, algorithm });
        }
        if !is_inside(&name) {
            return Err(BundleError::Name(name));
        }
        let Some(bytes) = from_hex(&digest) else {
            return Err(BundleError::Malformed(format!("`{digest}` is no sha256")));
        };
        root.update(bytes);
        if manifest.insert(name.clone(), hex(&bytes)).is_some() {
            return Err(BundleError::Twice(name));
        }
    }
    if hex(&root.finalize()) != subject.digest.sha256.to_ascii_lowercase() {
        return Err(BundleError::Root);
    }
    Ok(manifest)
}

/// A signature of `key` over the files of `manifest`, which lie in the folder `name`.
pub(super) fn seal(name: &str, manifest: &Manifest, key: &SecretKey) -> String {
    let mut names: Vec<&String> = manifest.keys().collect();
    // The reference implementation sorts folder by folder.
    names.sort_by_key(|name| name.split('/').collect::<Vec<_>>());
    let mut root = Sha256::new();
    let resources = names.into_iter().map(|name| {
        let digest = &manifest[name];
        root.update(from_hex(digest).expect("it was made here"));
        Resource { name: name.clone(), algorithm: "sha256".into(), digest: digest.clone() }
    });
    let resources = resources.collect();
    let subject =
        Subject { name: name.into(), digest: SubjectDigest { sha256: hex(&root.finalize()) } };
    let statement = Statement {
        kind: STATEMENT.into(),
        subject: vec![subject],
        predicate_type: PREDICATE.into(),
        predicate: Predicate {
            serialization: Serialization {
                method: "files".into(),
                hash_type: "sha256".into(),
                allow_symlinks: false,
                ignore_paths: vec![super::SIGNATURE.into()],
            },
            resources,
        },
    };
    let payload = serde_json::to_vec(&statement).expect("text and lists become JSON");
    let sig = STANDARD.encode(key.sign(&authenticated(&payload)));
    let bundle = Bundle {
        media_type: MEDIA.into(),
        verification_material: Material {
            public_key: Some(Hint { hint: Some(key.fingerprint().into()) }),
            tlog_entries: Vec::new(),
        },
        dsse_envelope: Envelope {
            payload: STANDARD.encode(&payload),
            payload_type: PAYLOAD.into(),
            signatures: vec![Signature { sig, keyid: String::new() }],
        },
    };
    serde_json::to_string(&bundle).expect("text and lists become JSON")
}

/// What is signed: DSSE's pre-authentication encoding.
fn authenticated(payload: &[u8]) -> Vec<u8> {
    let mut message = format!("DSSEv1 {} {PAYLOAD} {} ", PAYLOAD.len(), payload.len()).into_bytes();
    message.extend_from_slice(payload);
    message
}

fn expect(what: &'static str, got: &str, expected: &'static str) -> Result<(), BundleError> {
    if got == expected {
        return Ok(());
    }
    Err(BundleError::Kind { what, got: got.to_owned(), expected })
}

/// `weights/head.bin` is; `/etc/passwd`, `../x`, `a//b` and `a\b` are not.
fn is_inside(name: &str) -> bool {
    let plain = |part: &str| !part.is_empty() && part != "." && part != "..";
    name.split('/').all(plain) && !name.contains(['\\', '\0'])
}

pub(in crate::model) fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut hex, byte| {
        write!(hex, "{byte:02x}").expect("a String takes everything");
        hex
    })
}

fn from_hex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (byte, at) in bytes.iter_mut().zip((0..64).step_by(2)) {
        *byte = u8::from_str_radix(&text[at..at + 2], 16).ok()?;
    }
    Some(bytes)
}
