//! Calls that end badly, each with a name, while their neighbours go on.

use std::time::Duration;

use evoke_worker::frame::Kind;

use crate::host::{Function, Worker};

/// A neighbour in the same process still answers.
fn answers(function: &mut Function) {
    assert_eq!(function.get("/hello").text(), "hello");
}

#[test]
fn what_computes_for_ever_ends_at_its_deadline() {
    let mut worker = Worker::start();
    for component in ["proxy", "service"] {
        let mut function = worker.function(component);
        // More of them than there are threads.
        let calls: Vec<u32> =
            (0..8).map(|_| function.start("/loop", false, Duration::from_millis(300))).collect();
        answers(&mut worker.function("proxy"));
        let mut left = calls.len();
        while left > 0 {
            let frame = function.next();
            assert_eq!(frame.kind, Kind::Error);
            left -= 1;
        }
        answers(&mut function);
    }
}

#[test]
fn what_sleeps_for_ever_ends_at_its_deadline_or_when_it_is_cancelled() {
    let mut worker = Worker::start();
    for component in ["proxy", "service"] {
        let mut function = worker.function(component);
        let call = function.start("/sleep", false, Duration::from_millis(100));
        assert_eq!(function.finish(call).failure().0, "Cancelled");
        let call = function.start("/sleep", false, Duration::from_secs(3600));
        function.frame(Kind::Cancel, call, b"cancelled");
        assert_eq!(function.finish(call).failure().0, "Cancelled");
        answers(&mut function);
    }
}

#[test]
fn memory_above_the_limit_is_named() {
    let mut worker = Worker::start();
    let mut function = worker.function("proxy");
    let said = function.get("/grow");
    assert_eq!(said.error.as_ref().unwrap()["code"], "out_of_memory", "{said:?}");
    answers(&mut function);
}

#[test]
fn endless_recursion_is_a_trap() {
    let mut worker = Worker::start();
    let mut function = worker.function("proxy");
    assert_eq!(function.get("/overflow").failure(), ("Trap", "wasm trap: call stack exhausted"));
    answers(&mut function);
}

#[test]
fn a_panic_is_a_trap_with_a_stack_and_its_words_are_in_the_log() {
    let mut worker = Worker::start();
    for component in ["proxy", "service"] {
        let said = worker.function(component).get("/panic");
        assert_eq!(said.failure().0, "Trap");
        assert!(said.error.as_ref().unwrap()["stack"].as_str().unwrap().contains("wasm"), "{said:?}");
        assert!(said.lines.iter().any(|(_, line)| line.contains("of my own")), "{said:?}");
    }
}

#[test]
fn leaving_without_an_answer_is_named() {
    let mut worker = Worker::start();
    let mut function = worker.function("proxy");
    assert_eq!(function.get("/exit").failure(), ("Exit", "it exited with status 1 instead of returning"));
    let said = function.get("/nothing");
    assert!(said.failure().1.contains("without an answer"), "{said:?}");
    let said = worker.function("service").get("/refuse");
    assert!(said.failure().1.contains("HttpRequestDenied"), "{said:?}");
}

#[test]
fn a_trap_in_the_middle_of_a_body_ends_it_without_an_end() {
    let mut worker = Worker::start();
    let mut function = worker.function("proxy");
    let said = function.get("/trap-after-head");
    assert_eq!(said.status, Some(200));
    assert!(!said.body_ended);
    assert_eq!(said.failure().0, "Trap");
}

#[test]
fn a_body_nobody_reads_waits_and_ends_with_the_call() {
    let mut worker = Worker::start();
    let mut function = worker.function("proxy");
    let call = function.start("/endless", false, Duration::from_millis(500));
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
    assert_eq!(bytes, 256 << 10, "one window, and not a byte more");
    answers(&mut function);
}

#[test]
fn a_flood_of_lines_waits_for_the_host() {
    let mut worker = Worker::start();
    let mut function = worker.function("proxy");
    let call = function.start("/flood", false, Duration::from_millis(300));
    let said = function.finish(call);
    assert_eq!(said.failure().0, "Cancelled");
    assert!(said.lines.iter().all(|(_, line)| line.len() == 100), "lines are cut");
    answers(&mut function);
}

#[test]
fn header_fields_and_handles_have_bounds() {
    let mut worker = Worker::start();
    let mut function = worker.function("proxy");
    let said = function.get("/headers?129");
    assert!(said.failure().1.contains("129 header fields, above the limit of 128"), "{said:?}");
    let said = function.get("/headers?33000");
    assert!(said.failure().1.contains("total size of fields"), "{said:?}");
    let said = function.get("/handles");
    assert_eq!(said.failure().0, "Error", "{said:?}");
    answers(&mut function);
}

#[test]
fn a_request_that_breaks_off_ends_the_body_the_guest_reads() {
    let mut worker = Worker::start();
    let mut function = worker.function("proxy");
    let call = function.start("/echo", true, Duration::from_secs(60));
    function.frame(Kind::Body, call, b"some");
    function.frame(Kind::BodyAbort, call, b"the client went away");
    assert_eq!(function.finish(call).failure().0, "Trap");
    answers(&mut function);
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
    answers(&mut worker.function("proxy"));
}

#[test]
fn a_request_body_that_is_never_read_holds_nothing_up() {
    let mut worker = Worker::start();
    for component in ["proxy", "service"] {
        let mut function = worker.function(component);
        let call = function.start("/hello", true, Duration::from_secs(60));
        // All that may be sent before the guest reads, and no end.
        for _ in 0..4 {
            function.frame(Kind::Body, call, &[7; 64 << 10]);
        }
        assert_eq!(function.finish(call).text(), "hello", "{component}");
        answers(&mut function);
    }
}

#[test]
fn ten_thousand_calls_that_are_cancelled_leave_nothing_behind() {
    let mut worker = Worker::start();
    let mut function = worker.function("proxy");
    for _ in 0..200 {
        let calls: Vec<u32> =
            (0..50).map(|_| function.start("/sleep", false, Duration::from_secs(3600))).collect();
        for call in &calls {
            function.frame(Kind::Cancel, *call, b"deadline");
        }
        for _ in &calls {
            let frame = function.next();
            assert_eq!(frame.kind, Kind::Error, "{frame:?}");
        }
    }
    // There would be no instance left, had they not ended.
    answers(&mut function);
}
