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

mod query;
mod space;

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::archive::Archive;
use crate::event::Event;
use crate::holdings::Holdings;
use crate::id::{AppName, FunctionName, RunId, SubscriptionName};
use crate::outcome::{Failure, FailureCode, Outcome};
use crate::record::{AttemptRecord, LogRecord, RunRecord, RunState};
use crate::time::Timestamp;

pub use query::{DeadLetterQuery, EventQuery, ListQuery, LogQuery, RunQuery};
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
    /// one that is leased: their runs end as [`RunState::Failed`] by [`RunRecord::expire`].
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

/// One thing to accept.
#[derive(Debug, Clone)]
pub struct Append {
    /// Whose.
    pub app: AppName,
    /// Names it: the same twice is the same thing. For events `(source, id)`.
    pub dedup: Option<Dedup>,
    /// The event, when it is one.
    pub event: Option<Event>,
    /// What it causes. May be empty for an event nobody subscribes to.
    pub invocations: Vec<NewInvocation>,
    /// For an event: the version of the app's deployment whose subscriptions were asked, where that is known.
    pub version: Option<u64>,
    /// The position of an event that is in the log already, to be delivered again: `invocations` join those it caused, and it
    /// is kept for their sake. Such an item has neither `event` nor `dedup`. When the event is no longer there nothing is
    /// stored, and the answer names no runs.
    pub again: Option<u64>,
}

impl Append {
    /// Invocations of an event that is in the log at `seq`.
    pub fn again(app: AppName, seq: u64, invocations: Vec<NewInvocation>) -> Self {
        Self { app, dedup: None, event: None, invocations, version: None, again: Some(seq) }
    }

    /// Refuses what no append may be. Back ends call it first.
    pub fn check(&self) -> Result<(), StoreError> {
        if self.again.is_some() && (self.event.is_some() || self.dedup.is_some() || self.version.is_some()) {
            return Err(StoreError::Invalid(
                "an event that is delivered again is not accepted again".to_owned(),
            ));
        }
        Ok(())
    }
}

/// De-duplication key within an app.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Dedup {
    /// An event's `source`, or a name of another kind of sender.
    pub scope: String,
    /// An event's `id`, or the sender's idempotency key.
    pub id: String,
}

/// An invocation to queue.
#[derive(Debug, Clone)]
pub struct NewInvocation {
    /// Its record, in state `Queued`; names the queue.
    pub run: RunRecord,
    /// Not before this time.
    pub due_at: Timestamp,
    /// For an asynchronous call: the request. For an event delivery `None`: the input is the event of the append.
    pub request: Option<StoredRequest>,
}

/// An HTTP request kept for later.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredRequest {
    /// Method.
    pub method: String,
    /// Absolute URI as the function shall see it.
    pub uri: String,
    /// Header fields in order; values are kept as bytes-as-latin1 text.
    pub headers: Vec<(String, String)>,
    /// Path parameters of the route.
    #[serde(default)]
    pub params: Vec<(String, String)>,
    /// The body.
    pub body: Bytes,
}

/// What became of an append.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Appended {
    /// Position in the log; for a duplicate, that of the first.
    pub seq: u64,
    /// It had been accepted before; nothing was stored now.
    pub duplicate: bool,
    /// The runs it caused; for a duplicate, those the first caused.
    pub runs: Vec<RunId>,
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

/// How an attempt is to be ended, in one transaction.
#[derive(Debug, Clone)]
pub struct Settlement {
    /// The lease; `None` for a synchronous call, which has none.
    pub lease: Option<Lease>,
    /// What becomes of the invocation. A synchronous call is always `Complete`.
    pub verdict: Verdict,
    /// The run record to keep from now on. `None` leaves it as it is. Its state follows the verdict in either case: see
    /// [`Verdict::conclude`].
    pub run: Option<RunRecord>,
    /// What becomes of the others of a batch, in the same transaction.
    pub others: Vec<Conclusion>,
    /// State writes, in order. Empty unless the verdict is `Complete`.
    pub writes: Vec<Write>,
    /// Emitted events with the invocations they cause; or the event of the platform that tells of a dead letter.
    pub appends: Vec<Append>,
}

