//! Requests to a model: behind its frames, bounded, with deadlines.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod model_support;

use std::sync::Arc;
use std::time::Duration;

use andon::frame::{Scratch, build};
use andon::model::{Call, CallError, ModelWorker, Service, Submitted, open};
use andon::oip::{Data, Tensor};
use andon::settings::RuntimeSettings;
use model_support::{Copy, Verdicts, loaded, models, rows, verdicts};

const PATIENCE: Duration = Duration::from_secs(30);

fn call(values: Vec<f32>) -> Call {
    let shape = vec![values.len() / 640, 10, 64];
    let input = Tensor { name: "input".into(), shape, data: Data::Fp32(values) };
    Call { inputs: vec![input], outputs: Vec::new(), patience: PATIENCE, most_waiting: 4 }
}

/// The conv model, and a frame's worth of values.
fn start(room: usize) -> (ModelWorker, Verdicts, Vec<f32>) {
    let mut loaded = loaded(&["model = \"conv\""]);
    let (out, verdicts) = verdicts(room);
    let worker = loaded.models.remove(0).spawn(out).unwrap();
    let values: Vec<Vec<f64>> =
        (0..10).map(|tag| (0..64).map(|row| f64::from(tag * row % 13)).collect()).collect();
    let spec = Arc::clone(&loaded.predictions[0].spec);
    for asset in 0..3 {
        let frame = build(&spec, &rows(0, asset, &values), &mut Scratch::default()).unwrap();
        assert_eq!(worker.handle().submit(frame), Submitted::Queued);
    }
    let frame = build(&spec, &rows(0, 0, &values), &mut Scratch::default()).unwrap();
    (worker, verdicts, frame.values.to_vec())
}

#[tokio::test]
async fn a_request_is_answered_with_what_the_prediction_says() {
    let (worker, mut verdicts, values) = start(16);
    let verdict = verdicts.recv().await.unwrap();
    let twice = [values.clone(), values].concat();
    let answer = worker.handle().service().call(call(twice)).await.unwrap();
    assert_eq!((answer[0].name.as_str(), answer[0].shape.as_slice()), ("probability", &[2, 1][..]));
    let Data::Fp32(numbers) = &answer[0].data else { panic!("{answer:?}") };
    assert!((f64::from(numbers[0]) - verdict.score).abs() < 1e-6);
    assert_eq!(numbers[0], numbers[1]);
}

#[tokio::test]
async fn requests_wait_behind_frames_within_their_bound_and_deadline() {
    // Nobody takes the verdicts, so that the thread stands still with its frames.
    let (worker, mut verdicts, values) = start(0);
    let service = worker.handle().service().clone();
    let short = Call { patience: Duration::from_millis(50), ..call(values.clone()) };
    let error = service.call(short).await.unwrap_err();
    assert_eq!(error.to_string(), "there was no answer within 50ms");
    let waiting = |values: &[f32]| {
        let (service, values) = (service.clone(), values.to_vec());
        tokio::spawn(async move { service.call(Call { most_waiting: 2, ..call(values) }).await })
    };
    // The one that gave up still has its place.
    let second = waiting(&values);
    tokio::task::yield_now().await;
    let error = waiting(&values).await.unwrap().unwrap_err();
    assert!(matches!(error, CallError::Full(2)), "{error}");
    for _ in 0..3 {
        verdicts.recv().await.unwrap();
    }
    assert_eq!(second.await.unwrap().unwrap().len(), 1);
    worker.close();
    let error = service.call(call(values)).await.unwrap_err();
    assert!(matches!(error, CallError::Stopped), "{error}");
}

