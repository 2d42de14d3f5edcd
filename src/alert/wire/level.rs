//! Names as one level of a topic. A payload may name an asset `a/b` or `#`; on the wire that
//! would be another topic, or a protocol error that ends the connection.

use std::borrow::Cow;
use std::fmt::Write as _;

/// `name` with `/`, `+`, `#`, `%` and control characters written as `%2F` and so on.
pub fn encode_level(name: &str) -> Cow<'_, str> {
    let is_special = |c: char| matches!(c, '/' | '+' | '#' | '%') || c.is_control();
    if !name.contains(is_special) {
        return Cow::Borrowed(name);
    }
    let mut level = String::with_capacity(name.len() + 8);
    for c in name.chars() {
        if is_special(c) {
            percent(&mut level, c);
        } else {
            level.push(c);
        }
    }
    Cow::Owned(level)
}

/// The name that [`encode_level`] wrote as `level`. What it cannot have written stays as it is.
pub fn decode_level(level: &str) -> Cow<'_, str> {
    if !level.contains('%') {
        return Cow::Borrowed(level);
    }
    let mut name = Vec::with_capacity(level.len());
    let mut rest = level.as_bytes();
    while let Some((&first, behind)) = rest.split_first() {
        let code = (first == b'%')
            .then(|| std::str::from_utf8(behind.get(..2)?).ok())
            .flatten()
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        name.push(code.unwrap_or(first));
        rest = if code.is_some() { &behind[2..] } else { behind };
    }
    String::from_utf8(name).map_or(Cow::Borrowed(level), Cow::Owned)
}

pub(super) fn percent(text: &mut String, c: char) {
    for byte in c.encode_utf8(&mut [0; 4]).bytes() {
        write!(text, "%{byte:02X}").expect("a String takes whatever is written");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_names_stay_one_level_and_come_back() {
        for name in ["press-3", "a/b", "#", "+", "50%", "%2F", "", "Öfen 3", "a\u{0}b\u{9f}"] {
            let level = encode_level(name);
            assert!(!level.contains(['/', '+', '#']) && !level.contains(char::is_control));
            assert_eq!(decode_level(&level), name);
        }
        assert_eq!(encode_level("a/b"), "a%2Fb");
        assert_eq!(decode_level("50%"), "50%");
        assert_eq!(decode_level("%zz%ff"), "%zz%ff");
    }
}
