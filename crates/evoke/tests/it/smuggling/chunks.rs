//! Chunked bodies.

use super::rig::{Closed, Open, Rig, case, ok};

const fn broken(name: &'static str, bytes: &'static [u8]) -> super::rig::Case {
    // Refused where the body breaks: what was begun at an upstream is broken off and is no request there.
    case(name, bytes, &[400], &[], Closed)
}

/// The head of a chunked request, and a body.
macro_rules! chunked {
    ($body:literal) => {
        concat!("POST /up/a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", $body).as_bytes()
    };
}

#[test]
fn chunks_are_as_long_as_they_say_and_what_breaks_off_is_no_request() {
    Rig::new(ok).hold(&[
        case("an extension", chunked!("5;a=b\r\nhello\r\n0\r\n\r\n"), &[200], &["POST /a"], Open),
        case(
            "an extension in quotes",
            chunked!("5 ; a=\"b;c\"\r\nhello\r\n0;x\r\n\r\n"),
            &[200],
            &["POST /a"],
            Open,
        ),
        case("zeros before a size", chunked!("0005\r\nhello\r\n000\r\n\r\n"), &[200], &["POST /a"], Open),
        case(
            "a request after the end",
            chunked!("0\r\n\r\nGET /up/b HTTP/1.1\r\nHost: x\r\n\r\n"),
            &[200, 200],
            &["POST /a", "GET /b"],
            Open,
        ),
        case(
            "a request inside",
            chunked!("1e\r\nGET /up/smuggled HTTP/1.1\r\n\r\nx\r\n0\r\n\r\n"),
            &[200],
            &["POST /a"],
            Open,
        ),
        case("trailers", chunked!("0\r\nX-Sum: 1\r\n\r\n"), &[200], &["POST /a"], Open),
        case(
            "a length among the trailers",
            chunked!("0\r\nContent-Length: 5\r\n\r\n"),
            &[200],
            &["POST /a"],
            Open,
        ),
        broken("LF alone after a size", chunked!("5\nhello\r\n0\r\n\r\n")),
        broken("LF alone after an extension", chunked!("5;a\nhello\r\n0\r\n\r\n")),
        broken("LF alone after a chunk", chunked!("5\r\nhello\n0\r\n\r\n")),
        broken("LF alone at the end", chunked!("5\r\nhello\r\n0\r\n\n")),
        broken("CR alone in an extension", chunked!("5;a\rb\r\nhello\r\n0\r\n\r\n")),
        broken("NUL in an extension", chunked!("5;a\0\r\nhello\r\n0\r\n\r\n")),
        broken("0x", chunked!("0x5\r\nhello\r\n0\r\n\r\n")),
        broken("a plus", chunked!("+5\r\nhello\r\n0\r\n\r\n")),
        broken("a minus", chunked!("-5\r\nhello\r\n0\r\n\r\n")),
        broken("a space before a size", chunked!(" 5\r\nhello\r\n0\r\n\r\n")),
        broken("a space after a size", chunked!("5 \r\nhello\r\n0\r\n\r\n")),
        broken("an underscore", chunked!("1_0\r\nhellohellohello!\r\n0\r\n\r\n")),
        broken("no size", chunked!("\r\nhello\r\n0\r\n\r\n")),
        broken("no size but an extension", chunked!(";a\r\nhello\r\n0\r\n\r\n")),
        broken("17 digits", chunked!("00000000000000005\r\nhello\r\n0\r\n\r\n")),
        broken("more than 64 bits", chunked!("10000000000000005\r\nhello\r\n0\r\n\r\n")),
        broken("more than the size", chunked!("4\r\nhello\r\n0\r\n\r\n")),
        broken("less than the size", chunked!("6\r\nhello\r\n0\r\n\r\n")),
        broken("a trailer without a colon", chunked!("0\r\nGET /up/smuggled HTTP/1.1\r\n\r\n")),
        broken("a fold among the trailers", chunked!("0\r\nX: y\r\n z\r\n\r\n")),
        broken("NUL among the trailers", chunked!("0\r\nX: \0\r\n\r\n")),
    ]);
}
