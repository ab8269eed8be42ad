//! Lines, names and values of a request's head.

use super::rig::{Closed, Open, Rig, case, ok, refused};

#[test]
fn lines_end_with_cr_lf_and_nothing_else_ends_one() {
    Rig::new(ok).hold(&[
        refused("LF alone after the request line", b"GET /up/a HTTP/1.1\nHost: x\r\n\r\n", &[400]),
        refused("LF alone after a field", b"GET /up/a HTTP/1.1\r\nHost: x\nX: y\r\n\r\n", &[400]),
        refused("LF alone at the end", b"GET /up/a HTTP/1.1\r\nHost: x\r\n\n", &[400]),
        refused("LF alone everywhere", b"GET /up/a HTTP/1.1\nHost: x\n\n", &[400]),
        refused("LF before the request", b"\nGET /up/a HTTP/1.1\r\nHost: x\r\n\r\n", &[400]),
        refused(
            "a length behind LF",
            b"POST /up/a HTTP/1.1\r\nHost: x\r\nX: y\nContent-Length: 5\r\n\r\nhello",
            &[400],
        ),
        refused(
            "CR alone in a value",
            b"GET /up/a HTTP/1.1\r\nHost: x\r\nX: a\rContent-Length: 5\r\n\r\n",
            &[400],
        ),
        refused("CR CR LF", b"GET /up/a HTTP/1.1\r\nHost: x\r\r\n\r\n", &[400]),
        refused("CR alone in the request line", b"GET /up/a\rHTTP/1.1\r\nHost: x\r\n\r\n", &[400]),
        refused("a fold with a space", b"GET /up/a HTTP/1.1\r\nHost: x\r\nX: a\r\n b\r\n\r\n", &[400]),
        refused(
            "a fold with a tab",
            b"GET /up/a HTTP/1.1\r\nHost: x\r\nX: a\r\n\tContent-Length: 5\r\n\r\n",
            &[400],
        ),
        refused(
            "a fold before the first field",
            b"GET /up/a HTTP/1.1\r\n Host: x\r\nHost: x\r\n\r\n",
            &[400],
        ),
        refused("NUL in a value", b"GET /up/a HTTP/1.1\r\nHost: x\r\nX: a\0b\r\n\r\n", &[400]),
        refused("NUL in a name", b"GET /up/a HTTP/1.1\r\nHost: x\r\nX\0: a\r\n\r\n", &[400]),
        refused("BEL in a value", b"GET /up/a HTTP/1.1\r\nHost: x\r\nX: \x07\r\n\r\n", &[400]),
        refused("DEL in a value", b"GET /up/a HTTP/1.1\r\nHost: x\r\nX: \x7f\r\n\r\n", &[400]),
        case(
            "an empty line before a request",
            b"\r\nGET /up/a HTTP/1.1\r\nHost: x\r\n\r\n",
            &[200],
            &["GET /a"],
            Open,
        ),
        refused(
            "many empty lines before a request",
            b"\r\n\r\n\r\n\r\n\r\nGET /up/a HTTP/1.1\r\nHost: x\r\n\r\n",
            &[400],
        ),
    ]);
}

