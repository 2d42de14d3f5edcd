//! The worker: frames in, verdicts out, nothing lost without a count.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod model_support;

use std::sync::Arc;
use std::time::Duration;

use andon::asset::AssetId;
use andon::frame::{Frame, FrameSpec, Scratch, build};
use andon::model::{Inquiry, ModelHandle, ModelWorker, Submitted};
use andon::snapshot::{Kind, Snapshot};
use andon::time::Timestamp;
use andon::verdict::{Explained, Explanation, PredictionId, Region, Verdict};
use bytes::Bytes;
use model_support::{Verdicts, loaded, rows, verdicts};
use tokio::sync::mpsc;

struct Running {
    worker: ModelWorker,
    handle: ModelHandle,
    spec: Arc<FrameSpec>,
    verdicts: Verdicts,
}

fn start(prediction: &str, room: usize) -> Running {
    let mut loaded = loaded(&[prediction]);
    let (out, verdicts) = verdicts(room);
    let worker = loaded.models.remove(0).spawn(out).unwrap();
    let spec = Arc::clone(&loaded.predictions[0].spec);
    Running { handle: worker.handle(), worker, spec, verdicts }
}

impl Running {
    fn frame(&self, asset: u32, values: &[Vec<f64>]) -> Frame {
        build(&self.spec, &rows(0, asset, values), &mut Scratch::default()).unwrap()
    }

    fn ask(&self, asset: u32, values: &[Vec<f64>]) {
        assert_eq!(self.handle.submit(self.frame(asset, values)), Submitted::Queued);
    }

    /// Everything the worker says until it has answered all.
    fn finish(mut self) -> Vec<Verdict> {
        self.worker.close();
        std::iter::from_fn(|| self.verdicts.blocking_recv()).collect()
    }
}

fn noise(seed: u32) -> Vec<Vec<f64>> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        f64::from(state >> 16) / 6553.6
    };
    (0..10).map(|_| (0..64).map(|_| next()).collect()).collect()
}

#[test]
fn a_batch_over_assets_says_what_each_would_alone() {
    let together = start("model = \"conv\"", 256);
    for asset in 0..100 {
        together.ask(asset, &noise(asset));
    }
    let stats = Arc::clone(together.handle.stats());
    let together = together.finish();
    assert_eq!(stats.snapshot().inferences, 100);
    assert_eq!(together.len(), 100);
    for (asset, batched) in (0..).zip(&together) {
        assert_eq!(batched.asset.0, asset);
        let alone = start("model = \"conv\"", 1);
        alone.ask(asset, &noise(asset));
        let alone = alone.finish();
        assert!((alone[0].score - batched.score).abs() < 1e-6, "asset {asset}");
        if asset == 7 {
            break;
        }
    }
}

#[test]
fn a_verdict_carries_evidence_identity_and_label() {
    let running = start("model = \"zipmap-text\"", 8);
    let frame = running.frame(4, &[vec![0.0], vec![2.0]]);
    let evidence = frame.evidence;
    let _ = running.handle.submit(frame);
    let verdicts = running.finish();
    let verdict = &verdicts[0];
    assert_eq!(verdict.label.as_deref(), Some("wear"));
    assert_eq!((verdict.evidence, verdict.asset.0), (evidence, 4));
    let model = verdict.model.as_ref().unwrap();
    assert_eq!((model.name.as_str(), model.device.as_str()), ("zipmap-text", "cpu"));
}

#[test]
fn zipmaps_of_numbers_and_of_texts_give_the_same_scores() {
    let score = |model: &str| {
        let running = start(&format!("model = \"{model}\""), 8);
        running.ask(0, &[vec![0.4], vec![0.3]]);
        running.ask(1, &[vec![-1.0], vec![0.5]]);
        running.finish().iter().map(|verdict| verdict.score).collect::<Vec<_>>()
    };
    let scores = score("zipmap-int");
    assert_eq!(scores, score("zipmap-text"));
    assert!(scores.iter().all(|score| (0.0..=1.0).contains(score)));
}

