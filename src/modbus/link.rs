//! One connection to one endpoint, and one read at a time over it.
//!
//! [`Link::read`] takes the link and gives it back only after an answer that belongs to the
//! request. After a timeout or a protocol error it is gone, and with it any late answer; a line
//! is first listened to until it is silent.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use super::frame::{Answer, Asked, Exception, FrameError, Framing, Read};
use super::line::Line;
use super::transport::{Dialer, Stream};

/// Room for any answer.
const BUFFER: usize = 1024;
/// A line that has said nothing for so long has said its last; adapters gather bytes for 16 ms.
const SILENCE: Duration = Duration::from_millis(20);
/// A line that never falls silent is left all the same.
const LONGEST_DRAIN: Duration = Duration::from_millis(500);

#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    #[error("no connection: {0}")]
    Connect(io::Error),
    #[error("no answer within {}", humantime::format_duration(*.0))]
    Timeout(Duration),
    #[error("the connection was closed ({0})")]
    Closed(io::ErrorKind),
    #[error("the answer is not one: {0}")]
    Protocol(FrameError),
}

/// What a read over a link needs to know besides what to read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    pub(crate) unit: u8,
    pub(crate) limit: Duration,
    /// The unit's silence after its answer.
    pub(crate) pause: Duration,
}

pub(crate) struct Link {
    stream: Box<dyn Stream>,
    framing: Framing,
    gap: Duration,
    transaction: u16,
    buffer: Vec<u8>,
    /// No request before this.
    rest: Option<Instant>,
    answers: u64,
}

impl Link {
    pub(crate) async fn connect(dialer: &Dialer, limit: Duration) -> Result<Self, LinkError> {
        let line = Line::new(&dialer.endpoint, Some(&dialer.serial), Duration::ZERO);
        let stream = dialer.dial(limit).await.map_err(LinkError::Connect)?;
        Ok(Self {
            stream,
            framing: line.framing,
            gap: line.gap,
            transaction: 0,
            buffer: Vec::with_capacity(BUFFER),
            rest: (!line.gap.is_zero()).then(|| Instant::now() + line.gap),
            answers: 0,
        })
    }

    /// A device may close a connection that was idle; one that never answered is another matter.
    pub(crate) fn has_answered(&self) -> bool {
        self.answers > 0
    }

    /// Asks and waits for the answer, which is data or an exception.
    pub(crate) async fn read(
        mut self,
        read: Read,
        terms: Terms,
    ) -> Result<(Self, Result<Answer, Exception>), LinkError> {
        if let Some(rest) = self.rest.take() {
            sleep_until(rest).await;
        }
        let asked = Asked {
            framing: self.framing,
            transaction: self.next_transaction(),
            unit: terms.unit,
            read,
        };
        self.buffer.clear();
        let outcome = match timeout(terms.limit, self.converse(&asked)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(LinkError::Timeout(terms.limit)),
        };
        match outcome {
            Ok(answer) => {
                let rest = self.gap.max(terms.pause);
                self.rest = (!rest.is_zero()).then(|| Instant::now() + rest);
                self.answers += 1;
                Ok((self, answer))
            }
            Err(error) => {
                if self.framing == Framing::Rtu && !matches!(error, LinkError::Closed(_)) {
                    self.drain().await;
                }
                Err(error)
            }
        }
    }

    async fn converse(&mut self, asked: &Asked) -> Result<Result<Answer, Exception>, LinkError> {
        self.stream.write_all(&asked.frame()).await.map_err(|error| closed(&error))?;
        self.stream.flush().await.map_err(|error| closed(&error))?;
        loop {
            if self.stream.read_buf(&mut self.buffer).await.map_err(|error| closed(&error))? == 0 {
                return Err(LinkError::Closed(io::ErrorKind::UnexpectedEof));
            }
            match asked.find(&self.buffer).map_err(LinkError::Protocol)? {
                Some(answer) => return Ok(answer),
                None => continue,
            }
        }
    }

    /// Listens until the line is silent, so that the next one to open it hears no old answer.
    async fn drain(&mut self) {
        let end = Instant::now() + LONGEST_DRAIN;
        let mut waste = [0; BUFFER];
        loop {
            let silence = (Instant::now() + SILENCE.max(self.gap)).min(end);
            match timeout_at(silence, self.stream.read(&mut waste)).await {
                Ok(Ok(count)) if count > 0 && Instant::now() < end => {}
                _ => return,
            }
        }
    }

    /// Never 0, which a device that answers with an empty header would match.
    fn next_transaction(&mut self) -> u16 {
        self.transaction = self.transaction.checked_add(1).unwrap_or(1);
        self.transaction
    }
}

fn closed(error: &io::Error) -> LinkError {
    LinkError::Closed(error.kind())
}
