//! Layout `text`: a text to a string, as the card says.

use std::sync::Arc;

use serde::Deserialize;

/// `[input.text]` of a model card.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TextInput {
    /// The graph gets lower case, by Unicode. ONNX Runtime's own `StringNormalizer` needs the box
    /// to have the locale that the graph names.
    pub lowercase: bool,
    /// Spaces and ends of lines that follow each other become one space.
    pub single_spaces: bool,
}

impl TextInput {
    /// What the model takes.
    pub fn prepared(self, text: &Arc<str>) -> Arc<str> {
        let Self { lowercase, single_spaces } = self;
        if !(lowercase || single_spaces) {
            return Arc::clone(text);
        }
        let mut made = if lowercase { text.to_lowercase() } else { text.to_string() };
        if single_spaces {
            made = made.split_whitespace().collect::<Vec<_>>().join(" ");
        }
        made.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_changed_only_as_the_card_asks() {
        let text: Arc<str> = "ÖLDRUCK\u{a0}ΣΑΣ\r\n  İST weg".into();
        let plain = TextInput::default();
        assert!(Arc::ptr_eq(&plain.prepared(&text), &text));
        // As Python's `lower` and `split`.
        let both = TextInput { lowercase: true, single_spaces: true };
        assert_eq!(&*both.prepared(&text), "öldruck σας i\u{307}st weg");
        assert_eq!(both.prepared(&both.prepared(&text)), both.prepared(&text));
    }
}
