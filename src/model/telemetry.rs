//! Keeps ONNX Runtime from reporting to its maker.
//!
//! The official library (1.31) opens a telemetry client when its environment is made: it writes a
//! device id and a database under `~/.cache/Microsoft` and looks up the collector's address.
//! Turning telemetry off through the API comes after that. Only `ORT_DISABLE_TELEMETRY`, read as
//! the library loads, prevents it. (Seen with `strace`; a test holds the rule.)

const VARIABLE: &str = "ORT_DISABLE_TELEMETRY";

/// Puts `ORT_DISABLE_TELEMETRY=1` in this process's environment. For the first line of `main`:
/// it does so only while the process has one thread, because other threads may read the
/// environment. Returns whether telemetry is forbidden now.
pub fn forbid_telemetry() -> bool {
    if is_forbidden() {
        return true;
    }
    let threads = std::fs::read_dir("/proc/self/task").map(Iterator::count);
    if !matches!(threads, Ok(1)) {
        return false;
    }
    #[expect(unsafe_code, reason = "there is no other way to speak to the library before it loads")]
    // SAFETY: this is the only thread, so nobody reads the environment meanwhile.
    unsafe {
        std::env::set_var(VARIABLE, "1");
    }
    is_forbidden()
}

fn is_forbidden() -> bool {
    std::env::var_os(VARIABLE).is_some_and(|value| value == "1" || value == "true")
}
