//! The queue before a model: the newest frame of an asset wins when the model cannot keep up, and
//! requests are taken when no frame waits.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use super::engine::Inquiry;
use super::service::Job;
use crate::frame::Frame;

/// Frames that wait before older ones give way. Beyond it the queue holds at most one more frame
/// an asset and prediction.
pub(super) const QUEUE_FRAMES: usize = 256;

/// Alerts that wait for their explanation; in a storm of them the others go without.
const INQUIRIES: usize = 64;

/// What became of a frame.
#[must_use = "a frame that is given up is counted"]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Submitted {
    Queued,
    /// Queued in the place of an older frame of the same asset and prediction, which is gone.
    Replaced,
    /// The worker has stopped; the frame is gone.
    Stopped,
}

#[derive(Debug, Default)]
pub(super) struct Queue {
    inner: Mutex<Inner>,
    filled: Condvar,
    drained: Condvar,
}

#[derive(Debug, Default)]
struct Inner {
    frames: VecDeque<Frame>,
    inquiries: VecDeque<(Inquiry, Instant)>,
    requests: VecDeque<Job>,
    closed: bool,
}

/// What the worker is to do next.
pub(super) enum Work {
    /// They are in the batch.
    Frames,
    /// No frame waits: an alert may be explained, which was asked for then.
    Inquiry(Inquiry, Instant),
    /// No frame waits, and what the worker has begun goes on.
    GoOn,
    /// Nothing of the daemon's own waits.
    Request(Job),
}

impl Queue {
    /// Never waits. `note` is told how many frames wait then, here and below: in the order in
    /// which it happens.
    pub(super) fn submit(&self, frame: Frame, note: impl Fn(usize)) -> Submitted {
        let mut inner = self.lock();
        if inner.closed {
            return Submitted::Stopped;
        }
        let same =
            |older: &&mut Frame| older.asset == frame.asset && older.prediction == frame.prediction;
        let outcome = if inner.frames.len() < QUEUE_FRAMES {
            inner.frames.push_back(frame);
            Submitted::Queued
        } else if let Some(older) = inner.frames.iter_mut().find(same) {
            *older = frame;
            Submitted::Replaced
        } else {
            inner.frames.push_back(frame);
            Submitted::Queued
        };
        self.filled.notify_one();
        note(inner.frames.len());
        outcome
    }

    /// Waits for room, so that nothing gives way.
    pub(super) fn submit_wait(&self, frame: Frame, note: impl Fn(usize)) -> Submitted {
        let mut inner = self.lock();
        while !inner.closed && inner.frames.len() >= QUEUE_FRAMES {
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
        self.filled.notify_one();
        Ok(())
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
        self.filled.notify_one();
        Ok(())
    }

    /// Moves up to `most` frames into `batch`, oldest first. Waits for work unless the worker is
    /// `busy`. Nothing when the queue is closed and empty, and the worker is not busy.
    pub(super) fn take(
        &self,
        most: usize,
        batch: &mut Vec<Frame>,
        busy: bool,
        note: impl Fn(usize),
    ) -> Option<Work> {
        let mut inner = self.lock();
        loop {
            if !inner.frames.is_empty() {
                let count = most.min(inner.frames.len());
                batch.extend(inner.frames.drain(..count));
                self.drained.notify_all();
                note(inner.frames.len());
                return Some(Work::Frames);
            }
            if busy {
                return Some(Work::GoOn);
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
            inner = self.filled.wait(inner).unwrap_or_else(PoisonError::into_inner);
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

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
