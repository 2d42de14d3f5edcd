//! Whom the box trusts on an encrypted link, and who it is.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `tls` of a broker or of a Modbus device. Files are PEM, and read anew for every connection.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// The authorities that may vouch for the peer, or the peer's own certificate. The
    /// system's list is not used: a plant knows its own.
    pub ca_file: PathBuf,
    /// The box's certificate and its chain; with `key_file`.
    pub cert_file: Option<PathBuf>,
    pub key_file: Option<PathBuf>,
    /// Certificates that the authority has taken back.
    pub crl_file: Option<PathBuf>,
    /// The name in the peer's certificate, where it is not the host of the address.
    pub server_name: Option<String>,
    #[serde(default)]
    pub min_version: TlsVersion,
    /// Protocols to ask for, where a port serves several: `["mqtt"]`.
    #[serde(default)]
    pub alpn: Vec<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum TlsVersion {
    #[default]
    #[serde(rename = "1.2")]
    V1_2,
    #[serde(rename = "1.3")]
    V1_3,
}

impl Tls {
    /// Only whom to trust.
    pub fn trusting(ca_file: PathBuf) -> Self {
        Self {
            ca_file,
            cert_file: None,
            key_file: None,
            crl_file: None,
            server_name: None,
            min_version: TlsVersion::default(),
            alpn: Vec::new(),
        }
    }

    /// All files that are set.
    pub fn files(&self) -> impl Iterator<Item = &PathBuf> {
        [
            Some(&self.ca_file),
            self.cert_file.as_ref(),
            self.key_file.as_ref(),
            self.crl_file.as_ref(),
        ]
        .into_iter()
        .flatten()
    }
}
