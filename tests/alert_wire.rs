//! What goes out is what `docs/schema` and `docs/asyncapi.json` say.

#![expect(clippy::unwrap_used, reason = "a test may panic, in its helpers too")]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use andon::alert::wire::{
    ConfigState, ConfigStatus, Liveness, ModelStatus, OutboxStatus, StatusBody, StoreStatus, Wire,
    schema, told_late,
};
use andon::alert::{Action, AlertBook, AlertSpec, Cause, Command, Transition};
use andon::asset::AssetId;
use andon::feedback::Label;
use andon::health::{RemoteHealth, SourceHealth};
use andon::ledger::{Ledger, Rejection};
use andon::message::Message;
use andon::settings::{AlertPolicy, Rule, RuleKind};
use andon::time::Timestamp;
use andon::verdict::{
    Contribution, Evidence, Explained, Explanation, ModelIdentity, PredictionId, Subject, Verdict,
};
use jsonschema::Validator;
use serde_json::Value;

const WEAR: PredictionId = PredictionId(0);
const HOT: PredictionId = PredictionId(1);
const ASSET: AssetId = AssetId(0);

fn docs(file: &str) -> Value {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs").join(file);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path:?}: {error}"))
}

/// The shipped schemas by their names.
fn validators() -> BTreeMap<String, Validator> {
    ["alert", "verdict", "status", "command", "label"]
        .map(|name| {
            let schema = docs(&format!("schema/{name}.json"));
            let validator = jsonschema::options()
                .with_draft(jsonschema::Draft::Draft202012)
                .should_validate_formats(true)
                .build(&schema)
                .unwrap();
            (schema["$id"].as_str().unwrap().to_owned(), validator)
        })
        .into()
}

fn check(validators: &BTreeMap<String, Validator>, body: &[u8]) -> Value {
    let body: Value = serde_json::from_slice(body).unwrap();
    let validator = &validators[body["dataschema"].as_str().unwrap()];
    let errors: Vec<String> = validator
        .iter_errors(&body)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert!(errors.is_empty(), "{errors:#?}\n{body:#}");
    body
}

fn wire() -> Wire {
    Wire { prefix: "acme/plant7/line1".into(), site: "plant7".into(), station: None }
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_secs(1_700_000_000 + second)
}

fn model() -> Arc<ModelIdentity> {
    Arc::new(ModelIdentity {
        name: "spindle-anomaly".into(),
        version: "1.0.0".into(),
        sha256: "5e".repeat(32),
        device: "cpu".into(),
    })
}

fn verdict(second: i64, score: f64) -> Verdict {
    Verdict {
        prediction: WEAR,
        asset: ASSET,
        evidence: Evidence {
            start: at(second - 30),
            end: at(second),
            samples: 240,
            coverage: 0.975,
        },
        score,
        label: Some("worn".into()),
        contributions: vec![
            Contribution { tag: "current".into(), value: Some(12.5), share: 0.31 },
            Contribution { tag: "vibration".into(), value: None, share: f64::NAN },
        ],
        region: None,
        subject: None,
        model: Some(model()),
        arrived: at(second),
    }
}

fn book() -> AlertBook {
    let policy = AlertPolicy { raise: Some(0.8), clear: Some(0.6), ..AlertPolicy::default() };
    let rule = Rule {
        name: "hot".into(),
        assets: vec!["press-*".into()],
        tag: "temperature".into(),
        when: RuleKind::Above,
        limit: Some(80.0),
        span: None,
        chart: None,
        alert: AlertPolicy { severity: Some(900), ..AlertPolicy::default() },
    };
    let specs = vec![AlertSpec::prediction(WEAR, "wear", policy), AlertSpec::rule(HOT, &rule)];
    AlertBook::new("plant7", specs)
}

fn ask(book: &mut AlertBook, second: i64, action: Action) -> Transition {
    let comment = Some("seen on the shop floor".into());
    let command = Command { action, by: "R. Meyer".into(), comment, alert_id: None };
    book.command(ASSET, WEAR, command, at(second)).unwrap().unwrap()
}

