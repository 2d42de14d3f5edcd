//! The alert's sentence.

use std::time::Duration;

use super::number::readable;
use super::spec::AlertKind;
use crate::settings::RuleKind;
use crate::verdict::{Contribution, Region};

/// What a template may name.
pub const PLACEHOLDERS: [&str; 8] =
    ["asset", "score", "threshold", "tag", "label", "prediction", "note", "place"];

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "`{{{name}}}` means nothing in an alert's text; filled in are {{{known}}}",
    name = .0,
    known = PLACEHOLDERS.join("}, {")
)]
pub struct UnknownPlaceholder(pub String);

/// Refuses a text with a placeholder that would be left standing.
pub fn check_template(template: &str) -> Result<(), UnknownPlaceholder> {
    let mut unknown = None;
    expand(template, |name| {
        if !PLACEHOLDERS.contains(&name) {
            unknown.get_or_insert_with(|| name.to_owned());
        }
        None
    });
    unknown.map_or(Ok(()), |name| Err(UnknownPlaceholder(name)))
}

/// What a sentence is made of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fields<'a> {
    pub(super) asset: &'a str,
    pub(super) prediction: &'a str,
    pub(super) kind: &'a AlertKind,
    pub(super) score: f64,
    pub(super) threshold: f64,
    pub(super) label: Option<&'a str>,
    pub(super) note: Option<&'a str>,
    /// Of a picture.
    pub(super) region: Option<Region>,
    /// Reasons may still come.
    pub(super) pending: bool,
    pub(super) contributions: &'a [Contribution],
}

impl Fields<'_> {
    pub(super) fn render(&self, template: Option<&str>) -> String {
        match template {
            Some(template) => expand(template, |name| self.value(name)),
            None => self.default_sentence(),
        }
    }

    fn value(&self, name: &str) -> Option<String> {
        match name {
            "asset" => Some(self.asset.to_owned()),
            "prediction" => Some(self.prediction.to_owned()),
            "score" => Some(readable(self.score)),
            "threshold" => Some(readable(self.threshold)),
            "note" => Some(self.note.unwrap_or("no text").to_owned()),
            "tag" => Some(self.tag().unwrap_or(self.no_tag()).to_owned()),
            "place" => {
                Some(self.region.map_or_else(|| "place not told".to_owned(), |at| at.to_string()))
            }
            "label" => Some(self.label.unwrap_or("no class").to_owned()),
            _ => None,
        }
    }

    const fn no_tag(&self) -> &'static str {
        if self.pending { "a tag not yet known" } else { "an unknown tag" }
    }

    fn tag(&self) -> Option<&str> {
        match self.kind {
            AlertKind::Rule { tag, .. } => Some(tag),
            AlertKind::Prediction
            | AlertKind::Drift
            | AlertKind::Model
            | AlertKind::Errors
            | AlertKind::Flood => self.contributions.first().map(|first| first.tag.as_str()),
        }
    }

    fn default_sentence(&self) -> String {
        let Self { asset, prediction, .. } = self;
        let score = readable(self.score);
        let threshold = readable(self.threshold);
        match self.kind {
            AlertKind::Prediction => {
                let reason = self.contributions.first().map_or_else(String::new, |first| {
                    let value = first
                        .value
                        .map_or_else(String::new, |value| format!(" ({})", readable(value)));
                    format!(", mostly because of {}{value}", first.tag)
                });
                let note = self.note.map_or_else(String::new, |note| format!(" “{note}”;"));
                let place = self.region.map_or_else(String::new, |at| format!(", {at}"));
                let limit = format!("limit {threshold}{reason}{place}");
                format!("{asset}:{note} {prediction} says {score}, {limit}.")
            }
            AlertKind::Errors => {
                let what = self.label.unwrap_or("labels contradict it");
                let about = prediction.strip_suffix("-errors").unwrap_or(prediction);
                format!("{asset}: {about} is wrong more often than it was: {what}.")
            }
            AlertKind::Model => {
                let what = self.label.unwrap_or("its answers cannot be used");
                let about = prediction.strip_suffix("-model").unwrap_or(prediction);
                format!("The model of {about} is unhealthy: {what}.")
            }
            AlertKind::Flood => {
                let what = self.label.unwrap_or("more alerts change than can be read");
                format!("Alert flood: {what}.")
            }
            AlertKind::Drift => {
                let what = self.label.unwrap_or("its figures");
                let about = prediction.strip_suffix("-drift").unwrap_or(prediction);
                format!("{asset}: the data of {about} no longer look like its training: {what}.")
            }
            AlertKind::Rule { when, tag } => match when {
                RuleKind::Above => format!("{asset}: {tag} is {score}, above {threshold}."),
                RuleKind::Below => format!("{asset}: {tag} is {score}, below {threshold}."),
                RuleKind::Rate => {
                    format!("{asset}: {tag} changes by {score} a second, limit {threshold}.")
                }
                RuleKind::Flat => {
                    format!("{asset}: {tag} has not changed for {}.", span(self.score))
                }
                RuleKind::Shewhart => {
                    format!("{asset}: {tag} lies {score} sigma from its mean, limit {threshold}.")
                }
                RuleKind::Ewma => {
                    format!(
                        "{asset}: the average of {tag} has moved by {score} sigma, limit {threshold}."
                    )
                }
                RuleKind::Cusum => {
                    format!("{asset}: {tag} has drifted, sum {score} sigma, limit {threshold}.")
                }
                RuleKind::Nelson => {
                    let rules = self.label.unwrap_or("Nelson's rules");
                    format!("{asset}: {tag} is out of control ({rules}).")
                }
                RuleKind::Capability => {
                    format!("{asset}: Cpk of {tag} is {score}, below {threshold}.")
                }
                RuleKind::Silent => {
                    format!("{asset}: {tag} has not reported for {}.", span(self.score))
                }
            },
        }
    }
}

