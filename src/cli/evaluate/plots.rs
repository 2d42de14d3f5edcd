//! The plots of the page. Text uses the browser's fonts.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::ops::Range;

use plotters::coord::Shift;
use plotters::prelude::*;

use super::sheet::{Point, Sheet};
use crate::evaluate::{Curve, Ranking, Scored};

const SIZE: (u32, u32) = (520, 380);
const WIDE: (u32, u32) = (1060, 260);
const BARS: usize = 40;
/// Assets whose course is drawn.
const COURSES: usize = 4;
const BLUE_INK: RGBColor = RGBColor(31, 98, 168);
const RED_INK: RGBColor = RGBColor(192, 57, 43);
const GREY: RGBColor = RGBColor(140, 150, 160);
const FONT: (&str, u32) = ("sans-serif", 14);

pub(super) struct Plot {
    pub(super) svg: String,
    pub(super) caption: String,
}

pub(super) fn all(sheet: &Sheet) -> anyhow::Result<Vec<Plot>> {
    let scored: Vec<Scored> = sheet
        .points
        .iter()
        .map(|point| Scored { score: point.score, positive: point.positive })
        .collect();
    let ranking = Ranking::new(&scored, sheet.threshold.direction);
    let mut plots = Vec::new();
    if let Some(curve) = ranking.roc() {
        let axes = ("false positive rate", "true positive rate");
        plots.push(Plot { svg: line(&curve, axes)?, caption: "ROC".into() });
    }
    if let Some(curve) = ranking.precision_recall() {
        let axes = ("recall", "precision");
        plots.push(Plot { svg: line(&curve, axes)?, caption: "Precision and recall".into() });
    }
    plots.push(Plot {
        svg: distribution(sheet)?,
        caption: "Scores: blue where all is well in truth, red where not; grey: the threshold"
            .into(),
    });
    if sheet.points.iter().any(|point| point.value.is_some()) {
        plots.push(Plot { svg: scatter(sheet)?, caption: "Answer against truth".into() });
    }
    plots.extend(courses(sheet)?);
    Ok(plots)
}

fn line(curve: &Curve, (x, y): (&str, &str)) -> anyhow::Result<String> {
    draw(SIZE, |area| {
        let mut chart = axes(area, (0.0..1.0, 0.0..1.02), x, y)?;
        let points = curve.x.iter().copied().zip(curve.y.iter().copied());
        chart.draw_series(LineSeries::new(points, BLUE_INK.stroke_width(2)))?;
        Ok(())
    })
}

fn distribution(sheet: &Sheet) -> anyhow::Result<String> {
    let scores = range(sheet.points.iter().map(|point| point.score));
    #[expect(clippy::cast_precision_loss, reason = "a handful of bars")]
    let width = (scores.end - scores.start) / BARS as f64;
    let shares = |positive: bool| {
        let mut counts = [0.0; BARS];
        let chosen = || sheet.points.iter().filter(|point| point.positive == positive);
        #[expect(clippy::cast_precision_loss, reason = "a count of windows")]
        let all = chosen().count().max(1) as f64;
        for point in chosen() {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped")]
            let bar = ((point.score - scores.start) / width).clamp(0.0, BARS as f64 - 1.0) as usize;
            counts[bar] += 1.0 / all;
        }
        counts
    };
    let (well, ill) = (shares(false), shares(true));
    let highest = well.iter().chain(&ill).copied().fold(0.0, f64::max).max(1e-9) * 1.05;
    draw(SIZE, |area| {
        let mut chart = axes(area, (scores.clone(), 0.0..highest), "score", "share of windows")?;
        for (counts, ink) in [(well, BLUE_INK), (ill, RED_INK)] {
            let bars = counts.iter().enumerate().map(|(bar, share)| {
                #[expect(clippy::cast_precision_loss, reason = "a handful of bars")]
                let left = scores.start + bar as f64 * width;
                Rectangle::new([(left, 0.0), (left + width, *share)], ink.mix(0.45).filled())
            });
            chart.draw_series(bars)?;
        }
        let limit = sheet.threshold.raise;
        chart
            .draw_series(LineSeries::new([(limit, 0.0), (limit, highest)], GREY.stroke_width(2)))?;
        Ok(())
    })
}

