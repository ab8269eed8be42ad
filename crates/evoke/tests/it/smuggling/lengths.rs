//! Where a request ends: Content-Length against Transfer-Encoding, each against itself.

use super::rig::{Closed, Open, Rig, case, ok, refused};

#[test]
fn a_request_has_one_length_or_none_and_what_is_hidden_behind_another_is_not_let_through() {
    Rig::new(ok).hold(&[
        case("a length", b"POST /up/a HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello", &[200], &["POST /a"], Open),
        case("none", b"POST /up/a HTTP/1.1\r\nHost: x\r\n\r\n", &[200], &["POST /a"], Open),
        case("zero, written long", b"POST /up/a HTTP/1.1\r\nHost: x\r\nContent-Length: 0000\r\n\r\n", &[200], &["POST /a"], Open),
        case("chunks", b"POST /up/a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", &[200], &["POST /a"], Open),
        case("chunks in capitals", b"POST /up/a HTTP/1.1\r\nHost: x\r\ntransfer-encoding: CHUNKED\r\n\r\n5\r\nhello\r\n0\r\n\r\n", &[200], &["POST /a"], Open),
        refused("CL.TE", b"POST /up/a HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /up/smuggled HTTP/1.1\r\nHost: x\r\n\r\n", &[400]),
        refused("TE.CL", b"POST /up/a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n1d\r\nGET /up/smuggled HTTP/1.1\r\n\r\n\r\n0\r\n\r\n", &[400]),
        refused("CL.0 and TE", b"POST /up/a HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", &[400]),
        refused("TE.TE, the second unknown", b"POST /up/a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: cow\r\n\r\n0\r\n\r\n", &[501]),
        refused("TE.TE, the first unknown", b"POST /up/a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: cow\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", &[501]),
        refused("chunked twice", b"POST /up/a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", &[501]),
        refused("chunked twice in a list", b"POST /up/a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", &[501]),
        refused("gzip, chunked", b"POST /up/a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", &[501]),
        refused("chunked, identity", b"POST /up/a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n", &[501]),
        refused("identity", b"POST /up/a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: identity\r\n\r\n", &[501]),
        refused("xchunked", b"POST /up/a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", &[501]),
        refused("chunked in quotes", b"POST /up/a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n", &[501]),
        refused("chunked with a parameter", b"POST /up/a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked;q=1\r\n\r\n0\r\n\r\n", &[501]),
        refused("chunked and a vertical tab", b"POST /up/a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n", &[400]),
        refused("an empty coding", b"POST /up/a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding:\r\n\r\n", &[501]),
        refused("a coding in HTTP/1.0", b"POST /up/a HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", &[400]),
        refused("a coding behind a fold", b"POST /up/a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n", &[501]),
        refused("a space before the colon of a coding", b"POST /up/a HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n", &[400]),
        refused("a coding with an underscore", b"POST /up/a HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer_Encoding: chunked\r\nConnection: close\r\n\r\n0\r\n\r\n", &[400]),
        refused("two different lengths", b"POST /up/a HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!", &[400]),
        refused("twice the same length", b"POST /up/a HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello", &[400]),
        refused("a list of one length", b"POST /up/a HTTP/1.1\r\nHost: x\r\nContent-Length: 5, 5\r\n\r\nhello", &[400]),
        refused("a list of two lengths", b"POST /up/a HTTP/1.1\r\nHost: x\r\nContent-Length: 5, 6\r\n\r\nhello!", &[400]),
        refused("a plus", b"POST /up/a HTTP/1.1\r\nHost: x\r\nContent-Length: +5\r\n\r\nhello", &[400]),
        refused("a minus", b"POST /up/a HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\nhello", &[400]),
        refused("hexadecimal", b"POST /up/a HTTP/1.1\r\nHost: x\r\nContent-Length: 0x5\r\n\r\nhello", &[400]),
        refused("a space inside", b"POST /up/a HTTP/1.1\r\nHost: x\r\nContent-Length: 1 0\r\n\r\nhellohello", &[400]),
        refused("a point", b"POST /up/a HTTP/1.1\r\nHost: x\r\nContent-Length: 5.0\r\n\r\nhello", &[400]),
        refused("no digit", b"POST /up/a HTTP/1.1\r\nHost: x\r\nContent-Length: \r\n\r\n", &[400]),
        refused("more than 64 bits", b"POST /up/a HTTP/1.1\r\nHost: x\r\nContent-Length: 18446744073709551621\r\n\r\nhello", &[400]),
        refused("digits of another script", b"POST /up/a HTTP/1.1\r\nHost: x\r\nContent-Length: \xd9\xa5\r\n\r\nhello", &[400]),
        refused("a length with an underscore", b"POST /up/a HTTP/1.1\r\nHost: x\r\nContent_Length: 5\r\nConnection: close\r\n\r\n", &[400]),
        case("white space around a length", b"POST /up/a HTTP/1.1\r\nHost: x\r\nContent-Length:\t 5 \r\n\r\nhello", &[200], &["POST /a"], Open),
        case("a body of GET", b"GET /up/a HTTP/1.1\r\nHost: x\r\nContent-Length: 29\r\n\r\nGET /up/smuggled HTTP/1.1\r\n\r\n", &[200], &["GET /a"], Open),
        case("less than the length", b"POST /up/a HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nConnection: close\r\n\r\nhello", &[200], &["POST /a"], Closed),
    ]);
}
