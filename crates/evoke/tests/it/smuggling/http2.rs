//! HTTP/2, which becomes HTTP/1.1 behind: what has no meaning there, or another one, does not get through.

use super::frames::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, Fate, HEADERS, RST_STREAM, Raw, block, frame,
};
use super::rig::{Rig, ok};
use crate::evoke::eventually;

type Fields = &'static [(&'static str, &'static str)];

const METHOD: (&str, &str) = (":method", "GET");
const POST: (&str, &str) = (":method", "POST");
const SCHEME: (&str, &str) = (":scheme", "http");
const HOST: (&str, &str) = (":authority", "x");
const PATH: (&str, &str) = (":path", "/up/a");

/// Name, fields, body, what becomes of it, requests let through.
const CASES: &[(&str, Fields, &[&str], Fate, usize)] = &[
    ("a request", &[METHOD, SCHEME, HOST, PATH], &[], Fate::Status(200), 1),
    ("a body", &[POST, SCHEME, HOST, PATH, ("content-length", "5")], &["he", "llo"], Fate::Status(200), 1),
    ("Host for :authority", &[METHOD, SCHEME, PATH, ("host", "x")], &[], Fate::Status(200), 1),
    (
        "cookies in crumbs",
        &[METHOD, SCHEME, HOST, PATH, ("cookie", "a=1"), ("cookie", "b=2")],
        &[],
        Fate::Status(200),
        1,
    ),
    ("TE: trailers", &[METHOD, SCHEME, HOST, PATH, ("te", "trailers")], &[], Fate::Status(200), 1),
    ("another Host", &[METHOD, SCHEME, HOST, PATH, ("host", "y")], &[], Fate::Status(400), 0),
    ("two Hosts", &[METHOD, SCHEME, HOST, PATH, ("host", "x"), ("host", "x")], &[], Fate::Status(400), 0),
    ("no host", &[METHOD, SCHEME, PATH], &[], Fate::Status(400), 0),
    ("a user in :authority", &[METHOD, SCHEME, (":authority", "u@x"), PATH], &[], Fate::Status(400), 0),
    (
        "an underscored length",
        &[POST, SCHEME, HOST, PATH, ("content_length", "5")],
        &[""],
        Fate::Status(400),
        0,
    ),
    ("no :method", &[SCHEME, HOST, PATH], &[], Fate::Broken, 0),
    ("no :path", &[METHOD, SCHEME, HOST], &[], Fate::Broken, 0),
    ("no :scheme", &[METHOD, HOST, PATH], &[], Fate::Broken, 0),
    ("two :paths", &[METHOD, SCHEME, HOST, PATH, (":path", "/up/smuggled")], &[], Fate::Broken, 0),
    ("two :methods", &[METHOD, POST, SCHEME, HOST, PATH], &[], Fate::Broken, 0),
    ("two :authorities", &[METHOD, SCHEME, HOST, (":authority", "y"), PATH], &[], Fate::Broken, 0),
    ("a pseudo field after a field", &[METHOD, SCHEME, HOST, ("a", "b"), PATH], &[], Fate::Broken, 0),
    ("an unknown pseudo field", &[METHOD, SCHEME, HOST, PATH, (":x", "y")], &[], Fate::Broken, 0),
    ("a pseudo field of answers", &[METHOD, SCHEME, HOST, PATH, (":status", "200")], &[], Fate::Broken, 0),
    ("an empty :path", &[METHOD, SCHEME, HOST, (":path", "")], &[], Fate::Broken, 0),
    ("a :path without a slash", &[METHOD, SCHEME, HOST, (":path", "up/a")], &[], Fate::Broken, 0),
    ("a :path with a space", &[METHOD, SCHEME, HOST, (":path", "/up/a HTTP/1.1")], &[], Fate::Broken, 0),
    (
        "a :path with CR LF",
        &[METHOD, SCHEME, HOST, (":path", "/up/a HTTP/1.1\r\nX: y")],
        &[],
        Fate::Broken,
        0,
    ),
    (
        "a :method with a space",
        &[(":method", "GET /up/smuggled HTTP/1.1"), SCHEME, HOST, PATH],
        &[],
        Fate::Broken,
        0,
    ),
    ("a :scheme of another kind", &[METHOD, (":scheme", "ftp"), HOST, PATH], &[], Fate::Status(400), 0),
    ("an :authority with CR LF", &[METHOD, SCHEME, (":authority", "x\r\nX: y"), PATH], &[], Fate::Broken, 0),
    (
        "CR LF in a value",
        &[METHOD, SCHEME, HOST, PATH, ("a", "b\r\ntransfer-encoding: chunked")],
        &[],
        Fate::Broken,
        0,
    ),
    ("LF in a value", &[METHOD, SCHEME, HOST, PATH, ("a", "b\nc")], &[], Fate::Broken, 0),
    ("NUL in a value", &[METHOD, SCHEME, HOST, PATH, ("a", "b\0c")], &[], Fate::Broken, 0),
    ("CR LF in a name", &[METHOD, SCHEME, HOST, PATH, ("a\r\nb", "c")], &[], Fate::Broken, 0),
    ("a colon in a name", &[METHOD, SCHEME, HOST, PATH, ("a:b", "c")], &[], Fate::Broken, 0),
    ("capitals in a name", &[METHOD, SCHEME, HOST, PATH, ("Abc", "d")], &[], Fate::Broken, 0),
    ("an empty name", &[METHOD, SCHEME, HOST, PATH, ("", "d")], &[], Fate::Broken, 0),
    (
        "Transfer-Encoding",
        &[POST, SCHEME, HOST, PATH, ("transfer-encoding", "chunked")],
        &["0\r\n\r\n"],
        Fate::Broken,
        0,
    ),
    ("Connection", &[METHOD, SCHEME, HOST, PATH, ("connection", "close")], &[], Fate::Broken, 0),
    ("Proxy-Connection", &[METHOD, SCHEME, HOST, PATH, ("proxy-connection", "close")], &[], Fate::Broken, 0),
    ("Keep-Alive", &[METHOD, SCHEME, HOST, PATH, ("keep-alive", "5")], &[], Fate::Broken, 0),
    ("Upgrade", &[METHOD, SCHEME, HOST, PATH, ("upgrade", "websocket")], &[], Fate::Broken, 0),
    ("TE: chunked", &[METHOD, SCHEME, HOST, PATH, ("te", "chunked")], &[], Fate::Broken, 0),
    (
        "less than the length",
        &[POST, SCHEME, HOST, PATH, ("content-length", "6")],
        &["hello"],
        Fate::Broken,
        0,
    ),
    (
        "more than the length",
        &[POST, SCHEME, HOST, PATH, ("content-length", "4")],
        &["hello"],
        Fate::Broken,
        0,
    ),
    ("a length and no body", &[POST, SCHEME, HOST, PATH, ("content-length", "5")], &[], Fate::Broken, 0),
    (
        "a length that is none",
        &[POST, SCHEME, HOST, PATH, ("content-length", "+5")],
        &["hello"],
        Fate::Broken,
        0,
    ),
    (
        "two lengths",
        &[POST, SCHEME, HOST, PATH, ("content-length", "5"), ("content-length", "6")],
        &["hello"],
        Fate::Broken,
        0,
    ),
    ("CONNECT", &[(":method", "CONNECT"), (":authority", "x:80")], &[], Fate::Status(405), 0),
    (
        "a WebSocket over HTTP/2",
        &[(":method", "CONNECT"), (":protocol", "websocket"), SCHEME, HOST, PATH],
        &[],
        Fate::Broken,
        0,
    ),
];

