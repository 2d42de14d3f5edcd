use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::sample::Quality;
use crate::settings::{ByteOrder, PayloadKind, TimeUnit};

mod properties;

const NOW: Timestamp = Timestamp::from_millis(1_700_000_010_000);
const SENT: Timestamp = Timestamp::from_millis(1_700_000_000_123);

fn subscription(topic: &str, payload: PayloadKind) -> Subscription {
    Subscription {
        broker: "plant".into(),
        topic: topic.into(),
        qos: 1,
        payload,
        asset: None,
        tag: None,
        time: None,
        time_unit: TimeUnit::Millis,
        values: None,
        tag_key: None,
        asset_key: None,
        value_key: None,
        byte_order: ByteOrder::Little,
        sample_rate: None,
        scale: 1.0,
    }
}

fn telemetry() -> Subscription {
    Subscription {
        time: Some("ts".into()),
        values: Some("values".into()),
        ..subscription("plant/{asset}/telemetry", PayloadKind::Json)
    }
}

/// Decoders with what they have learnt, and the samples as (asset/tag, millis, value).
struct Bench {
    decoders: Decoders,
    registry: Arc<Registry>,
}

type Row = (String, i64, f64);

impl Bench {
    fn new(subscriptions: &[Subscription]) -> Self {
        Self::with_limit(subscriptions, 100)
    }

    fn with_limit(subscriptions: &[Subscription], tags: usize) -> Self {
        let registry = Arc::new(Registry::new(tags));
        let decoders = subscriptions.iter().map(|s| Decoder::new(s).unwrap()).collect();
        let future = Duration::from_secs(300);
        Self { decoders: Decoders::new(decoders, Arc::clone(&registry), future), registry }
    }

    fn samples(&mut self, topic: &str, payload: &[u8]) -> (Vec<Sample>, Decoded) {
        let mut out = Vec::new();
        let decoded = self.decoders.decode(topic.as_bytes(), payload, NOW, &mut out);
        assert_eq!(decoded.received, out.len() as u64 + decoded.rejected.total());
        assert_eq!(decoded.rejected.total() > 0, decoded.fault.is_some());
        (out, decoded)
    }

    fn read(&mut self, topic: &str, payload: &str) -> (Vec<Row>, Decoded) {
        let (samples, decoded) = self.samples(topic, payload.as_bytes());
        let row = |sample: &Sample| {
            let tag = self.registry.tag(sample.tag).unwrap();
            (format!("{}/{}", tag.asset_name, tag.name), sample.time.as_millis(), sample.value)
        };
        (samples.iter().map(row).collect(), decoded)
    }

    /// The rows of a payload in which nothing is wrong.
    fn good(&mut self, topic: &str, payload: &str) -> Vec<Row> {
        let (rows, decoded) = self.read(topic, payload);
        assert_eq!(decoded.fault, None);
        rows
    }

    /// The one reason why a payload gives no samples.
    fn refusal(&mut self, topic: &str, payload: &[u8]) -> Rejection {
        let (samples, decoded) = self.samples(topic, payload);
        assert_eq!(samples, [], "{}", String::from_utf8_lossy(payload));
        let reasons: Vec<_> = decoded.rejected.iter().collect();
        assert_eq!(reasons.len(), 1, "{reasons:?}");
        reasons[0].0
    }
}

fn row(name: &str, millis: i64, value: f64) -> Row {
    (name.to_owned(), millis, value)
}

#[test]
fn values_take_the_time_that_stands_before_them_or_after_them() {
    let mut bench = Bench::new(&[telemetry()]);
    let expected = [
        row("press-1/pressure", 1_700_000_000_123, 81.2),
        row("press-1/temperature", 1_700_000_000_123, 40.0),
    ];
    for payload in [
        r#"{"ts":1700000000123,"values":{"pressure":81.2,"temperature":40}}"#,
        r#"{"values":{"pressure":81.2,"temperature":40},"other":[{}],"ts":1700000000123}"#,
    ] {
        assert_eq!(bench.good("plant/press-1/telemetry", payload), expected);
    }
}

