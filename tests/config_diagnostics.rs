//! What a plant engineer is told about a configuration: everything at once, each with its place.

use std::path::{Path, PathBuf};

use andon::config::{self, Diagnostics, Loaded};
use proptest::prelude::*;

const MINIMAL: &str = "[[modbus]]\nasset = \"press-1\"\naddress = \"tcp://192.0.2.1\"\n\
                       register = [{ tag = \"pressure\", address = \"holding:0\" }]\n";

fn load(text: &str) -> Result<Loaded, Diagnostics> {
    config::load_text("andon.toml", text, std::iter::empty())
}

fn refusal(text: &str) -> String {
    match load(text) {
        Ok(_) => panic!("this configuration is refused:\n{text}"),
        Err(errors) => errors.to_string(),
    }
}

fn example() -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/andon.toml");
    std::fs::read_to_string(file).expect("the example")
}

#[test]
fn every_mistake_of_a_broken_file_is_told_at_once() {
    insta::assert_snapshot!(refusal(include_str!("data/config/broken.toml")));
}

#[test]
fn a_minimal_configuration_is_enough() {
    let loaded = load(MINIMAL).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(loaded.settings.modbus[0].register.len(), 1);
}

#[test]
fn a_syntax_error_has_its_line_and_column() {
    assert!(refusal("[site]\nname = \"x\n").starts_with("andon.toml:2:"));
}

#[test]
fn an_empty_file_and_a_missing_one_say_what_to_do() {
    assert!(refusal("").contains("the file is empty"));
    let missing = config::load(&PathBuf::from("nowhere/andon.toml"), std::iter::empty());
    let text = missing.map(|_| ()).expect_err("there is no such file").to_string();
    assert!(text.contains("nowhere/andon.toml: error: cannot read the file"), "{text}");
}

#[test]
fn the_environment_overrides_a_setting_and_is_named_when_wrong() {
    let with = |name: &str, value: &str| {
        let variables = [(name.to_owned(), value.to_owned())];
        config::load_text("andon.toml", MINIMAL, variables.into_iter())
    };
    let loaded = with("ANDON__STORE__PATH", "/data/a.db").unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(loaded.settings.store.path, Path::new("/data/a.db"));
    let errors = with("ANDON__STORE__RETAIN_AGE", "soon").map(|_| ()).expect_err("no duration");
    assert!(errors.to_string().contains("ANDON__STORE__RETAIN_AGE"), "{errors}");
}

#[test]
fn a_later_check_can_point_into_the_file() {
    let loaded = load(MINIMAL).unwrap_or_else(|errors| panic!("{errors}"));
    let told = loaded.source.error("modbus[0].register[0].address", "out of reach").to_string();
    assert!(told.starts_with("andon.toml:4:"), "{told}");
}

#[test]
fn a_byte_that_is_not_utf8_is_pointed_at() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), b"[site]\nname = \"Werk S\xfcd\"\n").expect("written");
    let errors = config::load(file.path(), std::iter::empty()).map(|_| ()).expect_err("Latin-1");
    let first = errors.iter().next().expect("one error");
    assert_eq!((first.line, first.column), (2, 15), "{errors}");
    assert!(first.message.contains("0xfc"), "{errors}");
}

#[test]
fn every_setting_stands_in_the_example() {
    // Where nothing is known by that name, the error lists what is.
    const TABLES: [&str; 18] = [
        "x = 1",
        "[site]\nx = 1",
        "[broker.a]\nx = 1",
        "[publish]\nx = 1",
        "[[mqtt]]\nx = 1",
        "[[modbus]]\nx = 1",
        "[[modbus]]\n[[modbus.register]]\nx = 1",
        "[[tag]]\nx = 1",
        "[[prediction]]\nx = 1",
        "[[prediction]]\nwindow = { x = 1 }",
        "[[prediction]]\nalert = { x = 1 }",
        "[[rule]]\nx = 1",
        "[[rule]]\nalert = { x = 1 }",
        "[store]\nx = 1",
        "[runtime]\nx = 1",
        "[http]\nx = 1",
        "[limits]\nx = 1",
        "[log]\nx = 1",
    ];
    let example = example();
    let mut names = 0;
    for table in TABLES {
        let told = refusal(table);
        for list in told.split("allowed here: ").skip(1) {
            let list = list.lines().next().unwrap_or_default();
            for name in list.split('`').skip(1).step_by(2) {
                names += 1;
                let settings = [format!("{name} = "), format!("[{name}"), format!(".{name}]")];
                let written = settings.iter().any(|setting| example.contains(setting));
                assert!(written, "config/andon.toml does not show `{name}` ({table:?})");
            }
        }
    }
    assert!(names > 80, "{names} settings");
}

