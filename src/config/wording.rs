//! Errors in people's words: what was written, what is expected, what was probably meant.

use super::diagnostic::Diagnostic;
use super::fault::Problem;
use super::node::{Kind, Node};
use super::path;
use super::source::Source;

const DURATION: &str = "a duration such as \"5s\"";
const SIZE: &str = "a size such as \"512MiB\"";

/// The error, and the setting that was probably meant.
pub(super) fn unknown_setting(
    source: &Source,
    at: &str,
    key: &str,
    allowed: &'static [&'static str],
) -> (Diagnostic, Option<&'static str>) {
    let meant = nearest(key, allowed);
    let list = listed(allowed);
    let help = match meant {
        Some(meant) => format!("did you mean `{meant}`? allowed here: {list}"),
        None => format!("allowed here: {list}"),
    };
    let diagnostic = source.error_at_key(at, format!("unknown setting `{key}`")).with_help(help);
    (diagnostic, meant)
}

pub(super) fn missing(source: &Source, at: &str, missing: &str, field: &str) -> Diagnostic {
    let mut diagnostic = source
        .error(at, format!("`{field}` is required in {}", header(at)))
        .with_help(format!("add, for instance: {field} = {}", example(at, field)));
    diagnostic.path = missing.to_owned();
    diagnostic
}

pub(super) fn unusable(source: &Source, at: &str, node: &Node, problem: &Problem) -> Diagnostic {
    let got = node.description();
    match problem {
        Problem::UnknownWord { word, allowed } => {
            let help = match nearest(word, allowed) {
                Some(meant) => {
                    format!("did you mean \"{meant}\"? allowed here: {}", listed(allowed))
                }
                None => format!("allowed here: {}", listed(allowed)),
            };
            source.error(at, format!("{word:?} is not known here")).with_help(help)
        }
        Problem::Unexpected(expected) => {
            let expected = in_words(expected);
            let diagnostic = source.error(at, format!("expected {expected}, got {got}"));
            match advice(source, at, node, &expected) {
                Some(help) => diagnostic.with_help(help),
                None => diagnostic,
            }
        }
        Problem::Other(message) if message.contains("socket address") => source
            .error(at, format!("expected an address and a port, got {got}"))
            .with_help("write, for instance, \"127.0.0.1:9187\"; a host's name is not enough"),
        Problem::Other(message) => source.error(at, format!("cannot use {got}: {message}")),
        Problem::UnknownSetting(_) | Problem::Missing(_) => {
            source.error(at, "unknown or missing setting")
        }
    }
}

/// serde's expectations, as the visitors of our settings utter them.
fn in_words(expected: &str) -> String {
    match expected {
        "a duration" => DURATION.into(),
        "an integer or string" | "parsable string" | "integer overflow" => SIZE.into(),
        "a string" | "path string" | "string" => "a text in quotes".into(),
        "a boolean" => "true or false".into(),
        "f32" | "f64" => "a number".into(),
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number".into(),
        "u8" => whole(u64::from(u8::MAX)),
        "u16" => whole(u64::from(u16::MAX)),
        "u32" => whole(u64::from(u32::MAX)),
        "u64" | "usize" => "a whole number, not below 0".into(),
        "a sequence" => "a list in [ ]".into(),
        "an array of length 2" => "a list of two numbers such as [0, 100]".into(),
        "a map" => "a table".into(),
        other if other.starts_with("struct ") => "a table".into(),
        other => other.into(),
    }
}

fn whole(most: u64) -> String {
    format!("a whole number from 0 to {most}")
}

