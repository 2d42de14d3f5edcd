use proptest::prelude::*;

use super::*;

/// Montgomery, table 9.1: mean 10 and sigma 1, from the 21st reading on the mean is 11.
const TABLE_9_1: [f64; 30] = [
    9.45, 7.99, 9.29, 11.66, 12.16, 10.18, 8.04, 11.46, 9.20, 10.34, 9.03, 11.47, 10.51, 9.40,
    10.08, 9.37, 10.62, 10.31, 8.52, 10.84, 10.90, 9.33, 12.29, 11.50, 10.60, 11.08, 10.38, 11.62,
    11.31, 10.52,
];

fn known(mean: f64, sigma: f64) -> ChartSettings {
    ChartSettings { mean: Some(mean), sigma: Some(sigma), ..ChartSettings::default() }
}

fn scores(kind: RuleKind, settings: &ChartSettings, values: &[f64]) -> Vec<f64> {
    let mut chart = Chart::new(kind, settings).unwrap();
    values.iter().filter_map(|value| chart.push(*value)).map(|reading| reading.score).collect()
}

fn near(got: f64, expected: f64, off: f64) {
    assert!((got - expected).abs() <= off, "{got} {expected}");
}

#[test]
fn montgomerys_cusum_signals_at_the_29th_reading() {
    let sums = scores(RuleKind::Cusum, &known(10.0, 1.0), &TABLE_9_1);
    assert_eq!(sums.iter().position(|sum| *sum > 5.0), Some(28));
    near(sums[28], 5.28, 0.005);
    near(sums[1], 1.56, 0.005);
    near(sums[4], 2.82, 0.005);
}

#[test]
fn montgomerys_ewma_signals_at_the_29th_reading() {
    let settings = ChartSettings { weight: Some(0.1), ..known(10.0, 1.0) };
    let scores = scores(RuleKind::Ewma, &settings, &TABLE_9_1);
    assert_eq!(scores.iter().position(|score| *score > 2.7), Some(28));
    // Of the book's averages 9.945, 9.7495 and 9.70355, with limits 10 ± 2.7 widths.
    // The last three are 10.5731, 10.6468 and 10.6341.
    near(scores[28], 0.6468 / (0.1f64 / 1.9 * (1.0 - 0.9f64.powi(58))).sqrt(), 3e-4);
    near(scores[0], 0.055 / 0.1, 1e-9);
    near(scores[1], 0.2505 / (0.1 / 1.9 * (1.0 - 0.9f64.powi(4))).sqrt(), 1e-9);
    near(scores[2], 0.29645 / (0.1 / 1.9 * (1.0 - 0.9f64.powi(6))).sqrt(), 1e-9);
}

#[test]
fn a_baseline_is_mean_and_moving_range_and_is_not_judged() {
    let settings = ChartSettings { baseline: Some(4), ..ChartSettings::default() };
    // Mean 11, ranges 2, 2, 2: sigma 2 / 1.128.
    let scores = scores(RuleKind::Shewhart, &settings, &[10.0, 12.0, 10.0, 12.0, 15.0, 11.0]);
    assert_eq!(scores.len(), 2);
    near(scores[0], 4.0 * 1.128 / 2.0, 1e-12);
    near(scores[1], 0.0, 1e-12);
}

#[test]
fn a_tag_that_does_not_move_has_no_sigma() {
    let settings = ChartSettings { baseline: Some(4), ..ChartSettings::default() };
    assert!(scores(RuleKind::Shewhart, &settings, &[7.0; 6]).is_empty());
}

#[test]
fn capability_is_worked_out_by_hand() {
    let settings = ChartSettings {
        lower: Some(4.0),
        upper: Some(20.0),
        readings: Some(4),
        ..ChartSettings::default()
    };
    let mut chart = Chart::new(RuleKind::Capability, &settings).unwrap();
    let told: Vec<_> = [10.0, 12.0, 10.0, 12.0].iter().filter_map(|v| chart.push(*v)).collect();
    let sigma = 2.0 / 1.128;
    near(told[0].score, 7.0 / (3.0 * sigma), 1e-12);
    assert_eq!(told[0].label.as_deref(), Some("Cp 1.50, Cpk 1.32"));
    assert_eq!((told.len(), told[0].samples), (1, 4));
    let upper = ChartSettings { lower: None, ..settings };
    near(
        scores(RuleKind::Capability, &upper, &[10.0, 12.0, 10.0, 12.0])[0],
        9.0 / (3.0 * sigma),
        1e-12,
    );
}

