//! Modbus devices and their registers.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Tls;

/// One unit of one device (`[[modbus]]`).
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ModbusDevice {
    pub asset: String,
    /// `tcp://10.0.0.5:502`, `tls://10.0.0.5:802`, `rtu+tcp://10.0.0.9:4001` or
    /// `rtu:///dev/serial/by-id/…`.
    pub address: String,
    #[serde(default = "unit")]
    pub unit: u8,
    #[serde(default = "interval", with = "humantime_serde")]
    #[schemars(with = "String")]
    pub interval: Duration,
    #[serde(default = "timeout", with = "humantime_serde")]
    #[schemars(with = "String")]
    pub timeout: Duration,
    /// Silence between an answer of this unit and the next request: its turnaround delay.
    #[serde(default, with = "humantime_serde")]
    #[schemars(with = "String")]
    pub pause: Duration,
    /// Byte order of values, unless the register says otherwise.
    #[serde(default)]
    pub order: WordOrder,
    /// How the offsets of its registers count.
    #[serde(default)]
    pub numbering: Numbering,
    /// Most registers that nobody asked for and that may be read along to join two requests.
    /// Without it the costs of the line decide.
    pub gap: Option<u16>,
    /// Most registers in one request (the protocol allows 125; bits: sixteen times as many, at
    /// most 2000).
    #[serde(default = "max_registers")]
    pub max_registers: u16,
    /// The line of `rtu://`; said once for all devices on it.
    pub serial: Option<SerialLine>,
    /// For `tls://`; said once for all units behind the address.
    pub tls: Option<Tls>,
    /// A CSV file with further registers, relative to the configuration.
    pub map: Option<PathBuf>,
    #[serde(default)]
    pub register: Vec<Register>,
}

fn unit() -> u8 {
    1
}

fn interval() -> Duration {
    Duration::from_secs(1)
}

fn timeout() -> Duration {
    Duration::from_secs(1)
}

fn max_registers() -> u16 {
    125
}

/// How people count registers. The notation `40101` always counts from one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Numbering {
    /// `holding:0` is the first, as on the wire.
    #[default]
    ZeroBased,
    /// `holding:1` is the first.
    OneBased,
}

/// Settings of a serial line. The defaults are the specification's.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SerialLine {
    pub baud: u32,
    /// 8: RTU is binary.
    pub data_bits: u8,
    pub parity: Parity,
    pub stop_bits: u8,
    /// Silence before each request; without it 3.5 characters, at least 1.75 ms.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "Option<String>")]
    pub frame_gap: Option<Duration>,
}

impl Default for SerialLine {
    fn default() -> Self {
        Self { baud: 19_200, data_bits: 8, parity: Parity::Even, stop_bits: 1, frame_gap: None }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Parity {
    None,
    Odd,
    #[default]
    Even,
}

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Register {
    pub tag: String,
    /// `holding:100`, `holding:0x64`, `40101`, `0x64` (a holding register); with `.3` one bit,
    /// with `.4-7` a bit field, bit 0 being the lowest.
    pub address: String,
    /// Ignored for coils and discrete inputs, which are bits.
    #[serde(rename = "type", default)]
    pub kind: RegisterType,
    pub order: Option<WordOrder>,
    /// Registers of a string.
    pub length: Option<u16>,
    #[serde(default = "one")]
    pub scale: f64,
    #[serde(default)]
    pub offset: f64,
    /// As people write it: `bar`, `mm/s`, `degC`. A `[[tag]]` that matches has precedence.
    pub unit: Option<String>,
    /// Raw values, before the scale, that stand for "no reading": `0x8000`, -9999.
    #[serde(default)]
    pub missing: Vec<f64>,
    /// Plausible values, after the scale, both ends included; anything outside is missing.
    pub range: Option<[f64; 2]>,
    /// What the raw numbers mean. A number without a label is uncertain; a string becomes the
    /// number of its label.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// A counter becomes its increase in this time.
    pub rate: Option<RateUnit>,
    /// The count at which a counter begins again; without it what the type can hold.
    pub wrap: Option<u64>,
    /// Instead of the device's.
    #[serde(default, with = "humantime_serde")]
    #[schemars(with = "Option<String>")]
    pub interval: Option<Duration>,
}

impl Register {
    /// An unscaled 16-bit register.
    pub fn new(tag: impl Into<String>, address: impl Into<String>) -> Self {
        Self {
            tag: tag.into(),
            address: address.into(),
            kind: RegisterType::U16,
            order: None,
            length: None,
            scale: 1.0,
            offset: 0.0,
            unit: None,
            missing: Vec::new(),
            range: None,
            labels: BTreeMap::new(),
            rate: None,
            wrap: None,
            interval: None,
        }
    }
}

fn one() -> f64 {
    1.0
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RateUnit {
    S,
    Min,
    H,
}

impl RateUnit {
    pub const fn seconds(self) -> f64 {
        match self {
            Self::S => 1.0,
            Self::Min => 60.0,
            Self::H => 3600.0,
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RegisterType {
    #[default]
    U16,
    I16,
    U32,
    I32,
    U64,
    I64,
    F16,
    F32,
    F64,
    /// The high half of a register.
    U8h,
    /// The low half.
    U8l,
    I8h,
    I8l,
    /// Four decimal digits in one register.
    Bcd16,
    Bcd32,
    Bcd64,
    /// Latin-1 text of `length` registers, two characters in each.
    String,
}

impl RegisterType {
    /// All that are numbers.
    pub const NUMBERS: [Self; 16] = [
        Self::U16,
        Self::I16,
        Self::U32,
        Self::I32,
        Self::U64,
        Self::I64,
        Self::F16,
        Self::F32,
        Self::F64,
        Self::U8h,
        Self::U8l,
        Self::I8h,
        Self::I8l,
        Self::Bcd16,
        Self::Bcd32,
        Self::Bcd64,
    ];

    /// As in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::U16 => "u16",
            Self::I16 => "i16",
            Self::U32 => "u32",
            Self::I32 => "i32",
            Self::U64 => "u64",
            Self::I64 => "i64",
            Self::F16 => "f16",
            Self::F32 => "f32",
            Self::F64 => "f64",
            Self::U8h => "u8h",
            Self::U8l => "u8l",
            Self::I8h => "i8h",
            Self::I8l => "i8l",
            Self::Bcd16 => "bcd16",
            Self::Bcd32 => "bcd32",
            Self::Bcd64 => "bcd64",
            Self::String => "string",
        }
    }
}

/// Order of the bytes on the wire, most significant byte = A. For 64 bits the pattern goes on:
/// ABCD = ABCDEFGH, CDAB = GHEFCDAB, BADC = BADCFEHG, DCBA = HGFEDCBA.
/// For 16 bits BADC and DCBA swap the two bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum WordOrder {
    /// Big endian, as the specification suggests.
    #[default]
    #[serde(rename = "ABCD", alias = "ABCDEFGH")]
    Abcd,
    /// Words swapped.
    #[serde(rename = "CDAB", alias = "GHEFCDAB")]
    Cdab,
    /// Bytes swapped within words.
    #[serde(rename = "BADC", alias = "BADCFEHG")]
    Badc,
    /// Little endian.
    #[serde(rename = "DCBA", alias = "HGFEDCBA")]
    Dcba,
}

impl WordOrder {
    pub const ALL: [Self; 4] = [Self::Abcd, Self::Cdab, Self::Badc, Self::Dcba];

    /// As in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Abcd => "ABCD",
            Self::Cdab => "CDAB",
            Self::Badc => "BADC",
            Self::Dcba => "DCBA",
        }
    }
}
