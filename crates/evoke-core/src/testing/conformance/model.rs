//! Long random histories, compared step by step with a model.
//!
//! Each history is a list of `Op`s: appends of a few keys to a few queues, leases, extensions, settlements with
//! effects, redriving, state writes, the passing of time, restarts. After every step the store's answer must be one
//! the model allows, and at the end whatever is neither done nor dead must still be there to be leased. So no
//! acknowledged event is lost, none is handed out after it was settled or before it is due, an older token never
//! does anything, what is needed outlives every sweep, effects come with their settlement or not at all, and a given-up invocation is one dead letter.

mod drive;
mod state;

use std::future::Future;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, TestRunner};

use super::Subject;

/// One step. Small numbers name keys and queues; an [`Index`] picks one of the leases or runs there have been.
#[derive(Debug, Clone)]
enum Op {
    /// Event `key` with `fan_out` deliveries to `queue`, due in `delay` seconds.
    Append { key: u8, queue: u8, fan_out: u8, delay: u8 },
    /// Up to `max` of `queue`, held for `hold` seconds.
    Lease { queue: u8, max: usize, hold: u8 },
    /// Moves the end of a lease, old or new, to `by` seconds from now.
    Extend { lease: Index, by: u8 },
    /// Ends a lease, old or new.
    Settle { lease: Index, end: End },
    /// Puts a run back, if it is a dead letter.
    Redrive { run: Index },
    /// Ends a run before its time, if it is pending.
    Cancel { run: Index },
    /// A state write of its own.
    Write(StateWrite),
    /// Looks at everything there is.
    Look,
    /// Lets so many seconds pass.
    Advance { by: u8 },
    /// Deletes what is older than so many seconds and not needed.
    Sweep { keep: u8 },
    /// Another process takes over the data.
    Reopen,
}

/// How a lease is ended.
#[derive(Debug, Clone)]
enum End {
    /// With these effects.
    Complete { writes: Vec<StateWrite>, emit: Option<u8> },
    /// For so many seconds.
    Defer(u8),
    /// At once.
    Release,
    /// For good.
    DeadLetter,
}

/// A put or deletion.
#[derive(Debug, Clone)]
struct StateWrite {
    /// Which key.
    key: u8,
    /// Delete it.
    delete: bool,
    /// What to expect.
    expect: Expectation,
    /// Expires after so many seconds.
    ttl: Option<u8>,
}

/// What a write expects, relative to what is there.
#[derive(Debug, Clone, Copy)]
enum Expectation {
    /// Nothing.
    Anything,
    /// That there is nothing.
    Absent,
    /// The revision that is there (or 1).
    Right,
    /// Another revision.
    Wrong,
}

/// Runs `cases` random histories, each against a fresh subject, on a runtime of its own. Panics with the smallest
/// history it finds that breaks a promise. `PROPTEST_CASES` overrides the number.
pub fn holds<S, F>(cases: u32, open: impl Fn() -> F)
where
    S: Subject,
    F: Future<Output = S>,
{
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(cases);
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    let checked = runner.run(&vec(op(), 1..60), |history| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        runtime.block_on(async { drive::drive(&mut open().await, &history).await })
    });
    if let Err(broken) = checked {
        panic!("the store breaks a promise: {broken}");
    }
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (0..6_u8, 0..2_u8, 0..4_u8, 0..20_u8)
            .prop_map(|(key, queue, fan_out, delay)| Op::Append { key, queue, fan_out, delay }),
        8 => (0..2_u8, 0..5_usize, 1..30_u8).prop_map(|(queue, max, hold)| Op::Lease { queue, max, hold }),
        2 => (any::<Index>(), 0..40_u8).prop_map(|(lease, by)| Op::Extend { lease, by }),
        8 => (any::<Index>(), end()).prop_map(|(lease, end)| Op::Settle { lease, end }),
        2 => any::<Index>().prop_map(|run| Op::Redrive { run }),
        2 => any::<Index>().prop_map(|run| Op::Cancel { run }),
        3 => state_write().prop_map(Op::Write),
        2 => Just(Op::Look),
        4 => (0..25_u8).prop_map(|by| Op::Advance { by }),
        2 => (0..25_u8).prop_map(|keep| Op::Sweep { keep }),
        1 => Just(Op::Reopen),
    ]
}

fn end() -> impl Strategy<Value = End> {
    prop_oneof![
        3 => (vec(state_write(), 0..3), proptest::option::of(0..6_u8))
            .prop_map(|(writes, emit)| End::Complete { writes, emit }),
        1 => (0..20_u8).prop_map(End::Defer),
        1 => Just(End::Release),
        2 => Just(End::DeadLetter),
    ]
}

fn state_write() -> impl Strategy<Value = StateWrite> {
    let expect = prop_oneof![
        Just(Expectation::Anything),
        Just(Expectation::Absent),
        Just(Expectation::Right),
        Just(Expectation::Wrong)
    ];
    (0..3_u8, any::<bool>(), expect, proptest::option::weighted(0.3, 0..20_u8))
        .prop_map(|(key, delete, expect, ttl)| StateWrite { key, delete, expect, ttl })
}
