//! What `fuzz/` feeds with bytes from outside, and what must hold whatever they are.
//!
//! Only there for the fuzzer and for the test below, which runs each committed corpus.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::alert::Command;
use crate::config;
use crate::decode::payload::{Decoder, Decoders};
use crate::decode::registers::Table;
use crate::decode::topic::TopicPattern;
use crate::feedback::Label;
use crate::modbus::{self, Answer, Framing, Read};
use crate::model;
use crate::oip;
use crate::settings::Subscription;
use crate::store;
use crate::tag::Registry;
use crate::time::Timestamp;

type Target = fn(&[u8]);

/// Each with its name, which is its folder's in `fuzz/corpus`.
pub const TARGETS: [(&str, Target); 12] = [
    ("block", block),
    ("card", card),
    ("command", command),
    ("config", config_file),
    ("external", external),
    ("label", label),
    ("modbus", modbus_answer),
    ("payload", payload),
    ("register_map", register_map),
    ("request", request),
    ("signature", signature),
    ("topic", topic),
];

const SUBSCRIPTIONS: [&str; 7] = [
    "topic = \"p/{asset}\"\npayload = \"json\"\ntime = \"ts\"\nvalues = \"values\"",
    "topic = \"p/{asset}\"\npayload = \"json\"",
    "topic = \"p/#\"\npayload = \"samples\"\ntag_key = \"n\"\nasset_key = \"a\"\nvalue_key = \"v\"\ntime = \"t\"\ntime_unit = \"ms\"",
    "topic = \"p/{asset}/{tag}\"\npayload = \"number\"",
    "topic = \"p/{asset}/{tag}\"\npayload = \"f32\"\nsample_rate = 1000.0",
    "topic = \"p/{asset}/{tag}\"\npayload = \"i16\"\nsample_rate = 50.0\nbyte_order = \"big\"",
    "topic = \"p/{asset}\"\npayload = \"text\"",
];

/// A message: the first byte chooses the subscription.
pub fn payload(data: &[u8]) {
    const NOW: Timestamp = Timestamp::from_secs(1_700_000_000);
    const FUTURE: Duration = Duration::from_secs(60);
    let Some((choice, body)) = data.split_first() else { return };
    let text = SUBSCRIPTIONS[usize::from(*choice) % SUBSCRIPTIONS.len()];
    let subscription: Subscription = toml::from_str(&format!("broker = \"b\"\n{text}"))
        .expect("the subscriptions are written above");
    let decoder = Decoder::new(&subscription).expect("so they fit together");
    let registry = Arc::new(Registry::new(64));
    let mut decoders = Decoders::new(vec![decoder], registry, FUTURE);
    let mut samples = Vec::new();
    let topic = match text.contains("{tag}") {
        true => &b"p/press-1/force"[..],
        false => &b"p/press-1"[..],
    };
    let decoded = decoders.decode(topic, body, NOW, &mut samples);
    let kept = u64::try_from(samples.len()).expect("a length");
    assert_eq!(decoded.received, kept + decoded.rejected.total(), "every sample is accounted for");
    assert_eq!(decoded.rejected.total() > 0, decoded.fault.is_some(), "a rejection says why");
    let newest = NOW.saturating_add(FUTURE);
    assert!(samples.iter().all(|sample| sample.time <= newest), "no sample of the future");
}

/// A pattern, a line feed, a topic.
pub fn topic(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (pattern, topic) = text.split_once('\n').unwrap_or((text, ""));
    if let Ok(pattern) = TopicPattern::parse(pattern)
        && let Some(names) = pattern.captures(topic)
    {
        assert!(names.asset.is_none_or(|name| topic.contains(name)));
        assert_eq!(names.tag.is_some(), pattern.captures_tag());
    }
}

/// Bytes of a device: framing, table and count by the first three.
pub fn modbus_answer(data: &[u8]) {
    let &[framing, table, count, ref bytes @ ..] = data else { return };
    let framing = if framing % 2 == 0 { Framing::Tcp } else { Framing::Rtu };
    let table = Table::ALL[usize::from(table) % Table::ALL.len()];
    let count = u16::from(count % 125) + 1;
    let read = Read { table, start: 0, count };
    match modbus::find_answer(framing, read, bytes) {
        Ok(Some(Ok(Answer::Registers(words)))) => assert_eq!(words.len(), usize::from(count)),
        Ok(Some(Ok(Answer::Bits(bits)))) => assert_eq!(bits.len(), usize::from(count)),
        Ok(Some(Err(_)) | None) | Err(_) => {}
    }
}

pub fn config_file(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match config::load_text("andon.toml", text, std::iter::empty()) {
        Ok(loaded) => drop(format!("{:?}", loaded.warnings)),
        Err(diagnostics) => assert!(!diagnostics.to_string().is_empty(), "an error says something"),
    }
}

pub fn register_map(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        let (_registers, diagnostics) = config::register_map(text);
        for diagnostic in diagnostics {
            assert!(!diagnostic.to_string().is_empty());
        }
    }
}

pub fn card(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data)
        && let Err(errors) = model::Card::parse(Path::new("model.toml"), text)
    {
        assert!(!errors.is_empty(), "an error says something");
    }
}

/// An ONNX file as far as it is read before the runtime sees it.
pub fn external(data: &[u8]) {
    drop(model::outside_file(data));
}

pub fn block(data: &[u8]) {
    store::read_block(data);
}

pub fn command(data: &[u8]) {
    if let Ok(command) = Command::parse(data) {
        assert!(!command.by.trim().is_empty(), "somebody asks");
    }
}

/// A label, as it comes over HTTP and, with its names in the topic, over MQTT.
pub fn label(data: &[u8]) {
    for names in [None, Some(("press-1", "wear"))] {
        if let Err(error) = Label::parse(data, names) {
            assert!(!error.to_string().is_empty(), "an error says something");
        }
    }
}

/// A request to a model: two bytes for the header's length, where the first is odd, then a body of
/// `/v2` with binary tensors behind its JSON.
pub fn request(data: &[u8]) {
    let &[binary, length, ref body @ ..] = data else { return };
    let header = (binary % 2 == 1).then(|| usize::from(length) + usize::from(binary / 2) * 256);
    match oip::parse(body, header) {
        Ok(request) => drop(format!("{request:?}")),
        Err(invalid) => assert!(!invalid.0.is_empty(), "an error says something"),
    }
}

/// A signature's bundle, and the statement in it, from nobody who is trusted.
pub fn signature(data: &[u8]) {
    model::trust::read_untrusted(data);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_corpus_runs_through() {
        let corpora = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
        for (name, target) in TARGETS {
            let folder = corpora.join(name);
            let files = std::fs::read_dir(&folder).unwrap_or_else(|e| panic!("{folder:?}: {e}"));
            let mut inputs = 0;
            for file in files {
                let file = file.unwrap().path();
                let data = std::fs::read(&file).unwrap();
                let outcome = std::panic::catch_unwind(|| target(&data));
                assert!(outcome.is_ok(), "{} breaks {name}", file.display());
                inputs += 1;
            }
            assert!(inputs > 0, "{} is empty", folder.display());
            target(b"");
        }
    }
}
