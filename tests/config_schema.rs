//! The JSON Schema that editors use is that of the settings, and allows what `andon check` allows.

use std::path::Path;

use andon::settings::schema;
use jsonschema::Validator;
use serde_json::Value;

fn shipped(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path))
        .expect("a shipped file")
}

fn validator() -> Validator {
    jsonschema::draft7::new(&schema::schema()).expect("a schema")
}

fn table(text: &str) -> Value {
    serde_json::to_value(toml::from_str::<toml::Table>(text).expect("TOML")).expect("JSON")
}

#[test]
fn the_shipped_schema_is_current() {
    let shipped: Value = serde_json::from_str(&shipped("docs/schema/config.schema.json")).unwrap();
    let current = schema::schema();
    assert!(shipped == current, "run `andon config schema > docs/schema/config.schema.json`");
}

#[test]
fn the_example_names_the_schema_and_fits_it() {
    let example = shipped("config/andon.toml");
    assert!(example.starts_with("#:schema ../docs/schema/config.schema.json\n"));
    let validator = validator();
    let errors: Vec<String> = validator
        .iter_errors(&table(&example))
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert_eq!(errors, [""; 0]);
}

#[test]
fn editors_are_told_of_unknown_and_missing_settings_and_wrong_types() {
    let validator = validator();
    for wrong in [
        "[site]\nnaem = 'x'",
        "[[rule]]\nname = 'hot'",
        "[store]\nretain_age = 5",
        "[[modbus]]\nasset = 'p'\naddress = 'tcp://h'\nparity = 'strange'",
        "[[prediction]]\nname = 'n'\nmodel = 'm'\nassets = ['*']\nwindow = { length = true }",
    ] {
        assert!(!validator.is_valid(&table(wrong)), "{wrong}");
    }
    let known = schema::schema().to_string();
    assert!(known.contains("Part of every alert id. Change it and the alerts are new ones."));
    assert!(validator.is_valid(&table(
        "[[prediction]]\nname = 'n'\nmodel = 'm'\nassets = ['*']\nwindow = { length = '30s', hop = 3 }"
    )));
}

#[test]
fn the_reference_is_that_of_the_settings() {
    let written = std::fs::read_to_string("docs/config.md").unwrap();
    let made = andon::settings::reference::markdown();
    assert!(written == made, "docs/config.md is old: andon config docs > docs/config.md");
    for section in ["`[broker.NAME]`", "`[[mqtt]]`", "`[[rule]]`", "`[store]`"] {
        assert!(made.contains(section), "{section}");
    }
}
