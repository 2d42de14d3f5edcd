//! Register maps: `map = "meter.csv"` beside a `[[modbus]]` adds a register for each row.
//!
//! The first row names the columns. A wrong cell is an error with the file, its row and its
//! column; what the cells say together is checked like the registers of the configuration.

use std::fs;
use std::path::Path;
use std::str::FromStr;

use serde::Deserialize;
use serde::de::value::{Error as Unreadable, StrDeserializer};

use super::diagnostic::Diagnostic;
use super::path;
use super::source::{Cell, Place, Source};
use crate::settings::{Register, Settings, TagSettings};

/// Column names, and the setting of `[[modbus.register]]` that each is.
const COLUMNS: [(&str, &str); 19] = [
    ("tag", "tag"),
    ("name", "tag"),
    ("address", "address"),
    ("register", "address"),
    ("type", "type"),
    ("order", "order"),
    ("length", "length"),
    ("unit", "unit"),
    ("scale", "scale"),
    ("factor", "scale"),
    ("offset", "offset"),
    ("missing", "missing"),
    ("min", "min"),
    ("max", "max"),
    ("labels", "labels"),
    ("rate", "rate"),
    ("wrap", "wrap"),
    ("interval", "interval"),
    ("comment", ""),
];
const COLUMN_HELP: &str = "columns are tag, address, type, order, length, unit, scale, offset, \
                           missing, min, max, labels, rate, wrap, interval and comment";

/// Adds the rows of every map to its device.
pub(super) fn read_all(settings: &mut Settings, source: &mut Source) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    for (index, device) in settings.modbus.iter_mut().enumerate() {
        let Some(map) = &device.map else { continue };
        let at = path::element("modbus", index);
        let folder = Path::new(source.file()).parent().unwrap_or(Path::new(""));
        let file = folder.join(map);
        let setting = path::child(&at, "map");
        let name = file.display().to_string();
        match fs::read(&file) {
            Ok(bytes) => match String::from_utf8(bytes) {
                Ok(text) => {
                    let mut rows = Rows { file: &name, device: &at, source, found: &mut found };
                    rows.read(&text, &mut device.register);
                }
                Err(_) => found.push(
                    source
                        .error(&setting, format!("{name} is not UTF-8"))
                        .with_help("save it as \"CSV UTF-8\"; letters such as ° need that"),
                ),
            },
            Err(error) => found.push(
                source
                    .error(&setting, format!("cannot read {name}: {error}"))
                    .with_help("the path is relative to the main file's folder"),
            ),
        }
    }
    found
}

/// What the rows of `text` say, and what is wrong with them; for the fuzzer.
#[cfg(any(test, fuzzing))]
pub(crate) fn register_map(text: &str) -> (Vec<Register>, Vec<Diagnostic>) {
    let (mut registers, mut found) = (Vec::new(), Vec::new());
    let mut source = Source::new("andon.toml", "");
    let mut rows =
        Rows { file: "map.csv", device: "modbus[0]", source: &mut source, found: &mut found };
    rows.read(text, &mut registers);
    (registers, found)
}

/// The units of registers hold for their tags unless a `[[tag]]` matches.
pub(super) fn name_units(settings: &mut Settings) {
    let mut units = Vec::new();
    for device in &settings.modbus {
        for register in &device.register {
            if let Some(unit) = &register.unit {
                units.push(TagSettings {
                    asset: device.asset.clone(),
                    name: register.tag.clone(),
                    unit: Some(unit.clone()),
                    range: None,
                    missing: Vec::new(),
                });
            }
        }
    }
    // The last that matches wins, so these come first.
    settings.tag.splice(0..0, units);
}

struct Rows<'a> {
    file: &'a str,
    /// The path of the device.
    device: &'a str,
    source: &'a mut Source,
    found: &'a mut Vec<Diagnostic>,
}

