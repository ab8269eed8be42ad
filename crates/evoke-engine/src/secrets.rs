//! Secrets of apps: sealed in the store, open only in this process's memory.
//!
//! Each value is sealed with XChaCha20-Poly1305 under the server's key, bound to its app and name, so that a copy of the
//! store alone tells nothing and a value cannot be moved to another name. Whoever has the key file too can read all.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use evoke_core::decorator::{BuiltIn, Check, Credential};
use evoke_core::id::AppName;
use evoke_core::manifest::Manifest;
use evoke_core::secret::{SecretName, SecretValue};
use evoke_core::store::{Expect, ListQuery, SettleError, Space, StoreError, Write};
use evoke_core::time::Timestamp;
use parking_lot::RwLock;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq as _};
use tokio::sync::watch;

use crate::deploy::{self, json_value, read_json};
use crate::engine::Inner;
use crate::{Engine, StartError};

/// Nothing, where it is not hex; that is like no digest.
fn from_hex(text: &str) -> Vec<u8> {
    let byte = |at: usize| text.get(at..at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok());
    (0..text.len()).step_by(2).map_while(byte).collect()
}

const NONCE_BYTES: usize = 24;

/// The key all secrets are sealed with. Its `Debug` form hides it.
#[derive(Clone)]
pub struct SealingKey([u8; 32]);

impl SealingKey {
    /// Takes 256 random bits.
    pub const fn new(bits: [u8; 32]) -> Self {
        Self(bits)
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new(&self.0.into())
    }

    fn seal(&self, place: &str, value: &SecretValue) -> Result<String, SecretError> {
        let mut nonce = [0; NONCE_BYTES];
        getrandom::fill(&mut nonce).map_err(|error| SecretError::Randomness(error.to_string()))?;
        let payload = Payload { msg: value.reveal().as_bytes(), aad: place.as_bytes() };
        let sealed = self.cipher().encrypt(XNonce::from_slice(&nonce), payload);
        let sealed = sealed.map_err(|_| SecretError::Randomness("the cipher refused".to_owned()))?;
        Ok(STANDARD.encode([nonce.as_slice(), &sealed].concat()))
    }

    fn open(&self, place: &str, sealed: &str) -> Option<SecretValue> {
        let bytes = STANDARD.decode(sealed).ok()?;
        let (nonce, sealed) = bytes.split_at_checked(NONCE_BYTES)?;
        let payload = Payload { msg: sealed, aad: place.as_bytes() };
        let plain = self.cipher().decrypt(XNonce::from_slice(nonce), payload).ok()?;
        SecretValue::new(String::from_utf8(plain).ok()?)
    }
}

impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealingKey(…)")
    }
}

/// A secret as one may see it: without its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretEntry {
    /// Its name.
    pub name: SecretName,
    /// When it was set last.
    pub set_at: Timestamp,
    /// It cannot be opened: the key is not the one it was sealed with.
    pub unreadable: bool,
}