/// What becomes of one more invocation of a batch.
#[derive(Debug, Clone)]
pub struct Conclusion {
    /// Its lease.
    pub lease: Lease,
    /// What becomes of it.
    pub verdict: Verdict,
    /// Its record from now on.
    pub run: Option<RunRecord>,
}

/// What becomes of a leased invocation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Done; it leaves the queue.
    Complete,
    /// Try again, not before this time.
    Defer {
        /// When.
        until: Timestamp,
    },
    /// Give it back as if this attempt had not been made; due at once.
    Release,
    /// Give up; it becomes a dead letter.
    DeadLetter {
        /// One sentence.
        reason: String,
    },
}

/// How an invocation is to be ended before its time, in one transaction.
#[derive(Debug, Clone)]
pub struct Cancellation {
    /// Whose.
    pub app: AppName,
    /// Which.
    pub run: RunId,
    /// One sentence, for its record ([`RunRecord::cancel`]).
    pub reason: String,
    /// What tells of it.
    pub appends: Vec<Append>,
}

impl Settlement {
    /// Refuses what no settlement may be: effects without completion, a synchronous call that is not complete, the
    /// record of another run. Back ends call it first.
    pub fn check(&self) -> Result<(), StoreError> {
        self.appends.iter().try_for_each(Append::check)?;
        let complete = self.verdict == Verdict::Complete;
        // A dead letter has no effects, but there may be an event that says so.
        let may_append = complete || matches!(self.verdict, Verdict::DeadLetter { .. });
        if !(self.writes.is_empty() || complete) || !(self.appends.is_empty() || may_append) {
            return Err(StoreError::Invalid("a settlement with effects must be complete".to_owned()));
        }
        match (&self.lease, &self.run) {
            (None, _) if !complete => {
                Err(StoreError::Invalid("a settlement without a lease must be complete".to_owned()))
            }
            (Some(lease), Some(run)) if lease.run != run.id => Err(anothers(lease, run)),
            (None, _) if !self.others.is_empty() => {
                Err(StoreError::Invalid("a settlement of a batch must have a lease".to_owned()))
            }
            _ => self.check_others(),
        }
    }

    fn check_others(&self) -> Result<(), StoreError> {
        let mut seen: Vec<&RunId> = self.lease.iter().map(|lease| &lease.run).collect();
        for Conclusion { lease, run, .. } in &self.others {
            if let Some(run) = run.as_ref().filter(|run| run.id != lease.run) {
                return Err(anothers(lease, run));
            }
            if seen.contains(&&lease.run) {
                return Err(StoreError::Invalid(format!("the settlement has {} twice", lease.run)));
            }
            seen.push(&lease.run);
        }
        Ok(())
    }
}

fn anothers(lease: &Lease, run: &RunRecord) -> StoreError {
    StoreError::Invalid(format!("the settlement of {} carries the record of {}", lease.run, run.id))
}

impl Verdict {
    /// Makes `run` say what the verdict makes of it: its state, when it is due, when it ended. A completed record may
    /// say `Failed`, as those of synchronous calls do.
    pub fn conclude(&self, run: &mut RunRecord, now: Timestamp) {
        match self {
            Self::Complete => run.end(RunState::Completed, now),
            Self::DeadLetter { .. } => run.end(RunState::DeadLettered, now),
            Self::Defer { until } => run.wait(*until),
            Self::Release => run.wait(now),
        }
    }
}

impl RunRecord {
    /// Makes it queued, due at `due_at`.
    pub fn wait(&mut self, due_at: Timestamp) {
        self.state = RunState::Queued;
        self.due_at = Some(due_at);
        self.ended_at = None;
    }

    /// Makes it running; an attempt that was lost to the end of its lease is added.
    pub fn run_again(&mut self, lost: Option<AttemptRecord>) {
        self.state = RunState::Running;
        self.due_at = None;
        self.ended_at = None;
        lost.into_iter().for_each(|attempt| self.push_attempt(attempt));
    }

