//! ONNX Runtime, loaded from a shared library while the daemon runs.
//!
//! A process has one ONNX Runtime environment for life, so the first library that loads stays.
//! Nothing else may touch `ort` before [`Runtime::load`] has succeeded: it would panic.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use ort::environment::Environment;
use ort::logging::LogLevel;

use super::telemetry::forbid_telemetry;

/// The runtime of this process. Clones are the same one.
#[derive(Clone, Debug)]
pub struct Runtime {
    pub(super) environment: Environment,
    /// The library that was loaded.
    pub library: PathBuf,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuntimeError {
    #[error("ONNX Runtime is not installed: looked at {}; {FIX}", list(tried))]
    NotFound { tried: Vec<PathBuf> },
    #[error("{} is not a library this box can load: {what}; {FIX}", path.display())]
    NotALibrary { path: PathBuf, what: String },
    #[error(
        "ONNX Runtime in {} is version {version}, and 1.{} or later is needed; {FIX}",
        path.display(), ort::MINOR_VERSION
    )]
    TooOld { path: PathBuf, version: String },
    #[error("ONNX Runtime in {} cannot be used: {message}; {FIX}", path.display())]
    Unusable { path: PathBuf, message: String },
    #[error(
        "ONNX Runtime would report to its maker: set ORT_DISABLE_TELEMETRY=1 in the environment \
         that the daemon starts in"
    )]
    Telemetry,
    #[error(
        "ONNX Runtime is already loaded from {}, and {} needs a restart",
        loaded.display(), wanted.display()
    )]
    AlreadyLoaded { loaded: PathBuf, wanted: PathBuf },
}

const FIX: &str = "run `make runtime`, or set [runtime] library or ORT_DYLIB_PATH to its \
                   libonnxruntime.so";

fn list(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

static LOADED: Mutex<Option<Runtime>> = Mutex::new(None);

impl Runtime {
    /// Loads the library named in the settings, else by `ORT_DYLIB_PATH`, else from the usual
    /// folders. Call it as often as you like.
    pub fn load(library: Option<&Path>) -> Result<Self, RuntimeError> {
        let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
        let from_environment =
            std::env::var_os("ORT_DYLIB_PATH").filter(|path| !path.is_empty()).map(PathBuf::from);
        let wanted = match library.map(Path::to_owned).or(from_environment) {
            Some(path) if path.is_file() => path,
            Some(path) => return Err(RuntimeError::NotFound { tried: vec![path] }),
            None => search(&usual_folders())?,
        };
        let path = fs::canonicalize(&wanted).unwrap_or(wanted);
        if let Some(runtime) = loaded.as_ref() {
            if runtime.library == path {
                return Ok(runtime.clone());
            }
            let loaded = runtime.library.clone();
            return Err(RuntimeError::AlreadyLoaded { loaded, wanted: path });
        }
        check_file(&path)?;
        if !forbid_telemetry() {
            return Err(RuntimeError::Telemetry);
        }
        let runtime = initialise(path)?;
        tracing::info!(library = %runtime.library.display(), "ONNX Runtime is loaded");
        Ok(loaded.insert(runtime).clone())
    }
}

fn usual_folders() -> Vec<PathBuf> {
    const BESIDE: &str = "vendor/onnxruntime/lib";
    let executable = std::env::current_exe().ok();
    let beside = executable.as_deref().and_then(Path::parent).map(|folder| folder.join(BESIDE));
    let installed = Some(PathBuf::from("/usr/lib/andon"));
    [Some(PathBuf::from(BESIDE)), beside, installed].into_iter().flatten().collect()
}

/// `libonnxruntime.so`, or the last of `libonnxruntime.so.<version>`, in the first folder with one.
fn search(folders: &[PathBuf]) -> Result<PathBuf, RuntimeError> {
    const NAME: &str = "libonnxruntime.so";
    let in_folder = |folder: &PathBuf| {
        let entries = fs::read_dir(folder).ok()?;
        let mut names: Vec<_> = entries
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok())
            .filter(|name| {
                name.strip_prefix(NAME).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
            })
            .collect();
        names.sort();
        let plain = names.iter().any(|name| name == NAME).then(|| NAME.to_owned());
        plain.or(names.pop()).map(|name| folder.join(name))
    };
    folders.iter().find_map(in_folder).ok_or_else(|| RuntimeError::NotFound {
        tried: folders.iter().map(|folder| folder.join(NAME)).collect(),
    })
}

