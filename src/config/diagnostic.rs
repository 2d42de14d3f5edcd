//! What is wrong, where, and what to write instead; as text for people and JSON for programs.

use std::fmt;

use serde_json::{Value, json};

/// An excerpt shows at most this many characters of its line.
const MAX_EXCERPT: usize = 120;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    Error,
    Warning,
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    pub severity: Severity,
    /// The file, or the environment variable that overrides it.
    pub file: String,
    /// From 1; 0 where there is no line: the variable's whole value, or a missing file.
    pub line: usize,
    /// From 1, in characters; 0 with line 0.
    pub column: usize,
    /// The setting: `prediction[0].alert.raise`; empty for the file as a whole.
    pub path: String,
    pub message: String,
    pub help: Option<String>,
    pub(super) excerpt: Option<Excerpt>,
}

/// The offending line and how many characters of it are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Excerpt {
    pub(super) line: String,
    pub(super) width: usize,
}

impl Diagnostic {
    #[must_use]
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Characters of the line that are meant.
    pub fn width(&self) -> usize {
        self.excerpt.as_ref().map_or(1, |excerpt| excerpt.width.max(1))
    }

    #[must_use]
    pub(super) fn without_excerpt(mut self) -> Self {
        self.excerpt = None;
        self
    }

    fn to_json(&self) -> Value {
        json!({
            "severity": self.severity.to_string(),
            "file": self.file,
            "line": self.line,
            "column": self.column,
            "path": self.path,
            "message": self.message,
            "help": self.help,
        })
    }

    fn order(&self) -> (bool, &str, usize, usize, &str, &str) {
        (self.line == 0, &self.file, self.line, self.column, &self.path, &self.message)
    }
}

/// `file:line:column: error: …`, the line with a caret under it, and the help.
impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if self.line > 0 {
            write!(f, ":{}:{}", self.line, self.column)?;
        }
        writeln!(f, ": {}: {}", self.severity, self.message)?;
        if let Some(excerpt) = &self.excerpt {
            let (line, column) = excerpt.clipped(self.column.max(1));
            let number = if self.line > 0 { self.line.to_string() } else { String::new() };
            let rest = line.chars().count().saturating_sub(column - 1).max(1);
            let carets = "^".repeat(excerpt.width.clamp(1, rest));
            writeln!(f, "{number:>5} | {line}")?;
            writeln!(f, "      | {}{carets}", " ".repeat(column - 1))?;
        }
        if let Some(help) = &self.help {
            writeln!(f, "      help: {help}")?;
        }
        Ok(())
    }
}

impl Excerpt {
    /// The part of the line around `column`, and the column in it. Tabs and other controls
    /// become spaces, so that the caret stands where it should.
    fn clipped(&self, column: usize) -> (String, usize) {
        let clean = |c: char| if c.is_control() { ' ' } else { c };
        let skip = if column > MAX_EXCERPT / 2 && self.line.chars().count() > MAX_EXCERPT {
            column - MAX_EXCERPT / 2
        } else {
            0
        };
        let line: String = self.line.chars().skip(skip).take(MAX_EXCERPT).map(clean).collect();
        (line.trim_end().to_owned(), column - skip)
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
        })
    }
}

/// Findings in the order of the file, environment variables last. Never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostics(Vec<Diagnostic>);

impl Diagnostics {
    /// `None` when there is nothing to tell.
    pub fn new(mut found: Vec<Diagnostic>) -> Option<Self> {
        found.sort_by(|a, b| a.order().cmp(&b.order()));
        found.dedup();
        (!found.is_empty()).then_some(Self(found))
    }

    pub(super) fn of(diagnostic: Diagnostic) -> Self {
        Self(vec![diagnostic])
    }

    /// With `more` sorted in.
    #[must_use]
    pub fn joined(mut self, more: Vec<Diagnostic>) -> Self {
        self.0.extend(more);
        self.0.sort_by(|a, b| a.order().cmp(&b.order()));
        self
    }

    pub fn iter(&self) -> std::slice::Iter<'_, Diagnostic> {
        self.0.iter()
    }

    pub fn into_vec(self) -> Vec<Diagnostic> {
        self.0
    }

    pub fn errors(&self) -> usize {
        self.0.iter().filter(|d| d.severity == Severity::Error).count()
    }

    pub fn warnings(&self) -> usize {
        self.0.len() - self.errors()
    }

    /// For `andon check --json`.
    pub fn to_json(&self) -> Value {
        json!({
            "errors": self.errors(),
            "warnings": self.warnings(),
            "diagnostics": self.0.iter().map(Diagnostic::to_json).collect::<Vec<_>>(),
        })
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for diagnostic in &self.0 {
            writeln!(f, "{diagnostic}")?;
        }
        match (self.errors(), self.warnings()) {
            (errors, 0) => f.write_str(&counted(errors, "error")),
            (0, warnings) => f.write_str(&counted(warnings, "warning")),
            (errors, warnings) => {
                write!(f, "{}, {}", counted(errors, "error"), counted(warnings, "warning"))
            }
        }
    }
}

impl std::error::Error for Diagnostics {}

impl<'a> IntoIterator for &'a Diagnostics {
    type Item = &'a Diagnostic;
    type IntoIter = std::slice::Iter<'a, Diagnostic>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

fn counted(n: usize, noun: &str) -> String {
    if n == 1 { format!("1 {noun}") } else { format!("{n} {noun}s") }
}
