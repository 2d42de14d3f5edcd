//! The text of a setting's place: `prediction[0].alert.raise`, `broker."hall 2".url`.

use std::fmt::Write as _;

/// `parent.key`, with the key quoted where TOML would need it.
pub(super) fn child(parent: &str, key: &str) -> String {
    let mut path = String::with_capacity(parent.len() + key.len() + 1);
    path.push_str(parent);
    if !parent.is_empty() {
        path.push('.');
    }
    if is_bare(key) {
        path.push_str(key);
    } else {
        write!(path, "{key:?}").expect("writing to a String does not fail");
    }
    path
}

pub(super) fn element(parent: &str, index: usize) -> String {
    format!("{parent}[{index}]")
}

pub(super) fn is_bare(key: &str) -> bool {
    !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

/// The path without its last step; `None` for the root.
pub(super) fn parent(path: &str) -> Option<&str> {
    if path.is_empty() {
        return None;
    }
    let mut quoted = false;
    let mut escaped = false;
    let mut cut = 0;
    for (at, c) in path.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            '.' | '[' if !quoted => cut = at,
            _ => {}
        }
    }
    Some(&path[..cut])
}

/// Whether `path` is `ancestor` or lies inside it.
pub(super) fn is_within(path: &str, ancestor: &str) -> bool {
    path.strip_prefix(ancestor).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parents_are_cut_at_the_last_unquoted_step() {
        assert_eq!(parent("a.b[0].c"), Some("a.b[0]"));
        assert_eq!(parent("a.b[0]"), Some("a.b"));
        assert_eq!(parent("a"), Some(""));
        assert_eq!(parent(""), None);
        let odd = child(&child("broker", "hall \"2\".[x]"), "url");
        assert_eq!(parent(&odd), Some(child("broker", "hall \"2\".[x]").as_str()));
        assert_eq!(parent(parent(&odd).unwrap()), Some("broker"));
    }

    #[test]
    fn within_needs_a_whole_step() {
        assert!(is_within("mqtt[1].topic", "mqtt[1]"));
        assert!(!is_within("mqtt[10].topic", "mqtt[1]"));
        assert!(!is_within("storey", "store"));
    }
}
