//! Modbus devices and their registers.

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::path;
use super::{Check, brokers, names};
use crate::decode::registers::{Address, width};
use crate::settings::{ModbusDevice, Register, Settings};

const LEAST_INTERVAL: Duration = Duration::from_millis(10);
const MOST_REGISTERS: u16 = 125;

pub(super) fn check(check: &mut Check<'_>, settings: &Settings) {
    let mut tags: BTreeMap<(&str, &str), String> = BTreeMap::new();
    for (index, device) in settings.modbus.iter().enumerate() {
        let at = path::element("modbus", index);
        check_device(check, &at, device);
        for (index, register) in device.register.iter().enumerate() {
            let at = path::element(&path::child(&at, "register"), index);
            check_register(check, &at, device, register);
            let tag = path::child(&at, "tag");
            let key = (device.asset.as_str(), register.tag.as_str());
            if let Some(first) = tags.get(&key) {
                let line = check.source.locate(first).line;
                check.error(
                    &tag,
                    format!(
                        "{} already has a tag {:?}, on line {line}",
                        device.asset, register.tag
                    ),
                    "give one of them another name",
                );
            } else {
                tags.insert(key, tag);
            }
        }
    }
}

fn check_device(check: &mut Check<'_>, at: &str, device: &ModbusDevice) {
    names::level(check, &path::child(at, "asset"), "the asset", &device.asset);
    if !device.address.strip_prefix("tcp://").is_some_and(brokers::is_host_and_port) {
        check.error(
            &path::child(at, "address"),
            format!("{:?} is no device's address", device.address),
            "write \"tcp://10.0.0.5:502\"",
        );
    }
    if (248..=254).contains(&device.unit) {
        check.error(
            &path::child(at, "unit"),
            format!("{} is reserved", device.unit),
            "units are 1 to 247; 0 or 255 is the device itself behind TCP",
        );
    }
    if device.interval < LEAST_INTERVAL {
        check.error(
            &path::child(at, "interval"),
            "a device can be asked every 10ms at most",
            "\"1s\" is the default",
        );
    }
    if device.timeout.is_zero() {
        check.error(
            &path::child(at, "timeout"),
            "no answer comes in no time",
            "\"1s\" is the default",
        );
    }
    if !(1..=MOST_REGISTERS).contains(&device.max_registers) {
        check.error(
            &path::child(at, "max_registers"),
            format!("{} is outside 1 to {MOST_REGISTERS}", device.max_registers),
            "leave it out for 125; less only where the device's manual says so",
        );
    }
    if device.register.is_empty() {
        check.warning(
            &path::child(at, "register"),
            format!("{} has no registers to read", device.asset),
            "add [[modbus.register]] with tag = \"…\" and address = \"holding:0\"",
        );
    }
}

fn check_register(check: &mut Check<'_>, at: &str, device: &ModbusDevice, register: &Register) {
    names::tag(check, &path::child(at, "tag"), &register.tag);
    match register.address.parse::<Address>() {
        Ok(address) => check_extent(check, at, device, register, address),
        Err(error) => check.error(
            &path::child(at, "address"),
            error.to_string(),
            "write coil:, discrete:, input: or holding: and the number on the wire, from 0: \
             \"holding:100\" or \"holding:0x64\"",
        ),
    }
    if !register.scale.is_finite() || register.scale == 0.0 {
        check.error(
            &path::child(at, "scale"),
            format!("a scale of {:?} leaves nothing of the value", register.scale),
            "leave it out for 1.0",
        );
    }
    if !register.offset.is_finite() {
        check.error(
            &path::child(at, "offset"),
            format!("an offset of {:?} leaves nothing of the value", register.offset),
            "leave it out for 0.0",
        );
    }
}

fn check_extent(
    check: &mut Check<'_>,
    at: &str,
    device: &ModbusDevice,
    register: &Register,
    address: Address,
) {
    if address.table.is_bits() {
        for name in ["type", "order"] {
            check.idle(at, name, "coils and discrete inputs are bits");
        }
        return;
    }
    let width = width(register.kind);
    if address.offset.checked_add(width - 1).is_none() {
        check.error(
            &path::child(at, "address"),
            format!("{width} registers from {} on go past the last, 65535", address.offset),
            "check the address and the type",
        );
    }
    if width > device.max_registers && device.max_registers > 0 {
        check.error(
            &path::child(at, "type"),
            format!(
                "the value takes {width} registers; `max_registers` allows {}",
                device.max_registers
            ),
            format!("raise `max_registers` to {width} at least"),
        );
    }
}
