//! A delivery as a request: header fields and body, signed.

use std::fmt::Write as _;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use sha2::{Digest, Sha256};

use super::ContentMode;
use crate::event::http::{encode_batch, encode_binary, encode_structured};
use crate::event::{Event, EventError};
use crate::secret::SecretValue;
use crate::time::Timestamp;
use crate::webhook::standard;

/// Bytes of an id in a header field; longer ones are named by their digest.
const ID_BYTES_MAX: usize = 256;

/// Header fields and body of a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Among them `content-type` and the three of Standard Webhooks.
    pub headers: HeaderMap,
    /// The body, as it was signed.
    pub body: Bytes,
}

/// Why a delivery cannot be made a request of.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// An event has something that no header field can carry.
    #[error(transparent)]
    Event(#[from] EventError),
    /// A secret is not of the form `whsec_<base64>`.
    #[error("a secret that signs is not of the form whsec_<base64>")]
    Secret,
}

/// The request that delivers `events`: one of them, or a batch. `secrets` sign it, the newest first; `now` is the time of
/// this attempt. The same events have the same `webhook-id` each time, that of an event being its own id.
pub fn message(
    events: &[Event],
    mode: ContentMode,
    secrets: &[SecretValue],
    now: Timestamp,
) -> Result<Message, MessageError> {
    let (mut headers, body) = match (events, mode) {
        ([event], ContentMode::Structured) => encode_structured(event),
        ([event], ContentMode::Binary) => encode_binary(event)?,
        (events, _) => encode_batch(events),
    };
    let seconds = now.as_millis() / 1_000;
    let id = match events {
        [event] => id(event.id()),
        events => batch_id(events),
    };
    let signature = standard::sign(secrets, &id, seconds, &body).ok_or(MessageError::Secret)?;
    let fields =
        [(standard::ID, id), (standard::TIMESTAMP, seconds.to_string()), (standard::SIGNATURE, signature)];
    for (name, value) in fields {
        let value = HeaderValue::from_str(&value).map_err(|_| EventError::new("its id cannot be sent"))?;
        headers.insert(HeaderName::from_static(name), value);
    }
    Ok(Message { headers, body })
}

/// The id as it can stand in a header field and in what is signed, where a full stop separates: of visible ASCII, and
/// without one. What is not is percent-encoded, and what is too long named by its digest.
fn id(of: &str) -> String {
    let mut text = String::with_capacity(of.len());
    for byte in of.bytes() {
        match byte {
            b'.' | b'%' => drop(write!(text, "%{byte:02X}")),
            b'!'..=b'~' => text.push(char::from(byte)),
            _ => drop(write!(text, "%{byte:02X}")),
        }
    }
    if text.len() > ID_BYTES_MAX { digest("sha256_", [of]) } else { text }
}

fn batch_id(events: &[Event]) -> String {
    digest("batch_", events.iter().flat_map(|event| [event.source(), event.id()]))
}

fn digest<'a>(prefix: &str, texts: impl IntoIterator<Item = &'a str>) -> String {
    let mut digest = Sha256::new();
    for text in texts {
        digest.update((text.len() as u64).to_be_bytes());
        digest.update(text);
    }
    let hex: String = digest.finalize()[..16].iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{prefix}{hex}")
}
