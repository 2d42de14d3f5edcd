//! `andon modbus`: from an unknown device to lines for the configuration.

mod plan;
mod read;
mod scan;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use super::ConfigFile;
use crate::modbus::{Dialer, Endpoint, LinkError, Probe};
use crate::settings::{Parity, SerialLine, Tls};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Which units answer, and which of their tables.
    Scan(scan::Arguments),
    /// Read a few registers and show them as every type and order.
    Read(read::Arguments),
    /// Show the requests that a configuration leads to, and the time they need.
    Plan {
        #[command(flatten)]
        file: ConfigFile,
        /// As JSON, for programs.
        #[arg(long)]
        json: bool,
    },
}

pub(super) fn main(command: &Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Scan(arguments) => super::run::runtime()?.block_on(scan::main(arguments)),
        Command::Read(arguments) => super::run::runtime()?.block_on(read::main(arguments)),
        Command::Plan { file, json } => plan::main(&file.config, *json),
    }
}

/// Where the device is, as in the configuration.
#[derive(Debug, clap::Args)]
struct Way {
    /// tcp://10.0.0.5:502, tls://plc:802, rtu+tcp://10.0.0.9:4001 or rtu:///dev/serial/by-id/…
    address: Endpoint,
    /// How long to wait for an answer.
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration, default_value = "500ms")]
    timeout: Duration,
    /// Silence after each answer, for devices that need it.
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration, default_value = "0s")]
    pause: Duration,
    /// Speed of the serial line.
    #[arg(long, value_name = "BITS/S", default_value_t = 19_200)]
    baud: u32,
    /// Parity of the serial line: none, odd or even.
    #[arg(long, default_value = "even", value_parser = parity)]
    parity: Parity,
    /// Stop bits of the serial line.
    #[arg(long, value_name = "1|2", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=2))]
    stop_bits: u8,
    /// For tls://: whom to trust, PEM.
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// For tls:// devices that ask who we are: our certificate, PEM.
    #[arg(long, value_name = "FILE", requires_all = ["ca_file", "key_file"])]
    cert_file: Option<PathBuf>,
    /// The key of that certificate, PEM.
    #[arg(long, value_name = "FILE", requires = "cert_file")]
    key_file: Option<PathBuf>,
    /// The name in the device's certificate, where it is not that of the address.
    #[arg(long, value_name = "NAME", requires = "ca_file")]
    server_name: Option<String>,
    /// As JSON, for programs.
    #[arg(long)]
    json: bool,
}

impl Way {
    fn probe(&self) -> Probe {
        let dialer = Dialer {
            endpoint: self.address.clone(),
            serial: SerialLine {
                baud: self.baud,
                parity: self.parity,
                stop_bits: self.stop_bits,
                ..SerialLine::default()
            },
            tls: self.ca_file.clone().map(|file| Tls {
                cert_file: self.cert_file.clone(),
                key_file: self.key_file.clone(),
                server_name: self.server_name.clone(),
                ..Tls::trusting(file)
            }),
        };
        Probe::new(dialer, self.timeout, self.pause)
    }

    /// What may be wrong when nobody answers.
    fn advice(&self) -> &'static str {
        match self.address {
            Endpoint::Serial { .. } => {
                "check A and B, --baud, --parity and --stop-bits, and who else uses the line"
            }
            Endpoint::RtuOverTcp { .. } => {
                "check the converter's line settings; if it translates by itself, use tcp://"
            }
            Endpoint::Tcp { .. } | Endpoint::Tls { .. } => {
                "check the unit; if a converter only passes bytes on, use rtu+tcp://"
            }
        }
    }
}

fn parity(text: &str) -> Result<Parity, String> {
    match text {
        "none" => Ok(Parity::None),
        "odd" => Ok(Parity::Odd),
        "even" => Ok(Parity::Even),
        _ => Err("write none, odd or even".into()),
    }
}

/// Whether asking other units makes sense: the way itself is open.
fn is_reachable(error: &LinkError) -> bool {
    !matches!(error, LinkError::Connect(_))
}

/// Rows as columns of a terminal; the first row is the heading. Numbers stand right.
fn sheet(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let cell = |row: &Vec<String>, column: usize| row.get(column).cloned().unwrap_or_default();
    let width = |column| rows.iter().map(|row| cell(row, column).chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (column, width) in widths.iter().enumerate() {
            let cell = cell(row, column);
            let pad = " ".repeat(width - cell.chars().count());
            let right = cell.starts_with(|c: char| c.is_ascii_digit() || c == '-') && column > 0;
            line += &if right { format!("{pad}{cell}  ") } else { format!("{cell}{pad}  ") };
        }
        text += line.trim_end();
        text.push('\n');
    }
    text
}
