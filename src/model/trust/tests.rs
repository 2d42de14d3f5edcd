use std::path::PathBuf;

use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519};

use super::super::load::start;
use super::super::repository::Package;
use super::super::runtime::Runtime;
use super::*;

struct Keys {
    folder: tempfile::TempDir,
}

impl Keys {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn make(&self, name: &str, algorithm: &'static rcgen::SignatureAlgorithm) {
        let pair = KeyPair::generate_for(algorithm).unwrap();
        fs::write(self.secret_file(name), pair.serialize_pem()).unwrap();
        fs::write(self.public_file(name), pair.public_key_pem()).unwrap();
    }

    fn of(name: &str) -> Self {
        let keys = Self::new();
        keys.make(name, &PKCS_ECDSA_P256_SHA256);
        keys
    }

    fn secret_file(&self, name: &str) -> PathBuf {
        self.folder.path().join(format!("{name}.key"))
    }

    fn public_file(&self, name: &str) -> PathBuf {
        self.folder.path().join(format!("{name}.pem"))
    }

    fn secret(&self, name: &str) -> SecretKey {
        SecretKey::read(&self.secret_file(name)).unwrap()
    }

    fn public(&self, name: &str) -> PublicKey {
        PublicKey::read(&self.public_file(name)).unwrap()
    }
}

fn data(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(path)
}

