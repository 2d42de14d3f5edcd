//! Recorded samples through everything that the running daemon does to them, as fast as it goes:
//! inspection, windows, frames, models, rules and the alert book. No broker, no database, no
//! clock: `received` and `now` come with the samples. The same samples give the same transitions,
//! byte for byte, because each frame is asked about by itself and in order.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::alert::rules::RuleBook;
use crate::alert::{AlertBook, AlertSpec, Transition};
use crate::asset::AssetId;
use crate::frame::{self, Frame, Scratch};
use crate::model::{Engine, Inferred, Inquiry, Loaded, LoadedModel, LoadedPrediction};
use crate::quality::{Inspection, Inspector};
use crate::sample::Sample;
use crate::settings::{Extent, Settings};
use crate::tag::{Registry, TagId};
use crate::time::Timestamp;
use crate::verdict::{Explanation, PredictionId, Verdict};
use crate::watch;
use crate::window::{Admission, Windower};

/// How far back a rule on rows looks, for a warm-up: nobody knows how long a row takes.
const ROWS_MAY_TAKE: Duration = Duration::from_secs(3600);
const SHORTEST_WARM_UP: Duration = Duration::from_secs(60);
/// A row of a count window that stays incomplete is let go long before.
const PATIENCE: Duration = Duration::from_secs(86_400);

/// What became of the samples and windows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Counts {
    pub samples: u64,
    /// Repeats and impossible times, which the daemon refuses as well.
    pub refused: u64,
    pub late: u64,
    pub windows: u64,
    /// Windows not shown to a model: empty, stale or thin.
    pub unfit: u64,
    /// Answers that cannot be, such as NaN.
    pub unhealthy: u64,
    /// Windows lost to errors of the runtime.
    pub failed: u64,
}

pub struct Replay {
    registry: Arc<Registry>,
    inspector: Inspector,
    windower: Windower,
    rules: RuleBook,
    ruled: Vec<Verdict>,
    book: AlertBook,
    predictions: Vec<LoadedPrediction>,
    engines: Vec<Engine>,
    scratch: Scratch,
    known_tags: u32,
    assets: BTreeMap<AssetId, Arc<str>>,
    clock: Option<Timestamp>,
    counts: Counts,
}

impl Replay {
    /// `registry` numbers the samples' tags; it may grow while the replay goes on.
    pub fn new(settings: &Settings, loaded: Loaded, registry: Arc<Registry>) -> Self {
        let Loaded { predictions, models } = loaded;
        let about = |loaded: &LoadedPrediction| {
            AlertSpec::prediction(loaded.id, loaded.name.clone(), loaded.policy.clone())
        };
        let mut specs: Vec<AlertSpec> = predictions.iter().map(about).collect();
        let mut rules = Vec::new();
        for rule in &settings.rule {
            let id = PredictionId(u16::try_from(specs.len()).expect("fewer than 65,536 rules"));
            specs.push(AlertSpec::rule(id, rule));
            rules.push((id, rule.clone()));
        }
        Self {
            registry,
            inspector: Inspector::new(settings.tag.clone(), settings.limits.future),
            windower: Windower::new(predictions.iter().map(watch::window_spec).collect()),
            rules: RuleBook::new(rules),
            ruled: Vec::new(),
            book: AlertBook::new(&settings.site.name, specs),
            predictions,
            engines: models.into_iter().map(LoadedModel::engine).collect(),
            scratch: Scratch::default(),
            known_tags: 0,
            assets: BTreeMap::new(),
            clock: None,
            counts: Counts::default(),
        }
    }

    /// How long before a moment samples must begin, for the alerts from that moment on to be
    /// those of a daemon that had been running.
    pub fn warm_up(&self) -> Duration {
        let needs = |loaded: &LoadedPrediction| {
            let window = watch::window_spec(loaded);
            match (window.length, window.hop) {
                (Extent::Time(length), Extent::Time(hop)) => {
                    let back = u32::try_from(window.history).unwrap_or(u32::MAX);
                    length.saturating_add(hop.saturating_mul(back)).saturating_add(window.lateness)
                }
                _ => ROWS_MAY_TAKE,
            }
        };
        let windows = self.predictions.iter().map(needs).max().unwrap_or_default();
        windows.max(self.rules.memory()).max(SHORTEST_WARM_UP)
    }

    /// Takes samples that had come by `received`, in the order in which they count.
    pub fn feed(&mut self, samples: Vec<Sample>, received: Timestamp, out: &mut Vec<Transition>) {
        self.begin(received);
        for mut sample in samples {
            self.counts.samples += 1;
            self.know(sample.tag);
            if self.inspector.inspect(&mut sample, received) != Inspection::Accept {
                self.counts.refused += 1;
                continue;
            }
            let admission = self.windower.insert(&sample, received);
            self.counts.late += u64::from(admission == Admission::Late);
            self.rules.observe(&sample, received, &mut self.ruled);
            self.judge_rules(out);
            self.ask_models(out);
        }
    }

