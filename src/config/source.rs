//! Where each setting stands: in the file, by line and column, or in an environment variable.

use std::collections::BTreeMap;
use std::ops::Range;

use super::diagnostic::{Diagnostic, Excerpt, Severity};
use super::path;

/// The files' texts with a place for every setting. Later checks point with it.
#[derive(Clone, Debug)]
pub struct Source {
    /// The main file, then its drop-ins. Never empty.
    sheets: Vec<Sheet>,
    /// The one that is being read.
    current: usize,
    spots: BTreeMap<String, Placed>,
    variables: BTreeMap<String, Variable>,
    /// Settings that stand in a register map.
    cells: BTreeMap<String, Cell>,
}

/// A setting's place in one of the files.
#[derive(Clone, Debug)]
struct Placed {
    sheet: usize,
    spot: Spot,
}

/// A position that a person can go to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file, or an environment variable's name.
    pub file: String,
    /// From 1; 0 for an environment variable.
    pub line: usize,
    /// From 1, in characters; 0 for an environment variable.
    pub column: usize,
}

/// One file as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sheet {
    pub file: String,
    pub text: String,
    /// Byte offset of each line's start.
    lines: Vec<usize>,
}

#[derive(Clone, Debug)]
pub(super) struct Spot {
    /// Absent for elements of an array.
    pub(super) key: Option<Range<usize>>,
    /// The value; of a table its header.
    pub(super) value: Range<usize>,
}

#[derive(Clone, Debug)]
pub(super) struct Variable {
    pub(super) name: String,
    pub(super) value: String,
}

/// Where a setting stands in another file.
#[derive(Clone, Debug)]
pub(super) struct Cell {
    pub(super) place: Place,
    /// The whole line.
    pub(super) line: String,
    /// Characters that are meant.
    pub(super) width: usize,
}

