//! The request plan: which reads fetch all registers of a device. Pure.
//!
//! Registers of one table that are adjacent, overlap or lie near (`gap`) become one request,
//! up to the device's limits. A request that the device refuses can be [split](Request::split).

use std::time::Duration;

use crate::decode::registers::{self, Address, Table};
use crate::settings::{ModbusDevice, Register, RegisterType, WordOrder};

use super::Endpoint;

/// Most registers in one answer, from the Modbus specification.
const MAX_REGISTERS: u16 = 125;
/// Most coils or discrete inputs in one answer, from the Modbus specification.
const MAX_BITS: u16 = 2000;
const SHORTEST: Duration = Duration::from_millis(1);
/// Keeps instants far from overflow.
const LONGEST: Duration = Duration::from_secs(366 * 86_400);

#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    pub requests: Vec<Request>,
}

/// One read of `count` registers or bits from `start` on, and what is taken from the answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    pub table: Table,
    pub start: u16,
    pub count: u16,
    /// By place in the table.
    pub readings: Vec<Reading>,
}

/// One tag in an answer; its value is `raw * scale + offset`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reading {
    /// Index in [`ModbusDevice::register`].
    pub tag: usize,
    /// Where in the answer it begins.
    pub at: u16,
    pub kind: RegisterType,
    pub order: WordOrder,
    pub scale: f64,
    pub offset: f64,
}

/// What a device answered. The link has checked the length against the request.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    Registers(Vec<u16>),
    /// Padded to whole bytes.
    Bits(Vec<bool>),
}

/// What is wrong with a device's settings, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct PlanError {
    /// Index in [`ModbusDevice::register`]; without it the device itself is meant.
    pub register: Option<usize>,
    /// The setting that is wrong, as in the configuration file.
    pub field: &'static str,
    /// What is wrong and what to write instead.
    pub message: String,
}

impl Plan {
    /// The fewest requests that fetch every register, or all that is wrong with the settings.
    pub fn build(device: &ModbusDevice) -> Result<Self, Vec<PlanError>> {
        let mut errors = device_errors(device);
        let mut places = Vec::with_capacity(device.register.len());
        for (index, register) in device.register.iter().enumerate() {
            match place(device, index, register) {
                Ok(place) => places.push(place),
                Err(found) => errors.extend(found),
            }
        }
        if errors.is_empty() { Ok(Self { requests: join(device, places) }) } else { Err(errors) }
    }
}

impl Request {
    /// Two requests for the readings of this one, cut at its widest hole or else in the middle;
    /// `None` when one reading is left.
    pub fn split(&self) -> Option<(Self, Self)> {
        let middle = self.readings.len() / 2;
        let mut end = 0;
        let mut best: Option<(u32, usize, usize)> = None;
        for (index, reading) in self.readings.iter().enumerate() {
            if index > 0 {
                let hole = u32::from(reading.at).saturating_sub(end);
                let off_middle = index.abs_diff(middle);
                if best.is_none_or(|(most, off, _)| hole > most || hole == most && off_middle < off)
                {
                    best = Some((hole, off_middle, index));
                }
            }
            end = end.max(u32::from(reading.at) + u32::from(self.width(reading)));
        }
        let (_, _, cut) = best?;
        let (left, right) = self.readings.split_at(cut);
        Some((self.part(left), self.part(right)))
    }

    fn part(&self, readings: &[Reading]) -> Self {
        let first = readings.iter().map(|reading| reading.at).min().unwrap_or(0);
        let end = readings.iter().map(|reading| reading.at + self.width(reading)).max();
        Self {
            table: self.table,
            start: self.start + first,
            count: end.unwrap_or(first) - first,
            readings: readings.iter().map(|r| Reading { at: r.at - first, ..*r }).collect(),
        }
    }

    fn width(&self, reading: &Reading) -> u16 {
        width(self.table, reading.kind)
    }
}

impl Reading {
    /// The scaled value; NaN when `answer` does not hold it.
    pub fn value(&self, answer: &Answer) -> f64 {
        let at = usize::from(self.at);
        let raw = match answer {
            Answer::Registers(words) => words
                .get(at..)
                .map_or(f64::NAN, |words| registers::decode(self.kind, self.order, words)),
            Answer::Bits(bits) => bits.get(at).map_or(f64::NAN, |bit| f64::from(u8::from(*bit))),
        };
        raw * self.scale + self.offset
    }
}

