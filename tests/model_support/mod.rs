//! What the model tests share: the packages under `tests/data/models`, and copies of them to spoil.

#![expect(dead_code, reason = "each test target uses its own part")]
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::path::{Path, PathBuf};

use andon::asset::AssetId;
use andon::model::{Answers, Loaded, load};
use andon::sample::Quality;
use andon::settings::{Prediction, Settings};
use andon::time::Timestamp;
use andon::verdict::{PredictionId, Verdict};
use andon::window::{Point, Window};
use tokio::sync::mpsc;

pub(crate) fn models() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/models")
}

/// One `[[prediction]]` a TOML text; the text holds everything but the name.
pub(crate) fn settings(models: &Path, predictions: &[&str]) -> Settings {
    let mut settings = Settings::default();
    settings.runtime.models = models.to_owned();
    for (index, text) in predictions.iter().enumerate() {
        let text = format!("name = \"p{index}\"\nassets = [\"press-*\"]\n{text}");
        settings.prediction.push(toml::from_str::<Prediction>(&text).unwrap());
    }
    settings
}

pub(crate) fn loaded(predictions: &[&str]) -> Loaded {
    load(&settings(&models(), predictions)).unwrap_or_else(|errors| panic!("{}", join(&errors)))
}

pub(crate) fn errors(models: &Path, predictions: &[&str]) -> String {
    match load(&settings(models, predictions)) {
        Ok(_) => panic!("expected errors"),
        Err(errors) => join(&errors),
    }
}

fn join(errors: &[andon::model::LoadError]) -> String {
    errors.iter().map(|error| format!("{error}\n")).collect()
}

/// A repository with a copy of one model, to be changed.
pub(crate) struct Copy {
    pub(crate) models: tempfile::TempDir,
    name: String,
}

impl Copy {
    pub(crate) fn of(name: &str) -> Self {
        let copy = Self { models: tempfile::tempdir().unwrap(), name: name.into() };
        std::fs::create_dir_all(copy.file("")).unwrap();
        for file in ["model.onnx", "model.toml", "golden.json"] {
            std::fs::copy(models().join(name).join("1.0.0").join(file), copy.file(file)).unwrap();
        }
        copy
    }

    pub(crate) fn file(&self, file: &str) -> PathBuf {
        self.models.path().join(&self.name).join("1.0.0").join(file)
    }

    pub(crate) fn replace(&self, file: &str, from: &str, to: &str) {
        let text = std::fs::read_to_string(self.file(file)).unwrap();
        assert!(text.contains(from), "{file} has no `{from}`");
        std::fs::write(self.file(file), text.replacen(from, to, 1)).unwrap();
    }

    /// The errors, without the temporary folder.
    pub(crate) fn errors(&self, prediction: &str) -> String {
        let folder = format!("{}/", self.models.path().display());
        errors(self.models.path(), &[prediction]).replace(&folder, "")
    }
}

/// A count window of `values[tag][row]`, rows a second apart.
pub(crate) fn rows(prediction: u16, asset: u32, values: &[Vec<f64>]) -> Window {
    let times: Vec<_> = (0..).take(values[0].len()).map(Timestamp::from_secs).collect();
    let column = |values: &Vec<f64>| {
        let points = times.iter().zip(values);
        points
            .map(|(time, value)| Point { time: *time, value: *value, quality: Quality::Good })
            .collect()
    };
    Window {
        prediction: PredictionId(prediction),
        asset: AssetId(asset),
        start: times[0],
        end: *times.last().unwrap(),
        columns: values.iter().map(column).collect(),
        rows: times.clone(),
        arrived: Timestamp::from_secs(100),
    }
}

/// What a worker says, verdict by verdict.
pub(crate) struct Verdicts {
    messages: mpsc::Receiver<Answers>,
    taken: std::vec::IntoIter<Verdict>,
}

/// A worker's way out. Without room the worker stands still with the first verdicts it gives out,
/// until somebody takes them.
pub(crate) fn verdicts(room: usize) -> (mpsc::Sender<Answers>, Verdicts) {
    let (out, messages) = mpsc::channel(room.max(1));
    if room == 0 {
        out.try_send(Answers::default()).unwrap();
    }
    (out, Verdicts { messages, taken: Vec::new().into_iter() })
}

impl Verdicts {
    pub(crate) async fn recv(&mut self) -> Option<Verdict> {
        loop {
            match self.taken.next() {
                None => self.taken = self.messages.recv().await?.verdicts.into_iter(),
                verdict => return verdict,
            }
        }
    }

    pub(crate) fn blocking_recv(&mut self) -> Option<Verdict> {
        loop {
            match self.taken.next() {
                None => self.taken = self.messages.blocking_recv()?.verdicts.into_iter(),
                verdict => return verdict,
            }
        }
    }
}
