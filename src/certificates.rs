//! How long the certificates of the links and of the HTTP port last: looked at every hour, told in the log weeks
//! before, on the board and as a metric.

use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::settings::{HttpTls, Settings};
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
    files: Vec<PathBuf>,
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
        let brokers = settings.broker.values().filter_map(|broker| broker.tls.as_ref());
        let devices = settings.modbus.iter().filter_map(|device| device.tls.as_ref());
        let links =
            brokers.chain(devices).flat_map(|tls| [Some(&tls.ca_file), tls.cert_file.as_ref()]);
        let http = settings.http.tls.iter().flat_map(HttpTls::certificates);
        let mut files: Vec<PathBuf> = Vec::new();
        for file in links.flatten().chain(http) {
            if !files.contains(file) {
                files.push(file.clone());
            }
        }
        let certificates = Self { files, seen: Mutex::default() };
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
        for one in self.files.iter().filter_map(|file| tls::certificates(file).ok()).flatten() {
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

    #[test]
    fn the_port_s_own_certificate_is_watched_too() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| folder.path().join(name);
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(vec!["box7".to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2021, 1, 1);
        std::fs::write(file("box.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
        let text = format!("cert_file = {:?}\nkey_file = {:?}\n", file("box.pem"), file("box.key"));
        let mut settings = Settings::default();
        settings.http.tls = Some(toml::from_str(&text).unwrap());
        let certificates = Certificates::of(&settings);
        let [(certificate, matter)] =
            &certificates.matters(Timestamp::from_secs(1_800_000_000))[..]
        else {
            panic!("one certificate")
        };
        assert_eq!((&certificate.file, *matter), (&file("box.pem"), Matter::Ended));
    }
}
