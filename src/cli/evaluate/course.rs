//! The course of a few assets: score and truth over time.

use std::collections::BTreeMap;
use std::ops::Range;

use plotters::prelude::*;

use super::plots::{BLUE_INK, GREY, Plot, RED_INK, axes, draw, padded, range};
use super::sheet::{Point, Sheet};

const WIDE: (u32, u32) = (1120, 260);
/// Assets whose course is drawn.
const COURSES: usize = 4;
/// A course is broken where nothing was judged for so many times the usual step.
const GAP: f64 = 3.0;

/// The score over time of a few assets, those with something to warn of first.
pub(super) fn all(sheet: &Sheet) -> anyhow::Result<Vec<Plot>> {
    let mut assets: BTreeMap<&str, Vec<&Point>> = BTreeMap::new();
    for point in &sheet.points {
        assets.entry(&point.asset).or_default().push(point);
    }
    let mut chosen: Vec<(&str, Vec<&Point>)> = assets.into_iter().collect();
    chosen.sort_by_key(|(_, points)| !points.iter().any(|point| point.positive));
    chosen.truncate(COURSES);
    // The same heights for all, so that they can be compared.
    let values = chosen.iter().flat_map(|(_, points)| points.iter());
    let values = values.flat_map(|point| [Some(point.score), point.value]).flatten();
    let heights = match sheet.probable {
        true => -0.03..1.03,
        false => padded(range(values.chain([sheet.threshold.raise]))),
    };
    let mut plots = Vec::with_capacity(chosen.len());
    for (asset, points) in chosen {
        let caption = format!(
            "{asset}: score (blue), truth (red: the value, or where it is positive), threshold (grey)"
        );
        let svg = course(&points, sheet, &heights)?;
        plots.push(Plot { svg, caption, wide: true });
    }
    Ok(plots)
}

fn course(points: &[&Point], sheet: &Sheet, heights: &Range<f64>) -> anyhow::Result<String> {
    let places = places(points, sheet.timed);
    let across = range(places.at.iter().copied());
    let stretches =
        || places.stretches().map(|stretch| stretch.map(|at| (places.at[at], points[at])));
    draw(WIDE, |area| {
        let mut chart = axes(area, (across.clone(), heights.clone()), places.unit, "score")?;
        let marks = points.iter().zip(&places.at);
        let marks = marks.filter(|(point, _)| point.positive && point.value.is_none());
        let foot = |at: f64| Circle::new((at, heights.start), 3, RED_INK.filled());
        chart.draw_series(marks.map(|(_, at)| foot(*at)))?;
        let limit = [(across.start, sheet.threshold.raise), (across.end, sheet.threshold.raise)];
        chart.draw_series(LineSeries::new(limit, GREY.stroke_width(1)))?;
        for stretch in stretches() {
            let truth = stretch.filter_map(|(at, point)| Some((at, point.value?)));
            chart.draw_series(LineSeries::new(truth, RED_INK.stroke_width(1)))?;
        }
        for stretch in stretches() {
            let scores: Vec<_> = stretch.map(|(at, point)| (at, point.score)).collect();
            if let [alone] = scores[..] {
                chart.draw_series([Circle::new(alone, 1, BLUE_INK.filled())])?;
            }
            chart.draw_series(LineSeries::new(scores, BLUE_INK.stroke_width(1)))?;
        }
        Ok(())
    })
}

/// Where the windows of an asset stand on the axis.
struct Places {
    at: Vec<f64>,
    unit: &'static str,
    /// Between two windows; more is a gap.
    most: f64,
}

impl Places {
    /// Without gaps inside.
    fn stretches(&self) -> impl Iterator<Item = Range<usize>> {
        let mut from = 0;
        self.at.chunk_by(|a, b| b - a <= self.most).map(move |stretch| {
            let until = from + stretch.len();
            std::mem::replace(&mut from, until)..until
        })
    }
}

#[expect(clippy::cast_precision_loss, reason = "a count of windows")]
fn places(points: &[&Point], timed: bool) -> Places {
    if !timed {
        let at = (1..=points.len()).map(|number| number as f64).collect();
        return Places { at, unit: "window", most: f64::INFINITY };
    }
    let first = points.first().map_or(0.0, |point| point.seconds);
    let whole = points.last().map_or(0.0, |point| point.seconds) - first;
    let (unit, seconds) = match whole {
        ..600.0 => ("seconds", 1.0),
        ..36_000.0 => ("minutes", 60.0),
        ..864_000.0 => ("hours", 3600.0),
        _ => ("days", 86_400.0),
    };
    let at: Vec<f64> = points.iter().map(|point| (point.seconds - first) / seconds).collect();
    let mut steps: Vec<f64> = at.windows(2).map(|pair| pair[1] - pair[0]).collect();
    steps.sort_by(f64::total_cmp);
    let usual = steps.get(steps.len() / 2).copied().unwrap_or(0.0);
    Places { at, unit, most: GAP * usual }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: &[f64], timed: bool) -> (Vec<usize>, &'static str) {
        let point = |seconds: &f64| Point {
            asset: String::new(),
            seconds: *seconds,
            score: 0.0,
            positive: false,
            value: None,
        };
        let points: Vec<Point> = seconds.iter().map(point).collect();
        let places = places(&points.iter().collect::<Vec<_>>(), timed);
        (places.stretches().map(|stretch| stretch.len()).collect(), places.unit)
    }

    #[test]
    fn a_course_is_broken_where_nothing_was_judged() {
        assert_eq!(at(&[0.0, 1.0, 2.0, 9.0, 10.0, 11.0], true), (vec![3, 3], "seconds"));
        assert_eq!(at(&[0.0, 3600.0, 72_000.0], true).1, "hours");
        assert_eq!(at(&[5.0], true), (vec![1], "seconds"));
        assert_eq!(at(&[0.0, 1.0, 9.0], false), (vec![3], "window"), "rows without times");
        assert!(at(&[], true).0.is_empty());
    }
}
