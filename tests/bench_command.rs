//! `andon bench inference` from the outside.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::path::Path;
use std::process::{Command, Output};

fn bench(model: &str, device: &str) -> Output {
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/models").join(model);
    Command::new(env!("CARGO_BIN_EXE_andon"))
        .args([
            "bench",
            "inference",
            "--batch",
            "1,16",
            "--within",
            "20ms",
            "--json",
            "--device",
            device,
        ])
        .arg("--model")
        .arg(model)
        .output()
        .unwrap()
}

#[test]
fn every_batch_size_has_its_figures_from_the_device_that_ran() {
    let output = bench("conv", "cpu");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&report["model"], &report["device"]), (&"conv".into(), &"cpu".into()));
    assert_eq!(report["tags"], 10);
    for (line, batch) in report["batches"].as_array().unwrap().iter().zip([1.0, 16.0]) {
        let figure = |name: &str| line[name].as_f64().unwrap();
        assert_eq!(figure("batch"), batch);
        assert!(figure("p50_us") > 0.0 && figure("p50_us") <= figure("p99_us"));
        // Half of the runs are no slower than the median.
        assert!(figure("rows_a_second") <= batch * 1e6 / figure("p50_us") * 2.0);
        assert!(figure("overhead_percent").is_finite());
    }
    assert!(report["explanation_ms"].as_f64().unwrap() > 0.0);
    assert!(report["largest_difference"].is_null(), "the CPU does not differ from itself");
}

#[test]
fn models_of_pictures_and_of_texts_are_measured_too() {
    for (model, explains) in [("brightness", false), ("words", true)] {
        let output = bench(model, "cpu");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(report["batches"].as_array().unwrap().len(), 2);
        assert_eq!(report["explanation_ms"].is_number(), explains, "{report}");
    }
}

#[test]
fn a_device_that_is_not_there_is_an_error_and_never_the_cpu() {
    for device in ["cuda", "abacus"] {
        let output = bench("conv", device);
        if output.status.success() {
            let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
            assert!(report["device"].as_str().unwrap().contains(device), "{report}");
        } else {
            let told = String::from_utf8_lossy(&output.stderr);
            assert!(told.contains(device), "{told}");
        }
    }
}
