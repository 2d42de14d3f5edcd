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

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]
    #[test]
    fn no_damage_to_the_example_makes_the_loader_panic_or_point_outside(
        at in any::<prop::sample::Index>(),
        cut in 0usize..40,
        insert in "[ -~\\n\"\\[\\]=]{0,6}",
    ) {
        let example = example();
        let boundary = |mut at: usize| {
            while !example.is_char_boundary(at) {
                at += 1;
            }
            at
        };
        let from = boundary(at.index(example.len()));
        let to = boundary((from + cut).min(example.len()));
        let damaged = format!("{}{insert}{}", &example[..from], &example[to..]);
        if let Err(errors) = load(&damaged) {
            prop_assert!(errors.errors() > 0);
            let lines = damaged.lines().count() + 1;
            for diagnostic in errors.iter() {
                prop_assert!(diagnostic.line <= lines, "{}", diagnostic.message);
            }
        }
    }
}
