use super::*;
use crate::feature::Operation;
use crate::sample::Quality;
use crate::settings::WindowSettings;

fn tag(name: &str, mean: f64) -> TagInput {
    TagInput { name: name.into(), mean: Some(mean), std: Some(2.0), ..TagInput::default() }
}

fn input(layout: Layout) -> InputSettings {
    InputSettings {
        tensor: "x".into(),
        layout,
        order: Order::RowsFirst,
        normalise: Normalise::None,
        tag: vec![tag("a", 10.0), tag("b", 20.0)],
        feature: Vec::new(),
        image: None,
        text: None,
    }
}

fn rows(count: u32) -> WindowSettings {
    let coverage = Some(0.0);
    WindowSettings { length: Some(Extent::Rows(count)), coverage, ..WindowSettings::default() }
}

/// Four bins of a second.
fn seconds(fill: Fill) -> WindowSettings {
    WindowSettings {
        length: Some(Extent::Time(Duration::from_secs(4))),
        period: Some(Duration::from_secs(1)),
        fill: Some(fill),
        coverage: Some(0.0),
        staleness: Some(Duration::from_secs(60)),
        ..WindowSettings::default()
    }
}

fn spec(input: &InputSettings, window: &WindowSettings) -> Arc<FrameSpec> {
    Arc::new(FrameSpec::new(input, window).unwrap())
}

fn points(of: &[(i64, f64)]) -> Vec<Point> {
    of.iter()
        .map(|(millis, value)| Point {
            time: Timestamp::from_millis(*millis),
            value: *value,
            quality: if value.is_nan() { Quality::Bad } else { Quality::Good },
        })
        .collect()
}

fn window(start: i64, end: i64, rows: &[i64], columns: &[&[(i64, f64)]]) -> Window {
    Window {
        prediction: PredictionId(3),
        asset: AssetId(7),
        start: Timestamp::from_millis(start),
        end: Timestamp::from_millis(end),
        columns: columns.iter().map(|column| points(column)).collect(),
        rows: rows.iter().map(|millis| Timestamp::from_millis(*millis)).collect(),
        arrived: Timestamp::from_millis(end + 5),
    }
}

fn built(spec: &Arc<FrameSpec>, window: &Window) -> Frame {
    build(spec, window, &mut Scratch::default()).unwrap()
}

const NAN: f64 = f64::NAN;

#[test]
fn count_windows_put_points_on_their_rows() {
    let spec = spec(&input(Layout::Series), &rows(3));
    let window =
        window(0, 30, &[0, 10, 30], &[&[(0, 1.0), (10, 2.0), (30, 3.0)], &[(0, 5.0), (30, 6.0)]]);
    let frame = built(&spec, &window);
    assert_eq!(frame.values, [1.0, 5.0, 2.0, 5.0, 3.0, 6.0]);
    assert_eq!(frame.evidence.coverage, 5.0 / 6.0);
    assert_eq!(frame.evidence.samples, 5);
    assert_eq!(frame.latest, [Some(3.0), Some(6.0)]);
    assert_eq!((frame.prediction, frame.asset), (PredictionId(3), AssetId(7)));
}

#[test]
fn channels_first_transposes() {
    let mut input = input(Layout::Series);
    input.order = Order::ChannelsFirst;
    let spec = spec(&input, &rows(2));
    let frame =
        built(&spec, &window(0, 10, &[0, 10], &[&[(0, 1.0), (10, 2.0)], &[(0, 3.0), (10, 4.0)]]));
    assert_eq!(frame.values, [1.0, 2.0, 3.0, 4.0]);
    assert_eq!(spec.item_shape(), [2, 2]);
}

#[test]
fn a_short_count_window_is_missing_its_oldest_rows() {
    let spec = spec(&input(Layout::Series), &rows(3));
    let frame = built(&spec, &window(0, 10, &[0, 10], &[&[(0, 1.0), (10, 2.0)], &[(10, 4.0)]]));
    assert_eq!(frame.values, [10.0, 20.0, 1.0, 20.0, 2.0, 4.0]);
}

#[test]
fn time_windows_take_the_mean_of_each_bin() {
    let spec = spec(&input(Layout::Series), &seconds(Fill::None));
    let a = [(1000, 1.0), (1400, 3.0), (2000, 5.0), (3999, 7.0), (4000, 9.0), (4999, 11.0)];
    let frame = built(&spec, &window(1000, 5000, &[], &[&a, &[(1500, 8.0)]]));
    assert_eq!(frame.values, [2.0, 8.0, 5.0, 20.0, 7.0, 20.0, 10.0, 20.0]);
    assert_eq!(frame.evidence.coverage, 5.0 / 8.0);
}

#[test]
fn bad_points_are_missing_and_uncertain_ones_count() {
    let spec = spec(&input(Layout::Series), &seconds(Fill::None));
    let mut window = window(0, 4000, &[], &[&[(0, 1.0), (1000, NAN), (2000, 2.0)], &[(0, 0.0)]]);
    window.columns[0][2].quality = Quality::Uncertain;
    let frame = built(&spec, &window);
    assert_eq!(frame.values, [1.0, 0.0, 10.0, 20.0, 2.0, 20.0, 10.0, 20.0]);
    assert_eq!(frame.evidence.samples, 3);
}

