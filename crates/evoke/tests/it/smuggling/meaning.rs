//! Requests whose bytes are in order, and whose meaning is not: two hosts, fields that take others away, other protocols.

use super::rig::{Closed, Open, Rig, case, ok, refused};

#[test]
fn a_request_is_for_one_host() {
    let rig = Rig::new(ok);
    rig.hold(&[
        case("no Host", b"GET /up/a HTTP/1.1\r\n\r\n", &[400], &[], Open),
        case("two Hosts", b"GET /up/a HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", &[400], &[], Open),
        case("twice the same Host", b"GET /up/a HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n", &[400], &[], Open),
        case(
            "two Hosts and a URL",
            b"GET http://x/up/a HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
            &[400],
            &[],
            Open,
        ),
        case("an empty Host", b"GET /up/a HTTP/1.1\r\nHost:\r\n\r\n", &[400], &[], Open),
        case("a list of Hosts", b"GET /up/a HTTP/1.1\r\nHost: x, y\r\n\r\n", &[400], &[], Open),
        case("a Host with a user", b"GET /up/a HTTP/1.1\r\nHost: u@x\r\n\r\n", &[400], &[], Open),
        case("a Host with a path", b"GET /up/a HTTP/1.1\r\nHost: x/y\r\n\r\n", &[400], &[], Open),
        case(
            "a Host with a port that is none",
            b"GET /up/a HTTP/1.1\r\nHost: x:y\r\n\r\n",
            &[400],
            &[],
            Open,
        ),
        case(
            "a Host with a port too high",
            b"GET /up/a HTTP/1.1\r\nHost: x:65536\r\n\r\n",
            &[400],
            &[],
            Open,
        ),
        case("a URL with a user", b"GET http://u@x/up/a HTTP/1.1\r\nHost: x\r\n\r\n", &[400], &[], Open),
        refused("a URL without a host", b"GET http:///up/a HTTP/1.1\r\nHost: x\r\n\r\n", &[400]),
    ]);
    // The target wins over Host, for everybody behind (RFC 9112, 3.2.2).
    let bytes = b"GET http://told/up/a HTTP/1.1\r\nHost: other\r\nConnection: close\r\n\r\n";
    assert_eq!(super::rig::talk(&rig.server.data_url, bytes, 1, Closed).0, [200]);
    let seen = rig.upstream.take().requests.remove(0);
    assert!(seen.contains("x-forwarded-host: told\r\n") && !seen.contains("other"), "{seen}");
}

#[test]
fn connection_takes_away_what_is_for_this_connection_and_nothing_else() {
    Rig::new(|request: &str| {
        let gone = !request.contains("x-private") && !request.contains("http2-settings");
        if gone { ok(request) } else { b"HTTP/1.1 500 Seen\r\nContent-Length: 0\r\n\r\n".to_vec() }
    })
    .hold(&[
        case("a field of one's own", b"GET /up/a HTTP/1.1\r\nHost: x\r\nConnection: x-private\r\nX-Private: y\r\n\r\n", &[200], &["GET /a"], Open),
        case("in a list", b"GET /up/a HTTP/1.1\r\nHost: x\r\nConnection: keep-alive ,, x-private\r\nX-Private: y\r\n\r\n", &[200], &["GET /a"], Open),
        case("Content-Length", b"POST /up/a HTTP/1.1\r\nHost: x\r\nConnection: content-length\r\nContent-Length: 5\r\n\r\nhello", &[400], &[], Open),
        case("Host", b"GET /up/a HTTP/1.1\r\nHost: x\r\nConnection: Host\r\n\r\n", &[400], &[], Open),
        case("Authorization", b"GET /up/a HTTP/1.1\r\nHost: x\r\nAuthorization: y\r\nConnection: close, authorization\r\n\r\n", &[400], &[], Closed),
        case("X-Forwarded-For", b"GET /up/a HTTP/1.1\r\nHost: x\r\nConnection: x-forwarded-for\r\n\r\n", &[400], &[], Open),
        case("Cookie, on a second line", b"GET /up/a HTTP/1.1\r\nHost: x\r\nConnection: keep-alive\r\nConnection: cookie\r\n\r\n", &[400], &[], Open),
        case("TE", b"GET /up/a HTTP/1.1\r\nHost: x\r\nConnection: te\r\nTE: trailers, gzip\r\n\r\n", &[200], &["GET /a"], Open),
        case("a switch to h2c", b"GET /up/a HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n", &[200], &["GET /a"], Open),
        case("h2c that Connection does not name", b"GET /up/a HTTP/1.1\r\nHost: x\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n", &[200], &["GET /a"], Open),
        case("a WebSocket nobody grants, and a request behind it", b"GET /up/a HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nGET /up/smuggled HTTP/1.1\nHost: x\n\n", &[200], &["GET /a"], Closed),
        case("a WebSocket of POST", b"POST /up/a HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 2\r\n\r\nhi", &[200], &["POST /a"], Open),
        case("two Upgrades", b"GET /up/a HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nUpgrade: websocket\r\n\r\nGET /up/smuggled HTTP/1.1\r\nHost: x\r\n\r\n", &[200], &["GET /a"], Closed),
    ]);
}

#[test]
fn requests_in_one_piece_are_answered_in_order_up_to_the_first_that_is_refused() {
    Rig::new(ok).hold(&[
        case("three", b"GET /up/a HTTP/1.1\r\nHost: x\r\n\r\nPOST /up/b HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhiGET /up/c HTTP/1.1\r\nHost: x\r\n\r\n", &[200, 200, 200], &["GET /a", "POST /b", "GET /c"], Open),
        case("one that closes", b"GET /up/a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\nGET /up/smuggled HTTP/1.1\r\nHost: x\r\n\r\n", &[200], &["GET /a"], Closed),
        case("one that is refused", b"GET /up/a HTTP/1.1\r\nHost: x\r\n\r\nGET /up/b HTTP/1.1\nHost: x\n\nGET /up/c HTTP/1.1\r\nHost: x\r\n\r\n", &[200, 400], &["GET /a"], Closed),
        case("HTTP/1.0 that stays", b"GET /up/a HTTP/1.0\r\nHost: x\r\nConnection: keep-alive\r\n\r\nGET /up/b HTTP/1.1\r\nHost: x\r\n\r\n", &[200, 200], &["GET /a", "GET /b"], Open),
        case("HTTP/2 in the middle", b"GET /up/a HTTP/1.1\r\nHost: x\r\n\r\nPRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &[200, 400], &["GET /a"], Closed),
        refused("a PRI that is not HTTP/2", b"PRI * HTTP/2.0\r\n\r\nGET /up/a HTTP/1.1\r\nHost: x\r\n\r\n", &[400]),
    ]);
}

#[test]
fn an_expectation_is_100_continue_or_refused() {
    Rig::new(ok).hold(&[
        case("100-continue, and the body at once", b"POST /up/a HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nhi", &[100, 200], &["POST /a"], Open),
        case("in capitals", b"POST /up/a HTTP/1.1\r\nHost: x\r\nExpect: 100-CONTINUE\r\nContent-Length: 2\r\n\r\nhi", &[100, 200], &["POST /a"], Open),
        case("100-continue without a body", b"GET /up/a HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n\r\n", &[200], &["GET /a"], Open),
        case("something else", b"POST /up/a HTTP/1.1\r\nHost: x\r\nExpect: 200-ok\r\nContent-Length: 2\r\n\r\nhi", &[417], &[], Open),
        case("two", b"POST /up/a HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nExpect: x\r\nContent-Length: 2\r\n\r\nhi", &[417], &[], Open),
    ]);
}