/// A version folder with a file in a folder of its own.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("weights")).unwrap();
    for (name, text) in [("model.toml", "a card"), ("weights/head.bin", "numbers"), ("a-b", "")] {
        fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

#[test]
fn what_is_signed_on_either_curve_verifies_and_says_by_whom() {
    let keys = Keys::of("plant");
    keys.make("strong", &PKCS_ECDSA_P384_SHA384);
    let trusted = [keys.public("plant"), keys.public("strong")];
    for name in ["plant", "strong"] {
        let folder = folder();
        let signed = sign(folder.path(), &keys.secret(name)).unwrap();
        let verified = verify(folder.path(), &trusted).unwrap();
        assert_eq!(verified.files, 3);
        assert_eq!(verified.key, keys.public_file(name));
        assert_eq!(verified.fingerprint, signed.fingerprint);
    }
}

#[test]
fn a_folder_is_signed_anew_over_its_old_signature() {
    let keys = Keys::of("plant");
    let folder = folder();
    let _ = sign(folder.path(), &keys.secret("plant")).unwrap();
    fs::write(folder.path().join("model.toml"), "another card").unwrap();
    let told = verify(folder.path(), &[keys.public("plant")]).unwrap_err().to_string();
    assert!(told.contains("model.toml was changed since it was signed"), "{told}");
    let _ = sign(folder.path(), &keys.secret("plant")).unwrap();
    assert!(verify(folder.path(), &[keys.public("plant")]).is_ok());
}

/// Made by `model_signing sign key` 1.1.1 of the reference implementation.
#[test]
fn the_reference_implementations_signature_verifies() {
    let key = PublicKey::read(&data("signed/reference.pem")).unwrap();
    let verified = verify(&data("signed/1.0.0"), &[key]).unwrap();
    assert_eq!(verified.files, 3);
    assert_eq!(
        verified.fingerprint,
        fs::read_to_string(data("signed/reference.hint")).unwrap().trim()
    );
}

#[test]
fn hostile_signatures_are_refused_and_say_why() {
    let keys = Keys::of("plant");
    keys.make("stranger", &PKCS_ECDSA_P256_SHA256);
    let plant = keys.secret("plant");
    let manifest = |names: &[&str]| -> bundle::Manifest {
        names.iter().map(|name| ((*name).to_owned(), sha256(b"a card"))).collect()
    };
    let good = || bundle::seal("1.0.0", &manifest(&["model.toml"]), &plant);
    let edited = |from: &str, to: &str| {
        let text = good();
        assert!(text.contains(from), "{text}");
        text.replacen(from, to, 1)
    };
    let stranger = bundle::seal("1.0.0", &manifest(&["model.toml"]), &keys.secret("stranger"));
    let cases = [
        (good()[..good().len() / 2].to_owned(), "is no Sigstore bundle"),
        (String::new(), "is no Sigstore bundle"),
        (edited("bundle.v0.3", "bundle.v9"), "mediaType is"),
        (edited("vnd.in-toto+json", "json"), "payloadType is"),
        (edited("\"signatures\":[", "\"signatures\":[{\"sig\":\"\"},"), "expected one signature"),
        (edited("\"payload\":\"ey", "\"payload\":\"!!"), "this is no base64"),
        (edited("\"payload\":\"eyJ", "\"payload\":\"eyK"), "was changed since"),
        (stranger, "is none of those that are trusted"),
        (bundle::seal("1", &manifest(&["../x"]), &plant), "`../x`, which cannot be one inside"),
        (bundle::seal("1", &manifest(&["/etc/x"]), &plant), "`/etc/x`, which cannot be one"),
        (bundle::seal("1", &manifest(&["a//b"]), &plant), "`a//b`, which cannot be one"),
        (bundle::seal("1", &manifest(&["a\\b"]), &plant), "which cannot be one inside"),
    ];
    for (text, expected) in cases {
        let told = bundle::open(text.as_bytes(), &[keys.public("plant")]).unwrap_err().to_string();
        assert!(told.contains(expected), "{expected}: {told}");
    }
    let opened = bundle::open(good().as_bytes(), &[keys.public("stranger"), keys.public("plant")]);
    assert_eq!(opened.unwrap(), (manifest(&["model.toml"]), 1));
}

#[test]
fn keys_that_are_none_are_refused_with_what_to_write_instead() {
    let keys = Keys::of("plant");
    keys.make("edwards", &PKCS_ED25519);
    let public = |file: &Path| PublicKey::read(file).unwrap_err().to_string();
    let secret = |file: &Path| SecretKey::read(file).unwrap_err().to_string();
    assert!(public(&keys.secret_file("plant")).contains("holds no public key"));
    assert!(secret(&keys.public_file("plant")).contains("holds no private key"));
    assert!(public(&keys.public_file("edwards")).contains("no key on the curve"));
    assert!(secret(&keys.secret_file("edwards")).contains("no key on the curve"));
    assert!(public(Path::new("nowhere.pem")).contains("nowhere.pem cannot be read"));
}

#[test]
fn what_cannot_be_signed_is_named() {
    let keys = Keys::of("plant");
    let told = |folder: &Path| sign(folder, &keys.secret("plant")).unwrap_err().to_string();
    let folder = folder();
    fs::write(folder.path().join(".gitignore"), "").unwrap();
    assert!(told(folder.path()).contains("is no part of a model"), "{}", told(folder.path()));
    fs::remove_file(folder.path().join(".gitignore")).unwrap();
    std::os::unix::fs::symlink("model.toml", folder.path().join("link")).unwrap();
    assert!(told(folder.path()).contains("links are not followed"), "{}", told(folder.path()));
    let empty = tempfile::tempdir().unwrap();
    assert!(told(empty.path()).contains("holds nothing to sign"), "{}", told(empty.path()));
}

#[test]
fn hostile_disk_that_changes_after_the_check_changes_nothing_of_the_model() {
    let keys = Keys::of("plant");
    let models = tempfile::tempdir().unwrap();
    let folder = models.path().join("root/1.0.0");
    fs::create_dir_all(&folder).unwrap();
    for file in ["model.onnx", "model.toml", "golden.json"] {
        fs::copy(data("models/root/1.0.0").join(file), folder.join(file)).unwrap();
    }
    let _ = sign(&folder, &keys.secret("plant")).unwrap();
    let settings = RuntimeSettings {
        require_signature: true,
        trusted_keys: vec![keys.public_file("plant")],
        ..RuntimeSettings::default()
    };
    let package = Package::read(&folder, &settings).unwrap();
    fs::remove_dir_all(&folder).unwrap();
    fs::create_dir(&folder).unwrap();
    fs::write(models.path().join("evil.json"), "{\"input\": [], \"output\": []}").unwrap();
    std::os::unix::fs::symlink(models.path().join("evil.json"), folder.join("golden.json"))
        .unwrap();
    let runtime = Runtime::load(None).unwrap();
    let model = start(Some(&runtime), &package, None);
    assert!(model.is_ok_and(|model| model.identity.name == "root"));
}
