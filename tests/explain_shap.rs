//! Contributions against those of Python's `shap` for the same models, inputs and backgrounds;
//! `tests/data/explain/shap_values.py` says how they were made.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod model_support;

use std::collections::BTreeMap;
use std::sync::Arc;

use andon::asset::AssetId;
use andon::model::{Inquiry, load};
use andon::verdict::{Explained, Explanation, PredictionId, Subject};
use model_support::{Copy, settings};
use serde::Deserialize;

#[derive(Deserialize)]
struct Case {
    model: String,
    item: Vec<f32>,
    background: Vec<Vec<f32>>,
    score: f64,
    mean: f64,
    shap: BTreeMap<String, f64>,
}

fn cases() -> Vec<Case> {
    serde_json::from_str(include_str!("data/explain/shap_values.json")).unwrap()
}

/// A copy of the case's model whose card names the case's background.
fn with_background(case: &Case) -> Copy {
    let copy = Copy::of(&case.model);
    let rows = serde_json::json!({ "input": case.background });
    std::fs::write(copy.file("background.json"), rows.to_string()).unwrap();
    copy.replace("model.toml", "[reference]", "[reference]\nbackground = \"background.json\"");
    copy
}

fn explained(case: &Case) -> Explained {
    let copy = with_background(case);
    let prediction = format!("model = \"{}\"", case.model);
    let mut loaded = load(&settings(copy.models.path(), &[&prediction])).ok().unwrap();
    let latest = vec![None; case.shap.len()];
    let inquiry = Inquiry {
        prediction: PredictionId(0),
        asset: AssetId(0),
        alert_id: "an alert".into(),
        subject: Arc::new(Subject { values: case.item.clone(), text: None, latest }),
        spec: Arc::clone(&loaded.predictions[0].spec),
    };
    loaded.models.remove(0).engine().explain(inquiry)
}

#[test]
fn contributions_are_those_of_shap() {
    for case in cases() {
        let explained = explained(&case);
        assert_eq!(explained.how, Explanation::Exact);
        assert_eq!(explained.contributions.len(), case.shap.len());
        // The script samples orders for this one, and is that far off at most.
        let allowed = if case.model == "bench-conv1d" { 2e-3 } else { 1e-5 };
        for contribution in &explained.contributions {
            let (tag, expected) = (&contribution.tag, case.shap[&contribution.tag]);
            let off = (contribution.share - expected).abs();
            assert!(off < allowed, "{} {tag}: {} {expected}", case.model, contribution.share);
        }
    }
}

#[test]
fn contributions_add_up_to_the_score_less_the_mean() {
    for case in cases() {
        let sum: f64 = explained(&case).contributions.iter().map(|c| c.share).sum();
        assert!((sum - (case.score - case.mean)).abs() < 1e-5, "{}: {sum}", case.model);
    }
}

#[test]
fn a_background_that_cannot_be_says_where_and_what_was_expected() {
    let case = &cases()[0];
    let copy = with_background(case);
    let errors = |text: &str| {
        std::fs::write(copy.file("background.json"), text).unwrap();
        copy.errors(&format!("model = \"{}\"", case.model))
    };
    let file = "zipmap-int/1.0.0/background.json";
    let few = errors(r#"{"input": [[1.0, 2.0], [1.0]]}"#);
    assert_eq!(few, format!("{file}: row 1 has 1 numbers, expected 2\n"));
    assert_eq!(errors(r#"{"input": []}"#), format!("{file}: expected 1 to 64 rows, got 0\n"));
    assert!(errors("{").starts_with(&format!("{file}: EOF")));
    std::fs::remove_file(copy.file("background.json")).unwrap();
    let gone = copy.errors(&format!("model = \"{}\"", case.model));
    assert!(gone.starts_with(&format!("{file}: cannot be read")), "{gone}");
}
