//! Events to be delivered later: kept until their time, then accepted like any other.
//!
//! An event waits in two entries of the store: one that sorts by its time, with the event, and one under its `(source,
//! id)`, which says what that time is. Delivering takes both away in the transaction that accepts the event. Whoever is
//! subscribed at that moment gets it. Sent again before, the same event moves to its new time; cancelled, it is gone.

use std::sync::Arc;
use std::time::Duration;

use evoke_core::event::{CORRELATION_ID, Event, EventRef};
use evoke_core::id::AppName;
use evoke_core::record::Cause;
use evoke_core::store::{
    Entry, Expect, ListQuery, SettleError, Settlement, Space, StoreError, Value, ValueKind, Verdict, Write,
};
use evoke_core::time::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use tokio::sync::{Mutex, Notify};

use crate::Engine;
use crate::arrival::Arrival;
use crate::engine::Inner;
use crate::ingest::{PublishError, append_event, queues_of};

/// How often the store is asked at least: another server may have accepted something.
const LOOK: Duration = Duration::from_secs(5);
/// Pause before the store is asked again after an error.
const AFTER_ERROR: Duration = Duration::from_secs(1);
/// Entries read at once.
const PAGE: usize = 64;

/// When an event is to be delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// At this time.
    At(Timestamp),
    /// So long from now.
    In(Duration),
}

impl When {
    /// The time; `None` when it is more than `limit` away.
    pub fn resolve(self, now: Timestamp, limit: Duration) -> Option<Timestamp> {
        let at = match self {
            Self::At(at) => at,
            Self::In(delay) => now.after(delay),
        };
        (at.since(now) <= limit).then_some(at)
    }
}

/// An event that waits for its time.
#[derive(Debug, Clone)]
pub struct Delayed {
    /// When it will be delivered.
    pub deliver_at: Timestamp,
    /// When it was accepted.
    pub accepted_at: Timestamp,
    /// The event.
    pub event: Event,
}

/// How many wait, and whoever waits for them.
#[derive(Default)]
pub(crate) struct Later {
    /// At least as many as there are; counted anew when that is too many.
    count: Mutex<Option<usize>>,
    accepted: Notify,
}

impl Later {
    /// Makes room for `more` events; `false` when there is none.
    pub async fn reserve(&self, inner: &Inner, more: usize) -> Result<bool, StoreError> {
        let mut count = self.count.lock().await;
        let limit = inner.limits.delayed_events;
        let known = match *count {
            Some(count) if count + more <= limit => count,
            _ => count_of(inner).await?,
        };
        let fits = known + more <= limit;
        *count = Some(if fits { known + more } else { known });
        Ok(fits)
    }

    /// Has the times looked at again.
    pub fn wake(&self) {
        self.accepted.notify_one();
    }
}

/// What is stored of it.
#[derive(Serialize, Deserialize)]
struct Waiting {
    app: AppName,
    accepted_at: Timestamp,
    cause: Cause,
    event: Event,
}

impl Engine {
    /// Accepts events to be delivered later; what is due already is delivered at once. An event that waits already gets the
    /// new time. Durable when it returns. The time is that of all of them.
    pub async fn publish_later(
        &self,
        app: &AppName,
        events: Vec<Event>,
        when: When,
        from: Arrival,
    ) -> Result<(Timestamp, Vec<EventRef>), PublishError> {
        let inner = &self.0;
        let _work = inner.begin().ok_or(PublishError::Draining)?;
        // Held until it is written, so that the app is not removed meanwhile.
        let found = inner.directory.snapshot().apps.get(app).cloned();
        let _found = found.ok_or_else(|| PublishError::NotFound { app: app.clone() })?;
        inner.check_events(&events)?;
        let now = inner.now();
        let limit = inner.limits.delay;
        let at = when.resolve(now, limit).ok_or(PublishError::TooFar { limit })?;
        if !inner.later.reserve(inner, events.len()).await? {
            return Err(PublishError::TooManyWait { limit: inner.limits.delayed_events });
        }
        let names = events.iter().map(Event::reference).collect();
        let mut writes = Vec::with_capacity(2 * events.len());
        for event in events {
            let cause = inner.cause_of_arrival(event.extension_str(CORRELATION_ID), &from);
            writes.extend(keep(app, event, cause, at, now));
        }
        let written = inner.store.write(writes, now).await;
        inner.later.wake();
        match written {
            Ok(_) => Ok((at, names)),
            Err(SettleError::Store(error)) => Err(error.into()),
            Err(other) => Err(StoreError::Unavailable(other.to_string()).into()),
        }
    }

