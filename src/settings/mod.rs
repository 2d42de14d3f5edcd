//! The words of the configuration file: what each setting is called, its unit and its default.
//!
//! Plain data without I/O. `config/` reads it from TOML and checks it; every other room gets
//! the part it needs. Fields are documented here once; `config/andon.toml` shows them in use.

mod alert;
pub mod change;
mod drift;
mod flood;
mod folder;
mod http;
mod modbus;
mod mqtt;
mod predict;
pub mod reference;
pub mod schema;
mod service;
mod share;
mod store;
mod tls;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::alert::{AlertPolicy, ChartSettings, Direction, Rule, RuleKind};
pub use self::drift::DriftSettings;
pub use self::flood::FloodSettings;
pub use self::folder::{AfterUse, Folder};
pub use self::http::{HttpSettings, HttpTls, Listen};
pub use self::modbus::{
    ModbusDevice, Numbering, Parity, RateUnit, Register, RegisterType, SerialLine, WordOrder,
};
pub use self::mqtt::{Broker, ByteOrder, PayloadKind, Publish, Subscription, TimeUnit};
pub use self::predict::{Extent, Fill, Prediction, WindowSettings};
pub use self::service::ServiceSettings;
pub use self::share::{Pin, ShareSettings};
pub use self::store::StoreSettings;
pub use self::tls::{Tls, TlsVersion};

/// A whole configuration file.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    pub site: Site,
    pub share: Option<ShareSettings>,
    /// MQTT brokers by name; `mqtt` and `publish` entries refer to them.
    pub broker: BTreeMap<String, Broker>,
    /// Where alerts and status go. Without it the daemon still predicts and stores.
    pub publish: Option<Publish>,
    pub mqtt: Vec<Subscription>,
    pub modbus: Vec<ModbusDevice>,
    pub folder: Vec<Folder>,
    pub tag: Vec<TagSettings>,
    pub prediction: Vec<Prediction>,
    pub rule: Vec<Rule>,
    pub store: StoreSettings,
    pub runtime: RuntimeSettings,
    pub http: HttpSettings,
    pub service: ServiceSettings,
    pub drift: DriftSettings,
    pub flood: FloodSettings,
    pub limits: Limits,
    pub log: LogSettings,
}

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Site {
    /// Part of every alert id. Change it and the alerts are new ones.
    pub name: String,
}

impl Default for Site {
    fn default() -> Self {
        Self { name: "site".into() }
    }
}

/// What is known about tags; `asset` and `name` may hold `*`. The last entry that matches wins.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TagSettings {
    pub asset: String,
    pub name: String,
    /// As people write it: `bar`, `mm/s`, `degC`.
    pub unit: Option<String>,
    /// Plausible values, both ends included; anything outside is bad quality.
    pub range: Option<[f64; 2]>,
    /// Values that stand for "no reading", such as -9999 or 65535.
    #[serde(default)]
    pub missing: Vec<f64>,
}

/// ONNX Runtime and the model repository.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RuntimeSettings {
    /// Path of `libonnxruntime.so`. Default: `ORT_DYLIB_PATH`, then `vendor/onnxruntime/lib/`
    /// beside the working directory, then `/usr/lib/andon/`.
    pub library: Option<PathBuf>,
    /// Folder of `<name>/<version>/{model.onnx, model.toml}`.
    pub models: PathBuf,
    /// How long a version that was activated is on trial: the one before it stays loaded, and is
    /// taken again at the first failure.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub trial: Duration,
    /// Run no model but those that one of `trusted_keys` has signed; docs/model-trust.md says how.
    pub require_signature: bool,
    /// Public keys in PEM: `["/etc/andon/keys/plant.pem"]`.
    pub trusted_keys: Vec<PathBuf>,
}

impl Default for RuntimeSettings {
    fn default() -> Self {
        let trial = Duration::from_secs(600);
        Self {
            library: None,
            models: PathBuf::from("models"),
            trial,
            require_signature: false,
            trusted_keys: Vec::new(),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Most tags the daemon will learn.
    pub tags: usize,
    /// A sample may lie this far ahead of the box's clock.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub future: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { tags: 100_000, future: Duration::from_secs(300) }
    }
}

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LogSettings {
    /// `error`, `warn`, `info`, `debug`, `trace`, or a filter such as `info,andon::modbus=debug`.
    pub level: String,
    pub json: bool,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self { level: "info".into(), json: false }
    }
}
