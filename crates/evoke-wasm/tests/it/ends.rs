//! Calls that end badly, each with a name, in both worlds and in instances that are kept, while their neighbours go on.

use std::time::Duration;

use evoke_worker::frame::Kind;

use crate::host::{Function, Said, Worker};

/// It still answers, and so does a neighbour in the same process.
fn answers(worker: &mut Worker, function: &mut Function) {
    assert_eq!(worker.function("proxy").get("/hello").text(), "hello");
    assert_eq!(function.get("/hello").text(), "hello");
}

/// A call that may take `time`, to its end.
fn within(function: &mut Function, path: &str, time: Duration) -> Said {
    let call = function.start(path, false, time);
    function.finish(call)
}

#[test]
fn what_computes_for_ever_ends_at_its_deadline() {
    let mut worker = Worker::start();
    for (kind, mut function) in worker.kinds() {
        // More of them than there are threads.
        let calls: Vec<u32> =
            (0..8).map(|_| function.start("/loop", false, Duration::from_millis(300))).collect();
        assert_eq!(worker.function("proxy").get("/hello").text(), "hello", "beside {kind}");
        for _ in &calls {
            assert_eq!(function.next().kind, Kind::Error, "{kind}");
        }
        assert_eq!(within(&mut function, "/loop", Duration::from_millis(100)).failure().0, "Cancelled");
        answers(&mut worker, &mut function);
    }
}

#[test]
fn what_sleeps_for_ever_ends_at_its_deadline_or_when_it_is_cancelled() {
    let mut worker = Worker::start();
    for (kind, mut function) in worker.kinds() {
        assert_eq!(within(&mut function, "/sleep", Duration::from_millis(100)).failure().0, "Cancelled");
        let call = function.start("/sleep", false, Duration::from_secs(3600));
        function.frame(Kind::Cancel, call, b"cancelled");
        assert_eq!(function.finish(call).failure().0, "Cancelled", "{kind}");
        answers(&mut worker, &mut function);
    }
}

#[test]
fn memory_above_the_limit_is_named() {
    let mut worker = Worker::start();
    for (kind, mut function) in worker.kinds() {
        let said = function.get("/grow");
        assert_eq!(said.error.as_ref().unwrap()["code"], "out_of_memory", "{kind}: {said:?}");
        answers(&mut worker, &mut function);
    }
}

#[test]
fn endless_recursion_is_a_trap() {
    let mut worker = Worker::start();
    for (kind, mut function) in worker.kinds() {
        assert_eq!(
            function.get("/overflow").failure(),
            ("Trap", "wasm trap: call stack exhausted"),
            "{kind}"
        );
        answers(&mut worker, &mut function);
    }
}

#[test]
fn a_panic_is_a_trap_with_a_stack_and_its_words_are_in_the_log() {
    let mut worker = Worker::start();
    for (_, mut function) in worker.kinds() {
        let said = function.get("/panic");
        assert_eq!(said.failure().0, "Trap");
        assert!(said.error.as_ref().unwrap()["stack"].as_str().unwrap().contains("wasm"), "{said:?}");
        assert!(said.lines.iter().any(|(_, line)| line.contains("of my own")), "{said:?}");
    }
}

#[test]
fn leaving_without_an_answer_is_named() {
    let mut worker = Worker::start();
    for (kind, mut function) in worker.kinds() {
        let said = function.get("/exit");
        assert_eq!(said.failure(), ("Exit", "it exited with status 1 instead of returning"), "{kind}");
        answers(&mut worker, &mut function);
    }
    let said = worker.function("proxy").get("/nothing");
    assert!(said.failure().1.contains("without an answer"), "{said:?}");
    let said = worker.function("service").get("/refuse");
    assert!(said.failure().1.contains("HttpRequestDenied"), "{said:?}");
}

#[test]
fn a_trap_in_the_middle_of_a_body_ends_it_without_an_end() {
    let mut worker = Worker::start();
    for (kind, mut function) in worker.kinds() {
        let said = function.get("/trap-after-head");
        // What it had said before is sent, as far as it had come.
        assert!(said.status == Some(200) && "begun".starts_with(said.text()), "{kind}: {said:?}");
        assert!(!said.body_ended, "{kind}");
        assert_eq!(said.failure().0, "Trap", "{kind}");
        answers(&mut worker, &mut function);
    }
}

#[test]
fn a_body_that_is_never_ended_ends_without_an_end_at_the_deadline() {
    let mut worker = Worker::start();
    for (kind, mut function) in worker.kinds() {
        let said = within(&mut function, "/unended", Duration::from_secs(2));
        assert_eq!((said.status, said.text(), said.body_ended), (Some(200), "begun", false), "{kind}");
        assert_eq!(said.failure().0, "Cancelled", "{kind}");
        answers(&mut worker, &mut function);
    }
}

#[test]
fn a_body_nobody_reads_waits_and_ends_with_the_call() {
    let mut worker = Worker::start();
    for (kind, mut function) in worker.kinds() {
        let call = function.start("/endless", false, Duration::from_secs(2));
        let (mut bytes, mut ended) = (0, false);
        while !ended {
            let frame = function.next();
            assert_eq!(frame.call, call);
            match frame.kind {
                Kind::Body => bytes += frame.payload.len(),
                Kind::Error => ended = true,
                _ => {}
            }
        }
        assert_eq!(bytes, 256 << 10, "{kind}: one window, and not a byte more");
        answers(&mut worker, &mut function);
    }
}

