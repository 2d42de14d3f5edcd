//! One connection to one endpoint, and one read at a time over it.
//!
//! [`Link::read`] takes the link and gives it back only after an answer that belongs to the
//! request. After a timeout or a protocol error it is gone, and with it any late answer.

use std::io;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_modbus::client::{Client as _, Context, tcp};
use tokio_modbus::slave::SlaveContext as _;
use tokio_modbus::{Error, ExceptionCode, ProtocolError, Response, Slave};

use crate::decode::registers::Table;

use super::Endpoint;
use super::plan::{Answer, Request};

#[derive(Debug, thiserror::Error)]
pub(crate) enum LinkError {
    #[error("no connection: {0}")]
    Connect(io::Error),
    #[error("no answer within {}", humantime::format_duration(*.0))]
    Timeout(Duration),
    #[error("the connection was closed ({0})")]
    Closed(io::ErrorKind),
    #[error("the answer is not one: {0}")]
    Protocol(String),
}

pub(crate) struct Link {
    context: Context,
    answers: u64,
}

impl Link {
    pub(crate) async fn connect(endpoint: &Endpoint, limit: Duration) -> Result<Self, LinkError> {
        let Endpoint::Tcp { host, port } = endpoint;
        let stream = timeout(limit, TcpStream::connect((host.as_str(), *port)))
            .await
            .map_err(|_| LinkError::Connect(io::ErrorKind::TimedOut.into()))?
            .map_err(LinkError::Connect)?;
        stream.set_nodelay(true).map_err(LinkError::Connect)?;
        Ok(Self { context: tcp::attach(stream), answers: 0 })
    }

    /// A device may close a connection that was idle; one that never answered is another matter.
    pub(crate) fn has_answered(&self) -> bool {
        self.answers > 0
    }

    /// Asks `unit` and waits `limit` for its answer, which is data or an exception.
    pub(crate) async fn read(
        mut self,
        unit: u8,
        request: &Request,
        limit: Duration,
    ) -> Result<(Self, Result<Answer, ExceptionCode>), LinkError> {
        self.context.set_slave(Slave(unit));
        let called = timeout(limit, self.context.call(wire(request)))
            .await
            .map_err(|_| LinkError::Timeout(limit))?;
        let answer = match called.map_err(classify)? {
            Ok(response) => Ok(check(request, response)?),
            Err(exception) => Err(exception),
        };
        self.answers += 1;
        Ok((self, answer))
    }
}

/// The only place that builds requests. All four of them read.
fn wire(request: &Request) -> tokio_modbus::Request<'static> {
    let (start, count) = (request.start, request.count);
    match request.table {
        Table::Coil => tokio_modbus::Request::ReadCoils(start, count),
        Table::Discrete => tokio_modbus::Request::ReadDiscreteInputs(start, count),
        Table::Input => tokio_modbus::Request::ReadInputRegisters(start, count),
        Table::Holding => tokio_modbus::Request::ReadHoldingRegisters(start, count),
    }
}

/// The library matches transaction, unit and function, but not how much was answered.
fn check(request: &Request, response: Response) -> Result<Answer, LinkError> {
    let count = usize::from(request.count);
    let (expected, got, answer) = match (request.table, response) {
        (Table::Coil, Response::ReadCoils(bits))
        | (Table::Discrete, Response::ReadDiscreteInputs(bits)) => {
            (count.next_multiple_of(8), bits.len(), Answer::Bits(bits))
        }
        (Table::Input, Response::ReadInputRegisters(words))
        | (Table::Holding, Response::ReadHoldingRegisters(words)) => {
            (count, words.len(), Answer::Registers(words))
        }
        _ => return Err(LinkError::Protocol("it is for another function".into())),
    };
    if got == expected {
        Ok(answer)
    } else {
        Err(LinkError::Protocol(format!("it holds {got} values instead of {expected}")))
    }
}

fn classify(error: Error) -> LinkError {
    match error {
        Error::Protocol(ProtocolError::HeaderMismatch { message, .. }) => {
            LinkError::Protocol(format!("it is for another request or unit, {message}"))
        }
        Error::Protocol(ProtocolError::FunctionCodeMismatch { .. }) => {
            LinkError::Protocol("it is for another function".into())
        }
        // An orderly close is reported by the library with whatever the last system error was.
        Error::Transport(error) if error.raw_os_error().is_some() => {
            LinkError::Closed(match error.kind() {
                kind @ (io::ErrorKind::ConnectionReset
                | io::ErrorKind::BrokenPipe
                | io::ErrorKind::ConnectionAborted
                | io::ErrorKind::TimedOut) => kind,
                _ => io::ErrorKind::UnexpectedEof,
            })
        }
        Error::Transport(error) => LinkError::Protocol(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_four_functions_that_read_are_sent() {
        let functions = Table::ALL.map(|table| {
            let request = Request { table, start: 0, count: 1, readings: Vec::new() };
            wire(&request).function_code().value()
        });
        assert_eq!(functions, [1, 2, 4, 3]);
    }
}
