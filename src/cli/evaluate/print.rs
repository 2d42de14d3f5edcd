//! The report as a person reads it in a terminal.

use std::fmt;

use super::report::{ClassReport, Report};
use crate::evaluate::{Alarms, Binary, Operating, ValueFigures};

pub(super) struct Text<'a>(pub(super) &'a Report);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report { model, data, losses, .. } = self.0;
        writeln!(f, "{} {} on {}: {}", model.name, model.version, model.device, self.0.task)?;
        writeln!(
            f,
            "{}: {}, {}, {} judged by `{}`",
            data.file,
            Count(data.rows, "row"),
            Count(data.assets, "asset"),
            Count(self.0.windows, "window"),
            data.label
        )?;
        if !data.unread.is_empty() {
            writeln!(f, "  columns not read: {}", data.unread.join(", "))?;
        }
        let lost = [
            (losses.late, "readings late"),
            (losses.empty, "windows empty"),
            (losses.stale, "windows stale"),
            (losses.thin, "windows thin"),
            (losses.unhealthy, "answers impossible"),
            (losses.failed, "windows failed"),
        ];
        for (count, what) in lost.into_iter().filter(|(count, _)| *count > 0) {
            writeln!(f, "  not judged: {count} {what}")?;
        }
        if let Some(value) = &self.0.value {
            let unit = self.0.unit.as_deref().unwrap_or("");
            writeln!(
                f,
                "\n{:<14}{:>9}{:>10}{:>10}{:>10}{:>8}{:>12}",
                format!("Value [{unit}]"),
                "windows",
                "RMSE",
                "MAE",
                "bias",
                "R2",
                "C-MAPSS"
            )?;
            value_row(f, "every window", &value.every_window)?;
            value_row(f, "last window", &value.last_window)?;
        }
        if let Some(classes) = &self.0.classes {
            classes_text(f, classes)?;
        }
        if let Some(binary) = &self.0.binary {
            binary_text(f, binary, self.0.value.is_some())?;
        }
        if let Some(alarms) = &self.0.alarms {
            alarms_text(f, alarms)?;
        }
        Ok(())
    }
}

fn value_row(f: &mut fmt::Formatter<'_>, name: &str, figures: &ValueFigures) -> fmt::Result {
    let ValueFigures { windows, rmse, mae, bias, r2, cmapss } = figures;
    writeln!(
        f,
        "{name:<14}{windows:>9}{rmse:>10.3}{mae:>10.3}{bias:>10.3}{:>8}{cmapss:>12.1}",
        Figure(*r2)
    )
}

fn classes_text(f: &mut fmt::Formatter<'_>, classes: &ClassReport) -> fmt::Result {
    let (labels, accuracy) = (&classes.table.labels, Figure(classes.accuracy));
    writeln!(f, "\nClasses, as a verdict names them, whatever the threshold: accuracy {accuracy}")?;
    writeln!(f, "{:<20}{:>9}{:>11}{:>9}{:>9}", "", "windows", "precision", "recall", "F1")?;
    for (label, figures) in labels.iter().zip(&classes.figures) {
        writeln!(
            f,
            "{label:<20}{:>9}{:>11}{:>9}{:>9}",
            figures.support,
            Figure(figures.precision),
            Figure(figures.recall),
            Figure(figures.f1),
        )?;
    }
    let width = |label: &String| label.chars().count().max(6) + 2;
    write!(f, "\n{:<20}", "taken for")?;
    labels.iter().try_for_each(|label| write!(f, "{label:>width$}", width = width(label)))?;
    writeln!(f)?;
    for (label, counts) in labels.iter().zip(&classes.table.confusion) {
        write!(f, "{label:<20}")?;
        for (count, answered) in counts.iter().zip(labels) {
            write!(f, "{count:>width$}", width = width(answered))?;
        }
        writeln!(f)?;
    }
    Ok(())
}

