//! The runtime's library: found, refused, and kept from talking. No test here loads one in this
//! process, because a process keeps the first that it loads: under `cargo test` the tests of a
//! file share one.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod model_support;

use std::path::Path;

use andon::model::{Runtime, RuntimeError, load};
use model_support::{Copy, loaded, settings};

#[test]
fn a_runtime_that_is_not_there_is_one_clear_error_and_cards_are_checked_all_the_same() {
    let copy = Copy::of("root");
    copy.replace("model.toml", "length = 1", "length = 0");
    let mut settings = settings(copy.models.path(), &["model = \"root\""]);
    settings.runtime.library = Some("no/such/libonnxruntime.so".into());
    let errors = load(&settings).err().unwrap();
    assert_eq!(
        errors[0].to_string(),
        "ONNX Runtime is not installed: looked at no/such/libonnxruntime.so; run `make runtime`, or \
         set [runtime] library or ORT_DYLIB_PATH to its libonnxruntime.so"
    );
    assert!(errors[1].to_string().ends_with("window.length: must be above 0"), "{}", errors[1]);
    assert_eq!(errors.len(), 2);
}

#[test]
fn a_file_that_is_no_library_is_never_loaded() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("libonnxruntime.so");
    std::fs::write(&path, "<html>404</html>").unwrap();
    let error = Runtime::load(Some(&path)).unwrap_err();
    assert!(
        error.to_string().contains(
            "libonnxruntime.so is not a library this box can load: it is not an ELF file"
        )
    );
    assert!(error.to_string().contains("run `make runtime`"));
}

#[test]
fn another_library_is_told_apart_from_onnx_runtime() {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let libc = maps.lines().filter_map(|line| line.split_whitespace().last());
    let libc = libc.into_iter().find(|path| path.contains("/libc.so")).expect("this is glibc");
    let error = Runtime::load(Some(Path::new(libc))).unwrap_err();
    let RuntimeError::Unusable { message, .. } = error else { panic!("{error}") };
    assert_eq!(message, "it is another library, without OrtGetApiBase");
}

/// Runs this test binary again, in an environment of its own, for the one test `name`.
fn alone(name: &str, prepare: impl FnOnce(&mut std::process::Command)) -> std::process::Output {
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", name, "--ignored", "--nocapture"]);
    prepare(&mut command);
    command.output().unwrap()
}

#[test]
fn the_runtime_writes_no_telemetry_into_the_home() {
    let home = tempfile::tempdir().unwrap();
    let output = alone("loads_a_model", |command| {
        command.env("HOME", home.path()).env_remove("XDG_CACHE_HOME");
    });
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 0);
}

#[test]
fn the_runtime_is_not_loaded_where_it_would_report_to_its_maker() {
    let output = alone("loads_a_model", |command| {
        command.env_remove("ORT_DISABLE_TELEMETRY");
    });
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(stderr.contains("set ORT_DISABLE_TELEMETRY=1 in the environment"), "{stderr}");
}

#[test]
#[ignore = "run by the two tests above, in processes of their own"]
fn loads_a_model() {
    loaded(&["model = \"root\""]);
}
