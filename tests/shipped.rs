//! The files that come along are right: the example configuration, the unit, the models.

use std::path::{Path, PathBuf};
use std::process::Command;

use andon::settings::Settings;
use andon::{config, model};

const NAMES: [&str; 8] = [
    "gearbox-vibration",
    "machine-failure",
    "operator-note",
    "process-anomaly",
    "spindle-anomaly",
    "surface-defect",
    "surface-defect-int8",
    "turbofan-rul",
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn the_example_configuration_loads_without_a_warning() {
    let file = root().join("config/andon.toml");
    let loaded = config::load(&file, std::iter::empty());
    let loaded = loaded.unwrap_or_else(|errors| panic!("{errors}"));
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
    assert!(!loaded.settings.prediction.is_empty() && !loaded.settings.rule.is_empty());
}

#[test]
fn the_readme_s_first_configuration_loads() {
    let readme = std::fs::read_to_string(root().join("README.md")).expect("a README");
    let block = readme.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next());
    let text = block.expect("the README shows a configuration");
    if let Err(errors) = config::load_text("README.md", text, std::iter::empty()) {
        panic!("{errors}");
    }
}

#[test]
fn every_shipped_model_keeps_what_its_card_claims() {
    let models = root().join("models");
    let mut names = Vec::new();
    for entry in std::fs::read_dir(&models).expect("a model repository").flatten() {
        if entry.path().is_dir() {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    names.sort();
    assert_eq!(names, NAMES);
    let mut text = format!("[runtime]\nmodels = {models:?}\n");
    for name in &names {
        text += &format!("[[prediction]]\nname = {name:?}\nmodel = {name:?}\nassets = [\"*\"]\n");
        let folder = models.join(name);
        assert!(folder.join("train.py").exists(), "{name}/train.py is missing");
        let versions = std::fs::read_dir(&folder).expect("a model's folder").flatten();
        let versions: Vec<PathBuf> = versions
            .map(|entry| entry.path())
            .filter(|path| path.join("model.toml").exists())
            .collect();
        assert_eq!(versions.len(), 1, "{name}: {versions:?}");
        assert!(
            versions[0].join("README.md").exists(),
            "{} has no README.md",
            versions[0].display()
        );
    }
    let settings: Settings = toml::from_str(&text).expect("valid settings");
    // Cards against graphs, hashes, and the golden pairs of the training library.
    if let Err(errors) = model::check_only(&settings) {
        panic!("{}", errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"));
    }
}

#[test]
fn the_unit_runs_what_the_command_line_offers() {
    let unit = std::fs::read_to_string(root().join("systemd/andon.service")).expect("a unit");
    let lines: Vec<&str> = unit.lines().collect();
    assert!(lines.contains(&"Type=notify"));
    assert!(lines.contains(&"ExecStartPre=/usr/bin/andon check --config /etc/andon/andon.toml"));
    assert!(lines.contains(&"ExecStart=/usr/bin/andon run --config /etc/andon/andon.toml"));
    let store = Settings::default().store.path;
    assert_eq!(store.parent(), Some(Path::new("/var/lib/andon")), "StateDirectory=andon");
    assert!(lines.contains(&"StateDirectory=andon"));
    let user = lines.iter().find_map(|line| line.strip_prefix("User=")).expect("a user");
    let file = root().join("packaging/debian/postinst");
    let made = std::fs::read_to_string(file).expect("the script that makes the user");
    assert!(made.contains(&format!("getent passwd {user}")), "{made}");
}

#[test]
fn the_version_names_the_build_s_inputs() {
    let said = |flag: &str| {
        let output = Command::new(env!("CARGO_BIN_EXE_andon")).arg(flag).output().expect("it runs");
        String::from_utf8(output.stdout).expect("text")
    };
    let short = said("-V");
    assert!(short.starts_with(concat!("andon ", env!("CARGO_PKG_VERSION"), " (")), "{short}");
    let long = said("--version");
    assert!(long.starts_with(short.trim_end()), "{long}");
    for word in ["target:   ", std::env::consts::ARCH, "compiler: rustc ", "features: "] {
        assert!(long.contains(word), "{word} is missing: {long}");
    }
}
