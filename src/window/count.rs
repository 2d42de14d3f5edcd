//! Count windows of one asset for one prediction: so many distinct event times.

use std::collections::VecDeque;
use std::time::Duration;

use super::span::Closed;
use super::{Admission, Column, Point};
use crate::time::Timestamp;

#[derive(Debug)]
pub(super) struct Counts {
    length: usize,
    hop: usize,
    lateness: Duration,
    columns: Vec<Column>,
    rows: VecDeque<Row>,
    /// Rows, from the front of `rows`, that earlier windows have seen.
    seen: usize,
    closed_to: Timestamp,
    closed_one: bool,
    /// After `resume`, rows up to its end are history until the first newer one comes.
    rebuilding: bool,
}

#[derive(Clone, Copy, Debug)]
struct Row {
    time: Timestamp,
    filled: usize,
}

impl Counts {
    pub(super) fn new(length: usize, hop: usize, lateness: Duration, tags: usize) -> Self {
        Self {
            length: length.max(1),
            hop: hop.max(1),
            lateness,
            columns: vec![Column::default(); tags],
            rows: VecDeque::new(),
            seen: 0,
            closed_to: Timestamp::MIN,
            closed_one: false,
            rebuilding: false,
        }
    }

    /// Takes up the phase of an earlier life: a window ended with the row at `end`.
    pub(super) fn resume(&mut self, end: Timestamp) {
        self.closed_to = end;
        self.closed_one = true;
        self.rebuilding = true;
    }

    pub(super) fn insert(&mut self, column: usize, point: Point) -> Admission {
        if point.time > self.closed_to {
            self.rebuilding = false;
        } else if !self.rebuilding && self.find(point.time).is_err() {
            return Admission::Late;
        }
        if !self.columns[column].insert(point) {
            return Admission::Replaced;
        }
        self.count_row(point.time);
        Admission::Accepted
    }

    /// The next window that is complete, given that event time has reached `reached`.
    pub(super) fn close(&mut self, reached: Timestamp) -> Option<Closed> {
        let last = self.next_row()?;
        let row = self.rows[last];
        let full = self.lateness.is_zero() && row.filled >= self.columns.len();
        let overtaken =
            last + 1 < self.rows.len() && row.time.saturating_add(self.lateness) <= self.newest();
        if !full && !overtaken && self.due()? > reached {
            return None;
        }
        let first = last + 1 - self.length;
        let start = self.rows[first].time;
        let after = Timestamp::from_nanos(row.time.as_nanos().saturating_add(1));
        let columns = self.columns.iter().map(|column| column.slice(start, after, false)).collect();
        let rows = self.rows.range(first..=last).map(|row| row.time).collect();
        self.closed_to = row.time;
        self.closed_one = true;
        self.seen = last + 1;
        self.forget();
        Some(Closed { start, end: row.time, columns, rows })
    }

    /// When event time has to be for the next window to close although its last row is not full.
    pub(super) fn due(&self) -> Option<Timestamp> {
        let row = self.rows[self.next_row()?];
        // A row that stays incomplete is let go after the usual time between two rows.
        let pace = match self.rows.len() {
            0 | 1 => Duration::from_secs(1),
            rows => self.rows[rows - 1].time.since(self.rows[rows - 2].time),
        };
        let patience = pace.max(Duration::from_millis(1)) + self.lateness;
        Some(row.time.saturating_add(patience))
    }

    pub(super) fn newest(&self) -> Timestamp {
        self.rows.back().map_or(Timestamp::MIN, |row| row.time)
    }

    fn find(&self, time: Timestamp) -> Result<usize, usize> {
        self.rows.binary_search_by_key(&time, |row| row.time)
    }

    fn count_row(&mut self, time: Timestamp) {
        let history = time <= self.closed_to;
        match self.rows.back_mut() {
            Some(last) if last.time == time => last.filled += 1,
            Some(last) if last.time > time => match self.find(time) {
                Ok(at) => self.rows[at].filled += 1,
                Err(at) => {
                    self.rows.insert(at, Row { time, filled: 1 });
                    self.seen += usize::from(history);
                }
            },
            _ => {
                self.rows.push_back(Row { time, filled: 1 });
                self.seen += usize::from(history);
            }
        }
        if history && self.seen > self.length {
            self.forget();
        }
    }

    /// Index of the row that ends the next window.
    fn next_row(&self) -> Option<usize> {
        let last = if self.closed_one {
            (self.seen + self.hop - 1).max(self.length - 1)
        } else {
            self.length - 1
        };
        (last < self.rows.len()).then_some(last)
    }

    /// Keeps the rows that the next window shares with the last one.
    fn forget(&mut self) {
        let keep = self.length.saturating_sub(self.hop);
        let surplus = self.seen.saturating_sub(keep);
        self.rows.drain(..surplus);
        self.seen -= surplus;
        let first = self.rows.front().map_or(Timestamp::MAX, |row| row.time);
        for column in &mut self.columns {
            column.forget_before(first, false);
        }
    }
}
