//! Where clients come in: a port of the network, with TLS or without, or a socket in the file
//! system.

use std::fs::{self, Permissions};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream as Probe;
use std::path::{Path, PathBuf};

use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use crate::message::Peer;
use crate::settings::{HttpSettings, Listen};
use crate::tls::{Acceptor, TlsError};

/// The daemon's user and its group; whoever is in neither has nothing to ask there.
const MODE: u32 = 0o660;

/// Why nobody can be let in.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    #[error("cannot listen on {listen}: {source}; set `http.listen` to a free address")]
    Taken { listen: Listen, source: io::Error },
    #[error("`http.tls`: {0}")]
    Tls(#[from] TlsError),
}

/// What clients connect to.
#[derive(Debug)]
pub enum Listener {
    Port { listener: TcpListener, tls: Option<Acceptor> },
    Socket(Socket),
}

/// A socket whose file goes with it.
#[derive(Debug)]
pub struct Socket {
    listener: UnixListener,
    file: PathBuf,
    inode: u64,
}

/// Somebody who has connected and said nothing yet.
#[derive(Debug)]
pub(super) enum Guest {
    Port(TcpStream),
    Socket(UnixStream),
}

/// `None` where the settings name no place.
pub async fn bind(settings: &HttpSettings) -> Result<Option<Listener>, ListenError> {
    let Some(listen) = &settings.listen else { return Ok(None) };
    let bound = match listen {
        Listen::Port(address) => {
            let tls = settings.tls.clone().map(Acceptor::new).transpose()?;
            TcpListener::bind(address).await.map(|listener| Listener::Port { listener, tls })
        }
        Listen::Socket(file) => Socket::bind(file).map(Listener::Socket),
    };
    bound.map(Some).map_err(|source| ListenError::Taken { listen: listen.clone(), source })
}

impl Listener {
    /// The port's address.
    pub fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Port { listener, .. } => listener.local_addr().ok(),
            Self::Socket(_) => None,
        }
    }

    /// As `andon status --url` takes it.
    pub fn url(&self) -> String {
        match self {
            Self::Socket(socket) => format!("unix:{}", socket.file.display()),
            Self::Port { tls, .. } => {
                let scheme = if tls.is_some() { "https" } else { "http" };
                self.address().map_or_else(String::new, |address| format!("{scheme}://{address}"))
            }
        }
    }

    pub(super) async fn accept(&self) -> io::Result<(Guest, Peer)> {
        match self {
            Self::Port { listener, .. } => {
                let (stream, address) = listener.accept().await?;
                // Small answers leave at once.
                let _slower_without = stream.set_nodelay(true);
                Ok((Guest::Port(stream), Peer::Address(address)))
            }
            Self::Socket(socket) => {
                let (stream, _) = socket.listener.accept().await?;
                let peer = stream.peer_cred().map_or(Peer::Unknown, |user| Peer::User(user.uid()));
                Ok((Guest::Socket(stream), peer))
            }
        }
    }

    pub(super) fn tls(&self) -> Option<&Acceptor> {
        match self {
            Self::Port { tls, .. } => tls.as_ref(),
            Self::Socket(_) => None,
        }
    }
}

impl Socket {
    fn bind(file: &Path) -> io::Result<Self> {
        clear(file)?;
        let listener = UnixListener::bind(file)?;
        fs::set_permissions(file, Permissions::from_mode(MODE))?;
        let inode = fs::metadata(file)?.ino();
        Ok(Self { listener, file: file.to_owned(), inode })
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // Another daemon's that has come in the meantime stays.
        if fs::metadata(&self.file).is_ok_and(|data| data.ino() == self.inode) {
            let _gone = fs::remove_file(&self.file);
        }
    }
}

/// Takes away what a daemon left that was killed: a socket on which nobody answers.
fn clear(file: &Path) -> io::Result<()> {
    let Ok(data) = fs::symlink_metadata(file) else { return Ok(()) };
    if !data.file_type().is_socket() {
        return Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            "a file that is no socket lies there",
        ));
    }
    match Probe::connect(file) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(file),
        Err(error) => Err(error),
        Ok(_) => Err(io::Error::new(io::ErrorKind::AddrInUse, "another process listens there")),
    }
}
