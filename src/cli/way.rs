//! The way to the daemon: a port, a port with TLS, or its socket in the file system.
//!
//! `ureq` speaks HTTP over whatever carries bytes; what carries them is here, so that the
//! commands trust what the rest of the program trusts: the plant's authority, by `tls.rs`.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use ureq::unversioned::resolver::DefaultResolver;
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, Transport,
};

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
        let config = tls::own_config(&tls)?;
        Ok(way(&name, over(Carrier::Tls(Arc::new(config))), Some(tls)))
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

/// Makes connections.
#[derive(Debug)]
enum Carrier {
    Socket(PathBuf),
    Tls(Arc<ClientConfig>),
}

impl Connector for Carrier {
    type Out = Carried;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        _before: Option<()>,
    ) -> Result<Option<Carried>, ureq::Error> {
        let stream: Box<dyn Stream> = match self {
            Self::Socket(file) => Box::new(UnixStream::connect(file)?),
            Self::Tls(config) => {
                let stream = TcpStream::connect_timeout(
                    details.addrs.first().ok_or(ureq::Error::HostNotFound)?,
                    PATIENCE,
                )?;
                stream.set_nodelay(true)?;
                let host = details.uri.host().unwrap_or_default().trim_matches(['[', ']']);
                let name = ServerName::try_from(host.to_owned())
                    .map_err(|_| ureq::Error::BadUri(details.uri.to_string()))?;
                let client = ClientConnection::new(Arc::clone(config), name)
                    .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
                Box::new(StreamOwned::new(client, stream))
            }
        };
        let buffers = LazyBuffers::new(
            details.config.input_buffer_size(),
            details.config.output_buffer_size(),
        );
        Ok(Some(Carried { tls: matches!(self, Self::Tls(_)), stream, buffers }))
    }
}

/// Bytes both ways, with a limit to each wait.
trait Stream: Read + Write + Send + Sync {
    fn limit(&self, wait: Option<Duration>) -> io::Result<()>;
}

impl Stream for UnixStream {
    fn limit(&self, wait: Option<Duration>) -> io::Result<()> {
        self.set_read_timeout(wait)?;
        self.set_write_timeout(wait)
    }
}

impl Stream for StreamOwned<ClientConnection, TcpStream> {
    fn limit(&self, wait: Option<Duration>) -> io::Result<()> {
        self.sock.set_read_timeout(wait)?;
        self.sock.set_write_timeout(wait)
    }
}

struct Carried {
    stream: Box<dyn Stream>,
    buffers: LazyBuffers,
    tls: bool,
}

impl fmt::Debug for Carried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Carried")
    }
}

/// A wait that took too long, as `ureq` tells it.
fn timely<T>(outcome: io::Result<T>, limit: NextTimeout) -> Result<T, ureq::Error> {
    outcome.map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => ureq::Error::Timeout(limit.reason),
        _ => error.into(),
    })
}

impl Transport for Carried {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, limit: NextTimeout) -> Result<(), ureq::Error> {
        self.stream.limit(limit.not_zero().map(|wait| *wait))?;
        let sent = self.stream.write_all(&self.buffers.output()[..amount]);
        timely(sent.and_then(|()| self.stream.flush()), limit)
    }

    fn await_input(&mut self, limit: NextTimeout) -> Result<bool, ureq::Error> {
        self.stream.limit(limit.not_zero().map(|wait| *wait))?;
        let read = timely(self.stream.read(self.buffers.input_append_buf()), limit)?;
        self.buffers.input_appended(read);
        Ok(read > 0)
    }

    /// Each question has a connection of its own.
    fn is_open(&mut self) -> bool {
        false
    }

    fn is_tls(&self) -> bool {
        self.tls
    }
}
