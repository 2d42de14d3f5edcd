use super::*;
use crate::alert::{AlertBook, AlertRecord, AlertSpec};
use crate::asset::AssetId;
use crate::settings::{AlertPolicy, Direction};
use crate::time::Timestamp;
use crate::verdict::{Evidence, Explanation, PredictionId, Verdict};

/// Real transitions of one prediction on any number of assets.
struct Plant {
    book: AlertBook,
    second: i64,
}

impl Plant {
    fn new(severity: u16) -> Self {
        let policy = AlertPolicy {
            raise: Some(1.0),
            direction: Some(Direction::Above),
            severity: Some(severity),
            ..AlertPolicy::default()
        };
        let spec = AlertSpec::prediction(PredictionId(0), "wear", policy);
        Self { book: AlertBook::new("site", vec![spec]), second: 0 }
    }

    fn flip(&mut self, asset: u32, score: f64) -> Transition {
        self.second += 1;
        let end = Timestamp::from_secs(self.second);
        let verdict = Verdict {
            prediction: PredictionId(0),
            asset: AssetId(asset),
            evidence: Evidence { start: end, end, samples: 1, coverage: 1.0 },
            score,
            label: None,
            contributions: Vec::new(),
            region: None,
            subject: None,
            model: None,
            arrived: end,
        };
        let name = format!("press-{asset}");
        self.book.apply(&verdict, &name, end).expect("each flip changes something")
    }
}

fn gate(burst: u32, per_second: u32) -> FloodGate {
    FloodGate::new(FloodSettings { burst, per_second, ..FloodSettings::default() })
}

const AT: Duration = Duration::from_secs(100);

#[test]
fn a_burst_is_told_and_the_rest_comes_at_its_pace_in_order() {
    let (mut gate, mut plant) = (gate(3, 2), Plant::new(500));
    let passed: Vec<Passage> =
        (0..6).map(|asset| gate.pass(&plant.flip(asset, 2.0), AT).0).collect();
    assert_eq!(passed[..3], [Passage::Tell, Passage::Tell, Passage::Tell]);
    assert_eq!(passed[3..], [Passage::Hold, Passage::Hold, Passage::Hold]);
    assert_eq!(gate.release(AT), None);
    let mut told = Vec::new();
    for step in 1..=4 {
        let now = AT + Duration::from_millis(500 * step);
        told.extend(gate.release(now).map(|held| held.record.asset));
        assert_eq!(gate.release(now), None, "one token each half second");
    }
    assert_eq!(told, ["press-3", "press-4", "press-5"]);
    assert_eq!(gate.held(), 0);
}

#[test]
fn of_each_alert_only_the_newest_is_held_and_told_against_what_is_known() {
    let (mut gate, mut plant) = (gate(1, 1), Plant::new(500));
    assert_eq!(gate.pass(&plant.flip(7, 2.0), AT), (Passage::Tell, 0));
    assert_eq!(gate.pass(&plant.flip(8, 2.0), AT), (Passage::Hold, 0));
    assert_eq!(gate.pass(&plant.flip(8, 0.0), AT), (Passage::Hold, 1));
    let last = plant.flip(8, 2.0);
    assert_eq!(gate.pass(&last, AT), (Passage::Hold, 1));
    assert_eq!(gate.held(), 1);
    let told = gate.release(AT + Duration::from_secs(1)).unwrap();
    assert_eq!((told.cause, told.previous), (Cause::Raised, AlertState::Normal));
    assert_eq!(told.record.alert_id, last.record.alert_id);
}

#[test]
fn a_raise_whose_reasons_come_while_it_waits_is_told_as_a_raise() {
    let (mut gate, mut plant) = (gate(1, 1), Plant::new(500));
    let _told = gate.pass(&plant.flip(1, 2.0), AT);
    let raise = plant.flip(2, 2.0);
    let explained =
        Transition { cause: Cause::Explained, previous: AlertState::Active, ..raise.clone() };
    assert_eq!(gate.pass(&raise, AT).0, Passage::Hold);
    assert_eq!(gate.pass(&explained, AT).0, Passage::Hold);
    let told = gate.release(AT + Duration::from_secs(1)).unwrap();
    assert_eq!((told.cause, told.previous), (Cause::Raised, AlertState::Normal));
}

