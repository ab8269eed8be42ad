//! The seam to durable storage.
//!
//! One trait with the verbs of the domain, for whatever back end: the log of events and the invocations they cause,
//! key-value state, objects, and the records of runs. Its promises are those the weakest back end can keep, and
//! `testing::conformance` (feature `testing`) holds every back end against them:
//!
//! * What `append`, `settle` or `write` acknowledged survives the death of the process and of the machine.
//! * `settle` is one transaction: the verdict, the state writes and the emitted events, or nothing.
//! * A lease belongs to whoever holds its newest token; older tokens are refused, always.
//! * An invocation is never leased before it is due, nor again after it was settled.
//! * Of the invocations of one queue with the same key ([`RunRecord::key`]) only the one accepted first can be leased, until it
//!   is complete or a dead letter; those of other keys, and without one, are not held up.
//! * An error means *unknown*, not *undone*, where it is [`StoreError::Outcome`]: repeat with the same ids.
//!
//! Time is always a parameter; a back end never reads a clock.

mod append;
mod entry;
mod error;
mod progress;
mod query;
mod retention;
mod settlement;
mod space;

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::event::Event;
use crate::holdings::Holdings;
use crate::id::{AppName, FunctionName, RunId, SubscriptionName};
use crate::record::{LogRecord, RunRecord};
use crate::time::Timestamp;

pub use append::{Append, Appended, Dedup, NewInvocation, StoredRequest};
pub use entry::{Entry, Expect, Value, ValueKind, Write};
pub use error::{SettleError, StoreError};
pub use query::{DeadLetterQuery, EventQuery, ListQuery, LogQuery, RunQuery};
pub use retention::{Held, Retention};
pub use settlement::{Cancellation, Conclusion, Settled, Settlement, Verdict};
pub use space::Space;

