//! Calls that go well.

use serde_json::json;

use std::time::Duration;

use crate::host::{Said, Worker};
use evoke_worker::frame::Kind;

#[test]
fn a_request_is_answered_by_either_contract() {
    let mut worker = Worker::start();
    let said = worker.function("proxy").get("/hello");
    assert_eq!((said.status, said.text()), (Some(200), "hello"));
    assert!(said.headers.contains(&("x-guest".to_owned(), "proxy".to_owned())), "{:?}", said.headers);
    let said = worker.function("service").get("/hello");
    assert_eq!((said.status, said.text()), (Some(200), "hello"));
}

#[test]
fn each_request_has_an_instance_of_its_own() {
    let mut worker = Worker::start();
    for component in ["proxy", "service"] {
        let mut function = worker.function(component);
        for _ in 0..3 {
            assert_eq!(function.get("/first").text(), "0", "{component}");
        }
    }
}

#[test]
fn a_small_answer_leaves_as_a_head_and_one_piece_whatever_it_was_written_in() {
    let mut worker = Worker::start();
    for (kind, mut function) in worker.kinds() {
        // A guest is waited for as long as a turn may last, which on a busy machine now and then is not enough.
        let mut frames = || {
            function.start("/hello", false, Duration::from_secs(60));
            let mut kinds = vec![function.next().kind];
            while kinds.last() != Some(&Kind::Done) {
                kinds.push(function.next().kind);
            }
            kinds
        };
        let in_two = [Kind::Response, Kind::BodyEnd, Kind::Done];
        assert!((0..200).any(|_| frames() == in_two), "{kind}");
    }
}

#[test]
fn bodies_of_any_size_stream_through() {
    let mut worker = Worker::start();
    for component in ["proxy", "service"] {
        let mut function = worker.function(component);
        let body: Vec<u8> = (0..200_000u32).flat_map(u32::to_le_bytes).collect();
        let said = function.post("/echo", &body[..100]);
        assert_eq!(said.body, body[..100], "{component}");
        let call = function.start("/echo", true, std::time::Duration::from_secs(60));
        let mut credit = 256 << 10;
        let mut back = Vec::new();
        let mut rest = &body[..];
        while !rest.is_empty() || back.len() < body.len() {
            let bytes = rest.len().min(credit).min(64 << 10);
            if bytes > 0 {
                let (part, after) = rest.split_at(bytes);
                function.frame(Kind::Body, call, part);
                (rest, credit) = (after, credit - bytes);
                if rest.is_empty() {
                    function.frame(Kind::BodyEnd, call, &[]);
                }
                continue;
            }
            let frame = function.next();
            match frame.kind {
                Kind::Credit => credit += u32::from_le_bytes(frame.payload[..].try_into().unwrap()) as usize,
                Kind::Body | Kind::BodyEnd => {
                    back.extend_from_slice(&frame.payload);
                    let granted = u32::try_from(frame.payload.len()).unwrap();
                    function.frame(Kind::Credit, call, &granted.to_le_bytes());
                }
                Kind::Response => {}
                other => panic!("{component}: {other:?} {:?}", frame.payload),
            }
        }
        assert!(back == body, "{component}: what came back is what was sent");
        assert!(function.finish(call).error.is_none());
    }
}

#[test]
fn an_event_is_a_request_in_binary_mode_and_events_may_be_its_answer() {
    let mut worker = Worker::start();
    let mut function = worker.function("proxy");
    let event =
        json!({ "specversion": "1.0", "id": "7", "source": "/shop", "type": "paid", "data": { "total": 3 } });
    let said = function.event(&event);
    let events = &said.done.as_ref().unwrap()["events"];
    assert_eq!(events[0]["id"], "7-seen");
    assert_eq!(events[0]["data"], json!({ "total": 3 }));
    let event = json!({ "specversion": "1.0", "id": "8", "source": "/shop", "type": "refused" });
    let said = function.event(&event);
    assert_eq!(said.failure(), ("Status", "it answered the event with status 500: not this one"));
}

#[test]
fn what_it_prints_is_logged_in_lines() {
    let mut worker = Worker::start();
    let said = worker.function("proxy").get("/print");
    let line = |stream, text: &str| (stream, text.to_owned());
    assert_eq!(said.lines, [line(1, "first"), line(1, "second"), line(2, "without an end")]);
    let said = worker.function("service").get("/print");
    assert_eq!(said.lines, [line(1, "from a service")]);
}

#[test]
fn what_it_does_after_its_answer_is_part_of_the_call() {
    let mut worker = Worker::start();
    let said = worker.function("service").get("/after");
    assert_eq!(said.text(), "answered");
    assert_eq!(said.lines, [(1, "after the answer".to_owned())]);
    assert!(said.done.is_some());
}

#[test]
fn its_environment_is_its_own() {
    let mut worker = Worker::start();
    let said = worker.function("proxy").get("/environment");
    assert_eq!(said.text(), "COLOUR=blue\nEVOKE_API=http://evoke.internal");
}

#[test]
fn the_platform_is_reached_without_a_socket() {
    let mut worker = Worker::start();
    let said = worker.function("proxy").post("/platform?/v1/kv/default/a?x=1", b"{\"value\":1}");
    assert_eq!(said.platform[0]["path"], "/v1/kv/default/a?x=1");
    assert_eq!(said.platform[0]["method"], "POST");
    assert_eq!((said.status, said.text()), (Some(201), "{\"value\":1}"));
}

#[test]
fn nothing_else_of_the_host_is_reached() {
    let mut worker = Worker::start();
    let mut function = worker.function("proxy");
    let said = function.get("/outside");
    assert_eq!(said.text(), "Err(\"ErrorCode::HttpRequestDenied\")");
    assert_eq!(said.connects, ["example.com:80"], "the host is asked, and nobody else");
    assert!(function.get("/files").text().starts_with("Err("));
    assert!(function.get("/sockets").text().starts_with("Err("));
}

#[test]
fn what_a_call_used_is_told() {
    let mut worker = Worker::start();
    let said = worker.function("proxy").get("/hello");
    let usage = &said.done.as_ref().unwrap()["usage"];
    assert!(usage["cpu_us"].as_u64().unwrap() > 0, "{usage}");
    assert!(usage["peak_memory_bytes"].as_u64().unwrap() >= 64 << 10, "{usage}");
}

#[test]
fn what_a_call_used_is_told_however_it_ends() {
    let mut worker = Worker::start();
    let mut function = worker.function("proxy");
    let cpu = |said: &Said| said.error.as_ref().unwrap()["usage"]["cpu_us"].as_u64().unwrap();
    let peak = |said: &Said| said.error.as_ref().unwrap()["usage"]["peak_memory_bytes"].as_u64().unwrap();
    let grown = function.get("/grow");
    assert!(peak(&grown) >= 48 << 20 && peak(&grown) <= 64 << 20, "{grown:?}");
    let trapped = function.get("/panic");
    assert!(cpu(&trapped) > 0 && peak(&trapped) >= 64 << 10, "{trapped:?}");
    let [busy, idle] = ["/loop", "/sleep"].map(|path| {
        let call = function.start(path, false, Duration::from_secs(1));
        function.finish(call)
    });
    assert!(cpu(&busy) > 10 * cpu(&idle).max(1), "{busy:?} {idle:?}");
    assert!(peak(&busy) >= 64 << 10, "it is known although the instance was dropped: {busy:?}");
}
