//! PSI and KS are scipy's, ADWIN and Page-Hinkley river's, on the same streams.

use andon::asset::AssetId;
use andon::drift::{
    Adwin, AdwinSettings, PageHinkley, PageHinkleySettings, Reference, Side, Subject, Watcher,
    figures,
};
use andon::frame::Bins;
use andon::settings::DriftSettings;
use andon::time::Timestamp;
use andon::verdict::{Evidence, PredictionId};
use serde_json::Value;

const SHAPE: &str = "make.py writes it so";

fn vectors() -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/drift/vectors.json");
    serde_json::from_slice(&std::fs::read(path).expect(SHAPE)).expect(SHAPE)
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().expect(SHAPE).iter().map(|number| number.as_f64().expect(SHAPE)).collect()
}

fn close(ours: f64, theirs: f64) {
    assert!((ours - theirs).abs() <= 1e-9 * theirs.abs().max(1.0), "{ours} is not {theirs}");
}

#[test]
fn psi_and_ks_are_those_of_scipy() {
    let vectors = vectors();
    let cases = vectors["binned"].as_array().unwrap();
    assert!(cases.len() >= 5);
    for case in cases {
        let bins = Bins { edges: numbers(&case["edges"]), shares: numbers(&case["shares"]) };
        assert!(bins.is_sound());
        let mut counts = vec![0_u32; bins.shares.len()];
        for value in numbers(&case["values"]) {
            counts[figures::bin(&bins, value)] += 1;
        }
        close(figures::psi(&bins.shares, &counts).unwrap(), case["psi"].as_f64().unwrap());
        close(figures::ks(&bins.shares, &counts).unwrap(), case["ks"].as_f64().unwrap());
    }
}

/// Shows the stream to a detector; where it found a change, and what it said every 50 values.
fn watch(
    stream: &[f64],
    mut update: impl FnMut(f64) -> (bool, Vec<f64>),
) -> (Vec<u64>, Vec<Vec<f64>>) {
    let (mut found, mut seen) = (Vec::new(), Vec::new());
    for (at, value) in (0..).zip(stream) {
        let (detected, figures) = update(*value);
        if detected {
            found.push(at);
        }
        if at % 50 == 49 {
            seen.push(figures);
        }
    }
    (found, seen)
}

fn compare(case: &Value, (found, seen): (Vec<u64>, Vec<Vec<f64>>)) -> usize {
    let expected: Vec<u64> = serde_json::from_value(case["found"].clone()).expect(SHAPE);
    assert_eq!(found, expected, "{}", case["settings"]);
    let theirs = case["seen"].as_array().expect(SHAPE);
    assert_eq!(theirs.len(), seen.len());
    for (ours, theirs) in seen.iter().zip(theirs) {
        let theirs =
            if theirs.is_array() { numbers(theirs) } else { vec![theirs.as_f64().expect(SHAPE)] };
        ours.iter().zip(theirs).for_each(|(ours, theirs)| close(*ours, theirs));
    }
    found.len()
}

#[test]
fn adwin_finds_changes_where_river_does() {
    let vectors = vectors();
    let mut changes = 0;
    for case in vectors["adwin"].as_array().unwrap() {
        let mut settings = AdwinSettings::default();
        if let Some(delta) = case["settings"]["delta"].as_f64() {
            settings = AdwinSettings { delta, clock: 8, buckets: 3, least: 10.0, ..settings };
        }
        let mut adwin = Adwin::new(settings);
        let stream = numbers(
            &vectors["streams"][usize::try_from(case["stream"].as_u64().unwrap()).unwrap()],
        );
        let update = |value| (adwin.update(value), vec![adwin.width(), adwin.total()]);
        changes += compare(case, watch(&stream, update));
    }
    assert!(changes > 4);
}

#[test]
fn page_hinkley_finds_changes_where_river_does() {
    let vectors = vectors();
    let mut changes = 0;
    for case in vectors["page_hinkley"].as_array().unwrap() {
        let given = &case["settings"];
        let usual = PageHinkleySettings::default();
        let number = |key: &str, otherwise: f64| given[key].as_f64().unwrap_or(otherwise);
        let mut test = PageHinkley::new(PageHinkleySettings {
            least: given["min_instances"].as_u64().unwrap_or(usual.least),
            delta: number("delta", usual.delta),
            threshold: number("threshold", usual.threshold),
            alpha: number("alpha", usual.alpha),
            side: match given["mode"].as_str() {
                Some("up") => Side::Up,
                Some("down") => Side::Down,
                _ => Side::Both,
            },
        });
        let stream = numbers(
            &vectors["streams"][usize::try_from(case["stream"].as_u64().unwrap()).unwrap()],
        );
        let update = |value| (test.update(value), vec![test.mean()]);
        changes += compare(case, watch(&stream, update));
    }
    assert!(changes > 4);
}

