//! Waits for particular events: kept by a run with its other effects, ended once, by an event or by their time.
//!
//! A wait is an entry of the store (`evoke-core/src/wait.rs` has its form); an [`index`] in memory finds those that an
//! event may end. Ending one ([`wake`]) deletes the entry and queues the invocation of its function in one transaction,
//! on the condition that the entry is there: whoever comes second finds nothing.
//!
//! **No event is missed**, because both sides write before they look: an event is committed and then looked up in the
//! index (with the list made before, or again if the index changed since); a wait is committed, put into the index, and
//! then the log is searched from where its attempt began. A start puts all waits into the index and searches for all.

mod index;
mod wake;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use evoke_core::filter::Allowance;
use evoke_core::filter::bounds::WORK_MAX;
use evoke_core::id::{AppName, RunId, WaitId};
use evoke_core::store::{
    Append, Appended, Entry, Expect, ListQuery, SettleError, Space, StoreError, Value, ValueKind, Write,
};
use evoke_core::time::Timestamp;
use evoke_core::wait::Wait;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::Engine;
use index::{Index, Known};
pub(crate) use wake::{load, wake};

/// Entries read at once.
const PAGE: usize = 256;

/// A wait by its place in the store: `app/wait`.
type Key = Arc<str>;

/// All waits, as far as they have to be known in memory, and what is to be done about them.
#[derive(Default)]
pub(crate) struct Waits {
    state: Mutex<State>,
    /// Of the index; an event meets an empty one without a lock.
    known: AtomicUsize,
    /// The newest position of the log that was seen.
    newest: AtomicU64,
    changed: Notify,
}

#[derive(Default)]
struct State {
    apps: BTreeMap<AppName, Index>,
    /// Places taken by attempts that are not committed.
    reserved: BTreeMap<AppName, usize>,
    /// How often a wait was put into an index.
    generation: u64,
    by_age: BTreeMap<u64, Key>,
    by_time: BTreeSet<(Timestamp, Key)>,
    /// Written, perhaps, and not read yet.
    added: BTreeSet<Key>,
    /// In the index, and an event of the log may have ended them.
    unsearched: BTreeSet<Key>,
    /// Ended by the event at this position.
    met: BTreeMap<Key, u64>,
}

/// What a commit may mean for waits, noted before it is made.
pub(crate) struct Noted {
    generation: u64,
    /// Waits that each of the events may end.
    met: Vec<Vec<Key>>,
    /// Waits it adds.
    added: Vec<Key>,
}

/// A place for one more wait of an app, until it is in the index or dropped.
#[derive(Debug)]
pub(crate) struct Reserved {
    waits: Arc<Waits>,
    app: AppName,
}

impl std::fmt::Debug for Waits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Waits").field("known", &self.known).finish_non_exhaustive()
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        if let Some(reserved) = self.waits.state.lock().reserved.get_mut(&self.app) {
            *reserved -= 1;
        }
    }
}

impl Waits {
    /// The newest position of the log that was seen: an event accepted from now on has a later one.
    pub fn newest(&self) -> u64 {
        self.newest.load(Ordering::SeqCst)
    }

    /// Makes room for one more wait of `app`; `None` when there are `limit`.
    pub fn reserve(self: &Arc<Self>, app: &AppName, limit: usize) -> Option<Reserved> {
        let mut state = self.state.lock();
        let known = state.apps.get(app).map_or(0, Index::len);
        let added = state.added.iter().filter(|key| app_of(key) == app.as_str()).count();
        let reserved = state.reserved.entry(app.clone()).or_default();
        if known + added + *reserved >= limit {
            return None;
        }
        *reserved += 1;
        Some(Reserved { waits: self.clone(), app: app.clone() })
    }

    /// Looks at what is about to be committed.
    pub fn before(&self, writes: &[Write], items: &[Append]) -> Noted {
        let space = Space::waits();
        let added = writes.iter().filter(|write| write.space == space);
        let added = added.map(|write| Key::from(write.key.as_str())).collect();
        if self.known.load(Ordering::SeqCst) == 0 {
            return Noted { generation: 0, met: vec![Vec::new(); items.len()], added };
        }
        let state = self.state.lock();
        // What cannot be decided with it is looked at again before a wait ends.
        let mut allowance = Allowance::new(WORK_MAX);
        let met = items.iter().map(|item| {
            let (event, index) = (item.event.as_ref(), state.apps.get(&item.app));
            event.zip(index).map_or_else(Vec::new, |(event, index)| index.find(event, &mut allowance))
        });
        Noted { generation: state.generation, met: met.collect(), added }
    }

    /// Notes what became of that. `appended` is `None` when whether it happened is unknown.
    pub fn after(&self, noted: Noted, appended: Option<&[Appended]>) {
        if let Some(newest) = appended.and_then(|all| all.iter().map(|one| one.seq).max()) {
            self.newest.fetch_max(newest, Ordering::SeqCst);
        }
        let Noted { generation, met, added } = noted;
        let any_event = !met.is_empty();
        if added.is_empty() && (!any_event || self.known.load(Ordering::SeqCst) == 0) {
            return;
        }
        let mut state = self.state.lock();
        let mut changed = !added.is_empty();
        state.added.extend(added);
        for (at, keys) in met.into_iter().enumerate() {
            changed |= !keys.is_empty();
            match appended.and_then(|all| all.get(at)) {
                Some(done) => keys.into_iter().for_each(|key| state.meet(key, done.seq)),
                None => state.unsearched.extend(keys),
            }
        }
        // These were put into the index while the event was on its way: their search may have come too early.
        if any_event && state.generation > generation {
            let missed: Vec<Key> = state.by_age.range(generation + 1..).map(|(_, key)| key.clone()).collect();
            changed |= !missed.is_empty();
            state.unsearched.extend(missed);
        }
        drop(state);
        if changed {
            self.changed.notify_one();
        }
    }

