//! How each source is doing, written by its adapter and read by status and metrics.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed};

use crate::time::Timestamp;

#[derive(Debug)]
pub struct SourceHealth {
    /// As in the configuration: `mqtt:plant`, `modbus:press-3`.
    pub name: String,
    connected: AtomicBool,
    last_data: AtomicI64,
    messages: AtomicU64,
    connects: AtomicU64,
    errors: AtomicU64,
    last_error: Mutex<Option<String>>,
}

impl SourceHealth {
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            connected: AtomicBool::new(false),
            last_data: AtomicI64::new(i64::MIN),
            messages: AtomicU64::new(0),
            connects: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            last_error: Mutex::new(None),
        }
    }

    pub fn connected(&self) {
        self.connected.store(true, Relaxed);
        self.connects.fetch_add(1, Relaxed);
    }

    /// The link is down or the device answers wrongly.
    pub fn failed(&self, error: impl Into<String>) {
        self.connected.store(false, Relaxed);
        self.noted(error);
    }

    /// Something went wrong that the link survives, such as a Modbus exception.
    pub fn noted(&self, error: impl Into<String>) {
        self.errors.fetch_add(1, Relaxed);
        *self.last_error.lock().expect("no code panics while it holds the error") =
            Some(error.into());
    }

    /// `messages` MQTT messages or Modbus answers came in at `now`.
    pub fn heard(&self, now: Timestamp, messages: u64) {
        self.last_data.store(now.as_nanos(), Relaxed);
        self.messages.fetch_add(messages, Relaxed);
    }

    pub fn snapshot(&self) -> SourceSnapshot {
        let last_data = self.last_data.load(Relaxed);
        SourceSnapshot {
            name: self.name.clone(),
            connected: self.connected.load(Relaxed),
            last_data: (last_data != i64::MIN).then(|| Timestamp::from_nanos(last_data)),
            messages: self.messages.load(Relaxed),
            connects: self.connects.load(Relaxed),
            errors: self.errors.load(Relaxed),
            last_error: self
                .last_error
                .lock()
                .expect("no code panics while it holds the error")
                .clone(),
        }
    }
}

#[derive(Clone, Debug, serde::Serialize)]
pub struct SourceSnapshot {
    pub name: String,
    pub connected: bool,
    pub last_data: Option<Timestamp>,
    pub messages: u64,
    pub connects: u64,
    pub errors: u64,
    pub last_error: Option<String>,
}
