//! Certificates and their keys in PEM files.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use evoke_core::time::Timestamp;
use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use super::der::{Facts, facts};

/// How long before its end a certificate is warned of.
pub const SOON: Duration = Duration::from_secs(14 * 24 * 60 * 60);

/// Where a certificate is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// The chain, the server's own certificate first.
    pub chain: PathBuf,
    /// Its key; may be the same file.
    pub key: PathBuf,
}

/// A certificate that can be used.
#[derive(Debug, Clone)]
pub struct Certified {
    /// What rustls signs with.
    pub key: Arc<CertifiedKey>,
    /// The names it is for, in small letters; a first label may be `*`.
    pub names: Vec<String>,
    /// From when.
    pub from: Timestamp,
    /// Until when.
    pub until: Timestamp,
}

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read, or is not PEM.
    #[error("{path}: {cause}")]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        cause: String,
    },
    /// No certificate in it.
    #[error("{0} has no certificate in PEM form, between BEGIN CERTIFICATE and END CERTIFICATE")]
    NoCertificate(PathBuf),
    /// It is none.
    #[error("{0}: its first certificate is none that can be read")]
    Form(PathBuf),
    /// The key is of another certificate.
    #[error("{key} is not the key of the first certificate in {chain}")]
    Mismatch {
        /// The chain.
        chain: PathBuf,
        /// The key.
        key: PathBuf,
    },
    /// The key cannot be used.
    #[error(
        "{path} has no private key that can be used: {cause}; RSA from 2048 bits, ECDSA P-256, P-384 and Ed25519 can"
    )]
    Key {
        /// Which file.
        path: PathBuf,
        /// Why.
        cause: String,
    },
    /// There is no certificate at all.
    #[error("there is no certificate")]
    None,
}

impl Pair {
    /// Reads it. Blocks on the disk.
    pub fn read(&self) -> Result<Certified, TlsError> {
        let chain = std::fs::read(&self.chain).map_err(|cause| unreadable(&self.chain, &cause))?;
        let key = std::fs::read(&self.key).map_err(|cause| unreadable(&self.key, &cause))?;
        certified(&chain, &key, self)
    }
}

/// From PEM text; `at` names it in errors.
pub(super) fn certified(chain: &[u8], key: &[u8], at: &Pair) -> Result<Certified, TlsError> {
    let chain = CertificateDer::pem_slice_iter(chain).collect::<Result<Vec<_>, _>>();
    let chain = chain.map_err(|cause| unreadable(&at.chain, &cause))?;
    let first = chain.first().ok_or_else(|| TlsError::NoCertificate(at.chain.clone()))?;
    let Facts { names, from, until } = facts(first).ok_or_else(|| TlsError::Form(at.chain.clone()))?;
    let refused = |cause: String| TlsError::Key { path: at.key.clone(), cause };
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|cause| refused(cause.to_string()))?;
    let key = any_supported_type(&key).map_err(|cause| refused(cause.to_string()))?;
    let key = CertifiedKey::new(chain, key);
    match key.keys_match() {
        Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => {}
        Err(_) => return Err(TlsError::Mismatch { chain: at.chain.clone(), key: at.key.clone() }),
    }
    Ok(Certified { key: Arc::new(key), names, from, until })
}

impl Certified {
    /// Whether it is for this name: as it is, or with `*` for the first label (RFC 6125, 6.4.3).
    pub fn is_for(&self, name: &str) -> bool {
        let rest = name.split_once('.').map(|(_, rest)| rest);
        self.names
            .iter()
            .any(|known| known == name || known.strip_prefix("*.").is_some_and(|known| Some(known) == rest))
    }

    /// When one of an ACME server is renewed: after two thirds of its time.
    pub fn renewed_at(&self) -> Timestamp {
        self.from.after(self.until.since(self.from) * 2 / 3)
    }

    /// What is wrong with its time, if anything.
    pub fn complaint(&self, now: Timestamp) -> Option<String> {
        let names = self.names.join(", ");
        if now >= self.until {
            Some(format!("the certificate of {names} expired at {}", self.until.to_rfc3339()))
        } else if now < self.from {
            Some(format!("the certificate of {names} is valid from {} on", self.from.to_rfc3339()))
        } else if self.until.since(now) < SOON {
            Some(format!("the certificate of {names} expires at {}", self.until.to_rfc3339()))
        } else {
            None
        }
    }
}

fn unreadable(path: &Path, cause: &dyn std::fmt::Display) -> TlsError {
    TlsError::Unreadable { path: path.to_owned(), cause: cause.to_string() }
}
