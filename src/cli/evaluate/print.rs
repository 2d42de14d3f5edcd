//! The report as a person reads it in a terminal.

use std::fmt;

use super::report::Report;
use crate::evaluate::{Alarms, Binary, Operating, ValueFigures};

pub(super) struct Text<'a>(pub(super) &'a Report);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report { model, data, losses, .. } = self.0;
        writeln!(f, "{} {} on {}: {}", model.name, model.version, model.device, self.0.task)?;
        writeln!(
            f,
            "{}: {} rows, {} assets, {} windows judged by `{}`",
            data.file, data.rows, data.assets, self.0.windows, data.label
        )?;
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
            writeln!(f, "\nClasses: accuracy {}", Figure(classes.accuracy))?;
            writeln!(
                f,
                "{:<20}{:>9}{:>11}{:>9}{:>9}  taken for",
                "", "windows", "precision", "recall", "F1"
            )?;
            for (class, (label, figures)) in
                classes.table.labels.iter().zip(&classes.figures).enumerate()
            {
                writeln!(
                    f,
                    "{label:<20}{:>9}{:>11}{:>9}{:>9}  {}",
                    figures.support,
                    Figure(figures.precision),
                    Figure(figures.recall),
                    Figure(figures.f1),
                    classes.table.confusion[class]
                        .iter()
                        .map(|count| format!("{count:>6}"))
                        .collect::<String>(),
                )?;
            }
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

fn binary_text(f: &mut fmt::Formatter<'_>, binary: &Binary, of_value: bool) -> fmt::Result {
    let Binary { windows, positives, roc_auc, pr_auc, log_loss, .. } = binary;
    let what = if of_value { "Beyond the alert's threshold" } else { "Alert or not" };
    writeln!(f, "\n{what}: {positives} of {windows} windows are positive")?;
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
        ("card", &binary.at_card),
        ("best F1", &binary.at_best_f1),
        ("least cost", &binary.at_least_cost),
    ] {
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
        "\nAlerts by the card's rule: {} of {} events announced, {} alerts, {} false: {} a day over {:.1} days",
        alarms.announced,
        alarms.events,
        alarms.alerts,
        alarms.false_alarms,
        Figure(alarms.false_alarms_a_day),
        alarms.watched_days,
    )?;
    let leads = &alarms.lead_seconds;
    if let (Some(least), Some(most)) = (leads.first(), leads.last()) {
        writeln!(
            f,
            "Lead time: {} least, {} median, {} most",
            Span(*least),
            Span(leads[leads.len() / 2]),
            Span(*most)
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

struct Span(f64);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let span = std::time::Duration::from_secs_f64(self.0.abs().round());
        let sign = if self.0 < 0.0 { "-" } else { "" };
        write!(f, "{sign}{}", humantime::format_duration(span))
    }
}
