//! Two accounts of the same time: which alerts they share, and which only one of them raised.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use crate::time::Timestamp;

/// An alert from its raise to its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Spell {
    pub asset: String,
    pub prediction: String,
    pub raised: Timestamp,
    /// Absent: it still stood at the end.
    pub cleared: Option<Timestamp>,
}

/// What one prediction or rule said in both accounts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Comparison {
    pub old: usize,
    pub new: usize,
    /// Alerts of the same asset whose times overlap, old and new.
    pub matched: Vec<(Spell, Spell)>,
    pub only_old: Vec<Spell>,
    pub only_new: Vec<Spell>,
}

impl Spell {
    fn overlaps(&self, other: &Self) -> bool {
        let ends = |spell: &Self| spell.cleared.unwrap_or(Timestamp::MAX);
        self.raised <= ends(other) && other.raised <= ends(self)
    }
}

/// By prediction. Each alert is matched with at most one, in order of time.
pub fn compare(old: Vec<Spell>, new: Vec<Spell>) -> BTreeMap<String, Comparison> {
    let mut found: BTreeMap<String, Comparison> = BTreeMap::new();
    let mut by_asset: BTreeMap<(String, String), [Vec<Spell>; 2]> = BTreeMap::new();
    for (account, spells) in [old, new].into_iter().enumerate() {
        for spell in spells {
            let key = (spell.prediction.clone(), spell.asset.clone());
            by_asset.entry(key).or_default()[account].push(spell);
        }
    }
    for ((prediction, _), [mut old, mut new]) in by_asset {
        let of = found.entry(prediction).or_default();
        of.old += old.len();
        of.new += new.len();
        old.sort_by_key(|spell| spell.raised);
        new.sort_by_key(|spell| spell.raised);
        let mut new = new.into_iter().peekable();
        for spell in old {
            while let Some(early) =
                new.next_if(|it| !it.overlaps(&spell) && it.raised < spell.raised)
            {
                of.only_new.push(early);
            }
            match new.next_if(|it| it.overlaps(&spell)) {
                Some(same) => of.matched.push((spell, same)),
                None => of.only_old.push(spell),
            }
        }
        of.only_new.extend(new);
    }
    for of in found.values_mut() {
        of.matched.sort_by_key(|(old, _)| old.raised);
        of.only_old.sort_by_key(|spell| spell.raised);
        of.only_new.sort_by_key(|spell| spell.raised);
    }
    found
}

/// How many of `spells` announced none of the `events`: times by asset. An event is announced by
/// an alert of its asset that began at most `horizon` before it.
pub fn false_alarms<'a>(
    spells: impl Iterator<Item = &'a Spell>,
    events: &BTreeMap<String, Vec<Timestamp>>,
    horizon: Duration,
) -> usize {
    let announces = |spell: &Spell| {
        events
            .get(&spell.asset)
            .into_iter()
            .flatten()
            .any(|event| spell.raised <= *event && event.since(spell.raised) <= horizon)
    };
    spells.filter(|spell| !announces(spell)).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spell(asset: &str, raised: i64, cleared: Option<i64>) -> Spell {
        Spell {
            asset: asset.into(),
            prediction: "wear".into(),
            raised: Timestamp::from_secs(raised),
            cleared: cleared.map(Timestamp::from_secs),
        }
    }

    #[test]
    fn alerts_that_overlap_are_the_same_and_each_counts_once() {
        let old = vec![spell("a", 10, Some(20)), spell("a", 40, Some(50)), spell("b", 10, None)];
        let new = vec![
            spell("a", 1, Some(2)),
            spell("a", 12, Some(14)),
            spell("a", 16, Some(18)),
            spell("b", 500, None),
            spell("c", 10, Some(20)),
        ];
        let found = compare(old.clone(), new.clone());
        let wear = &found["wear"];
        assert_eq!((wear.old, wear.new), (3, 5));
        let matched = [(old[0].clone(), new[1].clone()), (old[2].clone(), new[3].clone())];
        assert_eq!(wear.matched, matched);
        assert_eq!(wear.only_old, [old[1].clone()]);
        assert_eq!(wear.only_new, [new[0].clone(), new[4].clone(), new[2].clone()]);
        assert!(compare(Vec::new(), Vec::new()).is_empty());
    }

    #[test]
    fn an_alarm_is_false_when_no_event_follows_within_the_horizon() {
        let events = BTreeMap::from([("a".to_owned(), vec![Timestamp::from_secs(100)])]);
        let spells = [
            spell("a", 95, None),
            spell("a", 50, None),
            spell("a", 101, None),
            spell("b", 95, None),
        ];
        assert_eq!(false_alarms(spells.iter(), &events, Duration::from_secs(10)), 3);
        assert_eq!(false_alarms(spells.iter(), &events, Duration::from_secs(60)), 2);
    }
}
