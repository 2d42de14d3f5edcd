//! Encrypted links: rustls made from PEM files, its errors in words, and how long certificates
//! last.
//!
//! Shared by MQTT, Modbus and HTTP. A file that was exchanged holds from the next connection on.

mod exact;
mod server;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use rustls::client::WebPkiServerVerifier;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{
    CertificateDer, CertificateRevocationListDer, PrivateKeyDer, ServerName, pem,
};
use rustls::version::{TLS12, TLS13};
use rustls::{CertificateError, ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use x509_parser::prelude::{FromDer as _, X509Certificate};

pub use self::exact::own_config;
pub use self::server::{Acceptor, server_config};
use crate::settings::{Tls, TlsVersion};
use crate::time::Timestamp;

/// A file of `tls` that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("{}: {error}", file.display())]
    Unreadable { file: PathBuf, error: io::Error },
    #[error("{}: {problem}", file.display())]
    Unfit { file: PathBuf, problem: String },
    #[error("`cert_file` and `key_file` are of use only together")]
    HalfAnIdentity,
    #[error("`server_name`: {0:?} is no host name")]
    Name(String),
    #[error("{0}")]
    Rustls(#[from] rustls::Error),
}

/// What a person must know of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    pub file: PathBuf,
    /// The subject, as `CN=box, O=acme`.
    pub subject: String,
    pub not_before: Timestamp,
    pub not_after: Timestamp,
}

/// When the files of a link were written last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamp(Vec<Option<(SystemTime, u64)>>);

/// A stream over `stream` to the peer that `tls`, or else `host`, names.
pub async fn connect(tls: &Tls, host: &str, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
    let invalid = |error: TlsError| io::Error::new(io::ErrorKind::InvalidInput, error);
    let name = tls.server_name.as_deref().unwrap_or(host).to_owned();
    let server = ServerName::try_from(name.clone()).map_err(|_| invalid(TlsError::Name(name)))?;
    let config = client_config(tls).map_err(invalid)?;
    TlsConnector::from(Arc::new(config)).connect(server, stream).await
}

/// Reads every file of `tls`; an error says which one is unfit.
pub fn client_config(tls: &Tls) -> Result<ClientConfig, TlsError> {
    let roots = authorities(&tls.ca_file)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(versions(tls.min_version))?;
    let builder = match &tls.crl_file {
        None => builder.with_root_certificates(roots),
        Some(file) => {
            let lists = pems::<CertificateRevocationListDer<'static>>(file, "revocation list")?;
            let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
                .with_crls(lists)
                .only_check_end_entity_revocation()
                .build()
                .map_err(|error| unfit(file, error.to_string()))?;
            builder.with_webpki_verifier(verifier)
        }
    };
    let mut config = match (&tls.cert_file, &tls.key_file) {
        (Some(certificate), Some(key_file)) => {
            let (chain, key) = identity(certificate, key_file)?;
            builder
                .with_client_auth_cert(chain, key)
                .map_err(|error| unpaired(error, certificate, key_file))?
        }
        (None, None) => builder.with_no_client_auth(),
        _ => return Err(TlsError::HalfAnIdentity),
    };
    config.alpn_protocols = tls.alpn.iter().map(|name| name.clone().into_bytes()).collect();
    Ok(config)
}

fn versions(least: TlsVersion) -> &'static [&'static rustls::SupportedProtocolVersion] {
    const FROM_1_2: &[&rustls::SupportedProtocolVersion] = &[&TLS13, &TLS12];
    match least {
        TlsVersion::V1_2 => FROM_1_2,
        TlsVersion::V1_3 => &FROM_1_2[..1],
    }
}

fn authorities(file: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for authority in pems::<CertificateDer<'static>>(file, "certificate")? {
        roots.add(authority).map_err(|error| unfit(file, error.to_string()))?;
    }
    Ok(roots)
}

type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn identity(certificate: &Path, key_file: &Path) -> Result<Identity, TlsError> {
    let key = PrivateKeyDer::from_pem_file(key_file);
    let chain = pems(certificate, "certificate")?;
    Ok((chain, key.map_err(|error| unreadable(key_file, error, "private key"))?))
}

fn unpaired(error: rustls::Error, certificate: &Path, key_file: &Path) -> TlsError {
    match error {
        rustls::Error::InconsistentKeys(_) => {
            unfit(key_file, format!("this is not the key of {}", certificate.display()))
        }
        error => unfit(certificate, error.to_string()),
    }
}