#[test]
fn what_the_example_has_commented_out_is_right_too() {
    let setting = |line: &str| {
        let name = |c: char| c.is_ascii_lowercase() || c == '_';
        line.split_once(" = ").is_some_and(|(key, _)| key.chars().all(name))
            || line.strip_prefix('[').is_some_and(|rest| rest.starts_with(name))
    };
    let mut opened = 0;
    let text: Vec<String> = example()
        .lines()
        .map(|line| match line.strip_prefix("# ") {
            Some(rest) if setting(rest) => {
                opened += 1;
                rest.to_owned()
            }
            _ => line.to_owned(),
        })
        .collect();
    assert!(opened > 30, "{opened}");
    // As the file itself: register maps stand beside it.
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/andon.toml");
    let file = file.display().to_string();
    if let Err(errors) = config::load_text(&file, &text.join("\n"), std::iter::empty()) {
        panic!("{errors}");
    }
}

#[test]
fn hundreds_of_mistakes_and_endless_nesting_are_told_in_time() {
    let many: String = (0..2_000).map(|n| format!("[[rule]]\nname{n} = {n}\n")).collect();
    let errors = load(&many).map(|_| ()).expect_err("nothing in it is right");
    assert!(errors.errors() >= 100, "{}", errors.errors());
    assert!(errors.to_string().contains("there may be more"));

    let depth = 20_000;
    let nested = [
        format!("x = {}{}", "[".repeat(depth), "]".repeat(depth)),
        format!("x = {}1{}", "{a = ".repeat(depth), "}".repeat(depth)),
        format!("a{} = 1", ".a".repeat(depth)),
        format!("[a{}]", ".a".repeat(depth)),
    ];
    for text in nested {
        assert!(load(&text).is_err());
    }
}

#[test]
fn diagnostics_are_also_data() {
    let errors = load("[store]\nretain_age = 5\n").map(|_| ()).expect_err("two errors");
    let json = errors.to_json();
    assert_eq!(json["errors"], 2);
    let found = &json["diagnostics"][1];
    assert_eq!(found["path"], "store.retain_age");
    assert_eq!((found["line"].as_u64(), found["column"].as_u64()), (Some(2), Some(14)));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]
    #[test]
    fn no_damage_to_the_example_makes_the_loader_panic_or_point_outside(
        cuts in prop::collection::vec(
            (any::<prop::sample::Index>(), 0usize..40, "[ -~\\n\\t\"\\[\\]=ä]{0,6}"),
            1..4,
        ),
    ) {
        let mut damaged = example();
        for (at, cut, insert) in cuts {
            let from = damaged.floor_char_boundary(at.index(damaged.len()));
            let to = damaged.floor_char_boundary((from + cut).min(damaged.len()));
            damaged.replace_range(from..to, &insert);
        }
        if let Err(errors) = load(&damaged) {
            prop_assert!(errors.errors() > 0);
            let lines: Vec<&str> = damaged.split('\n').collect();
            for diagnostic in &errors {
                let line = lines.get(diagnostic.line.wrapping_sub(1));
                prop_assert!(line.is_some(), "{diagnostic}");
                let width = line.map_or(0, |line| line.chars().count());
                prop_assert!((1..=width + 1).contains(&diagnostic.column), "{diagnostic}");
            }
            let _ = errors.to_string();
        }
    }

    #[test]
    fn no_byte_makes_the_loader_panic(
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut bytes = example().into_bytes();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), &bytes).expect("written");
        if let Err(errors) = config::load(file.path(), std::iter::empty()) {
            prop_assert!(errors.errors() > 0);
            for diagnostic in &errors {
                prop_assert!(diagnostic.line >= 1 && diagnostic.column >= 1, "{diagnostic}");
            }
        }
    }
}
