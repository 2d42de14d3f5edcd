//! Where the log goes: to standard error, or, where that is the journal's, to the journal with
//! every field of a line as a field of its own.

mod journal;

use std::io::IsTerminal;

use anyhow::Context;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use self::journal::Journal;
use crate::audit;
use crate::settings::LogSettings;

/// The daemon's. `log.json` asks for JSON on standard error, under systemd too.
pub(super) fn start(settings: &LogSettings) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&settings.level)
        .with_context(|| format!("log.level `{}` is no filter; try `info`", settings.level))?
        .add_directive(audited()?);
    if settings.json {
        to_stderr(filter, true);
        return Ok(());
    }
    match journal::is_stderr().then(Journal::connect) {
        Some(Ok(journal)) => tracing_subscriber::registry().with(filter).with(journal).init(),
        Some(Err(error)) => {
            to_stderr(filter, false);
            tracing::warn!(%error, "The journal takes no fields; they stand in the text alone.");
        }
        None => to_stderr(filter, false),
    }
    Ok(())
}

/// A command's that changes the box: its audit alone, to the journal wherever there is one.
pub(super) fn audit() -> anyhow::Result<()> {
    let filter = EnvFilter::new("off").add_directive(audited()?);
    match Journal::connect() {
        Ok(journal) => tracing_subscriber::registry().with(filter).with(journal).init(),
        Err(_there_is_none) => to_stderr(filter, false),
    }
    Ok(())
}

fn audited() -> anyhow::Result<tracing_subscriber::filter::Directive> {
    Ok(format!("{}=info", audit::TARGET).parse()?)
}

fn to_stderr(filter: EnvFilter, json: bool) {
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    if json {
        subscriber.json().init();
    } else {
        subscriber.init();
    }
}
