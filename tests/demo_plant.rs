//! The simulated plant: repeatable, healthy when healthy, and ill where a fault says so.
#![cfg(feature = "demo")]

use std::collections::BTreeMap;
use std::time::Duration;

use andon::demo::plant::{Plant, Reading};
use andon::demo::record::{COLUMNS, write_csv};
use andon::demo::{Fault, FaultKind, FaultPlan, SEED};
use andon::time::Timestamp;

const START: Timestamp = Timestamp::from_secs(1_700_000_000);

/// The readings after the first, up to `seconds`.
fn run(seed: u64, plan: FaultPlan, seconds: u64) -> Vec<Reading> {
    let mut plant = Plant::new(seed, plan);
    plant.step(START);
    plant.step(START.saturating_add(Duration::from_secs(seconds))).to_vec()
}

fn always(asset: &'static str, kind: FaultKind) -> FaultPlan {
    let (start, full, end) = (Duration::ZERO, Duration::ZERO, Duration::MAX);
    FaultPlan { faults: vec![Fault { asset, kind, start, full, end }], every: None }
}

fn values(readings: &[Reading], asset: &str, tag: &str) -> Vec<f64> {
    let of_tag = readings.iter().filter(|r| r.asset == asset && r.tag == tag);
    of_tag.map(|r| r.value).collect()
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

#[test]
fn the_same_seed_gives_the_same_readings_however_time_is_cut() {
    let at_once = run(3, FaultPlan::none(), 10);

    let mut in_steps = Plant::new(3, FaultPlan::none());
    in_steps.step(START);
    let end = START.saturating_add(Duration::from_secs(10));
    let mut gathered = Vec::new();
    for step in 1..=1_000 {
        let now = START.saturating_add(Duration::from_millis(37) * step);
        gathered.extend_from_slice(in_steps.step(now.min(end)));
    }
    assert_eq!(at_once, gathered);
    assert!(at_once.is_sorted_by_key(|reading| reading.time));
}

#[test]
fn another_seed_gives_other_readings() {
    assert_ne!(run(1, FaultPlan::none(), 5), run(2, FaultPlan::none(), 5));
}

#[test]
fn machines_read_at_their_own_rate() {
    let readings = run(1, FaultPlan::none(), 10);
    assert_eq!(values(&readings, "spindle-6", "speed").len(), 100);
    assert_eq!(values(&readings, "press-1", "stroke_force").len(), 50);
}

#[test]
fn a_healthy_plant_stays_within_its_ranges() {
    let ranges = BTreeMap::from([
        ("speed", 0.0..=11_700.0),
        ("load", 0.0..=90.0),
        ("current", 0.0..=25.0),
        ("temperature", 30.0..=52.0),
        ("vibration", 0.05..=3.4),
        ("hydraulic_pressure", 155.0..=195.0),
        ("oil_temperature", 35.0..=55.0),
        ("stroke_force", 0.0..=960.0),
        ("cycle_time", 2.0..=3.6),
    ]);
    for seed in [SEED, 11, 12, 13] {
        for reading in run(seed, FaultPlan::none(), 1_800) {
            assert!(ranges[reading.tag].contains(&reading.value), "seed {seed}: {reading:?}");
        }
    }
}

#[test]
fn bearing_wear_moves_vibration_load_and_temperature() {
    let healthy = run(5, FaultPlan::none(), 120);
    let worn = run(5, always("spindle-2", FaultKind::BearingWear), 120);
    let change =
        |tag| mean(&values(&worn, "spindle-2", tag)) / mean(&values(&healthy, "spindle-2", tag));
    assert!(change("vibration") > 1.6, "{}", change("vibration"));
    assert!(change("load") > 1.05, "{}", change("load"));
    assert!(change("temperature") > 1.08, "{}", change("temperature"));
    assert!((change("speed") - 1.0).abs() < 0.01, "{}", change("speed"));
    let other = |readings: &[Reading]| values(readings, "spindle-1", "vibration");
    assert_eq!(other(&healthy), other(&worn));
}

#[test]
fn early_wear_hides_below_what_health_can_show() {
    let healthy = run(5, FaultPlan::none(), 300);
    let highest = values(&healthy, "spindle-2", "vibration").into_iter().fold(0.0, f64::max);
    let mut plan = always("spindle-2", FaultKind::BearingWear);
    plan.faults[0].full = Duration::from_secs(1_000);
    let worn = values(&run(5, plan, 250), "spindle-2", "vibration");
    let over = worn.iter().filter(|value| **value > highest).count();
    assert!(over * 10 < worn.len(), "{over} of {}", worn.len());
}

#[test]
fn coolant_loss_heats_the_spindle_and_nothing_else() {
    let healthy = run(5, FaultPlan::none(), 10);
    let dry = run(5, always("spindle-5", FaultKind::CoolantLoss), 10);
    let last = |readings: &[Reading], tag| *values(readings, "spindle-5", tag).last().unwrap();
    assert!(last(&dry, "temperature") > last(&healthy, "temperature") + 8.0);
    assert_eq!(values(&dry, "spindle-5", "load"), values(&healthy, "spindle-5", "load"));
}

#[test]
fn a_leak_takes_pressure_and_force_and_slows_the_press() {
    let healthy = run(5, FaultPlan::none(), 60);
    let leaking = run(5, always("press-2", FaultKind::HydraulicLeak), 60);
    let change =
        |tag| mean(&values(&leaking, "press-2", tag)) / mean(&values(&healthy, "press-2", tag));
    assert!(change("hydraulic_pressure") < 0.7);
    assert!(change("stroke_force") < 0.75);
    assert!(change("cycle_time") > 1.15);
    assert!(change("oil_temperature") > 1.1);
}

#[test]
fn a_stuck_sensor_repeats_itself_and_a_lost_one_gives_no_number() {
    let mut stuck = always("press-3", FaultKind::Stuck("oil_temperature"));
    stuck.faults[0].start = Duration::from_secs(2);
    stuck.faults[0].full = Duration::from_secs(2);
    let stuck = values(&run(5, stuck, 20), "press-3", "oil_temperature");
    assert!(stuck[15..].iter().all(|value| *value == stuck[14]));
    assert!(stuck[..9].iter().any(|value| *value != stuck[14]));

    let lost = run(5, always("spindle-6", FaultKind::Dropout("vibration")), 5);
    assert!(values(&lost, "spindle-6", "vibration").iter().all(|value| value.is_nan()));
    assert!(values(&lost, "spindle-6", "speed").iter().all(|value| value.is_finite()));
}

#[test]
fn a_burst_rings_when_the_bearing_is_worn() {
    let rms = |plan| {
        let mut plant = Plant::new(5, plan);
        plant.step(START);
        let mut sum = 0.0;
        for second in 1..=30 {
            plant.step(START.saturating_add(Duration::from_secs(second)));
            let burst = plant.vibration_burst("spindle-1", 1_024, 6_400.0);
            assert_eq!(burst.len(), 1_024);
            sum += burst.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>();
        }
        (sum / (30.0 * 1_024.0)).sqrt()
    };
    let (healthy, worn) =
        (rms(FaultPlan::none()), rms(always("spindle-1", FaultKind::BearingWear)));
    assert!(worn > 1.3 * healthy, "{healthy} {worn}");
    assert!(Plant::new(5, FaultPlan::none()).vibration_burst("press-1", 10, 1.0).is_empty());
}

#[test]
fn the_demo_shows_every_fault_within_twenty_seconds() {
    let readings = run(SEED, FaultPlan::demo(), 20);
    let most = |asset, tag| values(&readings, asset, tag).into_iter().fold(f64::MIN, f64::max);
    let least = |asset, tag| values(&readings, asset, tag).into_iter().fold(f64::MAX, f64::min);
    assert!(most("spindle-3", "vibration") > 3.4);
    assert!(most("spindle-5", "temperature") > 54.0, "{}", most("spindle-5", "temperature"));
    assert!(*values(&readings, "spindle-5", "temperature").last().unwrap() < 51.0);
    assert!(least("press-2", "hydraulic_pressure") < 130.0);
    assert!(*values(&readings, "press-2", "hydraulic_pressure").last().unwrap() > 160.0);
}

#[test]
fn the_recording_is_a_table_with_the_truth_beside_it() {
    let mut csv = Vec::new();
    write_csv(&mut csv, SEED, 1, FaultPlan::demo()).unwrap();
    let csv = String::from_utf8(csv).unwrap();
    let mut lines = csv.lines();
    assert_eq!(lines.next(), Some(COLUMNS));
    let rows: Vec<Vec<&str>> = lines.map(|line| line.split(',').collect()).collect();
    assert_eq!(rows.len(), 6 * 600);
    assert!(rows.iter().all(|row| row.len() == 9));
    let row = |time: &str, asset: &str| {
        rows.iter().find(|row| row[0] == time && row[1] == asset).unwrap().clone()
    };
    assert_eq!(row("6000", "spindle-3")[2..4], ["0.500", "bearing_wear"]);
    assert_eq!(row("9000", "spindle-6")[3], "dropout");
    assert_eq!(row("9000", "spindle-6")[8], "");
    assert_eq!(row("26000", "spindle-4")[2..4], ["0.500", "bearing_wear"]);
}