    fn insert(&self, known: Known) {
        let mut state = self.state.lock();
        state.generation += 1;
        let generation = state.generation;
        let (key, until) = (known.key.clone(), known.until);
        state.by_age.insert(generation, key.clone());
        state.by_time.insert((until, key.clone()));
        state.unsearched.insert(key.clone());
        let index = state.apps.entry(known.app.clone()).or_default();
        if let Some(former) = index.insert(known, generation) {
            state.by_age.remove(&former);
        } else {
            self.known.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Forgets a wait that is over.
    fn remove(&self, app: &AppName, key: &Key) {
        let mut state = self.state.lock();
        state.met.remove(key);
        state.unsearched.remove(key);
        let Some(index) = state.apps.get_mut(app) else { return };
        let Some((known, generation)) = index.remove(key) else { return };
        if index.len() == 0 {
            state.apps.remove(app);
        }
        state.by_age.remove(&generation);
        state.by_time.remove(&(known.until, key.clone()));
        self.known.fetch_sub(1, Ordering::SeqCst);
    }

    /// Forgets all waits of an app.
    pub fn forget(&self, app: &AppName) {
        let mut state = self.state.lock();
        let of_app = |key: &Key| app_of(key) == app.as_str();
        if let Some(index) = state.apps.remove(app) {
            self.known.fetch_sub(index.len(), Ordering::SeqCst);
        }
        state.by_age.retain(|_, key| !of_app(key));
        state.by_time.retain(|(_, key)| !of_app(key));
        state.added.retain(|key| !of_app(key));
        state.unsearched.retain(|key| !of_app(key));
        state.met.retain(|key, _| !of_app(key));
        state.reserved.remove(app);
    }
}

impl State {
    fn get(&self, key: &Key) -> Option<&Known> {
        self.apps.get(app_of(key))?.get(key)
    }

    /// Notes that the event at `seq` may end a wait; the first counts. One from before it began is not meant.
    fn meet(&mut self, key: Key, seq: u64) {
        if self.get(&key).is_some_and(|known| seq > known.after_seq) {
            let first = self.met.entry(key).or_insert(seq);
            *first = seq.min(*first);
        }
    }

    /// Notes that the event at `seq` does not end the wait after all: a later one may, and is searched for.
    fn part(&mut self, app: &AppName, key: &Key, seq: u64) {
        if self.met.get(key) == Some(&seq) {
            self.met.remove(key);
        }
        if let Some(known) = self.apps.get_mut(app).and_then(|index| index.get_mut(key)) {
            known.searched = known.searched.min(seq);
            self.unsearched.insert(key.clone());
        }
    }
}

impl Engine {
    /// Waits of an app, by their runs, oldest first; after this one, at most `limit`; of one run, when it is named.
    pub async fn waits(
        &self,
        app: &AppName,
        run: Option<&RunId>,
        after: Option<&WaitId>,
        limit: usize,
    ) -> Result<Vec<Wait>, StoreError> {
        let prefix = run.map_or_else(|| format!("{app}/"), |run| format!("{app}/{run}.w"));
        let after = after.map(|wait| key_of(app, wait).to_string());
        let query = ListQuery { space: Space::waits(), prefix, after, limit };
        let entries = self.0.store.list(&query, self.now()).await?;
        Ok(entries.iter().filter_map(read).collect())
    }

    /// Takes a wait back: its function is not called. `false` when it is over, or never was.
    pub async fn cancel_wait(&self, app: &AppName, wait: &WaitId) -> Result<bool, StoreError> {
        let inner = &self.0;
        let key = key_of(app, wait);
        let Some(entry) = inner.store.get(&Space::waits(), &key, inner.now()).await? else {
            return Ok(false);
        };
        let written = inner.store.write(vec![delete(&entry)], inner.now()).await;
        match written {
            Ok(_) => {
                inner.waits.remove(app, &key);
                Ok(true)
            }
            // It ended at this moment.
            Err(SettleError::Conflict { .. } | SettleError::StaleLease { .. }) => Ok(false),
            Err(SettleError::Store(error)) => Err(error),
        }
    }
}

/// What has to be written for a wait.
pub(crate) fn keep(wait: &Wait) -> Write {
    let bytes = serde_json::to_vec(wait).expect("a wait has only string keys");
    Write {
        space: Space::waits(),
        key: key_of(&wait.app, &wait.id).to_string(),
        value: Some(Value { kind: ValueKind::Json, bytes: bytes.into() }),
        expires_at: None,
        expect: Expect::Anything,
    }
}

fn delete(entry: &Entry) -> Write {
    Write {
        space: Space::waits(),
        key: entry.key.clone(),
        value: None,
        expires_at: None,
        expect: Expect::Revision(entry.revision),
    }
}

/// `None` for one that cannot be read, which is told and left where it is.
fn read(entry: &Entry) -> Option<Wait> {
    let read = serde_json::from_slice(&entry.value.bytes);
    read.inspect_err(|error| tracing::error!(%error, wait = entry.key, "a stored wait cannot be read")).ok()
}

fn key_of(app: &AppName, wait: &WaitId) -> Key {
    format!("{app}/{wait}").into()
}

fn app_of(key: &str) -> &str {
    key.split_once('/').map_or(key, |(app, _)| app)
}
