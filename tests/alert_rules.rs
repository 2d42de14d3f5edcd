//! Plain rules: what they say, and when.

use std::time::Duration;

use andon::alert::rules::RuleBook;
use andon::alert::{AlertBook, AlertSpec, Cause};
use andon::asset::AssetId;
use andon::sample::Sample;
use andon::settings::{AlertPolicy, ChartSettings, Rule, RuleKind};
use andon::tag::TagId;
use andon::time::Timestamp;
use andon::verdict::{PredictionId, Verdict};

const TAG: TagId = TagId(2);
const ASSET: AssetId = AssetId(1);
const RULE: PredictionId = PredictionId(5);

fn rule(when: RuleKind, limit: Option<f64>, seconds: Option<u64>) -> Rule {
    Rule {
        name: "rule".into(),
        assets: vec!["press-*".into()],
        tag: "pressure".into(),
        when,
        limit,
        span: seconds.map(Duration::from_secs),
        chart: None,
        alert: AlertPolicy::default(),
    }
}

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(1_700_000_000_000 + millis)
}

/// Rules that know one tag.
struct Line {
    rules: RuleBook,
}

impl Line {
    fn new(rule: Rule) -> Self {
        let mut rules = RuleBook::new(vec![(RULE, rule)]);
        rules.attach(TAG, ASSET, "press-3", "pressure");
        Self { rules }
    }

    fn sample(&mut self, millis: i64, value: f64) -> Option<Verdict> {
        let mut out = Vec::new();
        self.rules.observe(&Sample::new(TAG, at(millis), value), at(millis), &mut out);
        assert!(out.len() <= 1);
        out.pop()
    }

    /// Scores, `NAN` where nothing is said.
    fn scores(&mut self, samples: &[(i64, f64)]) -> Vec<f64> {
        let score =
            |&(millis, value)| self.sample(millis, value).map_or(f64::NAN, |said| said.score);
        samples.iter().map(score).collect()
    }

    fn advance(&mut self, millis: i64) -> Vec<Verdict> {
        let mut out = Vec::new();
        self.rules.advance(at(millis), &mut out);
        out
    }
}

fn same(actual: &[f64], expected: &[f64]) {
    let equal = |(a, b): (&f64, &f64)| (a.is_nan() && b.is_nan()) || (a - b).abs() < 1e-9;
    assert!(
        actual.len() == expected.len() && actual.iter().zip(expected).all(equal),
        "{actual:?} is not {expected:?}"
    );
}

#[test]
fn a_limit_says_the_value_and_names_the_tag_only_beyond_it() {
    let mut line = Line::new(rule(RuleKind::Above, Some(80.0), None));
    let fine = line.sample(0, 79.9).unwrap();
    assert_eq!((fine.prediction, fine.asset, fine.score), (RULE, ASSET, 79.9));
    assert!(fine.contributions.is_empty());
    let high = line.sample(1, 80.0).unwrap();
    assert_eq!(high.contributions[0].tag, "pressure");
    assert_eq!(high.contributions[0].value, Some(80.0));
    assert_eq!((high.evidence.end, high.arrived), (at(1), at(1)));
    assert!(line.sample(1, 90.0).is_none(), "not newer");
    assert!(line.sample(2, f64::NAN).is_none(), "missing");
    let mut low = Line::new(rule(RuleKind::Below, Some(10.0), None));
    assert!(low.sample(0, 10.1).unwrap().contributions.is_empty());
    assert!(!low.sample(1, 10.0).unwrap().contributions.is_empty());
}

#[test]
fn a_rate_is_measured_over_its_span() {
    let mut line = Line::new(rule(RuleKind::Rate, Some(5.0), Some(2)));
    let samples = [(0, 0.0), (1000, 1.0), (2000, 4.0), (3000, 4.0), (4000, -8.0), (60_000, -8.0)];
    same(&line.scores(&samples), &[f64::NAN, f64::NAN, 2.0, 1.5, 6.0, 0.0]);
    let mut line = Line::new(rule(RuleKind::Rate, Some(5.0), None));
    let samples: Vec<(i64, f64)> = (0..5000).map(|n| (n, n as f64 / 100.0)).collect();
    let scores = line.scores(&samples);
    same(&scores[1000..], &vec![10.0; 4000]);
}

#[test]
fn flat_counts_from_the_last_change() {
    let mut line = Line::new(rule(RuleKind::Flat, Some(0.5), Some(3)));
    let samples = [
        (0, 1.0),
        (1000, 1.2),
        (2000, 2.0),
        (3000, 2.4),
        (4000, 1.9),
        (5000, 2.1),
        (6000, 9.0),
        (7000, 9.0),
    ];
    same(&line.scores(&samples), &[f64::NAN, f64::NAN, 0.0, 1.0, 2.0, 3.0, 0.0, 1.0]);
}

