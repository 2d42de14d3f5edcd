//! Loading: what a model package must be, and what is said when it is not.

mod model_support;

use std::path::Path;
use std::time::Duration;

use andon::model::{check_only, load};
use andon::settings::{Direction, Extent};
use model_support::{Copy, errors, loaded, models, settings};

#[test]
fn every_kind_of_model_loads_and_reproduces_its_golden_pair() {
    let names = ["conv", "remaining", "zipmap-int", "zipmap-text", "argmax", "halved", "root"];
    let predictions: Vec<_> = names.iter().map(|name| format!("model = \"{name}\"")).collect();
    let predictions: Vec<_> = predictions.iter().map(String::as_str).collect();
    let loaded = loaded(&predictions);
    assert_eq!(loaded.models.len(), names.len());
    for model in &loaded.models {
        assert_eq!(model.identity.device, "cpu", "{}", model.identity.name);
    }
}

#[test]
fn a_prediction_lays_its_settings_over_the_cards() {
    let loaded = loaded(&[
        "model = \"remaining/1.0.0\"\ntags = { a = \"plant_a\" }\nalert = { raise = 5.0, n = 2, m = 3 }\n\
         window = { hop = \"1s\", lateness = \"2s\" }",
        "model = \"remaining\"",
    ]);
    let [first, second] = loaded.predictions.as_slice() else { panic!("two predictions") };
    assert_eq!(first.plant_tags, ["plant_a", "b"]);
    assert_eq!(first.window.length, Some(Extent::Time(Duration::from_secs(4))));
    assert_eq!(first.window.hop, Some(Extent::Time(Duration::from_secs(1))));
    assert_eq!(second.window.hop, second.window.length);
    assert_eq!(first.window.coverage, Some(0.5));
    assert_eq!((first.policy.raise, first.policy.clear), (Some(5.0), Some(5.0)));
    assert_eq!(first.policy.direction, Some(Direction::Below));
    assert_eq!(
        (first.policy.n, first.policy.m, first.policy.severity),
        (Some(2), Some(3), Some(500))
    );
    assert!(first.assets[0].matches("press-3"));
    assert_eq!((first.worker, second.worker, loaded.models.len()), (0, 0, 1));
}

#[test]
fn without_a_prediction_no_runtime_is_needed() {
    let mut settings = settings(Path::new("nowhere"), &[]);
    settings.runtime.library = Some("nowhere.so".into());
    assert!(load(&settings).is_ok_and(|loaded| loaded.models.is_empty()));
}

#[test]
fn the_highest_version_runs_unless_another_is_named() {
    let copy = Copy::of("root");
    let newer = copy.models.path().join("root/1.10.0");
    std::fs::create_dir(&newer).unwrap();
    for file in ["model.onnx", "model.toml", "golden.json"] {
        std::fs::copy(copy.file(file), newer.join(file)).unwrap();
    }
    let card = std::fs::read_to_string(newer.join("model.toml")).unwrap();
    std::fs::write(newer.join("model.toml"), card.replace("1.0.0", "1.10.0")).unwrap();
    let version = |model: &str| {
        let settings = settings(copy.models.path(), &[&format!("model = \"{model}\"")]);
        check_only(&settings).unwrap()[0].model.version.clone()
    };
    assert_eq!(version("root"), "1.10.0");
    assert_eq!(version("root/1.0.0"), "1.0.0");
    let errors = copy.errors("model = \"root/2.0.0\"");
    assert_eq!(
        errors,
        "prediction `p0`: model `root` has no version `2.0.0`; it has 1.0.0, 1.10.0\n"
    );
}

#[test]
fn an_unknown_model_is_told_the_known_ones() {
    let errors = errors(&models(), &["model = \"press\""]);
    assert!(errors.contains("no model `press` in"), "{errors}");
    assert!(errors.contains("it has argmax, "), "{errors}");
}

#[test]
fn a_model_that_is_not_the_one_of_the_card_is_refused() {
    let copy = Copy::of("root");
    let mut bytes = std::fs::read(copy.file("model.onnx")).unwrap();
    bytes.push(0);
    std::fs::write(copy.file("model.onnx"), bytes).unwrap();
    let errors = copy.errors("model = \"root\"");
    assert!(
        errors
            .contains("root/1.0.0/model.onnx is not the file that the card means: expected sha256"),
        "{errors}"
    );
}