#[test]
fn a_class_is_told_by_its_label() {
    let running = start("model = \"argmax\"", 8);
    running.ask(0, &[vec![0.1], vec![0.5], vec![0.9]]);
    running.ask(1, &[vec![0.1], vec![0.9], vec![0.5]]);
    let verdicts = running.finish();
    let told: Vec<_> = verdicts.iter().map(|v| (v.score, v.label.as_deref())).collect();
    assert_eq!(told, [(1.0, Some("crack")), (0.0, Some("wear"))]);
}

#[test]
fn an_answer_that_is_no_number_is_suppressed_and_counted() {
    let running = start("model = \"root\"", 8);
    running.ask(0, &[vec![-1.0]]);
    let stats = Arc::clone(running.handle.stats());
    assert!(running.finish().is_empty());
    let snapshot = stats.snapshot();
    assert_eq!((snapshot.inferences, snapshot.unhealthy, snapshot.healthy), (1, 1, false));
    assert_eq!(snapshot.last_error.as_deref(), Some("the model answered NaN"));
}

#[test]
fn one_sick_answer_takes_no_other_with_it() {
    let running = start("model = \"root\"", 8);
    running.ask(0, &[vec![-1.0]]);
    running.ask(1, &[vec![4.0]]);
    let verdicts = running.finish();
    assert_eq!(verdicts.len(), 1);
    assert_eq!((verdicts[0].asset.0, verdicts[0].score), (1, 2.0));
}

#[test]
fn an_answer_outside_the_cards_range_is_suppressed() {
    let running = start("model = \"zipmap-int\"", 8);
    let stats = Arc::clone(running.handle.stats());
    running.finish();
    assert_eq!(stats.snapshot().unhealthy, 0);
    let running = start("model = \"remaining\"\nwindow = { coverage = 0.0 }", 8);
    let mut window = rows(0, 0, &[vec![90.0], vec![90.0]]);
    window.end = andon::time::Timestamp::from_secs(4);
    window.rows.clear();
    let frame = build(&running.spec, &window, &mut Scratch::default()).unwrap();
    let _ = running.handle.submit(frame);
    let stats = Arc::clone(running.handle.stats());
    assert!(running.finish().is_empty());
    let error = stats.snapshot().last_error.unwrap();
    assert_eq!(error, "the model answered 1080, outside 0 to 100");
}

/// A worker with a question about each verdict that has a subject; what comes of them.
fn explained(prediction: &str, frames: &[Vec<Vec<f64>>]) -> (Vec<Verdict>, Vec<Explained>) {
    let mut loaded = loaded(&[prediction]);
    let (out, mut verdicts) = verdicts(64);
    let (reasons, mut explained) = mpsc::channel(64);
    let worker = loaded.models.remove(0).spawn_explaining(out, reasons).unwrap();
    let handle = worker.handle();
    let spec = Arc::clone(&loaded.predictions[0].spec);
    for (asset, values) in (0..).zip(frames) {
        let frame = build(&spec, &rows(0, asset, values), &mut Scratch::default()).unwrap();
        assert_eq!(handle.submit(frame), Submitted::Queued);
    }
    let told: Vec<Verdict> = frames.iter().map(|_| verdicts.blocking_recv().unwrap()).collect();
    for verdict in &told {
        let Some(subject) = &verdict.subject else { continue };
        let inquiry = Inquiry {
            prediction: verdict.prediction,
            asset: verdict.asset,
            alert_id: format!("alert-{}", verdict.asset.0),
            subject: Arc::clone(subject),
            spec: Arc::clone(&spec),
            model: Arc::clone(verdict.model.as_ref().unwrap()),
        };
        assert!(handle.explain(inquiry).is_ok());
    }
    worker.close();
    (told, std::iter::from_fn(|| explained.blocking_recv()).collect())
}

