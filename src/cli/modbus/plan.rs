//! `andon modbus plan`: the requests of a configuration, and whether the lines can carry them.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use serde_json::{Value, json};

use super::sheet;
use crate::config;
use crate::modbus::{self, Endpoint, Plan};
use crate::settings::ModbusDevice;

/// All devices behind one address.
struct Way {
    address: String,
    members: Vec<(ModbusDevice, Plan)>,
}

impl Way {
    /// Share of the line's time; above 1 it cannot keep up.
    fn load(&self) -> f64 {
        self.members.iter().map(|(_, plan)| plan.load()).sum()
    }
}

pub(super) fn main(file: &Path, as_json: bool) -> anyhow::Result<ExitCode> {
    let loaded = match config::load(file, config::environment()) {
        Ok(loaded) => loaded,
        Err(diagnostics) => {
            eprintln!("{diagnostics}");
            return Ok(ExitCode::FAILURE);
        }
    };
    let mut ways = Vec::new();
    for devices in modbus::group(&loaded.settings.modbus) {
        let address = devices[0].address.parse::<Endpoint>().map(|way| way.to_string());
        let mut members = Vec::new();
        for device in devices {
            match Plan::build(&device) {
                Ok(plan) => members.push((device, plan)),
                Err(errors) => {
                    for error in errors {
                        eprintln!("{}: {error}", device.asset);
                    }
                    return Ok(ExitCode::FAILURE);
                }
            }
        }
        ways.push(Way { address: address?, members });
    }
    if as_json {
        println!("{:#}", Value::from_iter(ways.iter().map(to_json)));
    } else if ways.is_empty() {
        println!("{} names no Modbus device.", file.display());
    } else {
        ways.iter().for_each(print);
    }
    let feasible = ways.iter().all(|way| way.load() <= 1.0);
    Ok(if feasible { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn print(way: &Way) {
    println!("{}\n", way.address);
    let heading = ["asset", "unit", "every", "read", "registers", "tags", "about"];
    let mut rows = vec![heading.map(str::to_owned).to_vec()];
    for (device, plan) in &way.members {
        for cadence in &plan.cadences {
            for request in &cadence.requests {
                let read = request.read;
                let last = u32::from(read.start) + u32::from(read.count) - 1;
                rows.push(vec![
                    device.asset.clone(),
                    device.unit.to_string(),
                    humantime::format_duration(cadence.interval).to_string(),
                    format!("{}:{} to {last}", read.table, read.start),
                    read.count.to_string(),
                    request.readings.len().to_string(),
                    milliseconds(plan.line.time(&read)),
                ]);
            }
        }
    }
    print!("{}", sheet(&rows));
    let requests = rows.len() - 1;
    let percent = 100.0 * way.load();
    let needed = milliseconds(Duration::from_secs_f64(way.load()));
    println!(
        "\n{requests} requests; about {needed} of each second, {percent:.1} % of the line's time."
    );
    if percent > 100.0 {
        println!("The line cannot carry this: poll less often, or raise its speed.");
    } else if percent > 70.0 {
        println!("Little is left for retries: one silent unit may make others late.");
    }
    println!();
}

fn milliseconds(span: Duration) -> String {
    format!("{:.1} ms", span.as_secs_f64() * 1e3)
}

fn to_json(way: &Way) -> Value {
    let devices = way.members.iter().map(|(device, plan)| {
        let requests = plan.cadences.iter().flat_map(|cadence| {
            cadence.requests.iter().map(|request| {
                let tags = request.readings.iter().map(|reading| &device.register[reading.tag].tag);
                json!({
                    "interval_seconds": cadence.interval.as_secs_f64(),
                    "table": request.read.table.as_str(),
                    "start": request.read.start,
                    "count": request.read.count,
                    "seconds": plan.line.time(&request.read).as_secs_f64(),
                    "tags": tags.collect::<Vec<_>>(),
                })
            })
        });
        json!({
            "asset": device.asset,
            "unit": device.unit,
            "load": plan.load(),
            "requests": requests.collect::<Vec<_>>(),
        })
    });
    json!({ "address": way.address, "load": way.load(), "devices": devices.collect::<Vec<_>>() })
}