/// One transition of each kind that is published.
fn transitions() -> Vec<Transition> {
    let mut book = book();
    let hour = Action::Shelve(Duration::from_secs(3600));
    let mut out = Vec::new();
    out.extend(book.apply(&verdict(0, 0.1), "press-3", at(0)));
    out.push(ask(&mut book, 1, hour));
    out.push(ask(&mut book, 2, Action::Unshelve));
    out.extend(book.apply(&verdict(3, 0.934_210_002_422_332_8), "press-3", at(3)));
    out.push(ask(&mut book, 4, Action::Acknowledge));
    out.push(ask(&mut book, 5, hour));
    out.extend(book.advance(at(4000)));
    out.extend(book.apply(&verdict(4001, 0.1), "press-3", at(4001)));
    out.extend(book.apply(&verdict(4002, 0.9), "press-3", at(4002)));
    out.extend(book.apply(&verdict(4003, 0.1), "press-3", at(4003)));
    let hot = Verdict { prediction: HOT, score: 95.0, model: None, label: None, ..verdict(9, 0.0) };
    out.extend(book.apply(&hot, "press-3", at(9)));
    let subject =
        Some(Arc::new(Subject { values: vec![1.0], text: None, latest: vec![Some(1.0)] }));
    let unexplained = Verdict { subject, contributions: Vec::new(), ..verdict(4004, 0.9) };
    let raised = book.apply(&unexplained, "press-3", at(4004)).unwrap();
    let explained = Explained {
        prediction: WEAR,
        asset: ASSET,
        alert_id: raised.record.alert_id.clone(),
        how: Explanation::Exact,
        contributions: verdict(0, 0.0).contributions,
    };
    out.push(raised);
    out.extend(book.explain(&explained, at(4005)));
    let mut empty = AlertBook::new("plant7", Vec::new());
    empty.restore(ASSET, "press-3", out.last().unwrap().record.clone());
    out.extend(empty.withdraw(at(5000)));
    out
}

fn status() -> StatusBody {
    let ledger = Ledger::default();
    ledger.receive(1000);
    ledger.store(990);
    ledger.reject(Rejection::Duplicate, 4);
    let source = SourceHealth::new("mqtt:plant");
    source.connected();
    source.heard(at(1), 100);
    source.noted("a payload could not be read");
    StatusBody {
        state: Liveness::Online,
        version: "0.1.0".into(),
        started: at(0),
        ledger: ledger.totals(),
        alerts: book().counts(),
        config: ConfigStatus {
            state: ConfigState::Refused,
            loaded: at(0),
            errors: vec!["andon.toml:3:1: error: unknown setting `limt`".into()],
            restart: vec!["store.path".into()],
        },
        share: None,
        sources: vec![source.snapshot(), SourceHealth::new("modbus:press-3").snapshot()],
        models: vec![ModelStatus {
            name: "spindle-anomaly".into(),
            version: "1.0.0".into(),
            sha256: "5e".repeat(32),
            device: "cpu".into(),
            inferences: 7,
            shed: 0,
            errors: 0,
            unfit: 2,
            last_unfit: Some("spindle-1: no measured value in the window".into()),
            remote: Some(RemoteHealth::new("http://plant:8000/v2/models/x", true).snapshot()),
        }],
        outbox: OutboxStatus { waiting: 1, oldest: Some(at(2)), dead: 0 },
        store: StoreStatus {
            writable: true,
            bytes: 4096,
            oldest: None,
            last_error: Some("the disk was full for 3s".into()),
        },
    }
}

/// One field a line, in the order in which they stand: a parsed body would be sorted.
fn by_line(body: &[u8]) -> String {
    let mut text = String::new();
    let mut quoted = false;
    for c in std::str::from_utf8(body).unwrap().chars() {
        quoted ^= c == '"';
        text.push(c);
        if !quoted && matches!(c, ',' | '{') {
            text.push('\n');
        }
    }
    text
}