#[test]
fn scores_that_ask_for_an_alert_can_be_explained_strongest_first() {
    let frames = [vec![vec![0.0], vec![2.0]], vec![vec![2.0], vec![-1.0]]];
    let prediction = "model = \"zipmap-int\"\ntags = { b = \"vibration\" }";
    let (verdicts, explained) = explained(prediction, &frames);
    assert!(verdicts[0].score > 0.5 && verdicts[0].subject.is_some());
    assert!(verdicts[1].score < 0.5 && verdicts[1].subject.is_none());
    assert_eq!(explained.len(), 1);
    assert_eq!((explained[0].alert_id.as_str(), explained[0].how), ("alert-0", Explanation::Exact));
    let reasons = &explained[0].contributions;
    assert_eq!((reasons[0].tag.as_str(), reasons[0].value), ("vibration", Some(2.0)));
    assert!(reasons[0].share > 0.3, "{reasons:?}");
    assert_eq!(reasons[1].tag, "a");
    assert!(reasons[1].share.abs() < 1e-9, "it stands at its training mean: {reasons:?}");
}

#[test]
fn frames_do_not_wait_for_an_explanation() {
    let mut loaded = loaded(&["model = \"conv\"\nalert = { raise = 0.0 }"]);
    let (out, mut verdicts) = verdicts(64);
    let (reasons, mut explained) = mpsc::channel(64);
    let worker = loaded.models.remove(0).spawn_explaining(out, reasons).unwrap();
    let handle = worker.handle();
    let spec = Arc::clone(&loaded.predictions[0].spec);
    let ask = |asset: u32| {
        let frame = build(&spec, &rows(0, asset, &noise(asset)), &mut Scratch::default()).unwrap();
        assert_eq!(handle.submit(frame), Submitted::Queued);
    };
    ask(0);
    let first = verdicts.blocking_recv().unwrap();
    // Ten tags are 1,023 questions, asked 16 at a time.
    let inquiry = |id: usize| Inquiry {
        prediction: first.prediction,
        asset: first.asset,
        alert_id: format!("alert-{id}"),
        subject: Arc::clone(first.subject.as_ref().unwrap()),
        spec: Arc::clone(&spec),
        model: Arc::clone(first.model.as_ref().unwrap()),
    };
    (0..64).for_each(|id| assert!(handle.explain(inquiry(id)).is_ok()));
    ask(1);
    assert_eq!(verdicts.blocking_recv().unwrap().asset.0, 1);
    let before_the_frame = std::iter::from_fn(|| explained.try_recv().ok()).count();
    assert!(before_the_frame < 60, "the frame came before what was asked earlier");
    worker.close();
    let after = std::iter::from_fn(|| explained.blocking_recv()).collect::<Vec<_>>();
    assert!(before_the_frame + after.len() >= 63, "each question has its answer");
}

#[test]
fn reasons_of_a_reconstruction_are_its_error_by_tag() {
    let running = start("model = \"halved\"", 8);
    running.ask(0, &[vec![2.0; 4], vec![0.0, 0.0, 0.0, 4.0]]);
    let verdicts = running.finish();
    assert_eq!(verdicts[0].score, 1.0);
    let reasons: Vec<_> =
        verdicts[0].contributions.iter().map(|c| (c.tag.as_str(), c.share)).collect();
    assert_eq!(reasons, [("a", 0.5), ("b", 0.5)]);
}

