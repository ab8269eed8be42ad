//! The token of the control API: 256 random bits, of which the server keeps only the SHA-256.
//!
//! The plain token is written once, to `admin.token` in the data directory, readable by its owner only; whoever may
//! read that file may administer the server. Losing the file loses the plain token, not the server's mind about it.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use evoke_core::store::{Expect, SettleError, Space, Store, StoreError, Value, ValueKind, Write};
use evoke_core::time::Timestamp;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tokio::io::AsyncWriteExt;

/// The file in the data directory that has the plain token.
pub const TOKEN_FILE: &str = "admin.token";

const PREFIX: &str = "evoke_";
const STORE_KEY: &str = "admin_token";

/// A plain token. Its `Debug` form hides it.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// A fresh one from the operating system's randomness.
    pub fn generate() -> Result<Self, AuthError> {
        let mut bits = [0; 32];
        getrandom::fill(&mut bits).map_err(|error| AuthError::Randomness(error.to_string()))?;
        Ok(Self(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bits))))
    }

    /// Takes what stands in a token file. `None` when it does not look like a token.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let secret = text.strip_prefix(PREFIX)?;
        let whole =
            secret.len() == 43 && secret.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        whole.then(|| Self(text.to_owned()))
    }

    /// The token itself, for `Authorization: Bearer`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What the server keeps of it.
    pub fn hash(&self) -> TokenHash {
        TokenHash::of(&self.0)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// The SHA-256 of a token. A token has 256 random bits, so a slow hash would protect nothing.
#[derive(Debug, Clone, Copy, Eq)]
pub struct TokenHash([u8; 32]);

/// Takes the same time wherever they differ.
impl PartialEq for TokenHash {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl TokenHash {
    fn of(presented: &str) -> Self {
        Self(Sha256::digest(presented).into())
    }

    /// Whether `presented` is the token. Takes the same time whatever it is.
    pub fn admits(&self, presented: &str) -> bool {
        *self == Self::of(presented)
    }

    /// A name for this server that others do not have, and that says nothing of the token.
    pub fn pseudonym(&self) -> String {
        let digest = Sha256::new().chain_update("evoke pseudonym\n").chain_update(self.0).finalize();
        digest[..6].iter().fold("evoke-".to_owned(), |name, byte| format!("{name}{byte:02x}"))
    }

    fn to_hex(self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn from_hex(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok().filter(|text| text.len() == 64)?;
        if !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        let mut bytes = [0; 32];
        for (at, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).ok()?;
        }
        Some(Self(bytes))
    }
}

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// The operating system gave no random bits.
    #[error("no random bits for the admin token: {0}")]
    Randomness(String),
    /// The file could not be read or written.
    #[error("token file {}: {cause}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// What the store has as the hash is none.
    #[error("the stored hash of the admin token is not 64 hex digits")]
    StoredHash,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The hash that admits to the control API, and where the plain token can be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// The hash.
    pub hash: TokenHash,
    /// The token file; it may be missing when the token is not new.
    pub file: PathBuf,
    /// The token was made just now.
    pub created: bool,
}

/// The token's hash: from the store; else of the token in `data_dir/admin.token`, which an earlier start may have
/// written just before it died; else of a fresh token, which is written there with mode 0600. To replace the token, remove
/// both. Writes the store at most once, and never a file that exists.
pub async fn load_or_create(store: &dyn Store, data_dir: &Path, now: Timestamp) -> Result<Loaded, AuthError> {
    let file = data_dir.join(TOKEN_FILE);
    if let Some(hash) = stored(store, now).await? {
        return Ok(Loaded { hash, file, created: false });
    }
    let (token, created) = match read(&file).await? {
        Some(token) => (token, false),
        None => {
            let token = Token::generate()?;
            write(&file, &token).await.map_err(|cause| AuthError::File { path: file.clone(), cause })?;
            (token, true)
        }
    };
    let write = Write {
        space: Space::server(),
        key: STORE_KEY.to_owned(),
        value: Some(Value { kind: ValueKind::Bytes, bytes: Bytes::from(token.hash().to_hex()) }),
        expires_at: None,
        expect: Expect::Absent,
    };
    match store.write(vec![write], now).await {
        Ok(_) => Ok(Loaded { hash: token.hash(), file, created }),
        // Another server of the same store was faster: its token counts.
        Err(SettleError::Conflict { .. }) => {
            let hash = stored(store, now).await?.ok_or(AuthError::StoredHash)?;
            Ok(Loaded { hash, file, created: false })
        }
        Err(SettleError::Store(error)) => Err(error.into()),
        Err(SettleError::StaleLease { .. }) => {
            Err(StoreError::Invalid("a plain write has no lease".to_owned()).into())
        }
    }
}

async fn stored(store: &dyn Store, now: Timestamp) -> Result<Option<TokenHash>, AuthError> {
    match store.get(&Space::server(), STORE_KEY, now).await? {
        Some(entry) => TokenHash::from_hex(&entry.value.bytes).map(Some).ok_or(AuthError::StoredHash),
        None => Ok(None),
    }
}

async fn read(file: &Path) -> Result<Option<Token>, AuthError> {
    let failed = |cause| AuthError::File { path: file.to_owned(), cause };
    match tokio::fs::read_to_string(file).await {
        Ok(text) => match Token::parse(&text) {
            Some(token) => Ok(Some(token)),
            None => Err(failed(io::Error::new(
                io::ErrorKind::InvalidData,
                "holds no token; remove it, and the next start makes a new one",
            ))),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(error)),
    }
}

/// Through a temporary name, so that the file is never seen half written; durable before the hash is stored.
async fn write(file: &Path, token: &Token) -> io::Result<()> {
    let temporary = file.with_extension("token.new");
    match tokio::fs::remove_file(&temporary).await {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut to =
        tokio::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary).await?;
    to.write_all(format!("{}\n", token.as_str()).as_bytes()).await?;
    to.sync_all().await?;
    tokio::fs::rename(&temporary, file).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_admitted_by_its_own_hash_only() {
        let (one, other) = (Token::generate().unwrap(), Token::generate().unwrap());
        assert_ne!(one, other);
        assert!(one.hash().admits(one.as_str()));
        assert!(!one.hash().admits(other.as_str()));
        assert!(!one.hash().admits(""));
        assert_eq!(Token::parse(&format!("{}\n", one.as_str())), Some(one.clone()));
        assert_eq!(TokenHash::from_hex(one.hash().to_hex().as_bytes()), Some(one.hash()));
    }

    #[test]
    fn what_is_no_token_or_hash_is_refused() {
        for bad in ["", "evoke_", "evoke_short", "xyz", &format!("evoke_{}", "é".repeat(43))] {
            assert_eq!(Token::parse(bad), None, "{bad}");
        }
        for bad in ["", "00", &"g".repeat(64), &"é".repeat(32)] {
            assert_eq!(TokenHash::from_hex(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn debug_output_hides_the_token() {
        assert_eq!(format!("{:?}", Token::generate().unwrap()), "Token(…)");
    }
}
