//! The presses' PLC: a Modbus TCP server on a free port of the loopback interface.
//!
//! Unit 1 is `press-1`, and so on. Every unit has the same map:
//!
//! | register | value |
//! |---|---|
//! | holding 0, 1 | hydraulic pressure, bar, float32 ABCD |
//! | holding 2, 3 | stroke force, kN, float32 ABCD |
//! | input 0, 1 | oil temperature, degC, float32 ABCD |
//! | input 10 | cycle time, hundredths of a second, int16 |
//!
//! Other addresses answer with exception 2, other functions with 1, other units with 11.

use std::future::{Ready, ready};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use tokio::net::{TcpListener, TcpStream};
use tokio_modbus::prelude::{ExceptionCode, Request, Response, SlaveRequest};
use tokio_modbus::server::Service;
use tokio_modbus::server::tcp::Server;
use tokio_util::sync::CancellationToken;

use super::plant::{PRESSES, Reading};

/// Word address of each value.
pub const HOLDING_PRESSURE: u16 = 0;
pub const HOLDING_FORCE: u16 = 2;
pub const INPUT_OIL_TEMPERATURE: u16 = 0;
pub const INPUT_CYCLE_TIME: u16 = 10;
/// Seconds a count.
pub const CYCLE_TIME_SCALE: f64 = 0.01;

const HOLDINGS: usize = 4;
const INPUTS: usize = 11;

/// The registers of all presses. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Plc(Arc<Mutex<[Registers; PRESSES.len()]>>);

#[derive(Clone, Copy, Debug, Default)]
struct Registers {
    holding: [u16; HOLDINGS],
    input: [u16; INPUTS],
}

impl Plc {
    /// Takes over the presses' share of `readings`.
    pub fn update(&self, readings: &[Reading]) {
        let mut presses = self.0.lock().expect("no code panics while it holds the registers");
        for reading in readings {
            let Some(at) = PRESSES.iter().position(|name| *name == reading.asset) else {
                continue;
            };
            let Registers { holding, input } = &mut presses[at];
            match reading.tag {
                "hydraulic_pressure" => put_f32(holding, HOLDING_PRESSURE, reading.value),
                "stroke_force" => put_f32(holding, HOLDING_FORCE, reading.value),
                "oil_temperature" => put_f32(input, INPUT_OIL_TEMPERATURE, reading.value),
                "cycle_time" => {
                    input[usize::from(INPUT_CYCLE_TIME)] = counts(reading.value / CYCLE_TIME_SCALE);
                }
                _ => {}
            }
        }
    }

    /// Serves the registers until `stop`. Returns the address at once.
    pub async fn serve(&self, stop: CancellationToken) -> io::Result<SocketAddr> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let plc = self.clone();
        tokio::spawn(async move {
            let on_connected = |stream: TcpStream, _| {
                let plc = plc.clone();
                async move {
                    stream.set_nodelay(true)?;
                    Ok(Some((plc, stream)))
                }
            };
            let on_error = |error| tracing::debug!(%error, "a client of the PLC went away");
            let server = Server::new(listener);
            tokio::select! {
                () = stop.cancelled() => {}
                served = server.serve(&on_connected, on_error) => if let Err(error) = served {
                    tracing::error!(%error, "the demonstration's PLC ended");
                }
            }
        });
        Ok(address)
    }

    fn answer(&self, unit: u8, request: &Request<'_>) -> Result<Response, ExceptionCode> {
        let at = usize::from(unit).checked_sub(1).ok_or(ExceptionCode::GatewayTargetDevice)?;
        let presses = self.0.lock().expect("no code panics while it holds the registers");
        let press = presses.get(at).ok_or(ExceptionCode::GatewayTargetDevice)?;
        match *request {
            Request::ReadHoldingRegisters(address, count) => {
                span(&press.holding, address, count).map(Response::ReadHoldingRegisters)
            }
            Request::ReadInputRegisters(address, count) => {
                span(&press.input, address, count).map(Response::ReadInputRegisters)
            }
            _ => Err(ExceptionCode::IllegalFunction),
        }
    }
}

impl Service for Plc {
    type Request = SlaveRequest<'static>;
    type Response = Response;
    type Exception = ExceptionCode;
    type Future = Ready<Result<Response, ExceptionCode>>;

    fn call(&self, request: Self::Request) -> Self::Future {
        ready(self.answer(request.slave, &request.request))
    }
}

fn span(registers: &[u16], address: u16, count: u16) -> Result<Vec<u16>, ExceptionCode> {
    let start = usize::from(address);
    registers
        .get(start..start + usize::from(count))
        .map(<[u16]>::to_vec)
        .ok_or(ExceptionCode::IllegalDataAddress)
}

#[expect(clippy::cast_possible_truncation, reason = "a sensor value fits f32")]
fn put_f32(registers: &mut [u16], address: u16, value: f64) {
    let [a, b, c, d] = (value as f32).to_be_bytes();
    let at = usize::from(address);
    registers[at] = u16::from_be_bytes([a, b]);
    registers[at + 1] = u16::from_be_bytes([c, d]);
}

#[expect(clippy::cast_possible_truncation, reason = "`as` keeps to the ends of i16")]
fn counts(value: f64) -> u16 {
    (value.round() as i16).cast_unsigned()
}
