//! Deadlines, cancellation, memory.

use std::time::Duration;

use evoke_core::outcome::FailureCode;
use evoke_core::runtime::{Ended, Input};

use crate::support::*;

const ENDLESS: &[(&str, &str)] = &[
    ("sleep.mjs", "export const handler = () => { console.log('begun'); return new Promise(() => {}); };"),
    ("spin.mjs", "export const handler = () => { console.log('begun'); for (;;); };"),
    ("sleep.py", "import time\ndef handler(e, c):\n    print('begun')\n    time.sleep(1000)\n"),
    ("spin.py", "def handler(e, c):\n    print('begun')\n    while True: pass\n"),
    (
        "deaf.py",
        "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\ndef handler(e, c):\n    print('begun')\n    time.sleep(1000)\n",
    ),
];

#[tokio::test]
async fn a_deadline_ends_the_process() {
    let host = Host::start().await;
    for &(file, source) in ENDLESS {
        let mut guest = host.guest(&[(file, source)]).await;
        let limit = Duration::from_millis(300);
        let outcome = guest.run(Input::Request(post("/", "")), limit, no_platform()).await;
        assert_eq!(outcome.ended, Ended::TimedOut, "{file}");
        assert!(outcome.took >= limit, "{file}: {:?}", outcome.took);
        assert!(!guest.instance.is_usable(), "{file}");
        guest.instance.gone().await;
    }
}

#[tokio::test]
async fn what_was_written_before_the_deadline_is_kept() {
    let host = Host::start().await;
    let source = "export default { async fetch(request, env, ctx) {
        console.log('begun');
        await new Promise((resolve) => ctx.signal.addEventListener('abort', resolve));
        console.log('ended', ctx.signal.reason.message);
        await new Promise(() => {});
    } };";
    // It has 50 ms for its last words. A busy machine may not let it run in any of them, but does so sooner or later.
    for last in [false, false, false, false, true] {
        let mut guest = host.guest(&[("main.mjs", source)]).await;
        let outcome = guest.run(Input::Request(post("/", "")), ENOUGH, no_platform()).await;
        assert_eq!(outcome.ended, Ended::TimedOut);
        let lines: Vec<_> = outcome.logs.iter().map(|(_, line)| line.as_str()).collect();
        if lines != ["begun"] || last {
            assert_eq!(lines, ["begun", "ended the time limit was reached"]);
            break;
        }
    }
}

#[tokio::test]
async fn cancellation_ends_the_process() {
    let host = Host::start().await;
    for &(file, source) in ENDLESS {
        let mut guest = host.guest(&[(file, source)]).await;
        let (call, mut reports) = call(Input::Event(event()), Duration::from_secs(60));
        let cancel = call.cancel.clone();
        let watch = async {
            // Cancelled once it has begun.
            reports.recv().await.unwrap();
            cancel.cancel();
            while reports.recv().await.is_some() {}
        };
        let (ended, ()) = tokio::join!(guest.instance.call(call), watch);
        assert_eq!(ended, Ended::Cancelled, "{file}");
        assert!(!guest.instance.is_usable(), "{file}");
    }
}

#[tokio::test]
async fn a_body_under_way_is_cut_when_the_time_is_up() {
    let host = Host::start().await;
    let source = "export default { fetch: () => new Response(new ReadableStream({ start(c) { c.enqueue(new TextEncoder().encode('half')); } })) };";
    let mut guest = host.guest(&[("main.mjs", source)]).await;
    let outcome = guest.run(Input::Request(post("/", "")), ENOUGH, no_platform()).await;
    assert_eq!(outcome.ended, Ended::TimedOut);
    assert_eq!(
        outcome.answer().body,
        Err("body ended early: the function reached its time limit".to_owned())
    );
}

#[tokio::test]
async fn memory_over_the_limit_is_named() {
    let host = Host::start().await;
    let cases = [
        (
            "heap.mjs",
            "export const handler = () => { const all = []; for (;;) all.push(new Array(1000).fill(all.length)); };",
        ),
        (
            "buffers.mjs",
            "export const handler = () => { const all = []; for (;;) all.push(Buffer.alloc(32 << 20, 1)); };",
        ),
        ("bytes.py", "def handler(e, c):\n    all = []\n    while True: all.append(b'x' * (8 << 20))\n"),
        ("objects.py", "def handler(e, c):\n    all = []\n    while True: all.append([len(all)] * 1000)\n"),
    ];
    for (file, source) in cases {
        let mut spec = host.prepare(&[(file, source)]).await.unwrap();
        spec.memory_bytes = 128 << 20;
        let mut guest = host.start_spec(spec).await.unwrap();
        let outcome = guest.get("/").await;
        assert_eq!(outcome.failure().code, FailureCode::OutOfMemory, "{file}: {:?}", outcome.failure());
        assert!(!guest.instance.is_usable(), "{file}");
    }
}

#[tokio::test]
async fn loading_has_a_limit() {
    let host = Host::start().await;
    for (file, source) in [
        ("main.mjs", "await new Promise(() => setInterval(() => {}, 1000));"),
        ("main.py", "while True: pass\n"),
    ] {
        let mut spec = host.prepare(&[(file, source)]).await.unwrap();
        spec.start_timeout = Duration::from_millis(300);
        let Err(failure) = host.start_spec(spec).await else { panic!("{file} started") };
        assert_eq!(failure.code, FailureCode::InitError);
        assert_eq!(failure.message, format!("{file}: loading took longer than the limit of 300 ms"));
    }
}

#[tokio::test]
async fn a_process_that_ends_while_loading_is_told() {
    let host = Host::start().await;
    let cases = [
        ("exit.mjs", "process.exit(3);", "ProcessExit: process.exit(3) was called while loading"),
        (
            "exit.py",
            "import os\nos.write(2, b'giving up\\n')\nos._exit(3)\n",
            "the process exited with status 3: giving up",
        ),
        ("sys_exit.py", "import sys\nsys.exit(3)\n", "sys_exit.py:2: SystemExit: sys.exit(3) was called"),
    ];
    for (file, source, message) in cases {
        let failure = host.refused(&[(file, source)]).await;
        assert_eq!((failure.code, failure.message.as_str()), (FailureCode::InitError, message), "{file}");
    }
}
