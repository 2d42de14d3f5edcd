//! Imports go strictly downward: this test is the rule, `src/lib.rs` is the map.

use std::fs;
use std::path::{Path, PathBuf};

/// Modules by layer. A module may import those of lower layers; layers 0 and 1 also each
/// other's; the adapters of layer 2 never one another.
const LAYERS: &[&[&str]] = &[
    &[
        "asset", "health", "ledger", "message", "sample", "settings", "snapshot", "standing",
        "tag", "time", "verdict",
    ],
    &[
        "alert", "backoff", "clock", "decode", "drift", "evaluate", "explain", "feature",
        "feedback", "frame", "note", "oip", "picture", "quality", "share", "window",
    ],
    &["audit", "carrier", "tls"],
    &["config", "folder", "http", "modbus", "model", "mqtt", "store", "table"],
    &[
        "api",
        "board",
        "certificates",
        "cli",
        "deliver",
        "fuzzing",
        "demo",
        "lifecycle",
        "live",
        "pipeline",
        "plan",
        "rehearsal",
        "reload",
        "replay",
        "serving",
        "sources",
        "stages",
        "status",
        "telemetry",
        "watch",
    ],
];
/// From this layer on the world outside is touched.
const WORLD: usize = 2;
const ADAPTERS: usize = 3;

#[test]
fn imports_go_strictly_downward() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut wrong = Vec::new();
    for file in rust_files(&root) {
        let inside = file.strip_prefix(&root).expect("below src");
        let module = module_of(inside);
        let Some(layer) = layer_of(&module) else {
            assert!(["lib", "main"].contains(&module.as_str()), "{module} stands in no layer");
            continue;
        };
        let text = fs::read_to_string(&file).expect("readable source");
        for (line, import) in imports(&text) {
            let Some(target) = layer_of(&import) else {
                wrong.push(format!(
                    "{}:{line}: crate::{import} stands in no layer",
                    inside.display()
                ));
                continue;
            };
            let sibling = import != module && target == layer && layer == ADAPTERS;
            if target > layer || sibling {
                wrong.push(format!("{}:{line}: {module} imports {import}", inside.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "imports that go up or sideways:\n{}", wrong.join("\n"));
}

#[test]
fn cores_touch_neither_tokio_nor_the_file_system() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for file in rust_files(&root) {
        let module = module_of(file.strip_prefix(&root).expect("below src"));
        if layer_of(&module).is_none_or(|layer| layer >= WORLD) || file.ends_with("tests.rs") {
            continue;
        }
        let text = fs::read_to_string(&file).expect("readable source");
        let text = text.split("#[cfg(test)]").next().unwrap_or_default();
        for banned in ["tokio::", "std::fs", "std::net::Tcp", "async fn", "Instant::now"] {
            assert!(!text.contains(banned), "{} uses {banned}", file.display());
        }
    }
}

fn layer_of(module: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&module))
}

fn module_of(inside: &Path) -> String {
    let first = inside.components().next().expect("a file has a name");
    let name = Path::new(first.as_os_str());
    name.file_stem().expect("a file has a stem").to_string_lossy().into_owned()
}

/// `(line, module)` of every `crate::module` in the code.
fn imports(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (line, code) in text.lines().enumerate() {
        let code = code.split("//").next().unwrap_or_default();
        for (at, _) in code.match_indices("crate::") {
            if at > 0 && code[..at].ends_with('$') {
                continue;
            }
            let rest = &code[at + "crate::".len()..];
            let name: String =
                rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            if !name.is_empty() {
                found.push((line + 1, name));
            }
        }
    }
    found
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).expect("a readable folder") {
        let path = entry.expect("a readable entry").path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}
