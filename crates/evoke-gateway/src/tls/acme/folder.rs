//! What is kept of an ACME server: `account.json`, and `certificate.pem` with its key, for the owner only.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use instant_acme::AccountCredentials;
use sha2::{Digest as _, Sha256};

use super::AcmeSettings;
use super::kept::certificate_of;
use crate::tls::files::{Certified, TlsError, certified};

/// Why there is no certificate of an ACME server.
#[derive(Debug, thiserror::Error)]
pub enum AcmeError {
    /// A file.
    #[error("{path}: {cause}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        cause: String,
    },
    /// What was kept or obtained cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The server said no, or nothing.
    #[error("{0}")]
    Server(String),
    /// A name was not found to be of this server.
    #[error("{name}: {why}")]
    Name {
        /// Which.
        name: String,
        /// What the ACME server says of it.
        why: String,
    },
}

/// The folder of one ACME server.
pub(super) struct Folder {
    path: PathBuf,
}

impl Folder {
    /// Makes it where it is not there. Each directory URL has its own: an account is of one server.
    pub fn open(settings: &AcmeSettings) -> Result<Self, AcmeError> {
        let digest = Sha256::digest(settings.directory.as_bytes());
        let name: String = digest.iter().take(6).map(|byte| format!("{byte:02x}")).collect();
        let path = settings.folder.join(name);
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&path)
            .map_err(|cause| failed(&path, &cause))?;
        Ok(Self { path })
    }

    /// The account, if there is one.
    pub fn account(&self) -> Result<Option<AccountCredentials>, AcmeError> {
        let path = self.path.join("account.json");
        match std::fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text).map(Some).map_err(|cause| failed(&path, &cause)),
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(cause) => Err(failed(&path, &cause)),
        }
    }

    /// Keeps an account.
    pub fn keep_account(&self, account: &AccountCredentials) -> Result<(), AcmeError> {
        let path = self.path.join("account.json");
        let text = serde_json::to_vec(account).map_err(|cause| failed(&path, &cause))?;
        write(&path, &text).map_err(|cause| failed(&path, &cause))
    }

    /// The certificate, if there is one.
    pub fn certificate(&self) -> Result<Option<Certified>, AcmeError> {
        let pair = certificate_of(&self.path);
        if !pair.chain.exists() {
            return Ok(None);
        }
        Ok(Some(pair.read()?))
    }

    /// Keeps a certificate, in one file with its key so that there is never one without the other.
    pub fn keep(&self, chain: &str, key: &str) -> Result<Certified, AcmeError> {
        let pair = certificate_of(&self.path);
        let text = format!("{chain}\n{key}");
        let certified = certified(text.as_bytes(), text.as_bytes(), &pair)?;
        write(&pair.chain, text.as_bytes()).map_err(|cause| failed(&pair.chain, &cause))?;
        Ok(certified)
    }
}

/// Written beside and renamed, so that a crash leaves no half.
fn write(path: &Path, text: &[u8]) -> io::Result<()> {
    let draft = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    file.write_all(text)?;
    file.sync_all()?;
    std::fs::rename(&draft, path)?;
    path.parent().map_or(Ok(()), |folder| std::fs::File::open(folder)?.sync_all())
}

fn failed(path: &Path, cause: &dyn std::fmt::Display) -> AcmeError {
    AcmeError::File { path: path.to_owned(), cause: cause.to_string() }
}
