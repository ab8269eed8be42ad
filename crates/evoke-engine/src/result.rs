//! The answers to calls that nobody waited for: kept in the transaction that ends the call, for a while, and up to a bound.

use bytes::BytesMut;
use evoke_core::answer::{Answer, DESCRIBING};
use evoke_core::id::{AppName, RunId};
use evoke_core::limits::Limits;
use evoke_core::record::RunRecord;
use evoke_core::runtime::Response;
use evoke_core::store::{Expect, Space, StoreError, Value, ValueKind, Write};
use evoke_core::time::Timestamp;
use futures_util::future::BoxFuture;

use crate::Engine;
use crate::ingest::header_texts;

/// An answer, and how long it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredAnswer {
    /// It.
    pub answer: Answer,
    /// Until then.
    pub until: Option<Timestamp>,
}

impl Engine {
    /// What the function answered to the asynchronous call `run`, while that is kept.
    pub async fn result(&self, app: &AppName, run: &RunId) -> Result<Option<StoredAnswer>, StoreError> {
        let found = self.0.store.get(&Space::results(), &key(app, run), self.now()).await?;
        let Some(entry) = found else { return Ok(None) };
        let answer = Answer::decode(&entry.value.bytes)
            .ok_or_else(|| StoreError::Corrupt(format!("the answer kept of run {run}")))?;
        Ok(Some(StoredAnswer { answer, until: entry.expires_at }))
    }
}

/// Reads a response to its end; of a long body the beginning is kept. `None` when it broke off.
pub(crate) fn read(mut response: Response, limits: &Limits) -> BoxFuture<'static, Option<Answer>> {
    let most = usize::try_from(limits.result_bytes).unwrap_or(usize::MAX);
    Box::pin(async move {
        let (mut bytes, mut kept) = (0, BytesMut::new());
        while let Some(chunk) = response.body.chunk().await {
            let chunk = chunk.ok()?;
            bytes += chunk.len() as u64;
            kept.extend_from_slice(&chunk[..chunk.len().min(most - kept.len())]);
        }
        let mut headers = header_texts(&response.headers);
        headers.retain(|(name, _)| DESCRIBING.contains(&name.as_str()));
        Some(Answer { status: response.status.as_u16(), headers, bytes, body: kept.freeze() })
    })
}

/// Keeps the answer of `run`.
pub(crate) fn keep(run: &RunRecord, answer: &Answer, until: Timestamp) -> Write {
    let value = Some(Value { kind: ValueKind::Bytes, bytes: answer.encode() });
    let (space, key) = (Space::results(), key(&run.app, &run.id));
    Write { space, key, value, expires_at: Some(until), expect: Expect::Anything }
}

fn key(app: &AppName, run: &RunId) -> String {
    format!("{app}/{run}")
}
