//! The model card: `model.toml` beside the `.onnx`, checked as far as it can be without the graph.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Deserializer};

use super::locate;
use super::remote::RemoteSettings;
use crate::frame::{FrameSpec, InputSettings, Layout};
use crate::settings::{AlertPolicy, WindowSettings};

/// A whole card. `docs/model-card.md` is its reference.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Card {
    pub name: String,
    pub version: String,
    /// Empty where a server has the model, and none lies here.
    #[serde(default)]
    pub sha256: String,
    pub task: String,
    pub licence: String,
    pub description: String,
    pub input: InputSettings,
    pub window: WindowSettings,
    pub output: OutputSettings,
    #[serde(default)]
    pub decision: AlertPolicy,
    #[serde(default)]
    pub evaluation: toml::Table,
    pub reference: Reference,
    #[serde(default)]
    pub runtime: SessionSettings,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutputSettings {
    /// Name of the graph's output.
    pub tensor: String,
    pub kind: OutputKind,
    #[serde(default)]
    pub labels: Vec<String>,
    /// The label that asks for an alert; of probabilities also several, which are added up.
    #[serde(default, deserialize_with = "one_or_several")]
    pub positive: Vec<String>,
    pub unit: Option<String>,
    pub column: Option<usize>,
    /// Another output of the graph, which says of a picture how bad each place is.
    pub map: Option<String>,
    /// Plausible scores, both ends included.
    pub range: Option<[f64; 2]>,
}

fn one_or_several<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "expected a label or a list of labels")]
    enum Written {
        One(String),
        Several(Vec<String>),
    }
    Ok(match Written::deserialize(from)? {
        Written::One(label) => vec![label],
        Written::Several(labels) => labels,
    })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OutputKind {
    Probability,
    Class,
    Value,
    Reconstruction,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reference {
    /// File beside the card.
    pub golden: String,
    #[serde(default = "tolerance")]
    pub tolerance: f64,
    /// File beside the card: what the model sees ordinarily, to explain alerts against.
    pub background: Option<String>,
}

fn tolerance() -> f64 {
    1e-5
}

#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SessionSettings {
    /// Tried in this order: `tensorrt`, `cuda`, `openvino`, `cpu`.
    pub devices: Vec<String>,
    /// Only the first device will do.
    pub strict: bool,
    pub max_batch: usize,
    pub threads: usize,
    #[serde(with = "humantime_serde")]
    pub deadline: Duration,
    /// A server runs the model.
    pub remote: Option<RemoteSettings>,
}

impl Default for SessionSettings {
    fn default() -> Self {
        Self {
            devices: vec!["cpu".into()],
            strict: false,
            max_batch: 64,
            threads: 1,
            deadline: Duration::from_secs(1),
            remote: None,
        }
    }
}

/// One thing that is wrong with a card.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct CardError {
    pub file: PathBuf,
    /// Dotted path: `input.tag[2].std`. Empty for an error of the TOML itself.
    pub key: String,
    /// Line and column, counted from 1, where the key or its section is found.
    pub place: Option<(usize, usize)>,
    pub message: String,
}

impl fmt::Display for CardError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some((line, column)) = self.place {
            write!(f, ":{line}:{column}")?;
        }
        if !self.key.is_empty() {
            write!(f, ": {}", self.key)?;
        }
        write!(f, ": {}", self.message)
    }
}

impl Card {
    /// Reads and checks a card; `file` is for the errors.
    pub fn parse(file: &Path, text: &str) -> Result<Self, Vec<CardError>> {
        let error =
            |key: String, place, message| CardError { file: file.to_owned(), key, place, message };
        let card: Self = toml::Deserializer::parse(text)
            .map_err(|fault| (String::new(), fault))
            .and_then(|toml| {
                serde_path_to_error::deserialize(toml)
                    .map_err(|fault| (fault.path().to_string(), fault.into_inner()))
            })
            .map_err(|(path, fault)| {
                let place = fault.span().map(|span| locate::line_and_column(text, span.start));
                let key = if path == "." { String::new() } else { path };
                vec![error(key, place, fault.message().to_owned())]
            })?;
        let problems = card.problems();
        if problems.is_empty() {
            return Ok(card);
        }
        let located = |(key, message): (String, String)| {
            let place = locate::key(text, &key);
            error(key, place, message)
        };
        Err(problems.into_iter().map(located).collect())
    }

    /// A `model.onnx` lies beside the card, and is used.
    pub fn has_graph(&self) -> bool {
        self.runtime.remote.as_ref().is_none_or(|remote| remote.fallback)
    }

