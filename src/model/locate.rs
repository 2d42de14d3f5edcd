//! Where a key stands in a TOML text, for errors that are found after parsing.

/// Line and column of a byte, counted from 1.
pub(super) fn line_and_column(text: &str, offset: usize) -> (usize, usize) {
    let before = &text.as_bytes()[..offset.min(text.len())];
    let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
    let column = before.iter().rev().take_while(|byte| **byte != b'\n').count() + 1;
    (line, column)
}

/// Finds `input.tag[2].std`: its line in the third `[[input.tag]]`, or else that header's line.
/// Good enough for cards as people write them; inline tables are found by their section.
pub(super) fn key(text: &str, path: &str) -> Option<(usize, usize)> {
    let (section, name) = path.rsplit_once('.').unwrap_or(("", path));
    let (section, nth) = match section.split_once('[') {
        Some((table, index)) => (table, index.trim_end_matches(']').parse().ok()?),
        None => (section, 0_usize),
    };
    let mut here = section.is_empty();
    let mut header = None;
    let mut seen = 0;
    for (line, content) in text.lines().enumerate() {
        let trimmed = content.trim_start();
        let column = content.len() - trimmed.len() + 1;
        if trimmed.starts_with('[') {
            let title = trimmed.split(']').next()?.trim_start_matches('[').trim();
            here = title == section && {
                seen += 1;
                seen == nth + 1
            };
            if here {
                header = Some((line + 1, column));
            }
        } else if here {
            let word = trimmed.split(['=', ' ', '\t']).next()?;
            if word == name.split('[').next()? {
                return Some((line + 1, column));
            }
        }
    }
    header
}

#[cfg(test)]
mod tests {
    use super::key;

    #[test]
    fn a_key_is_found_in_its_own_section() {
        let text = "name = \"a\"\n[[input.tag]]\nstd = 1\n[[input.tag]]\n  std = 2\n[output]\n";
        assert_eq!(key(text, "name"), Some((1, 1)));
        assert_eq!(key(text, "input.tag[1].std"), Some((5, 3)));
        assert_eq!(key(text, "input.tag[1].mean"), Some((4, 1)));
        assert_eq!(key(text, "output.labels"), Some((6, 1)));
        assert_eq!(key(text, "window.length"), None);
    }
}