struct Place {
    address: Address,
    width: u16,
    reading: Reading,
}

fn width(table: Table, kind: RegisterType) -> u16 {
    if table.is_bits() { 1 } else { registers::width(kind) }
}

fn join(device: &ModbusDevice, mut places: Vec<Place>) -> Vec<Request> {
    places.sort_by_key(|place| (place.address, place.width));
    let mut requests: Vec<Request> = Vec::new();
    for Place { address: Address { table, offset }, width, reading } in places {
        let end = u32::from(offset) + u32::from(width);
        let joined = requests.last_mut().filter(|request| {
            let reach = u32::from(request.start) + u32::from(request.count);
            request.table == table
                && u32::from(offset) <= reach + u32::from(device.gap)
                && end.max(reach) - u32::from(request.start) <= u32::from(limit(device, table))
        });
        match joined {
            Some(request) => {
                let at = offset - request.start;
                request.count = request.count.max(at + width);
                request.readings.push(Reading { at, ..reading });
            }
            None => requests.push(Request {
                table,
                start: offset,
                count: width,
                readings: vec![reading],
            }),
        }
    }
    requests
}

fn limit(device: &ModbusDevice, table: Table) -> u16 {
    let registers = device.max_registers.min(MAX_REGISTERS);
    if table.is_bits() { (registers * 16).min(MAX_BITS) } else { registers }
}

fn place(
    device: &ModbusDevice,
    index: usize,
    register: &Register,
) -> Result<Place, Vec<PlanError>> {
    let mut errors = Vec::new();
    let mut wrong = |field, message| {
        errors.push(PlanError { register: Some(index), field, message });
    };
    if register.tag.is_empty() {
        wrong("tag", "the tag has no name: write one, such as `pressure`".into());
    }
    if let Some(first) = device.register[..index].iter().find(|other| other.tag == register.tag) {
        let message = format!(
            "the tag `{}` is already read from `{}`: give this register another name or remove it",
            register.tag, first.address
        );
        wrong("tag", message);
    }
    if !register.scale.is_finite() || register.scale == 0.0 {
        wrong("scale", format!("scale {} loses the value: write 1.0 for none", register.scale));
    }
    if !register.offset.is_finite() {
        wrong("offset", format!("offset {} is no number: write 0.0 for none", register.offset));
    }
    let address = match register.address.parse::<Address>() {
        Ok(address) => address,
        Err(error) => {
            wrong("address", error.to_string());
            return Err(errors);
        }
    };
    let width = width(address.table, register.kind);
    if u32::from(address.offset) + u32::from(width) > u32::from(u16::MAX) + 1 {
        let last = u16::MAX - (width - 1);
        let message = format!(
            "`{address}` is {width} registers wide and runs past the end of the table: \
             the last place for it is `{}:{last}`",
            address.table
        );
        wrong("address", message);
    }
    if width > limit(device, address.table) {
        let message = format!(
            "the value is {width} registers wide, and max_registers is {}: raise it",
            device.max_registers
        );
        wrong("type", message);
    }
    let order = register.order.unwrap_or(device.order);
    let Register { kind, scale, offset, .. } = *register;
    let reading = Reading { tag: index, at: 0, kind, order, scale, offset };
    if errors.is_empty() { Ok(Place { address, width, reading }) } else { Err(errors) }
}

fn device_errors(device: &ModbusDevice) -> Vec<PlanError> {
    let mut errors = Vec::new();
    let mut wrong = |field, message| errors.push(PlanError { register: None, field, message });
    if let Err(error) = device.address.parse::<Endpoint>() {
        wrong("address", error.to_string());
    }
    if !(1..=MAX_REGISTERS).contains(&device.max_registers) {
        let message = format!("max_registers is {}: write 1 to 125", device.max_registers);
        wrong("max_registers", message);
    }
    for (field, span) in [("interval", device.interval), ("timeout", device.timeout)] {
        if !(SHORTEST..=LONGEST).contains(&span) {
            let span = humantime::format_duration(span);
            wrong(field, format!("{field} is {span}: write 1ms to 366days, such as `1s`"));
        }
    }
    if device.register.is_empty() {
        let message = "the device has no registers: add a `[[modbus.register]]` with a tag and an \
                       address such as `holding:100`";
        wrong("register", message.into());
    }
    errors
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
