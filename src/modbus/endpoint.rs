//! Where a device is reached, and which devices share the way to it.

use std::fmt;
use std::str::FromStr;

use crate::settings::ModbusDevice;

const DEFAULT_PORT: u16 = 502;

/// The way to one or more units. Serial lines will be another variant.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Endpoint {
    /// `host` is a name or an IP address, without brackets.
    Tcp { host: String, port: u16 },
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "tcp://[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "tcp://{host}:{port}"),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a device address: write `tcp://` and a host, such as `tcp://10.0.0.5:502`")]
pub struct EndpointError(String);

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        parse(text).ok_or_else(|| EndpointError(text.into()))
    }
}

fn parse(text: &str) -> Option<Endpoint> {
    let rest = text.trim().strip_prefix("tcp://")?;
    let (host, port) = match rest.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?,
        None => rest.split_at(rest.find(':').unwrap_or(rest.len())),
    };
    let port = match port.strip_prefix(':') {
        Some(digits) => digits.parse().ok().filter(|port| *port != 0)?,
        None if port.is_empty() => DEFAULT_PORT,
        None => return None,
    };
    let odd = |c: char| c.is_whitespace() || "/@?#".contains(c);
    (!host.is_empty() && !host.contains(odd)).then(|| Endpoint::Tcp { host: host.into(), port })
}

/// The devices by TCP address, in the order of the configuration: each group shares one
/// connection and becomes one [`Poller`](super::Poller).
pub fn group(devices: &[ModbusDevice]) -> Vec<Vec<ModbusDevice>> {
    let key = |device: &ModbusDevice| {
        parse(&device.address).map_or_else(|| device.address.clone(), |way| way.to_string())
    };
    let mut groups: Vec<(String, Vec<ModbusDevice>)> = Vec::new();
    for device in devices {
        let key = key(device);
        match groups.iter_mut().find(|(known, _)| *known == key) {
            Some((_, members)) => members.push(device.clone()),
            None => groups.push((key, vec![device.clone()])),
        }
    }
    groups.into_iter().map(|(_, members)| members).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_host_and_a_port() {
        for (text, shown) in [
            ("tcp://10.0.0.5:502", "tcp://10.0.0.5:502"),
            ("tcp://plc.local", "tcp://plc.local:502"),
            ("tcp://[::1]:1502", "tcp://[::1]:1502"),
            ("tcp://[fe80::1]", "tcp://[fe80::1]:502"),
        ] {
            assert_eq!(text.parse::<Endpoint>().unwrap().to_string(), shown);
        }
        for text in ["10.0.0.5:502", "rtu:///dev/ttyUSB0", "tcp://", "tcp://a:b", "tcp://a:0"] {
            let error = text.parse::<Endpoint>().unwrap_err().to_string();
            assert!(error.contains("`tcp://10.0.0.5:502`"), "{text}: {error}");
        }
    }

    #[test]
    fn devices_behind_one_address_share_a_poller() {
        let device = |asset: &str, address: &str| -> ModbusDevice {
            toml::from_str(&format!("asset = \"{asset}\"\naddress = \"{address}\"")).unwrap()
        };
        let groups = group(&[
            device("a", "tcp://10.0.0.5"),
            device("b", "tcp://10.0.0.6:502"),
            device("c", "tcp://10.0.0.5:502"),
        ]);
        let names: Vec<Vec<&str>> =
            groups.iter().map(|g| g.iter().map(|d| d.asset.as_str()).collect()).collect();
        assert_eq!(names, [vec!["a", "c"], vec!["b"]]);
    }
}
