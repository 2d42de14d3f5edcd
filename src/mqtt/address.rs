//! Where a broker is and as whom we go there.

use std::path::{Path, PathBuf};

use crate::settings::Broker;

/// A broker's address, from `mqtt://host:1883`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// A name or an address; IPv6 in brackets.
    pub host: String,
    pub port: u16,
    pub encrypted: bool,
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum AddressError {
    #[error("`{0}` is not a broker's address; write `mqtt://host:1883` or `mqtts://host:8883`")]
    Scheme(String),
    #[error("`{0}` names no host; write `mqtt://host:1883`")]
    Host(String),
    #[error("the port of `{0}` is not a number of 1 to 65535")]
    Port(String),
    #[error("put the user into `username` and the password into `password_file`, not into the URL")]
    UserInfo,
    #[error("`{0}` has something after the port; write `mqtt://host:1883`")]
    Path(String),
}

/// MQTT's registered ports.
const PORT: u16 = 1883;
const TLS_PORT: u16 = 8883;

impl Address {
    pub fn parse(url: &str) -> Result<Self, AddressError> {
        let owned = || url.to_owned();
        let (rest, encrypted) = match url.split_once("://") {
            Some(("mqtt", rest)) => (rest, false),
            Some(("mqtts", rest)) => (rest, true),
            _ => return Err(AddressError::Scheme(owned())),
        };
        if rest.contains('@') {
            return Err(AddressError::UserInfo);
        }
        let place = rest.strip_suffix('/').unwrap_or(rest);
        if place.contains(['/', '?', '#']) {
            return Err(AddressError::Path(owned()));
        }
        let port_at = place.rfind(':').filter(|colon| place.rfind(']') < Some(*colon));
        let (host, port) = match port_at {
            None => (place, if encrypted { TLS_PORT } else { PORT }),
            Some(colon) => {
                let port = place[colon + 1..].parse().ok().filter(|port| *port != 0);
                (&place[..colon], port.ok_or_else(|| AddressError::Port(owned()))?)
            }
        };
        let bracketed = host.starts_with('[') && host.ends_with(']');
        if host.is_empty() || host.contains(char::is_whitespace) || host.contains(':') != bracketed
        {
            return Err(AddressError::Host(owned()));
        }
        Ok(Self { host: host.to_owned(), port, encrypted })
    }
}

/// The configured client id, or `andon-<site>-<host>`, with `suffix` (`-in`, `-out`).
pub(super) fn client_id(broker: &Broker, site: &str, suffix: &str) -> String {
    let base = broker.client_id.clone().unwrap_or_else(|| {
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        format!("andon-{}-{}", plain(site), plain(host.trim()))
    });
    base + suffix
}

/// Only what every broker takes in a client id.
fn plain(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '-' };
    name.chars().map(plain).collect()
}

#[derive(Debug, thiserror::Error)]
#[error("the password file {path} cannot be read: {error}", path = path.display())]
pub struct PasswordError {
    pub path: PathBuf,
    pub error: std::io::Error,
}

/// The password alone, without the newline that editors put at the end.
pub(super) fn read_password(path: &Path) -> Result<String, PasswordError> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| PasswordError { path: path.to_owned(), error })?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Result<(String, u16), AddressError> {
        Address::parse(url).map(|address| (address.host, address.port))
    }

    #[test]
    fn host_and_port_are_read() {
        assert_eq!(parse("mqtt://broker"), Ok(("broker".into(), 1883)));
        assert_eq!(parse("mqtt://10.0.0.7:1884/"), Ok(("10.0.0.7".into(), 1884)));
        assert_eq!(parse("mqtt://[::1]:1884"), Ok(("[::1]".into(), 1884)));
        assert_eq!(parse("mqtts://broker"), Ok(("broker".into(), 8883)));
        assert_eq!(parse("mqtt://[::1]"), Ok(("[::1]".into(), 1883)));
    }

    #[test]
    fn wrong_addresses_say_what_to_write_instead() {
        assert!(parse("ssl://broker").unwrap_err().to_string().contains("mqtts://"));
        assert!(matches!(parse("broker:1883"), Err(AddressError::Scheme(_))));
        assert!(matches!(parse("http://broker"), Err(AddressError::Scheme(_))));
        assert!(matches!(parse("mqtt://:1883"), Err(AddressError::Host(_))));
        assert!(matches!(parse("mqtt://::1"), Err(AddressError::Host(_))));
        assert!(matches!(parse("mqtt://broker:mqtt"), Err(AddressError::Port(_))));
        assert!(matches!(parse("mqtt://broker:0"), Err(AddressError::Port(_))));
        assert!(matches!(parse("mqtt://broker/plant"), Err(AddressError::Path(_))));
        assert_eq!(parse("mqtt://me:secret@broker"), Err(AddressError::UserInfo));
    }

    #[test]
    fn a_client_id_holds_only_plain_characters() {
        assert_eq!(plain("Werk 7/Linie ü"), "Werk-7-Linie--");
    }
}
