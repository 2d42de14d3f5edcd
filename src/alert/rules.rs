//! Plain rules on tags, without a model: a limit, a rate of change, a flatline, silence.
//!
//! A rule watches one tag of each of its assets and gives verdicts like a model's, so that
//! hysteresis, N of M, delays, shelving and publication are the same for both. Times are event
//! times, but for silence, which is about arrival. A missing value (bad quality) says nothing
//! and does not break a silence.

mod watch;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use self::watch::Watch;
use crate::asset::{AssetId, NamePattern};
use crate::sample::Sample;
use crate::settings::{Rule, RuleKind};
use crate::tag::TagId;
use crate::time::Timestamp;
use crate::verdict::{PredictionId, Verdict};

const NO_WATCH: u32 = u32::MAX;
/// A chart's memory counts readings; nobody knows how long those take.
const CHARTS_MAY_TAKE: Duration = Duration::from_secs(3600);

#[derive(Debug)]
pub struct RuleBook {
    rules: Vec<Bound>,
    watches: Vec<Watch>,
    /// By tag: the first of its watches, which form a chain. Most tags have none.
    heads: Vec<u32>,
    /// When to look whether a tag is silent. One entry an armed watch, never too late, often
    /// too early: a sample does not move it.
    deadlines: BinaryHeap<Reverse<(Timestamp, u32)>>,
}

#[derive(Debug)]
struct Bound {
    id: PredictionId,
    rule: Rule,
    assets: Vec<NamePattern>,
}

impl RuleBook {
    pub fn new(rules: Vec<(PredictionId, Rule)>) -> Self {
        let bind = |(id, rule): (PredictionId, Rule)| {
            let assets = rule.assets.iter().map(NamePattern::new).collect();
            Bound { id, rule, assets }
        };
        Self {
            rules: rules.into_iter().map(bind).collect(),
            watches: Vec::new(),
            heads: Vec::new(),
            deadlines: BinaryHeap::new(),
        }
    }

    /// The tags that `silent` rules name outright, as (asset, tag). They must be missed even if
    /// they never come: attach them at the start, then [`expect`](Self::expect) them.
    pub fn expected(&self) -> impl Iterator<Item = (&str, &str)> {
        self.rules.iter().filter(|bound| bound.rule.when == RuleKind::Silent).flat_map(|bound| {
            let named = bound.rule.assets.iter().filter(|asset| !asset.contains('*'));
            named.map(|asset| (asset.as_str(), bound.rule.tag.as_str()))
        })
    }

    /// The longest time that any of the rules looks back on.
    pub fn memory(&self) -> Duration {
        let spans = self.rules.iter().map(|bound| {
            let policy = &bound.rule.alert;
            let delays =
                policy.on_delay.unwrap_or_default().max(policy.off_delay.unwrap_or_default());
            let chart = bound.rule.when.chart_limit().map_or(Duration::ZERO, |_| CHARTS_MAY_TAKE);
            bound.rule.span.unwrap_or_default().max(chart).saturating_add(delays)
        });
        spans.max().unwrap_or_default()
    }

    /// A tag has become known. Attaching it again changes nothing.
    pub fn attach(&mut self, tag: TagId, asset: AssetId, asset_name: &str, tag_name: &str) {
        let at = tag.0 as usize;
        if self.heads.len() <= at {
            self.heads.resize(at + 1, NO_WATCH);
        }
        if self.heads[at] != NO_WATCH {
            return;
        }
        for bound in &self.rules {
            let concerns = bound.rule.tag == tag_name
                && bound.assets.iter().any(|pattern| pattern.matches(asset_name));
            if concerns {
                let mut watch = Watch::new(bound.id, &bound.rule, asset);
                watch.next = std::mem::replace(&mut self.heads[at], index(self.watches.len()));
                self.watches.push(watch);
            }
        }
    }

