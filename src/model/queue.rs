//! The queue before a model: the newest frame of an asset wins when the model cannot keep up, and
//! requests are taken when no frame waits.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use super::block::{Block, Blocks};
use super::service::Job;
use super::study::Inquiry;
use crate::frame::Frame;
use crate::snapshot::Fate;

/// Frames that wait before older ones give way. Beyond it the queue holds at most one more frame
/// an asset and prediction.
pub(super) const QUEUE_FRAMES: usize = 256;

/// Alerts that wait for their explanation; in a storm of them the others go without.
const INQUIRIES: usize = 64;

/// Pictures that wait before the oldest gives way, whatever its asset: so many…
const QUEUE_PICTURES: usize = 16;
/// …or so many bytes of them.
const QUEUE_PICTURE_BYTES: usize = 32 << 20;
/// Texts that wait before the oldest gives way, whatever its asset.
const QUEUE_TEXTS: usize = 256;

/// What became of a frame.
#[must_use = "a frame that is given up is counted"]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Submitted {
    Queued,
    /// Queued in the place of an older frame of the same asset and prediction, or of the oldest
    /// pictures or texts, which are gone.
    Replaced,
    /// The worker has stopped; the frame is gone.
    Stopped,
}

#[derive(Debug)]
pub(super) struct Queue {
    inner: Mutex<Inner>,
    filled: Condvar,
    drained: Condvar,
}

#[derive(Debug, Default)]
struct Inner {
    frames: Blocks,
    inquiries: VecDeque<(Inquiry, Instant)>,
    requests: VecDeque<Job>,
    /// The worker sleeps, and nobody has woken it yet: whoever finds it awake saves the call.
    sleeps: bool,
    /// Somebody waits for room.
    crowded: bool,
    closed: bool,
}

/// What the worker is to do next.
pub(super) enum Work {
    /// They are in the batch.
    Frames,
    /// No frame waits, and the verdicts that the worker holds go to whoever takes them.
    HandOver,
    /// No frame waits: an alert may be explained, which was asked for then.
    Inquiry(Inquiry, Instant),
    /// No frame waits, and what the worker has begun goes on.
    GoOn,
    /// Nothing of the daemon's own waits.
    Request(Job),
    /// Nothing waits, and the model is to be tended.
    Tend,
}

/// What a worker does when no frame waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Idle {
    /// It holds verdicts.
    Owes,
    /// It has begun something that goes on.
    Busy,
    /// It waits for work.
    Waits,
    /// It waits so long at most.
    Until(Instant),
}

impl Queue {
    /// For a model that is shown so many frames at once.
    pub(super) fn new(most: usize) -> Self {
        let inner = Inner { frames: Blocks::new(most), ..Inner::default() };
        Self { inner: Mutex::new(inner), filled: Condvar::new(), drained: Condvar::new() }
    }

    /// Never waits. `note` is told how many frames wait then, here and below: in the order in
    /// which it happens.
    pub(super) fn submit(&self, mut frame: Frame, note: impl Fn(usize)) -> Submitted {
        // Its memory goes back where it came from, after the lock.
        let mut values = std::mem::take(&mut frame.values);
        let mut inner = self.lock();
        if inner.closed {
            return Submitted::Stopped;
        }
        if let Some(picture) = &frame.picture {
            let many = if frame.spec.text.is_some() { QUEUE_TEXTS } else { QUEUE_PICTURES };
            let gone = inner.frames.make_room(many, picture.bytes.len(), QUEUE_PICTURE_BYTES);
            inner.frames.push(frame, &mut values);
            note(inner.frames.len());
            self.wake(inner);
            gone.iter().for_each(|picture| picture.end(Fate::Replaced));
            return if gone.is_empty() { Submitted::Queued } else { Submitted::Replaced };
        }
        let full = inner.frames.len() >= QUEUE_FRAMES;
        let older = if full { inner.frames.same(&frame) } else { None };
        let outcome = match older {
            Some((block, at)) => {
                block.replace(at, frame, &values);
                Submitted::Replaced
            }
            None => {
                inner.frames.push(frame, &mut values);
                Submitted::Queued
            }
        };
        note(inner.frames.len());
        self.wake(inner);
        outcome
    }

    /// Waits for room, so that nothing gives way.
    pub(super) fn submit_wait(&self, frame: Frame, note: impl Fn(usize)) -> Submitted {
        let mut inner = self.lock();
        while !inner.closed && inner.frames.len() >= QUEUE_FRAMES {
            inner.crowded = true;
            inner = self.drained.wait(inner).unwrap_or_else(PoisonError::into_inner);
        }
        drop(inner);
        self.submit(frame, note)
    }

    /// Never waits; gives the request back where `most` wait already, or nothing more comes in.
    pub(super) fn request(&self, job: Job, most: usize) -> Result<(), Job> {
        let mut inner = self.lock();
        if inner.closed || inner.requests.len() >= most {
            return Err(job);
        }
        inner.requests.push_back(job);
        self.wake(inner);
        Ok(())
    }

    /// Takes the requests out that wait next, as long as `joins` says so and no frame waits.
    pub(super) fn join(&self, mut joins: impl FnMut(&Job) -> bool) -> Vec<Job> {
        let mut inner = self.lock();
        let mut joined = Vec::new();
        while inner.frames.len() == 0 && inner.requests.front().is_some_and(&mut joins) {
            joined.extend(inner.requests.pop_front());
        }
        joined
    }

