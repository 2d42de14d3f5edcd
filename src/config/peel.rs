//! From the merged tree to typed settings, with every error and not only the first.
//!
//! Reading stops at its first fault. So the fault is written down, its cause is taken away (or a
//! stand-in put where something is missing) and reading starts again, until it passes. What was
//! taken away is *silenced*: later checks must not complain about its absence.

use std::collections::BTreeSet;

use serde::Deserialize as _;

use super::diagnostic::Diagnostic;
use super::fault::{Fault, Problem, Step, path_text};
use super::node::{Kind, Node};
use super::path;
use super::source::Source;
use super::wording;
use crate::settings::Settings;

/// Reading starts again this often at most; more errors than that are not read by anyone.
const MAX_ROUNDS: usize = 200;

/// Settings that decide what the others of their table have to be.
const DECISIVE: [&str; 3] = ["topic", "payload", "when"];

pub(super) struct Typed {
    /// Present when reading passed in the end, with whatever was left of the tree.
    pub(super) settings: Option<Settings>,
    pub(super) errors: Vec<Diagnostic>,
    pub(super) silenced: Silenced,
}

pub(super) fn deserialise(tree: Node, source: &Source) -> Typed {
    let mut peeler = Peeler { tree, source, errors: Vec::new(), silenced: Silenced::default() };
    for _ in 0..MAX_ROUNDS {
        match Settings::deserialize(&peeler.tree) {
            Ok(settings) => {
                let Peeler { errors, silenced, .. } = peeler;
                return Typed { settings: Some(settings), errors, silenced };
            }
            Err(fault) if peeler.peel(&fault) => {}
            Err(_) => break,
        }
    }
    let Peeler { mut errors, silenced, .. } = peeler;
    errors.push(source.warning("", "reading stopped at the errors below; there may be more"));
    Typed { settings: None, errors, silenced }
}

/// Paths that were unusable and have been reported.
#[derive(Default)]
pub(super) struct Silenced {
    paths: BTreeSet<String>,
    tables: BTreeSet<String>,
}

impl Silenced {
    fn add(&mut self, path: String) {
        if let Some(parent) = path::parent(&path)
            && DECISIVE.iter().any(|name| path::child(parent, name) == path)
        {
            self.tables.insert(parent.to_owned());
        }
        self.paths.insert(path);
    }

    /// Whether a finding about `path` would only be an echo.
    pub(super) fn covers(&self, path: &str) -> bool {
        self.paths.iter().any(|silent| {
            path::is_within(path, silent)
                || silent.strip_prefix(path).is_some_and(|rest| rest.starts_with('['))
        })
    }

    /// Whether `table` lacks a setting that says what its others have to be.
    pub(super) fn leaves_open(&self, table: &str) -> bool {
        self.tables.contains(table)
    }
}

struct Peeler<'a> {
    tree: Node,
    source: &'a Source,
    errors: Vec<Diagnostic>,
    silenced: Silenced,
}

impl Peeler<'_> {
    /// Reports the fault and takes its cause away; false when nothing more can be done.
    fn peel(&mut self, fault: &Fault) -> bool {
        let mut steps = fault.steps();
        let at = path_text(&steps);
        match &fault.problem {
            Problem::UnknownSetting(allowed) => {
                self.unknown(&steps, &at, allowed);
                self.take_away(&steps)
            }
            Problem::Missing(field) => {
                let missing = path::child(&at, field);
                if !self.silenced.covers(&missing) {
                    self.errors.push(wording::missing(self.source, &at, &missing, field));
                }
                self.silenced.add(missing);
                steps.push(Step::Key((*field).to_owned()));
                self.put_stand_in(&steps)
            }
            problem => {
                let Some(node) = self.tree.at(&steps) else {
                    return false;
                };
                if matches!(node.kind, Kind::StandIn(_)) {
                    return false;
                }
                self.errors.push(wording::unusable(self.source, &at, node, problem));
                self.silenced.add(at);
                self.take_away(&steps)
            }
        }
    }

    fn unknown(&mut self, steps: &[Step], at: &str, allowed: &'static [&'static str]) {
        let Some(Step::Key(key)) = steps.last() else {
            return;
        };
        let (diagnostic, meant) = wording::unknown_setting(self.source, at, key, allowed);
        self.errors.push(diagnostic);
        if let (Some(meant), Some(parent)) = (meant, path::parent(at)) {
            self.silenced.add(path::child(parent, meant));
        }
    }

    fn take_away(&mut self, steps: &[Step]) -> bool {
        let Some((last, parents)) = steps.split_last() else {
            return false;
        };
        let stand_in = self.stand_in();
        match (self.tree.at_mut(parents).map(|parent| &mut parent.kind), last) {
            (Some(Kind::Table(table)), Step::Key(key)) => table.remove(key).is_some(),
            // Elements keep their number.
            (Some(Kind::List(list)), Step::Index(index)) => {
                list[*index] = stand_in;
                true
            }
            // A list of the environment, one text in the tree.
            (Some(Kind::Text(_)), Step::Index(_)) => self.take_away(parents),
            _ => false,
        }
    }

    fn put_stand_in(&mut self, steps: &[Step]) -> bool {
        let Some((Step::Key(field), parents)) = steps.split_last() else {
            return false;
        };
        let stand_in = self.stand_in();
        let Some(parent) = self.tree.at_mut(parents) else {
            return false;
        };
        if matches!(parent.kind, Kind::StandIn(_)) {
            parent.kind = Kind::Table(Default::default());
        }
        match &mut parent.kind {
            Kind::Table(table) => table.insert(field.clone(), stand_in).is_none(),
            _ => false,
        }
    }

    fn stand_in(&self) -> Node {
        Node::stand_in(self.errors.len() + self.silenced.paths.len())
    }
}
