//! Topic patterns: an MQTT topic filter in which `{asset}` and `{tag}` capture one level each.

/// A parsed pattern such as `plant/line1/{asset}/telemetry`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicPattern {
    text: String,
    filter: String,
    levels: Vec<Level>,
}

/// What a pattern captured from a topic. A captured level may be empty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Captures<'t> {
    pub asset: Option<&'t str>,
    pub tag: Option<&'t str>,
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum TopicError {
    #[error("the topic is empty: write a filter such as `plant/line1/{{asset}}/telemetry`")]
    Empty,
    #[error("the topic has {0} bytes; MQTT allows 65535")]
    TooLong(usize),
    #[error("the topic holds a NUL character, which MQTT does not allow")]
    Nul,
    #[error("`#` stands for all further levels: it must be a whole level, and the last")]
    Rest,
    #[error("`+` stands for a whole level; `{0}` is not one")]
    Any(String),
    #[error("a capture is a whole level, `{{asset}}` or `{{tag}}`; `{0}` is neither")]
    Capture(String),
    #[error("`{{{0}}}` stands twice in the topic; name it once")]
    Twice(&'static str),
    #[error("a shared subscription is `$share/<group>/<filter>`")]
    Share,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Level {
    Literal(String),
    Any,
    Asset,
    Tag,
    Rest,
}

impl TopicPattern {
    pub fn parse(text: &str) -> Result<Self, TopicError> {
        if text.is_empty() {
            return Err(TopicError::Empty);
        }
        if text.contains('\0') {
            return Err(TopicError::Nul);
        }
        let (share, path) = split_share(text)?;
        let mut levels: Vec<Level> = Vec::new();
        for level in path.split('/') {
            if levels.last() == Some(&Level::Rest) {
                return Err(TopicError::Rest);
            }
            let level = Level::parse(level)?;
            match level {
                Level::Asset if levels.contains(&level) => return Err(TopicError::Twice("asset")),
                Level::Tag if levels.contains(&level) => return Err(TopicError::Twice("tag")),
                _ => levels.push(level),
            }
        }
        let path: Vec<&str> = levels.iter().map(Level::as_filter).collect();
        let filter = format!("{share}{}", path.join("/"));
        if filter.len() > usize::from(u16::MAX) {
            return Err(TopicError::TooLong(filter.len()));
        }
        Ok(Self { text: text.to_owned(), filter, levels })
    }

    /// As written in the configuration.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// As the broker knows it: captures are `+`.
    pub fn filter(&self) -> &str {
        &self.filter
    }

    pub fn captures_asset(&self) -> bool {
        self.levels.contains(&Level::Asset)
    }

    pub fn captures_tag(&self) -> bool {
        self.levels.contains(&Level::Tag)
    }

    /// What `topic` holds at the captured levels; `None` when it does not match.
    pub fn captures<'t>(&self, topic: &'t str) -> Option<Captures<'t>> {
        let mut captures = Captures::default();
        let mut rest = Some(topic);
        for (depth, level) in self.levels.iter().enumerate() {
            // Wildcards at the first level do not match the broker's own `$SYS` topics.
            let hidden = depth == 0 && topic.starts_with('$');
            if *level == Level::Rest {
                // `a/#` matches `a` too.
                return (!hidden).then_some(captures);
            }
            let (head, tail) = match rest?.split_once('/') {
                Some((head, tail)) => (head, Some(tail)),
                None => (rest?, None),
            };
            match level {
                Level::Literal(name) if name == head => {}
                Level::Literal(_) => return None,
                _ if hidden => return None,
                Level::Asset => captures.asset = Some(head),
                Level::Tag => captures.tag = Some(head),
                Level::Any | Level::Rest => {}
            }
            rest = tail;
        }
        rest.is_none().then_some(captures)
    }
}

impl Level {
    fn parse(level: &str) -> Result<Self, TopicError> {
        match level {
            "+" => Ok(Self::Any),
            "#" => Ok(Self::Rest),
            "{asset}" => Ok(Self::Asset),
            "{tag}" => Ok(Self::Tag),
            _ if level.contains(['{', '}']) => Err(TopicError::Capture(level.to_owned())),
            _ if level.contains('#') => Err(TopicError::Rest),
            _ if level.contains('+') => Err(TopicError::Any(level.to_owned())),
            _ => Ok(Self::Literal(level.to_owned())),
        }
    }

