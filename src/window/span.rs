//! Time windows of one asset for one prediction.

use std::time::Duration;

use super::{Admission, Column, Point};
use crate::time::Timestamp;

#[derive(Debug)]
pub(super) struct Spans {
    length: Duration,
    hop: Duration,
    lateness: Duration,
    columns: Vec<Column>,
    newest: Timestamp,
    /// No window with an earlier end will close any more: one hop after the last that did.
    first_open: Timestamp,
    /// End of the next window that holds a sample; windows without one cost nothing.
    next_end: Option<Timestamp>,
}

/// The points of a closed window.
pub(super) struct Closed {
    pub(super) start: Timestamp,
    pub(super) end: Timestamp,
    pub(super) columns: Vec<Vec<Point>>,
    pub(super) rows: Vec<Timestamp>,
}

impl Spans {
    pub(super) fn new(length: Duration, hop: Duration, lateness: Duration, tags: usize) -> Self {
        Self {
            length,
            hop,
            lateness,
            columns: vec![Column::default(); tags],
            newest: Timestamp::MIN,
            first_open: Timestamp::MIN,
            next_end: None,
        }
    }

    /// Takes up where an earlier life closed the window that ended at `end`.
    pub(super) fn resume(&mut self, end: Timestamp) {
        self.first_open = end.saturating_add(self.hop);
    }

    pub(super) fn insert(&mut self, column: usize, point: Point) -> Admission {
        if point.time < self.first_open.saturating_sub(self.length) {
            return Admission::Late;
        }
        let end = self.first_end_over(point.time);
        self.next_end = Some(self.next_end.map_or(end, |next| next.min(end)));
        self.newest = self.newest.max(point.time);
        if self.columns[column].insert(point) { Admission::Accepted } else { Admission::Replaced }
    }

    /// The next window whose end lies `lateness` behind event time `reached`.
    pub(super) fn close(&mut self, reached: Timestamp) -> Option<Closed> {
        let end = self.next_end?;
        if end.saturating_add(self.lateness) > reached {
            return None;
        }
        let start = end.saturating_sub(self.length);
        let columns = self.columns.iter().map(|column| column.slice(start, end, true)).collect();
        self.first_open = end.saturating_add(self.hop);
        let keep_from = self.first_open.saturating_sub(self.length);
        for column in &mut self.columns {
            column.forget_before(keep_from, true);
        }
        self.next_end = self.earliest(keep_from).map(|time| self.first_end_over(time));
        Some(Closed { start, end, columns, rows: Vec::new() })
    }

    /// When event time has to be for the next window to close; `None` if it holds nothing yet.
    pub(super) fn due(&self) -> Option<Timestamp> {
        Some(self.next_end?.saturating_add(self.lateness))
    }

    pub(super) fn newest(&self) -> Timestamp {
        self.newest
    }

    /// End of the first open window that holds `time`.
    fn first_end_over(&self, time: Timestamp) -> Timestamp {
        time.floor_to(self.hop).saturating_add(self.hop).max(self.first_open)
    }

    /// The first point at or after `from`.
    fn earliest(&self, from: Timestamp) -> Option<Timestamp> {
        let first = |column: &Column| {
            Some(column.0.get(column.0.partition_point(|point| point.time < from))?.time)
        };
        self.columns.iter().filter_map(first).min()
    }
}
