use std::sync::Arc;

use super::*;
use crate::frame::{InputSettings, Normalise, Order, TagInput};
use crate::settings::{Extent, WindowSettings};

fn spec(order: Order) -> Arc<FrameSpec> {
    let tag =
        |name: &str, mean| TagInput { name: name.into(), mean: Some(mean), ..TagInput::default() };
    let input = InputSettings {
        tensor: "x".into(),
        layout: Layout::Series,
        order,
        normalise: Normalise::None,
        tag: vec![tag("a", 10.0), tag("b", 20.0)],
        feature: Vec::new(),
        image: None,
        text: None,
    };
    let length = Some(Extent::Rows(2));
    let window = WindowSettings { length, ..WindowSettings::default() };
    Arc::new(FrameSpec::new(&input, &window).unwrap())
}

#[test]
fn parts_of_a_reconstruction_error_add_up_to_it() {
    let parts = error_by_tag(&spec(Order::RowsFirst), &[1.0, 2.0, 3.0, 4.0], &[0.0, 2.0, 3.0, 2.0]);
    assert_eq!(parts, [0.25, 1.0]);
}

#[test]
fn the_strongest_push_towards_the_alert_stands_first() {
    let spec = spec(Order::RowsFirst);
    let latest = [Some(1.5), None];
    let above = contributions(&spec, &latest, &[-0.1, 0.4], Direction::Above);
    let told: Vec<_> = above.iter().map(|c| (c.tag.as_str(), c.value, c.share)).collect();
    assert_eq!(told, [("b", None, 0.4), ("a", Some(1.5), -0.1)]);
    let below = contributions(&spec, &latest, &[-0.1, 0.4], Direction::Below);
    assert_eq!((below[0].tag.as_str(), below[0].share), ("a", 0.1));
    let unknown = contributions(&spec, &latest, &[f64::NAN, 0.4], Direction::Above);
    assert_eq!(unknown.len(), 1);
}

/// Runs `shapley` on `model` to its end.
fn explained(mut shapley: Shapley, model: impl Fn(&[f32]) -> f64) -> Vec<f64> {
    let mut items = Vec::new();
    let width = shapley.item_len();
    while !shapley.is_done() {
        items.clear();
        let asked = shapley.ask(7, &mut items);
        assert_eq!(items.len(), asked * width);
        let scores: Vec<f64> = items.chunks(width).map(&model).collect();
        shapley.answer(&scores);
    }
    shapley.pushes().unwrap()
}

/// A model of `count` tags on one row each.
fn latest(count: usize) -> Arc<FrameSpec> {
    let tag =
        |at: usize| TagInput { name: format!("t{at}"), mean: Some(0.0), ..TagInput::default() };
    let input = InputSettings {
        tensor: "x".into(),
        layout: Layout::Latest,
        order: Order::RowsFirst,
        normalise: Normalise::None,
        tag: (0..count).map(tag).collect(),
        feature: Vec::new(),
        image: None,
        text: None,
    };
    let length = Some(Extent::Rows(1));
    let window = WindowSettings { length, ..WindowSettings::default() };
    Arc::new(FrameSpec::new(&input, &window).unwrap())
}

fn rows(count: usize, tags: usize) -> Arc<[Vec<f32>]> {
    let cell = |row: usize, tag: usize| ((row * 5 + tag * 3) % 11) as f32 / 4.0 - 1.0;
    (0..count).map(|row| (0..tags).map(|tag| cell(row, tag)).collect()).collect()
}

/// Products, a threshold and a dummy: tag 1 does nothing.
fn crooked(x: &[f32]) -> f64 {
    let x: Vec<f64> = x.iter().map(|v| f64::from(*v)).collect();
    let rest: f64 = x[3..].iter().enumerate().map(|(at, v)| v * (at as f64 + 1.0) / 7.0).sum();
    x[0] * x[2] + rest + if x[0] > 1.0 { 2.0 } else { 0.0 }
}

fn mean(rows: &[Vec<f32>], model: impl Fn(&[f32]) -> f64) -> f64 {
    rows.iter().map(|row| model(row)).sum::<f64>() / rows.len() as f64
}

