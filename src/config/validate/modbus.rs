//! Modbus devices and their registers.

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::path;
use super::{Check, brokers, names};
use crate::decode::registers::{Address, Field, Signal, Table};
use crate::settings::{ModbusDevice, Numbering, Register, SerialLine, Settings, WordOrder};

const LEAST_INTERVAL: Duration = Duration::from_millis(10);
const MOST_REGISTERS: u16 = 125;

pub(super) fn check(check: &mut Check<'_>, settings: &Settings) {
    let mut tags: BTreeMap<(&str, &str), String> = BTreeMap::new();
    let mut lines: BTreeMap<&str, (usize, &SerialLine)> = BTreeMap::new();
    let mut units: BTreeMap<(&str, u8), usize> = BTreeMap::new();
    for (index, device) in settings.modbus.iter().enumerate() {
        let at = path::element("modbus", index);
        check_device(check, &at, device);
        let trusted = settings
            .modbus
            .iter()
            .any(|other| other.address == device.address && other.tls.is_some());
        if device.address.starts_with("tls://") && !trusted {
            check.error(
                &path::child(&at, "address"),
                "whom to trust is not said",
                "add tls = { ca_file = \"/etc/andon/plant-ca.pem\" }",
            );
        }
        check_neighbours(check, index, device, &mut lines, &mut units);
        for (index, register) in device.register.iter().enumerate() {
            let at = path::element(&path::child(&at, "register"), index);
            check_register(check, &at, device, register);
            let tag = path::child(&at, "tag");
            let key = (device.asset.as_str(), register.tag.as_str());
            if let Some(first) = tags.get(&key) {
                let place = check.source.line_of(first, &tag);
                check.error(
                    &tag,
                    format!("{} already has a tag {:?}, {place}", device.asset, register.tag),
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
    check_way(check, at, device);
    if (248..=254).contains(&device.unit) {
        check.error(
            &path::child(at, "unit"),
            format!("{} is reserved", device.unit),
            "units are 1 to 247; 0 or 255 is the device itself behind TCP",
        );
    }
    check_interval(check, &path::child(at, "interval"), device.interval);
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
    if device.register.is_empty() && device.map.is_none() {
        check.warning(
            &path::child(at, "register"),
            format!("{} has no registers to read", device.asset),
            "add [[modbus.register]] with tag = \"…\" and address = \"holding:0\"",
        );
    }
}

fn check_interval(check: &mut Check<'_>, path: &str, interval: Duration) {
    if interval < LEAST_INTERVAL {
        check.error(
            path,
            "a device can be asked every 10ms at most",
            "\"1s\" is the device's default",
        );
    }
}

fn check_way(check: &mut Check<'_>, at: &str, device: &ModbusDevice) {
    let (scheme, place) = device.address.split_once("://").unwrap_or_default();
    let known = match scheme {
        "tcp" | "tls" => brokers::is_host_and_port(place),
        "rtu+tcp" => {
            brokers::is_host_and_port(place) && !place.ends_with(']') && place.contains(':')
        }
        "rtu" => place.len() > 1 && place.starts_with('/'),
        _ => false,
    };
    if !known {
        check.error(
            &path::child(at, "address"),
            format!("{:?} is no device's address", device.address),
            "write \"tcp://10.0.0.5:502\", \"tls://plc:802\", \"rtu+tcp://10.0.0.9:4001\" or \
             \"rtu:///dev/serial/by-id/…\"",
        );
        return;
    }
    match &device.serial {
        Some(serial) if scheme.starts_with("rtu") => {
            check_serial(check, &path::child(at, "serial"), serial);
        }
        _ => check.idle(at, "serial", "the address is no serial line"),
    }
    match &device.tls {
        Some(tls) if scheme == "tls" => brokers::check_tls(check, &path::child(at, "tls"), tls),
        _ => check.idle(at, "tls", "the address does not begin with tls://"),
    }
}

fn check_serial(check: &mut Check<'_>, at: &str, serial: &SerialLine) {
    if !(300..=4_000_000).contains(&serial.baud) {
        check.error(
            &path::child(at, "baud"),
            format!("{} is no line's speed", serial.baud),
            "9600, 19200, 38400, 57600 and 115200 are usual",
        );
    }
    if serial.data_bits != 8 {
        check.error(
            &path::child(at, "data_bits"),
            format!("{} data bits carry no RTU, which is binary", serial.data_bits),
            "leave it out for 8; 7 bits belong to Modbus ASCII, which is not spoken here",
        );
    }
    if !(1..=2).contains(&serial.stop_bits) {
        check.error(
            &path::child(at, "stop_bits"),
            format!("{} is not 1 or 2", serial.stop_bits),
            "1 with parity, 2 without, says the specification",
        );
    }
}

/// What several units on one way have to agree on.
fn check_neighbours<'a>(
    check: &mut Check<'_>,
    index: usize,
    device: &'a ModbusDevice,
    lines: &mut BTreeMap<&'a str, (usize, &'a SerialLine)>,
    units: &mut BTreeMap<(&'a str, u8), usize>,
) {
    let at = path::element("modbus", index);
    let line_of =
        |check: &Check<'_>, first| check.source.line_of(&path::element("modbus", first), &at);
    let way = device.address.as_str();
    if let Some(serial) = &device.serial {
        match lines.get(way) {
            Some((first, other)) if *other != serial => {
                let line = line_of(check, *first);
                check.error(
                    &path::child(&at, "serial"),
                    format!("one line has one setting, and the device {line} says another"),
                    "say it at one of its devices",
                );
            }
            _ => {
                lines.insert(way, (index, serial));
            }
        }
    }
    if let Some(first) = units.insert((way, device.unit), index)
        && way.starts_with("rtu")
    {
        let line = line_of(check, first);
        check.warning(
            &path::child(&at, "unit"),
            format!("unit {} is already asked by the device {line}", device.unit),
            "two entries of one unit share its time; put their registers into one if you can",
        );
    }
}

fn check_register(check: &mut Check<'_>, at: &str, device: &ModbusDevice, register: &Register) {
    names::tag(check, &path::child(at, "tag"), &register.tag);
    if let Some(interval) = register.interval {
        check_interval(check, &path::child(at, "interval"), interval);
    }
    let field = match Field::parse(&register.address, device.numbering) {
        Ok(field) => field,
        Err(error) => {
            let first = u8::from(device.numbering == Numbering::OneBased);
            check.error(
                &path::child(at, "address"),
                error.to_string(),
                format!(
                    "\"holding:100\", \"input:0x64\", \"coil:7\" count from {first} here; \
                     \"40101\" is the manuals' notation; \".3\" behind it is a bit"
                ),
            );
            let field = Field { address: Address { table: Table::Holding, offset: 0 }, bits: None };
            let apart = ["scale", "offset", "range", "labels"];
            check_signal(check, at, register, field, |name| apart.contains(&name));
            return;
        }
    };
    if let Some(signal) = check_signal(check, at, register, field, |_| true) {
        check_extent(check, at, device, field, &signal);
    }
    if field.address.table.is_bits() {
        for name in ["type", "order", "labels"] {
            check.idle(at, name, "coils and discrete inputs are bits");
        }
    }
}

/// Reports the wrong settings whose name is `told`.
fn check_signal(
    check: &mut Check<'_>,
    at: &str,
    register: &Register,
    field: Field,
    told: impl Fn(&str) -> bool,
) -> Option<Signal> {
    let errors = match Signal::new(register, field, WordOrder::default()) {
        Ok(signal) => return Some(signal),
        Err(errors) => errors,
    };
    for error in errors.into_iter().filter(|error| told(error.field)) {
        check.error(&path::child(at, error.field), error.message, error.help);
    }
    None
}

fn check_extent(
    check: &mut Check<'_>,
    at: &str,
    device: &ModbusDevice,
    field: Field,
    signal: &Signal,
) {
    let width = signal.width;
    if field.address.offset.checked_add(width - 1).is_none() {
        check.error(
            &path::child(at, "address"),
            format!("{width} registers from {} on go past the last, 65535", field.address.offset),
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
