//! What a server behind a route answers: nothing of one answer becomes part of another, or of another client's.

use super::rig::{Closed, Open};
use super::rig::{Rig, talk};

/// What it answers, and what the client gets: the status and the body. 0: the connection is cut.
const ANSWERS: &[(&str, &[u8], u16, &str)] = &[
    ("a length", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", 200, "ok"),
    ("chunks", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", 200, "ok"),
    (
        "two different lengths",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok!",
        502,
        "",
    ),
    ("a list of two lengths", b"HTTP/1.1 200 OK\r\nContent-Length: 2, 3\r\n\r\nok!", 502, ""),
    ("a length that is none", b"HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok", 502, ""),
    (
        "twice the same length",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok",
        200,
        "ok",
    ),
    (
        "a length and chunks",
        b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        200,
        "ok",
    ),
    (
        "a second answer",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\npoisoned",
        200,
        "ok",
    ),
    ("more than the length", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokmore", 200, "ok"),
    ("a fold", b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 2\r\n\r\nok", 502, ""),
    ("a space before the colon", b"HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\nok", 502, ""),
    ("NUL in a value", b"HTTP/1.1 200 OK\r\nX: \0\r\nContent-Length: 2\r\n\r\nok", 502, ""),
    (
        "CR alone in a value",
        b"HTTP/1.1 200 OK\r\nX: a\rSet-Cookie: b\r\nContent-Length: 2\r\n\r\nok",
        502,
        "",
    ),
    ("no status", b"HTTP/1.1 abc OK\r\nContent-Length: 2\r\n\r\nok", 502, ""),
    ("HTTP/2", b"HTTP/2.0 200 OK\r\nContent-Length: 2\r\n\r\nok", 502, ""),
    ("no HTTP", b"hello\r\n\r\n", 502, ""),
    ("100 before", b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", 200, "ok"),
    (
        "103 before",
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        200,
        "ok",
    ),
    (
        "101 that nobody asked for",
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
        502,
        "",
    ),
    ("204 with a body", b"HTTP/1.1 204 No Content\r\nContent-Length: 8\r\n\r\npoisoned", 204, ""),
    ("304 with a body", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 8\r\n\r\npoisoned", 304, ""),
    (
        "a chunk that is none",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0x2\r\nok\r\n0\r\n\r\n",
        0,
        "",
    ),
];

#[test]
fn an_answer_that_is_wrong_hurts_nobody_but_its_request() {
    let rig = Rig::new(|request| {
        let nth = request.split(['/', ' ']).find_map(|word| word.parse::<usize>().ok());
        let long = || {
            let head = b"HTTP/1.1 200 OK\r\nX: ".to_vec();
            [head, vec![b'y'; 200_000], b"\r\nContent-Length: 2\r\n\r\nok".to_vec()].concat()
        };
        nth.map_or_else(
            || super::rig::ok(request),
            |nth| ANSWERS.get(nth).map_or_else(long, |(_, answer, ..)| answer.to_vec()),
        )
    });
    let mut wrong = Vec::new();
    for (nth, (name, _, status, body)) in
        ANSWERS.iter().chain(&[("a head that is too long", &b""[..], 502, "")]).enumerate()
    {
        let answer = rig.server.http("GET", &format!("/up/{nth}"), "");
        if answer.status != *status || (*status < 500 && answer.body != *body) {
            wrong.push(format!("{name}: {answer:?}"));
        }
        // The next request may meet the same connection.
        for _ in 0..3 {
            let next = rig.server.http("GET", "/up/next", "");
            if (next.status, next.body.as_str()) != (200, "ok") {
                wrong.push(format!("{name}: the next request got {next:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{} are wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn a_head_of_answer_is_not_taken_from_where_no_body_belongs() {
    let rig = Rig::new(|request| {
        if request.starts_with("HEAD") {
            b"HTTP/1.1 200 OK\r\nContent-Length: 40\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\npoisoned".to_vec()
        } else {
            super::rig::ok(request)
        }
    });
    let bytes = b"HEAD /up/a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let head = talk(&rig.server.data_url, bytes, 0, Closed);
    assert!(head.0.is_empty() || head.0 == [200], "{head:?}");
    let next = talk(&rig.server.data_url, b"GET /up/b HTTP/1.1\r\nHost: x\r\n\r\n", 1, Open);
    assert_eq!(next, (vec![200], Open));
    assert_eq!(rig.server.http("GET", "/up/c", "").body, "ok");
}