impl Rows<'_> {
    fn read(&mut self, text: &str, registers: &mut Vec<Register>) {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let delimiter = delimiter(text);
        let lines: Vec<&str> = text.lines().collect();
        let mut reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .delimiter(delimiter)
            .trim(csv::Trim::All)
            .comment(Some(b'#'))
            .from_reader(text.as_bytes());
        let mut columns: Option<Vec<&'static str>> = None;
        for record in reader.records() {
            let record = match record {
                Ok(record) => record,
                Err(error) => {
                    self.tell(&self.cell(&lines, 1, 0, delimiter), format!("{error}"), "");
                    return;
                }
            };
            let row = record.position().and_then(|at| usize::try_from(at.line()).ok()).unwrap_or(1);
            let Some(columns) = &columns else {
                columns = self.columns(&record, &lines, row, delimiter);
                if columns.is_none() {
                    return;
                }
                continue;
            };
            let at = path::element(&path::child(self.device, "register"), registers.len());
            self.source.put_cell(at.clone(), self.cell(&lines, row, 0, delimiter));
            let mut register = Register::new("", "");
            let mut whole = true;
            for (index, text) in record.iter().enumerate() {
                let cell = self.cell(&lines, row, index, delimiter);
                let Some(column) = columns.get(index) else {
                    if !text.is_empty() {
                        self.tell(
                            &cell,
                            "there is no column of this cell",
                            "quote texts that hold a separator",
                        );
                        whole = false;
                    }
                    continue;
                };
                if text.is_empty() {
                    continue;
                }
                let setting = if matches!(*column, "min" | "max") { "range" } else { column };
                self.source.put_cell(path::child(&at, setting), cell.clone());
                if let Err(help) = fill(&mut register, column, text, delimiter) {
                    self.tell(&cell, format!("{text:?} is no {column}"), help);
                    whole = false;
                }
            }
            for (name, value) in [("tag", &register.tag), ("address", &register.address)] {
                if value.is_empty() && whole {
                    let cell = self.cell(&lines, row, 0, delimiter);
                    self.tell(
                        &cell,
                        format!("the row has no {name}"),
                        "fill it in, or begin the line with #",
                    );
                    whole = false;
                }
            }
            if whole {
                registers.push(register);
            }
        }
        if columns.is_none() {
            let cell = self.cell(&lines, 1, 0, delimiter);
            self.tell(&cell, "the map is empty", COLUMN_HELP);
        }
    }

    fn columns(
        &mut self,
        record: &csv::StringRecord,
        lines: &[&str],
        row: usize,
        delimiter: u8,
    ) -> Option<Vec<&'static str>> {
        let mut columns = Vec::new();
        let mut good = true;
        for (index, name) in record.iter().enumerate() {
            let known = COLUMNS.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
            if known.is_none() && !name.is_empty() {
                let cell = self.cell(lines, row, index, delimiter);
                self.tell(&cell, format!("there is no column {name:?}"), COLUMN_HELP);
                good = false;
            }
            columns.push(known.map_or("", |(_, setting)| *setting));
        }
        for needed in ["tag", "address"] {
            if good && !columns.contains(&needed) {
                let cell = self.cell(lines, row, 0, delimiter);
                self.tell(&cell, format!("there is no column {needed:?}"), COLUMN_HELP);
                good = false;
            }
        }
        good.then_some(columns)
    }

    fn tell(&mut self, cell: &Cell, message: impl Into<String>, help: impl Into<String>) {
        // The cell is put where the diagnostic finds it.
        let at = path::child(self.device, "map.cell");
        self.source.put_cell(at.clone(), cell.clone());
        let help = help.into();
        let error = self.source.error(&at, message);
        self.found.push(if help.is_empty() { error } else { error.with_help(help) });
    }

    fn cell(&self, lines: &[&str], row: usize, index: usize, delimiter: u8) -> Cell {
        let line = lines.get(row.wrapping_sub(1)).copied().unwrap_or_default();
        let (start, width) = cell_in(line, index, char::from(delimiter));
        let place = Place { file: self.file.to_owned(), line: row, column: start + 1 };
        Cell { place, line: line.to_owned(), width: width.max(1) }
    }
}

