//! Workers that break the protocol. The function writes to the socket itself.

use evoke_core::outcome::FailureCode;
use evoke_core::record::LogStream;

use crate::support::*;

/// A frame of `kind` for `call`, as Python source.
const FRAMES: &str = "import os, struct, json
def frame(kind, call, payload=b''):
    os.write(3, struct.pack('<IIB', len(payload), call, kind) + payload)
RESPONSE, BODY, BODY_END, DONE, ERROR, LOG, PLATFORM, CREDIT, READY = 18 + 1, 3, 4, 20, 21, 22, 23, 6, 17
def head(**more):
    return json.dumps({'status': 200, 'headers': [], 'body': False, **more}).encode()
";

const CASES: &[(&str, &str)] = &[
    ("os.write(3, b'\\xff' * 64)", "frame of unknown kind 255"),
    (
        "os.write(3, struct.pack('<IIB', 1 << 30, 1, DONE))",
        "Done frame of 1073741824 bytes is above the limit of 9437184",
    ),
    ("frame(7, 1)", "Cancel frame of call 1 comes from the host only"),
    ("frame(READY, 0, b'{}')", "Ready frame of call 0 belongs to a call that is not running"),
    ("frame(DONE, 7, b'{}')", "Done frame of call 7 belongs to a call that is not running"),
    ("frame(DONE, 1, b'{}')", "Done frame of call 1 comes before the RESPONSE"),
    ("frame(DONE, 1, b'[')", "Done frame of call 1 comes before the RESPONSE"),
    (
        "frame(RESPONSE, 1, b'{')",
        "Response frame is malformed: EOF while parsing an object at line 1 column 1",
    ),
    (
        "frame(RESPONSE, 1, head(status=99))",
        "Response frame is malformed: status 99 is not within 200 to 599",
    ),
    (
        "frame(RESPONSE, 1, head(status=101))",
        "Response frame is malformed: status 101 is not within 200 to 599",
    ),
    (
        "frame(RESPONSE, 1, head(headers=[['a b', 'c']]))",
        "Response frame is malformed: \"a b\" is not the name of a header field",
    ),
    (
        "frame(RESPONSE, 1, head(headers=[['a', 'b\\r\\nc: d']]))",
        "Response frame is malformed: header field a has a value that HTTP does not allow",
    ),
    (
        "frame(RESPONSE, 1, head(headers=[['a', 'b']] * 101))",
        "Response frame is malformed: 101 header fields are above the limit of 100",
    ),
    (
        "frame(RESPONSE, 1, head(headers=[['a', 'b' * 70000]]))",
        "Response frame is malformed: 70001 bytes of header fields are above the limit of 65536",
    ),
    (
        "frame(RESPONSE, 1, head()); frame(RESPONSE, 1, head())",
        "Response frame of call 1 is the second of this call",
    ),
    ("frame(BODY, 1, b'x')", "Body frame of call 1 comes without a RESPONSE that announces a body"),
    (
        "frame(RESPONSE, 1, head()); frame(BODY, 1, b'x')",
        "Body frame of call 1 comes without a RESPONSE that announces a body",
    ),
    ("frame(RESPONSE, 1, head(body=True)); frame(BODY, 1, b'')", "Body frame of call 1 is empty"),
    (
        "frame(RESPONSE, 1, head(body=True)); frame(DONE, 1, b'{}')",
        "Done frame of call 1 comes before the end of the body",
    ),
    ("frame(CREDIT, 1, struct.pack('<I', 5))", "Credit frame of call 1 grants what was not spent"),
    ("frame(CREDIT, 1, b'123')", "Credit frame is malformed: it has 3 bytes, not 4"),
    ("frame(LOG, 1, b'\\x03text')", "Log frame is malformed: it names neither stdout nor stderr"),
    ("frame(LOG, 1, b'')", "Log frame is malformed: it names neither stdout nor stderr"),
    ("frame(PLATFORM, 1, b'1234567')", "Platform frame is malformed: it is shorter than 8 bytes"),
    (
        "frame(PLATFORM, 1, struct.pack('<II', 1, 100) + b'{}')",
        "Platform frame is malformed: its head is longer than the frame",
    ),
    (
        "frame(PLATFORM, 1, struct.pack('<II', 1, 2) + b'{}')",
        "Platform frame is malformed: missing field `method` at line 1 column 2",
    ),
    (
        "frame(PLATFORM, 1, struct.pack('<II', 1, 42) + b'{\"method\": \"GET\", \"path\": \"x\",\"headers\":[]}')",
        "Platform frame is malformed: ",
    ),
    ("os.close(3)", "Done frame of call 1 closed its socket during a call"),
];

