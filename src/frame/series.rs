//! One tag's cells: points put on rows, and gaps filled.

use super::spec::FrameSpec;
use crate::settings::Fill;
use crate::time::Timestamp;
use crate::window::{Point, Window};

/// Cells of one tag; NaN is missing.
#[derive(Debug, Default)]
pub(super) struct Cells {
    pub(super) values: Vec<f64>,
    /// Nanoseconds since the epoch, of each row.
    pub(super) times: Vec<i64>,
}

/// A point's value is NaN exactly when its quality is bad.
#[inline]
pub(super) fn is_measured(point: &Point) -> bool {
    !point.value.is_nan()
}

/// Event times of the rows: the window's own, or the starts of the bins.
pub(super) fn row_times(spec: &FrameSpec, window: &Window, times: &mut Vec<i64>) {
    times.clear();
    match spec.period {
        Some(period) => {
            let period = i64::try_from(period.as_nanos()).unwrap_or(i64::MAX);
            let mut time = window.start.as_nanos();
            for _ in 0..spec.rows {
                times.push(time);
                time = time.saturating_add(period);
            }
        }
        None => {
            // A window shorter than asked for has its missing rows at the beginning.
            let surplus = window.rows.len().saturating_sub(spec.rows);
            let first = window.rows.first().copied().unwrap_or(window.start);
            times.resize(spec.rows - (window.rows.len() - surplus), first.as_nanos() - 1);
            times.extend(window.rows[surplus..].iter().map(|row| row.as_nanos()));
        }
    }
}

/// Puts `points` on the rows and fills gaps; returns how many cells are measured.
pub(super) fn fill_cells(
    spec: &FrameSpec,
    window: &Window,
    points: &[Point],
    cells: &mut Cells,
) -> usize {
    let mut before = None;
    cells.values.clear();
    let measured = match spec.period {
        Some(_) => bins(points, window, &cells.times, &mut cells.values, &mut before),
        None => rows(points, &cells.times, &mut cells.values),
    };
    if measured < spec.rows && (measured > 0 || before.is_some()) {
        let max_gap =
            spec.max_gap.map_or(i64::MAX, |gap| i64::try_from(gap.as_nanos()).unwrap_or(i64::MAX));
        match spec.fill {
            Fill::None => {}
            Fill::Last => hold(cells, before, max_gap),
            Fill::Linear => interpolate(cells, before, max_gap),
        }
    }
    measured
}

/// The mean of the measured points in each bin.
fn bins(
    points: &[Point],
    window: &Window,
    times: &[i64],
    values: &mut Vec<f64>,
    before: &mut Option<(i64, f64)>,
) -> usize {
    let mut points = points.iter().filter(|point| is_measured(point)).peekable();
    while let Some(point) = points.next_if(|point| point.time < window.start) {
        *before = Some((point.time.as_nanos(), point.value));
    }
    let mut measured = 0;
    for row in 0..times.len() {
        let end = times.get(row + 1).map_or(window.end, |next| Timestamp::from_nanos(*next));
        let (mut sum, mut count) = (0.0, 0_u32);
        while let Some(point) = points.next_if(|point| point.time < end) {
            sum += point.value;
            count += 1;
        }
        measured += usize::from(count > 0);
        values.push(if count == 1 { sum } else { sum / f64::from(count) });
    }
    measured
}

fn rows(points: &[Point], times: &[i64], values: &mut Vec<f64>) -> usize {
    let mut measured = 0;
    let mut next = 0;
    values.extend(times.iter().map(|time| {
        while points.get(next).is_some_and(|point| point.time.as_nanos() < *time) {
            next += 1;
        }
        match points.get(next) {
            Some(point) if point.time.as_nanos() == *time => {
                next += 1;
                measured += usize::from(is_measured(point));
                point.value
            }
            _ => f64::NAN,
        }
    }));
    measured
}

fn hold(cells: &mut Cells, before: Option<(i64, f64)>, max_gap: i64) {
    let mut source = before;
    for (value, time) in cells.values.iter_mut().zip(&cells.times) {
        if !value.is_nan() {
            source = Some((*time, *value));
        } else if let Some((from, held)) = source
            && time.saturating_sub(from) <= max_gap
        {
            *value = held;
        }
    }
}

fn interpolate(cells: &mut Cells, before: Option<(i64, f64)>, max_gap: i64) {
    let mut source = before;
    let mut row = 0;
    while row < cells.values.len() {
        if !cells.values[row].is_nan() {
            source = Some((cells.times[row], cells.values[row]));
            row += 1;
            continue;
        }
        let gap_end = (row..cells.values.len())
            .find(|at| !cells.values[*at].is_nan())
            .unwrap_or(cells.values.len());
        if let Some((from, value)) = source {
            if gap_end == cells.values.len() {
                hold_tail(cells, row, (from, value), max_gap);
            } else if cells.times[gap_end].saturating_sub(from) <= max_gap {
                line(cells, row..gap_end, (from, value));
            }
        }
        row = gap_end;
    }
}

fn hold_tail(cells: &mut Cells, first: usize, (from, held): (i64, f64), max_gap: i64) {
    for (value, time) in cells.values[first..].iter_mut().zip(&cells.times[first..]) {
        if time.saturating_sub(from) <= max_gap {
            *value = held;
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "differences within a window")]
fn line(cells: &mut Cells, gap: std::ops::Range<usize>, (from, start): (i64, f64)) {
    let span = (cells.times[gap.end] - from) as f64;
    let rise = cells.values[gap.end] - start;
    for row in gap {
        cells.values[row] = start + rise * ((cells.times[row] - from) as f64 / span);
    }
}
