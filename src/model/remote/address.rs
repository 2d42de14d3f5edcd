//! `runtime.remote` of a card: where the model runs, and how it is asked there.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde::{Deserialize, de};

use crate::settings::Tls;

/// `remote = "http://…"`, or a table with the address as its `url`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteSettings {
    pub url: String,
    /// The `model.onnx` beside the card answers while the server does not.
    pub fallback: bool,
    /// How often a failed request is repeated within the deadline.
    pub retries: u32,
    /// Longest wait for a connection; half of the deadline.
    pub connect: Option<Duration>,
    /// Whether tensors travel as bytes: over HTTP as the server says it can, over gRPC always.
    pub binary: Option<bool>,
    /// Holds a bearer token.
    pub token_file: Option<PathBuf>,
    pub tls: Option<Tls>,
}

const RETRIES: u32 = 2;
const MOST_RETRIES: u32 = 10;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    url: String,
    #[serde(default)]
    fallback: bool,
    retries: Option<u32>,
    #[serde(default, with = "humantime_serde")]
    connect: Option<Duration>,
    binary: Option<bool>,
    token_file: Option<PathBuf>,
    tls: Option<Tls>,
}

impl From<Table> for RemoteSettings {
    fn from(table: Table) -> Self {
        let Table { url, fallback, retries, connect, binary, token_file, tls } = table;
        let retries = retries.unwrap_or(RETRIES);
        Self { url, fallback, retries, connect, binary, token_file, tls }
    }
}

impl<'de> Deserialize<'de> for RemoteSettings {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = RemoteSettings;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an address such as \"http://host:8000/v2/models/name\", or a table")
            }

            fn visit_str<E: de::Error>(self, url: &str) -> Result<RemoteSettings, E> {
                let (connect, binary, token_file, tls) = (None, None, None, None);
                let (url, fallback, retries) = (url.to_owned(), false, RETRIES);
                Ok(RemoteSettings { url, fallback, retries, connect, binary, token_file, tls })
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<RemoteSettings, A::Error> {
                Table::deserialize(MapAccessDeserializer::new(map)).map(RemoteSettings::from)
            }
        }
        deserializer.deserialize_any(Either)
    }
}

impl RemoteSettings {
    pub(in crate::model) fn check(&self, deadline: Duration, add: &mut impl FnMut(&str, String)) {
        let address = match Address::parse(&self.url) {
            Ok(address) => address,
            Err(message) => return add("runtime.remote", message),
        };
        if address.scheme.is_encrypted() && self.tls.is_none() {
            add(
                "runtime.remote.tls",
                "missing; say whom to believe: tls = { ca_file = \"/etc/andon/ca.pem\" }".into(),
            );
        }
        if !address.scheme.is_encrypted() {
            if self.tls.is_some() {
                let word = address.scheme.encrypted();
                add("runtime.remote.tls", format!("goes with {word}://; write it in the address"));
            }
            if self.token_file.is_some() && !address.is_loopback() {
                let word = address.scheme.encrypted();
                let message = format!("everyone on the way could read the token; write {word}://");
                add("runtime.remote.token_file", message);
            }
        }
        let tls = self.tls.iter().flat_map(Tls::files);
        for file in tls.chain(&self.token_file).filter(|file| !file.is_absolute()) {
            let message = format!(
                "{}: write the whole path, such as /etc/andon/ca.pem; it is no part of the model",
                file.display()
            );
            add("runtime.remote", message);
        }
        if deadline.is_zero() {
            add("runtime.deadline", "0 s; a server needs some time to answer".into());
        }
        if self.connect.is_some_and(|connect| connect.is_zero() || connect > deadline) {
            add("runtime.remote.connect", "expected more than 0 s, and at most `deadline`".into());
        }
        if self.retries > MOST_RETRIES {
            let message = format!("{} is not between 0 and {MOST_RETRIES}", self.retries);
            add("runtime.remote.retries", message);
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scheme {
    Http,
    Https,
    Grpc,
    Grpcs,
}

impl Scheme {
    pub(super) const fn is_encrypted(self) -> bool {
        matches!(self, Self::Https | Self::Grpcs)
    }

    pub(super) const fn is_grpc(self) -> bool {
        matches!(self, Self::Grpc | Self::Grpcs)
    }

    const fn encrypted(self) -> &'static str {
        match self {
            Self::Http | Self::Https => "https",
            Self::Grpc | Self::Grpcs => "grpcs",
        }
    }
}

/// A model on a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) scheme: Scheme,
    /// Host and port, as in the URL.
    pub(super) authority: String,
    /// What stands before `/v2`.
    pub(super) prefix: String,
    pub(super) model: String,
    pub(super) version: Option<String>,
}

impl Address {
    pub(super) fn parse(url: &str) -> Result<Self, String> {
        const FORM: &str = "write http://HOST:PORT/v2/models/NAME or grpc://HOST:PORT/v2/models/NAME, with \
             /versions/V where one is meant";
        let wrong = || format!("`{url}` is no model of a server; {FORM}");
        let (scheme, rest) = url.split_once("://").ok_or_else(wrong)?;
        let scheme = match scheme {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            "grpc" => Scheme::Grpc,
            "grpcs" => Scheme::Grpcs,
            _ => return Err(wrong()),
        };
        if rest.contains('@') {
            return Err("an address holds no password; write `token_file`".into());
        }
        let plain = |c: char| c.is_ascii_graphic() && !"?#\"\\<>".contains(c);
        let (authority, path) = rest.split_once('/').ok_or_else(wrong)?;
        if authority.is_empty() || !rest.chars().all(plain) {
            return Err(wrong());
        }
        let path = format!("/{path}");
        let (prefix, model) = path.split_once("/v2/models/").ok_or_else(wrong)?;
        let (model, version) = match model.split_once("/versions/") {
            Some((model, version)) => (model, Some(version)),
            None => (model, None),
        };
        let part = |part: &str| !part.is_empty() && !part.contains('/');
        if !part(model) || !version.is_none_or(part) {
            return Err(wrong());
        }
        if scheme.is_grpc() && !prefix.is_empty() {
            return Err(format!("`{url}`: gRPC has no paths; leave out what stands before /v2"));
        }
        let port = authority.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
        if scheme.is_grpc() && port.is_none() {
            return Err(format!("`{url}`: gRPC has no usual port; write HOST:PORT"));
        }
        Ok(Self {
            scheme,
            authority: authority.into(),
            prefix: prefix.into(),
            model: model.into(),
            version: version.map(Into::into),
        })
    }

