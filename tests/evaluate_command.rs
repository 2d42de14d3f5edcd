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