#[tokio::test]
async fn a_broken_rule_ends_the_worker_and_is_named() {
    let host = Host::start().await;
    for (code, message) in CASES {
        // Waits, so that nothing well-formed follows.
        let source =
            format!("{FRAMES}\nimport time\ndef handler(event, context):\n    {code}\n    time.sleep(100)\n");
        let mut guest = host.guest(&[("main.py", &source)]).await;
        let outcome = guest.get("/").await;
        let failure = outcome.failure();
        assert_eq!(failure.code, FailureCode::ProtocolViolation, "{code}: {failure:?}");
        assert!(failure.message.starts_with(message), "{code}: {}", failure.message);
        assert!(!guest.instance.is_usable(), "{code}");
        guest.instance.gone().await;
    }
}

#[tokio::test]
async fn a_body_beyond_its_credit_is_a_violation() {
    let host = Host::start().await;
    let source = format!(
        "{FRAMES}\nimport time\ndef handler(event, context):\n    frame(RESPONSE, 1, head(body=True))\n    for _ in range(40): frame(BODY, 1, bytes(100000))\n    time.sleep(100)\n"
    );
    let mut guest = host.guest(&[("main.py", &source)]).await;
    let (call, mut reports) = call(evoke_core::runtime::Input::Request(post("/", "")), PATIENCE);
    // Nobody reads, so nothing is granted.
    let idle = async {
        let mut held = Vec::new();
        while let Some(report) = reports.recv().await {
            held.push(report);
        }
        held.len()
    };
    let (ended, reported) = tokio::join!(guest.instance.call(call), idle);
    let evoke_core::runtime::Ended::Failed(failure) = ended else { panic!("{ended:?}") };
    assert_eq!(failure.code, FailureCode::ProtocolViolation);
    assert_eq!(failure.message, "Body frame of call 1 is larger than the credit it has");
    assert_eq!(reported, 1);
}

#[tokio::test]
async fn a_handler_that_fails_before_its_head_was_passed_on_gives_no_answer() {
    let host = Host::start().await;
    for parts in ["", "(BODY, b'half'),"] {
        let source = format!(
            "{FRAMES}
import time
def at_once(*frames):
    os.write(3, b''.join(struct.pack('<IIB', len(payload), 1, kind) + payload for kind, payload in frames))
def handler(event, context):
    failed = (ERROR, json.dumps({{'type': 'E', 'message': 'no'}}).encode())
    at_once((RESPONSE, head(body=True)), {parts} (LOG, b'\\x01a line'), (LOG, b'\\x01and another'), failed)
    time.sleep(100)
"
        );
        let outcome = host.guest(&[("main.py", &source)]).await.get("/").await;
        assert_eq!(outcome.failure().message, "E: no");
        assert_eq!(outcome.lines(LogStream::Stdout), ["a line", "and another"]);
        assert!(outcome.response.is_none(), "{outcome:?}");
    }
}

#[tokio::test]
async fn more_requests_than_allowed_are_a_violation() {
    let host = Host::start().await;
    let source = format!(
        "{FRAMES}\nimport time\ndef handler(event, context):\n    head = b'{{\"method\": \"GET\", \"path\": \"/x\", \"headers\": []}}'\n    for n in range(100): frame(PLATFORM, 1, struct.pack('<II', n, len(head)) + head)\n    time.sleep(100)\n"
    );
    let mut guest = host.guest(&[("main.py", &source)]).await;
    let (call, mut reports) = call(evoke_core::runtime::Input::Event(event()), PATIENCE);
    let silent = async {
        let mut held = Vec::new();
        while let Some(report) = reports.recv().await {
            held.push(report);
        }
        held.len()
    };
    let (ended, asked) = tokio::join!(guest.instance.call(call), silent);
    let evoke_core::runtime::Ended::Failed(failure) = ended else { panic!("{ended:?}") };
    assert_eq!(failure.code, FailureCode::ProtocolViolation);
    assert_eq!(failure.message, "Platform frame is malformed: 64 requests are under way already");
    assert_eq!(asked, 64);
}

#[tokio::test]
async fn an_idle_worker_that_speaks_up_is_ended() {
    let host = Host::start().await;
    let source = format!(
        "{FRAMES}\nimport threading\ndef handler(event, context):\n    threading.Timer(0.05, frame, [DONE, 1, b'{{}}']).start()\n    return 1\n"
    );
    let mut guest = host.guest(&[("main.py", &source)]).await;
    assert_eq!(guest.get("/").await.answer().text(), "1");
    guest.instance.gone().await;
    assert!(!guest.instance.is_usable());
}

#[tokio::test]
async fn garbage_instead_of_ready_is_told() {
    let host = Host::start().await;
    let cases = [
        ("frame(READY, 0, b'{}')", "Ready frame is malformed: missing field `protocol` at line 1 column 2"),
        (
            "frame(READY, 0, json.dumps({'protocol': 2, 'runtime': 'x', 'contract': 'web'}).encode())",
            "Ready frame is malformed: it speaks version 2 and not 1",
        ),
        ("frame(DONE, 1, b'{}')", "Done frame of call 1 comes before READY"),
    ];
    for (code, message) in cases {
        let source = format!("{FRAMES}\n{code}\n");
        let failure = host.refused(&[("main.py", &source)]).await;
        assert_eq!((failure.code, failure.message.as_str()), (FailureCode::ProtocolViolation, message));
    }
}
