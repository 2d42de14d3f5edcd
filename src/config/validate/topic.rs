//! Whether two topic patterns can match the same message.

use crate::decode::topic::TopicPattern;

/// Whether some topic matches both.
pub(super) fn overlap(a: &TopicPattern, b: &TopicPattern) -> bool {
    let (a, b): (Vec<_>, Vec<_>) = (levels(a).collect(), levels(b).collect());
    levels_overlap(&a, &b)
}

/// All that the daemon itself publishes or hears below `prefix`.
pub(super) fn own(prefix: &str) -> Vec<TopicPattern> {
    ["status", "+/alert/#", "+/verdict/#"]
        .iter()
        .filter_map(|rest| TopicPattern::parse(&format!("{prefix}/{rest}")).ok())
        .collect()
}

/// Topics arrive without the group of a shared subscription.
fn levels(pattern: &TopicPattern) -> std::str::Split<'_, char> {
    let filter = pattern.filter();
    let group = filter.strip_prefix("$share/").and_then(|rest| rest.split_once('/'));
    group.map_or(filter, |(_, filter)| filter).split('/')
}

fn levels_overlap(a: &[&str], b: &[&str]) -> bool {
    match (a, b) {
        ([], []) | (["#"], _) | (_, ["#"]) => true,
        ([x, a @ ..], [y, b @ ..]) => (x == y || *x == "+" || *y == "+") && levels_overlap(a, b),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn overlaps(a: &str, b: &str) -> bool {
        let (a, b) = (TopicPattern::parse(a).unwrap(), TopicPattern::parse(b).unwrap());
        assert_eq!(overlap(&a, &b), overlap(&b, &a));
        overlap(&a, &b)
    }

    #[test]
    fn patterns_overlap_when_a_topic_fits_both() {
        assert!(overlaps("plant/{asset}/telemetry", "plant/+/telemetry"));
        assert!(overlaps("plant/#", "plant"));
        assert!(overlaps("plant/press-1/{tag}", "plant/{asset}/pressure"));
        assert!(overlaps("$share/edge/plant/{asset}", "plant/press-1"));
        assert!(!overlaps("plant/{asset}/a", "plant/{asset}/b"));
        assert!(!overlaps("plant/{asset}", "plant/{asset}/b"));
    }
}
