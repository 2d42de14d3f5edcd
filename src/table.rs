//! CSV files as tables of readings: one row a time of one asset, one column a tag.
//!
//! Every error says file, row and column. Rows are counted from 1 after the header.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::time::Timestamp;

/// Times of rows without a time column begin here: whole hours and days, and after 2000.
const FIRST: Timestamp = Timestamp::from_secs(946_684_800);

#[derive(Debug, thiserror::Error)]
pub enum TableError {
    #[error("{}: cannot be opened: {error}", file.display())]
    Unreadable { file: PathBuf, error: csv::Error },
    #[error("{}: no column `{column}`{}; the file has {}", file.display(), why, have.join(", "))]
    NoColumn { file: PathBuf, column: String, why: String, have: Vec<String> },
    #[error("{}: row {row}, column `{column}`: `{text}` is {problem}", file.display())]
    Cell { file: PathBuf, row: u64, column: String, text: String, problem: String },
    #[error("{}: row {row}: {error}", file.display())]
    Broken { file: PathBuf, row: u64, error: csv::Error },
    #[error("{}: holds no rows", file.display())]
    Empty { file: PathBuf },
}

/// What to read.
#[derive(Clone, Debug, Default)]
pub struct Columns {
    /// Tags, by the name that a column has or that is made of it; see [`plain_name`].
    pub tags: Vec<String>,
    /// Tag to column, where the names have nothing in common.
    pub renamed: BTreeMap<String, String>,
    /// Tag to the words of its cells: the first stands for 0, the next for 1.
    pub words: BTreeMap<String, Vec<String>>,
    pub label: Option<String>,
    /// Of texts, for a model that reads them.
    pub text: Option<String>,
    pub group: Option<String>,
    pub time: Option<String>,
    /// Between two rows of a group, where there is no time column.
    pub every: Duration,
}

/// One row. A reading that is absent or NaN is `None`.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// From 1.
    pub number: u64,
    pub group: Option<String>,
    pub time: Timestamp,
    /// In the order of [`Columns::tags`].
    pub values: Vec<Option<f64>>,
    /// Absent when the cell is empty.
    pub label: Option<String>,
    /// Present where texts are asked for.
    pub text: Option<String>,
}

/// A CSV file with its columns found.
pub struct Table {
    file: PathBuf,
    reader: csv::Reader<File>,
    record: csv::StringRecord,
    header: Vec<String>,
    columns: Columns,
    tags: Vec<usize>,
    label: Option<usize>,
    text: Option<usize>,
    group: Option<usize>,
    time: Option<usize>,
    row: u64,
    /// Rows of each group so far.
    counts: BTreeMap<Option<String>, u32>,
}

impl Table {
    pub fn open(file: &Path, columns: Columns) -> Result<Self, TableError> {
        let unreadable = |error| TableError::Unreadable { file: file.to_owned(), error };
        let mut reader =
            csv::ReaderBuilder::new().trim(csv::Trim::All).from_path(file).map_err(unreadable)?;
        let header: Vec<String> =
            reader.headers().map_err(unreadable)?.iter().map(Into::into).collect();
        let find = |column: &str, why: &str| {
            position(&header, column).ok_or_else(|| TableError::NoColumn {
                file: file.to_owned(),
                column: column.into(),
                why: why.into(),
                have: header.clone(),
            })
        };
        let mut tags = Vec::with_capacity(columns.tags.len());
        for tag in &columns.tags {
            tags.push(match columns.renamed.get(tag) {
                Some(column) => find(column, &format!(" for the tag `{tag}`"))?,
                None => find(tag, ", which is a tag; name its column with --column TAG=COLUMN")?,
            });
        }
        let named = |column: &Option<String>| column.as_deref().map(|c| find(c, "")).transpose();
        Ok(Self {
            tags,
            label: named(&columns.label)?,
            text: named(&columns.text)?,
            group: named(&columns.group)?,
            time: named(&columns.time)?,
            file: file.to_owned(),
            reader,
            record: csv::StringRecord::new(),
            header,
            columns,
            row: 0,
            counts: BTreeMap::new(),
        })
    }

    /// Bytes read so far: how far a progress bar is.
    pub fn position(&self) -> u64 {
        self.reader.position().byte()
    }

