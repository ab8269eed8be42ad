//! Secure connections: the authorities are those of the host, since there are no files here.

use std::io;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::UnixStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Makes connections secure.
#[derive(Clone)]
pub(crate) struct Tls(TlsConnector);

impl Tls {
    /// Trusts these authorities, DER in base64. One that cannot be read is left out, as the host does.
    pub fn new(authorities: &[String]) -> Self {
        let mut roots = RootCertStore::empty();
        let certificates = authorities.iter().filter_map(|text| STANDARD.decode(text).ok());
        roots.add_parsable_certificates(certificates.map(CertificateDer::from));
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("ring has the ciphers of TLS 1.2 and 1.3")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self(TlsConnector::from(Arc::new(config)))
    }

    /// Shakes hands with the server called `host`.
    pub async fn connect(&self, host: &str, socket: UnixStream) -> io::Result<TlsStream<UnixStream>> {
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        self.0.connect(name, socket).await
    }
}