#[test]
fn what_is_grave_or_done_by_hand_never_waits() {
    let (mut gate, mut plant) = (gate(1, 1), Plant::new(900));
    for asset in 0..5 {
        assert_eq!(gate.pass(&plant.flip(asset, 2.0), AT), (Passage::Tell, 0));
    }
    let mut plant = Plant::new(500);
    let raise = plant.flip(1, 2.0);
    assert_eq!(gate.pass(&raise, AT).0, Passage::Hold);
    let seen = Transition { cause: Cause::Acknowledged, ..raise };
    assert_eq!(gate.pass(&seen, AT), (Passage::Tell, 1), "it replaces the raise that waits");
    assert_eq!(gate.held(), 0);
    assert_eq!(gate.release(AT + Duration::from_secs(60)), None);
}

#[test]
fn a_flood_is_summed_up_once_and_ended_once() {
    let (mut gate, mut plant) = (gate(1, 1), Plant::new(500));
    for (asset, score) in [(1, 2.0), (2, 2.0), (2, 0.0), (2, 2.0), (3, 2.0)] {
        let _passed = gate.pass(&plant.flip(asset, score), AT);
    }
    assert_eq!(gate.report(AT), None, "too early to say anything");
    let report = gate.report(AT + FIRST_LOOK).unwrap();
    assert!(!report.over);
    assert_eq!((report.held, report.merged), (4, 2));
    assert_eq!(report.worst[0], ("press-2".to_owned(), 3));
    assert_eq!(
        report.to_string(),
        "4 changes of alerts in 1s had to wait, 2 of them are told with newer ones; \
         most on press-2 (3), press-3 (1)"
    );
    assert_eq!(gate.report(AT + FIRST_LOOK), None);
    let later = AT + Duration::from_secs(2);
    while gate.release(later).is_some() {}
    let end = AT + Duration::from_secs(9);
    while gate.release(end).is_some() {}
    assert!(gate.report(end).unwrap().over);
    assert_eq!(gate.report(end), None);
}

#[test]
fn a_flood_of_a_moment_is_not_worth_an_alert() {
    let (mut gate, mut plant) = (gate(1, 10), Plant::new(500));
    for asset in 0..3 {
        let _passed = gate.pass(&plant.flip(asset, 2.0), AT);
    }
    let soon = AT + Duration::from_millis(300);
    while gate.release(soon).is_some() {}
    while gate.release(soon + Duration::from_millis(100)).is_some() {}
    assert_eq!(gate.held(), 0);
    assert_eq!(gate.report(soon), None);
}

#[test]
fn what_the_last_life_owed_is_told_by_the_next() {
    let mut plant = Plant::new(500);
    let record = AlertRecord { held: true, ..plant.flip(4, 2.0).record };
    let now = Timestamp::from_secs(50);
    let mut gate = gate(10, 10);
    gate.restore(resumed(&record, now));
    let told = gate.release(Duration::ZERO).unwrap();
    assert_eq!((told.cause, told.arrived, told.finished), (Cause::Raised, now, false));
    assert!(!told.record.held);

    let pending = AlertRecord { explanation: Explanation::Pending, ..told.record };
    let seen = resumed(&AlertRecord { state: AlertState::Acknowledged, ..pending.clone() }, now);
    assert_eq!((seen.cause, seen.previous), (Cause::Explained, AlertState::Acknowledged));
    assert_eq!(seen.record.explanation, Explanation::Late, "who worked it out has gone");
    let over = resumed(&AlertRecord { state: AlertState::Normal, ..pending }, now);
    assert_eq!((over.cause, over.finished), (Cause::Cleared, true));
}
