//! The command line: one file a subcommand.

#![expect(clippy::print_stdout, reason = "commands answer on standard output")]

mod alerts;
mod check;
mod client;
#[cfg(feature = "demo")]
mod demo;
mod evaluate;
mod look;
mod modbus;
mod run;
mod version;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Watches machines, predicts failures and bad parts on the box, and publishes alerts.
#[derive(Debug, Parser)]
#[command(name = "andon", version = version::SHORT, long_version = version::LONG, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the daemon until SIGTERM.
    Run(ConfigFile),
    /// Check a configuration and its models; print every error with its place.
    Check(ConfigFile),
    /// What the running daemon does: samples, sources, models, outbox, disk.
    Status(client::Daemon),
    /// The newest reading of every tag.
    Tags(look::Tags),
    /// The alerts that stand; acknowledge and shelve them.
    Alerts(alerts::Arguments),
    /// What happened to alerts, the newest first.
    History(look::Newest),
    /// Payloads that could not be read, and why.
    Quarantine(look::Newest),
    /// Measure a model on recorded data, with what the daemon itself does to it.
    Evaluate(Box<evaluate::Arguments>),
    /// Find out what a Modbus device says, and what asking it costs. Only reads are sent.
    #[command(subcommand)]
    Modbus(modbus::Command),
    /// Run a simulated plant, its broker and the daemon in this terminal.
    #[cfg(feature = "demo")]
    Demo(demo::Arguments),
}

#[derive(Debug, clap::Args)]
struct ConfigFile {
    /// The configuration, TOML.
    #[arg(long, value_name = "FILE", default_value = "/etc/andon/andon.toml")]
    config: PathBuf,
}

/// Parses the arguments and does what they say.
pub fn main() -> ExitCode {
    // Before any thread starts: the runtime's wheel would speak to its maker.
    crate::model::forbid_telemetry();
    let arguments = Arguments::parse();
    let outcome = match arguments.command {
        Command::Run(file) => run::main(&file.config),
        Command::Check(file) => check::main(&file.config),
        Command::Status(daemon) => look::status(&daemon),
        Command::Tags(arguments) => look::tags(&arguments),
        Command::Alerts(arguments) => alerts::main(&arguments),
        Command::History(arguments) => look::history(&arguments),
        Command::Quarantine(arguments) => look::quarantine(&arguments),
        Command::Evaluate(arguments) => evaluate::main(&arguments),
        Command::Modbus(command) => modbus::main(&command),
        #[cfg(feature = "demo")]
        Command::Demo(arguments) => demo::main(&arguments),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("andon: {error:#}");
        ExitCode::FAILURE
    })
}