#[test]
fn contributions_add_up_to_the_score_less_the_mean() {
    for tags in [3, 6, 10, 11, 17] {
        let background = rows(8, tags);
        let item: Vec<f32> = (0..tags).map(|tag| 2.0 - tag as f32 / 3.0).collect();
        let shapley =
            Shapley::new(&latest(tags), item.clone(), Arc::clone(&background), "an alert");
        assert_eq!(shapley.is_exact(), tags <= 10);
        let pushes = explained(shapley, crooked);
        let expected = crooked(&item) - mean(&background, crooked);
        assert!((pushes.iter().sum::<f64>() - expected).abs() < 1e-9, "{tags} tags");
        assert!(pushes[1].abs() < 1e-12, "a dummy moves nothing");
    }
}

#[test]
fn tags_that_do_the_same_get_the_same() {
    let model = |x: &[f32]| f64::from(x[0] * x[1] + x[2]);
    let background: Arc<[Vec<f32>]> = [vec![0.5, 0.5, 1.0], vec![-1.0, -1.0, 2.0]].into();
    let pushes = explained(Shapley::new(&latest(3), vec![2.0, 2.0, 0.0], background, "a"), model);
    assert!((pushes[0] - pushes[1]).abs() < 1e-12, "{pushes:?}");
}

#[test]
fn two_tags_are_worked_out_by_hand() {
    // Of x·y at (2, 3) against (0, 1): x alone brings 2, y alone 0, both 6.
    let model = |x: &[f32]| f64::from(x[0] * x[1]);
    let background: Arc<[Vec<f32>]> = [vec![0.0, 1.0]].into();
    let pushes = explained(Shapley::new(&latest(2), vec![2.0, 3.0], background, "a"), model);
    assert_eq!(pushes, [4.0, 2.0]);
}

#[test]
fn samples_come_near_the_exact_values_and_are_the_same_for_the_same_alert() {
    let tags = 11;
    let background = rows(4, tags);
    let item: Vec<f32> = (0..tags).map(|tag| 2.0 - tag as f32 / 3.0).collect();
    let model = |x: &[f32]| crooked(x) + f64::from(x[4] * x[5]);
    let sampled = |id: &str| {
        explained(Shapley::new(&latest(tags), item.clone(), Arc::clone(&background), id), model)
    };
    assert_eq!(sampled("one"), sampled("one"));
    assert_ne!(sampled("one"), sampled("another"));
    // Tag 2 only multiplies tag 0: it gets half of what both bring together, and no more.
    let half = |row: &Vec<f32>| f64::from((item[0] + row[0]) * (item[2] - row[2])) / 2.0;
    let exact = background.iter().map(half).sum::<f64>() / 4.0;
    let got = sampled("one")[2];
    assert!((got - exact).abs() < 0.05, "{got} {exact}");
}

#[test]
fn a_cell_of_two_tags_is_measured_only_with_both() {
    let tag = |name: &str| TagInput { name: name.into(), mean: Some(0.0), ..TagInput::default() };
    let feature = crate::frame::FeatureInput {
        expression: Some(crate::feature::Operation::Product),
        of: vec!["a".into(), "b".into()],
        mean: Some(0.0),
        ..crate::frame::FeatureInput::default()
    };
    let input = InputSettings {
        tensor: "x".into(),
        layout: Layout::Features,
        order: Order::RowsFirst,
        normalise: Normalise::None,
        tag: vec![tag("a"), tag("b")],
        feature: vec![feature],
        image: None,
        text: None,
    };
    let length = Some(Extent::Rows(1));
    let window = WindowSettings { length, ..WindowSettings::default() };
    let spec = Arc::new(FrameSpec::new(&input, &window).unwrap());
    let pushes =
        explained(Shapley::new(&spec, vec![8.0], [vec![2.0]].into(), "a"), |x| x[0].into());
    assert_eq!(pushes, [3.0, 3.0]);
}

#[test]
fn a_model_that_cannot_say_leaves_no_reasons() {
    let mut shapley = Shapley::new(&latest(2), vec![2.0, 3.0], [vec![0.0, 1.0]].into(), "a");
    let mut items = Vec::new();
    assert_eq!(shapley.pushes(), None, "nothing was asked yet");
    let asked = shapley.ask(100, &mut items);
    shapley.answer(&vec![f64::NAN; asked]);
    assert!(shapley.is_done());
    assert_eq!(shapley.pushes(), None);
}
