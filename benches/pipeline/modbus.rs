//! Modbus TCP slaves: twenty of a hundred registers each, ten times a second, as a hundred values of
//! one register and as fifty of two; one with a thousand.

use std::time::Duration;

use tokio_modbus::prelude::*;
use tokio_modbus::server::tcp::{Server, accept_tcp_connection};

use super::daemon::{self, Daemon, Registers, Usage};
use super::{SECONDS, figure};

const SLAVES: usize = 20;
/// Of each of the twenty.
const REGISTERS: usize = 100;

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

/// Twenty slaves of a hundred whole numbers, read ten times a second.
pub(crate) fn many_registers() -> anyhow::Result<()> {
    poll("modbus-20x100-10hz", SLAVES, Registers { count: REGISTERS, kind: "i16" }, "100ms")
}

/// The same registers as fifty floats.
pub(crate) fn many_floats() -> anyhow::Result<()> {
    poll("modbus-20x50-10hz", SLAVES, Registers { count: REGISTERS / 2, kind: "f32" }, "100ms")
}

/// A thousand tags on one device.
pub(crate) fn many_tags() -> anyhow::Result<()> {
    poll("modbus-1x1000-1hz", 1, Registers { count: 1_000, kind: "f32" }, "1s")
}

fn poll(name: &str, slaves: usize, registers: Registers, interval: &str) -> anyhow::Result<()> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let mut ports = Vec::new();
    for _ in 0..slaves {
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
    let daemon = Daemon::start(&daemon::modbus_config(&ports, registers, interval))?;
    let before = daemon.usage()?;
    std::thread::sleep(Duration::from_secs(SECONDS));
    let used = Usage::between(&before, &daemon.usage()?);
    figure(name, "stored", used.stored as f64 / SECONDS as f64, "values/s");
    figure(name, "cpu", used.cpu_us / used.stored as f64, "us/value");
    figure(name, "written", used.written as f64 / used.stored as f64, "bytes/value");
    let total = |metric| anyhow::Ok(daemon.metric(metric)?.iter().map(|(_, sum)| sum).sum::<f64>());
    let polls = total("andon_polls_total")?;
    let requests = total("andon_poll_round_trip_seconds_count")?;
    figure(name, "requests", requests / polls, "per poll");
    figure(name, "skipped", total("andon_polls_skipped_total")?, "polls");
    let late = daemon.metric("andon_poll_lateness_seconds_bucket")?;
    let all = late.last().map_or(0.0, |(_, count)| *count);
    let p99 = late.iter().find(|(_, count)| *count >= 0.99 * all).map_or(f64::NAN, |(le, _)| *le);
    figure(name, "late_p99_at_most", p99 * 1e3, "ms");
    daemon.stop()
}