/// What the certificates in `file` say of themselves.
pub fn certificates(file: &Path) -> Result<Vec<Certificate>, TlsError> {
    let mut found = Vec::new();
    for der in pems::<CertificateDer<'static>>(file, "certificate")? {
        let (_, certificate) =
            X509Certificate::from_der(&der).map_err(|error| unfit(file, error.to_string()))?;
        let validity = certificate.validity();
        found.push(Certificate {
            file: file.to_owned(),
            subject: certificate.subject().to_string(),
            not_before: Timestamp::from_secs(validity.not_before.timestamp()),
            not_after: Timestamp::from_secs(validity.not_after.timestamp()),
        });
    }
    Ok(found)
}

impl Stamp {
    pub fn of(tls: &Tls) -> Self {
        Self::of_files(tls.files())
    }

    fn of_files<'a>(files: impl Iterator<Item = &'a PathBuf>) -> Self {
        let stamp = |file: &PathBuf| {
            let data = std::fs::metadata(file).ok()?;
            Some((data.modified().ok()?, data.len()))
        };
        Self(files.map(stamp).collect())
    }
}

/// What rustls' verifier calls a server with an authority's certificate, as `openssl req -x509` makes it.
const AN_AUTHORITY: &str = "CaUsedAsEndEntity";

/// The words for `error`, where TLS is what it is about.
pub fn explain(error: &io::Error, tls: &Tls) -> Option<String> {
    let inner = error.get_ref()?;
    if let Some(error) = inner.downcast_ref::<TlsError>() {
        return Some(error.to_string());
    }
    let error = inner.downcast_ref::<rustls::Error>()?;
    let ca = tls.ca_file.display();
    Some(match error {
        rustls::Error::InvalidCertificate(problem) => match problem {
            CertificateError::UnknownIssuer => {
                format!("no authority in {ca} has signed the peer's certificate (`ca_file`)")
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "the peer's certificate has expired, or this box's clock is wrong".into()
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "the peer's certificate is not valid yet, or this box's clock is wrong".into()
            }
            CertificateError::Revoked => "the peer's certificate has been revoked".into(),
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                format!("{error}; `server_name` says which name is meant")
            }
            CertificateError::Other(other) if other.0.to_string() == AN_AUTHORITY => {
                "the peer shows a certificate that is an authority's (CA:TRUE); give it one that an \
                 authority has signed, as docs/security.md shows"
                    .into()
            }
            _ => error.to_string(),
        },
        rustls::Error::AlertReceived(alert) => match &tls.cert_file {
            Some(file) => format!(
                "the peer refuses this box ({alert:?}): is {} the certificate it wants, and valid?",
                file.display()
            ),
            None => format!(
                "the peer refuses this box ({alert:?}): it may want a certificate (`cert_file`)"
            ),
        },
        error => error.to_string(),
    })
}

fn pems<T: PemObject>(file: &Path, what: &str) -> Result<Vec<T>, TlsError> {
    let read = T::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<T>, _>>);
    let found = read.map_err(|error| unreadable(file, error, what))?;
    match found.is_empty() {
        true => Err(unfit(file, format!("there is no {what} in PEM form in it"))),
        false => Ok(found),
    }
}

fn unreadable(file: &Path, error: pem::Error, what: &str) -> TlsError {
    match error {
        pem::Error::Io(error) => TlsError::Unreadable { file: file.to_owned(), error },
        pem::Error::NoItemsFound => unfit(file, format!("there is no {what} in PEM form in it")),
        error => unfit(file, format!("no {what} can be read from it: {error:?}")),
    }
}

