//! Opens the way to an endpoint as one stream of bytes: TCP, TLS or a serial line.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_serial::{
    ClearBuffer, SerialPort as _, SerialPortBuilder, SerialPortBuilderExt as _, SerialStream,
};

use super::Endpoint;
use crate::settings::{ModbusDevice, Parity, SerialLine, Tls};
use crate::tls;

/// Any of the transports.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// How to reach an endpoint; good for any number of connections.
#[derive(Clone, Debug)]
pub struct Dialer {
    pub(crate) endpoint: Endpoint,
    pub(crate) serial: SerialLine,
    pub(crate) tls: Option<Tls>,
}

impl Dialer {
    /// The way to `device`; its address has been checked.
    pub fn of(device: &ModbusDevice) -> Option<Self> {
        Some(Self {
            endpoint: device.address.parse().ok()?,
            serial: device.serial.clone().unwrap_or_default(),
            tls: device.tls.clone(),
        })
    }

    pub(crate) async fn dial(&self, limit: Duration) -> io::Result<Box<dyn Stream>> {
        match &self.endpoint {
            Endpoint::Tcp { host, port } | Endpoint::RtuOverTcp { host, port } => {
                Ok(Box::new(tcp(host, *port, limit).await?))
            }
            Endpoint::Tls { host, port } => {
                let tls = self.tls.as_ref().ok_or_else(|| invalid("`tls` is not set"))?;
                let stream = tcp(host, *port, limit).await?;
                let connected = timeout(limit, tls::connect(tls, host, stream)).await;
                let stream = connected
                    .map_err(|_| late())?
                    .map_err(|error| tls::explain(&error, tls).map_or(error, io::Error::other))?;
                Ok(Box::new(stream))
            }
            Endpoint::Serial { path } => Ok(Box::new(serial(path, &self.serial)?)),
        }
    }
}

async fn tcp(host: &str, port: u16, limit: Duration) -> io::Result<TcpStream> {
    let stream = timeout(limit, TcpStream::connect((host, port))).await.map_err(|_| late())??;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// The path is opened anew each time: behind a by-id link the port may have another number now.
fn serial(path: &str, line: &SerialLine) -> io::Result<SerialStream> {
    let port = port(path, line).open_native_async().map_err(|error| {
        let error = io::Error::from(error);
        io::Error::new(error.kind(), format!("{path}: {error}"))
    })?;
    port.clear(ClearBuffer::All).map_err(io::Error::from)?;
    Ok(port)
}

fn port(path: &str, line: &SerialLine) -> SerialPortBuilder {
    let parity = match line.parity {
        Parity::None => tokio_serial::Parity::None,
        Parity::Odd => tokio_serial::Parity::Odd,
        Parity::Even => tokio_serial::Parity::Even,
    };
    let stop_bits = match line.stop_bits {
        2 => tokio_serial::StopBits::Two,
        _ => tokio_serial::StopBits::One,
    };
    tokio_serial::new(path, line.baud)
        .data_bits(tokio_serial::DataBits::Eight)
        .parity(parity)
        .stop_bits(stop_bits)
}

fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, error)
}

fn late() -> io::Error {
    io::ErrorKind::TimedOut.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_gets_every_setting_of_its_line() {
        use tokio_serial::{DataBits, Parity, StopBits};
        let line = |text: &str| port("/dev/ttyS0", &toml::from_str(text).unwrap());
        let wanted = |baud, parity, stop_bits| {
            let port = tokio_serial::new("/dev/ttyS0", baud).data_bits(DataBits::Eight);
            port.parity(parity).stop_bits(stop_bits)
        };
        assert_eq!(line(""), wanted(19_200, Parity::Even, StopBits::One));
        let text = "baud = 9600\nparity = \"none\"\nstop_bits = 2";
        assert_eq!(line(text), wanted(9_600, Parity::None, StopBits::Two));
        let text = "baud = 115200\nparity = \"odd\"\ndata_bits = 8";
        assert_eq!(line(text), wanted(115_200, Parity::Odd, StopBits::One));
    }
}