    /// Names of the columns.
    pub fn header(&self) -> &[String] {
        &self.header
    }

    /// Names of the columns that nothing was asked of.
    pub fn unread(&self) -> Vec<String> {
        let others = [self.label, self.text, self.group, self.time];
        let read = |at: &usize| self.tags.contains(at) || others.contains(&Some(*at));
        let unread = (0..self.header.len()).filter(|at| !read(at));
        unread.map(|at| self.header[at].clone()).collect()
    }

    /// The next row, or `None` after the last.
    pub fn next_row(&mut self) -> Result<Option<Row>, TableError> {
        self.row += 1;
        let more = self.reader.read_record(&mut self.record);
        let broken = |error| TableError::Broken { file: self.file.clone(), row: self.row, error };
        if !more.map_err(broken)? {
            let empty = TableError::Empty { file: self.file.clone() };
            return if self.row == 1 { Err(empty) } else { Ok(None) };
        }
        let cell = |at: Option<usize>| at.and_then(|at| self.record.get(at)).map(str::to_owned);
        let (group, text) = (cell(self.group), cell(self.text));
        let label = cell(self.label).filter(|label| !label.is_empty());
        let count = self.counts.entry(group.clone()).or_default();
        let since = self.columns.every.saturating_mul(*count);
        *count = count.saturating_add(1);
        let time = match self.time {
            Some(at) => self.time_of(at)?,
            None => FIRST.saturating_add(since),
        };
        let mut values = Vec::with_capacity(self.tags.len());
        for (tag, at) in self.columns.tags.iter().zip(&self.tags) {
            values.push(self.number(tag, *at)?);
        }
        Ok(Some(Row { number: self.row, group, time, values, label, text }))
    }

    fn number(&self, tag: &str, at: usize) -> Result<Option<f64>, TableError> {
        let text = &self.record[at];
        if text.is_empty() {
            return Ok(None);
        }
        if let Some(words) = self.columns.words.get(tag) {
            let place = words.iter().position(|word| word == text);
            #[expect(clippy::cast_precision_loss, reason = "a handful of words")]
            return place
                .map(|place| Some(place as f64))
                .ok_or_else(|| self.cell(at, format!("none of its words {}", words.join(", "))));
        }
        match text.parse::<f64>() {
            Ok(value) => Ok(Some(value).filter(|value| value.is_finite())),
            Err(_) => Err(self.cell(
                at,
                format!("no number; if these are words, give them with --words {tag}=A,B,C"),
            )),
        }
    }

    fn time_of(&self, at: usize) -> Result<Timestamp, TableError> {
        let text = &self.record[at];
        parse_time(text).ok_or_else(|| {
            self.cell(at, "no time; write 2026-11-23T06:41:23Z, or seconds since 1970".into())
        })
    }

    /// An error about the cell of the row that was read last.
    fn cell(&self, at: usize, problem: String) -> TableError {
        TableError::Cell {
            file: self.file.clone(),
            row: self.row,
            column: self.header[at].clone(),
            text: self.record[at].to_owned(),
            problem,
        }
    }

    /// An error about the text of the row that was read last.
    pub fn bad_text(&self, problem: String) -> TableError {
        match self.text {
            Some(at) => self.cell(at, problem),
            None => self.bad_label(self.row, "", problem),
        }
    }

    /// An error about the label of `row`.
    pub fn bad_label(&self, row: u64, text: &str, problem: String) -> TableError {
        TableError::Cell {
            file: self.file.clone(),
            row,
            column: self.columns.label.clone().unwrap_or_default(),
            text: text.to_owned(),
            problem,
        }
    }
}

/// The column of that very name, else the only one whose plain name is the same.
pub fn position(header: &[String], name: &str) -> Option<usize> {
    let exact = header.iter().position(|column| column == name);
    exact.or_else(|| {
        let plain = plain_name(name);
        let mut same = header.iter().enumerate().filter(|(_, column)| plain_name(column) == plain);
        let (at, _) = same.next()?;
        same.next().is_none().then_some(at)
    })
}

/// `Air temperature [K]` as `air_temperature`: lower case, one `_` between words, without what
/// stands in brackets.
pub fn plain_name(column: &str) -> String {
    let bare = column.split(['[', '(']).next().unwrap_or_default();
    let words = bare.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    words.map(str::to_lowercase).collect::<Vec<_>>().join("_")
}