#[test]
fn keys_may_change_their_order_and_come_and_go() {
    let mut bench = Bench::new(&[telemetry()]);
    for (payload, names) in [
        (r#"{"ts":1700000000123,"values":{"a":1,"b":2,"c":3}}"#, "abc"),
        (r#"{"ts":1700000000123,"values":{"c":3,"a":1}}"#, "ca"),
        (r#"{"ts":1700000000123,"values":{"b":2,"d":4,"a":1,"c":3}}"#, "bdac"),
        (r#"{"ts":1700000000123,"values":{"a":1,"b":2,"c":3}}"#, "abc"),
    ] {
        let rows = bench.good("plant/x/telemetry", payload);
        let read: String = rows.iter().map(|(name, _, _)| &name[2..]).collect();
        assert_eq!(read, names);
        for (name, _, value) in rows {
            let expected = f64::from(name.as_bytes()[2] - b'a' + 1);
            assert_eq!(value.to_bits(), expected.to_bits());
        }
    }
}

#[test]
fn the_whole_object_serves_where_no_path_is_set_and_the_time_is_no_tag() {
    let mut bench = Bench::new(&[Subscription { values: None, ..telemetry() }]);
    let rows = bench.good("plant/a/telemetry", r#"{"x":1,"ts":1700000000123,"y":true}"#);
    let time = SENT.as_millis();
    assert_eq!(rows, [row("a/x", time, 1.0), row("a/y", time, 1.0)]);
}

#[test]
fn paths_lead_through_nested_objects() {
    let mut bench = Bench::new(&[Subscription {
        time: Some("head.at".into()),
        time_unit: TimeUnit::Rfc3339,
        values: Some("head.body.values".into()),
        ..telemetry()
    }]);
    let payload = r#"{"x":1,"head":{"id":7,"body":{"values":{"t":1},"values2":{"u":2}},
        "at":"2023-11-14T22:13:20.123Z"}}"#;
    assert_eq!(bench.good("plant/a/telemetry", payload), [row("a/t", SENT.as_millis(), 1.0)]);
}

#[test]
fn a_time_in_every_unit_is_the_same() {
    for (unit, text) in [
        (TimeUnit::Millis, "1700000000123"),
        (TimeUnit::Micros, "1700000000123000"),
        (TimeUnit::Nanos, "1700000000123000000"),
        (TimeUnit::Seconds, "1700000000.123"),
        (TimeUnit::Rfc3339, "\"2023-11-14T23:13:20.123+01:00\""),
    ] {
        let mut bench = Bench::new(&[Subscription { time_unit: unit, ..telemetry() }]);
        let rows =
            bench.good("plant/a/telemetry", &format!(r#"{{"ts":{text},"values":{{"t":1}}}}"#));
        assert_eq!(rows, [row("a/t", SENT.as_millis(), 1.0)]);
    }
}

#[test]
fn without_a_time_path_the_arrival_is_the_time() {
    let mut bench = Bench::new(&[Subscription { time: None, ..telemetry() }]);
    let rows = bench.good("plant/a/telemetry", r#"{"values":{"t":1}}"#);
    assert_eq!(rows, [row("a/t", NOW.as_millis(), 1.0)]);
}

#[test]
fn absurd_times_cost_the_samples_of_their_message() {
    let mut bench = Bench::new(&[telemetry()]);
    for time in ["0", "946684799999", "1700000310001", "9e99", "-5", "\"now\"", "null", "{}", "[1]"]
    {
        let payload = format!(r#"{{"ts":{time},"values":{{"a":1,"b":2}}}}"#);
        let (samples, decoded) = bench.samples("plant/a/telemetry", payload.as_bytes());
        assert_eq!(samples, []);
        assert_eq!(decoded.rejected.of(Rejection::BadTime), 2, "{time}");
    }
    let reason = bench.refusal("plant/a/telemetry", br#"{"values":{"a":1}}"#);
    assert_eq!(reason, Rejection::BadTime);
    let edge = r#"{"ts":1700000310000,"values":{"a":1}}"#;
    assert_eq!(bench.good("plant/a/telemetry", edge).len(), 1);
}

#[test]
fn what_is_not_a_number_is_rejected_and_the_others_survive() {
    let mut bench = Bench::new(&[telemetry()]);
    let payload = r#"{"ts":1700000000123,"values":
        {"a":"81.2","b":2,"c":{"x":1},"d":[1,2],"e":true,"f":"bar"}}"#;
    let (rows, decoded) = bench.read("plant/m/telemetry", payload);
    let time = SENT.as_millis();
    assert_eq!(rows, [row("m/b", time, 2.0), row("m/e", time, 1.0)]);
    assert_eq!(decoded.rejected.of(Rejection::NotANumber), 4);
    assert_eq!(decoded.fault.unwrap().detail, "`a` is a string");
    assert_eq!(bench.registry.len(), 2, "what is no number is no tag");
}

#[test]
fn null_is_a_missing_value_and_never_zero() {
    let mut bench = Bench::new(&[telemetry()]);
    let payload = br#"{"ts":1700000000123,"values":{"a":null}}"#;
    let (samples, decoded) = bench.samples("plant/m/telemetry", payload);
    assert_eq!(decoded.rejected.total(), 0);
    assert_eq!(samples[0].quality, Quality::Bad);
    assert!(samples[0].value.is_nan());
}

#[test]
fn what_is_no_json_or_has_no_values_is_unreadable() {
    let mut bench = Bench::new(&[telemetry()]);
    let deep = format!(r#"{{"values":{}{}}}"#, "{\"a\":".repeat(100_000), "}".repeat(100_000));
    for payload in [
        &b""[..],
        b"not json",
        br#"{"ts":1700000000123,"values":{"a":1"#,
        br#"{"ts":1700000000123,"values":{"a":1}} trailing"#,
        br#"{"ts":1700000000123,"values":{"a":NaN}}"#,
        br#"{"ts":1700000000123,"values":{"a":-Infinity}}"#,
        br#"{"ts":1700000000123,"values":{"a":1e999}}"#,
        br#"{"ts":1700000000123}"#,
        br#"{"ts":1700000000123,"values":[1,2]}"#,
        br#"{"ts":1700000000123,"values":7}"#,
        b"[]",
        b"7",
        b"\xff\xfe\x00",
        b"{\"ts\":1700000000123,\"values\":{\"\xff\":1}}",
        &[b'['; 200_000],
        deep.as_bytes(),
    ] {
        assert_eq!(bench.refusal("plant/m/telemetry", payload), Rejection::Unreadable);
    }
    let (_, decoded) = bench.samples("plant/m/telemetry", br#"{"values":7}"#);
    assert_eq!(decoded.fault.unwrap().detail, "what stands at `values` is not an object");
}

#[test]
fn a_number_at_the_path_serves_a_topic_that_names_its_tag() {
    let mut bench = Bench::new(&[Subscription {
        values: Some("value".into()),
        time: Some("ts".into()),
        ..subscription("{asset}/{tag}", PayloadKind::Json)
    }]);
    let rows = bench.good("press-1/pressure", r#"{"value":81.2,"ts":1700000000123,"unit":"bar"}"#);
    assert_eq!(rows, [row("press-1/pressure", SENT.as_millis(), 81.2)]);
}

#[test]
fn elements_of_an_array_name_their_tag_time_and_value() {
    let mut bench = Bench::new(&[Subscription {
        time: Some("ts".into()),
        asset: Some("line".into()),
        ..subscription("plant/batch", PayloadKind::Samples)
    }]);
    let rows = bench.good(
        "plant/batch",
        r#"[{"tag":"a","ts":1700000000123,"value":1},{"value":2,"ts":1700000001000,"tag":"b\u0062"}]"#,
    );
    assert_eq!(
        rows,
        [row("line/a", 1_700_000_000_123, 1.0), row("line/bb", 1_700_000_001_000, 2.0)]
    );
}

#[test]
fn elements_may_name_their_asset_and_take_the_time_from_outside_the_array() {
    let mut bench = Bench::new(&[Subscription {
        time: Some("t".into()),
        values: Some("data.points".into()),
        asset_key: Some("machine".into()),
        tag_key: Some("n".into()),
        value_key: Some("v".into()),
        ..subscription("plant/batch", PayloadKind::Samples)
    }]);
    let payload = r#"{"data":{"points":[{"machine":"m1","n":"a","v":1},
        {"machine":"m2","n":"a","v":2,"t":1700000001000},{"machine":"m1","n":"b","v":null}]},
        "t":1700000000123}"#;
    let (samples, _) = bench.samples("plant/batch", payload.as_bytes());
    let times: Vec<_> = samples.iter().map(|sample| sample.time.as_millis()).collect();
    assert_eq!(times, [1_700_000_000_123, 1_700_000_001_000, 1_700_000_000_123]);
    assert_eq!(bench.registry.len(), 3);
    let (samples, decoded) =
        bench.samples("plant/batch", payload.replace("1700000000123", "0").as_bytes());
    assert_eq!(samples.len(), 1);
    assert_eq!(decoded.rejected.of(Rejection::BadTime), 2);
}

#[test]
fn bad_elements_do_not_cost_the_good_ones() {
    let mut bench = Bench::new(&[Subscription {
        time: Some("ts".into()),
        asset: Some("line".into()),
        ..subscription("plant/batch", PayloadKind::Samples)
    }]);
    let (rows, decoded) = bench.read(
        "plant/batch",
        r#"[1,{"tag":"a","ts":1700000000123,"value":"x"},{"ts":1700000000123,"value":1},
            {"tag":5,"ts":1700000000123,"value":1},{"tag":"c","ts":7,"value":1},
            {"tag":"d","value":1},[],{"tag":"e","ts":1700000000123},
            {"tag":"z","ts":1700000000123,"value":9}]"#,
    );
    assert_eq!(rows, [row("line/z", SENT.as_millis(), 9.0)]);
    assert_eq!(decoded.rejected.of(Rejection::Unreadable), 4);
    assert_eq!(decoded.rejected.of(Rejection::NotANumber), 2);
    assert_eq!(decoded.rejected.of(Rejection::BadTime), 2);
}

#[test]
fn a_bare_number_is_a_sample_of_the_topics_tag() {
    let mut bench = Bench::new(&[subscription("plant/{asset}/{tag}", PayloadKind::Number)]);
    for (text, value) in [("81.2", 81.2), (" -3e2\n", -300.0), ("true", 1.0), ("false", 0.0)] {
        let rows = bench.good("plant/press-1/pressure", text);
        assert_eq!(rows, [row("press-1/pressure", NOW.as_millis(), value)]);
    }
    let (samples, _) = bench.samples("plant/press-1/pressure", b"null");
    assert_eq!(samples[0].quality, Quality::Bad);
    let mut refusal = |text: &str| bench.refusal("plant/press-1/pressure", text.as_bytes());
    assert_eq!(refusal("\"81.2\""), Rejection::NotANumber);
    for text in ["", "nan", "inf", "-inf", "1e999", "81.2 bar", "81,2", "0x10"] {
        assert_eq!(refusal(text), Rejection::Unreadable, "{text}");
    }
}

#[test]
fn packed_values_end_at_the_arrival() {
    let mut bench = Bench::new(&[Subscription {
        tag: Some("vibration".into()),
        sample_rate: Some(1000.0),
        scale: 0.5,
        byte_order: ByteOrder::Big,
        ..subscription("raw/{asset}", PayloadKind::I16)
    }]);
    let (samples, _) = bench.samples("raw/spindle", &[0, 2, 255, 254, 0, 10]);
    let rows: Vec<_> =
        samples.iter().map(|s| (s.time.as_millis() - NOW.as_millis(), s.value)).collect();
    assert_eq!(rows, [(-2, 1.0), (-1, -1.0), (0, 5.0)]);
    assert_eq!(bench.refusal("raw/spindle", &[1, 2, 3]), Rejection::Unreadable);
    assert_eq!(bench.refusal("raw/spindle", &[]), Rejection::Unreadable);
}

#[test]
fn topics_without_a_subscription_or_with_an_empty_name_are_unknown() {
    let mut bench = Bench::new(&[telemetry()]);
    assert_eq!(bench.refusal("plant/a/other", b"{}"), Rejection::UnknownTopic);
    assert_eq!(bench.refusal("plant//telemetry", b"{}"), Rejection::UnknownTopic);
}

#[test]
fn the_first_subscription_that_matches_reads_the_topic() {
    let number = subscription("plant/{asset}/speed", PayloadKind::Number);
    let all = Subscription { topic: "plant/{asset}/#".into(), ..telemetry() };
    let mut bench = Bench::new(&[Subscription { tag: Some("speed".into()), ..number }, all]);
    assert_eq!(bench.good("plant/a/speed", "1"), [row("a/speed", NOW.as_millis(), 1.0)]);
    let payload = r#"{"ts":1700000000123,"values":{"t":1}}"#;
    assert_eq!(bench.good("plant/a/telemetry", payload), [row("a/t", SENT.as_millis(), 1.0)]);
}

#[test]
fn a_full_registry_rejects_new_tags_and_serves_the_old() {
    let mut bench = Bench::with_limit(&[telemetry()], 2);
    let payload = r#"{"ts":1700000000123,"values":{"a":1,"b":2,"c":3}}"#;
    let (rows, decoded) = bench.read("plant/m/telemetry", payload);
    assert_eq!(rows.len(), 2);
    assert_eq!(decoded.rejected.of(Rejection::TooManyTags), 1);
}

#[test]
fn wrong_subscriptions_say_what_to_write() {
    let error = |subscription: &Subscription| Decoder::new(subscription).unwrap_err();
    let number = subscription("plant/{asset}", PayloadKind::Number);
    assert_eq!(error(&number), DecoderError::NoTag);
    let json = subscription("plant/telemetry", PayloadKind::Json);
    assert_eq!(error(&json), DecoderError::NoAsset);
    assert_eq!(error(&Subscription { qos: 2, ..telemetry() }), DecoderError::Qos(2));
    let packed = subscription("{asset}/{tag}", PayloadKind::F32);
    assert_eq!(error(&packed), DecoderError::NoSampleRate);
    let rate = Subscription { sample_rate: Some(0.0), ..packed.clone() };
    assert_eq!(error(&rate), DecoderError::SampleRate(0.0));
    let timed = Subscription { sample_rate: Some(1.0), time: Some("ts".into()), ..packed };
    assert_eq!(error(&timed), DecoderError::NoJson("time"));
    let path = Subscription { values: Some("a..b".into()), ..telemetry() };
    assert!(matches!(error(&path), DecoderError::Path { setting: "values", .. }));
}

#[test]
fn the_shape_of_the_first_message_reads_the_next() {
    let mut bench = Bench::new(&[telemetry()]);
    let first = r#"{"seq": 1, "ts": 1700000000123, "values": {"a": 1, "b": true}, "m": "x"}"#;
    bench.good("plant/p/telemetry", first);
    let shape = bench.decoders.topics[0].1.shape.take().unwrap();
    let mut out = Vec::new();
    let mut read = |payload: &str| {
        shape.read(TimeUnit::Millis, NOW, payload.as_bytes(), &mut out, |time| time == SENT)
    };
    assert!(read(r#"{"seq": 2, "ts": 1700000000123, "values": {"a": -1.5, "b": null}, "m": "y"}"#));
    assert!(!read(r#"{"seq": 2, "ts": 1700000000124, "values": {"a": 1, "b": 2}, "m": "y"}"#));
    assert!(!read(r#"{"seq": 2, "ts": 1700000000123, "values": {"a": 1, "c": 2}, "m": "y"}"#));
    assert!(!read(r#"{"seq": 2, "ts": 1700000000123, "values": {"a": 1, "b": 2}, "m": "y"} "#));
    let values: Vec<(Timestamp, f64)> = out.iter().map(|s| (s.time, s.value)).collect();
    assert_eq!(values[0], (SENT, -1.5));
    assert!(values.len() == 2 && values[1].0 == SENT && values[1].1.is_nan());
}

fn share(take: u16) -> Shares {
    let text = format!(
        "box = 'a'\nof = 2\ntake = [{take}]\npin = [{{ assets = ['press-1'], share = 1 }}, \
         {{ assets = ['*'], share = 2 }}]"
    );
    Shares::new(Some(&toml::from_str(&text).unwrap()))
}

#[test]
fn what_another_box_looks_after_is_left_unread() {
    let payload = r#"{"ts": 1700000000000, "values": {"flow": 1}}"#;
    for (take, ours, other) in [(1, "press-1", "press-2"), (2, "press-2", "press-1")] {
        let mut bench = Bench::new(&[telemetry()]);
        bench.decoders = bench.decoders.sharing(share(take));
        let (rows, decoded) = bench.read(&format!("plant/{ours}/telemetry"), payload);
        assert_eq!((rows.len(), decoded.received, decoded.foreign), (1, 1, 0));
        // Not even read, so that nothing is wrong with it either.
        let (rows, decoded) = bench.read(&format!("plant/{other}/telemetry"), "no JSON");
        assert_eq!((rows.len(), decoded.received, decoded.foreign), (0, 0, 1));
    }
}

#[test]
fn of_an_array_only_the_elements_of_our_assets_are_read_and_nothing_of_the_others_is_learnt() {
    let mut bench = Bench::new(&[Subscription {
        asset_key: Some("machine".into()),
        ..subscription("plant/batch", PayloadKind::Samples)
    }]);
    bench.decoders = bench.decoders.sharing(share(1));
    let payload = r#"[{"machine":"press-1","tag":"a","value":1},
        {"machine":"press-2","tag":"a","value":2},{"machine":"press-1","tag":"b","value":3}]"#;
    // The second time the names are remembered.
    for _ in 0..2 {
        let (rows, decoded) = bench.read("plant/batch", payload);
        assert_eq!((rows.len(), decoded.received, decoded.foreign), (2, 2, 1));
        assert!(rows.iter().all(|(name, ..)| name.starts_with("press-1/")), "{rows:?}");
    }
    assert_eq!(bench.registry.len(), 2);
}
