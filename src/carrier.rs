//! What carries `ureq`'s bytes: a socket in the file system, or TLS as `tls.rs` makes it.
//!
//! So commands and model clients trust what the rest of the program trusts: the plant's authority.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use tokio::time::Instant;
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, Transport,
};

/// Where no limit is set, nothing waits for longer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Makes connections.
#[derive(Debug)]
pub enum Carrier {
    Socket(PathBuf),
    Tls {
        config: Arc<ClientConfig>,
        /// The name in the peer's certificate, where it is not the host of the address.
        name: Option<String>,
        /// A connection serves more than one request.
        keep: bool,
    },
}

impl Connector for Carrier {
    type Out = Carried;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        _before: Option<()>,
    ) -> Result<Option<Carried>, ureq::Error> {
        let stream = match self {
            Self::Socket(file) => Stream::Socket(UnixStream::connect(file)?),
            Self::Tls { config, name, .. } => {
                let host = details.uri.host().unwrap_or_default().trim_matches(['[', ']']);
                let name = name.as_deref().unwrap_or(host).to_owned();
                let name = ServerName::try_from(name)
                    .map_err(|_| ureq::Error::BadUri(details.uri.to_string()))?;
                let socket = reach(details)?;
                socket.set_nodelay(true)?;
                let client = ClientConnection::new(Arc::clone(config), name)
                    .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
                let timely = Timely { socket, end: None };
                Stream::Tls(Box::new(StreamOwned::new(client, timely)))
            }
        };
        let buffers = LazyBuffers::new(
            details.config.input_buffer_size(),
            details.config.output_buffer_size(),
        );
        Ok(Some(Carried { keep: matches!(self, Self::Tls { keep: true, .. }), stream, buffers }))
    }
}

/// The first address that takes the connection; all together have the time that there is.
fn reach(details: &ConnectionDetails<'_>) -> Result<TcpStream, ureq::Error> {
    let end = Instant::now() + wait(details.timeout).unwrap_or(PATIENCE);
    let mut last = ureq::Error::HostNotFound;
    for address in details.addrs.iter() {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ureq::Error::Timeout(details.timeout.reason));
        }
        match timely(TcpStream::connect_timeout(address, left), details.timeout) {
            Ok(socket) => return Ok(socket),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn wait(limit: NextTimeout) -> Option<Duration> {
    limit.not_zero().map(|wait| *wait)
}

enum Stream {
    Socket(UnixStream),
    Tls(Box<StreamOwned<ClientConnection, Timely>>),
}

/// A socket that gives up at a time, however often it is read meanwhile: a handshake is many
/// reads, and a peer that sends a byte now and then would hold it for ever.
struct Timely {
    socket: TcpStream,
    end: Option<Instant>,
}

impl Timely {
    fn left(&self) -> io::Result<Option<Duration>> {
        let Some(end) = self.end else { return Ok(None) };
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(Some(left)) }
    }
}

impl Read for Timely {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.socket.set_read_timeout(self.left()?)?;
        self.socket.read(buffer)
    }
}

impl Write for Timely {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.socket.set_write_timeout(self.left()?)?;
        self.socket.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.socket.flush()
    }
}

impl Stream {
    fn limit(&mut self, wait: Option<Duration>) -> io::Result<()> {
        match self {
            Self::Socket(stream) => {
                stream.set_read_timeout(wait)?;
                stream.set_write_timeout(wait)
            }
            Self::Tls(stream) => {
                stream.sock.end = wait.map(|wait| Instant::now() + wait);
                Ok(())
            }
        }
    }

    fn bytes(&mut self) -> &mut dyn Duplex {
        match self {
            Self::Socket(stream) => stream,
            Self::Tls(stream) => stream.as_mut(),
        }
    }
}

trait Duplex: Read + Write {}

impl<T: Read + Write> Duplex for T {}

/// Bytes both ways, with a limit to each wait.
pub struct Carried {
    stream: Stream,
    buffers: LazyBuffers,
    keep: bool,
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
        self.stream.limit(wait(limit))?;
        let bytes = self.stream.bytes();
        let sent = bytes.write_all(&self.buffers.output()[..amount]);
        timely(sent.and_then(|()| bytes.flush()), limit)
    }

    fn await_input(&mut self, limit: NextTimeout) -> Result<bool, ureq::Error> {
        self.stream.limit(wait(limit))?;
        let read = timely(self.stream.bytes().read(self.buffers.input_append_buf()), limit)?;
        self.buffers.input_appended(read);
        Ok(read > 0)
    }

    /// Nothing waits to be read, as it would on a connection that the peer has closed.
    fn is_open(&mut self) -> bool {
        let Stream::Tls(stream) = &self.stream else { return false };
        let socket = &stream.sock.socket;
        let quiet = || {
            socket.set_nonblocking(true)?;
            let peeked = socket.peek(&mut [0]);
            socket.set_nonblocking(false)?;
            peeked
        };
        self.keep
            && quiet().is_err_and(|error: io::Error| error.kind() == io::ErrorKind::WouldBlock)
    }

    fn is_tls(&self) -> bool {
        matches!(self.stream, Stream::Tls(_))
    }
}