fn request(stream: u32, fields: &[(&str, &str)], body: &[&str]) -> Vec<u8> {
    let end = if body.is_empty() { END_STREAM } else { 0 };
    let mut bytes = frame(HEADERS, END_HEADERS | end, stream, &block(fields));
    for (nth, part) in body.iter().enumerate() {
        let end = if nth + 1 == body.len() { END_STREAM } else { 0 };
        bytes.extend(frame(DATA, end, stream, part.as_bytes()));
    }
    bytes
}

#[test]
fn a_request_that_http_1_could_read_differently_is_not_let_through() {
    let rig = Rig::new(ok);
    let mut wrong = Vec::new();
    for (name, fields, body, fate, count) in CASES {
        for prefix in ["/up/", "/fn/"] {
            rig.upstream.take();
            let fields: Vec<(&str, String)> =
                fields.iter().map(|(name, value)| (*name, value.replace("/up/", prefix))).collect();
            let fields: Vec<(&str, &str)> =
                fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
            let mut raw = Raw::connect(&rig.server.data_url);
            raw.send(&request(1, &fields, body));
            let got = raw.fate(1);
            let seen = rig.upstream.take();
            let counted = match prefix {
                "/up/" => seen.requests.len(),
                _ => rig.server.http("GET", "/fn/seen", "").body.lines().count(),
            };
            if got != *fate || counted != *count || !seen.odd.is_empty() {
                wrong.push(format!("{name} ({prefix}): {got:?}, let through {counted}, {:?}", seen.odd));
            }
            if *name == "cookies in crumbs"
                && prefix == "/up/"
                && !seen.requests[0].contains("cookie: a=1; b=2\r\n")
            {
                wrong.push(format!("{name}: {:?}", seen.requests));
            }
        }
    }
    assert!(wrong.is_empty(), "{} are wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn floods_end_their_connection_and_disturb_nobody_else() {
    let rig = Rig::new(ok);
    let fine = &[METHOD, SCHEME, HOST, PATH];
    // Begun and reset, over and over (CVE-2023-44487).
    let mut raw = Raw::connect(&rig.server.data_url);
    let resets = (0..20_000).map(|nth| 2 * nth + 1).take_while(|stream| {
        let reset = frame(RST_STREAM, 0, *stream, &8_u32.to_be_bytes());
        raw.send(&[request(*stream, fine, &[]), reset].concat())
    });
    let _ = resets.count();
    assert_eq!(raw.fate(u32::MAX), Fate::Broken);
    // A head that does not end (CVE-2024-27316).
    let mut raw = Raw::connect(&rig.server.data_url);
    raw.send(&frame(HEADERS, 0, 1, &block(fine)));
    let more = frame(CONTINUATION, 0, 1, &block(&[("a", "b")]).repeat(2_000));
    let sent = (0..4_000).take_while(|_| raw.send(&more)).count();
    assert!(sent < 4_000, "{sent} frames of {} bytes were taken", more.len());
    assert_eq!(raw.fate(1), Fate::Broken);
    // More streams than there may be.
    let mut raw = Raw::connect(&rig.server.data_url);
    let open: Vec<u8> = (0..200)
        .flat_map(|nth| frame(HEADERS, END_HEADERS, 2 * nth + 1, &block(&[POST, SCHEME, HOST, PATH])))
        .collect();
    raw.send(&open);
    assert_eq!(raw.fate(399), Fate::Broken);
    drop(raw);
    eventually("a good client's answer", || {
        (rig.server.http("GET", "/up/b", "").status == 200).then_some(())
    });
    eventually("a good client's answer", || {
        (rig.server.http("GET", "/fn/b", "").status == 200).then_some(())
    });
}