/// Whichever separator the first line that is no comment holds most of.
fn delimiter(text: &str) -> u8 {
    let first = text.lines().find(|line| !line.starts_with('#') && !line.trim().is_empty());
    let count =
        |separator: &u8| first.unwrap_or_default().bytes().filter(|byte| byte == separator).count();
    *[b'\t', b';', b','].iter().max_by_key(|separator| count(separator)).expect("there are three")
}

/// Where the cell stands in its line and how long it is, in characters.
fn cell_in(line: &str, index: usize, delimiter: char) -> (usize, usize) {
    let (mut at, mut start, mut quoted) = (0, 0, false);
    for (place, c) in line.chars().enumerate() {
        if c == '"' {
            quoted = !quoted;
        } else if c == delimiter && !quoted {
            if at == index {
                return (start, place - start);
            }
            at += 1;
            start = place + 1;
        }
    }
    if at == index { (start, line.chars().count() - start) } else { (0, line.chars().count()) }
}

/// Puts a cell into its setting; the error says what to write instead.
fn fill(register: &mut Register, column: &str, text: &str, delimiter: u8) -> Result<(), String> {
    let number = |text: &str| decimal(text, delimiter);
    let [low, high] = register.range.unwrap_or([f64::NEG_INFINITY, f64::INFINITY]);
    match column {
        "tag" => register.tag = text.to_owned(),
        "address" => register.address = text.to_owned(),
        "type" => register.kind = word(&text.to_ascii_lowercase())?,
        "order" => register.order = Some(word(&text.to_ascii_uppercase())?),
        "length" => register.length = Some(parsed(text, "a number of registers, such as 8")?),
        "unit" => register.unit = Some(text.to_owned()),
        "scale" => register.scale = number(text)?,
        "offset" => register.offset = number(text)?,
        "missing" => {
            register.missing = text.split_whitespace().map(number).collect::<Result<_, _>>()?;
        }
        "min" => register.range = Some([number(text)?, high]),
        "max" => register.range = Some([low, number(text)?]),
        "labels" => {
            for pair in text.split('|') {
                let (number, label) =
                    pair.split_once('=').ok_or("write 0=STOP|1=RUN".to_owned())?;
                register.labels.insert(number.trim().to_owned(), label.trim().to_owned());
            }
        }
        "rate" => register.rate = Some(word(&text.to_ascii_lowercase())?),
        "wrap" => register.wrap = Some(parsed(text, "a whole number, such as 10000")?),
        "interval" => {
            let span = humantime::parse_duration(text);
            register.interval = Some(span.map_err(|_| "write 500ms, 10s or 1m".to_owned())?);
        }
        _ => {}
    }
    Ok(())
}

/// With a comma for the decimals where another character separates the cells; `0x8000` too.
fn decimal(text: &str, delimiter: u8) -> Result<f64, String> {
    let help = || "a number such as 0.1, -9999 or 0x8000".to_owned();
    if let Some(digits) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        return u64::from_str_radix(digits, 16).map(|number| number as f64).map_err(|_| help());
    }
    let plain = if delimiter == b',' { text.to_owned() } else { text.replace(',', ".") };
    plain.parse().map_err(|_| help())
}

fn parsed<T: FromStr>(text: &str, help: &str) -> Result<T, String> {
    text.parse().map_err(|_| help.to_owned())
}

fn word<T: for<'de> Deserialize<'de>>(text: &str) -> Result<T, String> {
    T::deserialize(StrDeserializer::<Unreadable>::new(text)).map_err(|error| {
        let text = error.to_string();
        text.split_once(", expected ").map_or(text.clone(), |(_, allowed)| allowed.to_owned())
    })
}
