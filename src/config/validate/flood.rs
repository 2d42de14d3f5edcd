//! The flood gate: limits that let something through, and the name of its alert.

use super::{Check, alerts, names};
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
    alerts::severity(check, "flood.severity", flood.severity, 700);
    for (at, _) in names::judges(settings).filter(|(_, name)| *name == FloodSettings::ALERT) {
        let message = "the name \"alert-flood\" is that of the alert that sums a flood up";
        check.error(&at, message, "write another name");
    }
}