/// What durable storage must do. All methods wait for the disk or the network; none may be called from a blocking context.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Accepts work. Per item: unless its `(app, dedup)` was accepted within the de-duplication window, stores the
    /// event (if any), its invocations as queued, and their run records, all in one transaction. The answer has one
    /// entry per item, in order, and comes only when all are durable.
    ///
    /// A `(app, dedup)` is remembered until [`Store::sweep`] forgets it. An item that has a run id which is already
    /// known is a duplicate too, so that repeating an append without `dedup` is safe as well. Equal items of one call
    /// are duplicates of the first of them.
    async fn append(&self, items: Vec<Append>, now: Timestamp) -> Result<Vec<Appended>, StoreError>;

    /// The queues that have unleased invocations, with the time the earliest is due (also when that has passed), and
    /// those whose leases will run out, with that time.
    async fn due(&self) -> Result<Vec<QueueDue>, StoreError>;

    /// Takes up to `max` invocations of `queue` that are due at `now` and not leased (or whose lease ended at or before
    /// `now`), longest available first, for `hold`. Counts as an attempt of each; its run record becomes `Running`.
    async fn lease(
        &self,
        queue: &Queue,
        max: usize,
        now: Timestamp,
        hold: Duration,
    ) -> Result<Vec<Leased>, StoreError>;

    /// How many invocations of `queue` are pending, and how they are at `now`; each counted up to `max`, those that are due
    /// first before the others.
    async fn waiting(&self, queue: &Queue, now: Timestamp, max: u64) -> Result<Waiting, StoreError>;

    /// Moves the end of a lease to `until`. `false` when the lease is no longer held. A lease that ran out is held until
    /// somebody else takes the invocation: only then is its token an older one.
    async fn extend(&self, lease: &Lease, until: Timestamp) -> Result<bool, StoreError>;

    /// Ends an attempt: see [`Settlement`]. After [`StoreError::Outcome`] repeat it: the answer
    /// [`SettleError::StaleLease`] then means that it had happened.
    async fn settle(&self, settlement: Settlement, now: Timestamp) -> Result<Settled, SettleError>;

    /// Dead letters, by run id, newest first.
    async fn dead_letters(&self, query: &DeadLetterQuery) -> Result<Vec<DeadLetter>, StoreError>;

    /// Puts dead letters back in their queues, due at `now`, with a fresh count of attempts under the same run id.
    /// Returns those that were dead letters of `app`, in the order asked for.
    async fn redrive(&self, app: &AppName, runs: &[RunId], now: Timestamp) -> Result<Vec<RunId>, StoreError>;

    /// Lets dead letters go with their input: they will never be tried again, and their runs say so
    /// ([`RunRecord::purge`]). Returns those that were dead letters of `app`, in the order asked for.
    async fn purge(&self, app: &AppName, runs: &[RunId], now: Timestamp) -> Result<Vec<RunId>, StoreError>;

    /// Ends an invocation that waits or is leased, for good: see [`Cancellation`]. A lease of it is no longer held, so that of
    /// this and a settlement exactly one happens. `None`, and nothing is done, when it is neither; else the answer to each
    /// append. After [`StoreError::Outcome`] repeat it: `None` may then mean that it had happened.
    async fn cancel(
        &self,
        cancellation: Cancellation,
        now: Timestamp,
    ) -> Result<Option<Vec<Appended>>, StoreError>;

    /// The entry at `key`, unless it expired by `now`.
    async fn get(&self, space: &Space, key: &str, now: Timestamp) -> Result<Option<Entry>, StoreError>;

    /// Entries whose key starts with `prefix` and sorts after `after`, by key, at most `limit`.
    async fn list(&self, query: &ListQuery, now: Timestamp) -> Result<Vec<Entry>, StoreError>;

    /// Writes state outside of any attempt: all of `writes`, or none when an expectation does not hold. They happen in
    /// order: the expectation of a write sees what the writes before it did.
    /// Returns the new revision of each, in order (for a deletion, the revision at which it happened).
    async fn write(&self, writes: Vec<Write>, now: Timestamp) -> Result<Vec<u64>, SettleError>;

    /// A receiver whose value changes whenever something in `space` was written (not when an entry expires). The value
    /// is the revision; at first, some earlier one.
    fn watch(&self, space: &Space) -> watch::Receiver<u64>;

    /// Keeps `bytes` under their own SHA-256 (lower-case hex), which it returns. Durable when it returns.
    async fn put_object(&self, bytes: Bytes) -> Result<String, StoreError>;

    /// What `put_object` kept.
    async fn get_object(&self, digest: &str) -> Result<Option<Bytes>, StoreError>;

    /// Removes objects that no document of Evoke's own (`sys/…`) refers to by its member `bundle`; how many. One goes only when it
    /// was found so by an earlier call too, at least `grace` before `now`, and was not put in between: whoever puts an object has
    /// that long to write what refers to it. What earlier calls found is forgotten by a restart.
    async fn sweep_objects(&self, grace: Duration, now: Timestamp) -> Result<u64, StoreError>;

    /// Stored events, newest first; from a position on, oldest first.
    async fn events(&self, query: &EventQuery) -> Result<Vec<StoredEvent>, StoreError>;

    /// Adds or replaces run records of sync calls and adds log lines. Unlike the verbs above it may be buffered: a
    /// crash can lose the last moments of it. [`Store::runs`] and [`Store::logs`] see it at once.
    async fn record(&self, runs: Vec<RunRecord>, logs: Vec<LogRecord>) -> Result<(), StoreError>;

    /// Run records, by id, newest first.
    async fn runs(&self, query: &RunQuery) -> Result<Vec<RunRecord>, StoreError>;

    /// Log lines with their positions, oldest first.
    async fn logs(&self, query: &LogQuery) -> Result<Vec<(u64, LogRecord)>, StoreError>;

    /// Deletes what `keep` no longer asks for: expired keys, old de-duplication entries, events that nothing needs, ended
    /// runs, logs. Returns how much went; does a bounded amount of work a call.
    ///
    /// An event is needed by each of its invocations that is not over (queued, leased, behind another of its key) or is a dead
    /// letter, and by what [`Retention::held`] says. One that is needed stays whatever its age, and so do these; only where the
    /// app says so ([`TypeRule::even_if_needed`](crate::archive::TypeRule)) its invocations are given up instead, but never
    /// one that is leased: their runs end as [`RunState::Failed`](crate::record::RunState::Failed) by [`RunRecord::expire`].
    ///
    /// Beyond the bounds on number and bytes the oldest go, but not an ended run that is still asked for: that of a call with a
    /// de-duplication entry, and one that has a wait (`sys/waits`). Dead letters have not ended.
    ///
    /// An event that goes before its duplicates are forgotten leaves its attributes behind until then; one whose invocations
    /// were given up, until their runs go.
    async fn sweep(&self, keep: &Retention, now: Timestamp) -> Result<u64, StoreError>;

    /// How much there is of an app. It may be counted while others write.
    async fn holdings(&self, app: &AppName) -> Result<Holdings, StoreError>;

    /// Takes away what an app has: events with what recognises their duplicates, invocations whatever they are at, run
    /// records, log lines, and its functions' state ([`Space::app`]); a lease of one of its invocations is no longer held. Does a
    /// bounded amount of work a call: `true` when it is to be called again. What is written meanwhile may stay. Documents of
    /// Evoke's own spaces are not touched.
    async fn erase(&self, app: &AppName) -> Result<bool, StoreError>;

    /// Makes everything durable and refuses further work. The last call of a clean shutdown.
    async fn close(&self) -> Result<(), StoreError>;
}

