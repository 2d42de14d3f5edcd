//! The alert book from outside: every transition, and what a restart must not change.

#![expect(clippy::unwrap_used, reason = "a test may panic, in its helpers too")]

use std::sync::Arc;
use std::time::Duration;

use andon::alert::{
    Action, AlertBook, AlertRecord, AlertSpec, AlertState, Cause, Command, CommandError, Transition,
};
use andon::asset::AssetId;
use andon::settings::AlertPolicy;
use andon::time::Timestamp;
use andon::verdict::{
    Contribution, Evidence, Explained, Explanation, PredictionId, Subject, Verdict,
};
use proptest::prelude::*;

const ASSET: AssetId = AssetId(3);
const WEAR: PredictionId = PredictionId(0);

fn policy() -> AlertPolicy {
    AlertPolicy { raise: Some(0.8), clear: Some(0.6), ..AlertPolicy::default() }
}

fn book_of(policy: AlertPolicy) -> AlertBook {
    AlertBook::new("plant7", vec![AlertSpec::prediction(WEAR, "wear", policy)])
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_secs(1_700_000_000 + second)
}

fn verdict(asset: AssetId, second: i64, score: f64) -> Verdict {
    Verdict {
        prediction: WEAR,
        asset,
        evidence: Evidence { start: at(second - 10), end: at(second), samples: 40, coverage: 1.0 },
        score,
        label: None,
        contributions: vec![Contribution { tag: "current".into(), value: Some(12.5), share: 0.3 }],
        region: None,
        subject: None,
        model: None,
        arrived: at(second),
    }
}

fn command(action: Action) -> Command {
    Command { action, by: "R. Meyer".into(), comment: None, alert_id: None }
}

/// A book with one asset, driven by the second.
struct Shop {
    book: AlertBook,
}

impl Shop {
    fn new(policy: AlertPolicy) -> Self {
        Self { book: book_of(policy) }
    }

    fn score(&mut self, second: i64, score: f64) -> Option<Transition> {
        self.book.apply(&verdict(ASSET, second, score), "press-3", at(second))
    }

    fn ask(&mut self, second: i64, action: Action) -> Result<Option<Transition>, CommandError> {
        self.book.command(ASSET, WEAR, command(action), at(second))
    }

    fn told(&mut self, second: i64, action: Action) -> Transition {
        self.ask(second, action).expect("allowed").expect("a change")
    }
}

fn summary(transition: &Transition) -> (AlertState, Cause, AlertState, bool) {
    (transition.previous, transition.cause, transition.record.state, transition.finished)
}

use AlertState::{Acknowledged, Active, Cleared, Normal, Shelved};

const HOUR: Action = Action::Shelve(Duration::from_secs(3600));

#[test]
fn raise_acknowledge_clear_is_over() {
    let mut shop = Shop::new(policy());
    assert_eq!(shop.score(0, 0.5), None);
    let raised = shop.score(1, 0.9).unwrap();
    assert_eq!(summary(&raised), (Normal, Cause::Raised, Active, false));
    assert_eq!(raised.record.raised_at, Some(at(1)));
    assert_eq!(shop.score(2, 0.95), None);
    let seen = shop.told(3, Action::Acknowledge);
    assert_eq!(summary(&seen), (Active, Cause::Acknowledged, Acknowledged, false));
    assert_eq!(seen.record.acknowledged_by.as_deref(), Some("R. Meyer"));
    assert_eq!(shop.score(4, 0.7), None);
    let over = shop.score(5, 0.5).unwrap();
    assert_eq!(summary(&over), (Acknowledged, Cause::Cleared, Normal, true));
    assert_eq!((over.record.score, over.record.threshold), (0.5, 0.6));
    assert_eq!(over.record.contributions.len(), 1, "the reason for the raise stays");
    assert_eq!([raised.record.seq, seen.record.seq, over.record.seq], [1, 2, 3]);
    assert_eq!(raised.record.alert_id, over.record.alert_id);
    assert_eq!(shop.book.active().count(), 0);
}

#[test]
fn cleared_waits_for_its_acknowledgement() {
    let mut shop = Shop::new(policy());
    let _raised = shop.score(1, 0.9);
    let cleared = shop.score(2, 0.1).unwrap();
    assert_eq!(summary(&cleared), (Active, Cause::Cleared, Cleared, false));
    assert_eq!(shop.book.counts().cleared, 1);
    let seen = shop.told(3, Action::Acknowledge);
    assert_eq!(summary(&seen), (Cleared, Cause::Acknowledged, Normal, true));
}