#[test]
fn a_field_has_a_token_for_its_name_right_before_the_colon() {
    let many = |count: usize| {
        [b"GET /up/a HTTP/1.1\r\nHost: x\r\n".to_vec(), b"X: y\r\n".repeat(count), b"\r\n".to_vec()]
    };
    let (many, long) =
        (many(200).concat(), [b"GET /up/a HTTP/1.1\r\nHost: x\r\nX: ", &*vec![b'y'; 70_000], b"\r\n\r\n"]);
    let long = long.concat();
    Rig::new(ok).hold(&[
        refused("a space before the colon", b"GET /up/a HTTP/1.1\r\nHost: x\r\nX : y\r\n\r\n", &[400]),
        refused("a tab before the colon", b"GET /up/a HTTP/1.1\r\nHost: x\r\nX\t: y\r\n\r\n", &[400]),
        refused("no colon", b"GET /up/a HTTP/1.1\r\nHost: x\r\nX\r\n\r\n", &[400]),
        refused("no name", b"GET /up/a HTTP/1.1\r\nHost: x\r\n: y\r\n\r\n", &[400]),
        refused("a name in brackets", b"GET /up/a HTTP/1.1\r\nHost: x\r\n(X): y\r\n\r\n", &[400]),
        refused("a name with a slash", b"GET /up/a HTTP/1.1\r\nHost: x\r\nX/Y: y\r\n\r\n", &[400]),
        refused(
            "a name with a letter that is not ASCII",
            b"GET /up/a HTTP/1.1\r\nHost: x\r\nX\xc3\xa4: y\r\n\r\n",
            &[400],
        ),
        case(
            "a name with an underscore",
            b"GET /up/a HTTP/1.1\r\nHost: x\r\nX_Y: y\r\n\r\n",
            &[200],
            &["GET /a"],
            Open,
        ),
        case(
            "a name that looks like X-Forwarded-For",
            b"GET /up/a HTTP/1.1\r\nHost: x\r\nX_Forwarded_For: y\r\n\r\n",
            &[400],
            &[],
            Open,
        ),
        case(
            "a value with a byte that is not ASCII",
            b"GET /up/a HTTP/1.1\r\nHost: x\r\nX: \xe4\r\n\r\n",
            &[200],
            &["GET /a"],
            Open,
        ),
        case("an empty value", b"GET /up/a HTTP/1.1\r\nHost: x\r\nX:\r\n\r\n", &[200], &["GET /a"], Open),
        refused("too many fields", many.leak(), &[431]),
        refused("a field that is too long", long.leak(), &[431]),
    ]);
}

#[test]
fn a_request_line_is_a_method_a_target_and_a_version() {
    Rig::new(ok).hold(&[
        refused("two spaces", b"GET  /up/a HTTP/1.1\r\nHost: x\r\n\r\n", &[400]),
        refused("a tab", b"GET\t/up/a HTTP/1.1\r\nHost: x\r\n\r\n", &[400]),
        refused("a space at the end", b"GET /up/a HTTP/1.1 \r\nHost: x\r\n\r\n", &[400]),
        refused("a space in the target", b"GET /up/a b HTTP/1.1\r\nHost: x\r\n\r\n", &[400]),
        refused("no version", b"GET /up/a\r\nHost: x\r\n\r\n", &[400]),
        refused("HTTP/0.9", b"GET /up/a HTTP/0.9\r\nHost: x\r\n\r\n", &[400]),
        refused("HTTP/1.2", b"GET /up/a HTTP/1.2\r\nHost: x\r\n\r\n", &[400]),
        refused("HTTP/2.0 in a line", b"GET /up/a HTTP/2.0\r\nHost: x\r\n\r\n", &[400]),
        refused("http in small letters", b"GET /up/a http/1.1\r\nHost: x\r\n\r\n", &[400]),
        refused("a version with more digits", b"GET /up/a HTTP/1.10\r\nHost: x\r\n\r\n", &[400]),
        refused("a method that is no token", b"G(T /up/a HTTP/1.1\r\nHost: x\r\n\r\n", &[400]),
        refused("no method", b" /up/a HTTP/1.1\r\nHost: x\r\n\r\n", &[400]),
        refused("a TLS handshake", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", &[400]),
        refused("a fragment", b"GET /up/a#b HTTP/1.1\r\nHost: x\r\n\r\n", &[400]),
        refused("a target that is not ASCII", b"GET /up/\xc3\xa4 HTTP/1.1\r\nHost: x\r\n\r\n", &[400]),
        refused("a target without a slash", b"GET up/a HTTP/1.1\r\nHost: x\r\n\r\n", &[400]),
        refused("an asterisk for GET", b"GET * HTTP/1.1\r\nHost: x\r\n\r\n", &[400]),
        refused("a URL of another scheme", b"GET ftp://x/up/a HTTP/1.1\r\nHost: x\r\n\r\n", &[400]),
        refused("a host and a port", b"GET x:80 HTTP/1.1\r\nHost: x\r\n\r\n", &[400]),
        case("a method of one's own", b"BREW /up/a HTTP/1.1\r\nHost: x\r\n\r\n", &[200], &["BREW /a"], Open),
        case("CONNECT", b"CONNECT x:80 HTTP/1.1\r\nHost: x:80\r\n\r\n", &[405], &[], Open),
        case("TRACE", b"TRACE /up/a HTTP/1.1\r\nHost: x\r\n\r\n", &[405], &[], Open),
        case("HTTP/1.0", b"GET /up/a HTTP/1.0\r\n\r\n", &[200], &["GET /a"], Closed),
    ]);
}
