//! The demonstration's world as a whole: settings, telemetry, narrator.
#![cfg(feature = "demo")]

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use andon::demo::settings::{Places, settings, text};
use andon::demo::{Demo, FaultPlan, Heard, SEED};
use andon::settings::{PayloadKind, RegisterType, RuleKind};
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::Packet;
use rumqttc::v5::{AsyncClient, Event, EventLoop, MqttOptions};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

const PATIENCE: Duration = Duration::from_secs(10);

#[test]
fn the_configuration_says_where_everything_is() {
    let places = Places {
        broker: SocketAddr::from(([127, 0, 0, 1], 1_883)),
        plc: SocketAddr::from(([127, 0, 0, 1], 502)),
        dir: Path::new("a \"quoted\" folder"),
        models: Path::new("models"),
    };
    let settings = settings(&places);
    assert_eq!(settings.broker["demo"].url, "mqtt://127.0.0.1:1883");
    assert_eq!(settings.publish.unwrap().prefix, "demo/line1");
    let payloads: Vec<PayloadKind> = settings.mqtt.iter().map(|entry| entry.payload).collect();
    assert_eq!(payloads, [PayloadKind::Json, PayloadKind::F32]);
    assert_eq!(settings.mqtt[1].sample_rate, Some(6_400.0));
    assert_eq!(settings.modbus.len(), 3);
    assert_eq!(settings.modbus[2].address, "tcp://127.0.0.1:502");
    assert_eq!(settings.modbus[2].unit, 3);
    assert_eq!(settings.modbus[2].register[3].kind, RegisterType::I16);
    assert_eq!(settings.prediction[0].model, "spindle-anomaly");
    assert_eq!(settings.prediction[0].assets, ["spindle-*"]);
    let rules: Vec<RuleKind> = settings.rule.iter().map(|rule| rule.when).collect();
    let expected = [RuleKind::Above, RuleKind::Below, RuleKind::Flat, RuleKind::Silent];
    assert_eq!(rules, expected);
    assert_eq!(settings.store.path, Path::new("a \"quoted\" folder/andon.db"));
    assert_eq!(settings.http.listen.map(|listen| listen.to_string()), Some("127.0.0.1:0".into()));
    assert!(!text(&places).contains("{broker}"));
}

struct Client {
    client: AsyncClient,
    events: EventLoop,
}

impl Client {
    async fn connect(id: &str, broker: SocketAddr) -> Self {
        let (client, events) =
            AsyncClient::new(MqttOptions::new(id, broker.ip().to_string(), broker.port()), 100);
        let mut client = Self { client, events };
        client.until(|packet| matches!(packet, Packet::ConnAck(_))).await;
        client
    }

    async fn until(&mut self, wanted: impl Fn(&Packet) -> bool) -> Packet {
        let found = async {
            loop {
                if let Event::Incoming(packet) = self.events.poll().await.expect("the link holds")
                    && wanted(&packet)
                {
                    return packet;
                }
            }
        };
        timeout(PATIENCE, found).await.expect("the broker answers in time")
    }
}

#[tokio::test]
async fn every_spindle_sends_readings_and_one_sends_bursts_and_one_garbles() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("made/if/need/be");
    let mut demo =
        Demo::start(SEED, FaultPlan::none(), &folder, Path::new("models")).await.unwrap();
    assert_eq!(std::fs::read_to_string(demo.settings_path()).unwrap(), demo.settings_text());

    let mut client = Client::connect("listener", demo.broker()).await;
    client.client.subscribe("demo/line1/+/+", QoS::AtLeastOnce).await.unwrap();
    client.until(|packet| matches!(packet, Packet::SubAck(_))).await;
    demo.run_plant();

    let mut assets = BTreeSet::new();
    let (mut burst, mut garbled) = (0, 0);
    while assets.len() < 6 || burst == 0 || garbled == 0 {
        let packet = client.until(|packet| matches!(packet, Packet::Publish(_))).await;
        let Packet::Publish(publish) = packet else { unreachable!() };
        let topic = String::from_utf8(publish.topic.to_vec()).unwrap();
        if topic.ends_with("/vibration-raw") {
            burst = publish.payload.len();
            continue;
        }
        let Ok(body) = serde_json::from_slice::<serde_json::Value>(&publish.payload) else {
            garbled += 1;
            continue;
        };
        assert!(body["ts"].is_i64());
        assert_eq!(body["values"].as_object().unwrap().len(), 5);
        assets.insert(topic);
    }
    assert_eq!(burst, 4_096);
    timeout(PATIENCE, demo.stop()).await.unwrap();
}

