//! What systems say of a window or of an alert: `{"time":"2026-11-23T06:41:20Z","label":"bad"}`.

use serde::Deserialize;

use crate::time::Timestamp;

/// A longer body is not read.
const MAX_BODY: usize = 4096;

/// A label, read and checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    pub about: About,
    /// A bad part; an alert that was right.
    pub bad: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum About {
    /// The window of `prediction` on `asset` that covers `time`, or ends there.
    Window { asset: String, prediction: String, time: Timestamp },
    /// The verdict that raised it.
    Alert { alert_id: String },
}

/// The body is not a label.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum LabelError {
    #[error("the label has {0} bytes; at most {MAX_BODY} are read")]
    TooLong(usize),
    #[error(
        "the label cannot be read: {0}; write {{\"time\":\"2026-11-23T06:41:20Z\",\"label\":\"bad\"}} \
         or {{\"alert_id\":\"…\",\"label\":\"true\"}}"
    )]
    Json(String),
    #[error("`{0}` is not an RFC 3339 time; write 2026-11-23T06:41:20Z or the like")]
    Time(String),
    #[error("a label is about a `time` or about an `alert_id`: write one of them")]
    About,
    #[error("`{0}` is missing: a label of a time says which asset and prediction are meant")]
    Missing(&'static str),
    #[error("`{field}` is `{body}` in the body and `{topic}` in the topic")]
    Contradicts { field: &'static str, body: String, topic: String },
    #[error("`alert_id` says which asset and prediction are meant; leave those out")]
    Names,
    #[error("a window is \"good\" or \"bad\", and an alert \"true\" or \"false\"")]
    Word,
}

impl Label {
    /// `topic` has the asset and the prediction, where those stand outside of the body.
    pub fn parse(body: &[u8], topic: Option<(&str, &str)>) -> Result<Self, LabelError> {
        if body.len() > MAX_BODY {
            return Err(LabelError::TooLong(body.len()));
        }
        let raw: Raw =
            serde_json::from_slice(body).map_err(|error| LabelError::Json(error.to_string()))?;
        let raw_names = raw.asset.is_some() || raw.prediction.is_some();
        let asset = named("asset", raw.asset, topic.map(|topic| topic.0))?;
        let prediction = named("prediction", raw.prediction, topic.map(|topic| topic.1))?;
        match (raw.alert_id, raw.time) {
            (Some(alert_id), None) => {
                if raw_names {
                    return Err(LabelError::Names);
                }
                let bad = match raw.label {
                    Word::True => true,
                    Word::False => false,
                    Word::Good | Word::Bad => return Err(LabelError::Word),
                };
                Ok(Self { about: About::Alert { alert_id }, bad })
            }
            (None, Some(time)) => {
                let bad = match raw.label {
                    Word::Bad => true,
                    Word::Good => false,
                    Word::True | Word::False => return Err(LabelError::Word),
                };
                let time = Timestamp::parse_rfc3339_clamped(&time).ok_or(LabelError::Time(time))?;
                let asset = asset.ok_or(LabelError::Missing("asset"))?;
                let prediction = prediction.ok_or(LabelError::Missing("prediction"))?;
                Ok(Self { about: About::Window { asset, prediction, time }, bad })
            }
            _ => Err(LabelError::About),
        }
    }
}

fn named(
    field: &'static str,
    body: Option<String>,
    topic: Option<&str>,
) -> Result<Option<String>, LabelError> {
    match (body, topic) {
        (Some(body), Some(topic)) if body != topic => {
            Err(LabelError::Contradicts { field, body, topic: topic.to_owned() })
        }
        (body, topic) => Ok(body.or_else(|| topic.map(str::to_owned))),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    #[serde(default, deserialize_with = "present")]
    asset: Option<String>,
    #[serde(default, deserialize_with = "present")]
    prediction: Option<String>,
    #[serde(default, deserialize_with = "present")]
    time: Option<String>,
    #[serde(default, deserialize_with = "present")]
    alert_id: Option<String>,
    label: Word,
}

/// A `null` is no name.
fn present<'de, D: serde::Deserializer<'de>>(value: D) -> Result<Option<String>, D::Error> {
    String::deserialize(value).map(Some)
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Word {
    Good,
    Bad,
    True,
    False,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(body: &str) -> String {
        Label::parse(body.as_bytes(), Some(("press-3", "wear"))).unwrap_err().to_string()
    }

    #[test]
    fn labels_are_read_with_names_from_the_topic_or_the_body() {
        let about = About::Window {
            asset: "press-3".into(),
            prediction: "wear".into(),
            time: Timestamp::from_secs(1_700_000_000),
        };
        let bad = Label { about, bad: true };
        let short = br#"{"time":"2023-11-14T22:13:20Z","label":"bad"}"#;
        assert_eq!(Label::parse(short, Some(("press-3", "wear"))), Ok(bad.clone()));
        let long = br#"{"asset":"press-3","prediction":"wear","time":"2023-11-14T23:13:20+01:00","label":"bad"}"#;
        assert_eq!(Label::parse(long, None), Ok(bad));
        let alert = Label::parse(br#"{"alert_id":"x","label":"false"}"#, None);
        let about = About::Alert { alert_id: "x".into() };
        assert_eq!(alert, Ok(Label { about, bad: false }));
    }

    #[test]
    fn what_is_not_a_label_is_told_what_to_write() {
        assert!(error("bad").contains("cannot be read"));
        assert!(error(r#"{"label":"bad"}"#).contains("`time` or about an `alert_id`"));
        assert!(error(r#"{"time":"now","label":"bad"}"#).contains("RFC 3339"));
        assert!(error(r#"{"time":"2023-11-14T22:13:20Z","label":"true"}"#).contains("\"good\""));
        assert!(error(r#"{"alert_id":null,"label":"true"}"#).contains("null"));
        let named = error(r#"{"asset":"press-3","alert_id":"x","label":"true"}"#);
        assert!(named.contains("leave those out"), "{named}");
        assert!(error(r#"{"alert_id":"x","label":"bad"}"#).contains("\"true\""));
        assert!(error(r#"{"alert_id":"x","label":"perhaps"}"#).contains("perhaps"));
        assert!(error(r#"{"alert_id":"x","label":"true","who":1}"#).contains("`who`"));
        let other = error(r#"{"asset":"press-4","time":"2023-11-14T22:13:20Z","label":"bad"}"#);
        assert!(other.contains("`press-4` in the body and `press-3` in the topic"), "{other}");
        let body = br#"{"prediction":"wear","time":"2023-11-14T22:13:20Z","label":"bad"}"#;
        assert_eq!(Label::parse(body, None), Err(LabelError::Missing("asset")));
        assert!(error(&" ".repeat(5000)).contains("5000 bytes"));
    }
}
