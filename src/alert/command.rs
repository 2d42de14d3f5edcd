//! What people and systems may ask of an alert: `{"action":"acknowledge","by":"R. Meyer"}`.

use std::time::Duration;

use serde::Deserialize;

use super::AlertState;
use crate::time::Timestamp;

/// A longer body is not read.
const MAX_BODY: usize = 4096;
const MAX_BY: usize = 128;
const MAX_COMMENT: usize = 1024;
const SHORTEST_SHELF: Duration = Duration::from_secs(1);
const LONGEST_SHELF: Duration = Duration::from_secs(30 * 24 * 3600);

/// A command, read and checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    pub action: Action,
    pub by: String,
    pub comment: Option<String>,
    /// If given, the command is for this alert and for no newer one.
    pub alert_id: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Acknowledge,
    Shelve(Duration),
    Unshelve,
}

/// The body is not a command.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ParseError {
    #[error("the command has {0} bytes; at most {MAX_BODY} are read")]
    TooLong(usize),
    #[error(
        "the command cannot be read: {0}; write {{\"action\":\"acknowledge\",\"by\":\"name\"}}"
    )]
    Json(String),
    #[error("`by` must say who asks, in 1 to {MAX_BY} characters without control characters")]
    By,
    #[error("`comment` has {0} characters; at most {MAX_COMMENT} are kept")]
    Comment(usize),
    #[error("`shelve` needs `for`, such as \"for\":\"30m\"")]
    NoSpan,
    #[error("`for` belongs to `shelve` only")]
    OddSpan,
    #[error("`for` is `{0}`; write 1s to 30days, such as \"30m\" or \"8h\"")]
    Span(String),
}

/// The command is well-formed, but the alert does not allow it now.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum CommandError {
    #[error("nothing is known about this prediction on this asset; there is nothing to {0}")]
    Unknown(&'static str),
    #[error("the command is for alert {asked}, but the newest alert is {newest}")]
    Superseded { asked: String, newest: String },
    #[error("there is no alert to acknowledge; its state is {0:?}")]
    NothingToAcknowledge(AlertState),
    #[error("the alert is shelved until {0}; unshelve it first")]
    Shelved(Timestamp),
    #[error("the alert is not shelved; its state is {0:?}")]
    NotShelved(AlertState),
}

impl Command {
    pub fn parse(body: &[u8]) -> Result<Self, ParseError> {
        if body.len() > MAX_BODY {
            return Err(ParseError::TooLong(body.len()));
        }
        let raw: Raw =
            serde_json::from_slice(body).map_err(|error| ParseError::Json(error.to_string()))?;
        let by = raw.by.trim();
        if by.is_empty() || by.chars().count() > MAX_BY || by.chars().any(char::is_control) {
            return Err(ParseError::By);
        }
        let comment = raw.comment.as_deref().map(str::trim).filter(|text| !text.is_empty());
        if let Some(length) = comment.map(|text| text.chars().count())
            && length > MAX_COMMENT
        {
            return Err(ParseError::Comment(length));
        }
        let action = match (raw.action, raw.span) {
            (Verb::Shelve, Some(text)) => Action::Shelve(shelf(&text)?),
            (Verb::Shelve, None) => return Err(ParseError::NoSpan),
            (_, Some(_)) => return Err(ParseError::OddSpan),
            (Verb::Acknowledge, None) => Action::Acknowledge,
            (Verb::Unshelve, None) => Action::Unshelve,
        };
        Ok(Self {
            action,
            by: by.to_owned(),
            comment: comment.map(str::to_owned),
            alert_id: raw.alert_id,
        })
    }
}

impl Action {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Acknowledge => "acknowledge",
            Self::Shelve(_) => "shelve",
            Self::Unshelve => "unshelve",
        }
    }
}

fn shelf(text: &str) -> Result<Duration, ParseError> {
    humantime::parse_duration(text)
        .ok()
        .filter(|span| (SHORTEST_SHELF..=LONGEST_SHELF).contains(span))
        .ok_or_else(|| ParseError::Span(text.to_owned()))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    action: Verb,
    by: String,
    comment: Option<String>,
    #[serde(rename = "for")]
    span: Option<String>,
    alert_id: Option<String>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Verb {
    Acknowledge,
    Shelve,
    Unshelve,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(body: &str) -> String {
        Command::parse(body.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn commands_are_read() {
        let body = br#"{"action":"shelve","by":" R. Meyer ","comment":"seal change","for":"30m"}"#;
        assert_eq!(
            Command::parse(body),
            Ok(Command {
                action: Action::Shelve(Duration::from_secs(1800)),
                by: "R. Meyer".into(),
                comment: Some("seal change".into()),
                alert_id: None,
            })
        );
    }

    #[test]
    fn what_is_not_a_command_is_told_what_to_write() {
        assert!(error("ack").contains("cannot be read"));
        assert!(error(r#"{"action":"reset","by":"x"}"#).contains("`acknowledge`"));
        assert!(error(r#"{"action":"acknowledge"}"#).contains("`by`"));
        assert!(error(r#"{"action":"acknowledge","by":"x","until":1}"#).contains("`until`"));
        assert!(error(r#"{"action":"acknowledge","by":"x","by":"y"}"#).contains("duplicate"));
        assert_eq!(
            error(r#"{"action":"unshelve","by":"x","for":"1m"}"#),
            ParseError::OddSpan.to_string()
        );
        assert_eq!(error(r#"{"action":"acknowledge","by":"  "}"#), ParseError::By.to_string());
        assert_eq!(error(r#"{"action":"shelve","by":"x"}"#), ParseError::NoSpan.to_string());
        for span in ["soon", "0s", "31days", "-1m"] {
            let body = format!(r#"{{"action":"shelve","by":"x","for":"{span}"}}"#);
            assert!(error(&body).contains(span));
        }
        let long = "x".repeat(1025);
        let body = format!(r#"{{"action":"acknowledge","by":"x","comment":"{long}"}}"#);
        assert!(error(&body).contains("1025"));
        assert!(error(&" ".repeat(5000)).contains("5000 bytes"));
    }
}
