//! The command line: one file a subcommand.

#![expect(clippy::print_stdout, reason = "commands answer on standard output")]

mod alerts;
mod backtest;
mod bench;
mod check;
mod client;
mod config;
#[cfg(feature = "demo")]
mod demo;
mod evaluate;
mod explain;
mod export;
mod health;
mod log;
mod look;
mod modbus;
mod model;
mod recorded;
mod remote;
mod replay;
mod run;
mod shell;
mod tail;
mod top;
mod version;
mod way;

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
    /// What the configuration says, where it says so, and what a reload would do.
    #[command(subcommand)]
    Config(config::Command),
    /// What the running daemon does: samples, sources, models, outbox, disk.
    Status(client::Daemon),
    /// The newest reading of every tag.
    Tags(look::Tags),
    /// The alerts that stand; acknowledge and shelve them.
    Alerts(alerts::Arguments),
    /// Readings, verdicts or alerts as they come.
    Tail(tail::Arguments),
    /// The daemon in this terminal: sources, rates, models, alerts, tags.
    Top(top::Arguments),
    /// What happened to alerts, the newest first.
    History(look::Newest),
    /// Why an alert was raised: each tag's part, and its course, from the buffer.
    Explain(explain::Arguments),
    /// Samples of the buffer as CSV or Parquet.
    Export(export::Arguments),
    /// Payloads that could not be read, and why.
    Quarantine(look::Newest),
    /// Measure a model on recorded data, with what the daemon itself does to it.
    Evaluate(Box<evaluate::Arguments>),
    /// Run recorded samples through a configuration; the alerts as JSON lines.
    Replay(Box<replay::Arguments>),
    /// Compare what another configuration or model would have said with what was said.
    Backtest(Box<backtest::Arguments>),
    /// Measure this box.
    #[command(subcommand)]
    Bench(bench::Command),
    /// Find out what a Modbus device says, and what asking it costs. Only reads are sent.
    #[command(subcommand)]
    Modbus(modbus::Command),
    /// The models of the box: list them, check a package, add one.
    #[command(subcommand)]
    Model(model::Command),
    /// Completions for a shell; `andon completions bash > /etc/bash_completion.d/andon`.
    Completions { shell: clap_complete::Shell },
    /// The manual page, for man(1).
    Man(shell::Manual),
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
    end_quietly_on_a_closed_pipe();
    let arguments = Arguments::parse();
    let outcome = match arguments.command {
        Command::Run(file) => run::main(&file.config),
        Command::Check(file) => check::main(&file.config),
        Command::Config(command) => config::main(&command),
        Command::Status(daemon) => look::status(&daemon),
        Command::Tags(arguments) => look::tags(&arguments),
        Command::Alerts(arguments) => alerts::main(&arguments),
        Command::Tail(arguments) => tail::main(&arguments),
        Command::Top(arguments) => top::main(&arguments),
        Command::History(arguments) => look::history(&arguments),
        Command::Explain(arguments) => explain::main(&arguments),
        Command::Export(arguments) => export::main(&arguments),
        Command::Quarantine(arguments) => look::quarantine(&arguments),
        Command::Evaluate(arguments) => evaluate::main(&arguments),
        Command::Replay(arguments) => replay::main(&arguments),
        Command::Backtest(arguments) => backtest::main(&arguments),
        Command::Bench(command) => bench::main(&command),
        Command::Modbus(command) => modbus::main(&command),
        Command::Model(command) => model::main(&command),
        Command::Completions { shell } => Ok(shell::completions(shell)),
        Command::Man(manual) => shell::manual(&manual),
        #[cfg(feature = "demo")]
        Command::Demo(arguments) => demo::main(&arguments),
    };
    outcome.unwrap_or_else(|error| {
        let cause = error.root_cause().downcast_ref::<std::io::Error>();
        if cause.is_some_and(|cause| cause.kind() == std::io::ErrorKind::BrokenPipe) {
            return ExitCode::SUCCESS;
        }
        eprintln!("andon: {error:#}");
        ExitCode::FAILURE
    })
}

/// Whoever reads an answer may have read enough: `andon tags | head -n 1`. Printing panics then;
/// that is no failure of the command.
fn end_quietly_on_a_closed_pipe() {
    let otherwise = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let message = panic.payload_as_str().unwrap_or_default();
        let printing = ["failed printing to stdout", "failed to write completion file"];
        let closed = message.contains("Broken pipe") || message.contains("BrokenPipe");
        if closed && printing.iter().any(|what| message.starts_with(what)) {
            std::process::exit(0);
        }
        otherwise(panic);
    }));
}

/// `NAME=REST` of an argument.
fn pair(text: &str) -> Result<(String, String), String> {
    let (name, rest) = text.split_once('=').ok_or("expected NAME=…")?;
    Ok((name.trim().to_owned(), rest.trim().to_owned()))
}
