//! Twenty Modbus TCP slaves of fifty float32 values, polled ten times a second.

use std::time::Duration;

use tokio_modbus::prelude::*;
use tokio_modbus::server::tcp::{Server, accept_tcp_connection};

use super::daemon::{self, Daemon, Usage};
use super::{SECONDS, figure};

const SLAVES: usize = 20;
const VALUES: usize = 50;

#[derive(Clone)]
struct Slave;

impl tokio_modbus::server::Service for Slave {
    type Request = Request<'static>;
    type Response = Response;
    type Exception = ExceptionCode;
    type Future = std::future::Ready<Result<Response, ExceptionCode>>;

    fn call(&self, request: Request<'static>) -> Self::Future {
        std::future::ready(match request {
            Request::ReadHoldingRegisters(start, count) => {
                let word = |address: u16| if address.is_multiple_of(2) { 0x41C8 } else { address };
                Ok(Response::ReadHoldingRegisters((start..start + count).map(word).collect()))
            }
            _ => Err(ExceptionCode::IllegalFunction),
        })
    }
}

pub(crate) fn run() -> anyhow::Result<()> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let mut ports = Vec::new();
    for _ in 0..SLAVES {
        let listener = runtime.block_on(tokio::net::TcpListener::bind(("127.0.0.1", 0)))?;
        ports.push(listener.local_addr()?.port());
        let server = Server::new(listener);
        runtime.spawn(async move {
            let connected = |stream, address| async move {
                accept_tcp_connection(stream, address, |_| Ok(Some(Slave)))
            };
            server.serve(&connected, |error| eprintln!("slave: {error}")).await
        });
    }
    let daemon = Daemon::start(&daemon::modbus_config(&ports, VALUES))?;
    let before = daemon.usage()?;
    std::thread::sleep(Duration::from_secs(SECONDS));
    let used = Usage::between(&before, &daemon.usage()?);
    let name = "modbus-20x50-10hz";
    figure(name, "stored", used.stored as f64 / SECONDS as f64, "values/s");
    figure(name, "cpu", used.cpu_us / used.stored as f64, "us/value");
    figure(name, "written", used.written as f64 / used.stored as f64, "bytes/value");
    daemon.stop()
}
