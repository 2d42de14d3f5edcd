//! What `andon --version` says about the build: the commit, the target, the compiler, the features.
//!
//! No time and no machine's name: the same inputs give the same binary. Debug builds carry no
//! commit, or each commit would compile every test anew.

use std::env;
use std::path::Path;
use std::process::Command;

/// What the binary is made of.
const INPUTS: [&str; 5] = ["Cargo.toml", "Cargo.lock", "build.rs", "src", "migrations"];

fn main() {
    // `ANDON_COMMIT` speaks for sources that came without their repository.
    println!("cargo:rerun-if-env-changed=ANDON_COMMIT");
    println!("cargo:rerun-if-changed=build.rs");
    let release = env::var("PROFILE").is_ok_and(|profile| profile == "release");
    let commit = match env::var("ANDON_COMMIT") {
        Ok(commit) if !commit.is_empty() => commit,
        _ if release => commit().unwrap_or_else(|| "unknown commit".into()),
        _ => "debug build".into(),
    };
    let features: Vec<String> = env::vars()
        .filter_map(|(name, _)| name.strip_prefix("CARGO_FEATURE_").map(str::to_lowercase))
        .filter(|name| name != "default")
        .collect();
    let rustc = env::var("RUSTC").ok().and_then(|rustc| said(Command::new(rustc).arg("--version")));
    println!("cargo:rustc-env=ANDON_COMMIT={commit}");
    println!("cargo:rustc-env=ANDON_TARGET={}", env::var("TARGET").unwrap_or_default());
    println!("cargo:rustc-env=ANDON_RUSTC={}", rustc.as_deref().unwrap_or("unknown rustc"));
    println!("cargo:rustc-env=ANDON_FEATURES={}", features.join(" "));
}

/// The commit's first twelve digits, with `+` where tracked files differ from it.
fn commit() -> Option<String> {
    for name in ["HEAD", "logs/HEAD", "index"] {
        let path = said(Command::new("git").args(["rev-parse", "--git-path", name]))?;
        if Path::new(&path).exists() {
            println!("cargo:rerun-if-changed={path}");
        }
    }
    for input in INPUTS {
        println!("cargo:rerun-if-changed={input}");
    }
    let commit = said(Command::new("git").args(["rev-parse", "--short=12", "HEAD"]))?;
    let status = ["--no-optional-locks", "status", "--porcelain", "--untracked-files=no", "--"];
    let clean = said(Command::new("git").args(status).args(INPUTS))?.is_empty();
    Some(if clean { commit } else { commit + "+" })
}

fn said(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}