#[test]
fn every_alert_message_is_valid_and_stands_where_asyncapi_says() {
    let validators = validators();
    let mut kinds = std::collections::BTreeSet::new();
    for transition in transitions() {
        for historical in [false, true] {
            let messages = wire().messages(&transition);
            let messages: Vec<Message> = match historical {
                false => messages,
                true => messages.iter().map(told_late).collect(),
            };
            let [event, state] = &messages[..] else { panic!("two messages") };
            let body = check(&validators, &event.body);
            kinds.insert(body["type"].as_str().unwrap().to_owned());
            let topic = format!("acme/plant7/line1/press-3/alert/{}", transition.record.prediction);
            assert_eq!((&event.topic, event.retain), (&format!("{topic}/event"), false));
            assert_eq!((&state.topic, state.retain), (&topic, true));
            let expected = if transition.finished { &b""[..] } else { &event.body[..] };
            assert_eq!(&state.body[..], expected);
            assert_eq!(body["data"]["historical"], historical);
            assert_eq!(body["time"], body["data"]["changed_at"]);
            assert_eq!(body["source"], "/acme/plant7/line1/press-3");
        }
    }
    let published = Cause::ALL.iter().filter(|cause| **cause != Cause::Suppressed);
    let expected = published.map(|cause| format!("io.andon.alert.{}.v1", cause.as_str())).collect();
    assert_eq!(kinds, expected);
    let doc = docs("asyncapi.json");
    let told = doc["operations"]["publishAlertEvent"]["summary"].as_str().unwrap();
    let named = told.split([' ', ',']).filter(|word| word.starts_with("io.andon.alert."));
    assert_eq!(named.map(str::to_owned).collect::<std::collections::BTreeSet<_>>(), kinds);
}

#[test]
fn the_schema_knows_every_type_and_the_published_fields_are_all_required() {
    let schema = docs("schema/alert.json");
    let types = schema["properties"]["type"]["enum"].as_array().unwrap();
    assert_eq!(types.len(), Cause::ALL.len() - 1);
    let data = &schema["properties"]["data"];
    assert_eq!(
        data["required"].as_array().unwrap().len(),
        data["properties"].as_object().unwrap().len()
    );
}

#[test]
fn what_happens_behind_a_shelf_is_not_published() {
    let mut book = book();
    let _fine = book.apply(&verdict(0, 0.1), "press-3", at(0));
    let _shelved = ask(&mut book, 1, Action::Shelve(Duration::from_secs(60)));
    let hidden = book.apply(&verdict(2, 0.9), "press-3", at(2)).unwrap();
    assert!(wire().messages(&hidden).is_empty());
}

#[test]
fn verdicts_status_and_will_are_valid() {
    let validators = validators();
    let told = wire().verdict(&verdict(0, 0.25), "press-3", "wear");
    assert_eq!(told.topic, "acme/plant7/line1/press-3/verdict/wear");
    assert!(!told.retain);
    assert_eq!(check(&validators, &told.body)["data"]["contributions"][1]["share"], 0.0);

    for state in [Liveness::Online, Liveness::Offline] {
        let message = wire().status(&StatusBody { state, ..status() }, at(10));
        assert_eq!((message.topic.as_str(), message.retain), ("acme/plant7/line1/status", true));
        let body = check(&validators, &message.body);
        assert_eq!(body["data"]["ledger"]["rejected"]["duplicate"], 4);
        assert_eq!(body["data"]["ledger"]["in_flight"], 6);
    }
    let Message { topic, body, retain } = wire().will();
    assert_eq!((topic.as_str(), retain), ("acme/plant7/line1/status", true));
    assert_eq!(check(&validators, &body)["data"]["state"], "offline");
}

