//! A server that runs a model, in a line for people.

use serde_json::Value;

use super::client::text;

/// Nothing for a model that runs on the box.
pub(super) fn line(remote: &Value) -> Option<String> {
    let url = remote["url"].as_str()?;
    let failures = remote["failures"].as_object().into_iter().flatten();
    let failed: Vec<_> = failures
        .filter(|(_, count)| count.as_u64() > Some(0))
        .map(|(kind, count)| format!("{kind} {count}"))
        .collect();
    let failed = if failed.is_empty() { "none failed".into() } else { failed.join(", ") };
    let mut told = format!(
        "{url}: {}; {} requests, {} of them again, {failed}; {} batches not asked",
        state(remote),
        text(&remote["requests"]),
        text(&remote["retries"]),
        text(&remote["skipped"]),
    );
    if remote["has_fallback"] == true {
        told += &format!("; {} frames answered by the local model", text(&remote["fallbacks"]));
    }
    if let Some(error) = remote["last_error"].as_str() {
        told += &format!("; last failure: {error}");
    }
    Some(told)
}

pub(super) fn state(remote: &Value) -> &'static str {
    match remote["breaker"].as_str() {
        Some("closed") => "answers",
        Some("open") => "LEFT ALONE",
        _ => "has to prove itself",
    }
}