    /// Events of an app that wait for their time, the earliest first, at most `limits.page` of them.
    pub async fn delayed(&self, app: &AppName) -> Result<Vec<Delayed>, StoreError> {
        let inner = &self.0;
        let mut found = Vec::new();
        let mut after = None;
        loop {
            let entries = page(inner, after).await?;
            for entry in &entries {
                let (Some(deliver_at), Ok(waiting)) = (time_of(&entry.key), read(entry)) else { continue };
                if waiting.app == *app && found.len() < inner.limits.page {
                    let Waiting { accepted_at, event, .. } = waiting;
                    found.push(Delayed { deliver_at, accepted_at, event });
                }
            }
            match entries.last() {
                Some(last) if entries.len() == PAGE && found.len() < inner.limits.page => {
                    after = Some(last.key.clone());
                }
                _ => return Ok(found),
            }
        }
    }

    /// Takes an event back that waits for its time. `false` when it does not, or no longer.
    pub async fn cancel(&self, app: &AppName, event: &EventRef) -> Result<bool, StoreError> {
        let inner = &self.0;
        loop {
            let id = key_of(app, event);
            let Some(entry) = inner.store.get(&Space::later_ids(), &id, inner.now()).await? else {
                return Ok(false);
            };
            let due = String::from_utf8_lossy(&entry.value.bytes).into_owned();
            let mut writes = take_away(&id, &due);
            writes[0].expect = Expect::Revision(entry.revision);
            match inner.store.write(writes, inner.now()).await {
                Ok(_) => return Ok(true),
                // It was delivered or moved at this moment: look again.
                Err(SettleError::Conflict { .. }) => {}
                Err(SettleError::Store(error)) => return Err(error),
                Err(SettleError::StaleLease { .. }) => return Ok(false),
            }
        }
    }
}

/// What has to be written for `event` to be delivered at `at`. A time it may have had before no longer counts.
pub(crate) fn keep(
    app: &AppName,
    mut event: Event,
    cause: Cause,
    at: Timestamp,
    now: Timestamp,
) -> Vec<Write> {
    if event.time().is_none() {
        event = event.with_time(now.to_rfc3339());
    }
    let id = key_of(app, &event.reference());
    let due = format!("{:016x}/{id}", at.0);
    let waiting = Waiting { app: app.clone(), accepted_at: now, cause, event };
    let bytes = serde_json::to_vec(&waiting).expect("an event has only string keys");
    let put = |space: Space, key: &str, bytes: Vec<u8>, kind: ValueKind| Write {
        space,
        key: key.to_owned(),
        value: Some(Value { kind, bytes: bytes.into() }),
        expires_at: None,
        expect: Expect::Anything,
    };
    vec![
        put(Space::later(), &due, bytes, ValueKind::Json),
        put(Space::later_ids(), &id, due.clone().into_bytes(), ValueKind::Bytes),
    ]
}

/// Whether one of `writes` is of an event to be delivered later.
pub(crate) fn is_among(writes: &[Write]) -> bool {
    let later = Space::later();
    writes.iter().any(|write| write.space == later)
}

/// Delivers what is due until the engine stops taking work.
pub(crate) async fn deliver(inner: Arc<Inner>) {
    while !inner.stopping.is_cancelled() {
        let accepted = inner.later.accepted.notified();
        let wait = match look(&inner).await {
            Ok(wait) => wait,
            Err(error) => {
                tracing::warn!(%error, "delayed events could not be looked up or delivered");
                AFTER_ERROR
            }
        };
        tokio::select! {
            biased;
            () = accepted => {}
            () = tokio::time::sleep(wait) => {}
            () = inner.stopping.cancelled() => return,
        }
    }
}