    /// Takes over what `old` remembers of the rules that still look at the same tag in the same
    /// way, whatever their limits are now. Attach every known tag before it.
    pub fn inherit(&mut self, mut old: Self) {
        for (at, head) in old.heads.iter().enumerate() {
            let mut from = *head;
            while let Some(watch) = old.watches.get_mut(from as usize) {
                from = watch.next;
                let mut to = self.heads.get(at).copied().unwrap_or(NO_WATCH);
                while let Some(heir) = self.watches.get_mut(to as usize) {
                    let deadline = heir.inherit(watch);
                    self.deadlines.extend(deadline.map(|deadline| Reverse((deadline, to))));
                    to = heir.next;
                }
            }
        }
    }

    /// From `now` on the tag is missed when it stays silent, although no sample has come yet.
    pub fn expect(&mut self, tag: TagId, now: Timestamp) {
        let mut at = self.heads.get(tag.0 as usize).copied().unwrap_or(NO_WATCH);
        while let Some(watch) = self.watches.get_mut(at as usize) {
            self.deadlines.extend(watch.arm(now).map(|deadline| Reverse((deadline, at))));
            at = watch.next;
        }
    }

    /// The daemon was away, or has fed itself from the store: nobody could be heard until
    /// `now`, so every silence is counted from here. Gives the rules that go by this clock; it may
    /// say less than in the life before.
    pub fn resume(&mut self, now: Timestamp) -> Vec<PredictionId> {
        let resumed = each(&mut self.watches, |watch| watch.resume(now));
        let heard = |(watch, at): (&Watch, u32)| Some(Reverse((watch.deadline()?, at)));
        self.deadlines = self.watches.iter().zip(0..).filter_map(heard).collect();
        resumed
    }

    /// Takes a sample that came in at `arrived`. Each rule on its tag may say something.
    #[inline]
    pub fn observe(&mut self, sample: &Sample, arrived: Timestamp, out: &mut Vec<Verdict>) {
        match self.heads.get(sample.tag.0 as usize) {
            None | Some(&NO_WATCH) => {}
            Some(&head) => self.observe_watched(head, sample, arrived, out),
        }
    }

    /// When [`advance`](Self::advance) may have something to do.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.deadlines.peek().map(|Reverse((deadline, _))| *deadline)
    }

    /// Says what has become silent by `now`, and again for every further span of silence.
    pub fn advance(&mut self, now: Timestamp, out: &mut Vec<Verdict>) {
        while let Some(&Reverse((deadline, at))) = self.deadlines.peek()
            && deadline <= now
        {
            self.deadlines.pop();
            let next = self.watches[at as usize].miss(now, out);
            self.deadlines.push(Reverse((next, at)));
        }
    }

    /// The clock that tells arrivals was stepped by `nanos`: a silence is as long as it was. Gives
    /// the rules that go by this clock.
    pub fn stepped(&mut self, nanos: i64) -> Vec<PredictionId> {
        let moved = each(&mut self.watches, |watch| watch.stepped(nanos));
        let deadlines = std::mem::take(&mut self.deadlines);
        let stepped = |Reverse((deadline, at)): Reverse<(Timestamp, u32)>| {
            Reverse((deadline.stepped(nanos), at))
        };
        self.deadlines = deadlines.into_iter().map(stepped).collect();
        moved
    }

    fn observe_watched(
        &mut self,
        head: u32,
        sample: &Sample,
        arrived: Timestamp,
        out: &mut Vec<Verdict>,
    ) {
        if !sample.value.is_finite() {
            return;
        }
        let mut at = head;
        while let Some(watch) = self.watches.get_mut(at as usize) {
            self.deadlines.extend(watch.arm(arrived).map(|deadline| Reverse((deadline, at))));
            out.extend(watch.observe(sample, arrived));
            at = watch.next;
        }
    }
}

fn index(length: usize) -> u32 {
    u32::try_from(length).expect("fewer than 2^32 watches, as there are tags")
}

/// The rules that `change` names, each once.
fn each(
    watches: &mut [Watch],
    change: impl FnMut(&mut Watch) -> Option<PredictionId>,
) -> Vec<PredictionId> {
    let mut rules: Vec<PredictionId> = watches.iter_mut().filter_map(change).collect();
    rules.sort_unstable();
    rules.dedup();
    rules
}