    /// Time goes on without samples: windows of silent assets close, silence is noticed.
    pub fn advance(&mut self, now: Timestamp, out: &mut Vec<Transition>) {
        self.begin(now);
        let due = [self.windower.next_deadline(), self.rules.next_deadline()];
        if due.into_iter().flatten().all(|deadline| deadline > now) {
            return;
        }
        self.windower.advance(now);
        self.ask_models(out);
        self.rules.advance(now, &mut self.ruled);
        self.judge_rules(out);
    }

    /// The recording is over: the windows that still stand open are let go. The end of a
    /// recording is no silence, so rules hear nothing of it.
    pub fn close(&mut self, out: &mut Vec<Transition>) {
        let Some(clock) = self.clock else { return };
        let lets_go = |loaded: &LoadedPrediction| {
            let window = watch::window_spec(loaded);
            let hop = if let Extent::Time(hop) = window.hop { hop } else { PATIENCE };
            hop.saturating_add(window.lateness)
        };
        let span = self.predictions.iter().map(lets_go).max().unwrap_or_default();
        self.windower.advance(clock.saturating_add(span));
        self.ask_models(out);
    }

    pub fn counts(&self) -> Counts {
        self.counts
    }

    fn begin(&mut self, now: Timestamp) {
        if self.clock.is_none() {
            let named = self.rules.expected().map(|(a, t)| (a.to_owned(), t.to_owned()));
            for (asset, tag) in named.collect::<Vec<_>>() {
                // Beyond the limit of tags the daemon does not expect it either.
                if let Ok(id) = self.registry.intern(&asset, &tag) {
                    self.know(id);
                    self.rules.expect(id, now);
                }
            }
        }
        self.clock = self.clock.max(Some(now));
    }

    fn know(&mut self, tag: TagId) {
        if tag.0 < self.known_tags {
            return;
        }
        for (id, info) in self.registry.tags_from(self.known_tags) {
            self.inspector.attach(id, &info.asset_name, &info.name);
            self.windower.attach(id, &info);
            self.rules.attach(id, info.asset, &info.asset_name, &info.name);
            self.assets.insert(info.asset, info.asset_name);
            self.known_tags = id.0 + 1;
        }
    }

    fn judge_rules(&mut self, out: &mut Vec<Transition>) {
        for verdict in std::mem::take(&mut self.ruled) {
            self.judge(&verdict, out);
        }
    }

    fn ask_models(&mut self, out: &mut Vec<Transition>) {
        while let Some(window) = self.windower.poll() {
            self.counts.windows += 1;
            let bound = &self.predictions[usize::from(window.prediction.0)];
            match frame::build(&bound.spec, &window, &mut self.scratch) {
                Ok(frame) => self.ask(frame, out),
                Err(_counted) => self.counts.unfit += 1,
            }
        }
    }

    fn ask(&mut self, frame: Frame, out: &mut Vec<Transition>) {
        let worker = self.predictions[usize::from(frame.prediction.0)].worker;
        match self.engines[worker].infer(&mut frame.into()) {
            Ok(Inferred { verdicts, wrong, .. }) => {
                self.counts.unhealthy += u64::from(wrong.is_some());
                for verdict in verdicts.into_iter().flatten() {
                    self.judge(&verdict, out);
                }
            }
            Err(error) => {
                self.counts.failed += 1;
                tracing::warn!(%error, "A window is lost.");
            }
        }
    }

    /// The reasons follow the raise at once: nobody waits for frames here.
    fn judge(&mut self, verdict: &Verdict, out: &mut Vec<Transition>) {
        let asset = self.assets.get(&verdict.asset).expect("only known assets have verdicts");
        let now = self.clock.unwrap_or_default();
        let Some(transition) = self.book.apply(verdict, asset, now) else { return };
        let inquiry =
            verdict.subject.as_ref().zip(verdict.model.as_ref()).map(|(subject, model)| {
                let bound = &self.predictions[usize::from(verdict.prediction.0)];
                let inquiry = Inquiry {
                    prediction: verdict.prediction,
                    asset: verdict.asset,
                    alert_id: transition.record.alert_id.clone(),
                    subject: Arc::clone(subject),
                    spec: Arc::clone(&bound.spec),
                    model: Arc::clone(model),
                };
                (bound.worker, inquiry)
            });
        let is_pending = transition.record.explanation == Explanation::Pending;
        out.push(transition);
        if let Some((worker, inquiry)) = inquiry.filter(|_| is_pending) {
            let explained = self.engines[worker].explain(inquiry);
            out.extend(self.book.explain(&explained, now));
        }
    }
}
