//! Drop-ins: `conf.d/*.toml` beside the main file, in the order of their names.

use std::fs;
use std::path::PathBuf;

use andon::config::{self, Loaded};
use tempfile::TempDir;

const MAIN: &str = r#"[site]
name = "plant7"
[broker.plant]
url = "mqtt://10.0.0.1:1883"
[[mqtt]]
broker = "plant"
topic = "plant/{asset}/telemetry"
payload = "json"
[[rule]]
name = "hot"
assets = ["oven-*"]
tag = "temperature"
when = "above"
limit = 80.0
[http]
hosts = ["a", "b"]
"#;

/// A folder with `MAIN` as andon.toml and drop-ins by name.
fn folder(drop_ins: &[(&str, &str)]) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let main = folder.path().join("andon.toml");
    fs::write(&main, MAIN).expect("writable");
    fs::create_dir(folder.path().join("conf.d")).expect("writable");
    for (name, text) in drop_ins {
        fs::write(folder.path().join("conf.d").join(name), text).expect("writable");
    }
    (folder, main)
}

fn load(main: &std::path::Path) -> Loaded {
    config::load(main, std::iter::empty()).unwrap_or_else(|errors| panic!("{errors}"))
}

fn refusal(folder: &TempDir, main: &std::path::Path) -> String {
    let errors = config::load(main, std::iter::empty()).expect_err("wrong");
    errors.to_string().replace(&format!("{}/", folder.path().display()), "")
}

const COLD: &str = r#"[[rule]]
name = "cold"
assets = ["oven-*"]
tag = "temperature"
when = "below"
limit = 5.0
"#;

#[test]
fn later_files_change_settings_and_add_to_lists() {
    let (_folder, main) = folder(&[
        ("20-site.toml", "[site]\nname = \"plant9\"\n[http]\nhosts = [\"c\"]\n"),
        ("10-site.toml", "[site]\nname = \"plant8\"\n[broker.plant]\nusername = \"box\"\n"),
        ("30-cold.toml", COLD),
        ("40-empty.toml", ""),
        (".hidden.toml", "broken"),
        ("notes.toml~", "broken"),
    ]);
    let Loaded { settings, source, .. } = load(&main);
    assert_eq!(settings.site.name, "plant9");
    assert_eq!(settings.http.hosts, ["c"]);
    assert_eq!(settings.broker["plant"].username.as_deref(), Some("box"));
    assert_eq!(settings.broker["plant"].url, "mqtt://10.0.0.1:1883");
    let rules: Vec<&str> = settings.rule.iter().map(|rule| rule.name.as_str()).collect();
    assert_eq!(rules, ["hot", "cold"]);
    let place = source.locate("rule[1].limit");
    assert!(place.file.ends_with("conf.d/30-cold.toml"), "{place:?}");
    assert_eq!((place.line, place.column), (6, 9));
    assert!(source.locate("site.name").file.ends_with("20-site.toml"));
    assert!(source.locate("rule[0].limit").file.ends_with("andon.toml"));
}

#[test]
fn the_environment_has_the_last_word() {
    let (_folder, main) = folder(&[("10.toml", COLD)]);
    let variables = [("ANDON__RULE__1__LIMIT", "7.5"), ("ANDON__SITE__NAME", "plant1")];
    let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let settings = config::load(&main, variables.into_iter()).expect("good").settings;
    assert_eq!(settings.rule[1].limit, Some(7.5));
    assert_eq!(settings.site.name, "plant1");
}

#[test]
fn errors_name_the_file_that_they_stand_in() {
    let (folder, main) = folder(&[
        ("10.toml", "[site]\nname = 5\n"),
        ("20.toml", &COLD.replace("cold", "hot").replace("5.0", "\"five\"")),
    ]);
    let text = refusal(&folder, &main);
    assert!(text.contains("conf.d/10.toml:2:8: error: expected"), "{text}");
    assert!(text.contains("conf.d/20.toml:6:9: error: expected"), "{text}");
    assert!(text.contains("the name \"hot\" is taken, on line 10 of andon.toml"), "{text}");
}

#[test]
fn files_that_are_no_toml_are_all_told() {
    let (folder, main) = folder(&[("10.toml", "[site\n"), ("20.toml", "a = \n")]);
    fs::write(folder.path().join("conf.d/30.toml"), COLD).expect("writable");
    let text = refusal(&folder, &main);
    assert!(text.contains("conf.d/10.toml:1:"), "{text}");
    assert!(text.contains("conf.d/20.toml:1:"), "{text}");
    fs::write(folder.path().join("conf.d/10.toml"), b"# \xff\n").expect("writable");
    let text = refusal(&folder, &main);
    assert!(text.contains("conf.d/10.toml:1:3: error: the byte 0xff is not UTF-8"), "{text}");
}
