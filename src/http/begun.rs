//! A connection of which the first bytes have been looked at: they are given again.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

/// How every HTTP/2 connection begins.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

#[derive(Debug)]
pub(super) struct Begun<S> {
    first: [u8; PREFACE.len()],
    length: usize,
    given: usize,
    stream: S,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Begun<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { first: [0; PREFACE.len()], length: 0, given: 0, stream }
    }

    /// Reads until HTTP/1 can be told from HTTP/2; `false` where it ends before.
    pub(super) async fn tells_version(&mut self) -> bool {
        self.reads(|first| !PREFACE.starts_with(first) || first.len() == PREFACE.len()).await
    }

    /// The first byte of all; `None` where there is none.
    pub(super) async fn first(&mut self) -> Option<u8> {
        self.reads(|first| !first.is_empty()).await.then_some(self.first[0])
    }

    async fn reads(&mut self, enough: impl Fn(&[u8]) -> bool) -> bool {
        while self.length == 0 || !enough(&self.first[..self.length]) {
            match self.stream.read(&mut self.first[self.length..]).await {
                Ok(more) if more > 0 => self.length += more,
                _ => return false,
            }
        }
        true
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Begun<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.given == self.length {
            return Pin::new(&mut self.stream).poll_read(context, buffer);
        }
        let end = self.length.min(self.given + buffer.remaining());
        buffer.put_slice(&self.first[self.given..end]);
        self.given = end;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Begun<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
