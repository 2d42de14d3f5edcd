//! `andon modbus scan`: who is there.

use std::io::IsTerminal as _;
use std::process::ExitCode;

use anyhow::bail;
use serde_json::json;

use super::{Way, is_reachable, sheet};
use crate::decode::registers::Table;
use crate::modbus::{Exception, Probe, Read};

/// Where devices begin to have registers, often enough.
const STARTS: [u16; 5] = [0, 1, 100, 1000, 4096];

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    #[command(flatten)]
    way: Way,
    /// Units to ask: 7, 1-32, or 1-10,247. Those that are not there cost a timeout each.
    #[arg(long, value_name = "UNITS", default_value = "1-16", value_parser = units)]
    units: Units,
}

#[derive(Clone, Debug)]
struct Units(Vec<u8>);

fn units(text: &str) -> Result<Units, String> {
    let mut units = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let number = |text: &str| text.trim().parse::<u8>().map_err(|_| "units are 0 to 255");
        units.extend(number(first)?..=number(last)?);
    }
    if units.is_empty() { Err("write 7, 1-32 or 1-10,247".into()) } else { Ok(Units(units)) }
}

/// What one table of a unit says.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Finding {
    /// It has a register here.
    Data(u16),
    /// It exists, but not where it was asked.
    Elsewhere,
    /// The device has no such function.
    Absent,
    /// Something else came.
    Refuses(Exception),
}

pub(super) async fn main(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let way = &arguments.way;
    let mut probe = way.probe();
    let mut found = Vec::new();
    let Units(units) = &arguments.units;
    for unit in units {
        if std::io::stderr().is_terminal() {
            eprint!("\runit {unit} … ");
        }
        if let Some(tables) = tables(&mut probe, *unit).await? {
            found.push((*unit, tables));
        }
    }
    if std::io::stderr().is_terminal() {
        eprint!("\r             \r");
    }
    if way.json {
        let asked = units.len();
        let listed = found.iter().map(|(unit, tables)| {
            let tables = tables.iter().map(|(table, finding)| {
                let (state, address) = match finding {
                    Finding::Data(at) => ("answers", Some(*at)),
                    Finding::Elsewhere => ("elsewhere", None),
                    Finding::Absent => ("absent", None),
                    Finding::Refuses(_) => ("refuses", None),
                };
                json!({ "table": table.as_str(), "state": state, "offset": address })
            });
            json!({ "unit": unit, "tables": tables.collect::<Vec<_>>() })
        });
        let body = json!({
            "address": way.address.to_string(),
            "asked": asked,
            "units": listed.collect::<Vec<_>>(),
        });
        println!("{body:#}");
    } else if found.is_empty() {
        println!("No unit answers at {} ({} asked): {}.", way.address, units.len(), way.advice());
    } else {
        print(arguments, &found);
    }
    Ok(if found.is_empty() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn print(arguments: &Arguments, found: &[(u8, Vec<(Table, Finding)>)]) {
    let mut rows = vec![vec!["unit".to_owned()]];
    rows[0].extend(Table::ALL.map(|table| table.to_string()));
    for (unit, tables) in found {
        let mut row = vec![unit.to_string()];
        row.extend(tables.iter().map(|(table, finding)| match finding {
            Finding::Data(at) => format!("{table}:{at} answers"),
            Finding::Elsewhere => "there, not at its begin".into(),
            Finding::Absent => "none".into(),
            Finding::Refuses(exception) => exception.to_string(),
        }));
        rows.push(row);
    }
    print!("{}", sheet(&rows));
    let alike = found.len() > 1 && found.iter().all(|(_, tables)| *tables == found[0].1);
    if alike && found.len() == arguments.units.0.len() {
        println!("\nAll units answer alike: the device may take any unit for its own.");
    }
    let (unit, tables) = &found[0];
    // Values are mostly in registers, and more often in holding registers than not.
    let place = tables.iter().rev().find_map(|(table, finding)| match finding {
        Finding::Data(at) => Some(format!("{table}:{at}")),
        _ => None,
    });
    // A table that is there, though not at its begin.
    let there = tables.iter().rev().find(|(_, finding)| *finding == Finding::Elsewhere);
    let table = there.map_or(Table::Holding, |(table, _)| *table);
    println!(
        "\nNext: andon modbus read {} --unit {unit} {} --expect <a value you know>",
        arguments.way.address,
        place.unwrap_or_else(|| format!("{table}:<the manual's address>")),
    );
}

/// `None` when the unit does not answer.
async fn tables(probe: &mut Probe, unit: u8) -> anyhow::Result<Option<Vec<(Table, Finding)>>> {
    let mut tables = Vec::new();
    for table in Table::ALL {
        match finding(probe, unit, table).await? {
            Some(finding) => tables.push((table, finding)),
            None if tables.is_empty() => return Ok(None),
            // It answered before: this table makes it silent.
            None => tables.push((table, Finding::Absent)),
        }
    }
    // Some servers fail for units that they do not have, instead of saying nothing.
    let fails =
        |(_, finding): &(Table, Finding)| *finding == Finding::Refuses(Exception::DEVICE_FAILURE);
    Ok((!tables.iter().all(fails)).then_some(tables))
}

async fn finding(probe: &mut Probe, unit: u8, table: Table) -> anyhow::Result<Option<Finding>> {
    let mut outcome = Finding::Elsewhere;
    for start in STARTS {
        outcome = match probe.read(unit, Read { table, start, count: 1 }).await {
            Ok(Ok(_)) => return Ok(Some(Finding::Data(start))),
            Ok(Err(Exception::ILLEGAL_ADDRESS | Exception::ILLEGAL_VALUE)) => Finding::Elsewhere,
            Ok(Err(Exception::ILLEGAL_FUNCTION)) => return Ok(Some(Finding::Absent)),
            Ok(Err(Exception::GATEWAY_PATH | Exception::GATEWAY_TARGET)) => return Ok(None),
            Ok(Err(exception)) => return Ok(Some(Finding::Refuses(exception))),
            Err(error) if is_reachable(&error) => return Ok(None),
            Err(error) => bail!("{error}"),
        };
    }
    Ok(Some(outcome))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_numbers_and_ranges() {
        assert_eq!(units("1-3, 247").unwrap().0, [1, 2, 3, 247]);
        for text in ["", "a", "1-300", "5-1"] {
            assert!(units(text).is_err(), "{text}");
        }
    }
}
