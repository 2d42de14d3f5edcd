//! Asks a device directly, for whoever brings it up.

use std::time::Duration;

use super::frame::{Answer, Exception, Read};
use super::link::{Link, LinkError, Terms};
use super::transport::Dialer;

/// A connection that is opened when needed and again after an error.
pub struct Probe {
    dialer: Dialer,
    limit: Duration,
    pause: Duration,
    link: Option<Link>,
}

impl Probe {
    /// Waits `limit` for each answer, and `pause` after it.
    pub fn new(dialer: Dialer, limit: Duration, pause: Duration) -> Self {
        Self { dialer, limit, pause, link: None }
    }

    /// One read. An error says that the unit did not answer, or not to this.
    pub async fn read(
        &mut self,
        unit: u8,
        read: Read,
    ) -> Result<Result<Answer, Exception>, LinkError> {
        let terms = Terms { unit, limit: self.limit, pause: self.pause };
        loop {
            let link = match self.link.take() {
                Some(link) => link,
                None => Link::connect(&self.dialer, self.limit).await?,
            };
            let stale = link.has_answered();
            match link.read(read, terms).await {
                Ok((link, answer)) => {
                    self.link = Some(link);
                    return Ok(answer);
                }
                // Many devices close a connection that was idle.
                Err(LinkError::Closed(_)) if stale => {}
                Err(error) => return Err(error),
            }
        }
    }
}
