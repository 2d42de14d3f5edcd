//! The request plan: which reads fetch all registers of a device. Pure.
//!
//! Tags of one interval and one table are joined into the reads that cost least: a further read
//! costs a round trip, a hole between two registers costs its bytes. The device's limits hold,
//! and a value is never torn. A request that the device refuses can be [split](Request::split).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::decode::registers::{Address, Counter, Field, Signal, Table};
use crate::sample::Quality;
use crate::settings::{ModbusDevice, Register};

use super::Endpoint;
use super::frame::{Answer, MAX_BITS, MAX_REGISTERS, Read};
use super::line::Line;

const SHORTEST: Duration = Duration::from_millis(1);
/// Keeps instants far from overflow.
const LONGEST: Duration = Duration::from_secs(366 * 86_400);

#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// By interval, the shortest first.
    pub cadences: Vec<Cadence>,
    /// What the device is reached over.
    pub line: Line,
}

/// Everything of a device that is polled at one interval.
#[derive(Clone, Debug, PartialEq)]
pub struct Cadence {
    pub interval: Duration,
    pub requests: Vec<Request>,
}

/// One read, and what is taken from its answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    pub read: Read,
    /// By place in the table.
    pub readings: Vec<Reading>,
}

/// One tag in an answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// Index in [`ModbusDevice::register`].
    pub tag: usize,
    /// Where in the answer it begins.
    pub at: u16,
    pub signal: Arc<Signal>,
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
    /// The cheapest requests that fetch every register, or all that is wrong with the settings.
    pub fn build(device: &ModbusDevice) -> Result<Self, Vec<PlanError>> {
        let mut errors = device_errors(device);
        let mut places = Vec::with_capacity(device.register.len());
        let mut tags: BTreeMap<&str, &str> = BTreeMap::new();
        for (index, register) in device.register.iter().enumerate() {
            if let Some(first) = tags.insert(&register.tag, &register.address) {
                let message = format!(
                    "the tag `{}` is already read from `{first}`: give this register another name \
                     or remove it",
                    register.tag
                );
                errors.push(PlanError { register: Some(index), field: "tag", message });
            }
            match place(device, index, register) {
                Ok(place) => places.push(place),
                Err(found) => errors.extend(found),
            }
        }
        match Line::of(device) {
            Some(line) if errors.is_empty() => {
                Ok(Self { cadences: cadences(device, &line, places), line })
            }
            _ => Err(errors),
        }
    }

    pub fn requests(&self) -> impl Iterator<Item = &Request> {
        self.cadences.iter().flat_map(|cadence| &cadence.requests)
    }

    /// The share of the line's time that polling takes, about; above 1 it cannot keep up.
    pub fn load(&self) -> f64 {
        let share = |cadence: &Cadence| {
            cadence.time(&self.line).as_secs_f64() / cadence.interval.as_secs_f64()
        };
        self.cadences.iter().map(share).sum()
    }
}

impl Cadence {
    /// How long one poll takes on `line`, about.
    pub fn time(&self, line: &Line) -> Duration {
        self.requests.iter().map(|request| line.time(&request.read)).sum()
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
            end = end.max(u32::from(reading.at) + u32::from(reading.signal.width));
        }
        let (_, _, cut) = best?;
        let (left, right) = self.readings.split_at(cut);
        Some((self.part(left), self.part(right)))
    }

    /// One request for the readings of this one and of `next`, which lies behind it in the same
    /// table.
    pub fn join(&self, next: &Self) -> Self {
        let Read { table, start, count } = self.read;
        let moved = next.read.start - start;
        let behind = next
            .readings
            .iter()
            .map(|reading| Reading { at: reading.at + moved, ..reading.clone() });
        Self {
            read: Read { table, start, count: count.max(moved + next.read.count) },
            readings: self.readings.iter().cloned().chain(behind).collect(),
        }
    }

    fn part(&self, readings: &[Reading]) -> Self {
        let first = readings.iter().map(|reading| reading.at).min().unwrap_or(0);
        let end = readings.iter().map(|reading| reading.at + reading.signal.width).max();
        let moved = |reading: &Reading| Reading { at: reading.at - first, ..reading.clone() };
        Self {
            read: Read {
                start: self.read.start + first,
                count: end.unwrap_or(first) - first,
                ..self.read
            },
            readings: readings.iter().map(moved).collect(),
        }
    }
}

impl Reading {
    /// The value with its quality; NaN and bad when `answer` does not hold it. `at` is any time
    /// that only goes forward, for `counter`.
    pub fn value(
        &self,
        answer: &Answer,
        counter: Option<&mut Counter>,
        at: Duration,
    ) -> (f64, Quality) {
        let place = usize::from(self.at);
        match answer {
            Answer::Registers(words) => {
                self.signal.read(words.get(place..).unwrap_or_default(), counter, at)
            }
            Answer::Bits(bits) => match bits.get(place) {
                Some(bit) => self.signal.read_bit(*bit),
                None => (f64::NAN, Quality::Bad),
            },
        }
    }
}

struct Place {
    address: Address,
    interval: Duration,
    reading: Reading,
}

impl Place {
    fn start(&self) -> u32 {
        self.address.offset.into()
    }

