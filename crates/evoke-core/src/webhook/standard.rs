//! Standard Webhooks, both directions
//! (<https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>).

use std::ops::RangeInclusive;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::Mac;

use super::scheme::mac;
use crate::secret::SecretValue;

/// Header field: the delivery's id, the same for every attempt.
pub const ID: &str = "webhook-id";
/// Header field: when this attempt was made, whole seconds since 1970.
pub const TIMESTAMP: &str = "webhook-timestamp";
/// Header field: the signatures, separated by blanks.
pub const SIGNATURE: &str = "webhook-signature";

/// The key in a secret: what follows `whsec_`, from base64. `None` when it is not of that form.
pub(super) fn key(secret: &SecretValue) -> Option<Vec<u8>> {
    let text = secret.reveal().trim();
    STANDARD.decode(text.strip_prefix("whsec_").unwrap_or(text)).ok().filter(|key| !key.is_empty())
}

/// Bytes that the key of a sender has.
const KEY_BYTES: RangeInclusive<usize> = 24..=64;

/// Whether this server may sign with a secret, by the specification's rule for keys. The error follows the secret's name.
pub fn check(secret: &SecretValue) -> Result<(), &'static str> {
    match key(secret) {
        Some(key) if KEY_BYTES.contains(&key.len()) => Ok(()),
        Some(_) => Err("is whsec_ and a key, but one of less than 24 or more than 64 bytes"),
        None => Err("is not of the form whsec_<base64>, with a key of 24 to 64 bytes"),
    }
}

/// The value of [`SIGNATURE`]: a signature for each of `secrets`, the newest first, so that a receiver may know only one
/// of them. `None` when one is not of the form `whsec_<base64>`.
pub fn sign(secrets: &[SecretValue], id: &str, seconds: u64, body: &[u8]) -> Option<String> {
    let time = seconds.to_string();
    let one = |secret: &SecretValue| {
        let mac = mac(&key(secret)?, &[id.as_bytes(), b".", time.as_bytes(), b".", body]);
        Some(format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes())))
    };
    let signatures: Option<Vec<String>> = secrets.iter().map(one).collect();
    signatures.map(|signatures| signatures.join(" "))
}
