//! Log lines as entries of systemd's journal, in its native protocol: one datagram an entry.
//!
//! `MESSAGE` is what stands in the text log, fields included, so that `journalctl -u andon` reads as it
//! does elsewhere. Beside it each field stands as it came, as `ANDON_<FIELD>`, with the line's
//! target as `ANDON_TARGET` and its level as `PRIORITY`. Values carry their length, so nothing that
//! a message from outside brings can end an entry or begin another field.

use std::fmt::{self, Write as _};
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

const SOCKET: &str = "/run/systemd/journal/socket";
/// The journal takes no longer name.
const NAME: usize = 64;

/// Whether standard error leads to the journal: systemd says which stream does.
pub(super) fn is_stderr() -> bool {
    std::env::var("JOURNAL_STREAM").is_ok_and(|stream| stderr_is(&stream).unwrap_or(false))
}

fn stderr_is(stream: &str) -> io::Result<bool> {
    let stderr = File::from(io::stderr().as_fd().try_clone_to_owned()?).metadata()?;
    Ok(stream == format!("{}:{}", stderr.dev(), stderr.ino()))
}

#[derive(Debug)]
pub(super) struct Journal {
    socket: UnixDatagram,
}

impl Journal {
    pub(super) fn connect() -> io::Result<Self> {
        Self::at(Path::new(SOCKET))
    }

    fn at(path: &Path) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        socket.connect(path)?;
        Ok(Self { socket })
    }
}

impl<S: Subscriber> Layer<S> for Journal {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut line = Line::new(event.metadata().target());
        event.record(&mut line);
        if self.socket.send(&line.entry(*event.metadata().level())).is_err() {
            // Too long for a datagram, or the journal is gone: its other way in takes text alone.
            eprintln!("{}", line.message());
        }
    }
}

/// One line, taken apart.
struct Line {
    target: String,
    said: String,
    /// The fields as the text log shows them.
    text: String,
    fields: Vec<(String, String)>,
}

impl Line {
    fn new(target: &str) -> Self {
        Self {
            target: target.to_owned(),
            said: String::new(),
            text: String::new(),
            fields: Vec::new(),
        }
    }

    fn message(&self) -> String {
        format!("{}: {}{}", self.target, self.said, self.text)
    }

    fn entry(&self, level: Level) -> Vec<u8> {
        let mut entry = Vec::new();
        put(&mut entry, "MESSAGE", &self.message());
        put(&mut entry, "PRIORITY", priority(level));
        put(&mut entry, "SYSLOG_IDENTIFIER", "andon");
        put(&mut entry, "ANDON_TARGET", &self.target);
        for (name, value) in &self.fields {
            put(&mut entry, name, value);
        }
        entry
    }

    fn note(&mut self, field: &Field, value: String, shown: &dyn fmt::Debug) {
        match field.name() {
            "message" => self.said = value,
            // Lines of crates that log by other means say here whose they are.
            "log.target" => self.target = value,
            name if name.starts_with("log.") => {}
            name => {
                let _ = write!(self.text, " {name}={shown:?}");
                self.fields.push((named(name), value));
            }
        }
    }
}

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.note(field, value.to_owned(), &value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.note(field, format!("{value:?}"), value);
    }
}

/// As syslog counts them.
fn priority(level: Level) -> &'static str {
    match level {
        Level::ERROR => "3",
        Level::WARN => "4",
        Level::INFO => "6",
        Level::DEBUG | Level::TRACE => "7",
    }
}

/// The journal takes capitals, digits and underscores.
fn named(field: &str) -> String {
    let letter = |letter: char| match letter.to_ascii_uppercase() {
        letter @ ('A'..='Z' | '0'..='9') => letter,
        _ => '_',
    };
    format!("ANDON_{field}").chars().map(letter).take(NAME).collect()
}