    fn end(&self) -> u32 {
        self.start() + u32::from(self.reading.signal.width)
    }
}

fn cadences(device: &ModbusDevice, line: &Line, places: Vec<Place>) -> Vec<Cadence> {
    let mut groups: BTreeMap<(Duration, Table), Vec<Place>> = BTreeMap::new();
    for place in places {
        groups.entry((place.interval, place.address.table)).or_default().push(place);
    }
    let mut cadences: Vec<Cadence> = Vec::new();
    for ((interval, table), places) in groups {
        if cadences.last().is_none_or(|cadence| cadence.interval != interval) {
            cadences.push(Cadence { interval, requests: Vec::new() });
        }
        let cadence = cadences.last_mut().expect("one was pushed");
        cadence.requests.extend(join(device, line, table, places));
    }
    cadences
}

/// The cheapest partition, by dynamic programming over where the last request begins.
fn join(device: &ModbusDevice, line: &Line, table: Table, mut places: Vec<Place>) -> Vec<Request> {
    places.sort_by_key(|place| (place.address, place.reading.signal.width, place.reading.tag));
    let limit = u32::from(limit(device, table));
    let widest_hole = device.gap.map_or(u32::MAX, u32::from);
    // cost[n]: of the first n places, and where their last request begins.
    let mut cost: Vec<(Duration, usize)> = vec![(Duration::ZERO, 0)];
    // How far the places before each reach, so that a hole is told from an overlap.
    let mut reach = 0;
    let mut holes = Vec::with_capacity(places.len());
    for (last, place) in places.iter().enumerate() {
        holes.push(place.start().saturating_sub(reach));
        reach = reach.max(place.end());
        let mut best: Option<(Duration, usize)> = None;
        let mut end = 0;
        for first in (0..=last).rev() {
            end = end.max(places[first].end());
            let start = places[first].start();
            if end - start > limit {
                break;
            }
            let count = u16::try_from(end - start).unwrap_or(u16::MAX);
            let read = Read { table, start: places[first].address.offset, count };
            let total = cost[first].0 + line.time(&read);
            if best.is_none_or(|(least, _)| total < least) {
                best = Some((total, first));
            }
            if holes[first] > widest_hole {
                break;
            }
        }
        cost.push(best.expect("one value fits into one request"));
    }
    let mut cuts = Vec::new();
    let mut end = places.len();
    while end > 0 {
        let first = cost[end].1;
        cuts.push(first);
        end = first;
    }
    requests(table, places, &cuts)
}

/// `cuts`: the index of each request's first place, the last request's first.
fn requests(table: Table, places: Vec<Place>, cuts: &[usize]) -> Vec<Request> {
    let mut requests: Vec<Request> = Vec::with_capacity(cuts.len());
    for (index, place) in places.into_iter().enumerate() {
        let offset = place.address.offset;
        if cuts.contains(&index) {
            let read = Read { table, start: offset, count: 0 };
            requests.push(Request { read, readings: Vec::new() });
        }
        let request = requests.last_mut().expect("the first place begins a request");
        let at = offset - request.read.start;
        request.read.count = request.read.count.max(at + place.reading.signal.width);
        request.readings.push(Reading { at, ..place.reading });
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
    let wrong = |field, message| PlanError { register: Some(index), field, message };
    let field = Field::parse(&register.address, device.numbering)
        .map_err(|error| vec![wrong("address", error.to_string())])?;
    let signal = Signal::new(register, field, device.order).map_err(|errors| {
        let told = |error: crate::decode::registers::SignalError| {
            wrong(error.field, format!("{}: {}", error.message, error.help))
        };
        errors.into_iter().map(told).collect::<Vec<_>>()
    })?;
    let (address, width) = (field.address, signal.width);
    let mut errors = Vec::new();
    if register.tag.is_empty() {
        errors.push(wrong("tag", "the tag has no name: write one, such as `pressure`".into()));
    }
    if u32::from(address.offset) + u32::from(width) > u32::from(u16::MAX) + 1 {
        let last = u16::MAX - (width - 1);
        let message = format!(
            "`{address}` is {width} registers wide and runs past the end of the table: \
             the last place for it is `{}:{last}`",
            address.table
        );
        errors.push(wrong("address", message));
    }
    if width > limit(device, address.table) {
        let message = format!(
            "the value is {width} registers wide, and max_registers is {}: raise it",
            device.max_registers
        );
        errors.push(wrong("type", message));
    }
    // The device's own has been checked.
    let own = register.interval.and_then(|span| interval_error("interval", span));
    errors.extend(own.map(|message| wrong("interval", message)));
    if !errors.is_empty() {
        return Err(errors);
    }
    let interval = register.interval.unwrap_or(device.interval);
    let reading = Reading { tag: index, at: 0, signal: Arc::new(signal) };
    Ok(Place { address, interval, reading })
}

fn interval_error(field: &str, span: Duration) -> Option<String> {
    let shown = humantime::format_duration(span);
    let wrong = !(SHORTEST..=LONGEST).contains(&span);
    wrong.then(|| format!("{field} is {shown}: write 1ms to 366days, such as `1s`"))
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
        if let Some(message) = interval_error(field, span) {
            wrong(field, message);
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
