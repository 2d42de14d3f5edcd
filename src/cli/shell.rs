//! `andon completions` and `andon man`: made from the command line's own description.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::CommandFactory;
use clap_complete::Shell;

use super::Arguments;

#[derive(Debug, clap::Args)]
pub(super) struct Manual {
    /// Write a page for each command into this folder, instead of the first to standard output.
    #[arg(long, value_name = "FOLDER")]
    dir: Option<PathBuf>,
}

pub(super) fn completions(shell: Shell) -> ExitCode {
    clap_complete::generate(shell, &mut Arguments::command(), "andon", &mut io::stdout());
    ExitCode::SUCCESS
}

pub(super) fn manual(manual: &Manual) -> anyhow::Result<ExitCode> {
    let command = Arguments::command();
    match manual.dir.as_deref() {
        Some(folder) => pages(command, folder)?,
        None => clap_mangen::Man::new(command).render(&mut io::stdout())?,
    }
    Ok(ExitCode::SUCCESS)
}

fn pages(command: clap::Command, folder: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder)
        .and_then(|()| clap_mangen::generate_to(command, folder))
        .with_context(|| format!("the pages cannot be written to {}", folder.display()))
}
