use evoke_core::chain::{Chain, Edge, Link};
use evoke_core::event::EventRef;
use evoke_core::outcome::{Failure, FailureCode};

use super::*;

fn name(text: &str) -> FunctionName {
    FunctionName::new(text).unwrap()
}

/// What a call of a function usually leaves.
fn call() -> RunRecord {
    let id = RunId::from_text("run_01kabcdefghjkmnpqrstvwxyz0");
    RunRecord {
        app: AppName::new("shop").unwrap(),
        function: name("checkout"),
        subscription: None,
        key: None,
        undecided: false,
        trigger: Trigger::Http { method: "POST".to_owned(), path: "/orders".to_owned() },
        replay: None,
        cause: Cause {
            root: Correlation::from_text("evt_01kabcdefghjkmnpqrstvwxyz1"),
            parent: None,
            depth: 0,
            chain: Chain::default(),
            version: None,
            trace_id: "0af7651916cd43dd8448eb211c80319c".to_owned(),
            span_id: "b7ad6b7169203331".to_owned(),
            shadow: false,
        },
        id,
        state: RunState::Completed,
        created_at: Timestamp(1_790_000_000_000_000),
        ended_at: Some(Timestamp(1_790_000_000_001_200)),
        due_at: None,
        attempts: vec![AttemptRecord {
            number: 1,
            revision: Some(RevisionId::from_text("0123456789abcdef")),
            started_at: Timestamp(1_790_000_000_000_040),
            ended_at: Timestamp(1_790_000_000_001_180),
            waited_us: 12,
            ran_us: 1_100,
            usage: Usage { cpu_us: Some(240), peak_memory_bytes: Some(9 << 20), ..Usage::default() },
            cold: false,
            outcome: Outcome::Completed { status: Some(200) },
        }],
    }
}

fn known(run: &RunRecord) -> Known<'_> {
    let RunRecord { id, state, created_at, ended_at, .. } = run;
    Known { id: id.clone(), root: None, state: *state, created_at: *created_at, ended_at: *ended_at }
}

#[track_caller]
fn comes_back(run: &RunRecord) {
    assert_eq!(decode(&encode(run, true), known(run)).as_ref(), Some(run));
    let known = Known { root: Some(run.cause.root.as_str()), ..known(run) };
    assert_eq!(decode(&encode(run, false), known).as_ref(), Some(run));
}

#[test]
fn a_call_takes_a_third_of_its_json_and_comes_back() {
    comes_back(&call());
    let (short, long) = (encode(&call(), true).len(), serde_json::to_vec(&call()).unwrap().len());
    assert!(short * 3 < long, "{short} and {long} bytes");
}

#[test]
fn whatever_a_run_can_be_comes_back() {
    let event = EventRef { source: "/shop".to_owned(), id: "e1".to_owned() };
    let ty = "purchase_complete".to_owned();
    let (by, fate) = (name("notify"), evoke_core::manifest::Fate::Failure);
    let wait = evoke_core::id::WaitId::from_text("run_1.w1");
    for trigger in [
        Trigger::Call { by: by.clone() },
        Trigger::Event { event: event.clone(), ty: ty.clone(), subscription: 3 },
        Trigger::Destination { event: event.clone(), ty: ty.clone(), by: by.clone(), fate },
        Trigger::Wait { wait, by, event: Some(event), ty: ty.clone() },
    ] {
        comes_back(&RunRecord { trigger, ..call() });
    }
    let attempt = call().attempts.remove(0);
    let failure = Failure {
        stack: Some("at line 3".to_owned()),
        retry_after_ms: Some(5),
        ..Failure::new(FailureCode::OutOfMemory, "it was too large")
    };
    let outcomes = [
        Outcome::Completed { status: None },
        Outcome::Failed(failure.clone()),
        Outcome::Rejected(failure),
        Outcome::TimedOut { after_ms: 9, of_caller: true },
        Outcome::Lost,
    ];
    let attempts = outcomes.map(|outcome| AttemptRecord { outcome, ..attempt.clone() });
    comes_back(&RunRecord { attempts: attempts.into(), ..call() });
    let usage = Usage { cpu_us: None, peak_memory_bytes: None, idle_cpu_us: u64::MAX, shared: true };
    let odd = AttemptRecord {
        number: u32::MAX,
        revision: None,
        started_at: Timestamp(0),
        ended_at: Timestamp(u64::MAX),
        usage,
        cold: true,
        ..attempt
    };
    let link = Link { app: call().app, function: name("a"), by: Edge::Event { ty } };
    let cause = Cause {
        root: Correlation::from_text(""),
        parent: Some(RunId::from_text("")),
        depth: 7,
        chain: Chain::default().and(link),
        version: Some(0),
        trace_id: String::new(),
        span_id: "é\0".to_owned(),
        shadow: true,
    };
    let own = Cause { root: Correlation::from_text(call().id.as_str()), ..call().cause };
    comes_back(&RunRecord { cause: own, ..call() });
    comes_back(&RunRecord {
        subscription: Some(SubscriptionName::from_text("orders.*")),
        key: Some("k".repeat(300)),
        undecided: true,
        replay: Some(ReplayId::from_text("rpl_1")),
        cause,
        ended_at: None,
        attempts: vec![odd],
        ..call()
    });
}

#[test]
fn the_json_of_former_formats_is_read_and_the_columns_are_right_where_it_differs() {
    let run = call();
    let json = serde_json::to_vec(&RunRecord { state: RunState::Running, ended_at: None, ..run.clone() });
    assert_eq!(decode(&json.unwrap(), known(&run)), Some(run));
}

#[test]
fn what_is_no_body_is_none_and_never_a_panic() {
    let (run, body) = (call(), encode(&call(), true));
    for end in 0..body.len() {
        assert_eq!(decode(&body[..end], known(&run)), None, "the first {end} bytes");
    }
    let longer = [&body[..], &[0]].concat();
    assert_eq!(decode(&longer, known(&run)), None);
    let newer = [&[FORM + 1], &body[1..]].concat();
    assert_eq!(decode(&newer, known(&run)), None);
    for bit in 0..body.len() * 8 {
        let mut flipped = body.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        // What comes of it does not matter, as the checksum of the row tells: that something does, does.
        let _ = decode(&flipped, known(&run));
    }
}
