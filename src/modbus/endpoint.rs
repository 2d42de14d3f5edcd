//! Where a device is reached, and which devices share the way to it.

use std::fmt;
use std::str::FromStr;

use super::frame::Framing;
use crate::settings::ModbusDevice;

const PORT: u16 = 502;
const TLS_PORT: u16 = 802;

/// The way to one or more units.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Endpoint {
    /// `tcp://`. `host` is a name or an IP address, without brackets.
    Tcp { host: String, port: u16 },
    /// `tls://`: Modbus/TCP Security.
    Tls { host: String, port: u16 },
    /// `rtu+tcp://`: a serial line behind a converter that passes its bytes on as they are.
    RtuOverTcp { host: String, port: u16 },
    /// `rtu://`: a serial line of this box, by its path.
    Serial { path: String },
}

impl Endpoint {
    pub const fn framing(&self) -> Framing {
        match self {
            Self::Tcp { .. } | Self::Tls { .. } => Framing::Tcp,
            Self::RtuOverTcp { .. } | Self::Serial { .. } => Framing::Rtu,
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, host, port) = match self {
            Self::Tcp { host, port } => ("tcp", host, port),
            Self::Tls { host, port } => ("tls", host, port),
            Self::RtuOverTcp { host, port } => ("rtu+tcp", host, port),
            Self::Serial { path } => return write!(f, "rtu://{path}"),
        };
        if host.contains(':') {
            write!(f, "{scheme}://[{host}]:{port}")
        } else {
            write!(f, "{scheme}://{host}:{port}")
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    #[error(
        "`{0}` is not a device address: write `tcp://10.0.0.5:502`, `tls://plc:802`, \
         `rtu+tcp://10.0.0.9:4001` or `rtu:///dev/serial/by-id/…`"
    )]
    Unreadable(String),
    #[error("`{0}` names no port: converters have no usual one, write `rtu+tcp://10.0.0.9:4001`")]
    NoPort(String),
    #[error("`{0}` is no path from the root: write `rtu:///dev/serial/by-id/…`, with three `/`")]
    NoPath(String),
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let owned = || text.to_owned();
        let unreadable = || EndpointError::Unreadable(owned());
        let (scheme, rest) = text.trim().split_once("://").ok_or_else(unreadable)?;
        if scheme == "rtu" {
            let is_path = rest.starts_with('/') && rest.len() > 1 && !rest.contains(['?', '#']);
            return match is_path {
                true => Ok(Self::Serial { path: rest.to_owned() }),
                false => Err(EndpointError::NoPath(owned())),
            };
        }
        let (host, port) = host_and_port(rest).ok_or_else(unreadable)?;
        match (scheme, port) {
            ("tcp", port) => Ok(Self::Tcp { host, port: port.unwrap_or(PORT) }),
            ("tls", port) => Ok(Self::Tls { host, port: port.unwrap_or(TLS_PORT) }),
            ("rtu+tcp", Some(port)) => Ok(Self::RtuOverTcp { host, port }),
            ("rtu+tcp", None) => Err(EndpointError::NoPort(owned())),
            _ => Err(unreadable()),
        }
    }
}

fn host_and_port(text: &str) -> Option<(String, Option<u16>)> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?,
        None => text.split_at(text.find(':').unwrap_or(text.len())),
    };
    let port = match port.strip_prefix(':') {
        Some(digits) => Some(digits.parse().ok().filter(|port| *port != 0)?),
        None if port.is_empty() => None,
        None => return None,
    };
    let odd = |c: char| c.is_whitespace() || "/@?#".contains(c);
    (!host.is_empty() && !host.contains(odd)).then(|| (host.to_owned(), port))
}

/// The devices by address, in the order of the configuration: each group shares one connection
/// and becomes one [`Poller`](super::Poller).
pub fn group(devices: &[ModbusDevice]) -> Vec<Vec<ModbusDevice>> {
    let mut groups: Vec<(String, Vec<ModbusDevice>)> = Vec::new();
    for device in devices {
        let way = device.address.parse::<Endpoint>();
        let key = way.map_or_else(|_| device.address.clone(), |way| way.to_string());
        match groups.iter_mut().find(|(known, _)| *known == key) {
            Some((_, members)) => members.push(device.clone()),
            None => groups.push((key, vec![device.clone()])),
        }
    }
    groups.into_iter().map(|(_, members)| share_line(members)).collect()
}

/// The line and the certificates are said by one device and hold for all on the way.
fn share_line(mut members: Vec<ModbusDevice>) -> Vec<ModbusDevice> {
    let serial = members.iter().find_map(|device| device.serial.clone());
    let tls = members.iter().find_map(|device| device.tls.clone());
    for device in &mut members {
        device.serial.clone_from(&serial);
        device.tls.clone_from(&tls);
    }
    members
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_scheme_a_host_and_a_port_or_a_path() {
        for (text, shown) in [
            ("tcp://10.0.0.5:502", "tcp://10.0.0.5:502"),
            ("tcp://plc.local", "tcp://plc.local:502"),
            ("tcp://[::1]:1502", "tcp://[::1]:1502"),
            ("tcp://[fe80::1]", "tcp://[fe80::1]:502"),
            ("tls://plc", "tls://plc:802"),
            ("rtu+tcp://10.0.0.9:4001", "rtu+tcp://10.0.0.9:4001"),
            ("rtu:///dev/serial/by-id/usb-FTDI-port0", "rtu:///dev/serial/by-id/usb-FTDI-port0"),
        ] {
            assert_eq!(text.parse::<Endpoint>().unwrap().to_string(), shown);
        }
        for text in ["10.0.0.5:502", "udp://plc", "tcp://", "tcp://a:b", "tcp://a:0", "tcp://a@b"] {
            let error = text.parse::<Endpoint>().unwrap_err().to_string();
            assert!(error.contains("`tcp://10.0.0.5:502`"), "{text}: {error}");
        }
        assert!(matches!("rtu+tcp://a".parse::<Endpoint>(), Err(EndpointError::NoPort(_))));
        assert!(matches!("rtu://ttyUSB0".parse::<Endpoint>(), Err(EndpointError::NoPath(_))));
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
            device("d", "rtu+tcp://10.0.0.5:502"),
        ]);
        let names: Vec<Vec<&str>> =
            groups.iter().map(|g| g.iter().map(|d| d.asset.as_str()).collect()).collect();
        assert_eq!(names, [vec!["a", "c"], vec!["b"], vec!["d"]]);
    }
}