enum Found<'a> {
    Cell(&'a Cell),
    Span(usize, Range<usize>),
    Variable(&'a Variable),
    Nowhere,
}

impl Source {
    pub(super) fn new(file: &str, text: &str) -> Self {
        Self {
            sheets: vec![Sheet::new(file, text)],
            current: 0,
            spots: BTreeMap::new(),
            variables: BTreeMap::new(),
            cells: BTreeMap::new(),
        }
    }

    /// Where the setting `path` (`prediction[2].model`) stands, or where the table stands that
    /// lacks it.
    pub fn locate(&self, path: &str) -> Place {
        match self.find(path) {
            Found::Cell(cell) => cell.place.clone(),
            Found::Span(sheet, span) => self.sheets[sheet].place(&span),
            Found::Variable(variable) => Place { file: variable.name.clone(), line: 0, column: 0 },
            Found::Nowhere => Place { file: self.file().to_owned(), line: 1, column: 1 },
        }
    }

    /// `on line 7`, with the file where it is another than that of `from`.
    pub(super) fn line_of(&self, path: &str, from: &str) -> String {
        let (there, here) = (self.locate(path), self.locate(from));
        match there.file == here.file {
            true => format!("on line {}", there.line),
            false => format!("on line {} of {}", there.line, there.file),
        }
    }

    /// An error about the setting `path`; an empty path means the file as a whole.
    pub fn error(&self, path: &str, message: impl Into<String>) -> Diagnostic {
        self.diagnostic(Severity::Error, path, self.find(path), message.into())
    }

    /// A warning about the setting `path`.
    pub fn warning(&self, path: &str, message: impl Into<String>) -> Diagnostic {
        self.diagnostic(Severity::Warning, path, self.find(path), message.into())
    }

    /// Whether the setting is written, in the file or by the environment.
    pub fn has(&self, path: &str) -> bool {
        self.spots.contains_key(path)
            || self.variables.contains_key(path)
            || self.cells.contains_key(path)
    }

    /// The main file.
    pub fn file(&self) -> &str {
        &self.sheets[0].file
    }

    /// The main file and its drop-ins, as they were read.
    pub fn sheets(&self) -> &[Sheet] {
        &self.sheets
    }

    /// What is put from now on stands in another file.
    pub(super) fn turn_to(&mut self, file: &str, text: &str) {
        self.sheets.push(Sheet::new(file, text));
        self.current = self.sheets.len() - 1;
    }

    /// All files are read.
    pub(super) fn turn_back(&mut self) {
        self.current = 0;
    }

    /// An error about the key itself, not its value.
    pub(super) fn error_at_key(&self, path: &str, message: impl Into<String>) -> Diagnostic {
        let found = match (self.variables.get(path), self.spots.get(path)) {
            (None, Some(Placed { sheet, spot: Spot { key: Some(key), .. } })) => {
                Found::Span(*sheet, key.clone())
            }
            _ => self.find(path),
        };
        self.diagnostic(Severity::Error, path, found, message.into())
    }

    pub(super) fn error_at(
        &self,
        span: Range<usize>,
        path: &str,
        message: impl Into<String>,
    ) -> Diagnostic {
        self.diagnostic(Severity::Error, path, Found::Span(self.current, span), message.into())
    }

    pub(super) fn error_in_variable(
        &self,
        variable: &Variable,
        path: &str,
        message: impl Into<String>,
    ) -> Diagnostic {
        self.diagnostic(Severity::Error, path, Found::Variable(variable), message.into())
    }

    /// What another file said of the setting holds no longer.
    pub(super) fn put(&mut self, path: String, spot: Spot) {
        if self.current > 0 && self.spots.contains_key(&path) {
            self.spots.retain(|inner, _| !path::is_within(inner, &path));
        }
        self.spots.insert(path, Placed { sheet: self.current, spot });
    }

    /// For tables and lists that several files add to: the first one stays.
    pub(super) fn put_first(&mut self, path: String, spot: Spot) {
        let placed = Placed { sheet: self.current, spot };
        self.spots.entry(path).or_insert(placed);
    }

    pub(super) fn put_variable(&mut self, path: String, variable: Variable) {
        self.variables.insert(path, variable);
    }

    pub(super) fn put_cell(&mut self, path: String, cell: Cell) {
        self.cells.insert(path, cell);
    }

    /// The setting as it stands in the file.
    pub(super) fn written(&self, path: &str) -> &str {
        self.spots
            .get(path)
            .map_or("", |Placed { sheet, spot }| self.sheets[*sheet].of(&spot.value))
    }

    /// How many elements the array at `path` has in the file.
    pub(super) fn elements(&self, path: &str) -> usize {
        (0..).take_while(|index| self.spots.contains_key(&path::element(path, *index))).count()
    }

    /// The path of `parent`'s child whose name is `name` but for case and `-`.
    pub(super) fn child_like(&self, parent: &str, name: &str) -> Option<String> {
        let same = |key: &str| {
            key.len() == name.len()
                && key
                    .bytes()
                    .zip(name.bytes())
                    .all(|(a, b)| a.eq_ignore_ascii_case(&b) || (a == b'-' && b == b'_'))
        };
        let prefix = if parent.is_empty() { String::new() } else { format!("{parent}.") };
        self.spots
            .range(prefix.clone()..)
            .take_while(|(path, _)| path.starts_with(&prefix))
            .map(|(path, _)| path)
            .find(|path| path::is_bare(&path[prefix.len()..]) && same(&path[prefix.len()..]))
            .cloned()
    }

    fn find(&self, path: &str) -> Found<'_> {
        let mut at = Some(path);
        while let Some(path) = at {
            if let Some(variable) = self.variables.get(path) {
                return Found::Variable(variable);
            }
            if let Some(Placed { sheet, spot }) = self.spots.get(path) {
                return Found::Span(*sheet, spot.value.clone());
            }
            if let Some(cell) = self.cells.get(path) {
                return Found::Cell(cell);
            }
            if !path.is_empty()
                && let Some((_, variable)) =
                    self.variables.iter().find(|(inner, _)| path::is_within(inner, path))
            {
                return Found::Variable(variable);
            }
            at = path::parent(path);
        }
        Found::Nowhere
    }

    fn diagnostic(
        &self,
        severity: Severity,
        path: &str,
        found: Found<'_>,
        message: String,
    ) -> Diagnostic {
        let (place, excerpt) = match found {
            Found::Span(sheet, span) => {
                let sheet = &self.sheets[sheet];
                let place = sheet.place(&span);
                let line = sheet.line(place.line);
                let width = sheet.of(&span).lines().next().unwrap_or_default();
                let excerpt = Excerpt { line: line.to_owned(), width: width.chars().count() };
                (place, Some(excerpt))
            }
            Found::Cell(cell) => {
                let excerpt = Excerpt { line: cell.line.clone(), width: cell.width };
                (cell.place.clone(), Some(excerpt))
            }
            Found::Variable(variable) => {
                let line = format!("{}={}", variable.name, variable.value);
                let width = line.chars().count();
                let file = variable.name.clone();
                (Place { file, line: 0, column: 0 }, Some(Excerpt { line, width }))
            }
            Found::Nowhere => {
                let sheet = &self.sheets[self.current];
                let line = usize::from(!sheet.text.is_empty());
                (Place { file: sheet.file.clone(), line, column: line }, None)
            }
        };
        Diagnostic {
            severity,
            file: place.file,
            line: place.line,
            column: place.column,
            path: path.to_owned(),
            message,
            help: None,
            excerpt,
        }
    }
}

impl Sheet {
    pub(super) fn new(file: &str, text: &str) -> Self {
        let lines =
            std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { file: file.to_owned(), text: text.to_owned(), lines }
    }

    fn of(&self, span: &Range<usize>) -> &str {
        &self.text[self.within(span)]
    }

    fn place(&self, span: &Range<usize>) -> Place {
        let start = self.within(span).start;
        let line = self.lines.partition_point(|&line| line <= start);
        let column = self.text[self.lines[line - 1]..start].chars().count() + 1;
        Place { file: self.file.clone(), line, column }
    }

    fn line(&self, number: usize) -> &str {
        let start = self.lines[number - 1];
        self.text[start..].split(['\n']).next().unwrap_or_default().trim_end_matches('\r')
    }

    /// The span held inside the text and on character boundaries.
    fn within(&self, span: &Range<usize>) -> Range<usize> {
        let start = self.text.floor_char_boundary(span.start);
        let end = self.text.floor_char_boundary(span.end).max(start);
        start..end
    }
}