#[test]
fn flat_says_nothing_before_it_can_know() {
    let mut line = Line::new(rule(RuleKind::Flat, None, Some(3)));
    let samples = [(0, 1.0), (1000, 1.0), (2000, 1.0), (3000, 1.0)];
    same(&line.scores(&samples), &[f64::NAN, f64::NAN, f64::NAN, 3.0]);
}

#[test]
fn silence_is_told_at_its_deadline_and_again_each_span() {
    let mut line = Line::new(rule(RuleKind::Silent, None, Some(10)));
    assert_eq!(line.rules.next_deadline(), None, "a pattern expects nothing before it speaks");
    assert_eq!(line.sample(0, 1.0).unwrap().score, 0.0);
    assert!(line.sample(4000, 1.0).is_none());
    assert_eq!(line.rules.next_deadline(), Some(at(10_000)));
    assert!(line.advance(10_000).is_empty(), "it spoke after 4 s");
    assert_eq!(line.rules.next_deadline(), Some(at(14_000)));
    let silent = line.advance(14_100).remove(0);
    assert_eq!((silent.score, silent.evidence.end), (10.0, at(14_000)));
    assert_eq!(silent.evidence.samples, 0);
    let longer: Vec<f64> = line.advance(45_000).iter().map(|said| said.score).collect();
    assert_eq!(longer, [40.0]);
    assert_eq!(line.rules.next_deadline(), Some(at(54_000)));
    assert_eq!(line.sample(46_000, 1.0).unwrap().score, 0.0);
}

#[test]
fn a_missing_value_does_not_break_a_silence() {
    let mut line = Line::new(rule(RuleKind::Silent, None, Some(10)));
    let _first = line.sample(0, 1.0);
    assert!(line.sample(9000, f64::NAN).is_none());
    assert_eq!(line.advance(10_000).len(), 1);
}

#[test]
fn a_named_asset_is_missed_although_it_never_came() {
    let named = Rule { assets: vec!["press-3".into()], ..rule(RuleKind::Silent, None, Some(10)) };
    let mut line = Line::new(named);
    assert_eq!(line.rules.expected().collect::<Vec<_>>(), [("press-3", "pressure")]);
    line.rules.expect(TAG, at(0));
    assert_eq!(line.rules.next_deadline(), Some(at(10_000)));
    assert_eq!(line.advance(10_000)[0].score, 10.0);
}

#[test]
fn the_time_when_the_daemon_was_away_is_no_silence() {
    let mut line = Line::new(rule(RuleKind::Silent, None, Some(10)));
    let _fed = line.sample(0, 1.0);
    line.rules.resume(at(500_000));
    assert!(line.advance(500_000).is_empty());
    assert_eq!(line.advance(510_000)[0].evidence.end, at(510_000));
    line.rules.resume(at(600_000));
    assert!(line.sample(600_001, 1.0).is_some(), "the first reading is news");
}

#[test]
fn fault_14_a_silence_is_as_long_as_it_was_when_the_clock_is_stepped() {
    for step in [-3_600_000, 3_600_000] {
        let mut line = Line::new(rule(RuleKind::Silent, None, Some(10)));
        let _first = line.sample(0, 1.0);
        assert_eq!(line.advance(10_000).len(), 1);
        let _back = line.sample(11_000, 1.0);
        assert_eq!(line.rules.stepped(step * 1_000_000), [RULE]);
        assert!(line.advance(step + 19_000).is_empty(), "8 s of silence");
        let silent = line.advance(step + 21_000).remove(0);
        assert_eq!((silent.score, silent.evidence.end), (10.0, at(step + 21_000)));
    }
    let mut line = Line::new(rule(RuleKind::Above, Some(80.0), None));
    assert!(line.rules.stepped(1).is_empty(), "limits go by the machines' time");
}

#[test]
fn several_rules_on_one_tag_all_speak_and_others_stay_quiet() {
    let mut rules = RuleBook::new(vec![
        (PredictionId(0), rule(RuleKind::Above, Some(80.0), None)),
        (PredictionId(1), rule(RuleKind::Above, Some(90.0), None)),
        (PredictionId(2), Rule { tag: "flow".into(), ..rule(RuleKind::Above, Some(1.0), None) }),
    ]);
    rules.attach(TAG, ASSET, "press-3", "pressure");
    rules.attach(TAG, ASSET, "press-3", "pressure");
    rules.attach(TagId(3), AssetId(2), "oven-1", "pressure");
    let mut out = Vec::new();
    for tag in [TagId(0), TAG, TagId(3), TagId(99)] {
        rules.observe(&Sample::new(tag, at(0), 85.0), at(0), &mut out);
    }
    let mut ids: Vec<u16> = out.iter().map(|said| said.prediction.0).collect();
    ids.sort_unstable();
    assert_eq!(ids, [0, 1]);
}

