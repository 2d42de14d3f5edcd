//! What one register or bit means: from words to a value with its quality.

use std::time::Duration;

use super::value::{self, bits, number, pattern};
use super::{Bits, Counter, Field};
use crate::sample::Quality;
use crate::settings::{Register, RegisterType, WordOrder};

/// Most registers of a string.
const LONGEST_TEXT: u16 = 125;

/// How the words of one tag become its value.
#[derive(Clone, Debug, PartialEq)]
pub struct Signal {
    pub kind: RegisterType,
    pub order: WordOrder,
    /// Registers it takes; 1 for a coil or discrete input.
    pub width: u16,
    bits: Option<Bits>,
    scale: f64,
    offset: f64,
    missing: Vec<f64>,
    range: Option<[f64; 2]>,
    labels: Vec<(i64, String)>,
    /// Seconds in the rate's unit of time.
    rate: Option<f64>,
    wrap: u128,
}

/// A setting of a register that is wrong, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignalError {
    pub field: &'static str,
    pub message: String,
    pub help: String,
}

impl Signal {
    /// `order` is the device's.
    pub fn new(
        register: &Register,
        field: Field,
        order: WordOrder,
    ) -> Result<Self, Vec<SignalError>> {
        let is_bit = field.address.table.is_bits();
        let mut errors = Vec::new();
        check_type(register, field, &mut errors);
        check_numbers(register, &mut errors);
        let labels = labels(register, &mut errors);
        if !errors.is_empty() {
            return Err(errors);
        }
        let kind = if is_bit { RegisterType::U16 } else { register.kind };
        let counts = field.bits.map_or(bits(kind), Bits::count);
        let natural = match kind {
            RegisterType::Bcd16 => 10_000,
            RegisterType::Bcd32 => 100_000_000,
            RegisterType::Bcd64 => 10_000_000_000_000_000,
            _ => 1_u128 << counts,
        };
        Ok(Self {
            kind,
            order: register.order.unwrap_or(order),
            width: match register.length {
                Some(length) if kind == RegisterType::String => length,
                _ => value::width(kind),
            },
            bits: field.bits,
            scale: register.scale,
            offset: register.offset,
            missing: register.missing.clone(),
            range: register.range,
            labels,
            rate: register.rate.map(|unit| unit.seconds()),
            wrap: register.wrap.map_or(natural, u128::from),
        })
    }

    /// For a tag that is the rise of a counter.
    pub fn counter(&self) -> Option<Counter> {
        self.rate.map(|_| Counter::new(self.wrap))
    }

    /// The value in `words`, NaN where it is missing. `counter` belongs to this tag.
    #[inline]
    pub fn read(
        &self,
        words: &[u16],
        counter: Option<&mut Counter>,
        at: Duration,
    ) -> (f64, Quality) {
        if self.kind == RegisterType::String {
            return self.named(words);
        }
        let Some(pattern) = pattern(self.kind, self.order, words) else { return MISSING };
        let (raw, count) = match self.bits {
            None => (number(self.kind, pattern), pattern),
            Some(bits) => {
                let field = pattern >> bits.first & (u64::MAX >> (64 - bits.count()));
                (field as f64, field)
            }
        };
        if !self.missing.is_empty() && self.is_missing(raw, count) {
            return MISSING;
        }
        let raw = match (self.rate, counter) {
            (Some(seconds), Some(counter)) => match self.count(count) {
                Some(count) => counter.step(count, at).map_or(f64::NAN, |rate| rate * seconds),
                None => f64::NAN,
            },
            _ => raw,
        };
        let quality = if self.labels.is_empty() || self.label(raw).is_some() {
            Quality::Good
        } else {
            Quality::Uncertain
        };
        self.plausible(raw * self.scale + self.offset, quality)
    }

    /// A coil or discrete input.
    pub fn read_bit(&self, bit: bool) -> (f64, Quality) {
        let raw = f64::from(u8::from(bit));
        if self.missing.contains(&raw) {
            return MISSING;
        }
        self.plausible(raw * self.scale + self.offset, Quality::Good)
    }

    /// The label of a raw number.
    pub fn label(&self, raw: f64) -> Option<&str> {
        let known = self.labels.iter().find(|(number, _)| *number as f64 == raw);
        known.map(|(_, label)| label.as_str())
    }

    fn count(&self, pattern: u64) -> Option<u64> {
        match self.kind {
            RegisterType::Bcd16 | RegisterType::Bcd32 | RegisterType::Bcd64 => {
                value::decimal(pattern)
            }
            _ => Some(pattern),
        }
    }

    /// A sentinel is written as the number or as the bits that stand for it: -32768 or 0x8000.
    fn is_missing(&self, raw: f64, pattern: u64) -> bool {
        let whole = !matches!(self.kind, RegisterType::F16 | RegisterType::F32 | RegisterType::F64);
        self.missing.iter().any(|sentinel| {
            *sentinel == raw
                || raw.is_nan() && sentinel.is_nan()
                || whole && *sentinel == pattern as f64
        })
    }

