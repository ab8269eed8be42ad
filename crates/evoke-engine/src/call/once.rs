//! `Idempotency-Key`: the same key within a day gets the first answer again
//! (<https://datatracker.ietf.org/doc/html/draft-ietf-httpapi-idempotency-key-header>).
//!
//! The answer is written in the same transaction as the call's effects, on the condition that nobody else wrote one:
//! however often a client repeats, and whatever dies in between, the effects are there once. A call that failed before
//! its answer leaves nothing, so repeating it makes it anew.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use evoke_core::body::{Body, BodyError};
use evoke_core::id::RunId;
use evoke_core::runtime::{Request, Response};
use evoke_core::store::{Expect, Space, StoreError, Value, ValueKind, Write};
use http::StatusCode;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Answered, Ask, CallError, make};
use crate::attempt::Remember;
use crate::engine::Inner;
use crate::ingest;

/// How long an answer is kept.
const KEPT: Duration = Duration::from_secs(24 * 60 * 60);

/// Keys of calls that are running on this node.
#[derive(Clone, Default)]
pub(crate) struct KeysInUse(Arc<Mutex<HashSet<String>>>);

/// A key in use; free again when dropped.
pub(super) struct InUse {
    keys: KeysInUse,
    name: String,
}

/// What a call with a key brings along.
pub(crate) struct Keyed {
    pub(super) remember: Remember,
    pub(super) in_use: InUse,
}

impl KeysInUse {
    fn take(&self, name: String) -> Option<InUse> {
        let is_new = self.0.lock().insert(name.clone());
        is_new.then(|| InUse { keys: self.clone(), name })
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        self.keys.0.lock().remove(&self.name);
    }
}

/// An answer as it is kept: a JSON head, a line feed, the body.
#[derive(Serialize, Deserialize)]
struct Head {
    run: RunId,
    /// SHA-256 of the request, hex.
    request: String,
    status: u16,
    headers: Vec<(String, String)>,
}

/// Makes the call unless it was answered before.
pub(super) async fn call(inner: &Arc<Inner>, mut ask: Ask, key: String) -> Result<Answered, CallError> {
    let name = format!("{}/{}/{key}", ask.app, ask.function);
    let request = keep(&mut ask.request, inner.limits.body_bytes).await?;
    // Taken before the store is asked: whoever had the key until now has left its answer there.
    let in_use = inner.keys_in_use.take(name.clone());
    let stored = inner.store.get(&Space::answers(), &name, inner.now()).await?;
    if let Some(entry) = stored {
        let (head, body) = read(&entry.value.bytes)
            .ok_or_else(|| StoreError::Corrupt(format!("the answer kept for idempotency key {key:?}")))?;
        if head.request != request {
            return Err(CallError::KeyReused { key });
        }
        return Ok(Answered { run: head.run.clone(), response: replay(&head, body), replayed: true });
    }
    let Some(in_use) = in_use else { return Err(CallError::KeyInUse { key }) };
    let (run, expires_at) = (ask.run.clone(), Some(inner.now().after(KEPT)));
    let remember = move |response: &Response, body: &Bytes| {
        let bytes = write(run.clone(), request.clone(), response, body);
        let value = Some(Value { kind: ValueKind::Bytes, bytes });
        Write { space: Space::answers(), key: name.clone(), value, expires_at, expect: Expect::Absent }
    };
    let keyed = Keyed { remember: Arc::new(remember), in_use };
    make(inner, ask, Some(keyed)).await.map_err(|error| match error {
        // By another node, which answered meanwhile: what this one did was not kept.
        CallError::KeyInUse { .. } => CallError::KeyInUse { key },
        error => error,
    })
}

/// Reads the request's body into memory and returns the request's fingerprint.
async fn keep(request: &mut Request, limit_bytes: u64) -> Result<String, CallError> {
    let body = std::mem::take(&mut request.body).collect(limit_bytes).await.map_err(|error| match error {
        BodyError::TooLarge { limit_bytes } => CallError::BodyTooLarge { limit_bytes },
        BodyError::Aborted(_) | BodyError::HandedOn => CallError::BodyAborted(error.to_string()),
    })?;
    let mut hash = Sha256::new();
    for part in [request.method.as_str().as_bytes(), target(&request.uri).as_bytes(), &body] {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    request.body = Body::Full(body);
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Path and query. The host is left out: a client that repeats may reach this server under another address.
fn target(uri: &str) -> &str {
    let after_scheme = uri.find("://").map_or(uri, |at| &uri[at + 3..]);
    after_scheme.find('/').map_or("/", |at| &after_scheme[at..])
}

fn write(run: RunId, request: String, response: &Response, body: &Bytes) -> Bytes {
    let headers = ingest::header_texts(&response.headers);
    let head = Head { run, request, status: response.status.as_u16(), headers };
    let mut bytes = serde_json::to_vec(&head).expect("texts and numbers have a JSON form");
    bytes.push(b'\n');
    bytes.extend_from_slice(body);
    bytes.into()
}

fn read(bytes: &Bytes) -> Option<(Head, Bytes)> {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    Some((serde_json::from_slice(&bytes[..end]).ok()?, bytes.slice(end + 1..)))
}

fn replay(head: &Head, body: Bytes) -> Response {
    Response {
        status: StatusCode::from_u16(head.status).unwrap_or(StatusCode::OK),
        headers: ingest::header_map(&head.headers),
        body: Body::Full(body),
    }
}
