//! `andon evaluate` from the outside: the figures of a model whose answers can be worked out.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::path::Path;
use std::process::{Command, Output};

/// Runs the command on the test model `remaining`, which answers the sum of `a` and twice `b`.
fn evaluate(csv: &str, more: &[&str]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data.csv");
    std::fs::write(&data, csv).unwrap();
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/models/remaining");
    Command::new(env!("CARGO_BIN_EXE_andon"))
        .args(["evaluate", "--label", "hours", "--group", "unit", "--model"])
        .arg(models)
        .arg("--data")
        .arg(&data)
        .args(more)
        .output()
        .unwrap()
}

/// Two windows of `u1`, which both sum up to 6, and one of `u2` with 12; their rows stand mixed.
fn rows() -> String {
    let mut csv = String::from("unit,B,hours,a\n");
    for second in 0..8 {
        let hours = if second < 4 { 5 } else { 9 };
        csv += &format!("u1,0.25,{hours},1\n");
        if second < 4 {
            csv += "u2,0.5,12,2\n";
        }
    }
    csv
}

#[test]
fn the_figures_are_those_worked_out_by_hand() {
    let output = evaluate(&rows(), &["--json", "--every", "1s"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let figure = |path: &str| report.pointer(path).unwrap().as_f64().unwrap();
    let close = |path: &str, expected: f64| {
        assert!((figure(path) - expected).abs() < 1e-9, "{path}: {}", figure(path));
    };
    // Answer less truth: 1, -3 and 0.
    close("/value/every_window/rmse", (10.0f64 / 3.0).sqrt());
    close("/value/every_window/mae", 4.0 / 3.0);
    close("/value/every_window/cmapss", 0.1f64.exp_m1() + (3.0f64 / 13.0).exp_m1());
    close("/value/last_window/rmse", 4.5f64.sqrt());
    // The alert is at 10 hours or less, and so is the truth of both windows of `u1`.
    close("/binary/at_card/true_positives", 2.0);
    close("/binary/at_card/true_negatives", 1.0);
    close("/binary/roc_auc", 1.0);
    close("/alarms/events", 1.0);
    close("/alarms/announced", 1.0);
    close("/alarms/false_alarms", 0.0);
    close("/data/rows", 12.0);
    close("/windows", 3.0);
}

#[test]
fn people_get_a_table() {
    let output = evaluate(&rows(), &[]);
    let text = String::from_utf8(output.stdout).unwrap();
    let last = text.lines().find(|line| line.starts_with("last window")).unwrap();
    let words: Vec<&str> = last.split_whitespace().collect();
    assert_eq!(words[2..5], ["2", "2.121", "1.500"]);
}

#[test]
fn costs_are_two_numbers_with_a_comma() {
    let told = |costs: &str| {
        let output = evaluate(&rows(), &["--json", "--threshold", "4", "--costs", costs]);
        let report: Option<serde_json::Value> = serde_json::from_slice(&output.stdout).ok();
        report.ok_or_else(|| String::from_utf8(output.stderr).unwrap())
    };
    // At 4 hours or less nothing is called positive, and nothing is.
    assert_eq!(told("3,10").unwrap()["binary"]["at_card"]["cost"], 0.0);
    let raised = evaluate(&rows(), &["--json", "--threshold", "6.5", "--costs", "3,10"]);
    let report: serde_json::Value = serde_json::from_slice(&raised.stdout).unwrap();
    // Two windows answer 6; the truth of one of them is 5, of the other 9.
    assert_eq!(report["binary"]["at_card"]["cost"], 3.0);
    for wrong in ["3", "3,10,1", "3,-1", "3,inf", "a,b"] {
        assert!(told(wrong).unwrap_err().contains("a comma between: 1,10"), "{wrong}");
    }
}

#[test]
fn what_no_row_can_tell_is_left_out() {
    let csv = rows().replace("unit,B,hours,a", "unit,B,hours,a,shift").replace('\n', ",early\n");
    let csv = csv.replacen(",shift,early", ",shift", 1);
    let told = |more: &[&str]| {
        let output = evaluate(&csv, more);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    // No window is that short of hours, so there is nothing to choose a threshold by.
    let none = told(&["--threshold", "1"]);
    assert!(none.contains("0 of 3 windows positive") && !none.contains("best F1"), "{none}");
    assert!(none.contains("12 rows, 2 assets, 3 windows judged by `hours`"), "{none}");
    assert!(none.contains("columns not read: shift"), "{none}");
    assert!(none.contains("log loss -"), "hours are no probability: {none}");
    let some = told(&["--every", "1s"]);
    assert!(some.contains("best F1") && some.contains("1 of 1 event announced"), "{some}");
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    let told = |csv: &str| {
        let output = evaluate(csv, &[]);
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    let missing = told("unit,hours,a\nu1,1,1\n");
    assert!(missing.contains("no column `b`") && missing.contains("unit, hours, a"), "{missing}");
    let label = told("unit,hours,a,b\nu1,1,1,1\nu1,soon,1,1\n");
    assert!(label.contains("row 2, column `hours`: `soon` is no number"), "{label}");
    let few = told("unit,hours,a,b\nu1,,1,1\n");
    assert!(few.contains("no window has both an answer and a label"), "{few}");
}

#[test]
fn the_page_needs_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("report.html");
    let output = evaluate(&rows(), &["--html", file.to_str().unwrap()]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let page = std::fs::read_to_string(&file).unwrap();
    // ROC, precision and recall, scores, answer against truth, and the course of two assets.
    assert_eq!(page.matches("<svg").count(), 6);
    assert_eq!(page.matches("</svg>").count(), 6);
    for outside in ["<script", "<link", "src=", "@import", "url("] {
        assert!(!page.contains(outside), "{outside}");
    }
}

fn grey_png(level: u8) -> Vec<u8> {
    let mut out = Vec::new();
    let mut encoder = png::Encoder::new(&mut out, 8, 6);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header().unwrap();
    writer.write_image_data(&[level; 48]).unwrap();
    writer.finish().unwrap();
    out
}

/// Runs the command on the test model `brightness`, over a folder of `files` with a list of labels.
fn evaluate_pictures(files: &[(&str, Vec<u8>)], list: &str) -> Output {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        std::fs::write(folder.path().join(name), bytes).unwrap();
    }
    let labels = folder.path().join("labels.csv");
    std::fs::write(&labels, list).unwrap();
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/models/brightness");
    Command::new(env!("CARGO_BIN_EXE_andon"))
        .args(["evaluate", "--json", "--model"])
        .arg(models)
        .arg("--data")
        .arg(folder.path())
        .arg("--labels")
        .arg(labels)
        .output()
        .unwrap()
}

#[test]
fn a_folder_of_pictures_has_figures_too() {
    let mut jpeg = Vec::new();
    jpeg_encoder::Encoder::new(&mut jpeg, 95)
        .encode(&[250; 16 * 16 * 3], 16, 16, jpeg_encoder::ColorType::Rgb)
        .unwrap();
    let files = [
        ("black.png", grey_png(0)),
        ("dim.png", grey_png(90)),
        ("lit.png", grey_png(110)),
        ("white.jpg", jpeg),
    ];
    let list = "file,label\nblack.png,dark\ndim.png,dark\nlit.png,bright\nwhite.jpg,bright\n";
    let output = evaluate_pictures(&files, list);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let figure = |path: &str| report.pointer(path).unwrap().as_f64().unwrap();
    assert!((figure("/binary/roc_auc") - 1.0).abs() < 1e-9);
    assert!((figure("/binary/at_card/true_positives") - 1.0).abs() < 1e-9);
    assert!((figure("/binary/at_card/true_negatives") - 2.0).abs() < 1e-9);
    assert!((figure("/windows") - 4.0).abs() < 1e-9);
}

#[test]
fn a_bad_picture_or_label_is_named_with_its_row() {
    let refused = |files: &[(&str, Vec<u8>)], list: &str| {
        let output = evaluate_pictures(files, list);
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    let mut cut = grey_png(7);
    cut.truncate(50);
    let said = refused(&[("cut.png", cut)], "file,label\ncut.png,dark\n");
    assert!(said.contains("row 2") && said.contains("cut.png"), "{said}");
    assert!(said.contains("broken or cut off"), "{said}");
    let said = refused(&[("a.png", grey_png(7))], "file,label\na.png,grey\n");
    assert!(said.contains("row 2: `grey` is no label of the card; it has dark, bright"), "{said}");
    let said = refused(&[], "picture,label\n");
    assert!(said.contains("no column `file`; it has picture, label"), "{said}");
}

/// Runs the command on the test model `words`, which adds up a few words.
fn evaluate_texts(csv: &str) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("notes.csv");
    std::fs::write(&data, csv).unwrap();
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/models/words");
    Command::new(env!("CARGO_BIN_EXE_andon"))
        .args(["evaluate", "--json", "--text", "note", "--model"])
        .arg(models)
        .arg("--data")
        .arg(data)
        .output()
        .unwrap()
}

#[test]
fn a_column_of_texts_has_figures_too() {
    let csv =
        "note,label\nPumpe leckt ÖL,bad\n\"leckt\nbehoben\",fine\nÖl,bad\ngut,fine\nleckt,fine\n";
    let output = evaluate_texts(csv);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let figure = |path: &str| report.pointer(path).unwrap().as_f64().unwrap();
    for (path, expected) in [
        ("/windows", 5.0),
        ("/binary/at_card/true_positives", 1.0),
        ("/binary/at_card/false_positives", 1.0),
        ("/binary/at_card/false_negatives", 1.0),
        ("/binary/at_card/true_negatives", 2.0),
    ] {
        assert!((figure(path) - expected).abs() < 1e-9, "{path}: {report:#}");
    }
}

#[test]
fn a_missing_column_of_texts_and_an_empty_text_are_named() {
    let refused = |csv: &str| {
        let output = evaluate_texts(csv);
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    let said = refused("text,label\na,bad\n");
    assert!(said.contains("no column `note`"), "{said}");
    let said = refused("note,label\na,bad\n,fine\n");
    assert!(said.contains("row 2, column `note`"), "{said}");
}

#[test]
fn a_running_daemon_refuses_a_model_that_nothing_feeds() {
    let folder = tempfile::tempdir().unwrap();
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/models");
    let config = folder.path().join("andon.toml");
    let text = format!(
        "[site]\nname = \"s\"\n[broker.b]\nurl = \"mqtt://127.0.0.1:1883\"\n\
         [[mqtt]]\nbroker = \"b\"\ntopic = \"{{asset}}/{{tag}}\"\npayload = \"number\"\n\
         [runtime]\nmodels = {models:?}\n\
         [[prediction]]\nname = \"p\"\nmodel = \"brightness\"\nassets = [\"*\"]\n"
    );
    std::fs::write(&config, text).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_andon"))
        .args(["check", "--config"])
        .arg(&config)
        .output()
        .unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr).into_owned()
        + &String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("the model takes pictures"), "{said}");
}