#[test]
fn when_the_worker_cannot_keep_up_the_newest_frame_of_an_asset_wins() {
    // Nobody takes the verdicts, so the worker stands still with its first.
    let running = start("model = \"root\"", 0);
    let frames = 2_000_u32;
    let mut replaced = 0_u64;
    for turn in 0..frames {
        let frame = running.frame(turn % 3, &[vec![f64::from(turn)]]);
        match running.handle.submit(frame) {
            Submitted::Queued => {}
            Submitted::Replaced => replaced += 1,
            Submitted::Stopped => panic!("the worker runs"),
        }
    }
    let stats = Arc::clone(running.handle.stats());
    assert!(replaced > 1_000, "{replaced}");
    assert_eq!(stats.snapshot().replaced, replaced);
    let Running { worker, mut verdicts, .. } = running;
    let closing = std::thread::spawn(move || worker.close());
    let mut last = [0.0; 3];
    let mut answered = 0_u64;
    while let Some(verdict) = verdicts.blocking_recv() {
        last[verdict.asset.0 as usize] = f64::max(last[verdict.asset.0 as usize], verdict.score);
        answered += 1;
    }
    closing.join().unwrap();
    assert_eq!(answered + replaced, u64::from(frames));
    for (asset, newest) in [(0, 1998.0_f64), (1, 1999.0), (2, 1997.0)] {
        assert!((last[asset] - newest.sqrt()).abs() < 1e-5, "asset {asset}: {}", last[asset]);
    }
}

#[test]
fn many_assets_that_close_a_window_together_all_get_their_verdict() {
    let running = start("model = \"argmax\"", 2_000);
    for asset in 0..1_500 {
        running.ask(asset, &[vec![0.1], vec![0.5], vec![0.9]]);
    }
    assert_eq!(running.finish().len(), 1_500);
}

#[test]
fn a_replay_waits_for_room_and_loses_no_frame() {
    let running = start("model = \"root\"", 2_000);
    for turn in 0..1_500 {
        let frame = running.frame(0, &[vec![f64::from(turn)]]);
        assert_eq!(running.handle.submit_wait(frame), Submitted::Queued);
    }
    assert_eq!(running.finish().len(), 1_500);
}

#[test]
fn a_worker_whose_verdicts_nobody_takes_ends() {
    let Running { worker, handle, spec, verdicts } = start("model = \"root\"", 1);
    drop(verdicts);
    let frame = build(&spec, &rows(0, 0, &[vec![4.0]]), &mut Scratch::default()).unwrap();
    let _ = handle.submit(frame.clone());
    worker.close();
    assert_eq!(handle.submit(frame), Submitted::Stopped);
}

#[test]
fn each_picture_of_a_batch_has_its_own_place_if_it_asks_for_an_alert() {
    let running = start("model = \"spot\"", 8);
    let second = Timestamp::from_secs;
    let showing = Snapshot::new(Kind::Picture, "press-1".into(), second(1), Bytes::new(), |_| {});
    let showing = showing.shared(1).remove(0);
    for (asset, (cell, level)) in
        [(6, 0.9), (15, 0.75), (3, 0.25), (0, 1.0)].into_iter().enumerate()
    {
        let asset = AssetId(u32::try_from(asset).unwrap());
        let (spec, showing) = (Arc::clone(&running.spec), showing.clone());
        let mut frame = Frame::of_picture(PredictionId(0), asset, second(1), spec, showing);
        frame.picture = None;
        frame.values = (0..16).map(|at| if at == cell { level } else { 0.0 }).collect();
        frame.shown = Region { left: 0.5, top: 0.0, width: 0.5, height: 1.0 };
        assert_eq!(running.handle.submit(frame), Submitted::Queued);
    }
    let places: Vec<_> = running.finish().into_iter().map(|verdict| verdict.region).collect();
    let at = |left, top| Some(Region { left, top, width: 0.125, height: 0.25 });
    assert_eq!(places, [at(0.75, 0.25), at(0.875, 0.75), None, at(0.5, 0.0)]);
}

#[test]
fn latency_and_batches_are_measured() {
    let running = start("model = \"argmax\"", 8);
    running.ask(0, &[vec![0.1], vec![0.5], vec![0.9]]);
    let stats = Arc::clone(running.handle.stats());
    running.finish();
    let snapshot = stats.snapshot();
    assert_eq!((snapshot.batches, snapshot.queued), (1, 0));
    assert!(snapshot.latency_last > Duration::ZERO);
    assert_eq!(snapshot.latency_last, snapshot.latency_max);
}
