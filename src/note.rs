//! Texts that people or controllers write: read from bytes, shown on one line, taken apart in words.

/// Longer ones are refused: a message for people has a few lines.
pub const MOST_BYTES: usize = 4096;

/// Characters that an alert shows of a text.
const SHOWN: usize = 200;

/// Why bytes are no text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    #[error("expected UTF-8, got something else from byte {at} on; send the text as UTF-8")]
    NotUtf8 { at: usize },
    #[error("{length} bytes; the most is {MOST_BYTES}")]
    TooLong { length: usize },
    #[error("expected a text, got nothing but spaces")]
    Empty,
    #[error("expected a text, got a NUL character at byte {at}; models cannot take one")]
    Nul { at: usize },
}

/// The text in `bytes`, without a byte order mark and the spaces around it.
pub fn read(bytes: &[u8]) -> Result<&str, NoteError> {
    let length = bytes.len();
    if length > MOST_BYTES {
        return Err(NoteError::TooLong { length });
    }
    let text = std::str::from_utf8(bytes)
        .map_err(|error| NoteError::NotUtf8 { at: error.valid_up_to() })?;
    if let Some(at) = text.find('\0') {
        return Err(NoteError::Nul { at });
    }
    match text.trim_start_matches('\u{feff}').trim() {
        "" => Err(NoteError::Empty),
        text => Ok(text),
    }
}

/// For people: one line, its beginning where it is long, nothing that moves a cursor or turns the
/// direction of what stands beside it.
pub fn shown(text: &str) -> String {
    let plain = |c: char| if c.is_control() || c.is_whitespace() { ' ' } else { c };
    let visible = |c: &char| !matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
    let cleaned: String = text.chars().filter(visible).map(plain).collect();
    let line = cleaned.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", line[..end].trim_end()),
        None => line,
    }
}

/// The words with the bytes where they stand, and without the punctuation around them.
pub fn words(text: &str) -> impl Iterator<Item = (std::ops::Range<usize>, &str)> {
    let place = move |word: &str| {
        let start = word.as_ptr().addr() - text.as_ptr().addr();
        start..start + word.len()
    };
    text.split_whitespace().filter_map(move |word| {
        let bare = word.trim_matches(|c: char| !c.is_alphanumeric());
        (!bare.is_empty()).then(|| (place(word), bare))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_utf_8_and_has_bounds_and_something_in_it() {
        assert_eq!(
            read(b"\xef\xbb\xbf Pumpe l\xc3\xa4uft hei\xc3\x9f\r\n"),
            Ok("Pumpe läuft heiß")
        );
        assert_eq!(read(b"Pumpe l\xe4uft"), Err(NoteError::NotUtf8 { at: 7 }));
        assert_eq!(read(b" \n\t"), Err(NoteError::Empty));
        assert_eq!(read(b""), Err(NoteError::Empty));
        assert_eq!(read(b"a\0b"), Err(NoteError::Nul { at: 1 }));
        assert!(read(&[b'x'; MOST_BYTES]).is_ok());
        let length = MOST_BYTES + 1;
        assert_eq!(read(&vec![b'x'; length]), Err(NoteError::TooLong { length }));
    }

    #[test]
    fn what_is_shown_is_one_short_line_that_does_nothing_to_a_terminal() {
        assert_eq!(shown("Öl\r\n\tleckt \u{1b}[2J\u{202e}jetzt"), "Öl leckt [2Jjetzt");
        let long = "ä".repeat(SHOWN + 1);
        assert_eq!(shown(&long), format!("{}…", "ä".repeat(SHOWN)));
        assert_eq!(shown(&long[2..]), &long[2..]);
    }

    #[test]
    fn words_stand_without_their_punctuation() {
        let text = "Pumpe (P2): leckt, --- sofort!";
        let found: Vec<_> = words(text).map(|(place, bare)| (&text[place], bare)).collect();
        let expected =
            [("Pumpe", "Pumpe"), ("(P2):", "P2"), ("leckt,", "leckt"), ("sofort!", "sofort")];
        assert_eq!(found, expected);
    }
}