    pub(super) fn host(&self) -> &str {
        match self.authority.strip_prefix('[') {
            Some(rest) => rest.split(']').next().unwrap_or_default(),
            None => self.authority.split(':').next().unwrap_or_default(),
        }
    }

    /// The token stays on this box.
    fn is_loopback(&self) -> bool {
        let host = self.host();
        host == "localhost"
            || host.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct Holder {
        remote: RemoteSettings,
    }

    fn problems(text: &str) -> Vec<String> {
        let holder: Holder = toml::from_str(text).unwrap();
        let mut found = Vec::new();
        holder.remote.check(Duration::from_secs(1), &mut |key, message| {
            found.push(format!("{key}: {message}"));
        });
        found
    }

    #[test]
    fn an_address_names_server_model_and_version() {
        let address = Address::parse("https://plant:8443/serving/v2/models/x/versions/3").unwrap();
        assert_eq!(
            (address.authority.as_str(), address.prefix.as_str()),
            ("plant:8443", "/serving")
        );
        assert_eq!((address.model.as_str(), address.version.as_deref()), ("x", Some("3")));
        let address = Address::parse("grpc://[::1]:8001/v2/models/x").unwrap();
        assert!(address.scheme.is_grpc() && !address.scheme.is_encrypted());
        assert_eq!((address.host(), address.authority.as_str()), ("::1", "[::1]:8001"));
        for wrong in [
            "plant:8000/v2/models/x",
            "ftp://plant/v2/models/x",
            "http://plant/v1/models/x",
            "http://plant/v2/models/",
            "http://plant/v2/models/x/infer",
            "http://plant/v2/models/x?y=1",
            "http:///v2/models/x",
            "http://me:secret@plant/v2/models/x",
            "grpc://plant/v2/models/x",
            "grpc://plant:http/v2/models/x",
            "grpc://plant:8001/serving/v2/models/x",
        ] {
            Address::parse(wrong).unwrap_err();
        }
    }

    #[test]
    fn an_address_alone_is_enough() {
        assert_eq!(problems("remote = \"http://plant:8000/v2/models/x\""), [""; 0]);
    }

    #[test]
    fn what_would_betray_or_mislead_is_refused() {
        let remote = |more: &str| problems(&format!("[remote]\n{more}"));
        let https = remote("url = \"https://plant/v2/models/x\"");
        assert!(https[0].starts_with("runtime.remote.tls: missing"), "{https:?}");
        let open = "url = \"http://plant/v2/models/x\"\ntoken_file = \"/etc/token\"";
        assert!(remote(open)[0].contains("could read the token; write https://"));
        let open = "url = \"grpc://plant:1/v2/models/x\"\ntoken_file = \"/etc/token\"";
        assert!(remote(open)[0].contains("could read the token; write grpcs://"));
        let grpcs = remote("url = \"grpcs://plant:1/v2/models/x\"");
        assert!(grpcs[0].starts_with("runtime.remote.tls: missing"), "{grpcs:?}");
        let own = "url = \"http://127.0.0.1:80/v2/models/x\"\ntoken_file = \"/etc/token\"";
        assert_eq!(remote(own), [""; 0]);
        let relative = "url = \"https://plant/v2/models/x\"\ntls = { ca_file = \"ca.pem\" }";
        assert!(remote(relative)[0].contains("write the whole path"));
        let late = "url = \"http://plant/v2/models/x\"\nconnect = \"2s\"\nretries = 11";
        assert_eq!(remote(late).len(), 2);
        let odd = toml::from_str::<Holder>("[remote]\nurl = \"x\"\nretry = 1").err().unwrap();
        assert!(odd.message().contains("unknown field `retry`"), "{odd}");
    }
}
