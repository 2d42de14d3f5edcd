//! Writes the simulated plant's spindles as CSV, the training data of `spindle-anomaly`:
//! `cargo run --release --example record-plant -- --seed 1 --minutes 60 --out healthy.csv`

use std::path::PathBuf;

use andon::demo::FaultPlan;
use andon::demo::record::write_csv;
use clap::Parser;

#[derive(Parser)]
struct Arguments {
    /// Which plant: machines of another seed differ a little.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    #[arg(long, default_value_t = 60)]
    minutes: u32,
    /// `none`: a healthy plant; `demo`: the demonstration's faults, every 20 seconds.
    #[arg(long, default_value = "none", value_parser = ["none", "demo"])]
    faults: String,
    #[arg(long)]
    out: PathBuf,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let faults = if arguments.faults == "demo" { FaultPlan::demo() } else { FaultPlan::none() };
    let file = std::fs::File::create(&arguments.out)?;
    write_csv(file, arguments.seed, arguments.minutes, faults)?;
    Ok(())
}