fn advice(source: &Source, at: &str, node: &Node, expected: &str) -> Option<String> {
    let name = at.rsplit('.').next().unwrap_or(at);
    Some(match (&node.kind, expected) {
        (Kind::Integer(_) | Kind::Float(_), DURATION) => {
            format!("a duration needs its unit, in quotes: {name} = \"{}s\"", source.written(at))
        }
        (Kind::Text(_), DURATION) => {
            "units are ms, s, m, h and days, as in \"500ms\" or \"1h 30m\"".into()
        }
        (_, SIZE) => {
            "units are kB, MB, GB (thousands) and KiB, MiB, GiB (1024s); a bare number is bytes"
                .into()
        }
        (Kind::Text(text), _) if is_number(expected) && text.parse::<f64>().is_ok() => {
            format!("without the quotes: {name} = {text}")
        }
        (Kind::Text(text), "true or false") if text.parse::<bool>().is_ok() => {
            format!("without the quotes: {name} = {text}")
        }
        (Kind::Integer(_) | Kind::Float(_) | Kind::Boolean(_), "a text in quotes") => {
            format!("with quotes: {name} = \"{}\"", source.written(at))
        }
        (Kind::Text(text), "a list in [ ]") => format!("write {name} = [{text:?}]"),
        (Kind::Table(_), "a list in [ ]") if !at.contains('.') => {
            format!("each of several has its own header with double brackets: [[{at}]]")
        }
        (Kind::List(_), "a table") => format!("there is one only: write [{at}], not [[{at}]]"),
        _ => return None,
    })
}

fn is_number(expected: &str) -> bool {
    expected == "a number" || expected.starts_with("a whole number")
}

/// The header of the table at `at`, as it would be written.
fn header(at: &str) -> String {
    let mut bare = String::with_capacity(at.len());
    let mut depth = 0_u32;
    for c in at.chars() {
        match c {
            '[' => depth += 1,
            ']' => depth = depth.saturating_sub(1),
            c if depth == 0 => bare.push(c),
            _ => {}
        }
    }
    if at.ends_with(']') { format!("[[{bare}]]") } else { format!("[{bare}]") }
}

fn example(at: &str, field: &str) -> &'static str {
    match field {
        "url" => "\"mqtt://127.0.0.1:1883\"",
        "broker" => "\"main\", the name of a [broker.main]",
        "topic" => "\"plant/line1/{asset}/telemetry\"",
        "payload" => "\"json\"",
        "prefix" => "\"acme/plant7/line1\"",
        "address" if at.contains("register") => "\"holding:100\"",
        "address" => "\"tcp://10.0.0.5:502\"",
        "assets" => "[\"press-*\"]",
        "asset" => "\"press-3\"",
        "model" => "\"spindle-anomaly\"",
        "tag" => "\"hydraulic_pressure\"",
        "when" => "\"above\"",
        "name" if path::parent(at).unwrap_or(at) == "tag" => "\"hydraulic_pressure\"",
        "name" => "\"pressure-high\"",
        _ => "…",
    }
}

fn listed(words: &[&str]) -> String {
    words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

/// The word that `typed` is a slip of.
pub(super) fn nearest<'a>(typed: &str, words: &[&'a str]) -> Option<&'a str> {
    let typed = typed.to_lowercase().replace('-', "_");
    let allowance = (typed.chars().count() / 3).clamp(1, 3);
    words
        .iter()
        .map(|word| (distance(&typed, &word.to_lowercase()), *word))
        .filter(|(distance, word)| *distance <= allowance && *distance < word.len())
        .min()
        .map(|(_, word)| word)
}

/// Edit distance with swaps of neighbours (optimal string alignment).
fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().take(64).collect();
    let b: Vec<char> = b.chars().take(64).collect();
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let swap = usize::from(a[i - 1] != b[j - 1]);
            row[j] = (last[j] + 1).min(row[j - 1] + 1).min(last[j - 1] + swap);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_find_their_word() {
        let words = ["interval", "timeout", "unit", "url", "qos"];
        assert_eq!(nearest("intervall", &words), Some("interval"));
        assert_eq!(nearest("timeotu", &words), Some("timeout"));
        assert_eq!(nearest("ulr", &words), Some("url"));
        assert_eq!(nearest("Interval", &words), Some("interval"));
        assert_eq!(nearest("colour", &words), None);
        assert_eq!(nearest("x", &words), None);
    }

    #[test]
    fn headers_are_as_written() {
        assert_eq!(header("mqtt[3]"), "[[mqtt]]");
        assert_eq!(header("modbus[0].register[12]"), "[[modbus.register]]");
        assert_eq!(header("broker.main"), "[broker.main]");
    }
}
