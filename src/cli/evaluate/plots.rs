//! The plots of the page. Text uses the browser's fonts.

use std::cmp::Ordering;
use std::ops::Range;

use plotters::coord::Shift;
use plotters::prelude::*;

use super::sheet::Sheet;
use crate::evaluate::{Curve, Operating, Ranking, Scored, ratio};

/// Three beside each other fill the page.
const SIZE: (u32, u32) = (368, 320);
const BARS: usize = 40;
pub(super) const BLUE_INK: RGBColor = RGBColor(31, 98, 168);
pub(super) const RED_INK: RGBColor = RGBColor(192, 57, 43);
pub(super) const GREY: RGBColor = RGBColor(140, 150, 160);
const FONT: (&str, u32) = ("sans-serif", 12);
/// Scores that span so much are drawn by their logarithm.
const WIDE_SCORES: f64 = 30.0;

pub(super) struct Plot {
    pub(super) svg: String,
    pub(super) caption: String,
    /// As wide as the page.
    pub(super) wide: bool,
}

fn square(svg: String, caption: String) -> Plot {
    Plot { svg, caption, wide: false }
}

pub(super) fn all(sheet: &Sheet) -> anyhow::Result<Vec<Plot>> {
    let scored: Vec<Scored> = sheet
        .points
        .iter()
        .map(|point| Scored { score: point.score, positive: point.positive })
        .collect();
    let ranking = Ranking::new(&scored, sheet.threshold.direction);
    let Operating { confusion, precision, recall, .. } =
        ranking.at(sheet.threshold.raise, [1.0, 1.0]);
    let area =
        |area: Option<f64>| area.map_or_else(String::new, |area| format!(", area {area:.4}"));
    let mut plots = Vec::new();
    if let Some(curve) = ranking.roc() {
        let axes = ("false positive rate", "true positive rate");
        let negatives = confusion.false_positives + confusion.true_negatives;
        let here = ratio(confusion.false_positives, negatives).zip(recall);
        let caption = format!("ROC{}; red: at the threshold", area(ranking.roc_auc()));
        plots.push(square(line(curve, here, axes)?, caption));
    }
    if let Some(mut curve) = ranking.precision_recall() {
        let axes = ("recall", "precision");
        let here = recall.zip(precision);
        // From the axis on, at the precision of the strictest threshold.
        curve.x.insert(0, 0.0);
        curve.y.insert(0, curve.y.first().copied().unwrap_or(1.0));
        let area = area(ranking.average_precision());
        let caption = format!("Precision and recall{area}; red: at the threshold");
        plots.push(square(line(curve, here, axes)?, caption));
    }
    let (svg, axis) = distribution(sheet)?;
    let caption =
        format!("{axis}: blue where all is well in truth, red where not; grey: the threshold");
    plots.push(square(svg, caption));
    if sheet.points.iter().any(|point| point.value.is_some()) {
        plots.push(square(scatter(sheet)?, "Answer against truth".into()));
    }
    Ok(plots)
}

fn line(curve: Curve, here: Option<(f64, f64)>, (x, y): (&str, &str)) -> anyhow::Result<String> {
    draw(SIZE, |area| {
        let mut chart = axes(area, (-0.01..1.02, 0.0..1.02), x, y)?;
        let points = curve.x.into_iter().zip(curve.y);
        chart.draw_series(LineSeries::new(points, BLUE_INK.stroke_width(2)))?;
        chart.draw_series(here.map(|here| Circle::new(here, 4, RED_INK.filled())))?;
        Ok(())
    })
}

/// With what its axis says.
fn distribution(sheet: &Sheet) -> anyhow::Result<(String, &'static str)> {
    let limit = sheet.threshold.raise;
    let mut all: Vec<f64> = sheet.points.iter().map(|point| point.score).chain([limit]).collect();
    all.sort_by(f64::total_cmp);
    let (lowest, median) = (all[0], all[all.len() / 2]);
    let far = !sheet.probable && lowest > 0.0 && all[all.len() - 1] > WIDE_SCORES * median;
    let place = |score: f64| if far { score.log10() } else { score };
    let axis = if far { "Scores, by their decimal logarithm" } else { "Scores" };
    let scores = match sheet.probable {
        true => 0.0..1.0,
        false => padded(range(all.iter().map(|score| place(*score)))),
    };
    #[expect(clippy::cast_precision_loss, reason = "a handful of bars")]
    let width = (scores.end - scores.start) / BARS as f64;
    let shares = |positive: bool| {
        let mut counts = [0.0; BARS];
        let chosen = || sheet.points.iter().filter(|point| point.positive == positive);
        #[expect(clippy::cast_precision_loss, reason = "a count of windows")]
        let all = chosen().count().max(1) as f64;
        for point in chosen() {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped")]
            let bar = ((place(point.score) - scores.start) / width).clamp(0.0, BARS as f64 - 1.0)
                as usize;
            counts[bar] += 1.0 / all;
        }
        counts
    };
    let (well, ill) = (shares(false), shares(true));
    let highest = well.iter().chain(&ill).copied().fold(0.0, f64::max).max(1e-9) * 1.05;
    let svg = draw(SIZE, |area| {
        let name = if far { "log10 of the score" } else { "score" };
        let mut chart = axes(area, (scores.clone(), 0.0..highest), name, "share of windows")?;
        for (counts, ink) in [(well, BLUE_INK), (ill, RED_INK)] {
            let bars = counts.iter().enumerate().map(|(bar, share)| {
                #[expect(clippy::cast_precision_loss, reason = "a handful of bars")]
                let left = scores.start + bar as f64 * width;
                Rectangle::new([(left, 0.0), (left + width, *share)], ink.mix(0.45).filled())
            });
            chart.draw_series(bars)?;
        }
        let limit = place(limit);
        chart
            .draw_series(LineSeries::new([(limit, 0.0), (limit, highest)], GREY.stroke_width(2)))?;
        Ok(())
    })?;
    Ok((svg, axis))
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

/// With some room on both sides.
pub(super) fn padded(range: Range<f64>) -> Range<f64> {
    let room = (range.end - range.start) * 0.03;
    range.start - room..range.end + room
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Chart<'a, 'b> = ChartContext<
    'a,
    SVGBackend<'b>,
    Cartesian2d<plotters::coord::types::RangedCoordf64, plotters::coord::types::RangedCoordf64>,
>;

pub(super) fn draw(
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

pub(super) fn axes<'a, 'b>(
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
pub(super) fn range(values: impl Iterator<Item = f64>) -> Range<f64> {
    let (low, high) =
        values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)));
    match low.partial_cmp(&high) {
        Some(Ordering::Less) => low..high,
        Some(Ordering::Equal) => low - 0.5..high + 0.5,
        _ => 0.0..1.0,
    }
}
