//! Ends waits: reads those that were added, searches the log for them, and calls their functions.
//!
//! One task does it. Whatever fails is left where it was and tried again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use evoke_core::event::Attribute;
use evoke_core::filter::Allowance;
use evoke_core::id::AppName;
use evoke_core::store::{
    Append, EventQuery, ListQuery, NewInvocation, Queue, SettleError, Settlement, Space, StoreError,
    StoredEvent, Verdict,
};
use evoke_core::time::Timestamp;
use evoke_core::wait::Wait;
use futures_util::StreamExt;

use super::index::Known;
use super::{Key, PAGE, app_of, delete, read};
use crate::engine::Inner;
use crate::ingest;
use crate::trace::TraceParent;

/// The longest the task sleeps: clocks may be set.
const LOOK: Duration = Duration::from_secs(5);
/// Pause before the store is asked again after an error.
const AFTER_ERROR: Duration = Duration::from_secs(1);
/// Waits that are ended at the same time; the store commits them together.
const AT_ONCE: usize = 64;
/// Types that are searched for one by one; for more of them the whole log of an app is read once.
const TYPES_MAX: usize = 8;

/// Reads all waits, and the newest position of the log.
pub(crate) async fn load(inner: &Inner) -> Result<(), StoreError> {
    let newest = inner.store.events(&EventQuery { limit: 1, ..EventQuery::default() }).await?;
    inner.waits.newest.fetch_max(newest.first().map_or(0, |event| event.seq), Ordering::SeqCst);
    let mut after = None;
    loop {
        let query = ListQuery { space: Space::waits(), prefix: String::new(), after, limit: PAGE };
        let entries = inner.store.list(&query, inner.now()).await?;
        for entry in &entries {
            if let Some(wait) = read(entry) {
                inner.waits.insert(Known::of(wait));
            }
        }
        match entries.last() {
            Some(last) if entries.len() == PAGE => after = Some(last.key.clone()),
            _ => return Ok(()),
        }
    }
}

/// Ends waits until the engine stops taking work.
pub(crate) async fn wake(inner: Arc<Inner>) {
    while !inner.stopping.is_cancelled() {
        let changed = inner.waits.changed.notified();
        let pause = match work(&inner).await {
            Ok(pause) => pause,
            Err(error) => {
                tracing::warn!(%error, "waits could not be looked up or ended");
                AFTER_ERROR
            }
        };
        tokio::select! {
            biased;
            () = changed => {}
            () = tokio::time::sleep(pause) => {}
            () = inner.stopping.cancelled() => return,
        }
    }
}

/// Does all there is to do, and says how long there is nothing more.
async fn work(inner: &Inner) -> Result<Duration, SettleError> {
    loop {
        add(inner).await?;
        search(inner).await?;
        // One whose time is over is searched for once more before that counts.
        let overdue = take_overdue(inner);
        search_for(inner, overdue.clone()).await?;
        let (met, over) = {
            let state = inner.waits.state.lock();
            let met: Vec<(Key, u64)> = state.met.iter().map(|(key, seq)| (key.clone(), *seq)).collect();
            let over = overdue.into_iter().filter(|key| !state.met.contains_key(key));
            (met, over.collect::<Vec<Key>>())
        };
        if met.is_empty() && over.is_empty() {
            return Ok(pause(inner));
        }
        let Some(_work) = inner.begin() else { return Ok(LOOK) };
        let ends = met.into_iter().map(|(key, seq)| (key, Some(seq)));
        let ends = ends.chain(over.into_iter().map(|key| (key, None)));
        let ending = futures_util::stream::iter(ends).map(|(key, seq)| end(inner, key, seq));
        let ended: Vec<Result<(), SettleError>> = ending.buffer_unordered(AT_ONCE).collect().await;
        ended.into_iter().collect::<Result<(), SettleError>>()?;
    }
}

/// Puts what was written into the index.
async fn add(inner: &Inner) -> Result<(), StoreError> {
    let added = inner.waits.state.lock().added.clone();
    for key in added {
        let entry = inner.store.get(&Space::waits(), &key, inner.now()).await?;
        if let Some(wait) = entry.as_ref().and_then(read) {
            inner.waits.insert(Known::of(wait));
        }
        inner.waits.state.lock().added.remove(&key);
    }
    Ok(())
}

async fn search(inner: &Inner) -> Result<(), StoreError> {
    let unsearched = std::mem::take(&mut inner.waits.state.lock().unsearched);
    let searched = search_for(inner, unsearched.iter().cloned().collect()).await;
    if searched.is_err() {
        inner.waits.state.lock().unsearched.extend(unsearched);
    }
    searched
}

/// Finds the events of the log that end these.
async fn search_for(inner: &Inner, keys: Vec<Key>) -> Result<(), StoreError> {
    let mut apps: BTreeMap<AppName, Search> = BTreeMap::new();
    {
        let state = inner.waits.state.lock();
        for key in keys {
            let Some((app, index)) = state.apps.get_key_value(app_of(&key)) else { continue };
            let Some(known) = index.get(&key) else { continue };
            apps.entry(app.clone()).or_default().add(key, known);
        }
    }
    for (app, Search { keys, types, after }) in apps {
        let newest = match types {
            Some(types) if types.len() <= TYPES_MAX => {
                let mut newest = after;
                for ty in types {
                    newest = newest.max(search_log(inner, &app, Some(ty), &keys, after).await?);
                }
                newest
            }
            _ => search_log(inner, &app, None, &keys, after).await?,
        };
        let mut state = inner.waits.state.lock();
        let Some(index) = state.apps.get_mut(&app) else { continue };
        for key in &keys {
            if let Some(known) = index.get_mut(key) {
                known.searched = known.searched.max(newest);
            }
        }
    }
    Ok(())
}