fn event(state: &str, previous: &str, changed_at: &str) -> String {
    format!(
        r#"{{"specversion":"1.0","id":"a-1","source":"andon/demo","type":"andon.alert",
        "time":"2026-11-23T07:12:09.250Z","data":{{
        "alert_id":"a","asset":"spindle-3","prediction":"spindle-anomaly","state":"{state}",
        "previous_state":"{previous}","severity":700,
        "text":"spindle-3 does not run as a healthy spindle does.",
        "raised_at":"2026-11-23T07:12:09.250Z","changed_at":"2026-11-23T07:12:{changed_at}Z",
        "cleared_at":null,"score":3.2132,"threshold":1.0,
        "window":{{"start":"2026-11-23T07:12:06.000Z","end":"2026-11-23T07:12:09.000Z",
        "samples":150,"coverage":0.987}},
        "model":{{"name":"spindle-anomaly","version":"1.0.0","sha256":"00","device":"cpu"}},
        "contributions":[{{"tag":"vibration","value":4.1234,"share":1.6}},
        {{"tag":"temperature","value":46.23,"share":0.4}},{{"tag":"speed","value":8859,"share":-0.1}}],
        "seq":1,"historical":false}}}}"#
    )
}

const RULE_EVENT: &str = r#"{"data":{"asset":"press-2","prediction":"press-pressure-low",
    "state":"active","previous_state":"normal","severity":300,
    "text":"press-2 is losing hydraulic pressure.",
    "raised_at":"2026-11-23T07:12:10.000Z","changed_at":"2026-11-23T07:12:10.000Z",
    "cleared_at":null,"score":131.44,"threshold":140,"model":null,"historical":true}}"#;

#[test]
fn the_narrator_tells_alerts_in_words() {
    let mut heard = Heard::default();
    let mut out = Vec::new();
    let mut tell = |body: &str| heard.tell(body.as_bytes(), &mut out).unwrap();
    tell(&event("active", "normal", "09.250"));
    tell(RULE_EVENT);
    tell(&event("acknowledged", "active", "11.000"));
    tell(&event("normal", "acknowledged", "15.500"));
    tell("{}");
    assert_eq!(heard, Heard { raised: 2, cleared: 1, other: 1, unreadable: 1 });
    insta::assert_snapshot!(String::from_utf8(out).unwrap(), @r"
    07:12:09.250  spindle-3: ALERT, high
                  spindle-3 does not run as a healthy spindle does.
                  score 3.21, threshold 1.00; 150 samples in 3.0 s, 99 % of them measured
                  because of vibration at 4.12 (80 %), temperature at 46.2 (20 %)
                  says model spindle-anomaly 1.0.0 on cpu

    07:12:10.000  press-2: ALERT, low (from the backlog)
                  press-2 is losing hydraulic pressure.
                  score 131, threshold 140
                  says rule press-pressure-low

    07:12:11.000  spindle-3: acknowledged
                  spindle-3 does not run as a healthy spindle does.

    07:12:15.500  spindle-3: over
                  spindle-anomaly is back to normal after 6.2 s

    An event came that cannot be read: missing field `data` at line 1 column 2.
    ");
}

#[tokio::test]
async fn the_narrator_hears_through_the_broker() {
    let dir = tempfile::tempdir().unwrap();
    let demo = Demo::start(SEED, FaultPlan::none(), dir.path(), Path::new("models")).await.unwrap();
    let narrator = demo.narrator().await.unwrap();
    let stop = CancellationToken::new();
    let listening = tokio::spawn(async move {
        let mut out = OnceTold(stop.clone());
        narrator.run(&mut out, stop).await.unwrap()
    });
    let mut client = Client::connect("daemon", demo.broker()).await;
    let topic = "demo/line1/spindle-3/alert/spindle-anomaly/event";
    let body = event("active", "normal", "09.250");
    client.client.publish(topic, QoS::AtLeastOnce, false, body).await.unwrap();
    client.until(|packet| matches!(packet, Packet::PubAck(_))).await;
    let heard = timeout(PATIENCE, listening).await.unwrap().unwrap();
    assert_eq!(heard.raised, 1);
    demo.stop().await;
}

/// Stops the narrator once it has told something.
struct OnceTold(CancellationToken);

impl std::io::Write for OnceTold {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.cancel();
        Ok(())
    }
}