#[test]
fn a_flood_of_lines_waits_for_the_host() {
    let mut worker = Worker::start();
    for (kind, mut function) in worker.kinds() {
        let call = function.start("/flood", false, Duration::from_millis(300));
        // Nobody reads before it is over: it is the guest that waits, and not its lines.
        assert_eq!(worker.function("proxy").get("/hello").text(), "hello", "beside {kind}");
        let said = function.finish(call);
        assert_eq!(said.failure().0, "Cancelled", "{kind}");
        assert!(said.lines.iter().all(|(_, line)| line.len() == 100), "{kind}: lines are cut");
        answers(&mut worker, &mut function);
    }
}

#[test]
fn header_fields_and_handles_have_bounds() {
    let mut worker = Worker::start();
    for (kind, mut function) in worker.kinds() {
        let said = function.get("/headers?101");
        assert!(said.failure().1.contains("101 header fields, above the limit of 100"), "{kind}: {said:?}");
        let said = function.get("/headers?32769");
        let refused = said.error.is_some() || said.text().starts_with("refused at ");
        assert!(refused, "{kind}: {said:?}");
        let said = function.get("/field?300000");
        assert!(said.error.is_some() || said.text() == "refused", "{kind}: {said:?}");
        assert_eq!(function.get("/field?200000").text(), "taken", "{kind}");
        let said = function.get("/handles");
        assert!(said.failure().1.contains("no free keys"), "{kind}: {said:?}");
        answers(&mut worker, &mut function);
    }
}

#[test]
fn a_request_that_breaks_off_ends_the_body_the_guest_reads() {
    let mut worker = Worker::start();
    for (kind, mut function) in worker.kinds() {
        let call = function.start("/echo", true, Duration::from_secs(60));
        function.frame(Kind::Body, call, b"some");
        function.frame(Kind::BodyAbort, call, b"the client went away");
        let said = function.finish(call);
        assert!(!said.body_ended, "{kind}: what is cut does not look whole");
        assert!(said.error.is_some(), "{kind}: {said:?}");
        answers(&mut worker, &mut function);
    }
}

#[test]
fn calls_end_with_their_socket() {
    let mut worker = Worker::start();
    for _ in 0..100 {
        let mut function = worker.function("proxy");
        for _ in 0..3 {
            function.start("/sleep", false, Duration::from_secs(3600));
        }
    }
    // There would be no instance left, had they not ended.
    assert_eq!(worker.function("proxy").get("/hello").text(), "hello");
}

#[test]
fn a_request_body_that_is_never_read_holds_nothing_up() {
    let mut worker = Worker::start();
    for (kind, mut function) in worker.kinds() {
        for _ in 0..3 {
            let call = function.start("/hello", true, Duration::from_secs(60));
            // All that may be sent before the guest reads, and no end.
            for _ in 0..4 {
                function.frame(Kind::Body, call, &[7; 64 << 10]);
            }
            assert_eq!(function.finish(call).text(), "hello", "{kind}");
        }
        answers(&mut worker, &mut function);
    }
}

#[test]
fn ten_thousand_calls_that_are_cancelled_leave_nothing_behind() {
    let mut worker = Worker::start();
    for (kind, mut function) in worker.kinds() {
        for _ in 0..200 {
            let calls: Vec<u32> =
                (0..50).map(|_| function.start("/sleep", false, Duration::from_secs(3600))).collect();
            for call in &calls {
                function.frame(Kind::Cancel, *call, b"deadline");
            }
            for _ in &calls {
                assert_eq!(function.next().kind, Kind::Error, "{kind}");
            }
        }
        // There would be no instance left, had they not ended.
        answers(&mut worker, &mut function);
    }
}

#[test]
fn what_ended_badly_leaves_neither_memory_nor_open_files() {
    let mut worker = Worker::start();
    for (kind, mut function) in worker.kinds() {
        let mut all = || {
            for path in
                ["/grow", "/overflow", "/panic", "/exit", "/handles", "/headers?32769", "/trap-after-head"]
            {
                function.get(path);
            }
            for path in ["/loop", "/sleep", "/unended", "/flood"] {
                within(&mut function, path, Duration::from_millis(20));
            }
        };
        // What is kept for the next is there after the first.
        all();
        let before = held();
        for _ in 0..3 {
            all();
        }
        let after = held();
        assert!(after.files <= before.files, "{kind}: {before:?} {after:?}");
        assert!(after.bytes < before.bytes + (16 << 20), "{kind}: {before:?} {after:?}");
        answers(&mut worker, &mut function);
    }
}

/// What this process has at the moment.
#[derive(Debug)]
struct Held {
    files: usize,
    bytes: u64,
}

fn held() -> Held {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = pages.split(' ').nth(1).unwrap().parse().unwrap();
    Held { files: std::fs::read_dir("/proc/self/fd").unwrap().count(), bytes: pages * 4096 }
}
