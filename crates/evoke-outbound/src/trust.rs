//! Whom the other end's certificate must come from.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

/// The certificate authorities that are trusted.
#[derive(Clone)]
pub struct Trust {
    roots: Arc<RootCertStore>,
    certificates: Arc<[CertificateDer<'static>]>,
}

/// Why the authorities of a file cannot be trusted.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// It cannot be read, or is not PEM.
    #[error("certificates of {path}: {cause}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: String,
    },
    /// It has none.
    #[error("{0} has no certificate in PEM form")]
    Empty(PathBuf),
}

impl Trust {
    /// The system's authorities (or those of `SSL_CERT_FILE` and `SSL_CERT_DIR`), and those of the PEM file `extra`.
    /// Reads files: not to be called where that may not wait.
    pub fn load(extra: Option<&Path>) -> Result<Self, TrustError> {
        let mut roots = RootCertStore::empty();
        let system = rustls_native_certs::load_native_certs();
        let mut certificates = system.certs.clone();
        let (_, odd) = roots.add_parsable_certificates(system.certs);
        for error in &system.errors {
            tracing::debug!(%error, "some of the system's certificate authorities could not be read");
        }
        tracing::debug!(trusted = roots.len(), odd, "the system's certificate authorities");
        if let Some(path) = extra {
            let unreadable = |cause: String| TrustError::Unreadable { path: path.to_owned(), cause };
            let file = CertificateDer::pem_file_iter(path).map_err(|cause| unreadable(cause.to_string()))?;
            let before = roots.len();
            for certificate in file {
                let certificate = certificate.map_err(|cause| unreadable(cause.to_string()))?;
                roots.add(certificate.clone()).map_err(|cause| unreadable(cause.to_string()))?;
                certificates.push(certificate);
            }
            if roots.len() == before {
                return Err(TrustError::Empty(path.to_owned()));
            }
        }
        Ok(Self { roots: Arc::new(roots), certificates: certificates.into() })
    }

    /// How many authorities there are. With none, no https endpoint can be reached.
    pub fn len(&self) -> usize {
        self.roots.len()
    }

    /// Them, each in DER, for processes that make connections of their own.
    pub fn certificates(&self) -> impl Iterator<Item = &[u8]> {
        self.certificates.iter().map(|certificate| certificate.as_ref())
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.roots.is_empty()
    }

    pub(crate) fn config(&self) -> ClientConfig {
        let versions = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("ring has the ciphers of TLS 1.2 and 1.3");
        versions.with_root_certificates(self.roots.clone()).with_no_client_auth()
    }
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trust").field("authorities", &self.len()).finish()
    }
}
