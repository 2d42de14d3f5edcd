//! The bytes of a link, plain or encrypted, as one type.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

#[derive(Debug)]
pub(super) enum Stream {
    Plain(TcpStream),
    Tls {
        stream: Box<TlsStream<TcpStream>>,
        /// Written and encrypted, and perhaps not on its way yet.
        unflushed: bool,
    },
}

impl From<TcpStream> for Stream {
    fn from(stream: TcpStream) -> Self {
        Self::Plain(stream)
    }
}

impl From<TlsStream<TcpStream>> for Stream {
    fn from(stream: TlsStream<TcpStream>) -> Self {
        Self::Tls { stream: Box::new(stream), unflushed: false }
    }
}

impl Stream {
    /// Writes all of `output`; pending while some is left.
    pub(super) fn poll_send(
        &mut self,
        output: &mut BytesMut,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while !output.is_empty() {
            let written = match self {
                Self::Plain(stream) => ready!(Pin::new(stream).poll_write(cx, output))?,
                Self::Tls { stream, unflushed } => {
                    let written = ready!(Pin::new(&mut **stream).poll_write(cx, output))?;
                    *unflushed = true;
                    written
                }
            };
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            output.advance(written);
        }
        if let Self::Tls { stream, unflushed } = self
            && *unflushed
        {
            ready!(Pin::new(&mut **stream).poll_flush(cx))?;
            *unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Writes what goes at once. Who waits for the rest polls again.
    pub(super) fn send_now(&mut self, output: &mut BytesMut) -> io::Result<()> {
        match self.poll_send(output, &mut Context::from_waker(Waker::noop())) {
            Poll::Ready(sent) => sent,
            Poll::Pending => Ok(()),
        }
    }

    /// Ends the way out.
    pub(super) fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls { stream, .. } => Pin::new(&mut **stream).poll_shutdown(cx),
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Tls { stream, .. } => Pin::new(&mut **stream).poll_read(cx, buffer),
        }
    }
}