fn unfit(file: &Path, problem: impl Into<String>) -> TlsError {
    TlsError::Unfit { file: file.to_owned(), problem: problem.into() }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};
    use tempfile::TempDir;

    use super::*;

    /// A certificate of its own making, and the key of another.
    fn files() -> (TempDir, Tls) {
        let folder = TempDir::new().unwrap();
        let file = |name: &str| folder.path().join(name);
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["broker".to_owned()]).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, "the plant");
        params.not_after = date_time_ymd(2031, 2, 3);
        let certificate = params.self_signed(&key).unwrap();
        std::fs::write(file("ca.pem"), certificate.pem()).unwrap();
        std::fs::write(file("box.pem"), certificate.pem()).unwrap();
        std::fs::write(file("box.key"), key.serialize_pem()).unwrap();
        std::fs::write(file("other.key"), KeyPair::generate().unwrap().serialize_pem()).unwrap();
        std::fs::write(file("empty"), "nothing\n").unwrap();
        let mut tls = Tls::trusting(file("ca.pem"));
        tls.cert_file = Some(file("box.pem"));
        tls.key_file = Some(file("box.key"));
        (folder, tls)
    }

    #[test]
    fn good_files_make_a_configuration_and_tell_how_long_they_last() {
        let (_folder, tls) = files();
        client_config(&tls).unwrap();
        let found = certificates(&tls.ca_file).unwrap();
        assert_eq!(found.len(), 1);
        assert!(found[0].subject.contains("the plant"), "{}", found[0].subject);
        assert_eq!(found[0].not_after.to_rfc3339(), "2031-02-03T00:00:00.000Z");
    }

    #[test]
    fn unfit_files_are_named_with_what_is_wrong_with_them() {
        let (folder, tls) = files();
        let file = |name: &str| folder.path().join(name);
        let said = |change: &dyn Fn(&mut Tls)| {
            let mut tls = tls.clone();
            change(&mut tls);
            client_config(&tls).unwrap_err().to_string()
        };
        let another = said(&|tls| tls.key_file = Some(file("other.key")));
        assert!(another.contains("other.key: this is not the key of"), "{another}");
        let empty = said(&|tls| tls.ca_file = file("empty"));
        assert!(empty.contains("empty: there is no certificate"), "{empty}");
        let absent = said(&|tls| tls.ca_file = file("absent"));
        assert!(absent.contains("absent: ") && absent.contains("No such file"), "{absent}");
        let keyless = said(&|tls| tls.key_file = Some(file("box.pem")));
        assert!(keyless.contains("box.pem: there is no private key"), "{keyless}");
        assert_eq!(said(&|tls| tls.key_file = None), TlsError::HalfAnIdentity.to_string());
        let list = said(&|tls| tls.crl_file = Some(file("ca.pem")));
        assert!(list.contains("ca.pem: there is no revocation list"), "{list}");
    }

    /// What a client has of a server that speaks these versions, and MQTT alone.
    async fn met(
        tls: &Tls,
        spoken: &[&'static rustls::SupportedProtocolVersion],
    ) -> io::Result<TlsStream<TcpStream>> {
        let files = tls.cert_file.as_deref().zip(tls.key_file.as_deref()).unwrap();
        let (chain, key) = identity(files.0, files.1).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(spoken)
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        config.alpn_protocols = vec![b"mqtt".to_vec()];
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let stream = TcpStream::connect(listener.local_addr()?).await?;
        let (accepted, _) = listener.accept().await?;
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        tokio::join!(connect(tls, "broker", stream), acceptor.accept(accepted)).0
    }

    #[tokio::test]
    async fn a_protocol_is_agreed_on_or_there_is_no_link() {
        let (_folder, mut tls) = files();
        tls.alpn = vec!["mqtt".to_owned()];
        let stream = met(&tls, &[&TLS13]).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"mqtt"[..]));
        tls.alpn = vec!["h2".to_owned()];
        let error = met(&tls, &[&TLS13]).await.unwrap_err().to_string();
        assert!(error.contains("NoApplicationProtocol"), "{error}");
    }

    #[tokio::test]
    async fn a_peer_that_speaks_older_tls_than_the_least_gets_no_link() {
        let (_folder, mut tls) = files();
        tls.min_version = TlsVersion::V1_2;
        met(&tls, &[&TLS12]).await.unwrap();
        tls.min_version = TlsVersion::V1_3;
        let error = met(&tls, &[&TLS12]).await.unwrap_err().to_string();
        assert!(error.contains("ProtocolVersion"), "{error}");
        met(&tls, &[&TLS12, &TLS13]).await.unwrap();
    }

    #[test]
    fn an_exchanged_file_is_noticed() {
        let (_folder, tls) = files();
        let before = Stamp::of(&tls);
        assert_eq!(Stamp::of(&tls), before);
        std::fs::write(&tls.ca_file, "longer than nothing, shorter than before").unwrap();
        assert_ne!(Stamp::of(&tls), before);
    }
}