/// Where invocations of one function wait: those of each of its subscriptions apart, so that one can be held up and the
/// others are not, and its calls.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Queue {
    /// The app.
    pub app: AppName,
    /// The function.
    pub function: FunctionName,
    /// Deliveries of this subscription; `None` for calls.
    pub subscription: Option<SubscriptionName>,
}

impl Queue {
    /// The calls of a function.
    pub fn calls(app: AppName, function: FunctionName) -> Self {
        Self { app, function, subscription: None }
    }

    /// Where a run waits.
    pub fn of(run: &RunRecord) -> Self {
        Self { app: run.app.clone(), function: run.function.clone(), subscription: run.subscription.clone() }
    }
}

/// A queue and when it next wants attention.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueDue {
    /// Which.
    pub queue: Queue,
    /// When: the earliest due time of what is not leased, or the earliest end of a lease.
    pub at: Timestamp,
}

/// How much there is in a queue.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Waiting {
    /// Pending, leased and held up ones included.
    pub pending: u64,
    /// Those that could be leased.
    pub available: u64,
    /// Since when the first of those could be.
    pub since: Option<Timestamp>,
    /// Those that are leased, by a lease that has not run out.
    pub leased: u64,
    /// Those that were attempted before, and are not now.
    pub retrying: u64,
    /// When the oldest of those that were counted was accepted.
    pub oldest: Option<Timestamp>,
}

/// The right to settle one attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// Of which invocation.
    pub run: RunId,
    /// Fencing token: greater than that of any earlier lease of this invocation.
    pub token: u64,
}

/// An invocation to attempt now.
#[derive(Debug, Clone)]
pub struct Leased {
    /// The right to settle it.
    pub lease: Lease,
    /// Its record, in state `Running`. If an earlier lease ran out, that attempt is in it as `Lost`.
    pub run: RunRecord,
    /// 1 for the first attempt; redriving starts again at 1.
    pub attempt: u32,
    /// What to hand to the function.
    pub input: StoredInput,
}

/// What a queued invocation hands to its function.
#[derive(Debug, Clone)]
pub enum StoredInput {
    /// An event.
    Event(Event),
    /// A request whose sender did not wait.
    Request(StoredRequest),
}

impl StoredInput {
    /// Bytes of it: of an event in JSON format, of a request its body.
    pub fn bytes(&self) -> u64 {
        match self {
            Self::Event(event) => event.json_bytes(),
            Self::Request(request) => request.body.len() as u64,
        }
    }
}

/// An event as the log has it.
#[derive(Debug, Clone)]
pub struct StoredEvent {
    /// Position in the log.
    pub seq: u64,
    /// Whose.
    pub app: AppName,
    /// When it was accepted.
    pub accepted_at: Timestamp,
    /// The event.
    pub event: Event,
    /// The runs it caused when it was accepted.
    pub runs: Vec<RunId>,
    /// The version of the app's deployment whose subscriptions were asked then, where that is known.
    pub version: Option<u64>,
    /// The runs it caused when it was delivered again, oldest first.
    pub again: Vec<RunId>,
    /// When it was no longer kept, if that is over: its data is gone, and it is found by its id only.
    pub expired_at: Option<Timestamp>,
}

/// An invocation that was given up.
#[derive(Debug, Clone)]
pub struct DeadLetter {
    /// Its record.
    pub run: RunRecord,
    /// Why.
    pub reason: String,
    /// When.
    pub at: Timestamp,
    /// Its input, complete.
    pub input: StoredInput,
}
