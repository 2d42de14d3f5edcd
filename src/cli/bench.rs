//! `andon bench inference`: how fast a model answers on a device of this box, what the daemon adds
//! around the runtime, and how far its answers lie from the CPU's.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use serde::Serialize;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::{client, evaluate};
use crate::asset::AssetId;
use crate::frame::{Frame, FrameSpec, Layout};
use crate::model::{self, Answers, Inquiry, Items, ItemsRef, Loaded, LoadedModel, Package};
use crate::settings::{AlertPolicy, Prediction, RuntimeSettings, Settings, WindowSettings};
use crate::time::Timestamp;
use crate::verdict::{Evidence, PredictionId, Region, Subject};

/// Runs before the clock counts.
const WARM_UP: usize = 20;
/// Of each, at least and at most.
const FEWEST_RUNS: usize = 50;
const MOST_RUNS: usize = 200_000;
/// Differences are looked for among so many answers.
const COMPARED_ROWS: usize = 256;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Rows a second, latency and overhead, batch by batch.
    Inference(Inference),
}

#[derive(Debug, clap::Args)]
pub(super) struct Inference {
    /// The model's version folder, or the folder of all its versions (the highest one is taken).
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// `cpu`, `cuda`, `tensorrt` or `openvino`. Fails where the device does not take the model.
    #[arg(long, value_name = "DEVICE", default_value = "cpu")]
    device: String,
    /// Rows a run.
    #[arg(long, value_name = "N,N", value_delimiter = ',', default_values_t = [1, 4, 16, 64])]
    batch: Vec<usize>,
    /// Time for each figure.
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration, default_value = "1s")]
    within: Duration,
    /// `libonnxruntime.so`, where it is not in the usual places.
    #[arg(long, value_name = "FILE")]
    library: Option<PathBuf>,
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Report {
    model: String,
    version: String,
    /// As the runtime assigned the nodes.
    device: String,
    tags: usize,
    batches: Vec<Line>,
    /// Between any number that came out on this device and on the CPU; absent on the CPU itself.
    largest_difference: Option<f64>,
    /// To explain one alert; absent of pictures, which have no tags or words.
    explanation_ms: Option<f64>,
}

#[derive(Debug, Serialize)]
struct Line {
    batch: usize,
    rows_a_second: f64,
    /// Of one run, microseconds.
    p50_us: f64,
    p99_us: f64,
    /// Rows through queue and worker, while frames wait.
    worker_rows_a_second: f64,
    /// Time of queue, tensors, worker and verdicts, in percent of the runtime's own, while frames wait.
    overhead_percent: f64,
}

pub(super) fn main(command: &Command) -> anyhow::Result<ExitCode> {
    let Command::Inference(arguments) = command;
    let report = inference(arguments)?;
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
        return Ok(ExitCode::SUCCESS);
    }
    println!("{} {} on {}\n", report.model, report.version, report.device);
    let mut table =
        client::table(&["batch", "rows/s", "p50 us", "p99 us", "rows/s by worker", "overhead %"]);
    for line in &report.batches {
        table.add_row([
            line.batch.to_string(),
            format!("{:.0}", line.rows_a_second),
            format!("{:.1}", line.p50_us),
            format!("{:.1}", line.p99_us),
            format!("{:.0}", line.worker_rows_a_second),
            format!("{:.1}", line.overhead_percent),
        ]);
    }
    println!("{table}");
    if let Some(took) = report.explanation_ms {
        println!("\nexplaining one alert ({} tags): {took:.1} ms", report.tags);
    }
    if let Some(difference) = report.largest_difference {
        println!("largest difference to the CPU's answers: {difference:.3e}");
    }
    Ok(ExitCode::SUCCESS)
}