#[test]
fn last_holds_a_value_over_a_gap_but_not_longer_than_max_gap() {
    let mut settings = seconds(Fill::Last);
    settings.max_gap = Some(Duration::from_secs(2));
    let spec = spec(&input(Layout::Series), &settings);
    let frame = built(&spec, &window(0, 4000, &[], &[&[(500, 1.0)], &[(-1500, 9.0), (3000, 4.0)]]));
    assert_eq!(frame.values, [1.0, 9.0, 1.0, 20.0, 1.0, 20.0, 10.0, 4.0]);
}

#[test]
fn linear_draws_a_line_between_neighbours_and_holds_at_the_end() {
    let spec = spec(&input(Layout::Series), &seconds(Fill::Linear));
    let frame = built(
        &spec,
        &window(0, 4000, &[], &[&[(0, 1.0), (2000, 3.0)], &[(-1000, 0.0), (1000, 4.0)]]),
    );
    assert_eq!(frame.values, [1.0, 2.0, 2.0, 4.0, 3.0, 4.0, 3.0, 4.0]);
}

#[test]
fn linear_leaves_gaps_longer_than_max_gap() {
    let mut settings = seconds(Fill::Linear);
    settings.max_gap = Some(Duration::from_secs(2));
    let spec = spec(&input(Layout::Series), &settings);
    let frame = built(
        &spec,
        &window(0, 4000, &[], &[&[(0, 1.0), (3000, 4.0)], &[(1000, 5.0), (3000, 7.0)]]),
    );
    assert_eq!(frame.values, [1.0, 20.0, 10.0, 5.0, 10.0, 6.0, 4.0, 7.0]);
}

#[test]
fn missing_cells_hold_the_training_mean_after_normalisation() {
    let mut input = input(Layout::Series);
    input.normalise = Normalise::Standard;
    let spec1 = spec(&input, &rows(1));
    let frame = built(&spec1, &window(0, 0, &[0], &[&[(0, 14.0)], &[]]));
    assert_eq!(frame.values, [2.0, 0.0]);

    input.normalise = Normalise::MinMax;
    for tag in &mut input.tag {
        (tag.min, tag.max) = (Some(0.0), Some(40.0));
    }
    let spec2 = spec(&input, &rows(1));
    let frame = built(&spec2, &window(0, 0, &[0], &[&[(0, 14.0)], &[]]));
    assert_eq!(frame.values, [0.35, 0.5]);
}

#[test]
fn latest_takes_the_last_measured_value() {
    let spec1 = spec(&input(Layout::Latest), &rows(3));
    let columns: [&[_]; 2] = [&[(0, 1.0), (10, 2.0), (20, NAN)], &[(0, 5.0)]];
    let frame = built(&spec1, &window(0, 20, &[0, 10, 20], &columns));
    assert_eq!(frame.values, [2.0, 5.0]);
    assert_eq!(frame.evidence.coverage, 1.0);

    let mut settings = seconds(Fill::Last);
    settings.max_gap = Some(Duration::from_secs(5));
    let spec2 = spec(&input(Layout::Latest), &settings);
    let before = built(&spec2, &window(0, 4000, &[], &[&[(-500, 1.0)], &[(100, 5.0)]]));
    assert_eq!(before.values, [1.0, 5.0]);
    assert_eq!((before.latest, before.evidence.coverage), (vec![None, Some(5.0)], 0.5));
    let too_old = built(&spec2, &window(0, 4000, &[], &[&[(-1500, 1.0)], &[(100, 5.0)]]));
    assert_eq!(too_old.values, [10.0, 5.0]);
}

fn of_tag(name: &str, statistic: &str) -> FeatureInput {
    FeatureInput {
        tag: Some(name.into()),
        statistic: Some(statistic.into()),
        mean: Some(-1.0),
        ..FeatureInput::default()
    }
}

fn of_two(expression: Operation) -> FeatureInput {
    FeatureInput {
        expression: Some(expression),
        of: vec!["a".into(), "b".into()],
        factor: Some(2.0),
        mean: Some(-1.0),
        ..FeatureInput::default()
    }
}

#[test]
fn features_are_columns_in_the_cards_order() {
    let mut input = input(Layout::Features);
    input.feature = vec![
        of_tag("b", "max"),
        of_tag("a", "slope"),
        of_two(Operation::Product),
        of_two(Operation::Difference),
        of_two(Operation::Ratio),
        of_tag("a", "last"),
    ];
    let spec = spec(&input, &rows(3));
    let columns: [&[_]; 2] = [&[(0, 1.0), (1000, 3.0), (2000, 5.0)], &[(0, 8.0), (2000, 4.0)]];
    let frame = built(&spec, &window(0, 2000, &[0, 1000, 2000], &columns));
    assert_eq!(frame.values, [8.0, 2.0, 40.0, 2.0, 2.5, 5.0]);
    assert_eq!(frame.evidence.coverage, 5.0 / 6.0);
}

