//! What a server keeps of ACME servers, for those who look from beside it.

use std::io;
use std::path::{Path, PathBuf};

use crate::tls::files::{Certified, Pair, TlsError};

/// The folder of an ACME server, and the certificate in it, if there is one yet.
#[derive(Debug)]
pub struct Kept {
    /// The folder.
    pub path: PathBuf,
    /// The certificate.
    pub certificate: Option<Result<Certified, TlsError>>,
}

/// What is kept in `folder` ([`AcmeSettings::folder`](super::AcmeSettings)), by path. Nothing where it is not there. Changes
/// nothing; blocks on the disk.
pub fn kept(folder: &Path) -> io::Result<Vec<Kept>> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(cause) => return Err(cause),
    };
    let mut paths: Vec<PathBuf> =
        entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
    paths.sort();
    let of = |path: PathBuf| {
        let pair = certificate_of(&path);
        let certificate = pair.chain.exists().then(|| pair.read());
        Kept { path, certificate }
    };
    Ok(paths.into_iter().filter(|path| path.is_dir()).map(of).collect())
}

/// Where the folder of an ACME server has its certificate, with the key in the same file.
pub(super) fn certificate_of(folder: &Path) -> Pair {
    let path = folder.join("certificate.pem");
    Pair { chain: path.clone(), key: path }
}
