use std::sync::Arc;

use super::*;
use crate::settings::Direction;
use crate::verdict::{Evidence, ModelIdentity};

const PRESS: AssetId = AssetId(3);
const WEAR: PredictionId = PredictionId(0);

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_secs(1_700_000_000 + seconds)
}

fn judged(model: &str) -> Judged {
    let threshold = Threshold { raise: 0.5, direction: Direction::Above };
    Judged { id: WEAR, name: "wear".into(), model: model.into(), threshold }
}

fn name(_: AssetId) -> Option<String> {
    Some("press-3".into())
}

/// Windows of ten seconds.
struct Bench {
    feedback: Feedback,
}

impl Bench {
    fn new() -> Self {
        let mut feedback = Feedback::default();
        feedback.judge(vec![judged("wear/1")]);
        Self { feedback }
    }

    fn restored(kept: Kept) -> Self {
        let mut feedback = Feedback::default();
        feedback.restore(kept, |_| PRESS);
        feedback.judge(vec![judged("wear/1")]);
        Self { feedback }
    }

    fn verdict(&mut self, end: i64, score: f64) -> Vec<Joined> {
        let evidence = Evidence { start: at(end - 10), end: at(end), samples: 10, coverage: 1.0 };
        let model = ModelIdentity {
            name: "wear".into(),
            version: "1".into(),
            sha256: String::new(),
            device: "cpu".into(),
        };
        let verdict = Verdict {
            prediction: WEAR,
            asset: PRESS,
            evidence,
            score,
            label: None,
            contributions: Vec::new(),
            region: None,
            subject: None,
            model: Some(Arc::new(model)),
            arrived: at(end),
        };
        self.feedback.judged(&verdict, at(end))
    }

    fn label(&mut self, about: About, bad: bool) -> Result<Placed, Unplaced> {
        let asset_of = |name: &str| (name == "press-3").then_some(PRESS);
        self.feedback.label(&Label { about, bad }, asset_of, at(10_000), at(5000))
    }

    fn label_at(&mut self, seconds: i64, bad: bool) -> Result<Placed, Unplaced> {
        let (asset, prediction) = ("press-3".into(), "wear".into());
        self.label(About::Window { asset, prediction, time: at(seconds) }, bad)
    }

    fn figures(&self) -> Figures {
        self.feedback.figures().remove(0)
    }
}