    pub(super) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// Asks for an explanation, which comes after all frames. Gives it back when too many wait.
    pub(super) fn inquire(&self, inquiry: Inquiry) -> Result<(), Inquiry> {
        let mut inner = self.lock();
        if inner.closed || inner.inquiries.len() >= INQUIRIES {
            return Err(inquiry);
        }
        inner.inquiries.push_back((inquiry, Instant::now()));
        self.wake(inner);
        Ok(())
    }

    /// Puts the oldest frames into `batch`, which is empty, as many as run together. Waits for work as
    /// `idle` says. Nothing when the queue is closed and empty, and the worker is neither busy nor owes.
    pub(super) fn take(&self, batch: &mut Block, idle: Idle, note: impl Fn(usize)) -> Option<Work> {
        let mut inner = self.lock();
        loop {
            if inner.frames.take(batch) {
                // Not at each: whoever waits for room then gets much of it at a time, and there is
                // still a batch meanwhile.
                let low = inner.frames.most().clamp(QUEUE_FRAMES / 8, QUEUE_FRAMES / 2);
                let drained = inner.crowded && inner.frames.len() <= low;
                inner.crowded &= !drained;
                note(inner.frames.len());
                drop(inner);
                if drained {
                    self.drained.notify_all();
                }
                return Some(Work::Frames);
            }
            match idle {
                Idle::Owes => return Some(Work::HandOver),
                Idle::Busy => return Some(Work::GoOn),
                _ => {}
            }
            if let Some((inquiry, asked)) = inner.inquiries.pop_front() {
                return Some(Work::Inquiry(inquiry, asked));
            }
            if let Some(job) = inner.requests.pop_front() {
                return Some(Work::Request(job));
            }
            if inner.closed {
                return None;
            }
            inner.sleeps = true;
            inner = match idle {
                Idle::Until(due) => {
                    let left = due.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        inner.sleeps = false;
                        return Some(Work::Tend);
                    }
                    let waited = self.filled.wait_timeout(inner, left);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
                _ => self.filled.wait(inner).unwrap_or_else(PoisonError::into_inner),
            };
            inner.sleeps = false;
        }
    }

    /// Frames that wait are still taken, and nothing more comes in. Requests are given up: the
    /// daemon's end does not wait for them.
    pub(super) fn close(&self) {
        let given_up = {
            let mut inner = self.lock();
            inner.closed = true;
            std::mem::take(&mut inner.requests)
        };
        drop(given_up);
        self.filled.notify_all();
        self.drained.notify_all();
    }

    /// What has been put in is there to be taken. The lock goes first: who wakes takes it.
    fn wake(&self, mut inner: MutexGuard<'_, Inner>) {
        let sleeps = std::mem::take(&mut inner.sleeps);
        drop(inner);
        if sleeps {
            self.filled.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::asset::AssetId;
    use crate::frame::{FrameSpec, complete};
    use crate::snapshot::{Kind, Snapshot};
    use crate::time::Timestamp;
    use crate::verdict::PredictionId;

    /// Fates by the second in which the picture came.
    type Ended = Arc<Mutex<Vec<(i64, Fate)>>>;

    fn frame(second: i64, bytes: usize, ended: &Ended) -> Frame {
        let input = "tensor = \"x\"\nlayout = \"image\"\n[image]\nwidth = 2\nheight = 2\n";
        let input = toml::from_str(input).unwrap();
        let window = toml::from_str("length = 1").unwrap();
        let spec = Arc::new(FrameSpec::new(&input, &complete(&window)).unwrap());
        let (arrived, ended) = (Timestamp::from_secs(second), Arc::clone(ended));
        let end = move |fate| ended.lock().unwrap().push((second, fate));
        let asset = "press-1".into();
        let picture = Snapshot::new(Kind::Picture, asset, arrived, vec![0; bytes].into(), end);
        let picture = picture.shared(1).remove(0);
        Frame::of_picture(PredictionId(0), AssetId(0), arrived, spec, picture)
    }

    #[test]
    fn the_oldest_pictures_give_way_to_the_newest_by_number_and_by_bytes() {
        let (queue, ended) = (Queue::new(8), Ended::default());
        for second in 0..16 {
            assert_eq!(queue.submit(frame(second, 1, &ended), |_| {}), Submitted::Queued);
        }
        assert_eq!(*ended.lock().unwrap(), []);
        assert_eq!(queue.submit(frame(16, 1, &ended), |_| {}), Submitted::Replaced);
        assert_eq!(*ended.lock().unwrap(), [(0, Fate::Replaced)]);
        let large = frame(17, QUEUE_PICTURE_BYTES - 2, &ended);
        assert_eq!(queue.submit(large, |length| assert_eq!(length, 3)), Submitted::Replaced);
        assert_eq!(ended.lock().unwrap().len(), 15);
    }

    #[test]
    fn what_is_no_picture_ends_when_it_is_to_be_developed() {
        let ended = Ended::default();
        assert!(!frame(1, 9, &ended).develop());
        let fates = ended.lock().unwrap().clone();
        assert!(matches!(&fates[..], [(1, Fate::Refused(why))] if why.contains("JPEG or PNG")));
    }
}
