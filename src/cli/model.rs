//! `andon model`: what the box has, whether a package is right, and putting one into the
//! repository or out of it; and which version predicts.

mod asker;
mod remove;

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, anyhow, bail};

use serde_json::{Value, json};

use self::asker::Asker;
use super::client::{Daemon, List, text, whole};
use super::remote as model_server;
use crate::api::segment;
use crate::config;
use crate::health::BreakerState;
use crate::model::{Service, stock, trust};
use crate::settings::RuntimeSettings;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Every model and version: what predicts, what is loaded, what is offered.
    List(Daemon),
    /// How the models do, and whether their data still look like those of the training.
    Health(super::health::Health),
    /// Verify a package: hash, card against graph, golden pair.
    Check(Package),
    /// Verify a package and copy it into the repository. Nothing that runs is touched.
    Add {
        #[command(flatten)]
        package: Package,
        #[command(flatten)]
        asker: Asker,
    },
    /// Sign a version's folder: every file in it, with a private key of your own.
    Sign(Keyed),
    /// Hold a version's folder against its signature.
    Verify(Keyed),
    /// Let another version of the repository predict, without a restart.
    Activate {
        /// <name>/<version>, as `andon model list` shows them.
        model: String,
        #[command(flatten)]
        asked: Asked,
    },
    /// Take a version out of the repository, unless it is in use.
    Remove {
        /// <name>/<version>
        model: String,
        /// The version, where it does not stand with the name.
        version: Option<String>,
        #[command(flatten)]
        asker: Asker,
        #[command(flatten)]
        daemon: Daemon,
    },
    /// Let a version see what the active one sees, and compare the two; it predicts nothing.
    Shadow {
        /// <name>/<version>, or <name> with --end.
        model: String,
        /// The version, where it does not stand with the name.
        version: Option<String>,
        /// No shadow any more.
        #[arg(long, conflicts_with = "version")]
        end: bool,
        #[command(flatten)]
        asked: Asked,
    },
    /// Let the version before predict again.
    Rollback {
        /// <name>
        model: String,
        #[command(flatten)]
        asked: Asked,
    },
}

#[derive(Debug, clap::Args)]
pub(super) struct Asked {
    /// Who asks.
    #[arg(long, env = "USER")]
    by: String,
    #[command(flatten)]
    daemon: Daemon,
}

#[derive(Debug, clap::Args)]
pub(super) struct Keyed {
    /// PEM, ECDSA on P-256 or P-384: to sign a private key, to verify a public one.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// The version's folder: <name>/<version>. The signature is `model.sig` in it.
    folder: PathBuf,
}

#[derive(Debug, clap::Args)]
pub(super) struct Package {
    /// The version's folder: <name>/<version>, with model.onnx and model.toml.
    folder: PathBuf,
    /// The daemon's configuration: its [runtime] is used.
    #[arg(long, value_name = "FILE", default_value = "/etc/andon/andon.toml")]
    config: PathBuf,
}

