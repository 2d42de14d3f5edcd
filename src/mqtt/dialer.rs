//! A broker's settings, checked and in the form that connecting needs.

use std::path::PathBuf;
use std::time::Duration;

use super::address::{Address, AddressError, PasswordError, client_id, read_password};
use crate::message::Message;
use crate::settings::{Broker, Tls};

/// The protocol counts the keep alive in whole seconds, 16 bits of them.
const KEEP_ALIVE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(65_535));
/// Room for the topic and the properties beside the payload.
const HEADER_ROOM: u64 = 128 * 1024;
/// Payloads up to so many times the limit are taken in, so that they can be counted. What is
/// larger still the broker keeps to itself, because we tell it the largest packet.
const OVERSIZE: u64 = 16;
const LARGEST_PACKET: u64 = 256 << 20;

/// How to reach a broker; good for any number of links.
#[derive(Clone, Debug)]
pub(super) struct Dialer {
    pub(super) address: Address,
    pub(super) client_id: String,
    pub(super) username: Option<String>,
    /// With an encrypted address always.
    pub(super) tls: Option<Tls>,
    password_file: Option<PathBuf>,
    pub(super) keep_alive: Duration,
    /// Seconds.
    pub(super) session_expiry: u32,
    /// The largest packet that we take.
    pub(super) max_packet: u32,
    pub(super) role: Role,
}

#[derive(Clone, Debug)]
pub(super) enum Role {
    /// Confirms messages only when told to, and accepts so many unconfirmed ones.
    Ingest { receive_maximum: u16 },
    /// Confirms messages as they come.
    Egress { will: Option<Message> },
}

/// What keeps a broker's settings from being used.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    #[error(transparent)]
    Address(#[from] AddressError),
    #[error(transparent)]
    Password(#[from] PasswordError),
    #[error("`password_file` is set without `username`")]
    PasswordWithoutUser,
    #[error("`mqtts://` without `tls`: add tls = {{ ca_file = \"…\" }}")]
    NoTls,
    #[error("`receive_maximum` is 0; write 1 to 65535")]
    ReceiveMaximum,
    #[error(
        "`{0}` is not a command filter: it wants one `+` for the asset, one for the prediction"
    )]
    CommandFilter(String),
}

impl Dialer {
    pub(super) fn new(broker: &Broker, site: &str, role: Role) -> Result<Self, BrokerError> {
        if broker.password_file.is_some() && broker.username.is_none() {
            return Err(BrokerError::PasswordWithoutUser);
        }
        if broker.receive_maximum == 0 {
            return Err(BrokerError::ReceiveMaximum);
        }
        let suffix = match role {
            Role::Ingest { .. } => "-in",
            Role::Egress { .. } => "-out",
        };
        let max_packet = broker.max_payload.as_u64().saturating_mul(OVERSIZE);
        let max_packet = max_packet.saturating_add(HEADER_ROOM).min(LARGEST_PACKET);
        let address = Address::parse(&broker.url)?;
        if address.encrypted && broker.tls.is_none() {
            return Err(BrokerError::NoTls);
        }
        let dialer = Self {
            client_id: client_id(broker, site, suffix),
            username: broker.username.clone(),
            tls: broker.tls.clone().filter(|_| address.encrypted),
            password_file: broker.password_file.clone(),
            keep_alive: broker.keep_alive.clamp(KEEP_ALIVE.0, KEEP_ALIVE.1),
            session_expiry: u32::try_from(broker.session_expiry.as_secs()).unwrap_or(u32::MAX),
            max_packet: u32::try_from(max_packet).unwrap_or(u32::MAX),
            role,
            address,
        };
        dialer.password()?;
        Ok(dialer)
    }

    /// Read anew for every link, so that a changed password needs no restart.
    pub(super) fn password(&self) -> Result<Option<String>, PasswordError> {
        self.password_file.as_deref().map(read_password).transpose()
    }
}