    /// Makes it failed because its event is no longer kept: it will never be attempted again. Says so as one more attempt,
    /// which was not made.
    pub fn expire(&mut self, now: Timestamp) {
        let message =
            "the event was no longer kept, although it was needed: the archive rule of its type says so";
        self.give_up(FailureCode::Expired, message, now);
    }

    /// Makes it failed because somebody let go of the dead letter it was. Says so as [`RunRecord::expire`] does.
    pub fn purge(&mut self, now: Timestamp) {
        self.give_up(FailureCode::Purged, "the dead letter was purged", now);
    }

    /// Makes it failed because somebody cancelled it. `open`: the attempt that nobody has settled, and since when; `held`:
    /// whether it was still being made. One that was not is added as lost, and before the next one was made it was cancelled.
    pub fn cancel(&mut self, reason: &str, open: Option<(u32, Timestamp)>, held: bool, now: Timestamp) {
        match open {
            Some((number, since)) if held => {
                let failure = Failure::new(FailureCode::CancelledByOperator, reason);
                self.push_attempt(AttemptRecord {
                    ran_us: now.since(since).as_micros() as u64,
                    outcome: Outcome::Failed(failure),
                    ..AttemptRecord::lost(number, since, now)
                });
                self.ended_at = None;
                return self.end(RunState::Failed, now);
            }
            Some((number, since)) => self.push_attempt(AttemptRecord::lost(number, since, now)),
            None => {}
        }
        self.give_up(FailureCode::CancelledByOperator, reason, now);
    }

    fn give_up(&mut self, code: FailureCode, message: &str, now: Timestamp) {
        let number = self.attempts.last().map_or(0, |attempt| attempt.number);
        self.push_attempt(AttemptRecord {
            number,
            revision: None,
            started_at: now,
            ended_at: now,
            waited_us: 0,
            ran_us: 0,
            cold: false,
            outcome: Outcome::Rejected(Failure::new(code, message)),
        });
        // A dead letter had ended before, but not like this.
        self.ended_at = None;
        self.end(RunState::Failed, now);
    }

    fn end(&mut self, state: RunState, now: Timestamp) {
        if !(state == RunState::Completed && self.state == RunState::Failed) {
            self.state = state;
        }
        self.due_at = None;
        self.ended_at.get_or_insert(now);
    }
}

impl AttemptRecord {
    /// An attempt nobody settled: leased at `since`, found lost at `now`.
    pub fn lost(number: u32, since: Timestamp, now: Timestamp) -> Self {
        Self {
            number,
            revision: None,
            started_at: since,
            ended_at: now,
            waited_us: 0,
            ran_us: 0,
            cold: false,
            outcome: Outcome::Lost,
        }
    }
}

/// What a settlement did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settled {
    /// The new revision of each write, in order.
    pub revisions: Vec<u64>,
    /// The answer to each append, in order.
    pub appended: Vec<Appended>,
}

/// A state write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// Where.
    pub space: Space,
    /// The key.
    pub key: String,
    /// The new value, or `None` to delete.
    pub value: Option<Value>,
    /// The entry disappears at this time.
    pub expires_at: Option<Timestamp>,
    /// What must hold, at the time of the transaction.
    pub expect: Expect,
}

/// A stored value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Value {
    /// How to read the bytes.
    pub kind: ValueKind,
    /// The bytes.
    pub bytes: Bytes,
}

/// How a value is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ValueKind {
    /// A JSON value.
    Json,
    /// Opaque bytes.
    Bytes,
}

/// A precondition of a write. An expired entry counts as absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// None.
    Anything,
    /// The key must be absent.
    Absent,
    /// The key must be at this revision.
    Revision(u64),
}

/// A key with its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// The value.
    pub value: Value,
    /// Grows with every write to the store; at least 1, below 2^52.
    pub revision: u64,
    /// When it disappears.
    pub expires_at: Option<Timestamp>,
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

