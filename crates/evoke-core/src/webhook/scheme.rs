//! The signature schemes.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use http::HeaderMap;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::standard;
use crate::manifest::units;
use crate::secret::SecretValue;
use crate::time::Timestamp;

/// Signatures of one request that are looked at; rotation needs two or three.
const SIGNATURES_MAX: usize = 16;

/// How a sender proves that it has the secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "provider", rename_all = "snake_case")]
pub enum Scheme {
    /// `X-Hub-Signature-256: sha256=<hex>` over the body
    /// (<https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries>). Has no time in it.
    Github,
    /// `webhook-id`, `webhook-timestamp`, `webhook-signature: v1,<base64> …` over `<id>.<timestamp>.<body>`
    /// (<https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>).
    Standard {
        /// How far the sender's time may be from ours, either way.
        #[serde(with = "units::duration_text")]
        tolerance: Duration,
    },
    /// `Stripe-Signature: t=<time>,v1=<hex>,…` over `<time>.<body>` (<https://docs.stripe.com/webhooks/signature>).
    Stripe {
        /// How far the sender's time may be from ours, either way.
        #[serde(with = "units::duration_text")]
        tolerance: Duration,
    },
    /// HMAC-SHA256 over the body in a header field of the sender's choice. Has no time in it.
    Hmac {
        /// The field, lower case.
        header: String,
        /// How the signature is written.
        encoding: Encoding,
        /// What stands before it, such as `sha256=`.
        prefix: String,
    },
    /// `Authorization: Bearer <secret>`, as the CloudEvents HTTP webhook specification has it; the body is a CloudEvent.
    Cloudevents,
}

/// How bytes are written in a header field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Encoding {
    /// Hexadecimal digits of either case.
    Hex,
    /// Base64 with padding.
    Base64,
}

/// Why a request was not accepted, for the operator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// A field that must be there is not, or is there twice.
    #[error("header field {0} is missing, or there more than once")]
    Field(String),
    /// A field does not look as the scheme has it.
    #[error("header field {0} has not the form of its scheme")]
    Form(String),
    /// The sender's time is too far from ours.
    #[error("its time is {seconds} s from this server's clock, the tolerance is {tolerance_s} s")]
    Time {
        /// Positive when it is in the past.
        seconds: i64,
        /// The limit.
        tolerance_s: u64,
    },
    /// A secret is not one of the scheme: `whsec_` and base64.
    #[error("the secret is not whsec_ followed by base64")]
    Secret,
    /// No secret is set under any of the names.
    #[error("none of its secrets is set")]
    NoSecret,
    /// No signature is that of any secret.
    #[error("no signature matches")]
    Signature,
}

