//! `andon config`, `completions` and `man`, as processes.

use std::process::{Command, Output};

fn andon(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_andon")).args(arguments).output().expect("andon runs")
}

fn said(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).expect("text")
}

const RULE: &str =
    "[[rule]]\nname = \"hot\"\nassets = [\"press-1\"]\ntag = \"t\"\nwhen = \"above\"\n";

const SOURCE: &str = "[[modbus]]\nasset = \"press-1\"\naddress = \"tcp://127.0.0.1:9\"\n\
                      register = [{ tag = \"t\", address = \"holding:0\" }]\n";

#[test]
fn show_says_where_every_setting_comes_from() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("andon.toml");
    std::fs::write(&file, format!("[site]\nname = \"x\"\n{RULE}limit = 80.0\n{SOURCE}")).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_andon"))
        .args(["config", "show", "--config", file.to_str().unwrap()])
        .env("ANDON__STORE__PATH", "/data/a.db")
        .output()
        .unwrap();
    let text = said(&output);
    let line = |key: &str| {
        let line = text.lines().find(|line| line.starts_with(key));
        line.unwrap_or_else(|| panic!("no {key} in\n{text}")).to_owned()
    };
    assert!(line("site.name = \"x\"").ends_with("andon.toml:2:8"), "{text}");
    assert!(line("rule[0].limit = 80.0").ends_with("andon.toml:8:9"), "{text}");
    assert!(line("store.path = \"/data/a.db\"").ends_with("# ANDON__STORE__PATH"), "{text}");
    assert!(line("limits.tags = 100000").ends_with("# default"), "{text}");
}

#[test]
fn diff_says_what_a_reload_would_do() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: String| {
        let file = folder.path().join(name);
        std::fs::write(&file, text).unwrap();
        file.to_str().unwrap().to_owned()
    };
    let old = write("old.toml", format!("{RULE}limit = 80.0\n{SOURCE}"));
    let new = write("new.toml", format!("{RULE}limit = 85.0\n{SOURCE}[store]\npath = \"/x.db\"\n"));
    let text = said(&andon(&["config", "diff", &old, &new]));
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "rule.hot.limit: 80.0 -> 85.0 (live)");
    assert!(lines[1].ends_with("-> \"/x.db\" (needs a restart)"), "{text}");
    let json = said(&andon(&["config", "diff", "--json", &old, &new]));
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json[0]["effect"], "live");
    assert_eq!(said(&andon(&["config", "diff", &old, &old])), "Nothing changes.\n");
}

#[test]
fn completions_and_the_manual_name_every_command() {
    for (shell, mark) in
        [("bash", "_andon()"), ("zsh", "#compdef andon"), ("fish", "complete -c andon")]
    {
        let text = said(&andon(&["completions", shell]));
        assert!(text.contains(mark) && text.contains("quarantine"), "{shell}:\n{text}");
    }
    let page = said(&andon(&["man"]));
    assert!(page.contains(".TH andon 1") && page.contains("quarantine"), "{page}");
    let folder = tempfile::tempdir().unwrap();
    said(&andon(&["man", "--dir", folder.path().to_str().unwrap()]));
    for name in ["andon.1", "andon-config-diff.1", "andon-run.1"] {
        assert!(folder.path().join(name).exists(), "{name}");
    }
}
