//! The other side: who the box is to those that connect to it.

use std::io;
use std::sync::{Arc, Mutex};

use rustls::ServerConfig;
use rustls::server::WebPkiClientVerifier;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::{Stamp, TlsError, authorities, identity, unfit, unpaired, versions};
use crate::settings::HttpTls;

/// Reads every file of `tls`; an error says which one is unfit.
pub fn server_config(tls: &HttpTls) -> Result<ServerConfig, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(versions(tls.min_version))?;
    let builder = match &tls.client_ca_file {
        None => builder.with_no_client_auth(),
        Some(file) => {
            let roots = Arc::new(authorities(file)?);
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider)
                .build()
                .map_err(|error| unfit(file, error.to_string()))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let (chain, key) = identity(&tls.cert_file, &tls.key_file)?;
    let mut config = builder
        .with_single_cert(chain, key)
        .map_err(|error| unpaired(error, &tls.cert_file, &tls.key_file))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// Greets clients with the certificate that lies there now.
#[derive(Debug)]
pub struct Acceptor {
    tls: HttpTls,
    current: Mutex<Current>,
}

#[derive(Debug)]
struct Current {
    seen: Stamp,
    config: Arc<ServerConfig>,
}

impl Acceptor {
    pub fn new(tls: HttpTls) -> Result<Self, TlsError> {
        let seen = Stamp::of_files(tls.files());
        let config = Arc::new(server_config(&tls)?);
        Ok(Self { tls, current: Mutex::new(Current { seen, config }) })
    }

    pub async fn accept<S>(&self, stream: S) -> io::Result<TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        TlsAcceptor::from(self.config()).accept(stream).await
    }

    /// Files that do not fit together, as half exchanged ones do, change nothing.
    fn config(&self) -> Arc<ServerConfig> {
        let seen = Stamp::of_files(self.tls.files());
        let mut current = self.current.lock().expect("no code panics while it holds it");
        if seen != current.seen {
            current.seen = seen;
            match server_config(&self.tls) {
                Ok(config) => {
                    current.config = Arc::new(config);
                    tracing::info!("The HTTP port has a new certificate.");
                }
                Err(error) => {
                    tracing::warn!(%error, "The HTTP port keeps its certificate: the new one cannot be used.");
                }
            }
        }
        Arc::clone(&current.config)
    }
}
