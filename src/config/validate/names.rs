//! Names become levels of MQTT topics and parts of alert ids.

use super::super::path;
use super::Check;
use crate::settings::Settings;

/// Whatever raises alerts of its name: where that name stands, and the name.
pub(super) fn judges(settings: &Settings) -> impl Iterator<Item = (String, &str)> {
    let predictions = settings.prediction.iter().map(|p| ("prediction", p.name.as_str()));
    let rules = settings.rule.iter().map(|rule| ("rule", rule.name.as_str()));
    let place = |(index, (table, name)): (usize, (&str, _))| {
        (path::child(&path::element(table, index), "name"), name)
    };
    predictions.enumerate().chain(rules.enumerate()).map(place)
}

/// `name` as one level of a topic; `what` calls it in the message.
pub(super) fn level(check: &mut Check<'_>, path: &str, what: &str, name: &str) {
    if let Some(fault) = fault(name, "/+#") {
        check.error(
            path,
            format!("{what} {name:?} {fault}"),
            "it becomes one level of MQTT topics: letters, digits, `-`, `_` and `.` are safe",
        );
    }
}

/// A level in which `*` stands for any run of characters.
pub(super) fn pattern(check: &mut Check<'_>, path: &str, what: &str, pattern: &str) {
    level(check, path, what, pattern);
}

/// A tag's name stands in no topic of ours; it only has to be there.
pub(super) fn tag(check: &mut Check<'_>, path: &str, name: &str) {
    if name.trim().is_empty() {
        check.error(path, "the tag's name is empty", "name the signal: \"hydraulic_pressure\"");
    }
}

/// Levels joined by `/`.
pub(super) fn prefix(check: &mut Check<'_>, path: &str, prefix: &str) {
    let help = "write the site's path, such as \"acme/plant7/line1\"";
    if prefix.starts_with('$') {
        check.error(path, format!("the prefix {prefix:?} begins with `$`, the broker's own"), help);
    } else if prefix.split('/').any(str::is_empty) {
        check.error(path, format!("the prefix {prefix:?} has an empty level"), help);
    } else if let Some(fault) = fault(prefix, "+#") {
        check.error(path, format!("the prefix {prefix:?} {fault}"), help);
    }
}

fn fault(name: &str, banned: &str) -> Option<String> {
    if name.trim().is_empty() {
        return Some("is empty".into());
    }
    match name.chars().find(|c| banned.contains(*c) || c.is_control()) {
        Some(c) if c.is_control() => Some("holds a control character".into()),
        Some(c) => Some(format!("holds `{c}`")),
        None => None,
    }
}