/// Why a secret was not changed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SecretError {
    /// The value is larger than a secret may be.
    #[error("secret {name} has {bytes} bytes, the limit is {limit}")]
    TooLarge {
        /// Which.
        name: SecretName,
        /// Its size.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// The app has too many.
    #[error("app {app} has {limit} secrets already, which is the limit")]
    TooMany {
        /// Which.
        app: AppName,
        /// The limit.
        limit: usize,
    },
    /// The app of that name is being removed.
    #[error("app {app} is being removed; set its secrets when that is done")]
    BeingRemoved {
        /// Which.
        app: AppName,
    },
    /// The operating system gave no random bits.
    #[error("no random bits to seal a secret with: {0}")]
    Randomness(String),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What the store has of a secret.
#[derive(Serialize, Deserialize)]
struct Sealed {
    sealed: String,
    set_at: Timestamp,
}

type Opened = BTreeMap<AppName, BTreeMap<SecretName, Secret>>;

#[derive(Clone, PartialEq, Eq)]
struct Secret {
    /// `None` when it cannot be opened.
    value: Option<SecretValue>,
    set_at: Timestamp,
}

/// All secrets, open.
pub(crate) struct Vault {
    key: SealingKey,
    opened: RwLock<Arc<Opened>>,
    /// How often that has changed.
    changes: watch::Sender<u64>,
}

impl Vault {
    pub fn new(key: SealingKey) -> Self {
        Self { key, opened: RwLock::default(), changes: watch::Sender::default() }
    }

    pub fn get(&self, app: &AppName, name: &SecretName) -> Option<SecretValue> {
        self.opened.read().get(app)?.get(name)?.value.clone()
    }

    /// Those of `names` that have a value, in that order.
    pub fn all(&self, app: &AppName, names: &[SecretName]) -> Vec<SecretValue> {
        names.iter().filter_map(|name| self.get(app, name)).collect()
    }

    /// The secrets the app's functions want and do not have, and those of webhooks that have none at all.
    pub fn missing(&self, manifest: &Manifest) -> Vec<SecretName> {
        let unset = |name: &&SecretName| self.get(&manifest.app, name).is_none();
        let functions = manifest.functions.values().flat_map(|function| &function.secrets).filter(unset);
        let webhooks = manifest.webhooks.iter().map(|webhook| &webhook.secrets);
        let webhooks = webhooks.filter(|names| names.iter().all(|name| unset(&name))).flatten();
        let checks = manifest.decorators.values().filter_map(|rule| match rule {
            BuiltIn::Check(check) => Some(check),
            _ => None,
        });
        let checks = checks.flat_map(Check::secrets).filter(unset);
        let mut missing: Vec<SecretName> = functions.chain(webhooks).chain(checks).cloned().collect();
        missing.sort();
        missing.dedup();
        missing
    }
}

impl Engine {
    /// Whether `presented` is one of `known`. Takes as long whichever it is, or none.
    pub fn admits(&self, app: &AppName, known: &[Credential], presented: &str) -> bool {
        let presented = Sha256::digest(presented);
        let is_it = |credential: &Credential| {
            let digest = match credential {
                Credential::Secret(name) => {
                    let value = self.0.vault.get(app, name);
                    // One without a value admits nobody.
                    value.map(|value| Sha256::digest(value.reveal()).to_vec()).unwrap_or_default()
                }
                Credential::Sha256(hex) => from_hex(hex),
            };
            presented.as_slice().ct_eq(&digest)
        };
        known.iter().fold(Choice::from(0), |found, credential| found | is_it(credential)).into()
    }

    /// Sets a secret of an app, which need not be deployed yet. Functions that use it get fresh instances.
    pub async fn set_secret(
        &self,
        app: &AppName,
        name: &SecretName,
        value: &SecretValue,
    ) -> Result<(), SecretError> {
        let inner = &self.0;
        let (bytes, limit) = (value.reveal().len(), inner.limits.secret_bytes);
        if bytes > limit {
            return Err(SecretError::TooLarge { name: name.clone(), bytes, limit });
        }
        let known =
            inner.vault.opened.read().get(app).map(|secrets| (secrets.len(), secrets.contains_key(name)));
        if known.is_some_and(|(count, has)| !has && count >= inner.limits.secrets) {
            return Err(SecretError::TooMany { app: app.clone(), limit: inner.limits.secrets });
        }
        let place = place(app, name);
        let sealed = Sealed { sealed: inner.vault.key.seal(&place, value)?, set_at: inner.now() };
        let turn = inner.directory.changing.lock().await;
        if inner.removals.contains(app) {
            return Err(SecretError::BeingRemoved { app: app.clone() });
        }
        put(inner, place, Some(json_value(&sealed))).await?;
        drop(turn);
        Ok(reload(inner).await?)
    }

    /// Removes a secret; `false` when there was none.
    pub async fn remove_secret(&self, app: &AppName, name: &SecretName) -> Result<bool, StoreError> {
        let inner = &self.0;
        let place = place(app, name);
        if inner.store.get(&Space::secrets(), &place, inner.now()).await?.is_none() {
            return Ok(false);
        }
        put(inner, place, None).await?;
        reload(inner).await?;
        Ok(true)
    }

    /// Changes after secrets were set or removed, when what is deployed then gets them.
    pub fn secret_changes(&self) -> watch::Receiver<u64> {
        self.0.vault.changes.subscribe()
    }

    /// The secrets of an app, by name.
    pub fn secrets(&self, app: &AppName) -> Vec<SecretEntry> {
        let opened = self.0.vault.opened.read().clone();
        let entry = |(name, secret): (&SecretName, &Secret)| SecretEntry {
            name: name.clone(),
            set_at: secret.set_at,
            unreadable: secret.value.is_none(),
        };
        opened.get(app).into_iter().flatten().map(entry).collect()
    }
}

fn place(app: &AppName, name: &SecretName) -> String {
    format!("{app}/{name}")
}

async fn put(inner: &Inner, key: String, value: Option<evoke_core::store::Value>) -> Result<(), StoreError> {
    let write = Write { space: Space::secrets(), key, value, expires_at: None, expect: Expect::Anything };
    match inner.store.write(vec![write], inner.now()).await {
        Ok(_) => Ok(()),
        Err(SettleError::Store(error)) => Err(error),
        Err(other) => Err(StoreError::Unavailable(other.to_string())),
    }
}

/// Opens what the store has.
pub(crate) async fn load(inner: &Inner) -> Result<(), StartError> {
    let opened = read(inner).await?;
    *inner.vault.opened.write() = Arc::new(opened);
    Ok(())
}

/// Takes over what another node, or this one, sets.
pub(crate) async fn follow(inner: Arc<Inner>, mut changes: watch::Receiver<u64>) {
    while let Some(Ok(())) = inner.ended.run_until_cancelled(changes.changed()).await {
        if let Err(error) = reload(&inner).await {
            tracing::warn!(%error, "secrets could not be read anew");
        }
    }
}

pub(crate) async fn reload(inner: &Inner) -> Result<(), StoreError> {
    let opened = Arc::new(read(inner).await?);
    let former = std::mem::replace(&mut *inner.vault.opened.write(), opened.clone());
    let changed = former.keys().chain(opened.keys()).filter(|app| former.get(*app) != opened.get(*app));
    let mut changed: Vec<&AppName> = changed.collect();
    if !changed.is_empty() {
        inner.vault.changes.send_modify(|changes| *changes += 1);
    }
    changed.dedup();
    for app in changed {
        deploy::renew(inner, app).await;
    }
    Ok(())
}

async fn read(inner: &Inner) -> Result<Opened, StoreError> {
    let mut opened = Opened::new();
    let mut after = None;
    loop {
        let limit = inner.limits.page;
        let query = ListQuery { space: Space::secrets(), prefix: String::new(), after, limit };
        let entries = inner.store.list(&query, inner.now()).await?;
        for entry in &entries {
            let Sealed { sealed, set_at } = read_json(&entry.key, &entry.value)?;
            let names = entry.key.split_once('/');
            let names =
                names.and_then(|(app, name)| Some((AppName::new(app).ok()?, SecretName::new(name).ok()?)));
            let (app, name) =
                names.ok_or_else(|| StoreError::Corrupt(format!("secret {}: no such name", entry.key)))?;
            let value = inner.vault.key.open(&entry.key, &sealed);
            if value.is_none() {
                tracing::error!(%app, secret = %name, "a secret was sealed with another key and cannot be opened");
            }
            opened.entry(app).or_default().insert(name, Secret { value, set_at });
        }
        match entries.last() {
            Some(last) if entries.len() == limit => after = Some(last.key.clone()),
            _ => return Ok(opened),
        }
    }
}