#[tokio::test]
async fn requests_that_wait_together_run_as_one_batch_and_each_gets_its_own_rows() {
    let (worker, mut verdicts, values) = start(0);
    let service = worker.handle().service().clone();
    let asked = |factor: f32, rows: usize| {
        let values: Vec<f32> = values.iter().map(|value| value * factor).collect();
        Call { most_waiting: 64, ..call(values.repeat(rows)) }
    };
    // Alone, for comparison.
    let alone = async |factor| {
        let answer = service.call(asked(factor, 1)).await.unwrap();
        let Data::Fp32(numbers) = &answer[0].data else { panic!("{answer:?}") };
        numbers[0]
    };
    let waiting: Vec<_> = [(1.0, 1), (0.5, 2), (-1.0, 3), (0.1, 62)]
        .into_iter()
        .map(|(factor, rows)| {
            let (service, call) = (service.clone(), asked(factor, rows));
            (factor, rows, tokio::spawn(async move { service.call(call).await }))
        })
        .collect();
    tokio::task::yield_now().await;
    assert_eq!(service.stats.ran.count(), 0, "the thread stands still with its frames");
    for _ in 0..3 {
        verdicts.recv().await.unwrap();
    }
    let mut answers = Vec::new();
    for (factor, rows, answer) in waiting {
        answers.push((factor, rows, answer.await.unwrap().unwrap()));
    }
    assert_eq!(service.stats.ran.count(), 2, "62 rows more would be over the card's 64");
    assert_eq!(service.stats.items.load(std::sync::atomic::Ordering::Relaxed), 68);
    assert_eq!(service.stats.queued.count(), 4);
    for (factor, rows, answer) in answers {
        assert_eq!(answer[0].shape, [rows, 1]);
        let Data::Fp32(numbers) = &answer[0].data else { panic!("{answer:?}") };
        let expected = alone(factor).await;
        assert!(numbers.iter().all(|number| (number - expected).abs() < 1e-6), "{factor}");
    }
}

#[tokio::test]
async fn the_end_of_a_model_gives_requests_up_and_answers_its_frames() {
    let (worker, mut verdicts, values) = start(0);
    let service = worker.handle().service().clone();
    let waiting = tokio::spawn(async move { service.call(call(values)).await });
    tokio::task::yield_now().await;
    drop(worker);
    let error = waiting.await.unwrap().unwrap_err();
    assert!(matches!(error, CallError::Stopped), "{error}");
    for _ in 0..3 {
        verdicts.recv().await.unwrap();
    }
    assert!(verdicts.recv().await.is_none());
}

#[tokio::test]
async fn a_request_that_does_not_fit_leaves_the_model_as_it_is() {
    let (worker, mut verdicts, values) = start(16);
    let service = worker.handle().service().clone();
    let mut wrong = call(values.clone());
    wrong.inputs[0].shape = vec![1, 640];
    let error = service.call(wrong).await.unwrap_err();
    assert!(matches!(error, CallError::Invalid(_)), "{error}");
    let error = service.call(call(values.repeat(65))).await.unwrap_err().to_string();
    assert!(error.contains("65 items are more than the model takes at once, 64"), "{error}");
    assert!(service.call(call(values)).await.is_ok());
    assert_eq!(verdicts.recv().await.unwrap().score, verdicts.recv().await.unwrap().score);
    assert!(worker.handle().stats().snapshot().healthy);
}

fn repository(models: std::path::PathBuf) -> RuntimeSettings {
    RuntimeSettings { models, ..RuntimeSettings::default() }
}

#[tokio::test]
async fn a_model_loaded_for_requests_alone_answers_until_it_is_closed() {
    let (_worker, _verdicts, values) = start(16);
    let service: Service =
        open(&repository(models()), "conv").unwrap_or_else(|errors| panic!("{errors:?}"));
    assert_eq!(service.call(call(values.clone())).await.unwrap().len(), 1);
    service.close();
    assert!(matches!(service.call(call(values)).await, Err(CallError::Stopped)));
}

#[test]
fn a_model_that_is_not_the_one_of_its_card_or_golden_pair_is_not_loaded() {
    let spoilt = Copy::of("conv");
    spoilt.replace("golden.json", "0.", "9.");
    let open = |copy: &Copy| open(&repository(copy.models.path().to_owned()), "conv/1.0.0");
    let told = |copy: &Copy| open(copy).err().unwrap()[0].to_string();
    assert!(told(&spoilt).contains("this is not the model"), "{}", told(&spoilt));
    let other = Copy::of("conv");
    std::fs::write(other.file("model.onnx"), b"something else").unwrap();
    assert!(told(&other).contains("is not the file that the card means"), "{}", told(&other));
    let empty = Copy::of("conv");
    std::fs::write(empty.file("model.toml"), "name = 3\n").unwrap();
    assert!(told(&empty).contains("model.toml:1:8"), "{}", told(&empty));
}
