//! The flood gate: limits that let something through, and the name of its alert.

use super::super::path;
use super::Check;
use crate::settings::{FloodSettings, Settings};

pub(super) fn check(check: &mut Check<'_>, settings: &Settings) {
    let flood = &settings.flood;
    for (key, number, usual) in
        [("flood.burst", flood.burst, 200), ("flood.per_second", flood.per_second, 20)]
    {
        if number == 0 {
            let message = "with 0 no alert would ever be told".to_owned();
            check.error(key, message, format!("write 1 or more; {usual} is usual"));
        }
    }
    if !(1..=1000).contains(&flood.severity) {
        let message = format!("the severity {} is not between 1 and 1000", flood.severity);
        check.error("flood.severity", message, "write 700");
    }
    let predictions = settings.prediction.iter().map(|p| &p.name).enumerate();
    let rules = settings.rule.iter().map(|rule| &rule.name).enumerate();
    let all = predictions
        .map(|(index, name)| ("prediction", index, name))
        .chain(rules.map(|(index, name)| ("rule", index, name)));
    for (table, index, _) in all.filter(|(.., name)| *name == FloodSettings::ALERT) {
        let at = path::child(&path::element(table, index), "name");
        let message = "the name \"alert-flood\" is that of the alert that sums a flood up";
        check.error(&at, message.to_owned(), "write another name");
    }
}
