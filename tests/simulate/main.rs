//! Our own logic under seeded faults and virtual time: the inspector, the rules, the alert book
//! and the wire as they are, around a store that keeps `Store`'s contract (first in, first out,
//! all or nothing, receipts after the commit), a producer at QoS 1 and a broker for the alerts.
//!
//! No clock, no thread, no file: a seed is one run. `make simulate`, and `SEED=…` for one of them.

mod daemon;
mod rng;
mod world;

use daemon::Mutant;
use world::World;

fn seeds() -> std::ops::Range<u64> {
    let number = |name: &str| std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    match number("SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SEEDS").unwrap_or(200),
    }
}

/// The first seed in which `mutant` breaks a promise, and how.
fn caught(mutant: Mutant) -> Option<(u64, String)> {
    (0..500).find_map(|seed| Some((seed, World::new(seed, mutant).run().err()?)))
}

#[test]
fn every_seed_keeps_the_promise() {
    let (mut samples, mut alerts, mut crashes) = (0, 0, 0);
    for seed in seeds() {
        match World::new(seed, Mutant::None).run() {
            Ok(run) => {
                samples += run.acknowledged;
                alerts += run.alerts;
                crashes += run.crashes;
            }
            Err(fault) => panic!("{fault}\n  replay: make simulate SEED={seed}"),
        }
    }
    println!(
        "{samples} samples acknowledged, {alerts} alerts told, {crashes} crashes: 0 lost, 0 double"
    );
    assert!(samples > 0 && alerts > 0, "a simulation in which nothing happens proves nothing");
}

#[test]
fn an_acknowledgement_before_the_commit_is_caught() {
    let (_, fault) = caught(Mutant::AckBeforeCommit).expect("it was not caught");
    assert!(fault.contains("acknowledged and not stored"), "{fault}");
}

#[test]
fn an_outbox_row_deleted_before_its_puback_is_caught() {
    let (_, fault) = caught(Mutant::DeleteBeforePuback).expect("it was not caught");
    assert!(fault.contains("was never told"), "{fault}");
}

#[test]
fn an_inspector_that_is_not_recalled_after_a_restart_is_caught() {
    let (_, fault) = caught(Mutant::NoRecall).expect("it was not caught");
    assert!(fault.contains("stored 2 times"), "{fault}");
}

#[test]
fn a_source_that_forgets_its_messages_at_a_reconnect_is_caught() {
    let (_, fault) = caught(Mutant::ForgetsAtReconnect).expect("it was not caught");
    assert!(fault.contains("stored 2 times"), "{fault}");
}
