//! The way out of a model's thread. To wake whoever takes the verdicts is a call to the kernel, and
//! costs more than a small model: while frames wait, the verdicts of quick batches go together.

use std::time::Duration;

use tokio::sync::mpsc;

use crate::frame::Frame;
use crate::verdict::Verdict;

/// No verdict is held longer, as far as the last batch lets foresee.
const HOLD: Duration = Duration::from_millis(2);
/// So many go in any case.
const HELD: usize = 256;

/// What a model's thread hands over.
#[derive(Debug, Default)]
pub struct Answers {
    /// In the order of their frames.
    pub verdicts: Vec<Verdict>,
    /// Frames that are done with. They were made where this is taken: memory that goes back in the
    /// thread it came from goes without a lock.
    pub spent: Vec<Frame>,
}

impl Answers {
    fn len(&self) -> usize {
        self.verdicts.len().max(self.spent.len())
    }
}

pub(super) struct Outbox {
    out: mpsc::Sender<Answers>,
    held: Answers,
    /// How long the batches ran since the first of the held ones came.
    waited: Duration,
}

impl Outbox {
    pub(super) fn new(out: mpsc::Sender<Answers>) -> Self {
        Self { out, held: Answers::default(), waited: Duration::ZERO }
    }

    /// What has come of a batch that ran so long. It goes when another as long would keep the first
    /// of what is held too long, or with [`flush`](Self::flush). False when nobody takes it. Blocks
    /// where there is no room.
    pub(super) fn put(
        &mut self,
        verdicts: impl Iterator<Item = Verdict>,
        spent: impl Iterator<Item = Frame>,
        took: Duration,
    ) -> bool {
        self.waited = if self.is_empty() { Duration::ZERO } else { self.waited + took };
        self.held.verdicts.extend(verdicts);
        self.held.spent.extend(spent);
        let goes = self.held.len() >= HELD || self.waited + took >= HOLD;
        !goes || self.flush()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.held.len() == 0
    }

    /// False when nobody takes it. Blocks where there is no room.
    pub(super) fn flush(&mut self) -> bool {
        // As many come again, most likely: the room for them is made once.
        let next = Answers {
            verdicts: Vec::with_capacity(self.held.verdicts.len()),
            spent: Vec::with_capacity(self.held.spent.len()),
        };
        let held = std::mem::replace(&mut self.held, next);
        held.len() == 0 || self.out.blocking_send(held).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::asset::AssetId;
    use crate::frame::{FrameSpec, complete};
    use crate::time::Timestamp;
    use crate::verdict::{Evidence, PredictionId, Region};

    const EVIDENCE: Evidence = Evidence {
        start: Timestamp::from_secs(0),
        end: Timestamp::from_secs(1),
        samples: 1,
        coverage: 1.0,
    };

    fn verdicts(count: u32) -> impl Iterator<Item = Verdict> {
        (0..count).map(|asset| Verdict {
            prediction: PredictionId(0),
            asset: AssetId(asset),
            evidence: EVIDENCE,
            score: 0.0,
            label: None,
            contributions: Vec::new(),
            region: None,
            subject: None,
            model: None,
            arrived: EVIDENCE.end,
        })
    }

    fn frames(count: u32) -> impl Iterator<Item = Frame> {
        let input = "tensor = \"x\"\nlayout = \"latest\"\ntag = [{ name = \"a\", mean = 0.0 }]";
        let input = toml::from_str(input).unwrap();
        let window = toml::from_str("length = 1").unwrap();
        let spec = Arc::new(FrameSpec::new(&input, &complete(&window)).unwrap());
        (0..count).map(move |asset| Frame {
            prediction: PredictionId(0),
            asset: AssetId(asset),
            evidence: EVIDENCE,
            values: vec![0.0],
            text: None,
            latest: Vec::new(),
            arrived: EVIDENCE.end,
            spec: Arc::clone(&spec),
            picture: None,
            shown: Region::WHOLE,
            decoded: None,
        })
    }

    /// Batches of `count` that take so many microseconds each; how many are held after each.
    fn held(count: u32, batches: &[u64]) -> (Vec<usize>, mpsc::Receiver<Answers>) {
        let (out, taken) = mpsc::channel(batches.len());
        let mut outbox = Outbox::new(out);
        let mut after = |micros: &u64| {
            assert!(outbox.put(verdicts(count), frames(count), Duration::from_micros(*micros)));
            assert_eq!(outbox.held.spent.len(), outbox.held.verdicts.len());
            outbox.held.len()
        };
        (batches.iter().map(&mut after).collect(), taken)
    }

    #[test]
    fn verdicts_of_quick_batches_go_together_and_none_is_held_long() {
        let (after, mut taken) = held(2, &[600; 8]);
        assert_eq!(after, [2, 4, 6, 0, 2, 4, 6, 0]);
        let sizes: Vec<_> = std::iter::from_fn(|| taken.try_recv().ok()).map(|a| a.len()).collect();
        assert_eq!(sizes, [8, 8]);
    }

    #[test]
    fn verdicts_of_slow_batches_go_at_once_and_many_do_in_any_case() {
        assert_eq!(held(1, &[2_000, 40_000]).0, [0, 0]);
        assert_eq!(held(128, &[1; 4]).0, [128, 0, 128, 0]);
        assert_eq!(held(300, &[1]).0, [0]);
    }

    #[test]
    fn what_is_held_goes_when_asked_and_whoever_is_gone_is_noticed() {
        let (out, mut taken) = mpsc::channel(1);
        let mut outbox = Outbox::new(out);
        assert!(outbox.put(verdicts(3), frames(3), Duration::ZERO) && !outbox.is_empty());
        assert!(outbox.flush() && outbox.is_empty());
        let assets: Vec<_> = taken.try_recv().unwrap().verdicts.iter().map(|v| v.asset.0).collect();
        assert_eq!(assets, [0, 1, 2]);
        assert!(outbox.flush(), "nothing is held, so nobody is missed");
        drop(taken);
        // A sick model's frames, without verdicts.
        assert!(outbox.put(verdicts(0), frames(1), Duration::ZERO) && !outbox.flush());
    }
}