/// The rules that the last reading breaks.
fn broken(z: &[f64]) -> Vec<usize> {
    (1..=8u8)
        .filter(|rule| {
            let settings = ChartSettings { rules: Some(vec![*rule]), ..known(0.0, 1.0) };
            scores(RuleKind::Nelson, &settings, z).last() == Some(&1.0)
        })
        .map(usize::from)
        .collect()
}

#[test]
fn each_of_nelsons_rules_is_broken_by_its_own_pattern_and_not_one_reading_earlier() {
    let alternating: Vec<f64> = (0..14).map(|at| if at % 2 == 0 { 0.3 } else { -1.2 }).collect();
    let cases: [(usize, Vec<f64>); 8] = [
        (1, vec![3.1]),
        (2, vec![0.5, 0.2, 0.6, 0.4, 0.5, 0.2, 0.1, 0.3, 0.2]),
        (3, vec![-0.5, -0.3, -0.1, 0.1, 0.3, 0.5]),
        (4, alternating),
        (5, vec![2.1, 0.1, 2.2]),
        (6, vec![1.1, 1.2, -0.1, 1.3, 1.2]),
        (7, [0.1, -0.2, -0.1, 0.3, -0.3].repeat(3)),
        (8, vec![1.2, -1.1, -1.3, 1.1, 1.2, -1.2, -1.3, 1.2]),
    ];
    for (rule, pattern) in cases {
        assert_eq!(broken(&pattern), [rule], "{pattern:?}");
        assert!(!broken(&pattern[..pattern.len() - 1]).contains(&rule), "{pattern:?}");
    }
}

#[test]
fn the_label_names_the_broken_rules() {
    let mut chart = Chart::new(RuleKind::Nelson, &known(0.0, 1.0)).unwrap();
    let last = [2.5, 3.5].iter().filter_map(|z| chart.push(*z)).last().unwrap();
    assert_eq!(last.score, 1.0);
    assert_eq!(last.label.as_deref(), Some("rule 1: one beyond 3 sigma"));
}

const CHARTS: [RuleKind; 4] =
    [RuleKind::Shewhart, RuleKind::Ewma, RuleKind::Cusum, RuleKind::Nelson];

proptest! {
    #[test]
    fn another_unit_changes_no_score(
        values in prop::collection::vec(-4.0..4.0f64, 1..60),
        factor in 0.01..100.0f64,
        offset in -50.0..50.0f64,
    ) {
        // Rows of equal neighbours could turn unequal by rounding.
        let scaled: Vec<f64> = values.iter().map(|value| value * factor + offset).collect();
        for kind in [RuleKind::Shewhart, RuleKind::Ewma, RuleKind::Cusum] {
            let (one, other) = (
                scores(kind, &known(0.0, 1.0), &values),
                scores(kind, &known(offset, factor), &scaled),
            );
            for (a, b) in one.iter().zip(&other) {
                prop_assert!((a - b).abs() < 1e-6, "{kind:?} {a} {b}");
            }
        }
    }

    #[test]
    fn a_mirrored_process_has_the_same_scores(values in prop::collection::vec(-4.0..4.0f64, 1..60)) {
        let mirrored: Vec<f64> = values.iter().map(|value| -value).collect();
        for kind in CHARTS {
            prop_assert_eq!(
                scores(kind, &known(0.0, 1.0), &values),
                scores(kind, &known(0.0, 1.0), &mirrored)
            );
        }
    }

    #[test]
    fn scores_are_finite_and_never_below_zero(
        values in prop::collection::vec(-1e6..1e6f64, 1..80),
    ) {
        let settings = ChartSettings { baseline: Some(20), ..ChartSettings::default() };
        for kind in CHARTS {
            for score in scores(kind, &settings, &values) {
                prop_assert!(score.is_finite() && score >= 0.0);
            }
        }
    }
}
