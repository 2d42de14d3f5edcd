//! The Modbus room against servers in this process: a real one and a scripted, faulty one.
#![expect(clippy::unwrap_used, reason = "these are tests, helpers included")]

mod bus;
mod cpu;
mod faults;
mod lines;
mod maps;
mod reads;
mod server;
mod support;
mod tls;
