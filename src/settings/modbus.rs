//! Modbus devices and their registers.

use std::time::Duration;

use serde::Deserialize;

/// One unit of one device (`[[modbus]]`).
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModbusDevice {
    pub asset: String,
    /// `tcp://10.0.0.5:502`
    pub address: String,
    #[serde(default = "unit")]
    pub unit: u8,
    #[serde(default = "interval", with = "humantime_serde")]
    pub interval: Duration,
    #[serde(default = "timeout", with = "humantime_serde")]
    pub timeout: Duration,
    /// Byte order of 32- and 64-bit values, unless the register says otherwise.
    #[serde(default)]
    pub order: WordOrder,
    /// Registers nobody asked for that may be read along to join two requests.
    #[serde(default = "gap")]
    pub gap: u16,
    /// Most registers in one request (the protocol allows 125; bits: sixteen times as many, at most 2000).
    #[serde(default = "max_registers")]
    pub max_registers: u16,
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

fn gap() -> u16 {
    8
}

fn max_registers() -> u16 {
    125
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Register {
    pub tag: String,
    /// `coil:0`, `discrete:0`, `input:0`, `holding:0`: zero-based, as on the wire.
    /// Decimal or `0x` hexadecimal.
    pub address: String,
    /// Ignored for coils and discrete inputs, which are bits.
    #[serde(rename = "type", default)]
    pub kind: RegisterType,
    pub order: Option<WordOrder>,
    #[serde(default = "one")]
    pub scale: f64,
    #[serde(default)]
    pub offset: f64,
}

fn one() -> f64 {
    1.0
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RegisterType {
    #[default]
    U16,
    I16,
    U32,
    I32,
    U64,
    I64,
    F32,
    F64,
}

/// Order of the bytes on the wire, most significant byte = A. For 64 bits the pattern goes on:
/// ABCD = ABCDEFGH, CDAB = GHEFCDAB, BADC = BADCFEHG, DCBA = HGFEDCBA.
/// For 16 bits BADC and DCBA swap the two bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum WordOrder {
    /// Big endian, as the specification suggests.
    #[default]
    #[serde(rename = "ABCD")]
    Abcd,
    /// Words swapped.
    #[serde(rename = "CDAB")]
    Cdab,
    /// Bytes swapped within words.
    #[serde(rename = "BADC")]
    Badc,
    /// Little endian.
    #[serde(rename = "DCBA")]
    Dcba,
}