#[test]
fn a_silence_becomes_one_alert_and_ends_with_the_next_reading() {
    let rule = rule(RuleKind::Silent, None, Some(10));
    let mut book = AlertBook::new("plant7", vec![AlertSpec::rule(RULE, &rule)]);
    let mut line = Line::new(rule);
    let mut causes = Vec::new();
    let mut texts = Vec::new();
    let mut said: Vec<Verdict> = line.sample(0, 1.0).into_iter().collect();
    said.extend(line.advance(10_500));
    said.extend(line.advance(45_000));
    said.extend(line.sample(46_000, 1.0));
    for verdict in said {
        if let Some(transition) = book.apply(&verdict, "press-3", verdict.arrived) {
            causes.push(transition.cause);
            texts.push(transition.record.text);
        }
    }
    assert_eq!(causes, [Cause::Raised, Cause::Cleared]);
    assert_eq!(texts[0], "press-3: pressure has not reported for 10s.");
}

#[test]
#[ignore = "a measurement: cargo test --release -- --ignored --nocapture"]
#[expect(clippy::disallowed_methods, reason = "a measurement reads the clock")]
fn nanoseconds_a_sample() {
    let measure = |name: &str, rule: Option<Rule>| {
        let mut rules = RuleBook::new(rule.map(|rule| (RULE, rule)).into_iter().collect());
        let tags = 1000;
        let rounds = 2000;
        for tag in 0..tags {
            rules.attach(TagId(tag), ASSET, "press-3", "pressure");
        }
        let mut out = Vec::new();
        let begin = std::time::Instant::now();
        for round in 0..rounds {
            for tag in 0..tags {
                let sample = Sample::new(TagId(tag), at(round), (round % 50) as f64);
                rules.observe(std::hint::black_box(&sample), at(round), &mut out);
            }
            std::hint::black_box(&mut out).clear();
        }
        let spent = begin.elapsed().as_secs_f64() * 1e9 / f64::from(tags) / rounds as f64;
        println!("observe, {name}: {spent:.1} ns a sample");
    };
    measure("no rule", None);
    measure("above", Some(rule(RuleKind::Above, Some(80.0), None)));
    measure("rate", Some(rule(RuleKind::Rate, Some(1e9), Some(1))));
    measure("flat", Some(rule(RuleKind::Flat, Some(0.5), Some(3))));
    measure("silent", Some(rule(RuleKind::Silent, None, Some(60))));
}

#[test]
fn a_chart_raises_an_alert_whose_label_names_the_broken_rule() {
    let chart = ChartSettings { mean: Some(10.0), sigma: Some(1.0), ..ChartSettings::default() };
    let rule = Rule { chart: Some(chart), ..rule(RuleKind::Nelson, None, None) };
    let mut book = AlertBook::new("plant7", vec![AlertSpec::rule(RULE, &rule)]);
    let mut line = Line::new(rule);
    let mut told = Vec::new();
    for (second, value) in (0..).zip([10.5, 9.5, 13.5, 10.1]) {
        let verdict = line.sample(second * 1000, value).unwrap();
        told.extend(book.apply(&verdict, "press-3", at(second * 1000)));
    }
    assert!(line.sample(1000, 99.0).is_none(), "what is late says nothing");
    let causes: Vec<_> = told.iter().map(|transition| transition.cause).collect();
    assert_eq!(causes, [Cause::Raised, Cause::Cleared]);
    let record = &told[0].record;
    assert_eq!(record.label.as_deref(), Some("rule 1: one beyond 3 sigma"));
    assert_eq!(record.text, "press-3: pressure is out of control (rule 1: one beyond 3 sigma).");
    assert_eq!(record.contributions[0].value, Some(13.5));
}

#[test]
fn a_process_that_cannot_keep_its_specification_is_below_the_limit() {
    let chart = ChartSettings {
        lower: Some(9.0),
        upper: Some(11.0),
        readings: Some(4),
        ..ChartSettings::default()
    };
    let rule = Rule { chart: Some(chart), ..rule(RuleKind::Capability, None, None) };
    let mut book = AlertBook::new("plant7", vec![AlertSpec::rule(RULE, &rule)]);
    let mut line = Line::new(rule);
    let mut told = Vec::new();
    for (second, value) in (0..).zip([9.9, 10.1, 9.9, 10.1, 10.6, 9.6, 10.4]) {
        if let Some(verdict) = line.sample(second * 1000, value) {
            told.extend(book.apply(&verdict, "press-3", at(second * 1000)));
        }
    }
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].record.threshold, 1.33);
    assert!(
        told[0].record.text.starts_with("press-3: Cpk of pressure is "),
        "{}",
        told[0].record.text
    );
}