/// How long things are kept.
#[derive(Debug, Clone)]
pub struct Retention {
    /// De-duplication entries.
    pub dedup: Duration,
    /// Events of apps that say nothing else.
    pub events: Duration,
    /// Ended runs.
    pub runs: Duration,
    /// Log lines.
    pub logs: Duration,
    /// Log lines at most, whatever their age.
    pub logs_max: u64,
    /// Ended runs at most, whatever their age.
    pub runs_max: u64,
    /// Bytes of ended runs at most, of all apps; of each the size of its record in JSON.
    pub runs_bytes: u64,
    /// The same, of an app.
    pub app_runs_bytes: u64,
    /// Bytes of the text of log lines at most, of all apps.
    pub logs_bytes: u64,
    /// The same, of an app.
    pub app_logs_bytes: u64,
    /// What apps say of their own events.
    pub archives: BTreeMap<AppName, Archive>,
    /// Events that are needed by what the store does not know.
    pub held: Vec<Held>,
}

/// Events of an app that are still needed, such as those a replay has not come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// Whose.
    pub app: AppName,
    /// Those after this position.
    pub after: u64,
    /// Up to this position.
    pub through: u64,
}

impl Default for Retention {
    fn default() -> Self {
        let day = Duration::from_secs(24 * 60 * 60);
        Self {
            dedup: day,
            events: 7 * day,
            runs: 7 * day,
            logs: 3 * day,
            logs_max: 1_000_000,
            runs_max: 1_000_000,
            runs_bytes: 2 << 30,
            app_runs_bytes: 1 << 30,
            logs_bytes: 2 << 30,
            app_logs_bytes: 1 << 30,
            archives: BTreeMap::new(),
            held: Vec::new(),
        }
    }
}

impl Retention {
    /// How long events of a type are kept.
    pub fn keep(&self, app: &AppName, ty: &str) -> Duration {
        self.archives.get(app).and_then(|archive| archive.keep(ty)).unwrap_or(self.events)
    }

    /// Whether events of a type go also while something needs them.
    pub fn even_if_needed(&self, app: &AppName, ty: &str) -> bool {
        self.archives.get(app).is_some_and(|archive| archive.even_if_needed(ty))
    }

    /// Whether something the store does not know needs the event at `seq`.
    pub fn holds(&self, app: &AppName, seq: u64) -> bool {
        self.held.iter().any(|held| held.app == *app && held.after < seq && seq <= held.through)
    }
}

/// A platform failure of the store.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// Whether it happened is unknown: the write may or may not have become durable. Repeating with the same ids is safe.
    #[error("store: outcome unknown: {0}")]
    Outcome(String),
    /// It did not happen; the disk is full.
    #[error("store: no space left: {0}")]
    Full(String),
    /// It did not happen and never will: the call breaks a rule of this seam.
    #[error("store: invalid call: {0}")]
    Invalid(String),
    /// It did not happen.
    #[error("store: unavailable: {0}")]
    Unavailable(String),
    /// A stored record does not have the checksum it was written with.
    #[error("store: corrupt record: {0}")]
    Corrupt(String),
    /// The store was closed, or refuses to go on after a failed write.
    #[error("store: closed: {0}")]
    Closed(String),
}

impl StoreError {
    /// Stable code for programs.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Outcome(_) => "store_outcome_unknown",
            Self::Full(_) => "store_full",
            Self::Invalid(_) => "store_invalid_call",
            Self::Unavailable(_) => "store_unavailable",
            Self::Corrupt(_) => "store_corrupt",
            Self::Closed(_) => "store_closed",
        }
    }

    /// Whether repeating the same call can help.
    pub const fn retryable(&self) -> bool {
        matches!(self, Self::Outcome(_) | Self::Full(_) | Self::Unavailable(_))
    }
}

/// Why a settlement or write did not happen.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SettleError {
    /// Somebody else holds the invocation now, or it was settled before. Nothing was done.
    #[error("lease of {run} is no longer held")]
    StaleLease {
        /// The invocation.
        run: RunId,
    },
    /// A write's expectation does not hold. Nothing was done.
    #[error("key {key:?} changed: expected {expected:?}, found revision {found:?}")]
    Conflict {
        /// Where.
        space: Space,
        /// The key.
        key: String,
        /// What the write expected.
        expected: Expect,
        /// The revision there; `None` when absent.
        found: Option<u64>,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}