#[test]
fn a_golden_pair_that_is_not_reproduced_refuses_the_model() {
    let copy = Copy::of("root");
    copy.replace("golden.json", "[3.0]", "[3.1]");
    let errors = copy.errors("model = \"root\"");
    let expected =
        "root/1.0.0/golden.json: item 1 number 0: expected 3.1, got 3 (tolerance 0.00001)";
    assert!(errors.starts_with(expected), "{errors}");

    copy.replace("golden.json", "[3.1]", "[3.1, 4.0]");
    let errors = copy.errors("model = \"root\"");
    assert!(errors.contains("item 1 of `output` has 2 numbers, expected 1"), "{errors}");

    std::fs::remove_file(copy.file("golden.json")).unwrap();
    let errors = copy.errors("model = \"root\"");
    assert!(errors.starts_with("root/1.0.0/golden.json cannot be read"), "{errors}");
}

#[test]
fn claims_that_the_graph_does_not_bear_out_are_told_at_once() {
    let copy = Copy::of("conv");
    copy.replace("model.toml", "tensor = \"input\"", "tensor = \"x\"");
    copy.replace("model.toml", "tensor = \"probability\"", "tensor = \"y\"");
    assert_eq!(
        copy.errors("model = \"conv\""),
        "conv/1.0.0/model.toml:9:1: input.tensor: expected `x`, got `input` in the graph\n\
         conv/1.0.0/model.toml:69:1: output.tensor: expected `y`, got `probability` in the graph\n"
    );
}

#[test]
fn dimensions_that_differ_are_told_as_expected_and_got() {
    let copy = Copy::of("conv");
    copy.replace("model.toml", "order = \"channels_first\"", "order = \"rows_first\"");
    let errors = copy.errors("model = \"conv\"");
    assert!(
        errors.contains("input.order: expected [N, 64, 10] from the card, got [N, 10, 64]"),
        "{errors}"
    );
}

#[test]
fn labels_and_kinds_must_suit_the_output() {
    let copy = Copy::of("argmax");
    copy.replace("model.toml", "kind = \"class\"", "kind = \"probability\"");
    let errors = copy.errors("model = \"argmax\"");
    assert!(errors.contains("output.kind: Probability does not go with a tensor of"), "{errors}");

    let copy = Copy::of("halved");
    copy.replace("model.toml", "kind = \"reconstruction\"", "kind = \"value\"");
    let errors = copy.errors("model = \"halved\"");
    assert!(errors.contains("output.column: missing; the tensor has 8 columns"), "{errors}");
}

#[test]
fn a_model_with_weights_outside_is_refused() {
    let copy = Copy::of("root");
    // ModelProto.graph.initializer.external_data { key: "location", value: "../secret" }
    let entry = [&b"\x0a\x08location\x12\x09"[..], b"../secret"].concat();
    let field =
        |tag: u8, body: &[u8]| [&[tag, u8::try_from(body.len()).unwrap()][..], body].concat();
    let graph = field(0x3a, &field(0x2a, &field(0x6a, &entry)));
    let onnx = [std::fs::read(copy.file("model.onnx")).unwrap(), graph].concat();
    std::fs::write(copy.file("model.onnx"), onnx).unwrap();
    let errors = copy.errors("model = \"root\"");
    assert!(
        errors.contains("keeps weights outside, in `../secret`; save the model as one file"),
        "{errors}"
    );
}

#[test]
fn garbage_in_place_of_a_model_is_an_error() {
    use std::fmt::Write;

    use sha2::Digest;

    let copy = Copy::of("root");
    let garbage = b"this is no protobuf at all";
    std::fs::write(copy.file("model.onnx"), garbage).unwrap();
    let hash = sha2::Sha256::digest(garbage).iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").unwrap();
        hex
    });
    let card = std::fs::read_to_string(copy.file("model.toml")).unwrap();
    let start = card.find("sha256 = \"").unwrap() + "sha256 = \"".len();
    copy.replace("model.toml", &card[start..start + 64], &hash);
    let errors = copy.errors("model = \"root\"");
    assert!(errors.starts_with("root/1.0.0: no device takes the model: cpu: "), "{errors}");
}

#[test]
fn a_card_in_the_wrong_folder_is_an_error() {
    let copy = Copy::of("root");
    copy.replace("model.toml", "name = \"root\"", "name = \"roots\"");
    let errors = copy.errors("model = \"root\"");
    assert!(errors.contains("name: says `roots`, but the folder is `root`"), "{errors}");
}

#[test]
fn settings_of_a_prediction_that_cannot_be_are_told_at_once() {
    let errors = errors(
        &models(),
        &[
            "model = \"remaining\"\ntags = { c = \"x\" }\nalert = { clear = 3.0, severity = 2000 }\n\
           window = { length = \"8s\" }",
        ],
    );
    let expected = "\
prediction `p0`: tags: the model has no tag `c`; it has a, b
prediction `p0`: alert.clear: 3 is below raise (10); write 10 or more
prediction `p0`: alert.severity: expected 1 to 1000
prediction `p0`: window: makes frames of [8, 2]; the model takes [4, 2]
";
    assert_eq!(errors, expected);
}

