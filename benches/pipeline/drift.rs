//! What the drift statistics cost: each frame's look and score, and that times the frames of the
//! reference load.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use andon::asset::AssetId;
use andon::drift::{Reference, Subject, Watcher};
use andon::frame::Bins;
use andon::settings::DriftSettings;
use andon::time::Timestamp;
use andon::verdict::{Evidence, PredictionId};

use super::load::Noise;
use super::{ASSETS, TAGS, figure};

const FRAMES: usize = 2_000_000;
const DISTINCT: usize = 10_007;
/// 20,000 samples/s of 100 assets with 10 tags, and a hop of 16.
const REFERENCE_FRAMES: f64 = 20_000.0 / TAGS as f64 / 16.0;

pub(crate) fn run() -> anyhow::Result<()> {
    let mut costs = Vec::new();
    for enabled in [false, true, false, true, false, true] {
        costs.push((enabled, nanos(enabled)));
    }
    let best = |wanted: bool| {
        let of = costs.iter().filter(|(enabled, _)| *enabled == wanted);
        of.map(|(_, cost)| *cost).fold(f64::INFINITY, f64::min)
    };
    let cost = best(true) - best(false);
    figure("drift", "cost", cost, "ns/frame");
    figure("drift", "frames_at_the_reference_load", REFERENCE_FRAMES, "frames/s");
    figure("drift", "of_one_core", cost * 1e-9 * REFERENCE_FRAMES * 100.0, "%");
    Ok(())
}

/// A frame, with ten bins and a range for every tag, as `modelkit` writes them.
fn nanos(enabled: bool) -> f64 {
    let bins = Bins {
        edges: (1..10).map(|edge| f64::from(edge) * 0.4 - 2.0).collect(),
        shares: vec![0.1; 10],
    };
    let reference = |tag: usize| Reference {
        tag: format!("t{tag}"),
        range: Some([-4.0, 4.0]),
        bins: Some(bins.clone()),
    };
    let subject = Subject {
        id: PredictionId(0),
        name: "conv".into(),
        references: (0..TAGS).map(reference).collect::<Vec<_>>().into(),
        raise: Some(0.7),
    };
    let settings = DriftSettings { enabled, ..DriftSettings::default() };
    let mut watcher = Watcher::new(settings, vec![subject]);
    let mut noise = Noise(42);
    let values: Arc<[Option<f64>]> = (0..DISTINCT + TAGS).map(|_| Some(noise.next())).collect();
    let began = Instant::now();
    for frame in 0..FRAMES {
        let at = frame % DISTINCT;
        let end = Timestamp::from_millis((frame / ASSETS) as i64);
        let evidence = Evidence { start: end, end, samples: 640, coverage: 1.0 };
        let asset = AssetId((frame % ASSETS) as u32);
        let latest = &values[at..at + TAGS];
        black_box(watcher.observe(PredictionId(0), asset, &evidence, latest));
        watcher.score(PredictionId(0), asset, 0.1);
    }
    began.elapsed().as_secs_f64() * 1e9 / FRAMES as f64
}
