//! Time columns. The tags of one message share its times, so equal columns are written once.

use std::collections::HashMap;
use std::ops::Range;

use super::Malformed;
use super::stream::{Effort, Reader, put_integers, put_varint};

/// Times are written in the largest of these units (ns) that divides all of them.
const UNITS: [i64; 4] = [1_000_000_000, 1_000_000, 1_000, 1];

#[derive(Default)]
pub(super) struct Times {
    /// Which distinct column each tag has.
    columns: Vec<usize>,
    /// Where in the tag-sorted samples each distinct column was seen first.
    distinct: Vec<Range<usize>>,
    by_hash: HashMap<u64, usize>,
    differences: Vec<i64>,
}

impl Times {
    pub(super) fn clear(&mut self) {
        self.columns.clear();
        self.distinct.clear();
        self.by_hash.clear();
        self.differences.clear();
    }

    /// The next tag has the times `all[run]`.
    pub(super) fn push(&mut self, all: &[i64], run: Range<usize>) {
        let times = &all[run.clone()];
        let known = self
            .columns
            .last()
            .copied()
            .filter(|last| all[self.distinct[*last].clone()] == *times)
            .unwrap_or_else(|| {
                let hash = hash(times);
                let column = *self.by_hash.entry(hash).or_insert(self.distinct.len());
                if self.distinct.get(column).is_some_and(|seen| all[seen.clone()] == *times) {
                    return column;
                }
                self.distinct.push(run);
                self.distinct.len() - 1
            });
        self.columns.push(known);
    }

    /// Writes the columns' numbers, then the distinct columns as differences of differences.
    pub(super) fn write(&mut self, all: &[i64], out: &mut Vec<u8>, effort: Effort) {
        for column in &self.columns {
            put_varint(out, *column as u64);
        }
        let divides = |unit: &&i64| {
            self.distinct.iter().all(|run| all[run.clone()].iter().all(|time| time % *unit == 0))
        };
        let unit = *UNITS.iter().find(divides).expect("one divides everything");
        put_varint(out, unit.unsigned_abs());
        let mut origin = 0i64;
        for run in &self.distinct {
            let times = &all[run.clone()];
            let (mut previous, mut step) = (origin, 0i64);
            for (index, time) in times.iter().enumerate() {
                let time = time / unit;
                let difference = time.wrapping_sub(previous);
                self.differences.push(difference.wrapping_sub(step));
                (previous, step) = (time, if index == 0 { 0 } else { difference });
            }
            origin = times.first().map_or(origin, |first| first / unit);
        }
        put_integers(out, &self.differences, effort);
    }
}

fn hash(times: &[i64]) -> u64 {
    times.iter().fold(times.len() as u64, |hash, time| {
        (hash.rotate_left(5) ^ time.cast_unsigned()).wrapping_mul(0x517c_c1b7_2722_0a95)
    })
}

/// Reads the times of all tags, in tag order.
pub(super) fn read(reader: &mut Reader<'_>, lengths: &[usize]) -> Result<Vec<i64>, Malformed> {
    let mut columns = Vec::with_capacity(lengths.len());
    let mut distinct: Vec<usize> = Vec::new();
    for length in lengths {
        let column = reader.count(distinct.len())?;
        if column == distinct.len() {
            distinct.push(*length);
        } else if distinct[column] != *length {
            return Err(Malformed("a shared time column has another length"));
        }
        columns.push(column);
    }
    let unit = reader.varint()?.cast_signed();
    let mut times = reader.integers(distinct.iter().sum())?;
    let mut starts = Vec::with_capacity(distinct.len());
    let (mut start, mut origin) = (0, 0i64);
    for length in &distinct {
        starts.push(start);
        let (mut previous, mut step) = (origin, 0i64);
        for (index, time) in times[start..start + length].iter_mut().enumerate() {
            let difference = time.wrapping_add(step);
            let value = previous.wrapping_add(difference);
            (previous, step) = (value, if index == 0 { 0 } else { difference });
            *time = value;
        }
        origin = times.get(start).copied().filter(|_| *length > 0).unwrap_or(origin);
        start += length;
    }
    let mut all = Vec::with_capacity(lengths.iter().sum());
    for (column, length) in columns.iter().zip(lengths) {
        let start = starts[*column];
        all.extend(times[start..start + length].iter().map(|time| time.wrapping_mul(unit)));
    }
    Ok(all)
}