const NANOS: i64 = 1_000_000_000;

fn watcher(frames: u32, tags: usize) -> Watcher {
    let reference = |tag| Reference {
        tag: format!("t{tag}"),
        range: Some([0.0, 10.0]),
        bins: Some(Bins { edges: (1..10).map(f64::from).collect(), shares: vec![0.1; 10] }),
    };
    let references = (0..tags).map(reference).collect();
    let subject =
        Subject { id: PredictionId(3), name: "wear".into(), references, raise: Some(0.8) };
    Watcher::new(DriftSettings { frames, ..DriftSettings::default() }, vec![subject])
}

fn evidence(at: i64) -> Evidence {
    Evidence {
        start: Timestamp::from_nanos(at * NANOS),
        end: Timestamp::from_nanos((at + 1) * NANOS),
        samples: 5,
        coverage: 1.0,
    }
}

/// What the watcher finds in 400 frames.
fn look(mut value: impl FnMut(i64) -> Option<f64>) -> Vec<f64> {
    let mut watcher = watcher(200, 2);
    let usual = |at: i64| (at * 7 % 100) as f64 / 10.0;
    let findings = (0..400).filter_map(|at| {
        let latest = [Some(usual(at)), value(at)];
        let found = watcher.observe(PredictionId(3), AssetId(0), &evidence(at), &latest)?;
        assert!(found.text.contains(if found.score >= 1.0 { "t1" } else { "" }), "{found:?}");
        Some(found.score)
    });
    findings.collect()
}

#[test]
fn data_as_in_training_are_found_good_and_others_are_not() {
    let usual = |at: i64| (at * 3 % 100) as f64 / 10.0;
    let good = look(|at| Some(usual(at)));
    assert_eq!(good.len(), 3, "every half, once there are two");
    assert!(good.iter().all(|score| *score < 0.1), "{good:?}");
    assert!(look(|at| Some(usual(at) / 2.0)).iter().all(|score| *score > 2.0), "halved");
    assert!(look(|at| (at % 2 == 0).then(|| usual(at))).iter().all(|s| *s >= 1.0), "missing");
    assert!(look(|at| Some(usual(at) + 3.0)).iter().all(|score| *score >= 1.0), "outside");
}

#[test]
fn nothing_is_said_of_a_prediction_that_is_not_watched_or_when_it_is_off() {
    let mut watcher = watcher(20, 1);
    for at in 0..100 {
        assert_eq!(watcher.observe(PredictionId(4), AssetId(0), &evidence(at), &[None]), None);
    }
    assert!(watcher.figures()[0].assets.is_empty());
}

#[test]
fn assets_beyond_the_bound_are_counted_and_not_kept() {
    let mut watcher = watcher(20, 1);
    for asset in 0..300 {
        let _first = watcher.observe(PredictionId(3), AssetId(asset), &evidence(0), &[Some(1.0)]);
    }
    let figures = watcher.figures();
    assert_eq!((figures[0].assets.len(), figures[0].unwatched), (256, 44));
}

/// `cargo test --release --test drift -- --ignored --nocapture`
#[test]
#[ignore = "a measurement"]
fn what_a_frame_costs() {
    const FRAMES: i64 = 1_000_000;
    for tags in [5_usize, 52] {
        let mut watcher = watcher(1000, tags);
        let rows: Vec<Vec<Option<f64>>> = (0..64)
            .map(|row| {
                (0..tags).map(|tag| Some(((row * 7 + tag * 3) % 100) as f64 / 10.0)).collect()
            })
            .collect();
        let began = tokio::time::Instant::now();
        let mut found = 0;
        for at in 0..FRAMES {
            let latest = &rows[usize::try_from(at % 64).unwrap()];
            found += usize::from(
                watcher.observe(PredictionId(3), AssetId(0), &evidence(at), latest).is_some(),
            );
            watcher.score(PredictionId(3), AssetId(0), 0.3);
        }
        let nanos = began.elapsed().as_nanos() / u128::from(FRAMES.unsigned_abs());
        println!("{tags} tags: {nanos} ns a frame, {found} looks");
        assert!(found > 0);
    }
}
