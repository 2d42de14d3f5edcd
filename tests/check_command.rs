//! `andon check`: configuration and models in one pass, and whether they fit together.

use std::path::Path;
use std::process::Command;

/// Standard error of `andon check`, and whether it was good.
fn check(text: &str) -> (String, bool) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("andon.toml");
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let runtime = format!("[runtime]\nmodels = \"{}\"\n", root.join("models").display());
    std::fs::write(&file, format!("{text}\n{runtime}")).expect("writable");
    let output = Command::new(env!("CARGO_BIN_EXE_andon"))
        .args(["check", "--config", file.to_str().expect("text")])
        .current_dir(root)
        .output()
        .expect("andon runs");
    (String::from_utf8_lossy(&output.stderr).into_owned(), output.status.success())
}

fn device(tags: &[&str], more: &str) -> String {
    let register = |(at, tag): (usize, &&str)| {
        format!("[[modbus.register]]\ntag = \"{tag}\"\naddress = \"holding:{at}\"\n{more}")
    };
    let registers: String = tags.iter().enumerate().map(register).collect();
    format!("[[modbus]]\nasset = \"mill-1\"\naddress = \"tcp://127.0.0.1:9\"\n{registers}")
}

const TAGS: [&str; 5] =
    ["spindle_speed", "spindle_load", "motor_current", "temperature", "vibration"];
const PREDICTION: &str =
    "[[prediction]]\nname = \"wear\"\nmodel = \"spindle-anomaly\"\nassets = [\"mill-*\"]\n";

/// The names of the model's tags, from its card.
fn model_tags() -> Vec<String> {
    let card =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("models/spindle-anomaly/1.0.0/model.toml");
    let card: toml::Table = std::fs::read_to_string(card).expect("a card").parse().expect("TOML");
    let tags = card["input"]["tag"].as_array().expect("tags");
    tags.iter().map(|tag| tag["name"].as_str().expect("a name").to_owned()).collect()
}

#[test]
fn errors_of_the_configuration_and_of_the_models_are_told_together() {
    let (text, good) = check(&format!(
        "{}{PREDICTION}[[prediction]]\nname = \"other\"\nmodel = \"no-such-model\"\n\
         assets = [\"mill-*\"]\n[[rule]]\nname = \"hot\"\nassets = [\"mill-1\"]\ntag = \"t\"\n\
         when = \"above\"\nlimit = \"eighty\"\n",
        device(&["t"], "")
    ));
    assert!(!good);
    assert!(text.contains("no-such-model"), "{text}");
    assert!(text.contains("error: expected a number"), "{text}");
}

#[test]
fn a_prediction_that_is_wrong_already_is_not_told_of_twice() {
    let (text, good) = check(&format!(
        "{}[[prediction]]\nname = \"other\"\nmodel = \"no-such-model\"\nassets = 5\n",
        device(&["t"], "")
    ));
    assert!(!good);
    assert!(!text.contains("no-such-model is not"), "{text}");
    assert_eq!(text.matches(": error:").count(), 1, "{text}");
}

#[test]
fn a_feature_without_a_tag_is_named() {
    let tags = model_tags();
    let tags: Vec<&str> = tags.iter().map(String::as_str).collect();
    let (text, good) = check(&format!("{}{PREDICTION}", device(&tags[1..], "")));
    assert!(good, "{text}");
    let expected = format!("no source of these assets delivers {:?}", tags[0]);
    assert!(text.contains(&expected), "{text}");
    assert_eq!(text.matches("which the model reads").count(), 1, "{text}");
    let (text, _) = check(&format!("{}{PREDICTION}", device(&tags, "")));
    assert!(!text.contains("which the model reads"), "{text}");
}

#[test]
fn a_unit_that_is_not_the_models_is_a_warning() {
    let tags = model_tags();
    let tags: Vec<&str> = tags.iter().map(String::as_str).collect();
    let unit = |unit: &str| {
        let tag =
            format!("[[tag]]\nasset = \"mill-*\"\nname = \"{}\"\nunit = \"{unit}\"\n", tags[0]);
        check(&format!("{}{tag}{PREDICTION}", device(&tags, ""))).0
    };
    assert!(unit("Hz").contains("is in \"Hz\"; the model was trained with \"rpm\""));
    assert!(!unit("1/min").contains("was trained with"));
}

#[test]
fn a_hop_longer_than_the_cards_window_is_an_error() {
    let tags = model_tags();
    let tags: Vec<&str> = tags.iter().map(String::as_str).collect();
    let (text, good) =
        check(&format!("{}{PREDICTION}window = {{ hop = \"1h\" }}\n", device(&tags, "")));
    assert!(!good);
    assert!(text.contains("`hop` is longer than `length`"), "{text}");
}

#[test]
fn a_poll_that_the_line_cannot_carry_is_a_warning() {
    let slow = |interval: &str| {
        let device = device(&TAGS, "").replace(
            "tcp://127.0.0.1:9\"",
            &format!("rtu:///dev/ttyS9\"\ninterval = \"{interval}\""),
        );
        let serial = "serial = { baud = 1200 }\n";
        check(&device.replacen("interval", &format!("{serial}interval"), 1))
    };
    let (text, good) = slow("50ms");
    assert!(good, "{text}");
    assert!(text.contains("% of the time that there is"), "{text}");
    assert!(!slow("2s").0.contains("of the time that there is"));
}

#[test]
fn answers_that_nobody_reads_to_the_end_are_no_failure() {
    let script = format!(
        "set -o pipefail; {} config schema | head -n 1 && {0} completions bash | head -n 1 && {0} man | head -n 1",
        env!("CARGO_BIN_EXE_andon")
    );
    let output = Command::new("bash").args(["-c", &script]).output().expect("bash");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && errors.is_empty(), "{errors}");
}

#[test]
fn a_watched_folder_that_is_not_there_is_a_warning() {
    let there = tempfile::tempdir().expect("a folder");
    let folder = |path: &Path| {
        format!(
            "[[folder]]\nasset = \"press-1\"\npath = \"{}\"\nafter = \"keep\"\n",
            path.display()
        )
    };
    let (text, good) = check(&folder(&there.path().join("camera")));
    assert!(good, "{text}");
    assert!(text.contains("camera is no folder that this user can look into"), "{text}");
    let (text, _) = check(&folder(there.path()));
    assert!(!text.contains("is no folder"), "{text}");
}