#[test]
fn a_second_raise_is_a_new_alert() {
    let mut shop = Shop::new(policy());
    let first = shop.score(1, 0.9).unwrap();
    let _cleared = shop.score(2, 0.1);
    let second = shop.score(3, 0.9).unwrap();
    assert_eq!(summary(&second), (Cleared, Cause::Raised, Active, false));
    assert_ne!(first.record.alert_id, second.record.alert_id);
    assert_eq!((second.record.seq, second.record.cleared_at), (3, None));
}

#[test]
fn commands_that_do_not_fit_are_refused_with_a_reason() {
    let mut shop = Shop::new(policy());
    let refused = |outcome: Result<Option<Transition>, CommandError>| outcome.unwrap_err();
    assert_eq!(refused(shop.ask(0, Action::Acknowledge)), CommandError::Unknown("acknowledge"));
    let _fine = shop.score(0, 0.1);
    assert_eq!(
        refused(shop.ask(0, Action::Acknowledge)),
        CommandError::NothingToAcknowledge(Normal)
    );
    assert_eq!(refused(shop.ask(0, Action::Unshelve)), CommandError::NotShelved(Normal));
    let raised = shop.score(1, 0.9).unwrap();
    let for_another = Command { alert_id: Some("x".into()), ..command(Action::Acknowledge) };
    assert_eq!(
        refused(shop.book.command(ASSET, WEAR, for_another, at(2))),
        CommandError::Superseded { asked: "x".into(), newest: raised.record.alert_id.clone() }
    );
    let for_this =
        Command { alert_id: Some(raised.record.alert_id), ..command(Action::Acknowledge) };
    assert!(shop.book.command(ASSET, WEAR, for_this, at(2)).is_ok());
    assert_eq!(shop.ask(3, Action::Acknowledge), Ok(None), "a repeat changes nothing");
    let _shelved = shop.told(4, HOUR);
    assert_eq!(refused(shop.ask(5, Action::Acknowledge)), CommandError::Shelved(at(3604)));
}

#[test]
fn a_shelved_alert_returns_to_what_the_condition_is() {
    let mut shop = Shop::new(policy());
    let _raised = shop.score(1, 0.9);
    let shelved = shop.told(2, HOUR);
    assert_eq!(summary(&shelved), (Active, Cause::Shelved, Shelved, false));
    assert_eq!(shop.book.next_deadline(), Some(at(3602)));
    assert!(shop.book.advance(at(3601)).is_empty());
    let back = shop.book.advance(at(4000)).remove(0);
    assert_eq!(summary(&back), (Shelved, Cause::Unshelved, Active, false));
    assert_eq!((back.record.changed_at, back.record.shelved_until), (at(3602), None));
    assert_eq!(back.record.seq, 3);
    assert_eq!(shop.book.next_deadline(), None);
}

#[test]
fn an_acknowledged_alert_is_still_acknowledged_behind_its_shelf() {
    let mut shop = Shop::new(policy());
    let _raised = shop.score(1, 0.9);
    let _seen = shop.told(2, Action::Acknowledge);
    let _shelved = shop.told(3, HOUR);
    assert_eq!(
        summary(&shop.told(4, Action::Unshelve)),
        (Shelved, Cause::Unshelved, Acknowledged, false)
    );
}

#[test]
fn what_is_over_behind_the_shelf_is_normal_afterwards() {
    let mut shop = Shop::new(policy());
    let raised = shop.score(1, 0.9).unwrap();
    let _shelved = shop.told(2, HOUR);
    let hidden = shop.score(3, 0.1).unwrap();
    assert_eq!(summary(&hidden), (Shelved, Cause::Suppressed, Shelved, false));
    let back = shop.told(4, Action::Unshelve);
    assert_eq!(summary(&back), (Shelved, Cause::Unshelved, Normal, true));
    assert_eq!(back.record.alert_id, raised.record.alert_id);
    assert_eq!(back.record.cleared_at, Some(at(3)));
    assert_eq!(back.record.seq, 3, "what is not published is not counted");
}