    fn named(&self, words: &[u16]) -> (f64, Quality) {
        let Some(words) = words.get(..usize::from(self.width)) else { return MISSING };
        let text = value::text(self.order, words);
        let known = self.labels.iter().find(|(_, label)| *label == text);
        known.map_or(MISSING, |(number, _)| (*number as f64, Quality::Good))
    }

    fn plausible(&self, value: f64, quality: Quality) -> (f64, Quality) {
        let inside = self.range.is_none_or(|[low, high]| (low..=high).contains(&value));
        if value.is_finite() && inside { (value, quality) } else { MISSING }
    }
}

const MISSING: (f64, Quality) = (f64::NAN, Quality::Bad);

fn wrong(
    errors: &mut Vec<SignalError>,
    field: &'static str,
    message: impl Into<String>,
    help: impl Into<String>,
) {
    errors.push(SignalError { field, message: message.into(), help: help.into() });
}

fn check_type(register: &Register, field: Field, errors: &mut Vec<SignalError>) {
    let kind = register.kind;
    let is_bit = field.address.table.is_bits();
    let whole = matches!(kind, RegisterType::U16 | RegisterType::U32 | RegisterType::U64);
    if let Some(found) = field.bits {
        if is_bit {
            wrong(errors, "address", "a coil or discrete input is one bit", "leave out the `.`");
        } else if !whole {
            let message =
                format!("bits are taken from an unsigned number, not from {}", kind.as_str());
            wrong(errors, "type", message, "write type = \"u16\", \"u32\" or \"u64\"");
        } else if found.last >= bits(kind) {
            let message = format!("there is no bit {} in {}", found.last, kind.as_str());
            wrong(errors, "address", message, format!("the last bit is {}", bits(kind) - 1));
        }
    }
    match (kind, register.length) {
        (RegisterType::String, None) if !is_bit => {
            let help = "write length = 8 for a text of 16 characters in 8 registers";
            wrong(errors, "length", "a string needs its length", help);
        }
        (RegisterType::String, Some(length)) if !(1..=LONGEST_TEXT).contains(&length) => {
            let message = format!("a length of {length} registers cannot be read");
            wrong(errors, "length", message, format!("write 1 to {LONGEST_TEXT}"));
        }
        (RegisterType::String, Some(_)) | (_, None) => {}
        (_, Some(_)) => {
            let message = format!("{} has a length of its own", kind.as_str());
            wrong(errors, "length", message, "leave it out, or write type = \"string\"");
        }
    }
    if kind == RegisterType::String && register.labels.is_empty() && !is_bit {
        let help = "samples are numbers: write labels = { 0 = \"STOP\", 1 = \"RUN\" }";
        wrong(errors, "labels", "a string needs labels", help);
    }
    let counts = field.bits.is_some()
        || whole
        || matches!(kind, RegisterType::Bcd16 | RegisterType::Bcd32 | RegisterType::Bcd64)
        || matches!(kind, RegisterType::U8h | RegisterType::U8l);
    if register.rate.is_some() && (is_bit || !counts) {
        let what = if is_bit { "a bit" } else { kind.as_str() };
        let help = "counters are u16, u32, u64 or bcd; leave out `rate` otherwise";
        wrong(errors, "rate", format!("{what} cannot count"), help);
    }
    match register.wrap {
        Some(_) if register.rate.is_none() => {
            let help = "add rate = \"s\", \"min\" or \"h\", or leave it out";
            wrong(errors, "wrap", "`wrap` belongs to a counter", help);
        }
        Some(0 | 1) => {
            let help = "write the count at which it begins again, such as 10000";
            wrong(errors, "wrap", "a counter counts further than to 1", help);
        }
        _ => {}
    }
}

fn check_numbers(register: &Register, errors: &mut Vec<SignalError>) {
    let Register { scale, offset, .. } = register;
    if !scale.is_finite() || *scale == 0.0 {
        let message = format!("a scale of {scale:?} leaves nothing of the value");
        wrong(errors, "scale", message, "leave it out for 1.0");
    }
    if !offset.is_finite() {
        let message = format!("an offset of {offset:?} leaves nothing of the value");
        wrong(errors, "offset", message, "leave it out for 0.0");
    }
    if let Some([low, high]) = register.range
        && (low > high || low.is_nan() || high.is_nan())
    {
        let message = format!("no value lies between {low:?} and {high:?}");
        wrong(errors, "range", message, "write [lowest, highest]");
    }
}

fn labels(register: &Register, errors: &mut Vec<SignalError>) -> Vec<(i64, String)> {
    let mut labels = Vec::with_capacity(register.labels.len());
    for (number, label) in &register.labels {
        match number.parse() {
            Ok(number) => labels.push((number, label.clone())),
            Err(_) => {
                let message = format!("the label {label:?} has no number: {number:?} is none");
                wrong(errors, "labels", message, "write labels = { 0 = \"STOP\", 1 = \"RUN\" }");
            }
        }
    }
    labels
}

#[cfg(test)]
#[path = "signal_tests.rs"]
mod tests;
