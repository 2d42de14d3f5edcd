//! After a start: alerts, windows and rules back to where the last life left them.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::mpsc;

use super::{TICK, Watch};
use crate::alert::AlertRecord;
use crate::clock::Steps;
use crate::frame::Frame;
use crate::model::Answers;
use crate::sample::Sample;
use crate::store::WindowMark;
use crate::time::Timestamp;
use crate::window::Mark;

/// Frames that wait for a model while the windows are rebuilt; from 256 on it would replace some.
const FRAMES_AHEAD: usize = 128;
/// An asset whose windows stand so far behind the others' of the same prediction has been silent:
/// the buffer is not read back that far for it.
const SILENT_FOR: Duration = Duration::from_secs(3600);
/// So much of the end is always read: an alert rule may not have seen what was acknowledged last,
/// and a broker repeats what it was not told of before the end.
const TAIL: Duration = Duration::from_secs(60);

impl Watch {
    /// Puts alerts, windows and rules back to where the last life left them.
    pub async fn restore(&mut self, answers: &mut mpsc::Receiver<Answers>) -> anyhow::Result<()> {
        self.know_all();
        self.steps = Steps::begin(self.store.was_ahead(Timestamp::now()).await?);
        self.inspector.clock_is_behind(self.steps.behind());
        for (key, state) in self.store.alert_states().await? {
            match serde_json::from_str::<AlertRecord>(&state) {
                Ok(record) if !self.looks_after(&key.asset, &key.prediction) => {
                    tracing::debug!(asset = record.asset, "An alert is another box's by now.");
                    self.keep_alert(&key.asset, &key.prediction, None, Timestamp::now());
                }
                Ok(record) => {
                    let asset = self.registry.intern_asset(&key.asset);
                    self.owes(&record);
                    self.book.restore(asset, &key.asset, record);
                }
                Err(error) => tracing::error!(
                    asset = key.asset,
                    prediction = key.prediction,
                    %error,
                    "A stored alert cannot be read; it starts anew."
                ),
            }
        }
        self.forget_untold().await?;
        for transition in self.book.withdraw(Timestamp::now()) {
            self.commit(&transition);
        }
        self.meters.set_alerts(self.book.counts());
        self.live.restored(self.book.active());
        self.recall_labels().await?;
        self.recall_pictures().await?;
        let frames = self.rebuild_windows().await?;
        self.ask_again(frames, answers).await;
        let now = Timestamp::now();
        let silences = self.rules.resume(now);
        let timed = self.timed_by_the_box(silences);
        self.book.resumed(&timed, now);
        self.expect_named(now);
        Ok(())
    }

    /// Feeds the stored samples to the windows; gives the frames of those that close.
    async fn rebuild_windows(&mut self) -> anyhow::Result<Vec<Frame>> {
        let marks = recent(self.store.load_marks().await?);
        let from = marks.iter().map(|mark| mark.start).min();
        for WindowMark { asset, prediction, start, end } in marks {
            let asset = self.registry.intern_asset(&asset);
            if let Ok(prediction) = self.prediction_id(&prediction) {
                self.windower.resume(Mark { asset, prediction, start, end });
            }
        }
        let store = self.store.clone();
        let mut frames = Vec::new();
        let rebuild =
            |samples: Vec<Sample>, received| self.rebuild(&samples, received, &mut frames);
        let fed = store.scan(from, TAIL, rebuild).await?;
        let from = from.map(tracing::field::display);
        tracing::info!(samples = fed, from, "The windows are rebuilt from the buffer.");
        Ok(frames)
    }

    /// Shows the models what the last life may have seen already: in order, and every frame.
    async fn ask_again(&mut self, frames: Vec<Frame>, answers: &mut mpsc::Receiver<Answers>) {
        for frame in frames {
            let model = self.predictions[usize::from(frame.prediction.0)].model.clone();
            while model.stats().waiting() >= FRAMES_AHEAD {
                if let Ok(Some(answers)) = tokio::time::timeout(TICK, answers.recv()).await {
                    self.judge_all(&answers);
                }
            }
            let _room_was_waited_for = model.submit(frame);
            while let Ok(answers) = answers.try_recv() {
                self.judge_all(&answers);
            }
        }
    }

    fn rebuild(&mut self, samples: &[Sample], received: Timestamp, frames: &mut Vec<Frame>) {
        for sample in samples {
            self.know(sample.tag);
            let mut sample = *sample;
            let _known = self.inspector.inspect(&mut sample, received);
            self.inspector.recall(&sample);
            self.live.note(&[sample], received);
            let _late = self.windower.insert(&sample, received);
            let seen = seen_at(&sample, received);
            self.rules.observe(&sample, seen, &mut self.ruled);
            self.judge_rules(seen);
            while let Some(frame) = self.next_frame() {
                frames.push(frame);
            }
        }
    }

    /// A rule on a named asset must notice silence even if the asset never speaks.
    pub(super) fn expect_named(&mut self, now: Timestamp) {
        let expected: Vec<(String, String)> =
            self.rules.expected().map(|(asset, tag)| (asset.to_owned(), tag.to_owned())).collect();
        for (asset, tag) in expected {
            if !self.shares.owns(&asset) {
                continue;
            }
            match self.registry.intern(&asset, &tag) {
                Ok(id) => {
                    self.know(id);
                    self.rules.expect(id, now);
                }
                Err(full) => {
                    tracing::error!(asset, tag, error = %full, "A silence rule has no tag.")
                }
            }
        }
    }
}

/// Rules see the past at its own time, or old silences would look like new readings; a time that is
/// far from its arrival says nothing of when that was.
fn seen_at(sample: &Sample, received: Timestamp) -> Timestamp {
    let off = sample.time.since(received).max(received.since(sample.time));
    if off <= TAIL { sample.time } else { received }
}

/// The marks of the assets that were speaking when the last life ended.
fn recent(marks: Vec<WindowMark>) -> Vec<WindowMark> {
    let mut newest: BTreeMap<String, Timestamp> = BTreeMap::new();
    for mark in &marks {
        let start = newest.entry(mark.prediction.clone()).or_insert(mark.start);
        *start = mark.start.max(*start);
    }
    let speaking = |mark: &WindowMark| newest[&mark.prediction].since(mark.start) <= SILENT_FOR;
    marks.into_iter().filter(speaking).collect()
}
