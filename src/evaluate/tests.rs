use std::time::Duration;

use proptest::prelude::*;
use serde::Deserialize;

use super::*;
use crate::settings::Direction;
use crate::time::Timestamp;

#[derive(Deserialize)]
struct Golden {
    binary: Vec<BinaryCase>,
    value: ValueCase,
    classes: ClassesCase,
}

#[derive(Deserialize)]
struct BinaryCase {
    score: Vec<f64>,
    truth: Vec<u8>,
    roc_auc: f64,
    pr_auc: f64,
    log_loss: f64,
    accuracy: f64,
    precision: f64,
    recall: f64,
    f1: f64,
}

#[derive(Deserialize)]
struct ValueCase {
    answer: Vec<f64>,
    truth: Vec<f64>,
    rmse: f64,
    mae: f64,
    r2: f64,
    cmapss: f64,
}

#[derive(Deserialize)]
struct ClassesCase {
    truth: Vec<usize>,
    answer: Vec<usize>,
    confusion: Vec<Vec<usize>>,
    accuracy: f64,
    precision: Vec<f64>,
    recall: Vec<f64>,
    f1: Vec<f64>,
    support: Vec<usize>,
}

fn golden() -> Golden {
    serde_json::from_str(include_str!("../../tests/data/evaluate/golden.json")).unwrap()
}

fn close(ours: impl Into<Option<f64>>, theirs: f64) {
    let ours = ours.into().expect("a figure");
    assert!((ours - theirs).abs() <= 1e-9 * theirs.abs().max(1.0), "{ours} is not {theirs}");
}

fn scored(scores: &[f64], truth: &[u8]) -> Vec<Scored> {
    let pairs = scores.iter().zip(truth);
    pairs.map(|(score, truth)| Scored { score: *score, positive: *truth == 1 }).collect()
}

#[test]
fn two_classes_give_the_figures_of_scikit_learn() {
    for case in golden().binary {
        let scored = scored(&case.score, &case.truth);
        let figures = Binary::new(&scored, 0.5, Direction::Above, [1.0, 1.0], true).unwrap();
        close(figures.roc_auc, case.roc_auc);
        close(figures.pr_auc, case.pr_auc);
        close(figures.log_loss, case.log_loss);
        close(figures.at_card.accuracy, case.accuracy);
        close(figures.at_card.precision, case.precision);
        close(figures.at_card.recall, case.recall);
        close(figures.at_card.f1, case.f1);
    }
}

#[test]
fn values_give_the_figures_of_scikit_learn() {
    let case = golden().value;
    let pairs = case.answer.iter().zip(&case.truth);
    let answered: Vec<_> =
        pairs.map(|(answer, truth)| Answered { answer: *answer, truth: *truth }).collect();
    let figures = ValueFigures::new(&answered).unwrap();
    close(figures.rmse, case.rmse);
    close(figures.mae, case.mae);
    close(figures.r2, case.r2);
    close(figures.cmapss, case.cmapss);
}

#[test]
fn several_classes_give_the_figures_of_scikit_learn() {
    let case = golden().classes;
    let mut classes = Classes::new(&["a".into(), "b".into(), "c".into()]);
    case.truth.iter().zip(&case.answer).for_each(|(truth, answer)| classes.count(*truth, *answer));
    assert_eq!(classes.confusion, case.confusion);
    close(classes.accuracy(), case.accuracy);
    for class in 0..3 {
        let figures = classes.figures(class);
        close(figures.precision, case.precision[class]);
        close(figures.recall, case.recall[class]);
        close(figures.f1, case.f1[class]);
        assert_eq!(figures.support, case.support[class]);
    }
}

#[test]
fn one_class_alone_has_no_curve_and_no_rows_have_no_figures() {
    let all_good = scored(&[0.1, 0.2], &[0, 0]);
    let figures = Binary::new(&all_good, 0.5, Direction::Above, [1.0, 1.0], true).unwrap();
    assert_eq!((figures.roc_auc, figures.pr_auc, figures.at_card.recall), (None, None, None));
    assert_eq!(Binary::new(&[], 0.5, Direction::Above, [1.0, 1.0], true), None);
    assert_eq!(ValueFigures::new(&[]), None);
}

#[test]
fn the_dearer_mistake_moves_the_threshold() {
    let scored = scored(&[0.9, 0.8, 0.6, 0.4], &[1, 0, 1, 0]);
    let ranking = Ranking::new(&scored, Direction::Above);
    let least = |costs| ranking.best(costs, |at| -at.cost).unwrap();
    assert_eq!(least([10.0, 1.0]).threshold, 0.9);
    assert_eq!(least([1.0, 10.0]).threshold, 0.6);
    assert_eq!(least([1.0, 10.0]).cost, 1.0);
}

#[test]
fn alerts_are_early_late_or_for_nothing() {
    let at = Timestamp::from_secs;
    let windows = (0..=86_400).step_by(600).map(|s| (at(s), (43_200..=46_800).contains(&s)));
    let track = |raises: &[i64]| Track {
        windows: windows.clone().collect(),
        raises: raises.iter().map(|s| at(*s)).collect(),
    };
    let judged = |raises: &[i64]| alarms(&[track(raises)], Duration::from_secs(3600));
    let early = judged(&[10_000, 42_000, 43_800]);
    assert_eq!((early.events, early.announced, early.alerts), (1, 1, 3));
    assert_eq!((early.false_alarms, early.false_alarms_a_day), (1, Some(1.0)));
    assert_eq!(early.lead_seconds, [1200.0]);
    assert_eq!(judged(&[43_800]).lead_seconds, [-600.0]);
    assert_eq!(judged(&[60_000]).announced, 0);
}

proptest! {
    /// The area under the ROC curve is the chance that a positive scores above a negative.
    #[test]
    fn auc_is_the_mann_whitney_statistic(
        rows in prop::collection::vec((0u8..8, any::<bool>()), 2..60),
        below in any::<bool>(),
    ) {
        let direction = if below { Direction::Below } else { Direction::Above };
        let scored: Vec<_> =
            rows.iter().map(|(s, positive)| Scored { score: f64::from(*s), positive: *positive }).collect();
        let (mut wins, mut pairs) = (0.0, 0.0);
        for a in scored.iter().filter(|one| one.positive) {
            for b in scored.iter().filter(|one| !one.positive) {
                let higher = if below { a.score < b.score } else { a.score > b.score };
                wins += if higher { 1.0 } else if a.score == b.score { 0.5 } else { 0.0 };
                pairs += 1.0;
            }
        }
        match Ranking::new(&scored, direction).roc_auc() {
            Some(auc) => prop_assert!((auc - wins / pairs).abs() < 1e-12),
            None => prop_assert_eq!(pairs, 0.0),
        }
    }

    #[test]
    fn a_threshold_splits_the_rows_as_the_alert_does(
        rows in prop::collection::vec((0u8..8, any::<bool>()), 1..60),
        threshold in 0u8..9,
    ) {
        let limit = f64::from(threshold);
        let scored: Vec<_> =
            rows.iter().map(|(s, positive)| Scored { score: f64::from(*s), positive: *positive }).collect();
        let at = Ranking::new(&scored, Direction::Above).at(limit, [1.0, 1.0]);
        let hits = scored.iter().filter(|one| one.positive && one.score >= limit).count();
        let alarms = scored.iter().filter(|one| !one.positive && one.score >= limit).count();
        prop_assert_eq!((at.confusion.true_positives, at.confusion.false_positives), (hits, alarms));
        prop_assert_eq!(at.confusion.total(), scored.len());
    }
}