/// Seconds as `1m 30s`; parts of a second only in short ones.
fn span(seconds: f64) -> String {
    let seconds = if seconds >= 10.0 { seconds.round() } else { (seconds * 1e3).round() / 1e3 };
    Duration::try_from_secs_f64(seconds).map_or_else(
        |_| format!("{} seconds", readable(seconds)),
        |span| humantime::format_duration(span).to_string(),
    )
}

/// Puts `fill(name)` in the place of `{name}`; a placeholder that it does not know stays.
fn expand(template: &str, mut fill: impl FnMut(&str) -> Option<String>) -> String {
    let mut text = String::with_capacity(template.len() + 32);
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        text.push_str(before);
        let Some((name, behind)) = after.split_once('}') else {
            text.push('{');
            rest = after;
            continue;
        };
        match fill(name) {
            Some(value) => text.push_str(&value),
            None => text.extend(["{", name, "}"]),
        }
        rest = behind;
    }
    text.push_str(rest);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sentence(kind: &AlertKind, template: Option<&str>) -> String {
        let contributions = [Contribution { tag: "current".into(), value: Some(12.5), share: 0.4 }];
        Fields {
            asset: "press-3",
            prediction: "wear",
            kind,
            score: 95.25,
            threshold: 80.0,
            label: Some("worn"),
            note: None,
            region: None,
            pending: false,
            contributions: &contributions,
        }
        .render(template)
    }

    fn rule(when: RuleKind) -> AlertKind {
        AlertKind::Rule { when, tag: "pressure".into() }
    }

    #[test]
    fn templates_are_filled_in() {
        let template = "{asset} {prediction}: {tag} {label} {score}/{threshold} {?} {";
        assert_eq!(
            sentence(&AlertKind::Prediction, Some(template)),
            "press-3 wear: current worn 95.25/80 {?} {"
        );
        assert_eq!(check_template("{asset} {tag} { {}"), Err(UnknownPlaceholder(" {".into())));
        assert_eq!(check_template("{asset}: {colour}"), Err(UnknownPlaceholder("colour".into())));
        assert_eq!(check_template("{asset} at {score}, 100 %"), Ok(()));
    }

    #[test]
    fn a_tag_that_is_being_worked_out_is_not_called_unknown() {
        let told = |pending| {
            let kind = &AlertKind::Prediction;
            let (asset, prediction, contributions) = ("press-3", "wear", &[][..]);
            let (label, note, region) = (None, None, None);
            Fields {
                asset,
                prediction,
                kind,
                score: 1.0,
                threshold: 0.5,
                label,
                note,
                region,
                pending,
                contributions,
            }
            .render(Some("mostly {tag}"))
        };
        assert_eq!(told(true), "mostly a tag not yet known");
        assert_eq!(told(false), "mostly an unknown tag");
    }

    #[test]
    fn a_place_in_a_picture_is_told_from_its_corner() {
        let told = |region, template| {
            Fields {
                asset: "screw-1",
                prediction: "pits",
                kind: &AlertKind::Prediction,
                score: 0.83,
                threshold: 0.5,
                label: None,
                note: None,
                region,
                pending: false,
                contributions: &[],
            }
            .render(template)
        };
        let at = Some(Region { left: 0.5, top: 0.25, width: 0.25, height: 0.1 });
        assert_eq!(
            told(at, None),
            "screw-1: pits says 0.83, limit 0.5, 62 % from the left, 30 % from the top."
        );
        assert_eq!(told(at, Some("{place}")), "62 % from the left, 30 % from the top");
        assert_eq!(told(None, Some("{place}")), "place not told");
    }

    #[test]
    fn default_sentences_say_what_is_wrong() {
        assert_eq!(
            sentence(&AlertKind::Prediction, None),
            "press-3: wear says 95.25, limit 80, mostly because of current (12.5)."
        );
        assert_eq!(sentence(&rule(RuleKind::Above), None), "press-3: pressure is 95.25, above 80.");
        assert_eq!(
            sentence(&rule(RuleKind::Flat), None),
            "press-3: pressure has not changed for 1m 35s."
        );
        assert_eq!(
            sentence(&rule(RuleKind::Silent), None),
            "press-3: pressure has not reported for 1m 35s."
        );
    }
}
