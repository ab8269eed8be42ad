//! The head of an HTTP/1 request, read to the letter of RFC 9112, and how its body ends.

use super::chunks::Chunks;
use super::fault::Fault;

/// What a head says of the bytes after it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum After {
    /// The next head.
    Head,
    /// So many bytes of a body.
    Length(u64),
    /// Chunks.
    Chunks(Chunks),
    /// Perhaps another protocol: the client asks for a WebSocket.
    Upgrade,
}

/// Reads a head, from the first byte of the request line to the empty line at its end. `fields_max`: how many header fields
/// it may have.
pub(super) fn read(head: &[u8], fields_max: usize) -> Result<After, Fault> {
    let mut lines = lines(head);
    let first = lines.next().unwrap_or_default();
    let (method, old) = request_line(first)?;
    let mut found = Found::default();
    let mut count = 0;
    for line in lines.take_while(|line| !line.is_empty()) {
        count += 1;
        if count > fields_max {
            return Err(Fault::Fields(fields_max));
        }
        let (name, value) = field(line)?;
        found.note(name, value)?;
    }
    match (found.length, found.chunked) {
        (Some(_), true) => Err(Fault::BothLengths),
        (_, true) if old => Err(Fault::CodingOfOld),
        (_, true) => Ok(After::Chunks(Chunks::default())),
        (Some(length @ 1..), false) => Ok(After::Length(length)),
        _ if found.websocket && found.upgrades && method == b"GET" && !old => Ok(After::Upgrade),
        _ => Ok(After::Head),
    }
}

/// The lines of a head, which has been found to end each of them with CR LF.
fn lines(head: &[u8]) -> impl Iterator<Item = &[u8]> {
    head.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line))
}

/// The method, and whether it is HTTP/1.0. Section 3.
fn request_line(line: &[u8]) -> Result<(&[u8], bool), Fault> {
    legible(line)?;
    let mut parts = line.split(|byte| *byte == b' ');
    let (Some(method), Some(target), Some(version), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(Fault::RequestLine);
    };
    let old = match version {
        b"HTTP/1.1" => false,
        b"HTTP/1.0" => true,
        _ => return Err(Fault::RequestLine),
    };
    if method.is_empty() || !method.iter().copied().all(is_token) {
        return Err(Fault::RequestLine);
    }
    if target.is_empty() || !target.iter().all(|byte| matches!(byte, 0x21..=0x7e) && *byte != b'#') {
        return Err(Fault::Target);
    }
    let starts = |with: &[u8]| target.get(..with.len()).is_some_and(|start| start.eq_ignore_ascii_case(with));
    let is_url = starts(b"http://") || starts(b"https://");
    let is_known = match target {
        b"*" => method == b"OPTIONS",
        _ => target[0] == b'/' || is_url || method == b"CONNECT",
    };
    // As hyper does, which would end the connection without a word.
    if is_known && http::Uri::try_from(target).is_ok() { Ok((method, old)) } else { Err(Fault::TargetForm) }
}

/// Name and value of a field line, without the white space around the value. Section 5.
pub(super) fn field(line: &[u8]) -> Result<(&[u8], &[u8]), Fault> {
    legible(line)?;
    if line.first().is_some_and(|byte| matches!(byte, b' ' | b'\t')) {
        return Err(Fault::Fold);
    }
    let colon = line.iter().position(|byte| *byte == b':').ok_or(Fault::FieldName)?;
    let (name, value) = (&line[..colon], &line[colon + 1..]);
    if name.is_empty() || !name.iter().copied().all(is_token) {
        return Err(Fault::FieldName);
    }
    Ok((name, trim(value)))
}

/// Whether no byte of a line is one that some would take for its end.
fn legible(line: &[u8]) -> Result<(), Fault> {
    match line.iter().find(|byte| matches!(byte, 0..=8 | 0x0a..=0x1f | 0x7f)) {
        None => Ok(()),
        Some(b'\r') => Err(Fault::BareCr),
        Some(_) => Err(Fault::Control),
    }
}

/// RFC 9110, 5.6.2.
pub(super) fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn trim(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

/// The fields that say where a request ends.
#[derive(Default)]
struct Found {
    length: Option<u64>,
    chunked: bool,
    websocket: bool,
    upgrades: bool,
}

impl Found {
    fn note(&mut self, name: &[u8], value: &[u8]) -> Result<(), Fault> {
        if name.eq_ignore_ascii_case(b"content-length") {
            let is_number = (1..=19).contains(&value.len()) && value.iter().all(u8::is_ascii_digit);
            if self.length.is_some() || !is_number {
                return Err(Fault::Length);
            }
            let number = std::str::from_utf8(value).ok().and_then(|digits| digits.parse().ok());
            self.length = Some(number.ok_or(Fault::Length)?);
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            if self.chunked || !value.eq_ignore_ascii_case(b"chunked") {
                return Err(Fault::Coding);
            }
            self.chunked = true;
        } else if name.eq_ignore_ascii_case(b"upgrade") {
            self.websocket |= value.eq_ignore_ascii_case(b"websocket");
        } else if name.eq_ignore_ascii_case(b"connection") {
            let mut options = value.split(|byte| *byte == b',').map(trim);
            self.upgrades |= options.any(|option| option.eq_ignore_ascii_case(b"upgrade"));
        }
        Ok(())
    }
}