/// Delivers all that is due, and says how long there is nothing to do.
async fn look(inner: &Inner) -> Result<Duration, SettleError> {
    let mut after = None;
    loop {
        let entries = page(inner, after).await?;
        for entry in &entries {
            let now = inner.now();
            match time_of(&entry.key) {
                Some(at) if at > now => return Ok(at.since(now).min(LOOK)),
                _ => {}
            }
            let Some(_work) = inner.begin() else { return Ok(LOOK) };
            match deliver_one(inner, entry, now).await {
                // It was cancelled or moved at this moment; what is left of it is found next time.
                Ok(()) | Err(SettleError::Conflict { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        match entries.last() {
            Some(last) if entries.len() == PAGE => after = Some(last.key.clone()),
            _ => return Ok(LOOK),
        }
    }
}

async fn deliver_one(inner: &Inner, entry: &Entry, now: Timestamp) -> Result<(), SettleError> {
    let Ok(Waiting { app, cause, event, .. }) = read(entry) else {
        return Err(StoreError::Corrupt(format!("delayed event {}", entry.key)).into());
    };
    let accepting = inner.accepting().await;
    // An app that is deployed again finds its events.
    let Some(to) = accepting.snapshot.apps.get(&app) else { return Ok(()) };
    let id = key_of(&app, &event.reference());
    let known = inner.store.get(&Space::later_ids(), &id, now).await?;
    let Some(known) = known.filter(|known| *known.value.bytes == *entry.key.as_bytes()) else {
        // It has another time by now.
        let stale = Write { expect: Expect::Revision(entry.revision), ..delete(Space::later(), &entry.key) };
        return inner.store.write(vec![stale], now).await.map(drop);
    };
    let item = append_event(inner, (&accepting, to), event, &cause, &mut inner.allowance(), now);
    let due = queues_of(std::slice::from_ref(&item));
    let waits = inner.waits.before(&[], std::slice::from_ref(&item));
    let mut writes = take_away(&id, &entry.key);
    writes[0].expect = Expect::Revision(known.revision);
    let settlement = Settlement {
        lease: None,
        verdict: Verdict::Complete,
        run: None,
        others: Vec::new(),
        writes,
        appends: vec![item],
    };
    let settled = inner.store.settle(settlement, now).await;
    inner.waits.after(waits, settled.as_ref().ok().map(|settled| settled.appended.as_slice()));
    // Also after an error: whether it happened may be unknown.
    inner.agenda.wake(due, now);
    settled.map(drop)
}

async fn count_of(inner: &Inner) -> Result<usize, StoreError> {
    let (mut count, mut after) = (0, None);
    loop {
        let (space, prefix, limit) = (Space::later_ids(), String::new(), inner.limits.page);
        let entries = inner.store.list(&ListQuery { space, prefix, after, limit }, inner.now()).await?;
        count += entries.len();
        match entries.last() {
            Some(last) if entries.len() == limit && count <= inner.limits.delayed_events => {
                after = Some(last.key.clone());
            }
            _ => return Ok(count),
        }
    }
}

async fn page(inner: &Inner, after: Option<String>) -> Result<Vec<Entry>, StoreError> {
    let query = ListQuery { space: Space::later(), prefix: String::new(), after, limit: PAGE };
    inner.store.list(&query, inner.now()).await
}

fn read(entry: &Entry) -> Result<Waiting, serde_json::Error> {
    serde_json::from_slice(&entry.value.bytes)
}

/// The time a key sorts by.
fn time_of(key: &str) -> Option<Timestamp> {
    u64::from_str_radix(key.get(..16)?, 16).ok().map(Timestamp)
}

/// `app/` and 32 hex digits of a SHA-256 over source and id.
fn key_of(app: &AppName, event: &EventRef) -> String {
    let digest =
        Sha256::new().chain_update(&event.source).chain_update("\n").chain_update(&event.id).finalize();
    let hex: String = digest[..16].iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{app}/{hex}")
}

/// Both entries; the one under the id first.
fn take_away(id: &str, due: &str) -> Vec<Write> {
    vec![delete(Space::later_ids(), id), delete(Space::later(), due)]
}

fn delete(space: Space, key: &str) -> Write {
    Write { space, key: key.to_owned(), value: None, expires_at: None, expect: Expect::Anything }
}