    fn as_filter(&self) -> &str {
        match self {
            Self::Literal(name) => name,
            Self::Any | Self::Asset | Self::Tag => "+",
            Self::Rest => "#",
        }
    }
}

/// Splits `$share/<group>/` off: the broker takes it, but topics arrive without it.
fn split_share(text: &str) -> Result<(&str, &str), TopicError> {
    let Some(rest) = text.strip_prefix("$share/") else {
        return Ok(("", text));
    };
    match rest.split_once('/') {
        Some((group, path))
            if !group.is_empty() && !path.is_empty() && !group.contains(['+', '#', '{', '}']) =>
        {
            Ok(text.split_at(text.len() - path.len()))
        }
        _ => Err(TopicError::Share),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn captures<'t>(pattern: &str, topic: &'t str) -> Option<(Option<&'t str>, Option<&'t str>)> {
        let captures = TopicPattern::parse(pattern).unwrap().captures(topic)?;
        Some((captures.asset, captures.tag))
    }

    #[test]
    fn captures_become_plus_in_the_filter() {
        let pattern = TopicPattern::parse("plant/line1/{asset}/telemetry").unwrap();
        assert_eq!(pattern.filter(), "plant/line1/+/telemetry");
        assert!(pattern.captures_asset() && !pattern.captures_tag());
        let shared = TopicPattern::parse("$share/edge/{asset}/{tag}/#").unwrap();
        assert_eq!(shared.filter(), "$share/edge/+/+/#");
    }

    #[test]
    fn levels_are_captured_by_place() {
        let press = Some((Some("press-3"), None));
        assert_eq!(captures("plant/{asset}/telemetry", "plant/press-3/telemetry"), press);
        assert_eq!(
            captures("{tag}/{asset}", "temp/press-3"),
            Some((Some("press-3"), Some("temp")))
        );
        assert_eq!(captures("$share/g/a/{asset}", "a/press-3"), press);
        assert_eq!(captures("a/{asset}/#", "a/press-3"), press);
        assert_eq!(captures("a/{asset}/#", "a/press-3/b/c"), press);
        assert_eq!(captures("a/+/{asset}", "a/b/press-3"), press);
        assert_eq!(captures("a/{asset}", "a/"), Some((Some(""), None)));
    }

    #[test]
    fn other_topics_do_not_match() {
        assert_eq!(captures("plant/{asset}/telemetry", "plant/press-3/alarm"), None);
        assert_eq!(captures("plant/{asset}", "plant/press-3/telemetry"), None);
        assert_eq!(captures("plant/{asset}/telemetry", "plant/press-3"), None);
        assert_eq!(captures("#", "$SYS/broker/uptime"), None);
        assert_eq!(captures("{asset}/broker", "$SYS/broker"), None);
    }

    #[test]
    fn what_is_wrong_is_said_in_a_sentence() {
        let error = |pattern: &str| TopicPattern::parse(pattern).unwrap_err();
        assert_eq!(error(""), TopicError::Empty);
        assert_eq!(error("a/#/b"), TopicError::Rest);
        assert_eq!(error("a/b#"), TopicError::Rest);
        assert_eq!(error("a/b+"), TopicError::Any("b+".into()));
        assert_eq!(error("a/press-{asset}"), TopicError::Capture("press-{asset}".into()));
        assert_eq!(error("{asset}/{asset}"), TopicError::Twice("asset"));
        assert_eq!(error("$share/g"), TopicError::Share);
        assert_eq!(
            error("a/{machine}").to_string(),
            "a capture is a whole level, `{asset}` or `{tag}`; `{machine}` is neither"
        );
    }

    proptest! {
        #[test]
        fn a_topic_built_from_its_captures_gives_them_back(
            asset in "[^/+#{}\0]{1,12}", tag in "[^/+#{}\0]{1,12}",
        ) {
            let topic = format!("plant/{asset}/x/{tag}");
            prop_assert_eq!(
                captures("plant/{asset}/x/{tag}", &topic),
                Some((Some(asset.as_str()), Some(tag.as_str())))
            );
        }
    }
}
