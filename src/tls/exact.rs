//! Believing one's own: the very certificate that lies in a file, or whoever its authority vouches for.

use std::path::Path;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};

use super::{TlsError, authorities, client_config, pems, unfit};
use crate::settings::Tls;

/// As [`client_config`]; a peer that shows a certificate of `ca_file` itself is believed too, whatever
/// name it is called by: the commands on the box read the file that the daemon shows.
pub fn own_config(tls: &Tls) -> Result<ClientConfig, TlsError> {
    let mut config = client_config(tls)?;
    let exact = Exact::of(&tls.ca_file)?;
    config.dangerous().set_certificate_verifier(Arc::new(exact));
    Ok(config)
}

#[derive(Debug)]
struct Exact {
    known: Vec<CertificateDer<'static>>,
    others: Arc<WebPkiServerVerifier>,
}

impl Exact {
    fn of(file: &Path) -> Result<Self, TlsError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let roots = Arc::new(authorities(file)?);
        let others = WebPkiServerVerifier::builder_with_provider(roots, provider)
            .build()
            .map_err(|error| unfit(file, error.to_string()))?;
        Ok(Self { known: pems(file, "certificate")?, others })
    }
}

impl ServerCertVerifier for Exact {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.known.iter().any(|known| known == end_entity) {
            return Ok(ServerCertVerified::assertion());
        }
        self.others.verify_server_cert(end_entity, intermediates, server_name, ocsp, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.others.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.others.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.others.supported_verify_schemes()
    }
}
