//! Modbus/TCP Security: the same frames in a TLS stream, with certificates at both ends.

use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::support::{Rows, device_at, start};

const ONE: Rows<'_> = &[("a", "holding:0", "u16")];

/// An authority, and what it has signed for the device and for the box, as PEM files.
struct Certificates {
    folder: TempDir,
}

impl Certificates {
    fn make() -> Self {
        let folder = TempDir::new().unwrap();
        let mut authority = CertificateParams::new(Vec::new()).unwrap();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = Issuer::new(authority.clone(), KeyPair::generate().unwrap());
        let root = authority.self_signed(issuer.key()).unwrap();
        std::fs::write(folder.path().join("ca.pem"), root.pem()).unwrap();
        for name in ["device", "box"] {
            let key = KeyPair::generate().unwrap();
            let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
            let certificate = params.signed_by(&key, &issuer).unwrap();
            let file = |kind: &str| folder.path().join(format!("{name}.{kind}"));
            std::fs::write(file("pem"), certificate.pem()).unwrap();
            std::fs::write(file("key"), key.serialize_pem()).unwrap();
        }
        Self { folder }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn chain(&self, name: &str) -> Vec<CertificateDer<'static>> {
        CertificateDer::pem_file_iter(self.file(name)).unwrap().collect::<Result<_, _>>().unwrap()
    }

    fn acceptor(&self) -> TlsAcceptor {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.chain("ca.pem").remove(0)).unwrap();
        let clients =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
                .build()
                .unwrap();
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(clients)
            .with_single_cert(
                self.chain("device.pem"),
                PrivateKeyDer::from_pem_file(self.file("device.key")).unwrap(),
            )
            .unwrap();
        TlsAcceptor::from(Arc::new(config))
    }

    fn settings(&self, client: bool, name: &str) -> String {
        let path = |name| self.file(name).display().to_string();
        let identity = match client {
            true => {
                format!(", cert_file = {:?}, key_file = {:?}", path("box.pem"), path("box.key"))
            }
            false => String::new(),
        };
        format!(
            "interval = \"20ms\"\ntls = {{ ca_file = {:?}, server_name = {name:?}{identity} }}",
            path("ca.pem")
        )
    }
}

/// Answers every read of one register with 42.
async fn secure_device(acceptor: TlsAcceptor) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let mut frame = [0; 12];
                while stream.read_exact(&mut frame).await.is_ok() {
                    let answer = [frame[0], frame[1], 0, 0, 0, 5, frame[6], frame[7], 2, 0, 42];
                    if stream.write_all(&answer).await.is_err() || stream.flush().await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    port
}

#[tokio::test]
async fn a_device_is_read_over_tls_with_certificates_at_both_ends() {
    let certificates = Certificates::make();
    let port = secure_device(certificates.acceptor()).await;
    let address = format!("tls://127.0.0.1:{port}");
    let mut bench =
        start(vec![device_at(&address, &certificates.settings(true, "localhost"), ONE)]);
    for _ in 0..3 {
        assert_eq!(bench.values().await, [("a".to_owned(), 42.0)]);
    }
    assert_eq!(bench.health[0].snapshot().connects, 1);
    bench.stop().await;
}

#[tokio::test]
async fn a_device_with_another_name_and_a_box_without_certificate_get_no_connection() {
    let certificates = Certificates::make();
    let port = secure_device(certificates.acceptor()).await;
    for (client, name) in [(true, "other.example"), (false, "localhost")] {
        let address = format!("tls://127.0.0.1:{port}");
        let mut bench = start(vec![device_at(&address, &certificates.settings(client, name), ONE)]);
        assert!(bench.values().await[0].1.is_nan());
        assert!(!bench.health[0].snapshot().connected);
        bench.stop().await;
    }
}
