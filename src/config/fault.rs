//! Why reading stopped: the problem, with the path to it from the leaf up.
//!
//! serde would make a sentence of it at once; here it stays in parts, for
//! [`wording`](super::wording) to say in people's words.

use std::fmt;

use serde::de::{self, Expected, Unexpected};

use super::path;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Key(String),
    Index(usize),
}

/// Why a node is not what was asked for, and where it is.
#[derive(Debug)]
pub(super) struct Fault {
    /// From the leaf up.
    steps: Vec<Step>,
    pub(super) problem: Problem,
}

#[derive(Debug)]
pub(super) enum Problem {
    /// Not `expected`, in serde's words.
    Unexpected(String),
    UnknownSetting(&'static [&'static str]),
    UnknownWord {
        word: String,
        allowed: &'static [&'static str],
    },
    Missing(&'static str),
    Other(String),
}

impl Fault {
    pub(super) fn new(problem: Problem) -> Self {
        Self { steps: Vec::new(), problem }
    }

    pub(super) fn inside(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }

    /// From the root down.
    pub(super) fn steps(&self) -> Vec<Step> {
        self.steps.iter().rev().cloned().collect()
    }
}

pub(super) fn path_text(steps: &[Step]) -> String {
    steps.iter().fold(String::new(), |parent, step| match step {
        Step::Key(key) => path::child(&parent, key),
        Step::Index(index) => path::element(&parent, *index),
    })
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} at {}", self.problem, path_text(&self.steps()))
    }
}

impl std::error::Error for Fault {}

impl de::Error for Fault {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(Problem::Other(message.to_string()))
    }

    fn invalid_type(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new(Problem::Unexpected(expected.to_string()))
    }

    fn invalid_value(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new(Problem::Unexpected(expected.to_string()))
    }

    fn invalid_length(_: usize, expected: &dyn Expected) -> Self {
        Self::new(Problem::Unexpected(expected.to_string()))
    }

    fn unknown_variant(word: &str, allowed: &'static [&'static str]) -> Self {
        Self::new(Problem::UnknownWord { word: word.to_owned(), allowed })
    }

    fn unknown_field(_: &str, allowed: &'static [&'static str]) -> Self {
        Self::new(Problem::UnknownSetting(allowed))
    }

    fn missing_field(field: &'static str) -> Self {
        Self::new(Problem::Missing(field))
    }
}
