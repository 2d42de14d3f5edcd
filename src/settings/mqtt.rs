//! Brokers, subscriptions and publication.

use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Tls;

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Broker {
    /// `mqtt://host:1883`, or `mqtts://host:8883` with `tls`.
    pub url: String,
    /// Default: `andon-<site>-<host>`; ingest and egress add `-in` and `-out`.
    pub client_id: Option<String>,
    pub username: Option<String>,
    /// A file with the password alone, so that it stands in no configuration.
    pub password_file: Option<PathBuf>,
    /// For `mqtts://`.
    pub tls: Option<Tls>,
    #[serde(default = "keep_alive", with = "humantime_serde")]
    #[schemars(with = "String")]
    pub keep_alive: Duration,
    /// How long the broker keeps our subscriptions and unconfirmed messages while we are away.
    #[serde(default = "session_expiry", with = "humantime_serde")]
    #[schemars(with = "String")]
    pub session_expiry: Duration,
    /// Unacknowledged QoS 1 messages that we accept: the back-pressure.
    #[serde(default = "receive_maximum")]
    pub receive_maximum: u16,
    /// Longest payload that is read; longer ones are counted and dropped.
    #[serde(default = "max_payload")]
    #[schemars(with = "String")]
    pub max_payload: bytesize::ByteSize,
}

fn keep_alive() -> Duration {
    Duration::from_secs(10)
}

fn session_expiry() -> Duration {
    Duration::from_secs(24 * 3600)
}

fn receive_maximum() -> u16 {
    16_384
}

fn max_payload() -> bytesize::ByteSize {
    bytesize::ByteSize::mib(1)
}

/// One topic pattern and how to read what comes on it (`[[mqtt]]`).
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Subscription {
    /// Name of a `[broker.*]`.
    pub broker: String,
    /// A topic filter in which `{asset}` and `{tag}` capture one level each:
    /// `plant/line1/{asset}/telemetry`. `+` and a closing `#` stand as in MQTT.
    pub topic: String,
    #[serde(default = "qos")]
    pub qos: u8,
    pub payload: PayloadKind,
    /// The asset, where the topic does not capture it and the payload does not name it.
    pub asset: Option<String>,
    /// The tag of `number` and packed payloads, where the topic does not capture it.
    pub tag: Option<String>,
    /// Dotted path to the time in JSON. Default: the time of arrival.
    pub time: Option<String>,
    #[serde(default)]
    pub time_unit: TimeUnit,
    /// `json`: dotted path to the object of tag: value; default: the whole object.
    /// `samples`: dotted path to the array; default: the whole payload.
    pub values: Option<String>,
    /// `samples`: key of the tag's name, of the asset's name and of the value in each element.
    pub tag_key: Option<String>,
    pub asset_key: Option<String>,
    pub value_key: Option<String>,
    /// Packed payloads: byte order, samples a second, and the factor to the tag's unit.
    #[serde(default)]
    pub byte_order: ByteOrder,
    pub sample_rate: Option<f64>,
    #[serde(default = "one")]
    pub scale: f64,
}

fn qos() -> u8 {
    1
}

fn one() -> f64 {
    1.0
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PayloadKind {
    /// `{"ts": 1700000000000, "values": {"pressure": 81.2, "temperature": 40}}`
    Json,
    /// `[{"tag": "pressure", "ts": 1700000000000, "value": 81.2}, …]`
    Samples,
    /// `81.2`
    Number,
    /// A JPEG or PNG picture for models that take one; the time is that of arrival.
    Image,
    /// A text in UTF-8 for models that read one, such as an operator's note; the time is that of arrival.
    Text,
    /// Packed arrays; the time is that of the first value, or for arrival that of the last.
    I16,
    I32,
    F32,
    F64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ByteOrder {
    #[default]
    Little,
    Big,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum TimeUnit {
    #[serde(rename = "s")]
    Seconds,
    #[default]
    #[serde(rename = "ms")]
    Millis,
    #[serde(rename = "us")]
    Micros,
    #[serde(rename = "ns")]
    Nanos,
    #[serde(rename = "rfc3339")]
    Rfc3339,
}

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Publish {
    /// Name of a `[broker.*]`.
    pub broker: String,
    /// The site's path in the unified namespace: `acme/plant7/line1`.
    pub prefix: String,
    /// Also publish every verdict (QoS 0, not stored, first to be shed).
    #[serde(default)]
    pub verdicts: bool,
    #[serde(default = "status_interval", with = "humantime_serde")]
    #[schemars(with = "String")]
    pub status_interval: Duration,
}

fn status_interval() -> Duration {
    Duration::from_secs(10)
}