/// RFC 3339, the same without an offset (UTC), or seconds since 1970.
fn parse_time(text: &str) -> Option<Timestamp> {
    if let Some(time) = Timestamp::parse_rfc3339(text) {
        return Some(time);
    }
    if let Some(time) = Timestamp::parse_rfc3339(&format!("{text}Z")) {
        return Some(time);
    }
    let seconds: f64 = text.parse().ok()?;
    let nanos = seconds * 1e9;
    #[expect(clippy::cast_possible_truncation, reason = "checked to lie within i64")]
    (nanos.abs() < 9.2e18).then(|| Timestamp::from_nanos(nanos.round() as i64))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn read(text: &str, columns: Columns) -> Result<Vec<Row>, TableError> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        let mut table = Table::open(file.path(), columns)?;
        let mut rows = Vec::new();
        while let Some(row) = table.next_row()? {
            rows.push(row);
        }
        Ok(rows)
    }

    fn columns(tags: &[&str]) -> Columns {
        Columns {
            tags: tags.iter().map(ToString::to_string).collect(),
            every: Duration::from_secs(1),
            ..Columns::default()
        }
    }

    fn message(result: Result<Vec<Row>, TableError>) -> String {
        let text = result.unwrap_err().to_string();
        text.split_once(": ").unwrap().1.to_owned()
    }

    #[test]
    fn columns_are_found_by_name_or_by_plain_name() {
        let text = "Air temperature [K],torque,unit\n298.1,,a\n299,7,b\n";
        let wanted =
            Columns { group: Some("unit".into()), ..columns(&["torque", "air_temperature"]) };
        let rows = read(text, wanted).unwrap();
        assert_eq!(rows[0].values, [None, Some(298.1)]);
        assert_eq!(rows[1].values, [Some(7.0), Some(299.0)]);
        assert_eq!((rows[0].time, rows[1].time), (FIRST, FIRST));
        assert_eq!(rows[1].group.as_deref(), Some("b"));
    }

    #[test]
    fn a_bad_number_names_its_row_and_column() {
        let mut text = String::from("a,b\n");
        (1..7431).for_each(|_| text.push_str("1,2\n"));
        text.push_str("1,12..5\n");
        let said = message(read(&text, columns(&["a", "b"])));
        assert!(said.starts_with("row 7431, column `b`: `12..5` is no number"), "{said}");
    }

    #[test]
    fn a_missing_column_names_those_there_are() {
        let said = message(read("a,b\n1,2\n", columns(&["pressure"])));
        assert!(said.contains("no column `pressure`"), "{said}");
        assert!(said.ends_with("the file has a, b"), "{said}");
    }

    #[test]
    fn a_row_of_another_length_is_refused_with_its_number() {
        let said = message(read("a,b\n1,2\n1\n", columns(&["a"])));
        assert!(said.starts_with("row 2: "), "{said}");
        assert_eq!(message(read("a,b\n", columns(&["a"]))), "holds no rows");
    }

    #[test]
    fn words_are_counted_from_zero_and_others_are_refused() {
        let words = BTreeMap::from([("type".to_owned(), vec!["L".to_owned(), "M".to_owned()])]);
        let wanted = || Columns { words: words.clone(), ..columns(&["type"]) };
        assert_eq!(read("type\nM\n", wanted()).unwrap()[0].values, [Some(1.0)]);
        let said = message(read("type\nX\n", wanted()));
        assert_eq!(said, "row 1, column `type`: `X` is none of its words L, M");
    }

    #[test]
    fn times_are_rfc_3339_or_seconds() {
        let wanted = || Columns { time: Some("t".into()), ..columns(&["a"]) };
        let text = "t,a\n2013-12-02 21:15:00,1\n1386018900.5,1\n2013-12-02T22:15:00+01:00,1\n";
        let times: Vec<_> =
            read(text, wanted()).unwrap().iter().map(|row| row.time.as_millis()).collect();
        assert_eq!(times, [1_386_018_900_000, 1_386_018_900_500, 1_386_018_900_000]);
        assert!(message(read("t,a\nMonday,1\n", wanted())).contains("`Monday` is no time"));
    }
}