/// The dynamic loader maps a file before it looks at it: a cut-off download would end the
/// process with a bus error. So the file is looked at first.
fn check_file(path: &Path) -> Result<(), RuntimeError> {
    let wrong =
        |what: &str| RuntimeError::NotALibrary { path: path.to_owned(), what: what.to_owned() };
    let mut file = fs::File::open(path).map_err(|error| wrong(&error.to_string()))?;
    let length = file.metadata().map_err(|error| wrong(&error.to_string()))?.len();
    let mut head = Vec::with_capacity(HEAD);
    file.by_ref()
        .take(HEAD as u64)
        .read_to_end(&mut head)
        .map_err(|error| wrong(&error.to_string()))?;
    if !head.starts_with(b"\x7fELF") {
        return Err(wrong("it is not an ELF file"));
    }
    if cfg!(all(target_pointer_width = "64", target_endian = "little")) {
        check_elf64(&head, length).map_err(wrong)?;
    }
    Ok(())
}

const HEAD: usize = 4096;

/// Checks machine and segments of a little-endian ELF64 (`man 5 elf`).
fn check_elf64(head: &[u8], length: u64) -> Result<(), &'static str> {
    const CUT_OFF: &str = "the file is cut off";
    let half = |at: usize| head.get(at..at + 2).map(|b| u16::from_le_bytes([b[0], b[1]]));
    let word = |at: usize| {
        let bytes = head.get(at..at + 8)?;
        Some(u64::from_le_bytes(bytes.try_into().expect("eight bytes")))
    };
    if head.get(4..6) != Some(&[2, 1]) {
        return Err("it is built for another kind of processor");
    }
    let machine = half(18).ok_or(CUT_OFF)?;
    let expected = match std::env::consts::ARCH {
        "x86_64" => 62,
        "aarch64" => 183,
        "riscv64" => 243,
        _ => machine,
    };
    if machine != expected {
        return Err("it is built for another kind of processor");
    }
    let first = usize::try_from(word(32).ok_or(CUT_OFF)?).map_err(|_| CUT_OFF)?;
    let (size, count) = (half(54).ok_or(CUT_OFF)?, half(56).ok_or(CUT_OFF)?);
    for segment in 0..usize::from(count) {
        let at = first.saturating_add(segment * usize::from(size));
        let (Some(offset), Some(bytes)) = (word(at.saturating_add(8)), word(at.saturating_add(32)))
        else {
            return Err(CUT_OFF);
        };
        if offset.saturating_add(bytes) > length {
            return Err(CUT_OFF);
        }
    }
    Ok(())
}

fn initialise(path: PathBuf) -> Result<Runtime, RuntimeError> {
    use ort::LoadDynamicError as Fault;
    let unusable = |message: String| RuntimeError::Unusable { path: path.clone(), message };
    let builder = match ort::init_from(&path) {
        Ok(builder) => builder,
        Err(Fault::BadVersion { version_str: version, .. }) => {
            return Err(RuntimeError::TooOld { path, version });
        }
        Err(Fault::Dlopen { error, .. }) => return Err(unusable(error.to_string())),
        Err(Fault::MissingApi { .. }) => {
            return Err(unusable("it is another library, without OrtGetApiBase".into()));
        }
        Err(Fault::InvalidVersionString) => {
            return Err(unusable("its version is unreadable".into()));
        }
    };
    let environment = builder
        .with_name("andon")
        .with_telemetry(false)
        .build()
        .map_err(|error| unusable(error.to_string()))?;
    environment.set_log_level(LogLevel::Warning);
    Ok(Runtime { environment, library: path })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plain_name_wins_over_versions_and_helpers_are_no_runtime() {
        let folder = tempfile::tempdir().unwrap();
        let make = |name: &str| fs::write(folder.path().join(name), b"").unwrap();
        let folders = [folder.path().to_owned()];
        make("libonnxruntime_providers_shared.so");
        assert!(matches!(search(&folders), Err(RuntimeError::NotFound { .. })));
        make("libonnxruntime.so.1.24.0");
        make("libonnxruntime.so.1.31.1");
        assert!(search(&folders).unwrap().ends_with("libonnxruntime.so.1.31.1"));
        make("libonnxruntime.so");
        assert!(search(&folders).unwrap().ends_with("libonnxruntime.so"));
    }

    #[test]
    fn a_cut_off_library_is_never_handed_to_the_loader() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("libonnxruntime.so");
        let this_test = fs::read(std::env::current_exe().unwrap()).unwrap();
        fs::write(&path, &this_test[..8192]).unwrap();
        let RuntimeError::NotALibrary { what, .. } = check_file(&path).unwrap_err() else {
            panic!("expected NotALibrary")
        };
        assert_eq!(what, "the file is cut off");
    }
}
