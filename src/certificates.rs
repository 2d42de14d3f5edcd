//! How long the certificates of the links last: looked at every hour, told in the log weeks
//! before, on the board and as a metric.

use std::sync::Mutex;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::settings::{Settings, Tls};
use crate::time::Timestamp;
use crate::tls::{self, Certificate};

/// So long before its end a certificate is talked about.
const NOTICE: Duration = Duration::from_secs(30 * 24 * 3600);
const LOOK: Duration = Duration::from_secs(3600);
/// Between two lines in the log about the same.
const REPEAT: u32 = 24;

/// Those of one daemon.
#[derive(Debug, Default)]
pub struct Certificates {
    links: Vec<Tls>,
    seen: Mutex<Vec<Certificate>>,
}

/// What is the matter with a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Matter {
    NotYet,
    /// So long it lasts still.
    Ends(Duration),
    Ended,
}

impl Certificates {
    pub fn of(settings: &Settings) -> Self {
        let brokers = settings.broker.values().filter_map(|broker| broker.tls.clone());
        let devices = settings.modbus.iter().filter_map(|device| device.tls.clone());
        let mut links: Vec<Tls> = Vec::new();
        for link in brokers.chain(devices) {
            if !links.contains(&link) {
                links.push(link);
            }
        }
        let certificates = Self { links, seen: Mutex::default() };
        certificates.look();
        certificates
    }

    /// As of the last look.
    pub fn seen(&self) -> Vec<Certificate> {
        self.seen.lock().expect("no code panics while it holds the list").clone()
    }

    /// Those that a person should know of at `now`.
    pub fn matters(&self, now: Timestamp) -> Vec<(Certificate, Matter)> {
        let matter = |one: Certificate| Some((one.clone(), matter(&one, now)?));
        self.seen().into_iter().filter_map(matter).collect()
    }

    pub async fn watch(&self, token: CancellationToken) {
        let mut ticks = tokio::time::interval(LOOK);
        let mut looks = 0;
        while token.run_until_cancelled(ticks.tick()).await.is_some() {
            self.look();
            if looks % REPEAT == 0 {
                self.tell(Timestamp::now());
            }
            looks += 1;
        }
    }

    /// A file that cannot be read now is the links' affair; what was known of it is forgotten.
    fn look(&self) {
        let mut found: Vec<Certificate> = Vec::new();
        for one in self.links.iter().filter_map(|link| tls::certificates(link).ok()).flatten() {
            if !found.contains(&one) {
                found.push(one);
            }
        }
        *self.seen.lock().expect("no code panics while it holds the list") = found;
    }

    fn tell(&self, now: Timestamp) {
        for (certificate, matter) in self.matters(now) {
            let Certificate { file, subject, not_after, not_before } = certificate;
            let file = file.display();
            match matter {
                Matter::Ends(_) => {
                    tracing::warn!(%file, subject, until = %not_after, "A certificate ends soon; put a new one in its place.");
                }
                Matter::Ended => {
                    tracing::error!(%file, subject, until = %not_after, "A certificate has ended.");
                }
                Matter::NotYet => {
                    tracing::error!(%file, subject, from = %not_before, "A certificate is not valid yet, or this box's clock is wrong.");
                }
            }
        }
    }
}

fn matter(certificate: &Certificate, now: Timestamp) -> Option<Matter> {
    if now > certificate.not_after {
        return Some(Matter::Ended);
    }
    if now < certificate.not_before {
        return Some(Matter::NotYet);
    }
    let left = certificate.not_after.since(now);
    (left < NOTICE).then_some(Matter::Ends(left))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_talked_about_from_thirty_days_before_its_end() {
        const DAY: i64 = 86_400;
        let certificate = Certificate {
            file: "box.pem".into(),
            subject: "CN=box".into(),
            not_before: Timestamp::from_secs(100 * DAY),
            not_after: Timestamp::from_secs(200 * DAY),
        };
        let on = |day: i64| matter(&certificate, Timestamp::from_secs(day * DAY));
        assert_eq!(on(99), Some(Matter::NotYet));
        assert_eq!(on(169), None);
        assert_eq!(on(190), Some(Matter::Ends(Duration::from_secs(10 * 86_400))));
        assert_eq!(on(201), Some(Matter::Ended));
    }
}