#[test]
fn a_raise_behind_the_shelf_is_raised_when_the_shelf_comes_down() {
    let mut shop = Shop::new(policy());
    let _fine = shop.score(0, 0.1);
    let shelved = shop.told(1, HOUR);
    assert_eq!(summary(&shelved), (Normal, Cause::Shelved, Shelved, false));
    assert_eq!(shelved.record.raised_at, None);
    let hidden = shop.score(2, 0.9).unwrap();
    assert_eq!(hidden.cause, Cause::Suppressed);
    assert_eq!(hidden.record.shelved_by.as_deref(), Some("R. Meyer"));
    let back = shop.book.advance(at(3601)).remove(0);
    assert_eq!(summary(&back), (Shelved, Cause::Raised, Active, false));
    assert_eq!(back.record.raised_at, Some(at(2)));
    assert_ne!(back.record.alert_id, shelved.record.alert_id);
}

#[test]
fn a_verdict_that_comes_before_advance_also_ends_the_shelf() {
    let mut shop = Shop::new(policy());
    let _raised = shop.score(1, 0.9);
    let _shelved = shop.told(2, HOUR);
    let back = shop.score(3602, 0.9).unwrap();
    assert_eq!(summary(&back), (Shelved, Cause::Unshelved, Active, false));
    assert!(shop.book.advance(at(5000)).is_empty());
}

#[test]
fn shelving_again_moves_the_time() {
    let mut shop = Shop::new(policy());
    let _raised = shop.score(1, 0.9);
    let _shelved = shop.told(2, HOUR);
    let again = shop.told(100, HOUR);
    assert_eq!(summary(&again), (Shelved, Cause::Shelved, Shelved, false));
    assert_eq!(shop.book.next_deadline(), Some(at(3700)));
    assert!(shop.book.advance(at(3650)).is_empty());
}

#[test]
fn old_and_odd_verdicts_are_repeats() {
    let mut shop = Shop::new(policy());
    let _fine = shop.score(5, 0.1);
    assert_eq!(shop.score(5, 0.9), None);
    assert_eq!(shop.score(4, 0.9), None);
    assert_eq!(shop.score(6, f64::NAN), None);
    assert_eq!(shop.book.repeats(), 3);
    assert!(shop.score(6, 0.9).is_some());
}

#[test]
fn the_delay_counts_the_time_of_the_data() {
    let policy = AlertPolicy { on_delay: Some(Duration::from_secs(60)), ..policy() };
    let mut shop = Shop::new(policy);
    assert_eq!(shop.score(0, 0.9), None);
    assert_eq!(shop.score(59, 0.9), None);
    let raised = shop.score(61, 0.9).unwrap();
    assert_eq!(raised.record.raised_at, Some(at(61)));
}

fn unexplained(second: i64, score: f64) -> Verdict {
    let subject =
        Some(Arc::new(Subject { values: vec![1.0], text: None, latest: vec![Some(12.5)] }));
    Verdict { subject, contributions: Vec::new(), ..verdict(ASSET, second, score) }
}

fn reasons(raised: &Transition) -> Explained {
    Explained {
        prediction: WEAR,
        asset: ASSET,
        alert_id: raised.record.alert_id.clone(),
        how: Explanation::Exact,
        contributions: vec![Contribution { tag: "current".into(), value: Some(12.5), share: 0.3 }],
    }
}

#[test]
fn an_alert_is_told_at_once_and_its_reasons_follow_under_the_same_id() {
    let mut shop = Shop::new(policy());
    let raised = shop.book.apply(&unexplained(1, 0.9), "press-3", at(1)).unwrap();
    assert_eq!(raised.record.explanation, Explanation::Pending);
    assert_eq!(raised.record.text, "press-3: wear says 0.9, limit 0.8.");
    shop.told(2, Action::Acknowledge);
    let explained = shop.book.explain(&reasons(&raised), at(3)).unwrap();
    assert_eq!(summary(&explained), (Acknowledged, Cause::Explained, Acknowledged, false));
    let record = &explained.record;
    assert_eq!((&record.alert_id, record.seq), (&raised.record.alert_id, 3));
    assert_eq!(record.text, "press-3: wear says 0.9, limit 0.8, mostly because of current (12.5).");
    assert!(shop.book.explain(&reasons(&raised), at(4)).is_none(), "once is enough");
}