fn joined(placed: Result<Placed, Unplaced>) -> Joined {
    match placed {
        Ok(Placed::Joined(joined)) => joined,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_label_joins_the_window_that_covers_its_time_and_counts_once() {
    let mut bench = Bench::new();
    for (end, score) in [(10, 0.9), (20, 0.1), (40, 0.8)] {
        assert_eq!(bench.verdict(end, score), []);
    }
    assert_eq!(joined(bench.label_at(5, true)).cell, Cell::TruePositive);
    assert_eq!(joined(bench.label_at(10, true)).end, at(10), "the end is the window's own");
    assert_eq!(joined(bench.label_at(12, true)).cell, Cell::FalseNegative);
    assert_eq!(joined(bench.label_at(40, false)).cell, Cell::FalsePositive);
    let expected =
        Confusion { true_positives: 1, false_positives: 1, true_negatives: 0, false_negatives: 1 };
    assert_eq!(bench.figures().confusion, expected);

    let again = joined(bench.label_at(15, true));
    assert!(again.repeated);
    assert_eq!(bench.figures().confusion, expected, "QoS 1 may deliver twice");
    assert_eq!(joined(bench.label_at(15, false)).cell, Cell::TrueNegative, "a correction");
    let corrected = Confusion { false_negatives: 0, true_negatives: 1, ..expected };
    assert_eq!(bench.figures().confusion, corrected);
}

#[test]
fn a_label_that_joins_nothing_is_counted_with_its_reason() {
    let mut bench = Bench::new();
    assert_eq!(bench.verdict(10, 0.9), []);
    assert_eq!(bench.verdict(40, 0.9), []);
    assert_eq!(bench.label_at(-5, true), Err(Unplaced::TooOld(at(-5))));
    assert_eq!(bench.label_at(20, true), Err(Unplaced::NoWindow(at(20))));
    assert_eq!(bench.label_at(10_001, true), Err(Unplaced::Future(at(10_001))));
    let about = |asset: &str, prediction: &str| About::Window {
        asset: asset.into(),
        prediction: prediction.into(),
        time: at(5),
    };
    assert_eq!(bench.label(about("press-9", "wear"), true), Err(Unplaced::Asset("press-9".into())));
    let none = Err(Unplaced::Prediction("hot".into()));
    assert_eq!(bench.label(about("press-3", "hot"), true), none);
    let alert = About::Alert { alert_id: "x".into() };
    assert_eq!(bench.label(alert, true), Err(Unplaced::Alert("x".into())));
    let expected =
        [("too_old", 1), ("no_window", 1), ("future", 1), ("crowded", 0), ("unknown", 1)];
    assert_eq!(bench.figures().unplaced, expected);
    assert_eq!(bench.feedback.lost(), [("malformed", 0), ("unknown", 2)]);
    assert_eq!(bench.figures().confusion.total(), 0);
}

#[test]
fn a_label_that_comes_before_its_verdict_waits_for_it() {
    let mut bench = Bench::new();
    assert_eq!(bench.label_at(25, true), Ok(Placed::Waiting));
    assert_eq!(bench.label_at(12, false), Ok(Placed::Waiting));
    assert_eq!(bench.verdict(10, 0.9), []);
    assert_eq!(bench.figures().waiting, 2);
    let cells: Vec<_> = bench.verdict(20, 0.9).iter().map(|joined| joined.cell).collect();
    assert_eq!(cells, [Cell::FalsePositive]);
    assert_eq!(bench.verdict(40, 0.9), [], "no window covers the other one");
    let figures = bench.figures();
    assert_eq!((figures.waiting, figures.unplaced[1]), (0, ("no_window", 1)));
    for _ in 0..256 {
        assert_eq!(bench.label_at(90, true), Ok(Placed::Waiting));
    }
    assert_eq!(bench.label_at(90, true), Err(Unplaced::Crowded));
}

#[test]
fn an_alert_labels_the_verdict_that_raised_it_also_after_a_restart() {
    let raise = Raise {
        alert_id: "a".into(),
        prediction: WEAR,
        asset: PRESS,
        start: at(0),
        end: at(10),
        label: None,
    };
    let mut bench = Bench::new();
    assert_eq!(bench.verdict(10, 0.9), []);
    bench.feedback.raised(raise.clone());
    let alert = About::Alert { alert_id: "a".into() };
    assert_eq!(joined(bench.label(alert.clone(), true)).cell, Cell::TruePositive);
    assert!(joined(bench.label_at(8, true)).repeated, "it is the same verdict");

    let mut bench = Bench::new();
    bench.feedback.raised(raise);
    assert_eq!(joined(bench.label(alert, false)).cell, Cell::FalsePositive);
    assert_eq!(bench.verdict(10, 0.9), [], "the same window, read back from the buffer");
    assert_eq!(bench.figures().confusion.total(), 1);
}

#[test]
fn each_version_has_its_own_counts_and_they_outlive_a_restart() {
    let mut bench = Bench::new();
    assert_eq!(bench.verdict(10, 0.9), []);
    bench.feedback.judge(vec![judged("wear/2")]);
    assert_eq!(bench.verdict(20, 0.1), []);
    assert_eq!(joined(bench.label_at(5, true)).model, "wear/1");
    assert_eq!(joined(bench.label_at(15, true)).model, "wear/2");
    let figures = bench.figures();
    assert_eq!((&*figures.model, figures.confusion.false_negatives), ("wear/2", 1));
    assert_eq!(figures.earlier[0].0, "wear/1");
    let kept = bench.feedback.keep(name);

    let mut feedback = Feedback::default();
    feedback.restore(kept.clone(), |_| PRESS);
    assert_eq!(feedback.keep(name), kept, "also where no prediction has taken them yet");
    feedback.judge(vec![judged("wear/1")]);
    let figures = feedback.figures().remove(0);
    assert_eq!((&*figures.model, figures.confusion.true_positives), ("wear/1", 1));
    assert_eq!(feedback.keep(name), kept);
}

#[test]
fn a_label_sent_again_after_a_restart_is_known_and_one_that_differs_corrects() {
    let mut bench = Bench::new();
    let raise = Raise {
        alert_id: "id".into(),
        prediction: WEAR,
        asset: PRESS,
        start: at(0),
        end: at(10),
        label: None,
    };
    let by_alert = || About::Alert { alert_id: "id".into() };
    assert_eq!(bench.verdict(10, 0.9), []);
    bench.feedback.raised(raise.clone());
    assert!(!joined(bench.label(by_alert(), true)).repeated);
    assert_eq!(bench.verdict(20, 0.1), []);
    assert!(!joined(bench.label_at(15, false)).repeated);
    let kept = bench.feedback.keep(name);

    let mut bench = Bench::restored(kept.clone());
    // The raise comes back from the history of alerts, the second verdict from the last minute.
    bench.feedback.raised(raise);
    assert_eq!(bench.verdict(20, 0.1), []);
    assert!(joined(bench.label(by_alert(), true)).repeated);
    assert!(joined(bench.label_at(15, false)).repeated);
    assert_eq!(bench.feedback.keep(name), kept, "nothing is counted twice");
    let corrected = joined(bench.label(by_alert(), false));
    assert!(!corrected.repeated && corrected.finding.is_none());
    let confusion = bench.figures().confusion;
    assert_eq!((confusion.true_positives, confusion.false_positives), (0, 1));
    assert_eq!(confusion.total(), 2);
}

#[test]
fn verdicts_are_forgotten_oldest_first_and_no_sooner() {
    let mut bench = Bench::new();
    for end in 1..=65_536 {
        assert_eq!(bench.verdict(end * 10, 0.1), []);
    }
    assert!(bench.label_at(5, false).is_ok());
    assert_eq!(bench.verdict(655_370, 0.1), []);
    assert_eq!(bench.label_at(5, false), Err(Unplaced::TooOld(at(5))));
    assert!(bench.label_at(15, false).is_ok_and(|placed| placed != Placed::Waiting));
}
