//! `[http]`: where the board, the API and the metrics are served, and to whom.

use std::fmt;
use std::net::{AddrParseError, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::TlsVersion;

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct HttpSettings {
    /// Board, API, metrics and health; loopback unless said otherwise. Port 0 takes a free one.
    /// `"unix:/run/andon/http.sock"` is a socket for the box's own user and group.
    #[schemars(with = "Option<String>")]
    pub listen: Option<Listen>,
    /// Names, beside `localhost` and addresses, under which browsers reach the box.
    pub hosts: Vec<String>,
    /// Holds the token that whoever changes something must bring. A port that is open to the
    /// network and has none is read-only.
    pub token_file: Option<PathBuf>,
    /// `https`, where the port leaves the box. PEM files, noticed when they are exchanged.
    pub tls: Option<HttpTls>,
}

impl Default for HttpSettings {
    fn default() -> Self {
        Self {
            listen: Some(Listen::Port(SocketAddr::from(([127, 0, 0, 1], 9187)))),
            hosts: Vec::new(),
            token_file: None,
            tls: None,
        }
    }
}

/// `http.tls`: who the box is to browsers, and whom it lets in.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HttpTls {
    /// The box's certificate and its chain.
    pub cert_file: PathBuf,
    pub key_file: PathBuf,
    /// Only clients with a certificate of these authorities are let in.
    pub client_ca_file: Option<PathBuf>,
    #[serde(default)]
    pub min_version: TlsVersion,
}

impl HttpTls {
    /// Those that hold certificates.
    pub fn certificates(&self) -> impl Iterator<Item = &PathBuf> {
        std::iter::once(&self.cert_file).chain(&self.client_ca_file)
    }

    pub fn files(&self) -> impl Iterator<Item = &PathBuf> {
        self.certificates().chain(std::iter::once(&self.key_file))
    }
}

/// Where a server waits for its clients.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub enum Listen {
    Port(SocketAddr),
    Socket(PathBuf),
}

impl Listen {
    /// Nobody outside of this machine can reach it.
    pub fn is_local(&self) -> bool {
        match self {
            Self::Port(address) => address.ip().is_loopback(),
            Self::Socket(_) => true,
        }
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Port(address) => address.fmt(f),
            Self::Socket(file) => write!(f, "unix:{}", file.display()),
        }
    }
}

impl FromStr for Listen {
    type Err = AddrParseError;

    fn from_str(text: &str) -> Result<Self, AddrParseError> {
        match text.strip_prefix("unix:") {
            Some(file) => Ok(Self::Socket(file.into())),
            None => text.parse().map(Self::Port),
        }
    }
}

impl TryFrom<String> for Listen {
    type Error = AddrParseError;

    fn try_from(text: String) -> Result<Self, AddrParseError> {
        text.parse()
    }
}

impl From<Listen> for String {
    fn from(listen: Listen) -> Self {
        listen.to_string()
    }
}
