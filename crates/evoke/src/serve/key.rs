//! The key all secrets are sealed with: 256 random bits in `secrets.key` of the data folder, for its owner only.

use std::fs::OpenOptions;
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use evoke_engine::SealingKey;

/// The file in the data folder.
pub const KEY_FILE: &str = "secrets.key";

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file cannot be read or written.
    #[error("key file {}: {cause}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// What it holds is no key.
    #[error("key file {} does not hold 32 bytes in base64", .0.display())]
    Form(PathBuf),
    /// The operating system gave no random bits.
    #[error("no random bits for the key of the secrets: {0}")]
    Randomness(String),
}

/// The key in `data`, or a fresh one, durable in a file of mode 0600 before anything is sealed with it. A file that is there
/// is never written.
pub fn load_or_create(data: &Path) -> Result<SealingKey, KeyError> {
    let path = data.join(KEY_FILE);
    let failed = |cause| KeyError::File { path: path.clone(), cause };
    match std::fs::File::open(&path) {
        Ok(file) => {
            let mut text = String::new();
            file.take(1_024).read_to_string(&mut text).map_err(failed)?;
            let bits = STANDARD.decode(text.trim()).ok().and_then(|bits| bits.try_into().ok());
            bits.map(SealingKey::new).ok_or_else(|| KeyError::Form(path.clone()))
        }
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => {
            let mut bits = [0; 32];
            getrandom::fill(&mut bits).map_err(|error| KeyError::Randomness(error.to_string()))?;
            create(data, &path, &STANDARD.encode(bits)).map_err(failed)?;
            Ok(SealingKey::new(bits))
        }
        Err(cause) => Err(failed(cause)),
    }
}

/// Written beside and renamed, so that a crash leaves no half of a key.
fn create(data: &Path, path: &Path, text: &str) -> io::Result<()> {
    let draft = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    writeln!(file, "{text}")?;
    file.sync_all()?;
    std::fs::rename(&draft, path)?;
    std::fs::File::open(data)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_key_is_made_once_for_its_owner_only_and_what_is_no_key_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        load_or_create(dir.path()).unwrap();
        let path = dir.path().join(KEY_FILE);
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        load_or_create(dir.path()).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        std::fs::write(&path, "short").unwrap();
        assert!(matches!(load_or_create(dir.path()), Err(KeyError::Form(_))));
    }
}