#[test]
fn reasons_that_come_for_another_alert_change_nothing() {
    let mut shop = Shop::new(policy());
    let first = shop.book.apply(&unexplained(1, 0.9), "press-3", at(1)).unwrap();
    let _over = shop.score(2, 0.1).unwrap();
    let second = shop.book.apply(&unexplained(3, 0.9), "press-3", at(3)).unwrap();
    assert!(shop.book.explain(&reasons(&first), at(4)).is_none());
    let _over = shop.score(5, 0.1).unwrap();
    let late = shop.book.explain(&reasons(&second), at(6)).unwrap();
    assert_eq!(summary(&late), (Cleared, Cause::Explained, Cleared, false));
    assert_eq!(late.record.score, 0.1, "what is over shows the score that ended it");
}

#[test]
fn an_alert_whose_prediction_is_gone_is_withdrawn() {
    let mut shop = Shop::new(policy());
    let raised = shop.score(1, 0.9).unwrap();
    let mut book = AlertBook::new("plant7", Vec::new());
    book.restore(ASSET, "press-3", raised.record);
    let gone = book.withdraw(at(50));
    assert_eq!(summary(&gone[0]), (Active, Cause::Withdrawn, Normal, true));
    assert_eq!((gone[0].record.seq, gone[0].record.cleared_at), (2, Some(at(50))));
    assert!(book.withdraw(at(51)).is_empty());
}

#[test]
fn a_finished_alert_is_not_raised_again_by_old_verdicts() {
    let mut shop = Shop::new(policy());
    let raised = shop.score(1, 0.9).unwrap();
    let _seen = shop.told(2, Action::Acknowledge);
    let over = shop.score(3, 0.1).unwrap();
    let mut book = book_of(policy());
    book.restore(ASSET, "press-3", reread(&over.record));
    for (second, score) in [(1, 0.9), (2, 0.9), (3, 0.1)] {
        assert_eq!(book.apply(&verdict(ASSET, second, score), "press-3", at(100)), None);
    }
    let next = book.apply(&verdict(ASSET, 4, 0.9), "press-3", at(100)).unwrap();
    assert_ne!(next.record.alert_id, raised.record.alert_id);
    assert_eq!(next.record.seq, 4);
}

#[test]
fn what_was_counted_before_a_long_gap_is_forgotten() {
    let policy = AlertPolicy { n: Some(2), m: Some(4), ..policy() };
    let mut shop = Shop::new(policy.clone());
    for (second, score) in [(1, 0.9), (2, 0.9), (3, 0.1), (4, 0.1)] {
        let _raised = shop.score(second, score);
    }
    let over = shop.score(5, 0.1).unwrap();
    let seen = shop.told(6, Action::Acknowledge);
    assert_eq!((over.record.state, seen.finished), (Cleared, true));
    let mut book = book_of(policy);
    book.restore(ASSET, "press-3", reread(&seen.record));
    assert_eq!(book.apply(&verdict(ASSET, 90_000, 0.9), "press-3", at(90_000)), None);
    assert!(book.apply(&verdict(ASSET, 90_001, 0.9), "press-3", at(90_001)).is_some());
}

/// As the store does it.
fn reread(record: &AlertRecord) -> AlertRecord {
    serde_json::from_str(&serde_json::to_string(record).unwrap()).unwrap()
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Score(u32, f64),
    /// A verdict that came before comes again.
    Again(u32),
    Ask(u32, Action),
}

fn step() -> impl Strategy<Value = Step> {
    let score = prop_oneof![0.0..1.0f64, Just(0.8), Just(0.6), Just(0.1), Just(0.95)];
    let action = prop_oneof![
        Just(Action::Acknowledge),
        (1u64..20).prop_map(|seconds| Action::Shelve(Duration::from_secs(seconds))),
        Just(Action::Unshelve),
    ];
    prop_oneof![
        6 => (0u32..3, score).prop_map(|(asset, score)| Step::Score(asset, score)),
        1 => (0u32..3).prop_map(Step::Again),
        2 => (0u32..3, action).prop_map(|(asset, action)| Step::Ask(asset, action)),
    ]
}

