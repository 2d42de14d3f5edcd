//! Asks the running daemon over its HTTP port.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::OnceLock;

use anyhow::{Context, anyhow, bail};
use comfy_table::{ContentArrangement, Table, presets};
use serde_json::Value;

use super::way::{Trust, Way};
use crate::config;
use crate::settings::{HttpSettings, Listen};

/// Where the daemon is, and how its answer is wanted.
#[derive(Debug, clap::Args)]
pub(super) struct Daemon {
    /// The daemon's configuration: its `http.listen` is asked.
    #[arg(long, value_name = "FILE", default_value = "/etc/andon/andon.toml")]
    config: PathBuf,
    /// The daemon's address, instead of the configuration's: http://127.0.0.1:9187,
    /// https://box7:9187, unix:/run/andon/http.sock
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    #[command(flatten)]
    trust: Trust,
    /// Holds the token of `http.token_file`, to change something over the network.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// The daemon's answer as it is.
    #[arg(long)]
    pub(super) json: bool,
    /// Found once: some commands ask again and again.
    #[arg(skip)]
    found: OnceLock<Box<Way>>,
}

impl Daemon {
    pub(super) fn get(&self, path: &str, query: &[(&str, &str)]) -> anyhow::Result<Value> {
        let way = self.way()?;
        let url = format!("{}{path}", way.base);
        let request = way.agent.get(url).query_pairs(query.iter().copied());
        read(request.call().map_err(|error| silent(way, &error))?)
    }

    pub(super) fn config(&self) -> &Path {
        &self.config
    }

    /// `None` where no daemon runs there.
    pub(super) fn get_if_there(&self, path: &str) -> anyhow::Result<Option<Value>> {
        let way = self.way()?;
        match way.agent.get(format!("{}{path}", way.base)).call() {
            Ok(answer) => read(answer).map(Some),
            Err(ureq::Error::ConnectionFailed) => Ok(None),
            Err(ureq::Error::Io(error))
                if matches!(error.kind(), ErrorKind::ConnectionRefused | ErrorKind::NotFound) =>
            {
                Ok(None)
            }
            Err(error) => Err(silent(way, &error)),
        }
    }

    /// `None` where the answer is empty.
    pub(super) fn post(&self, path: &str, body: &Value) -> anyhow::Result<Option<Value>> {
        let way = self.way()?;
        let url = format!("{}{path}", way.base);
        let mut request = way.agent.post(url).header("Content-Type", "application/json");
        if let Some(file) = &self.token_file {
            let token = std::fs::read_to_string(file)
                .with_context(|| format!("the token in {} cannot be read", file.display()))?;
            request = request.header("Authorization", format!("Bearer {}", token.trim()));
        }
        let answer = request.send(body.to_string()).map_err(|error| silent(way, &error))?;
        if answer.status() == 204 {
            return Ok(None);
        }
        read(answer).map(Some)
    }

    fn way(&self) -> anyhow::Result<&Way> {
        if let Some(way) = self.found.get() {
            return Ok(way);
        }
        let (url, shown) = self.find()?;
        let way = Box::new(Way::to(&url, &self.trust, shown)?);
        Ok(self.found.get_or_init(|| way))
    }

    /// The address, as `--url` takes it, and the certificate that the configuration names.
    fn find(&self) -> anyhow::Result<(String, Option<PathBuf>)> {
        if let Some(url) = &self.url {
            return Ok((url.clone(), None));
        }
        let http = match config::load(&self.config, config::environment()) {
            Ok(loaded) => loaded.settings.http,
            // The daemon runs on with the last good one: this is when people ask it.
            Err(diagnostics) => http_anyway(&self.config)
                .ok_or_else(|| anyhow!("{diagnostics}\ngive --url to ask the daemon"))?,
        };
        match http.listen.context("the configuration has no `http.listen`; give --url")? {
            Listen::Port(mut address) => {
                if address.ip().is_unspecified() {
                    address.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
                }
                let scheme = if http.tls.is_some() { "https" } else { "http" };
                Ok((format!("{scheme}://{address}"), http.tls.map(|tls| tls.cert_file)))
            }
            socket @ Listen::Socket(_) => Ok((socket.to_string(), None)),
        }
    }
}

/// The port of a file that is TOML and has errors; the default one where it names none.
fn http_anyway(file: &Path) -> Option<HttpSettings> {
    let read = |file: &Path| std::fs::read_to_string(file).ok()?.parse::<toml::Table>().ok();
    let setting = |file: &PathBuf, name: &str| read(file)?.get("http")?.get(name).cloned();
    read(file)?;
    let files = config::files(file);
    let newest = |name: &str| files.iter().rev().find_map(|file| setting(file, name));
    let mut http = HttpSettings::default();
    if let Some(listen) = newest("listen") {
        http.listen = Some(listen.as_str()?.parse().ok()?);
    }
    http.tls = newest("tls").and_then(|tls| tls.try_into().ok());
    eprintln!("{} has errors; `andon check` lists them.", file.display());
    Some(http)
}

fn silent(way: &Way, error: &ureq::Error) -> anyhow::Error {
    let told = way.explain(error);
    anyhow!("no daemon answers on {} ({told}); is it running? `systemctl status andon`", way.name)
}

fn read(mut answer: ureq::http::Response<ureq::Body>) -> anyhow::Result<Value> {
    let status = answer.status();
    let text = answer.body_mut().read_to_string().context("the answer broke off")?;
    let body: Value = serde_json::from_str(&text)
        .map_err(|_| anyhow!("the answer ({status}) is no JSON: is this an andon daemon?"))?;
    if status.is_success() {
        return Ok(body);
    }
    bail!("{}", body["error"].as_str().unwrap_or(&text))
}

/// A list that the daemon gives, and how a person reads it.
pub(super) struct List<'a, const COLUMNS: usize> {
    pub(super) path: &'a str,
    pub(super) query: &'a [(&'a str, &'a str)],
    /// What is said of an empty list.
    pub(super) none: &'a str,
    pub(super) head: [&'a str; COLUMNS],
}

impl<const COLUMNS: usize> List<'_, COLUMNS> {
    /// Prints it: as it came, or a table with a `row` for each item.
    pub(super) fn show(
        &self,
        daemon: &Daemon,
        row: impl Fn(&Value) -> [String; COLUMNS],
    ) -> anyhow::Result<ExitCode> {
        let list = daemon.get(self.path, self.query)?;
        if daemon.json {
            return whole(&list);
        }
        if items(&list).next().is_none() {
            println!("{}", self.none);
            return Ok(ExitCode::SUCCESS);
        }
        let mut rows = table(&self.head);
        rows.add_rows(items(&list).map(row));
        println!("{rows}");
        Ok(ExitCode::SUCCESS)
    }
}

/// Prints an answer as it came.
pub(super) fn whole(answer: &Value) -> anyhow::Result<ExitCode> {
    println!("{}", serde_json::to_string_pretty(answer)?);
    Ok(ExitCode::SUCCESS)
}

pub(super) fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

/// Columns without lines, as wide as the terminal.
pub(super) fn table(head: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(head.iter().map(|word| word.to_uppercase()));
    table
}

/// A field for a table's cell: empty where there is nothing.
pub(super) fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Text from outside, for a terminal: controls would move its cursor.
pub(super) fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '·' } else { c }).collect()
}

/// A time to the second.
pub(super) fn time(value: &Value) -> String {
    let text = text(value);
    text.get(..19).map_or_else(String::new, |text| text.replace('T', " "))
}
