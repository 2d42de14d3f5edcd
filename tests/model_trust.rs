//! `runtime.require_signature`: what runs then, and every way in which a model must not.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod model_support;

use std::fs;
use std::path::PathBuf;

use andon::model::trust::{SecretKey, sign};
use andon::model::{load, load_version, open};
use andon::settings::{RuntimeSettings, Settings};
use model_support::{Copy, models};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256};

struct SignedBox {
    copy: Copy,
    keys: tempfile::TempDir,
}

impl SignedBox {
    /// With the model `root`, signed by the plant, which the box trusts.
    fn new() -> Self {
        let keys = tempfile::tempdir().unwrap();
        for name in ["plant", "stranger"] {
            let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
            fs::write(keys.path().join(format!("{name}.key")), pair.serialize_pem()).unwrap();
            fs::write(keys.path().join(format!("{name}.pem")), pair.public_key_pem()).unwrap();
        }
        let own = Self { copy: Copy::of("root"), keys };
        own.sign("plant");
        own
    }

    fn folder(&self) -> PathBuf {
        self.copy.models.path().join("root/1.0.0")
    }

    fn sign(&self, by: &str) {
        let key = SecretKey::read(&self.keys.path().join(format!("{by}.key"))).unwrap();
        let _ = sign(&self.folder(), &key).unwrap();
    }

    fn settings(&self) -> Settings {
        let mut settings = model_support::settings(
            self.copy.models.path(),
            &["model = \"root\"\nalert = { raise = 5.0 }"],
        );
        settings.runtime = RuntimeSettings {
            require_signature: true,
            trusted_keys: vec![self.keys.path().join("plant.pem")],
            ..settings.runtime
        };
        settings.store.path = self.keys.path().join("andon.db");
        settings
    }

    /// What each way to load the model says; they must agree.
    fn refusal(&self) -> String {
        let settings = self.settings();
        let told = |errors: Vec<andon::model::LoadError>| errors[0].to_string();
        let at_start = told(load(&settings).map(drop).expect_err("it is not loaded at the start"));
        let activated = told(
            load_version(&settings, "root", "1.0.0").map(drop).expect_err("it is not activated"),
        );
        let requested = told(
            open(&settings.runtime, "root").map(drop).expect_err("it is not loaded over the API"),
        );
        assert_eq!(at_start, activated);
        let tail = |text: &str| text.split_once(": ").map(|(_, tail)| tail.to_owned());
        assert_eq!(tail(&at_start), tail(&requested));
        at_start
    }
}

#[test]
fn a_model_that_the_plant_has_signed_runs() {
    let signed = SignedBox::new();
    let loaded = load(&signed.settings()).unwrap_or_else(|errors| panic!("{errors:?}"));
    assert_eq!(loaded.models[0].identity.name, "root");
    let service = open(&signed.settings().runtime, "root").unwrap();
    service.close();
}

#[test]
fn hostile_models_are_refused_by_every_way_that_loads_them() {
    let replace = |file: PathBuf| {
        let mut bytes = fs::read(&file).unwrap();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        fs::write(file, bytes).unwrap();
    };
    let in_onnx = |signed: &SignedBox| replace(signed.copy.file("model.onnx"));
    let in_card = |signed: &SignedBox| replace(signed.copy.file("model.toml"));
    let in_golden = |signed: &SignedBox| replace(signed.copy.file("golden.json"));
    let added = |signed: &SignedBox| fs::write(signed.copy.file("more.bin"), b"more").unwrap();
    let added_below = |signed: &SignedBox| {
        fs::create_dir(signed.copy.file("sub")).unwrap();
        fs::write(signed.copy.file("sub/model.sig"), b"more").unwrap();
    };
    let removed = |signed: &SignedBox| fs::remove_file(signed.copy.file("golden.json")).unwrap();
    let stranger = |signed: &SignedBox| signed.sign("stranger");
    let unsigned = |signed: &SignedBox| fs::remove_file(signed.copy.file("model.sig")).unwrap();
    let truncated = |signed: &SignedBox| {
        let text = fs::read(signed.copy.file("model.sig")).unwrap();
        fs::write(signed.copy.file("model.sig"), &text[..text.len() - 40]).unwrap();
    };
    let of_another = |signed: &SignedBox| {
        let other = SignedBox { copy: Copy::of("conv"), keys: tempfile::tempdir().unwrap() };
        let key = SecretKey::read(&signed.keys.path().join("plant.key")).unwrap();
        let folder = other.copy.models.path().join("conv/1.0.0");
        let _ = sign(&folder, &key).unwrap();
        fs::copy(folder.join("model.sig"), signed.copy.file("model.sig")).unwrap();
    };
    let linked = |signed: &SignedBox| {
        let outside = signed.keys.path().join("golden.json");
        fs::rename(signed.copy.file("golden.json"), &outside).unwrap();
        std::os::unix::fs::symlink(outside, signed.copy.file("golden.json")).unwrap();
    };
    let linked_folder = |signed: &SignedBox| {
        std::os::unix::fs::symlink("/etc", signed.copy.file("etc")).unwrap();
    };
    let linked_signature = |signed: &SignedBox| {
        let outside = signed.keys.path().join("model.sig");
        fs::rename(signed.copy.file("model.sig"), &outside).unwrap();
        std::os::unix::fs::symlink(outside, signed.copy.file("model.sig")).unwrap();
    };
    type Spoil<'a> = &'a dyn Fn(&SignedBox);
    let cases: [(Spoil<'_>, &str); 13] = [
        (&in_onnx, "model.onnx was changed since it was signed"),
        (&in_card, "model.toml was changed since it was signed"),
        (&in_golden, "golden.json was changed since it was signed"),
        (&added, "more.bin is not signed"),
        (&added_below, "sub/model.sig is not signed"),
        (&removed, "golden.json is signed, and is not there"),
        (&stranger, "which is none of those that are trusted"),
        (&unsigned, "andon model sign"),
        (&truncated, "is no Sigstore bundle"),
        (&of_another, "was changed since it was signed"),
        (&linked, "links are not followed"),
        (&linked_folder, "links are not followed"),
        (&linked_signature, "this is no plain file"),
    ];
    for (spoil, expected) in cases {
        let signed = SignedBox::new();
        spoil(&signed);
        let told = signed.refusal();
        assert!(told.contains(expected), "{expected}: {told}");
    }
}

#[test]
fn a_key_that_cannot_be_read_lets_nothing_run() {
    let signed = SignedBox::new();
    fs::write(signed.keys.path().join("plant.pem"), "no key").unwrap();
    assert!(signed.refusal().contains("holds no public key"), "{}", signed.refusal());
    let mut settings = signed.settings();
    settings.runtime.trusted_keys.clear();
    let told = load(&settings).err().unwrap()[0].to_string();
    assert!(told.contains("`runtime.trusted_keys` is empty"), "{told}");
}

#[test]
fn without_the_policy_an_unsigned_model_runs_as_before() {
    let settings =
        model_support::settings(&models(), &["model = \"root\"\nalert = { raise = 5.0 }"]);
    assert!(!models().join("root/1.0.0/model.sig").exists());
    assert!(load(&settings).is_ok());
}

#[test]
fn hostile_references_do_not_leave_the_repository() {
    let signed = SignedBox::new();
    for reference in ["../root", "root/..", "root/../root", "/etc", "root/1.0.0/../1.0.0", ".."] {
        let told = open(&signed.settings().runtime, reference).err().unwrap()[0].to_string();
        assert!(told.contains("is no model"), "{reference}: {told}");
    }
}