fn policies() -> impl Strategy<Value = AlertPolicy> {
    (1u32..4, 0u32..3, 0u64..4, 0u64..4).prop_map(|(n, more, on, off)| AlertPolicy {
        n: Some(n),
        m: Some(n + more),
        on_delay: Some(Duration::from_secs(on)),
        off_delay: Some(Duration::from_secs(off)),
        ..policy()
    })
}

fn name(asset: u32) -> String {
    format!("press-{asset}")
}

fn take(book: &mut AlertBook, second: i64, step: Step) -> Vec<Transition> {
    let now = at(second);
    let mut out = book.advance(now);
    match step {
        Step::Score(asset, score) => {
            out.extend(book.apply(&verdict(AssetId(asset), second, score), &name(asset), now));
        }
        Step::Again(asset) => {
            out.extend(book.apply(&verdict(AssetId(asset), 0, 0.99), &name(asset), now));
        }
        Step::Ask(asset, action) => {
            if let Ok(done) = book.command(AssetId(asset), WEAR, command(action), now) {
                out.extend(done);
            }
        }
    }
    out
}

/// A book as a restart finds it: the last stored records, and the stored samples fed again.
fn restart(policy: AlertPolicy, stored: &[Transition], past: &[Step]) -> AlertBook {
    let mut book = book_of(policy);
    for asset in 0..3 {
        let newest = stored.iter().rev().find(|kept| kept.record.asset == name(asset));
        if let Some(kept) = newest {
            book.restore(AssetId(asset), &name(asset), reread(&kept.record));
        }
    }
    for (second, step) in (1..).zip(past) {
        let (asset, second, score) = match *step {
            Step::Score(asset, score) => (asset, second, score),
            Step::Again(asset) => (asset, 0, 0.99),
            Step::Ask(..) => continue,
        };
        let now = at(past.len() as i64);
        let again = book.apply(&verdict(AssetId(asset), second, score), &name(asset), now);
        assert_eq!(again, None, "nothing is told twice");
    }
    book
}

proptest! {
    #[test]
    fn the_book_never_raises_twice_without_a_clear(
        policy in policies(),
        steps in prop::collection::vec(step(), 0..120),
    ) {
        let mut book = book_of(policy);
        let mut ids = std::collections::BTreeSet::new();
        let mut on = [false; 3];
        let mut seqs = [0; 3];
        for (second, step) in (1..).zip(steps) {
            for transition in take(&mut book, second, step) {
                let record = &transition.record;
                let asset: usize = record.asset["press-".len()..].parse().unwrap();
                if transition.cause != Cause::Suppressed {
                    seqs[asset] += 1;
                }
                prop_assert_eq!(record.seq, seqs[asset]);
                prop_assert_eq!(transition.finished, record.state == Normal);
                match transition.cause {
                    Cause::Raised => {
                        prop_assert!(!on[asset], "raised twice");
                        prop_assert!(ids.insert(record.alert_id.clone()), "an id came twice");
                        prop_assert_eq!(record.state, Active);
                        on[asset] = true;
                    }
                    Cause::Cleared => {
                        prop_assert!(on[asset], "cleared twice");
                        on[asset] = false;
                    }
                    Cause::Unshelved => on[asset] = record.state != Normal,
                    Cause::Shelved => on[asset] = false,
                    Cause::Acknowledged => {
                        prop_assert_eq!(on[asset], record.state == Acknowledged);
                    }
                    Cause::Suppressed => prop_assert_eq!(record.state, Shelved),
                    Cause::Withdrawn => prop_assert!(false, "nothing was taken away"),
                    Cause::Explained => prop_assert!(false, "nothing was asked"),
                }
            }
        }
    }

    #[test]
    fn a_restart_at_any_point_changes_nothing(
        policy in policies(),
        steps in prop::collection::vec(step(), 1..120),
        cut in any::<prop::sample::Index>(),
    ) {
        let cut = cut.index(steps.len());
        let mut whole = book_of(policy.clone());
        let mut stored = Vec::new();
        let mut book = None;
        for (second, step) in (1..).zip(&steps) {
            let expected = take(&mut whole, second, *step);
            if let Some(book) = &mut book {
                let actual = take(book, second, *step);
                prop_assert_eq!(&actual, &expected);
            }
            stored.extend(expected);
            if book.is_none() && usize::try_from(second) == Ok(cut) {
                book = Some(restart(policy.clone(), &stored, &steps[..cut]));
            }
        }
    }
}