#[test]
fn a_device_that_is_not_there_falls_back_unless_strict() {
    let with_cuda = "model = \"root\"\ndevices = [\"cuda\", \"cpu\"]";
    assert_eq!(loaded(&[with_cuda]).models[0].identity.device, "cpu");
    let copy = Copy::of("root");
    let card = std::fs::read_to_string(copy.file("model.toml")).unwrap();
    std::fs::write(copy.file("model.toml"), card + "\n[runtime]\nstrict = true\n").unwrap();
    let errors = copy.errors(with_cuda);
    assert!(errors.starts_with("root/1.0.0: no device takes the model: cuda: "), "{errors}");
    let errors = copy.errors("model = \"root\"\ndevices = [\"npu\"]");
    assert!(errors.contains("devices: `npu` is unknown; write some of tensorrt, cuda"), "{errors}");
}

const TEXT_INPUT: &str =
    "layout = \"text\"\n[input.text]\nlowercase = true\nsingle_spaces = true\n";

#[test]
fn a_card_of_texts_and_a_graph_of_numbers_do_not_go_together_either_way() {
    let numbers = Copy::of("root");
    numbers.replace("model.toml", "layout = \"latest\"", "layout = \"text\"");
    let said = numbers.errors("model = \"root\"");
    assert!(said.contains("layouts `image` and `text` have no tags"), "{said}");
    numbers.replace("model.toml", "[[input.tag]]\nname = \"a\"\nmean = 0.0\nstd = 1.0\n", "");
    let said = numbers.errors("model = \"root\"");
    assert!(said.contains("item 0 of `input` is no text"), "{said}");
    std::fs::write(numbers.file("golden.json"), r#"{"input": ["a"], "output": [[1.0]]}"#).unwrap();
    let said = numbers.errors("model = \"root\"");
    assert!(said.contains("input.tensor: expected strings, as layout `text` has them"), "{said}");

    let texts = Copy::of("words");
    let tag = "layout = \"latest\"\n[[input.tag]]\nname = \"a\"\nmean = 0.0\n";
    texts.replace("model.toml", TEXT_INPUT, tag);
    let said = texts.errors("model = \"words\"");
    assert!(said.contains("item 0 of `input` is no list of numbers"), "{said}");
    std::fs::write(texts.file("golden.json"), r#"{"input": [[1.0]], "output": [[1.0]]}"#).unwrap();
    let said = texts.errors("model = \"words\"");
    assert!(said.contains("got strings, which go with layout `text`"), "{said}");
}

#[test]
fn a_map_has_to_be_one_and_goes_with_pictures_of_this_box() {
    let said = |from: &str, to: &str| {
        let copy = Copy::of("spot");
        copy.replace("model.toml", from, to);
        copy.errors("model = \"spot\"")
    };
    let none = said("map = \"map\"", "map = \"heat\"");
    assert!(none.contains("output.map: expected `heat`, got `p`, `map` in the graph"), "{none}");
    let flat = said("map = \"map\"", "map = \"p\"");
    let expected =
        "output.map: expected a tensor of floats, [N, height, width] or with one channel";
    assert!(flat.contains(expected), "{flat}");
    let remote = "[runtime]\nremote = \"http://127.0.0.1:1/v2/models/spot\"\n\n[decision]";
    let far = said("[decision]", remote);
    assert!(far.contains("output.map: is not read of a server's model; leave it out"), "{far}");
    let copy = Copy::of("words");
    copy.replace("model.toml", "kind = \"probability\"", "kind = \"probability\"\nmap = \"m\"");
    let text = copy.errors("model = \"words\"");
    assert!(text.contains("output.map: goes with layout `image`; leave it out"), "{text}");
}

#[test]
fn a_card_of_texts_says_nothing_that_goes_with_numbers_alone() {
    let copy = Copy::of("words");
    copy.replace(
        "model.toml",
        "golden = \"golden.json\"",
        "golden = \"golden.json\"\nbackground = \"b.json\"",
    );
    copy.replace("model.toml", "kind = \"probability\"", "kind = \"reconstruction\"");
    let said = copy.errors("model = \"words\"");
    assert!(said.contains("reference.background: a text is explained by its own words"), "{said}");
    assert!(said.contains("output.kind: a text is not reconstructed"), "{said}");
    let image = Copy::of("brightness");
    image.replace("model.toml", "[window]", "[input.text]\nlowercase = true\n[window]");
    let said = image.errors("model = \"brightness\"");
    assert!(said.contains("input.text: goes with layout `text`"), "{said}");
}