    fn problems(&self) -> Vec<(String, String)> {
        let mut problems = Vec::new();
        let mut add = |key: &str, message: String| problems.push((key.to_owned(), message));
        for (key, value) in [("name", &self.name), ("version", &self.version)] {
            let plain = |c: char| c.is_ascii_alphanumeric() || "-_.+".contains(c);
            if value.is_empty() || value.starts_with('.') || !value.chars().all(plain) {
                let message = format!("`{value}` is not a folder name of letters, digits and -_.+");
                add(key, message);
            }
        }
        let hash = self.sha256.len() == 64 && self.sha256.bytes().all(|b| b.is_ascii_hexdigit());
        if !self.has_graph() {
            if !self.sha256.is_empty() {
                let message = "goes with a model.onnx, and the server has the model: leave it out, \
                               or write runtime.remote.fallback = true";
                add("sha256", message.into());
            }
        } else if !hash {
            add("sha256", "expected 64 hexadecimal digits: `sha256sum model.onnx`".into());
        }
        if let Err(errors) = FrameSpec::new(&self.input, &self.window) {
            for error in errors {
                add(&error.key, error.message);
            }
        }
        self.output.check(&mut add);
        if self.input.layout == Layout::Text {
            if self.output.kind == OutputKind::Reconstruction {
                add(
                    "output.kind",
                    "a text is not reconstructed; write probability, class or value".into(),
                );
            }
            if self.reference.background.is_some() {
                let message = "a text is explained by its own words; leave it out";
                add("reference.background", message.into());
            }
        }
        if self.output.map.is_some() {
            if self.input.layout != Layout::Image {
                add("output.map", "goes with layout `image`; leave it out".into());
            } else if self.runtime.remote.is_some() {
                add("output.map", "is not read of a server's model; leave it out".into());
            }
        }
        check_decision(&self.decision, &mut add);
        if self.reference.golden.contains(['/', '\\']) || self.reference.golden.is_empty() {
            add("reference.golden", "expected a file name beside the card".into());
        }
        let background = self.reference.background.as_deref();
        if background.is_some_and(|file| file.contains(['/', '\\']) || file.is_empty()) {
            add("reference.background", "expected a file name beside the card".into());
        }
        if !(self.reference.tolerance >= 0.0 && self.reference.tolerance.is_finite()) {
            add("reference.tolerance", "expected a number from 0, such as 1e-5".into());
        }
        self.runtime.check(&mut add);
        problems
    }
}

impl OutputSettings {
    fn check(&self, add: &mut impl FnMut(&str, String)) {
        let names_classes = matches!(self.kind, OutputKind::Probability | OutputKind::Class);
        let labels = self.labels.join(", ");
        if !self.positive.iter().all(|label| self.labels.contains(label)) {
            add("output.positive", format!("write one of the labels: {labels}"));
        } else if self
            .positive
            .iter()
            .enumerate()
            .any(|(at, label)| self.positive[..at].contains(label))
        {
            add("output.positive", "write each label once".into());
        } else if self.positive.len() > 1 && self.positive.len() == self.labels.len() {
            add("output.positive", format!("leave at least one out of the labels: {labels}"));
        }
        if names_classes && self.positive.is_empty() && self.labels.len() > 1 {
            add("output.positive", "missing; write the label that asks for an alert".into());
        }
        if self.kind == OutputKind::Class && self.labels.is_empty() {
            add("output.labels", "missing; write the classes in the model's order".into());
        }
        if !names_classes && (!self.labels.is_empty() || !self.positive.is_empty()) {
            add("output.labels", "only probability and class have labels; leave them out".into());
        }
        if self.column.is_some() && self.kind != OutputKind::Value {
            add("output.column", "goes with `value`; write `positive` for probabilities".into());
        }
        if let Some([low, high]) = self.range
            && (low.is_nan() || high.is_nan() || low >= high)
        {
            add("output.range", "expected [lowest, highest]".into());
        }
    }
}

impl SessionSettings {
    pub(super) fn check(&self, add: &mut impl FnMut(&str, String)) {
        if let Some(message) = unknown_devices(&self.devices) {
            add("runtime.devices", message);
        }
        for (key, value) in
            [("runtime.max_batch", self.max_batch), ("runtime.threads", self.threads)]
        {
            if !(1..=4096).contains(&value) {
                add(key, format!("{value} is not between 1 and 4096"));
            }
        }
        if let Some(remote) = &self.remote {
            remote.check(self.deadline, add);
        }
    }
}

pub(super) const DEVICES: [&str; 4] = ["tensorrt", "cuda", "openvino", "cpu"];

/// What is wrong with a device chain, if anything.
pub(super) fn unknown_devices(devices: &[String]) -> Option<String> {
    if devices.is_empty() {
        return Some("empty; write [\"cpu\"]".into());
    }
    let unknown = devices.iter().find(|device| !DEVICES.contains(&device.as_str()))?;
    Some(format!("`{unknown}` is unknown; write some of {}", DEVICES.join(", ")))
}

fn check_decision(policy: &AlertPolicy, add: &mut impl FnMut(&str, String)) {
    for (key, message) in policy_problems(policy) {
        add(&format!("decision.{key}"), message);
    }
}

/// What cannot be right in an alert rule.
pub(super) fn policy_problems(policy: &AlertPolicy) -> Vec<(&'static str, String)> {
    use crate::settings::Direction;
    let mut problems = Vec::new();
    if policy.raise.is_some_and(|raise| !raise.is_finite()) {
        problems.push(("raise", "must be a finite number".into()));
    }
    if let (Some(raise), Some(clear)) = (policy.raise, policy.clear) {
        match policy.direction.unwrap_or_default() {
            Direction::Above if clear > raise => problems.push((
                "clear",
                format!("{clear} is above raise ({raise}); write {raise} or less"),
            )),
            Direction::Below if clear < raise => problems.push((
                "clear",
                format!("{clear} is below raise ({raise}); write {raise} or more"),
            )),
            _ => {}
        }
    }
    let (n, m) = (policy.n.unwrap_or(1), policy.m.or(policy.n).unwrap_or(1));
    if n == 0 || n > m {
        problems.push(("n", format!("{n} of {m} cannot be; write n from 1 to m")));
    }
    if policy.severity.is_some_and(|severity| !(1..=1000).contains(&severity)) {
        problems.push(("severity", "expected 1 to 1000".into()));
    }
    problems
}

#[cfg(test)]
mod tests;
