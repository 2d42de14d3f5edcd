//! Topic patterns: MQTT filters in which `{asset}` and `{tag}` capture one level each.

/// A pattern's levels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pattern(Vec<Level>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Level {
    Literal(String),
    /// `+`
    One,
    Asset,
    Tag,
    /// `#`
    Rest,
}

impl Pattern {
    /// The pattern, or what is wrong with it.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("the topic is empty".into());
        }
        if text.starts_with("$share/") {
            return Err("shared subscriptions are not supported: one box reads it all".into());
        }
        let levels: Vec<Level> = text.split('/').map(level).collect::<Result<_, _>>()?;
        if levels.iter().rev().skip(1).any(|level| *level == Level::Rest) {
            return Err("`#` stands for all further levels, so it can only be the last".into());
        }
        for (capture, name) in [(Level::Asset, "{asset}"), (Level::Tag, "{tag}")] {
            if levels.iter().filter(|level| **level == capture).count() > 1 {
                return Err(format!("`{name}` can stand only once"));
            }
        }
        Ok(Self(levels))
    }

    /// All that the daemon itself publishes or hears below `prefix`.
    pub(super) fn own(prefix: &str) -> Vec<Self> {
        ["status", "+/alert/#", "+/verdict/#"]
            .iter()
            .filter_map(|rest| Self::parse(&format!("{prefix}/{rest}")).ok())
            .collect()
    }

    pub(super) fn captures_asset(&self) -> bool {
        self.0.contains(&Level::Asset)
    }

    pub(super) fn captures_tag(&self) -> bool {
        self.0.contains(&Level::Tag)
    }

    /// Whether some topic matches both.
    pub(super) fn overlaps(&self, other: &Self) -> bool {
        overlap(&self.0, &other.0)
    }
}

fn level(text: &str) -> Result<Level, String> {
    Ok(match text {
        "+" => Level::One,
        "#" => Level::Rest,
        "{asset}" => Level::Asset,
        "{tag}" => Level::Tag,
        _ if text.contains(['{', '}']) => {
            return Err(format!(
                "the level {text:?} is no capture: `{{asset}}` or `{{tag}}` fill a whole level"
            ));
        }
        _ if text.contains(['+', '#']) => {
            return Err(format!("the level {text:?} mixes a wildcard with text"));
        }
        _ if text.chars().any(char::is_control) => {
            return Err(format!("the level {text:?} holds a control character"));
        }
        _ => Level::Literal(text.to_owned()),
    })
}

fn overlap(a: &[Level], b: &[Level]) -> bool {
    match (a, b) {
        ([], []) | ([Level::Rest], _) | (_, [Level::Rest]) => true,
        ([Level::Literal(x), a @ ..], [Level::Literal(y), b @ ..]) => x == y && overlap(a, b),
        ([_, a @ ..], [_, b @ ..]) => overlap(a, b),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::Pattern;

    fn overlaps(a: &str, b: &str) -> bool {
        let (a, b) = (Pattern::parse(a).unwrap(), Pattern::parse(b).unwrap());
        assert_eq!(a.overlaps(&b), b.overlaps(&a));
        a.overlaps(&b)
    }

    #[test]
    fn patterns_overlap_when_a_topic_fits_both() {
        assert!(overlaps("plant/{asset}/telemetry", "plant/+/telemetry"));
        assert!(overlaps("plant/#", "plant"));
        assert!(overlaps("plant/press-1/{tag}", "plant/{asset}/pressure"));
        assert!(!overlaps("plant/{asset}/a", "plant/{asset}/b"));
        assert!(!overlaps("plant/{asset}", "plant/{asset}/b"));
    }

    #[test]
    fn wrong_patterns_say_why() {
        for wrong in ["", "a/#/b", "{asset}/{asset}", "press-{asset}", "a+", "{line}", "$share/g/a"]
        {
            assert!(Pattern::parse(wrong).is_err(), "{wrong}");
        }
    }
}
