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
    };
    let length = Some(Extent::Rows(2));
    let window = WindowSettings { length, ..WindowSettings::default() };
    Arc::new(FrameSpec::new(&input, &window).unwrap())
}

#[test]
fn without_a_tag_its_cells_hold_the_training_mean() {
    let mut out = vec![99.0];
    without_tag(&spec(Order::RowsFirst), &[1.0, 2.0, 3.0, 4.0], 1, &mut out);
    assert_eq!(out, [99.0, 1.0, 20.0, 3.0, 20.0]);
    out.clear();
    without_tag(&spec(Order::ChannelsFirst), &[1.0, 2.0, 3.0, 4.0], 1, &mut out);
    assert_eq!(out, [1.0, 2.0, 20.0, 20.0]);
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