/// Whether the request was made by somebody who has one of `secrets`.
pub fn verify(
    scheme: &Scheme,
    secrets: &[SecretValue],
    headers: &HeaderMap,
    body: &[u8],
    now: Timestamp,
) -> Result<(), Refused> {
    if secrets.is_empty() {
        return Err(Refused::NoSecret);
    }
    let plain = || secrets.iter().map(|secret| secret.reveal().as_bytes().to_vec());
    match scheme {
        Scheme::Github => {
            let found = signature(field(headers, "x-hub-signature-256")?, "sha256=", Encoding::Hex);
            let found = found.ok_or_else(|| Refused::Form("x-hub-signature-256".to_owned()))?;
            matches(plain(), &[body], &[found])
        }
        Scheme::Hmac { header, encoding, prefix } => {
            let found = signature(field(headers, header)?, prefix, *encoding);
            matches(plain(), &[body], &[found.ok_or_else(|| Refused::Form(header.clone()))?])
        }
        Scheme::Standard { tolerance } => {
            let (id, time) = (field(headers, standard::ID)?, field(headers, standard::TIMESTAMP)?);
            check_time(time, standard::TIMESTAMP, *tolerance, now)?;
            let signed = field(headers, standard::SIGNATURE)?.split(' ').take(SIGNATURES_MAX);
            let found: Vec<Vec<u8>> =
                signed.filter_map(|one| signature(one, "v1,", Encoding::Base64)).collect();
            let keys: Option<Vec<Vec<u8>>> = secrets.iter().map(standard::key).collect();
            let parts: [&[u8]; 5] = [id.as_bytes(), b".", time.as_bytes(), b".", body];
            matches(keys.ok_or(Refused::Secret)?.into_iter(), &parts, &found)
        }
        Scheme::Stripe { tolerance } => {
            const FIELD: &str = "stripe-signature";
            let pairs = field(headers, FIELD)?.split(',').take(2 * SIGNATURES_MAX);
            let pairs: Vec<(&str, &str)> = pairs.filter_map(|pair| pair.trim().split_once('=')).collect();
            let time = pairs.iter().find(|(name, _)| *name == "t").map(|(_, value)| *value);
            let time = time.ok_or_else(|| Refused::Form(FIELD.to_owned()))?;
            check_time(time, FIELD, *tolerance, now)?;
            // Other schemes, such as v0 of test deliveries, are ignored, or they could be used to go back to them.
            let signed = pairs.iter().filter(|(name, _)| *name == "v1").take(SIGNATURES_MAX);
            let found: Vec<Vec<u8>> =
                signed.filter_map(|(_, value)| signature(value, "", Encoding::Hex)).collect();
            matches(plain(), &[time.as_bytes(), b".", body], &found)
        }
        Scheme::Cloudevents => {
            let value = field(headers, "authorization")?;
            let (kind, token) =
                value.split_once(' ').ok_or_else(|| Refused::Form("authorization".to_owned()))?;
            // Digests have one length, so that not even that of the secret shows in the time.
            let digest = |bytes: &[u8]| Sha256::digest(bytes);
            let given = digest(token.trim().as_bytes());
            let known = plain().any(|secret| bool::from(digest(&secret).ct_eq(&given)));
            if known && kind.eq_ignore_ascii_case("bearer") { Ok(()) } else { Err(Refused::Signature) }
        }
    }
}

/// The one value of a field.
fn field<'h>(headers: &'h HeaderMap, name: &str) -> Result<&'h str, Refused> {
    let mut values = headers.get_all(name).iter();
    match (values.next().and_then(|value| value.to_str().ok()), values.next()) {
        (Some(value), None) => Ok(value.trim()),
        _ => Err(Refused::Field(name.to_owned())),
    }
}

fn signature(text: &str, prefix: &str, encoding: Encoding) -> Option<Vec<u8>> {
    let text = text.strip_prefix(prefix)?;
    match encoding {
        Encoding::Base64 => STANDARD.decode(text).ok(),
        Encoding::Hex => {
            let digits = text.as_bytes();
            let nibble = |digit: u8| char::from(digit).to_digit(16);
            let byte = |pair: &[u8]| u8::try_from(nibble(pair[0])? << 4 | nibble(pair[1])?).ok();
            if digits.len() % 2 == 1 { None } else { digits.chunks(2).map(byte).collect() }
        }
    }
}

fn check_time(text: &str, name: &str, tolerance: Duration, now: Timestamp) -> Result<(), Refused> {
    let digits = !text.is_empty() && text.len() <= 12 && text.bytes().all(|byte| byte.is_ascii_digit());
    let then: i64 = text.parse().ok().filter(|_| digits).ok_or_else(|| Refused::Form(name.to_owned()))?;
    let seconds = (now.as_millis() / 1_000) as i64 - then;
    let tolerance_s = tolerance.as_secs();
    if seconds.unsigned_abs() <= tolerance_s { Ok(()) } else { Err(Refused::Time { seconds, tolerance_s }) }
}

fn matches(
    keys: impl Iterator<Item = Vec<u8>>,
    parts: &[&[u8]],
    signatures: &[Vec<u8>],
) -> Result<(), Refused> {
    for key in keys {
        let mac = mac(&key, parts);
        if signatures.iter().any(|signature| mac.clone().verify_slice(signature).is_ok()) {
            return Ok(());
        }
    }
    Err(Refused::Signature)
}

/// HMAC-SHA256 over `parts` one after the other.
pub(super) fn mac(key: &[u8], parts: &[&[u8]]) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    parts.iter().for_each(|part| mac.update(part));
    mac
}