fn scatter(sheet: &Sheet) -> anyhow::Result<String> {
    let pairs = || sheet.points.iter().filter_map(|point| Some((point.value?, point.score)));
    let both = range(pairs().flat_map(|(truth, answer)| [truth, answer]));
    draw(SIZE, |area| {
        let mut chart = axes(area, (both.clone(), both.clone()), "truth", "answer")?;
        let ends = [(both.start, both.start), (both.end, both.end)];
        chart.draw_series(LineSeries::new(ends, GREY.stroke_width(1)))?;
        chart.draw_series(pairs().map(|pair| Circle::new(pair, 2, BLUE_INK.mix(0.5).filled())))?;
        Ok(())
    })
}

/// The score over time of a few assets, those with something to warn of first.
fn courses(sheet: &Sheet) -> anyhow::Result<Vec<Plot>> {
    let mut assets: BTreeMap<&str, Vec<&Point>> = BTreeMap::new();
    for point in &sheet.points {
        assets.entry(&point.asset).or_default().push(point);
    }
    let mut chosen: Vec<(&str, Vec<&Point>)> = assets.into_iter().collect();
    chosen.sort_by_key(|(_, points)| !points.iter().any(|point| point.positive));
    chosen.truncate(COURSES);
    let mut plots = Vec::with_capacity(chosen.len());
    for (asset, points) in chosen {
        let caption = format!(
            "{asset}: score (blue), truth (red: the value, or where it is positive), threshold (grey)"
        );
        plots.push(Plot { svg: course(&points, sheet.threshold.raise)?, caption });
    }
    Ok(plots)
}

fn course(points: &[&Point], raise: f64) -> anyhow::Result<String> {
    let first = points.first().map_or(0.0, |point| point.seconds);
    let at = |point: &Point| (point.seconds - first) / 3600.0;
    let hours = range(points.iter().map(|point| at(point)));
    let values = points.iter().flat_map(|point| [Some(point.score), point.value]);
    let heights = range(values.flatten().chain([raise]));
    draw(WIDE, |area| {
        let mut chart = axes(area, (hours.clone(), heights.clone()), "hours", "score")?;
        let marks = points.iter().filter(|point| point.positive && point.value.is_none());
        let foot = heights.start;
        chart
            .draw_series(marks.map(|point| Circle::new((at(point), foot), 3, RED_INK.filled())))?;
        let truth = points.iter().filter_map(|point| Some((at(point), point.value?)));
        chart.draw_series(LineSeries::new(truth, RED_INK.stroke_width(1)))?;
        let limit = [(hours.start, raise), (hours.end, raise)];
        chart.draw_series(LineSeries::new(limit, GREY.stroke_width(1)))?;
        let scores = points.iter().map(|point| (at(point), point.score));
        chart.draw_series(LineSeries::new(scores, BLUE_INK.stroke_width(1)))?;
        Ok(())
    })
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Chart<'a, 'b> = ChartContext<
    'a,
    SVGBackend<'b>,
    Cartesian2d<plotters::coord::types::RangedCoordf64, plotters::coord::types::RangedCoordf64>,
>;

fn draw(
    size: (u32, u32),
    paint: impl FnOnce(&Area<'_>) -> anyhow::Result<()>,
) -> anyhow::Result<String> {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        area.fill(&WHITE)?;
        paint(&area)?;
        area.present()?;
    }
    Ok(svg)
}

fn axes<'a, 'b>(
    area: &Area<'b>,
    (x, y): (Range<f64>, Range<f64>),
    x_name: &str,
    y_name: &str,
) -> anyhow::Result<Chart<'a, 'b>> {
    let mut chart = ChartBuilder::on(area)
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(56)
        .build_cartesian_2d(x, y)?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(GREY.mix(0.25))
        .label_style(FONT)
        .x_desc(x_name)
        .y_desc(y_name)
        .draw()?;
    Ok(chart)
}

/// Of all values, never empty.
fn range(values: impl Iterator<Item = f64>) -> Range<f64> {
    let (low, high) =
        values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)));
    match low.partial_cmp(&high) {
        Some(Ordering::Less) => low..high,
        Some(Ordering::Equal) => low - 0.5..high + 0.5,
        _ => 0.0..1.0,
    }
}
