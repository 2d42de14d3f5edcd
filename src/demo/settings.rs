//! The demonstration's configuration: a TOML file that a person can read and copy.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::publisher::BURST_RATE;
use crate::settings::Settings;

/// The line's place in the namespace: its machines and its alerts.
pub const PREFIX: &str = "demo/line1";
pub const FILE: &str = "andon.toml";
pub const DATABASE: &str = "andon.db";

const TEMPLATE: &str = include_str!("andon.toml");

/// What differs from one demonstration to the next.
#[derive(Clone, Copy, Debug)]
pub struct Places<'a> {
    pub broker: SocketAddr,
    pub plc: SocketAddr,
    /// Takes the database and the configuration.
    pub dir: &'a Path,
    /// The model repository.
    pub models: &'a Path,
}

/// The configuration as TOML.
pub fn text(places: &Places<'_>) -> String {
    let quoted = |path: &Path| toml::Value::from(path.to_string_lossy().into_owned()).to_string();
    TEMPLATE
        .replace("{broker}", &places.broker.to_string())
        .replace("{plc}", &places.plc.to_string())
        .replace("{prefix}", PREFIX)
        .replace("{burst_rate}", &format!("{BURST_RATE:.1}"))
        .replace("{database}", &quoted(&places.dir.join(DATABASE)))
        .replace("{models}", &quoted(places.models))
}

pub fn settings(places: &Places<'_>) -> Settings {
    toml::from_str(&text(places)).expect("the template is valid, as a test shows")
}

/// Writes the configuration to `andon.toml` in the demonstration's folder.
pub fn write(places: &Places<'_>) -> io::Result<PathBuf> {
    let path = places.dir.join(FILE);
    std::fs::write(&path, text(places))?;
    Ok(path)
}