/// What is searched for in the log of one app.
struct Search {
    keys: BTreeSet<Key>,
    /// `None` when one of them takes a prefix.
    types: Option<BTreeSet<String>>,
    /// The position after which the first of them may be.
    after: u64,
}

impl Default for Search {
    fn default() -> Self {
        Self { keys: BTreeSet::new(), types: Some(BTreeSet::new()), after: u64::MAX }
    }
}

impl Search {
    fn add(&mut self, key: Key, known: &Known) {
        match known.exact_type() {
            Some(ty) => drop(self.types.as_mut().map(|types| types.insert(ty.to_owned()))),
            None => self.types = None,
        }
        self.after = self.after.min(known.searched);
        self.keys.insert(key);
    }
}

/// Reads the events after a position from the newest to the oldest. Returns the position of the newest.
async fn search_log(
    inner: &Inner,
    app: &AppName,
    ty: Option<String>,
    keys: &BTreeSet<Key>,
    after: u64,
) -> Result<u64, StoreError> {
    let mut query = EventQuery { app: Some(app.clone()), ty, limit: PAGE, ..EventQuery::default() };
    let mut newest = after;
    loop {
        let events = inner.store.events(&query).await?;
        let all = events.len();
        let later: Vec<StoredEvent> = events.into_iter().take_while(|event| event.seq > after).collect();
        for StoredEvent { seq, event, accepted_at, .. } in &later {
            // Each by itself: filters take their time, and who publishes waits for the lock.
            let mut state = inner.waits.state.lock();
            newest = newest.max(*seq);
            let Some(index) = state.apps.get(app) else { return Ok(newest) };
            let fits = |key: &Key| {
                let fits = |known: &Known| *seq > known.searched && *accepted_at <= known.until;
                keys.contains(key) && index.get(key).is_some_and(fits)
            };
            let found: Vec<Key> =
                index.find(event, &mut Allowance::unlimited()).into_iter().filter(fits).collect();
            found.into_iter().for_each(|key| state.meet(key, *seq));
        }
        match later.last() {
            Some(oldest) if later.len() == PAGE && all == PAGE => query.before = Some(oldest.seq),
            _ => return Ok(newest),
        }
    }
}

fn take_overdue(inner: &Inner) -> Vec<Key> {
    let now = inner.now();
    let state = inner.waits.state.lock();
    let overdue = state.by_time.iter().take_while(|(until, _)| *until <= now).take(PAGE);
    overdue.filter(|(_, key)| !state.met.contains_key(key)).map(|(_, key)| key.clone()).collect()
}

/// Until the next time-out.
fn pause(inner: &Inner) -> Duration {
    let next = inner.waits.state.lock().by_time.first().map(|(until, _)| *until);
    next.map_or(LOOK, |until| until.since(inner.now()).min(LOOK))
}

/// Ends one, by the event at a position or by its time.
async fn end(inner: &Inner, key: Key, seq: Option<u64>) -> Result<(), SettleError> {
    let now = inner.now();
    let entry = inner.store.get(&Space::waits(), &key, now).await?;
    let Some((entry, wait)) = entry.and_then(|entry| read(&entry).map(|wait| (entry, wait))) else {
        forget(inner, &key);
        return Ok(());
    };
    let event = match seq {
        Some(seq) => match event_at(inner, &wait, seq).await? {
            Some(stored) => Some(stored.event),
            None => {
                inner.waits.state.lock().part(&wait.app, &key, seq);
                return Ok(());
            }
        },
        None => None,
    };
    let item = invocation(inner, &wait, event.as_ref(), now);
    let queue = Queue::calls(wait.app.clone(), wait.then.clone());
    let settlement = Settlement {
        lease: None,
        verdict: Verdict::Complete,
        run: None,
        others: Vec::new(),
        writes: vec![delete(&entry)],
        appends: vec![item],
    };
    let settled = inner.store.settle(settlement, now).await;
    // Also after an error: whether it happened may be unknown.
    inner.agenda.wake([queue], now);
    match settled {
        // A conflict: it was ended or taken back before, and is only known here still.
        Ok(_) | Err(SettleError::Conflict { .. }) => {
            forget(inner, &key);
            Ok(())
        }
        Err(error) => Err(error),
    }
}

fn forget(inner: &Inner, key: &Key) {
    let app = inner.waits.state.lock().apps.get_key_value(app_of(key)).map(|(app, _)| app.clone());
    if let Some(app) = app {
        inner.waits.remove(&app, key);
    }
}

/// The event at a position, if it ends the wait.
async fn event_at(inner: &Inner, wait: &Wait, seq: u64) -> Result<Option<StoredEvent>, StoreError> {
    let query =
        EventQuery { app: Some(wait.app.clone()), before: Some(seq + 1), limit: 1, ..EventQuery::default() };
    let found = inner.store.events(&query).await?.pop();
    Ok(found.filter(|found| found.seq == seq && wait.is_ended_by(&found.event, seq, found.accepted_at)))
}

/// The call of the function that the wait ends in, with the event that tells it.
fn invocation(
    inner: &Inner,
    wait: &Wait,
    event: Option<&evoke_core::event::Event>,
    now: Timestamp,
) -> Append {
    let header = Attribute::String(TraceParent::header(&wait.cause));
    let told = wait.told(event, now).with_extension(TraceParent::NAME, header);
    let (app, function) = (wait.app.clone(), wait.then.clone());
    let trigger = wait.ending(event);
    let run = ingest::queued(inner.new_run_id(), app.clone(), function, trigger, wait.cause.clone(), now);
    // The wait itself is what there is once.
    Append {
        app,
        dedup: None,
        event: Some(told),
        invocations: vec![NewInvocation { run, due_at: now, request: None }],
        version: None,
        again: None,
    }
}
