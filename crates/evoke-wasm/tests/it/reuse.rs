//! Instances that serve one call after the other, because the function asks for it.

use std::time::Duration;

use evoke_worker::frame::Kind;

use crate::host::Worker;

#[test]
fn state_is_kept_between_calls_of_a_connection_and_no_other() {
    let mut worker = Worker::start();
    let (mut one, mut other) =
        (worker.open_keeping("service").unwrap(), worker.open_keeping("service").unwrap());
    for calls in 0..5 {
        assert_eq!(one.get("/first").text(), calls.to_string());
    }
    assert_eq!(other.get("/first").text(), "0");
    assert_eq!(worker.function("service").get("/first").text(), "0");
}

#[test]
fn each_call_has_its_own_lines_body_and_figures() {
    let mut worker = Worker::start();
    let mut function = worker.open_keeping("service").unwrap();
    for _ in 0..3 {
        assert_eq!(function.get("/print").lines, [(1, "from a service".to_owned())]);
        assert_eq!(function.get("/after").lines, [(1, "after the answer".to_owned())]);
        let large = vec![7; 300_000];
        let said = function.post("/echo", &large[..200_000]);
        assert_eq!(said.body, large[..200_000]);
        assert!(said.done.unwrap()["usage"]["peak_memory_bytes"].as_u64().unwrap() > 0);
    }
}

#[test]
fn after_an_error_a_panic_or_a_cancel_the_next_call_has_a_fresh_instance() {
    let mut worker = Worker::start();
    let mut function = worker.open_keeping("service").unwrap();
    for bad in ["/refuse", "/panic"] {
        assert_eq!(function.get("/first").text(), "0");
        assert_eq!(function.get("/first").text(), "1");
        assert!(function.get(bad).error.is_some());
    }
    assert_eq!(function.get("/first").text(), "0");
    let call = function.start("/sleep", false, Duration::from_secs(3600));
    function.frame(Kind::Cancel, call, b"cancelled");
    assert_eq!(function.finish(call).failure().0, "Cancelled");
    assert_eq!(function.get("/first").text(), "0");
}

#[test]
fn an_instance_whose_answer_has_no_end_is_not_kept() {
    let mut worker = Worker::start();
    let mut function = worker.open_keeping("service").unwrap();
    assert_eq!(function.get("/first").text(), "0");
    assert_eq!(function.get("/first").text(), "1");
    // Its end is that of the instance.
    assert_eq!(function.get("/unclosed").text(), "begun");
    assert_eq!(function.get("/first").text(), "0");
}

#[test]
fn an_instance_has_an_end_although_nothing_goes_wrong() {
    let mut worker = Worker::start();
    let mut function = worker.open_keeping("service").unwrap();
    let counts: Vec<u32> = (0..1001).map(|_| function.get("/first").text().parse().unwrap()).collect();
    assert_eq!(counts[999..], [999, 0]);
}

#[test]
fn a_component_of_the_older_world_cannot_be_kept() {
    let mut worker = Worker::start();
    let error = worker.open_keeping("proxy").err().unwrap();
    assert!(error["message"].as_str().unwrap().contains("leave reuse out"), "{error}");
}