#[test]
fn commands_that_the_schema_allows_are_read_and_others_are_not() {
    let validator = &validators()[schema::COMMAND];
    let cases = [
        (r#"{"action":"acknowledge","by":"R. Meyer"}"#, true),
        (r#"{"action":"shelve","by":"x","for":"8h","comment":"seal"}"#, true),
        (r#"{"action":"unshelve","by":"x","alert_id":"y"}"#, true),
        (r#"{"action":"shelve","by":"x"}"#, false),
        (r#"{"action":"unshelve","by":"x","for":"8h"}"#, false),
        (r#"{"action":"reset","by":"x"}"#, false),
        (r#"{"action":"acknowledge"}"#, false),
        (r#"{"action":"acknowledge","by":""}"#, false),
        (r#"{"action":"acknowledge","by":"x","until":3}"#, false),
    ];
    for (body, allowed) in cases {
        assert_eq!(Command::parse(body.as_bytes()).is_ok(), allowed, "{body}");
        assert_eq!(validator.is_valid(&serde_json::from_str(body).unwrap()), allowed, "{body}");
    }
}

#[test]
fn labels_that_the_schema_allows_are_read_and_others_are_not() {
    let validator = &validators()["urn:andon:schema:label:v1"];
    let cases = [
        (r#"{"time":"2026-11-23T06:41:20Z","label":"bad"}"#, true),
        (r#"{"asset":"a","prediction":"b","time":"2026-11-23T06:41:20Z","label":"good"}"#, true),
        (r#"{"alert_id":"x","label":"false"}"#, true),
        (r#"{"alert_id":"x","asset":"a","label":"false"}"#, false),
        (r#"{"alert_id":"x","label":"bad"}"#, false),
        (r#"{"alert_id":"x","time":"2026-11-23T06:41:20Z","label":"true"}"#, false),
        (r#"{"time":"yesterday","label":"bad"}"#, false),
        (r#"{"time":"2026-11-23T06:41:20Z","label":"bad","by":"x"}"#, false),
        (r#"{"time":"2026-11-23T06:41:20Z"}"#, false),
    ];
    for (body, allowed) in cases {
        let read = Label::parse(body.as_bytes(), Some(("a", "b")));
        assert_eq!(read.is_ok(), allowed, "{body}");
        assert_eq!(validator.is_valid(&serde_json::from_str(body).unwrap()), allowed, "{body}");
    }
}

#[test]
fn odd_names_cannot_become_another_topic() {
    let told = wire().verdict(&verdict(0, 0.25), "a/#", "wear");
    assert_eq!(told.topic, "acme/plant7/line1/a%2F%23/verdict/wear");
    let body = check(&validators(), &told.body);
    assert_eq!(body["source"], "/acme/plant7/line1/a%2F%23");
    assert_eq!(body["data"]["asset"], "a/#");
}

#[test]
fn asyncapi_names_the_topics_and_the_schemas() {
    let doc = docs("asyncapi.json");
    assert_eq!(doc["asyncapi"], "3.0.0");
    let address = |channel: &str| {
        doc["channels"][channel]["address"]
            .as_str()
            .unwrap()
            .replace("{prefix}", "acme/plant7/line1")
            .replace("{asset}", "press-3")
            .replace("{prediction}", "wear")
    };
    let raised = transitions().into_iter().find(|it| it.cause == Cause::Raised).unwrap();
    let alert = wire().messages(&raised);
    assert_eq!(address("alertEvent"), alert[0].topic);
    assert_eq!(address("alertState"), alert[1].topic);
    assert_eq!(address("verdict"), wire().verdict(&verdict(0, 0.1), "press-3", "wear").topic);
    assert_eq!(address("status"), wire().will().topic);
    let commands = wire().command_filter();
    let mut levels = address("alertCommand");
    levels = levels.replace("press-3", "+").replace("wear", "+");
    assert_eq!(levels, commands);
    let levels = address("label").replace("press-3", "+").replace("wear", "+");
    assert_eq!(levels, wire().label_filter());

    let messages = doc["components"]["messages"].as_object().unwrap();
    let shipped = validators();
    for (name, message) in messages {
        let file = message["payload"]["$ref"].as_str().unwrap();
        let schema = docs(file.strip_prefix("./").unwrap());
        assert!(shipped.contains_key(schema["$id"].as_str().unwrap()), "{name}");
    }
    assert_eq!(messages.len(), shipped.len());
    resolve_all(&doc, &doc);
}

/// Every `#/…` reference points at something.
fn resolve_all(node: &Value, doc: &Value) {
    match node {
        Value::Object(fields) => {
            if let Some(pointer) = fields.get("$ref").and_then(Value::as_str)
                && let Some(pointer) = pointer.strip_prefix('#')
            {
                assert!(doc.pointer(pointer).is_some(), "{pointer} points at nothing");
            }
            fields.values().for_each(|field| resolve_all(field, doc));
        }
        Value::Array(items) => items.iter().for_each(|item| resolve_all(item, doc)),
        _ => {}
    }
}

#[test]
fn a_raised_and_a_cleared_event_look_like_this() {
    let all = transitions();
    for cause in [Cause::Raised, Cause::Cleared] {
        let transition = all.iter().find(|it| it.cause == cause).unwrap();
        let event = &wire().messages(transition)[0];
        insta::assert_snapshot!(cause.as_str(), by_line(&event.body));
    }
}

#[test]
fn the_same_input_gives_the_same_bytes() {
    let bodies =
        || -> Vec<Message> { transitions().iter().flat_map(|it| wire().messages(it)).collect() };
    assert_eq!(bodies(), bodies());
}
