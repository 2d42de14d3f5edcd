//! Assets: the machines and lines that are watched.

/// An asset by its place in the [`Registry`](crate::tag::Registry). Dense, starts at 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct AssetId(pub u32);

/// Matches names against a pattern in which `*` stands for any run of characters: `press-*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamePattern(String);

impl NamePattern {
    pub fn new(pattern: impl Into<String>) -> Self {
        Self(pattern.into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn matches(&self, name: &str) -> bool {
        let mut parts = self.0.split('*');
        let Some(mut rest) = parts.next().and_then(|head| name.strip_prefix(head)) else {
            return false;
        };
        let Some(tail) = parts.next_back() else {
            return rest.is_empty();
        };
        for part in parts {
            match rest.find(part) {
                Some(at) => rest = &rest[at + part.len()..],
                None => return false,
            }
        }
        rest.ends_with(tail)
    }
}

#[cfg(test)]
mod tests {
    use super::NamePattern;

    #[test]
    fn star_stands_for_any_run() {
        let matches = |pattern: &str, name: &str| NamePattern::new(pattern).matches(name);
        assert!(matches("press-*", "press-3"));
        assert!(matches("*", ""));
        assert!(matches("a*b*c", "a--b--c"));
        assert!(matches("press-3", "press-3"));
        assert!(!matches("press-3", "press-31"));
        assert!(!matches("ab*ba", "aba"));
        assert!(!matches("a*b*c", "a--c"));
    }
}
