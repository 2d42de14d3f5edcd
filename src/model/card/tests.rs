use super::*;

const DOCS: &str = include_str!("../../../docs/model-card.md");

/// The whole cards of `docs/model-card.md`.
fn documented() -> Vec<&'static str> {
    let blocks = DOCS.split("```toml\n").skip(1).filter(|block| block.starts_with("name"));
    blocks.map(|block| block.split("```").next().unwrap()).collect()
}

fn errors(text: &str) -> Vec<String> {
    let errors = Card::parse(Path::new("model.toml"), text).unwrap_err();
    errors.iter().map(ToString::to_string).collect()
}

#[test]
fn the_documented_cards_are_right() {
    let cards = documented();
    assert_eq!(cards.len(), 2);
    for text in cards {
        Card::parse(Path::new("docs/model-card.md"), text).unwrap();
    }
}

#[test]
fn what_is_left_out_has_a_default() {
    let card = Card::parse(Path::new("model.toml"), documented()[1]).unwrap();
    assert_eq!(card.runtime.devices, ["cpu"]);
    assert_eq!((card.runtime.threads, card.runtime.max_batch), (1, 64));
    assert_eq!(card.reference.tolerance, 1e-5);
}

#[test]
fn an_unknown_setting_is_an_error_with_its_line() {
    let text = documented()[0].replace("hop = \"1s\"", "hopp = \"1s\"");
    let line = text.lines().position(|line| line.starts_with("hopp")).unwrap() + 1;
    let errors = errors(&text);
    let expected = format!("model.toml:{line}:1: window");
    assert!(errors[0].starts_with(&expected), "{errors:?}");
    assert!(errors[0].contains("unknown field `hopp`"), "{errors:?}");
}

#[test]
fn several_labels_may_be_positive_but_not_all() {
    let with = |positive: &str| {
        documented()[0]
            .replace("labels = [\"ok\", \"reject\"]", "labels = [\"ok\", \"dent\", \"crack\"]")
            .replace("positive = \"reject\"", &format!("positive = {positive}"))
    };
    let card = Card::parse(Path::new("model.toml"), &with("[\"dent\", \"crack\"]")).unwrap();
    assert_eq!(card.output.positive, ["dent", "crack"]);
    // The one column of a model may have one name.
    let only = documented()[0].replace("labels = [\"ok\", \"reject\"]", "labels = [\"reject\"]");
    assert_eq!(Card::parse(Path::new("model.toml"), &only).unwrap().output.positive, ["reject"]);
    for (positive, expected) in [
        ("[\"dent\", \"scrap\"]", "write one of the labels: ok, dent, crack"),
        ("[\"dent\", \"ok\", \"crack\"]", "leave at least one out of the labels: ok, dent, crack"),
        ("[\"dent\", \"dent\"]", "write each label once"),
        ("[]", "missing; write the label that asks for an alert"),
        ("3", "expected a label or a list of labels"),
    ] {
        let errors = errors(&with(positive));
        assert!(errors.len() == 1 && errors[0].contains(expected), "{positive}: {errors:?}");
    }
}

#[test]
fn broken_toml_is_an_error_with_its_line() {
    let errors = errors("name = \"a\"\nversion = \n");
    assert!(errors[0].starts_with("model.toml:2:"), "{errors:?}");
}

#[test]
fn every_problem_is_told_at_once_with_line_and_what_to_write() {
    let text = documented()[0]
        .replace("sha256 = \"0", "sha256 = \"x")
        .replace("std = 3.0\n", "")
        .replace("positive = \"reject\"", "positive = \"scrap\"")
        .replace("clear = 0.6", "clear = 0.9")
        .replace("devices = [\"cpu\"]", "devices = [\"npu\"]");
    let line = |start: &str| text.lines().position(|line| line.starts_with(start)).unwrap() + 1;
    let second_tag = text.match_indices("[[input.tag]]").nth(1).unwrap().0;
    let second_tag = text[..second_tag].lines().count() + 1;
    let errors = errors(&text);
    let expected = [
        format!("model.toml:{}:1: sha256: expected 64 hex", line("sha256")),
        format!("model.toml:{second_tag}:1: input.tag[1].std: missing; write its std"),
        format!("model.toml:{}:1: output.positive: write one of the labels: ok", line("positive")),
        format!("model.toml:{}:1: decision.clear: 0.9 is above raise (0.8)", line("clear")),
        format!("model.toml:{}:1: runtime.devices: `npu` is unknown", line("devices")),
    ];
    assert_eq!(errors.len(), expected.len(), "{errors:#?}");
    for (got, expected) in errors.iter().zip(&expected) {
        assert!(got.starts_with(expected), "expected {expected}\ngot      {got}");
    }
}