fn inference(arguments: &Inference) -> anyhow::Result<Report> {
    let (model, spec, golden) = load(arguments, &arguments.device)?;
    let identity = Arc::clone(&model.identity);
    let items = |count: usize| golden.cycled(spec.item_len(), count);
    let mut engine = model.engine();
    let compared = items(COMPARED_ROWS.next_multiple_of(golden.lend().len() / spec.item_len()));
    let mut largest_difference = None;
    if arguments.device != "cpu" {
        let mut cpu = load(arguments, "cpu")?.0.engine();
        let (mut here, mut there) = (Vec::new(), Vec::new());
        engine.run(compared.lend(), &mut here)?;
        cpu.run(compared.lend(), &mut there)?;
        let differences = here.iter().zip(&there).map(|(a, b)| (a - b).abs());
        largest_difference = Some(differences.fold(0.0, f64::max));
    }
    let mut batches = Vec::with_capacity(arguments.batch.len());
    for &batch in &arguments.batch {
        if batch == 0 {
            anyhow::bail!("--batch: a run has at least one row");
        }
        let (items, mut out) = (items(batch), Vec::new());
        for _ in 0..WARM_UP {
            engine.run(items.lend(), &mut out)?;
        }
        let mut times: Vec<Duration> = Vec::new();
        let started = Instant::now();
        while times.len() < FEWEST_RUNS
            || (started.elapsed() < arguments.within && times.len() < MOST_RUNS)
        {
            let began = Instant::now();
            engine.run(items.lend(), &mut out)?;
            times.push(began.elapsed());
        }
        let whole: Duration = times.iter().sum();
        times.sort_unstable();
        let micros = |percent: usize| times[(times.len() - 1) * percent / 100].as_secs_f64() * 1e6;
        #[expect(clippy::cast_precision_loss, reason = "counts of rows")]
        let rows = (times.len() * batch) as f64;
        let (worker_rows_a_second, overhead_percent) = overhead(arguments, batch, times.len())?;
        batches.push(Line {
            batch,
            rows_a_second: rows / whole.as_secs_f64(),
            p50_us: micros(50),
            p99_us: micros(99),
            worker_rows_a_second,
            overhead_percent,
        });
    }
    let one = items(1);
    let (values, text) = (one.lend().numbers().to_vec(), one.lend().text().cloned());
    let inquiry = Inquiry {
        prediction: PredictionId(0),
        asset: AssetId(0),
        alert_id: "bench".into(),
        subject: Arc::new(Subject { values, text, latest: vec![None; spec.tags.len()] }),
        spec: Arc::clone(&spec),
        model: Arc::clone(&identity),
    };
    let explains = (spec.layout != Layout::Image).then(|| {
        let began = Instant::now();
        drop(engine.explain(inquiry));
        began.elapsed().as_secs_f64() * 1e3
    });
    Ok(Report {
        model: identity.name.clone(),
        version: identity.version.clone(),
        device: identity.device.clone(),
        tags: spec.tags.len(),
        batches,
        largest_difference,
        explanation_ms: explains,
    })
}

/// A worker with full batches of frames: its rows a second, and its time against what the runtime
/// took of it, in percent.
fn overhead(arguments: &Inference, batch: usize, runs: usize) -> anyhow::Result<(f64, f64)> {
    let (mut model, spec, golden) = load(arguments, &arguments.device)?;
    model.card.runtime.max_batch = batch;
    let runs = runs.clamp(FEWEST_RUNS, 100_000 / batch);
    // Windows that raise no alert, as nearly all do.
    let spec = Arc::new(FrameSpec { explain_from: None, ..(*spec).clone() });
    let frame = |item: ItemsRef<'_>| Frame {
        prediction: PredictionId(0),
        asset: AssetId(0),
        evidence: Evidence {
            start: Timestamp::from_secs(0),
            end: Timestamp::from_secs(1),
            samples: 1,
            coverage: 1.0,
        },
        values: item.numbers().to_vec(),
        text: item.text().cloned(),
        latest: vec![None; spec.tags.len()],
        arrived: Timestamp::from_secs(1),
        spec: Arc::clone(&spec),
        picture: None,
        shown: Region::WHOLE,
        decoded: None,
    };
    let length = spec.item_len();
    let known = golden.lend();
    // Made as they are taken, as windows make them: frames of long ago are in no cache.
    let frames = (0..).flat_map(|_| known.chunks(length)).take(runs * batch).map(frame);
    let (out, mut verdicts) = mpsc::channel::<Answers>(4096);
    let worker = model.spawn(out)?;
    let handle = worker.handle();
    let taker = std::thread::spawn(move || while verdicts.blocking_recv().is_some() {});
    let began = Instant::now();
    for frame in frames {
        let _none_gives_way = handle.submit_wait(frame);
    }
    worker.close();
    let whole = began.elapsed();
    drop(taker.join());
    let (whole, own) = (whole.as_secs_f64(), handle.stats().inside().as_secs_f64());
    #[expect(clippy::cast_precision_loss, reason = "counts of rows")]
    let rows = (runs * batch) as f64;
    Ok((rows / whole, (whole / own - 1.0) * 100.0))
}

/// The model on one device, and the inputs of its golden pair.
fn load(
    arguments: &Inference,
    device: &str,
) -> anyhow::Result<(LoadedModel, Arc<FrameSpec>, Items)> {
    let (models, reference) = evaluate::place(&arguments.model)?;
    let folder = model::find(&models, &reference)?;
    let package = Package::read(&folder, &RuntimeSettings::default()).map_err(|errors| {
        anyhow!("{}", errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
    })?;
    // No card needs a threshold to be timed.
    let raise = package.card.decision.raise.or(Some(0.0));
    let mut settings = Settings::default();
    settings.runtime.library.clone_from(&arguments.library);
    settings.runtime.models = models;
    settings.prediction.push(Prediction {
        name: "bench".into(),
        model: reference,
        assets: vec!["*".into()],
        tags: BTreeMap::new(),
        window: WindowSettings::default(),
        alert: AlertPolicy { raise, ..AlertPolicy::default() },
        devices: Some(vec![device.to_owned()]),
        snapshots: 0,
    });
    let Loaded { mut predictions, mut models } = model::load(&settings).map_err(|errors| {
        anyhow!("{}", errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
    })?;
    let (prediction, model) = predictions.pop().zip(models.pop()).context("no model was loaded")?;
    let golden = package.golden_inputs(prediction.spec.item_len())?;
    Ok((model, prediction.spec, golden))
}
