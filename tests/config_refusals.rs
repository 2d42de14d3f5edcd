//! What a plant engineer reads when a configuration is refused, kind by kind of mistake.

use andon::config;

/// Enough of a configuration to put something wrong into.
const GOOD: &str = r#"[broker.plant]
url = "mqtt://127.0.0.1"

[[mqtt]]
broker = "plant"
topic = "plant/{asset}/telemetry"
payload = "json"
"#;

fn refusal(text: &str) -> String {
    refusal_with(text, &[])
}

fn refusal_with(text: &str, variables: &[(&str, &str)]) -> String {
    let variables = variables.iter().map(|(name, value)| (name.to_string(), value.to_string()));
    match config::load_text("andon.toml", text, variables) {
        Ok(_) => panic!("this configuration is refused:\n{text}"),
        Err(errors) => errors.to_string(),
    }
}

fn beside_good(text: &str) -> String {
    refusal(&format!("{GOOD}\n{text}"))
}

#[test]
fn toml_that_cannot_be_read() {
    insta::assert_snapshot!(refusal(
        r#"[site]
name = plant7

[[mqtt]
broker = "plant"

[store]
path = "/data/andon.db
path = "/data/b.db"
retain_bytes = 99999999999999999999
"#
    ));
}

#[test]
fn settings_and_tables_that_stand_twice() {
    insta::assert_snapshot!(refusal(
        "[site]\nname = \"a\"\nname = \"b\"\n\n[store]\n\n[store]\npath = \"x\"\n"
    ));
}

#[test]
fn values_of_the_wrong_type() {
    insta::assert_snapshot!(beside_good(
        r#"[broker.second]
url = 1883
keep_alive = "soon"
receive_maximum = 70000
max_payload = true

[mqqt]

[store]
commit_interval = 5
commit_samples = "100"
queue_samples = -1

[[tag]]
asset = "a"
name = "b"
range = [1]
missing = [1, "two"]

[log]
json = "true"

[http]
listen = "localhost:9187"

[[limits]]
tags = 10
"#
    ));
}

#[test]
fn one_table_where_a_list_belongs_and_the_other_way_round() {
    insta::assert_snapshot!(refusal(
        r#"[mqtt]
broker = "plant"

[[publish]]
broker = "plant"

[[rule]]
name = "a"
assets = "press-*"
tag = "p"
when = "above"
limit = "95"
"#
    ));
}

#[test]
fn settings_that_are_missing_are_all_named_at_once() {
    insta::assert_snapshot!(refusal(
        r#"[broker.plant]
ulr = "mqtt://127.0.0.1"

[publish]

[[mqtt]]

[[modbus]]
unit = 1
[[modbus.register]]

[[prediction]]
name = "a"

[[rule]]
"#
    ));
}

#[test]
fn names_that_topics_cannot_hold() {
    insta::assert_snapshot!(beside_good(
        r##"[site]
name = "plant/7"

[publish]
broker = "plant"
prefix = "/acme"

[[prediction]]
name = ""
model = "../secret"
assets = ["press+1", "#"]

[[rule]]
name = "a/b"
assets = []
tag = " "
when = "silent"
for = "10s"
"##
    ));
}

#[test]
fn brokers_that_nobody_can_reach() {
    insta::assert_snapshot!(refusal(
        r#"[broker.a]
url = "mqtts://broker:8883"
password_file = "/etc/andon/password"

[broker.b]
url = "mqtt://me:secret@broker"
keep_alive = "1s"
receive_maximum = 0

[broker.c]
url = "mqtt://broker:99999"
max_payload = "1GiB"
client_id = ""

[[mqtt]]
broker = "B"
topic = "{asset}/t"
payload = "json"
qos = 2
"#
    ));
}

#[test]
fn subscriptions_that_cannot_name_their_values() {
    insta::assert_snapshot!(beside_good(
        r#"[[mqtt]]
broker = "plant"
topic = "plant/+/telemetry"
payload = "json"

[[mqtt]]
broker = "plant"
topic = "line/{asset}/raw"
payload = "i16"
sample_rate = 0

[[mqtt]]
broker = "plant"
topic = "line/{asset}/{tag}/x"
payload = "f32"
scale = 0

[[mqtt]]
broker = "plant"
topic = "line/#/{asset}"
payload = "json"

[[mqtt]]
broker = "plant"
topic = "press-{asset}/{tag}"
payload = "number"

[[mqtt]]
broker = "plant"
topic = "n/{asset}/{tag}"
payload = "number"
time = "ts"

[[mqtt]]
broker = "plant"
topic = "s/{asset}"
payload = "samples"
time = "a..b"
"#
    ));
}

#[test]
fn modbus_devices_that_cannot_be_asked() {
    insta::assert_snapshot!(refusal(
        r#"[[modbus]]
asset = "press-1"
address = "10.0.0.5:502"
unit = 250
interval = "5ms"
timeout = "0s"
max_registers = 126

[[modbus.register]]
tag = "p"
address = "40101"

[[modbus.register]]
tag = "p"
address = "holding:0x10000"

[[modbus]]
asset = "press-1"
address = "tcp://plc:502"
max_registers = 2

[[modbus.register]]
tag = "p"
address = "holding:65535"
type = "f64"

[[modbus.register]]
tag = "q"
address = "inputs:1"
scale = 0
"#
    ));
}

#[test]
fn decisions_that_contradict_themselves() {
    insta::assert_snapshot!(beside_good(
        r#"[[prediction]]
name = "life"
model = "life"
assets = ["*"]
window = { length = "10s", hop = 64, coverage = 50, period = "0s" }
devices = ["gpu", "cdua", "cpu"]
[prediction.alert]
direction = "below"
raise = 10
clear = 5
n = 4
m = 3
severity = 0
text = "{asset} fails in {hours} h"

[[prediction]]
name = "life"
model = "a/b/c"
assets = ["*"]
window = { length = 64, hop = 128 }
alert = { raise = nan, n = 0 }
"#
    ));
}

#[test]
fn rules_without_what_they_need() {
    insta::assert_snapshot!(beside_good(
        r#"[[rule]]
name = "hot"
assets = ["*"]
tag = "t"
when = "above"
for = "5s"
alert = { raise = 90, n = 2 }

[[rule]]
name = "cold"
assets = ["*"]
tag = "t"
when = "below"
limit = 10
alert = { clear = 5 }

[[rule]]
name = "stuck"
assets = ["*"]
tag = "t"
when = "flat"
limit = -1

[[rule]]
name = "jump"
assets = ["*"]
tag = "t"
when = "rate"
limit = 0

[[rule]]
name = "quiet"
assets = ["*"]
tag = "t"
when = "silnet"
alert = { severity = 1001 }
"#
    ));
}

#[test]
fn a_box_that_cannot_keep_anything() {
    insta::assert_snapshot!(beside_good(
        r#"[store]
path = ""
retain_age = "0s"
retain_bytes = "1MiB"
commit_interval = "5min"
commit_samples = 0

[limits]
tags = 0

[log]
level = "inof"

[[tag]]
asset = "*"
name = "t"
range = [100, 0]
"#
    ));
}

#[test]
fn nothing_to_listen_to() {
    insta::assert_snapshot!(refusal("# later\n[site]\nname = \"plant7\"\n"));
}

#[test]
fn variables_of_the_environment_are_named() {
    insta::assert_snapshot!(refusal_with(
        GOOD,
        &[
            ("ANDON__STORE__COMMIT_SAMPLES", "many"),
            ("ANDON__STORE__PTAH", "/data/andon.db"),
            ("ANDON__BROKER__PLANT__URL", "tcp://broker"),
            ("ANDON__MQTT__1__TOPIC", "a/{asset}"),
            ("ANDON__MQTT__0__QOS", "3"),
            ("ANDON__BROKER__SECOND__USERNAME", "me"),
            ("ANDON__", "x"),
            ("ANDON_LIBRARY", "not for the configuration"),
        ]
    ));
}

#[test]
fn what_is_merely_odd_is_a_warning() {
    let text = format!(
        r#"{GOOD}
[[mqtt]]
broker = "plant"
topic = "plant/+/telemetry"
payload = "json"
asset = "press-9"
tag = "p"

[broker.spare]
url = "mqtt://127.0.0.2"

[publish]
broker = "plant"
prefix = "plant"

[[mqtt]]
broker = "plant"
topic = "plant/#"
payload = "json"
asset = "all"

[[modbus]]
asset = "press-1"
address = "tcp://plc"

[http]
listen = "0.0.0.0:9187"
"#
    );
    let loaded = config::load_text("andon.toml", &text, std::iter::empty());
    let loaded = loaded.unwrap_or_else(|errors| panic!("{errors}"));
    let told: String = loaded.warnings.iter().map(|warning| format!("{warning}\n")).collect();
    insta::assert_snapshot!(told);
}

#[test]
fn a_rule_on_a_tag_that_no_source_has_is_a_warning() {
    let text = "[[modbus]]\nasset = \"press-1\"\naddress = \"tcp://plc\"\n\
                register = [{ tag = \"pressure\", address = \"holding:0\" }]\n\
                [[rule]]\nname = \"a\"\nassets = [\"press-*\", \"spindle-*\"]\ntag = \"presure\"\n\
                when = \"above\"\nlimit = 1\n";
    let loaded = config::load_text("andon.toml", text, std::iter::empty());
    let loaded = loaded.unwrap_or_else(|errors| panic!("{errors}"));
    let told: Vec<&str> = loaded.warnings.iter().map(|w| w.path.as_str()).collect();
    assert_eq!(told, ["rule[0].assets[1]", "rule[0].tag"]);
}

#[test]
fn modbus_lines_and_registers_that_contradict_themselves() {
    insta::assert_snapshot!(refusal(
        r#"[[modbus]]
asset = "oven"
address = "rtu:///dev/ttyS0"
serial = { baud = 1, data_bits = 7, stop_bits = 3 }

[[modbus.register]]
tag = "a"
address = "holding:0.16"

[[modbus.register]]
tag = "b"
address = "40101"
type = "f32"
rate = "s"
wrap = 1
range = [5, 1]

[[modbus.register]]
tag = "c"
address = "holding:4"
type = "string"

[[modbus]]
asset = "dryer"
address = "rtu:///dev/ttyS0"
numbering = "one-based"
serial = { baud = 9600 }

[[modbus.register]]
tag = "a"
address = "holding:0"

[[modbus]]
asset = "plc"
address = "tls://plc"
serial = { baud = 9600 }

[[modbus.register]]
tag = "a"
address = "coil:0.3"
labels = { 0 = "off" }
"#
    ));
}

#[test]
fn charts_that_cannot_be_drawn_say_what_they_need() {
    let told = |rule: &str| {
        beside_good(&format!("[[rule]]\nname = \"c\"\nassets = [\"*\"]\ntag = \"t\"\n{rule}"))
    };
    for (rule, expected) in [
        ("when = \"above\"\nlimit = 1\nchart = { mean = 1.0 }", "`chart` does not belong"),
        ("when = \"cusum\"\nchart = { mean = 1.0 }", "`mean` without `sigma`"),
        ("when = \"ewma\"\nchart = { mean = 1.0, sigma = 0.0 }", "above 0: sigma = 0.2"),
        ("when = \"ewma\"\nchart = { weight = 2.0 }", "weight = 0.2"),
        ("when = \"nelson\"\nchart = { rules = [9] }", "Nelson's rules are 1 to 8"),
        ("when = \"shewhart\"\nchart = { baseline = 3 }", "expected 20 to 10000 readings"),
        ("when = \"shewhart\"\nlimit = -1", "a chart's limit lies above 0"),
        ("when = \"shewhart\"\nfor = \"5s\"", "`for` does not belong"),
        ("when = \"capability\"", "chart = { lower = 9.8, upper = 10.2 }"),
        ("when = \"capability\"\nchart = { lower = 2.0, upper = 1.0 }", "a specification has"),
        ("when = \"cusum\"\nlimit = 4\nalert = { clear = 5 }", "over at 5.0 already"),
        ("when = \"cusum\"\nchart = { mu = 5 }", "mean"),
    ] {
        let errors = told(rule);
        assert!(errors.contains(expected), "{rule}\n{errors}");
    }
}

#[test]
fn shares_that_are_none_and_shared_subscriptions_beside_them() {
    let told = refusal(
        r#"[broker.plant]
url = "mqtt://127.0.0.1"

[share]
box = "a/b"
of = 2
take = [1, 3]
pin = [{ assets = [], share = 0 }]

[[mqtt]]
broker = "plant"
topic = "$share/edge/plant/{asset}/telemetry"
payload = "json"
"#,
    );
    for line in [
        "andon.toml:5:7: error: the box's name \"a/b\" holds `/`",
        "andon.toml:7:12: error: there is no share 3 of 2",
        "error: there is no share 0 of 2",
        "error: the pin holds no asset",
        "error: a shared subscription gives a message to any one box",
    ] {
        assert!(told.contains(line), "{line}\n{told}");
    }
    let told = refusal("[share]\nbox = \"a\"\nof = 0\ntake = [1]\n");
    assert!(told.contains("a site cannot be split into 0 shares"), "{told}");
}