#[test]
fn features_that_cannot_be_computed_hold_their_training_mean() {
    let mut input = input(Layout::Features);
    input.feature = vec![of_tag("b", "mean"), of_two(Operation::Product), of_tag("a", "slope")];
    let spec = spec(&input, &rows(3));
    let frame = built(&spec, &window(0, 0, &[0], &[&[(0, 1.0)], &[(0, NAN)]]));
    assert_eq!(frame.values, [-1.0, -1.0, -1.0]);
}

#[test]
fn features_with_a_period_see_resampled_and_filled_cells() {
    let mut input = input(Layout::Features);
    input.feature = vec![of_tag("a", "mean"), of_tag("a", "slope"), of_tag("b", "mean")];
    let spec = spec(&input, &seconds(Fill::Linear));
    let columns: [&[_]; 2] = [&[(0, 1.0), (100, 3.0), (3000, 8.0)], &[(0, 1.0)]];
    let frame = built(&spec, &window(0, 4000, &[], &columns));
    assert_eq!(frame.values, [5.0, 2.0, 1.0]);
    assert_eq!(frame.evidence.coverage, 3.0 / 8.0);
}

#[test]
fn a_window_without_a_measured_value_is_empty() {
    let spec = spec(&input(Layout::Series), &rows(2));
    let window = window(0, 10, &[0, 10], &[&[(0, NAN)], &[]]);
    let unfit = build(&spec, &window, &mut Scratch::default()).unwrap_err();
    assert_eq!((unfit.word(), unfit), ("empty", Unfit::Empty));
}

#[test]
fn a_tag_that_fell_silent_makes_the_window_stale() {
    let mut settings = seconds(Fill::Last);
    settings.staleness = Some(Duration::from_secs(3));
    let spec = spec(&input(Layout::Series), &settings);
    let window = window(0, 4000, &[], &[&[(3900, 1.0)], &[(500, 1.0), (3900, NAN)]]);
    let unfit = build(&spec, &window, &mut Scratch::default()).unwrap_err();
    assert_eq!(unfit.to_string(), "the newest value of `b` is 3s 500ms old");
    assert_eq!(unfit.word(), "stale");
}

#[test]
fn by_default_a_tag_without_any_value_makes_a_time_window_stale_but_not_a_count_window() {
    let mut settings = seconds(Fill::Last);
    settings.staleness = None;
    let time = spec(&input(Layout::Series), &settings);
    let unfit = build(&time, &window(0, 4000, &[], &[&[(0, 1.0)], &[]]), &mut Scratch::default());
    assert_eq!(unfit.unwrap_err(), Unfit::Stale { tag: "b".into(), age: None });
    let count = spec(&input(Layout::Series), &rows(1));
    assert!(
        build(&count, &window(0, 0, &[0], &[&[(0, 1.0)], &[]]), &mut Scratch::default()).is_ok()
    );
}

#[test]
fn a_window_with_too_few_measured_cells_is_thin() {
    let mut settings = rows(2);
    settings.coverage = Some(0.75);
    let spec = spec(&input(Layout::Series), &settings);
    let thin = window(0, 10, &[0, 10], &[&[(0, 1.0), (10, 2.0)], &[]]);
    let unfit = build(&spec, &thin, &mut Scratch::default()).unwrap_err();
    let missing = vec!["b".to_owned()];
    assert_eq!(unfit, Unfit::Thin { coverage: 0.5, needed: 0.75, missing });
    assert_eq!(unfit.to_string(), "coverage 0.50 is below 0.75; `b` has no measured value");
    let enough = window(0, 10, &[0, 10], &[&[(0, 1.0), (10, 2.0)], &[(10, 1.0)]]);
    assert_eq!(built(&spec, &enough).evidence.coverage, 0.75);
}

#[test]
fn scratch_carries_nothing_from_frame_to_frame() {
    let mut input = input(Layout::Features);
    input.feature = vec![of_tag("a", "mean"), of_tag("b", "mean")];
    let spec = spec(&input, &rows(2));
    let first = window(0, 10, &[0, 10], &[&[(0, 1.0), (10, 2.0)], &[(0, 5.0), (10, 6.0)]]);
    let second = window(20, 30, &[20, 30], &[&[(20, 7.0)], &[]]);
    let mut scratch = Scratch::default();
    let _ = build(&spec, &first, &mut scratch);
    assert_eq!(build(&spec, &second, &mut scratch).unwrap().values, built(&spec, &second).values);
}

#[test]
fn every_problem_of_a_spec_is_told_at_once() {
    let mut input = input(Layout::Series);
    input.normalise = Normalise::Standard;
    input.tag[0].std = Some(0.0);
    input.tag[1].mean = None;
    let window = WindowSettings {
        length: Some(Extent::Time(Duration::from_secs(10))),
        period: Some(Duration::from_secs(3)),
        coverage: Some(1.5),
        ..WindowSettings::default()
    };
    let errors = FrameSpec::new(&input, &window).unwrap_err();
    let keys: Vec<_> = errors.iter().map(|error| error.key.as_str()).collect();
    assert_eq!(keys, ["input.tag[0]", "input.tag[1].mean", "window.coverage", "window.period"]);
}