pub(super) fn main(command: &Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::List(daemon) => list(daemon),
        Command::Activate { model, asked } => {
            let Some((name, version)) = model.split_once('/') else {
                bail!("`{model}` names no version; write <name>/<version>");
            };
            let body = json!({ "version": version, "by": asked.by });
            swap(asked, &format!("/api/v1/models/{}/activate", segment(name)), &body, name)
        }
        Command::Shadow { model, version, end, asked } => {
            let (name, version) = named(model, version.as_deref())?;
            if !end && version.is_none() {
                bail!("`{model}` names no version; write <name>/<version>, or --end");
            }
            shadow(asked, name, version.filter(|_| !end))
        }
        Command::Remove { model, version, asker, daemon } => {
            let (name, Some(version)) = named(model, version.as_deref())? else {
                bail!("`{model}` names no version; write <name>/<version>");
            };
            let object = format!("{name}/{version}");
            let remove = || remove::remove(daemon, name, version);
            let folder = asker.audited("remove", &object, remove, |folder| {
                format!("from {}", folder.display())
            })?;
            println!("{name} {version} is removed from {}.", folder.display());
            Ok(ExitCode::SUCCESS)
        }
        Command::Rollback { model, asked } => {
            let path = format!("/api/v1/models/{}/rollback", segment(model));
            swap(asked, &path, &json!({ "by": asked.by }), model)
        }
        Command::Health(health) => super::health::main(health),
        Command::Sign(keyed) => {
            let signed = trust::sign(&keyed.real_folder()?, &trust::SecretKey::read(&keyed.key)?)?;
            println!("{} files are signed by the key {}.", signed.files, signed.fingerprint);
            Ok(ExitCode::SUCCESS)
        }
        Command::Verify(keyed) => {
            let keys = [trust::PublicKey::read(&keyed.key)?];
            let verified = trust::verify(&keyed.real_folder()?, &keys)?;
            println!(
                "{} files are as the key {} signed them.",
                verified.files, verified.fingerprint
            );
            Ok(ExitCode::SUCCESS)
        }
        Command::Check(package) => {
            let service = package.verify()?;
            println!("{}", said(&service, "is good"));
            Ok(ExitCode::SUCCESS)
        }
        Command::Add { package, asker } => {
            let add = || package.add();
            let object = package.folder.display().to_string();
            let (service, target) = asker.audited("add", &object, add, |(service, target)| {
                format!("SHA-256 {} to {}", service.identity.sha256, target.display())
            })?;
            println!("{}", said(&service, &format!("is good and lies in {}", target.display())));
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// `name/version`, or both on their own.
fn named<'a>(
    model: &'a str,
    version: Option<&'a str>,
) -> anyhow::Result<(&'a str, Option<&'a str>)> {
    match (model.split_once('/'), version) {
        (Some((name, version)), None) => Ok((name, Some(version))),
        (None, version) => Ok((model, version)),
        (Some(_), Some(_)) => bail!("the version stands twice; write <name>/<version>"),
    }
}

fn list(daemon: &Daemon) -> anyhow::Result<ExitCode> {
    let list = List {
        path: "/api/v1/models",
        query: &[],
        none: "The repository holds no model.",
        head: ["model", "version", "state", "device", "requests", "refused"],
    };
    list.show(daemon, |row| {
        let mut cells = ["name", "version", "state", "device", "requests", "refused"]
            .map(|key| text(&row[key]));
        if row["remote"].is_object() {
            cells[3] += &format!(" ({})", model_server::state(&row["remote"]));
        }
        cells
    })
}

fn swap(asked: &Asked, path: &str, body: &Value, name: &str) -> anyhow::Result<ExitCode> {
    let answer = asked.daemon.post(path, body)?.unwrap_or_default();
    if asked.daemon.json {
        return whole(&answer);
    }
    let (version, previous) = (text(&answer["version"]), text(&answer["previous"]));
    println!("{name} {version} predicts now, in the place of {previous}.");
    Ok(ExitCode::SUCCESS)
}

fn shadow(asked: &Asked, name: &str, version: Option<&str>) -> anyhow::Result<ExitCode> {
    let path = format!("/api/v1/models/{}/shadow", segment(name));
    let body = json!({ "version": version, "by": asked.by });
    let answer = asked.daemon.post(&path, &body)?.unwrap_or_default();
    if asked.daemon.json {
        return whole(&answer);
    }
    let shown = text(&answer["version"]);
    match version {
        Some(_) => {
            let active = text(&answer["previous"]);
            println!(
                "{name} {shown} sees what {active} sees; `andon model health {name}` compares them."
            );
        }
        None => println!("{name} {shown} is no shadow any more."),
    }
    Ok(ExitCode::SUCCESS)
}

fn said(service: &Service, what: &str) -> String {
    let identity = &service.identity;
    let (name, version, device) = (&identity.name, &identity.version, &identity.device);
    match service.remote.as_ref().map(|remote| remote.snapshot()) {
        Some(remote) if remote.breaker != BreakerState::Closed => format!(
            "{name} {version} {what} as far as this box can tell; its model server gave no answer: {}: {}",
            remote.url,
            remote.last_error.unwrap_or_default()
        ),
        _ => format!("{name} {version} {what}; it ran on {device}."),
    }
}

impl Keyed {
    fn real_folder(&self) -> anyhow::Result<PathBuf> {
        fs::canonicalize(&self.folder)
            .with_context(|| format!("{} cannot be read", self.folder.display()))
    }
}

impl Package {
    /// What was added, and where it lies now.
    fn add(&self) -> anyhow::Result<(Service, PathBuf)> {
        Ok(stock::add(&self.real_folder()?, &self.runtime()?)?)
    }

    /// Loads it as the daemon would.
    fn verify(&self) -> anyhow::Result<Service> {
        Ok(stock::verify(&self.real_folder()?, &self.runtime()?)?)
    }

    fn runtime(&self) -> anyhow::Result<RuntimeSettings> {
        let loaded = config::load(&self.config, config::environment())
            .map_err(|diagnostics| anyhow!("{diagnostics}"))?;
        Ok(loaded.settings.runtime)
    }

    fn real_folder(&self) -> anyhow::Result<PathBuf> {
        fs::canonicalize(&self.folder)
            .with_context(|| format!("{} cannot be read", self.folder.display()))
    }
}
