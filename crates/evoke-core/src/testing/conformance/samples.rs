//! Small things to put into a store.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::event::Event;
use crate::id::{AppName, Correlation, FunctionName, RunId};
use crate::outcome::{Failure, FailureCode, Outcome};
use crate::record::{AttemptRecord, Cause, LogRecord, LogStream, RunRecord, RunState, Trigger};
use crate::store::{
    Append, Dedup, Expect, Lease, Leased, NewInvocation, Queue, Settlement, Space, Store, StoredRequest,
    Value, ValueKind, Verdict, Write,
};
use crate::time::Timestamp;
use crate::usage::Usage;

/// When the cases begin.
pub const START: Timestamp = Timestamp::from_millis(1_800_000_000_000);
/// How long a lease is held unless it matters.
pub const HOLD: Duration = Duration::from_secs(30);

/// `START`, so many seconds later.
pub fn at(seconds: u64) -> Timestamp {
    START.after(Duration::from_secs(seconds))
}

/// The app most cases use.
pub fn app() -> AppName {
    app_named("shop")
}

/// An app.
pub fn app_named(name: &str) -> AppName {
    AppName::new(name).expect("a valid app name")
}

/// A function.
pub fn function(name: &str) -> FunctionName {
    FunctionName::new(name).expect("a valid function name")
}

/// A queue of [`app`].
pub fn queue(name: &str) -> Queue {
    Queue::calls(app(), function(name))
}

/// A run id; sorted as its number.
pub fn run_id(n: u64) -> RunId {
    RunId::from_text(format!("run_{n:026}"))
}

/// An event with some data.
pub fn event(id: &str) -> Event {
    Event::new(id, "/shop", "purchase_complete").with_json(serde_json::json!({ "order": id, "total": 42 }))
}

/// A queued run of `name`, caused by nothing.
pub fn run(n: u64, name: &str) -> RunRecord {
    RunRecord {
        id: run_id(n),
        app: app(),
        function: function(name),
        subscription: None,
        undecided: false,
        key: None,
        trigger: Trigger::Http { method: "POST".to_owned(), path: "/orders".to_owned() },
        replay: None,
        cause: Cause {
            root: Correlation::from_text(format!("root_{n}")),
            parent: None,
            depth: 0,
            chain: crate::chain::Chain::default(),
            version: None,
            trace_id: format!("{n:032x}"),
            span_id: format!("{n:016x}"),
            shadow: false,
        },
        state: RunState::Queued,
        created_at: START,
        ended_at: None,
        due_at: None,
        attempts: Vec::new(),
    }
}

/// The end of a synchronous run at [`START`].
pub fn ended(n: u64, name: &str, state: RunState) -> RunRecord {
    let mut run = run(n, name);
    run.state = state;
    run.ended_at = Some(START);
    run.push_attempt(attempt(1, Outcome::Completed { status: Some(200) }));
    run
}

/// An attempt that ended.
pub fn attempt(number: u32, outcome: Outcome) -> AttemptRecord {
    AttemptRecord {
        number,
        revision: None,
        started_at: START,
        ended_at: START,
        waited_us: 1,
        ran_us: 2,
        usage: Usage { cpu_us: Some(3), peak_memory_bytes: Some(4), idle_cpu_us: 5, shared: true },
        cold: false,
        outcome,
    }
}

/// An attempt at which the handler threw.
pub fn failed(number: u32) -> AttemptRecord {
    attempt(
        number,
        Outcome::Failed(Failure::new(FailureCode::FunctionError, "TypeError: x is not a function")),
    )
}

/// A delivery to `name`, due at once.
pub fn delivery(n: u64, name: &str) -> NewInvocation {
    NewInvocation { run: run(n, name), due_at: START, request: None }
}

/// An event `id` that causes a delivery to `name` under run `n`.
pub fn append(id: &str, n: u64, name: &str) -> Append {
    append_to(id, vec![delivery(n, name)])
}

/// An event `id` with these deliveries.
pub fn append_to(id: &str, invocations: Vec<NewInvocation>) -> Append {
    let event = event(id);
    let dedup = Some(Dedup { scope: event.source().to_owned(), id: id.to_owned() });
    Append { app: app(), dedup, event: Some(event), invocations, version: None, again: None }
}

/// A request of which no byte is text.
pub fn request() -> StoredRequest {
    StoredRequest {
        method: "PUT".to_owned(),
        uri: "http://localhost:7070/files/a%20b?x=1".to_owned(),
        headers: vec![("x-a".to_owned(), "1".to_owned()), ("x-a".to_owned(), "\u{e9}".to_owned())],
        params: vec![("name".to_owned(), "a b".to_owned())],
        body: Bytes::from_iter(0..=255_u8),
    }
}

/// Settles as complete, leaving the record as it is.
pub fn complete(lease: &Lease) -> Settlement {
    settlement(lease, Verdict::Complete)
}

/// Settles with a verdict and nothing else.
pub fn settlement(lease: &Lease, verdict: Verdict) -> Settlement {
    Settlement {
        lease: Some(lease.clone()),
        verdict,
        run: None,
        others: Vec::new(),
        writes: Vec::new(),
        appends: Vec::new(),
    }
}

/// Leases one invocation of `name` that must be there.
pub async fn lease_one(store: &Arc<dyn Store>, name: &str, now: Timestamp) -> Leased {
    let mut leased = store.lease(&queue(name), 1, now, HOLD).await.expect("lease");
    leased.pop().unwrap_or_else(|| panic!("an invocation of {name} should be available at {now}"))
}

/// How many invocations of `name` can be leased at `now`; leases them.
pub async fn lease_all(store: &Arc<dyn Store>, name: &str, now: Timestamp) -> Vec<Leased> {
    store.lease(&queue(name), 1_000, now, HOLD).await.expect("lease")
}

/// The space most cases use.
pub fn space() -> Space {
    Space::app(&app(), "default")
}

/// JSON text as a value.
pub fn json(text: &str) -> Value {
    Value { kind: ValueKind::Json, bytes: Bytes::copy_from_slice(text.as_bytes()) }
}

/// A write of JSON text to [`space`].
pub fn put(key: &str, text: &str, expect: Expect) -> Write {
    Write { space: space(), key: key.to_owned(), value: Some(json(text)), expires_at: None, expect }
}

/// A deletion from [`space`].
pub fn delete(key: &str, expect: Expect) -> Write {
    Write { space: space(), key: key.to_owned(), value: None, expires_at: None, expect }
}

/// A log line.
pub fn line(n: u64, name: &str, text: &str, at: Timestamp) -> LogRecord {
    LogRecord {
        at,
        run: run_id(n),
        app: app(),
        function: function(name),
        attempt: 1,
        stream: LogStream::Stdout,
        line: text.to_owned(),
    }
}

/// Runs all of them concurrently; the results in order.
pub async fn all_at_once<T>(work: impl IntoIterator<Item = impl Future<Output = T>>) -> Vec<T> {
    let mut running: Vec<_> = work.into_iter().map(|one| (Box::pin(one), None)).collect();
    std::future::poll_fn(|cx| {
        let mut pending = false;
        for (one, result) in running.iter_mut().filter(|(_, result)| result.is_none()) {
            match one.as_mut().poll(cx) {
                std::task::Poll::Ready(value) => *result = Some(value),
                std::task::Poll::Pending => pending = true,
            }
        }
        if pending { std::task::Poll::Pending } else { std::task::Poll::Ready(()) }
    })
    .await;
    running.into_iter().map(|(_, result)| result.expect("all are ready")).collect()
}
