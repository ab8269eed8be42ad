//! Attribute values as HTTP header values: section 3.1.3.2 of the HTTP binding.

use std::borrow::Cow;

/// Printable ASCII except the three characters that are always encoded.
const fn is_plain(byte: u8) -> bool {
    matches!(byte, 0x21..=0x7e) && !matches!(byte, b'"' | b'%')
}

/// Percent-encodes space, `"`, `%` and everything outside printable ASCII. The result is printable ASCII.
pub fn encode(text: &str) -> Cow<'_, str> {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    if text.bytes().all(is_plain) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for byte in text.bytes() {
        if is_plain(byte) {
            out.push(char::from(byte));
        } else {
            out.extend([
                '%',
                char::from(HEX[usize::from(byte >> 4)]),
                char::from(HEX[usize::from(byte & 15)]),
            ]);
        }
    }
    Cow::Owned(out)
}

/// Takes quoted strings out of their quotes (senders of older versions of the specification wrote them), then decodes
/// percent-encoding once. A `%` without two hex digits after it, and a quote that is not closed, stand for themselves.
/// `None` when the result is no UTF-8.
pub fn decode(value: &[u8]) -> Option<String> {
    if !value.iter().any(|b| matches!(b, b'"' | b'%')) {
        return std::str::from_utf8(value).ok().map(str::to_owned);
    }
    let unquoted = unquote(value);
    let mut out = Vec::with_capacity(unquoted.len());
    let mut rest = &*unquoted;
    while let [first, tail @ ..] = rest {
        match (first, tail) {
            (b'%', [high, low, after @ ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                out.push(hex(*high) << 4 | hex(*low));
                rest = after;
            }
            _ => {
                out.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8(out).ok()
}

const fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    }
}

fn unquote(value: &[u8]) -> Cow<'_, [u8]> {
    if !value.contains(&b'"') {
        return Cow::Borrowed(value);
    }
    let mut out = Vec::with_capacity(value.len());
    let mut rest = value;
    while let [first, tail @ ..] = rest {
        rest = match (first, quoted_string(tail)) {
            (b'"', Some((text, after))) => {
                out.extend(text);
                after
            }
            _ => {
                out.push(*first);
                tail
            }
        };
    }
    Cow::Owned(out)
}

/// The text of the quoted string whose opening quote was just read, and what follows its closing one.
fn quoted_string(text: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut out = Vec::new();
    let mut rest = text;
    loop {
        match rest {
            [b'"', after @ ..] => return Some((out, after)),
            [b'\\', escaped, after @ ..] => {
                out.push(*escaped);
                rest = after;
            }
            [byte, after @ ..] => {
                out.push(*byte);
                rest = after;
            }
            [] => return None,
        }
    }
}