fn binary_text(f: &mut fmt::Formatter<'_>, binary: &Binary, of_value: bool) -> fmt::Result {
    let Binary { windows, positives, roc_auc, pr_auc, log_loss, .. } = binary;
    let what = if of_value { "Beyond the alert's threshold" } else { "Alert or not" };
    let windows = Count(*windows, "window");
    writeln!(f, "\n{what}: {positives} of {windows} positive")?;
    writeln!(
        f,
        "ROC-AUC {}  PR-AUC {}  log loss {}",
        Figure(*roc_auc),
        Figure(*pr_auc),
        Figure(*log_loss)
    )?;
    writeln!(
        f,
        "{:<12}{:>11}{:>7}{:>7}{:>7}{:>8}{:>10}{:>11}{:>8}{:>8}{:>10}",
        "", "threshold", "TP", "FP", "FN", "TN", "accuracy", "precision", "recall", "F1", "cost"
    )?;
    for (name, at) in [
        ("card", Some(&binary.at_card)),
        ("best F1", binary.at_best_f1.as_ref()),
        ("least cost", binary.at_least_cost.as_ref()),
    ] {
        let Some(at) = at else { continue };
        let Operating { threshold, confusion, accuracy, precision, recall, f1, cost } = at;
        writeln!(
            f,
            "{name:<12}{threshold:>11.4}{:>7}{:>7}{:>7}{:>8}{:>10}{:>11}{:>8}{:>8}{cost:>10}",
            confusion.true_positives,
            confusion.false_positives,
            confusion.false_negatives,
            confusion.true_negatives,
            Figure(*accuracy),
            Figure(*precision),
            Figure(*recall),
            Figure(*f1),
        )?;
    }
    Ok(())
}

fn alarms_text(f: &mut fmt::Formatter<'_>, alarms: &Alarms) -> fmt::Result {
    writeln!(
        f,
        "\nAlerts by the card's rule: {} of {} announced, {}, {} false: {} a day over {}",
        alarms.announced,
        Count(alarms.events, "event"),
        Count(alarms.alerts, "alert"),
        alarms.false_alarms,
        Figure(alarms.false_alarms_a_day),
        Span(alarms.watched_days * DAY),
    )?;
    let leads = &alarms.lead_seconds;
    if let (Some(least), Some(most)) = (leads.first(), leads.last()) {
        writeln!(
            f,
            "Lead time, negative after the event's begin: from {} to {}, median {}",
            Span(*least),
            Span(*most),
            Span(leads[leads.len() / 2])
        )?;
    }
    Ok(())
}

/// Four digits, or a dash where there is no figure.
struct Figure(Option<f64>);

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.map_or_else(|| "-".to_owned(), |figure| format!("{figure:.4}"));
        f.pad(&text)
    }
}

/// Three rows, one row.
struct Count(usize, &'static str);

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(count, what) = self;
        write!(f, "{count} {what}{}", if *count == 1 { "" } else { "s" })
    }
}

const DAY: f64 = 86_400.0;
const TWO_DAYS: f64 = 2.0 * DAY;

/// Seconds, as finely as so many are told.
struct Span(f64);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.abs();
        match seconds {
            ..60.0 => return write!(f, "{}s", (self.0 * 1e3).round() / 1e3 + 0.0),
            TWO_DAYS.. => return write!(f, "{:.1} days", self.0 / DAY),
            _ => {}
        }
        let grain = if seconds < 3600.0 { 1.0 } else { 60.0 };
        let span = std::time::Duration::from_secs_f64((seconds / grain).round() * grain);
        let sign = if self.0 < 0.0 { "-" } else { "" };
        write!(f, "{sign}{}", humantime::format_duration(span))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_told_as_finely_as_it_matters() {
        let told = [-1.5, -1e-4, 0.000_4, 59.0, 61.4, -7200.0, 43_000.0, 172_800.0, 1.2e7];
        let told = told.map(|seconds| Span(seconds).to_string());
        let expected =
            ["-1.5s", "0s", "0s", "59s", "1m 1s", "-2h", "11h 57m", "2.0 days", "138.9 days"];
        assert_eq!(told, expected);
    }
}
