//! The way to the daemon: a port, a port with TLS, or its socket in the file system.
//!
//! `ureq` speaks HTTP over what `carrier.rs` gives it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use ureq::unversioned::resolver::DefaultResolver;

use crate::carrier::Carrier;
use crate::settings::Tls;
use crate::tls;

const PATIENCE: Duration = Duration::from_secs(10);

/// Whom to believe that it is the daemon, and who asks.
#[derive(Debug, clap::Args)]
pub(super) struct Trust {
    /// The authority that vouches for the daemon of an https:// address, or its own certificate
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// A certificate of one's own, where the daemon asks for one
    #[arg(long, value_name = "FILE", requires = "key")]
    cert: Option<PathBuf>,
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
}

/// Found once: some commands ask again and again.
#[derive(Debug)]
pub(super) struct Way {
    /// What people call it.
    pub(super) name: String,
    /// What stands before a path.
    pub(super) base: String,
    pub(super) agent: ureq::Agent,
    tls: Option<Tls>,
}

impl Way {
    /// `url` begins with `http://`, `https://` or `unix:`.
    /// `shown` is the certificate that the daemon on this box shows, where that is known.
    pub(super) fn to(url: &str, trust: &Trust, shown: Option<PathBuf>) -> anyhow::Result<Self> {
        let name = url.trim_end_matches('/').to_owned();
        let way =
            |base: &str, agent, tls| Self { base: base.to_owned(), agent, tls, name: name.clone() };
        if let Some(file) = url.strip_prefix("unix:") {
            let agent = over(Carrier::Socket(file.into()));
            // An address: a box without a network may not know `localhost`.
            return Ok(way("http://127.0.0.1", agent, None));
        }
        if url.starts_with("http://") {
            return Ok(way(&name, config().into(), None));
        }
        if !url.starts_with("https://") {
            bail!("--url is `{url}`; write http://HOST:PORT, https://HOST:PORT or unix:/PATH");
        }
        let ca = trust
            .ca
            .clone()
            .or(shown)
            .context("an https:// address needs --ca FILE: whom to believe")?;
        let mut tls = Tls::trusting(ca);
        (tls.cert_file, tls.key_file) = (trust.cert.clone(), trust.key.clone());
        let config = Arc::new(tls::own_config(&tls)?);
        let carrier = Carrier::Tls { config, name: None, keep: false };
        Ok(way(&name, over(carrier), Some(tls)))
    }

    pub(super) fn explain(&self, error: &ureq::Error) -> String {
        let told = match (error, &self.tls) {
            (ureq::Error::Io(error), Some(tls)) => tls::explain(error, tls),
            _ => None,
        };
        told.unwrap_or_else(|| error.to_string())
    }
}

fn config() -> ureq::config::Config {
    ureq::Agent::config_builder()
        .timeout_global(Some(PATIENCE))
        .http_status_as_error(false)
        .proxy(None)
        .build()
}

fn over(carrier: Carrier) -> ureq::Agent {
    ureq::Agent::with_parts(config(), carrier, DefaultResolver::default())
}