fn put(entry: &mut Vec<u8>, name: &str, value: &str) {
    entry.extend_from_slice(name.as_bytes());
    if value.contains('\n') {
        entry.push(b'\n');
        entry.extend_from_slice(&(value.len() as u64).to_le_bytes());
    } else {
        entry.push(b'=');
    }
    entry.extend_from_slice(value.as_bytes());
    entry.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tracing_subscriber::layer::SubscriberExt;

    /// What the journal would have got of the lines that `log` writes.
    fn entries(count: usize, log: impl FnOnce()) -> Vec<Vec<u8>> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let journal = UnixDatagram::bind(&path).unwrap();
        journal.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let subscriber = tracing_subscriber::registry().with(Journal::at(&path).unwrap());
        tracing::subscriber::with_default(subscriber, log);
        let mut buffer = vec![0; 4096];
        (0..count)
            .map(|_| {
                let length = journal.recv(&mut buffer).unwrap();
                buffer[..length].to_vec()
            })
            .collect()
    }

    #[test]
    fn a_line_is_an_entry_with_its_fields_as_they_came() {
        let source = "plant";
        let entries = entries(2, || {
            tracing::warn!(target: "andon::mqtt", source, retry_ms = 250, "The link is lost.");
            tracing::error!(target: "audit", error = %"no \"way\"", "Refused.");
        });
        let text = String::from_utf8(entries[0].clone()).unwrap();
        assert_eq!(
            text,
            "MESSAGE=andon::mqtt: The link is lost. source=\"plant\" retry_ms=250\nPRIORITY=4\n\
             SYSLOG_IDENTIFIER=andon\nANDON_TARGET=andon::mqtt\nANDON_SOURCE=plant\n\
             ANDON_RETRY_MS=250\n"
        );
        let text = String::from_utf8(entries[1].clone()).unwrap();
        assert!(
            text.contains("PRIORITY=3\n") && text.contains("\nANDON_ERROR=no \"way\"\n"),
            "{text}"
        );
    }

    #[test]
    fn a_name_with_newlines_forges_no_field_and_no_entry() {
        let object = "press-1\nANDON_OUTCOME=done\n\nMESSAGE=forged";
        let entries = entries(1, || tracing::info!(target: "audit", object, "Asked for."));
        // Taken apart by the protocol's own rules.
        let mut rest = entries[0].as_slice();
        let mut names = Vec::new();
        while !rest.is_empty() {
            let line = rest.iter().position(|byte| *byte == b'\n').unwrap();
            let (head, after) = (&rest[..line], &rest[line + 1..]);
            if let Some(equals) = head.iter().position(|byte| *byte == b'=') {
                names.push(String::from_utf8(head[..equals].to_vec()).unwrap());
                rest = after;
            } else {
                names.push(String::from_utf8(head.to_vec()).unwrap());
                let length = u64::from_le_bytes(after[..8].try_into().unwrap());
                let value = &after[8..8 + usize::try_from(length).unwrap()];
                assert_eq!(value, object.as_bytes());
                rest = &after[8 + value.len() + 1..];
            }
        }
        assert_eq!(
            names,
            ["MESSAGE", "PRIORITY", "SYSLOG_IDENTIFIER", "ANDON_TARGET", "ANDON_OBJECT"]
        );
    }

    #[test]
    fn names_are_such_as_the_journal_takes() {
        assert_eq!(named("last-unfit.at"), "ANDON_LAST_UNFIT_AT");
        assert_eq!(named(&"x".repeat(100)).len(), 64);
    }

    #[test]
    fn only_the_stream_that_systemd_names_is_the_journals() {
        let stderr = File::from(io::stderr().as_fd().try_clone_to_owned().unwrap());
        let stderr = stderr.metadata().unwrap();
        let (device, inode) = (stderr.dev(), stderr.ino());
        assert!(stderr_is(&format!("{device}:{inode}")).unwrap());
        assert!(!stderr_is(&format!("{device}:{}", inode + 1)).unwrap());
        assert!(!stderr_is("nonsense").unwrap());
    }
}
