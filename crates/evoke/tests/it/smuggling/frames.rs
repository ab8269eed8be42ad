//! HTTP/2 below any library: frames as bytes, and header blocks that say exactly what is asked, also what nobody may.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use crate::evoke::PATIENCE;

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const GOAWAY: u8 = 7;
pub const CONTINUATION: u8 = 9;
pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;

/// What becomes of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Status(u16),
    /// The stream was reset, or the connection ended.
    Broken,
}

pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// A header block of literals without index and without Huffman.
pub fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in fields {
        bytes.push(0);
        for text in [name, value] {
            bytes.push(u8::try_from(text.len()).unwrap());
            bytes.extend(text.bytes());
        }
    }
    bytes
}

/// A connection that has begun.
pub struct Raw(TcpStream);

impl Raw {
    pub fn connect(url: &str) -> Self {
        let mut stream = TcpStream::connect(url.strip_prefix("http://").unwrap()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
        stream.write_all(&frame(SETTINGS, 0, 0, &[])).unwrap();
        Self(stream)
    }

    /// Sends frames; whether all could be.
    pub fn send(&mut self, bytes: &[u8]) -> bool {
        self.0.write_all(bytes).is_ok()
    }

    /// Waits for what becomes of a stream.
    pub fn fate(&mut self, stream: u32) -> Fate {
        while let Some((kind, of, payload)) = self.next() {
            match kind {
                HEADERS if of == stream => return status(&payload).map_or(Fate::Broken, Fate::Status),
                RST_STREAM if of == stream => return Fate::Broken,
                GOAWAY => return Fate::Broken,
                _ => {}
            }
        }
        Fate::Broken
    }

    fn next(&mut self) -> Option<(u8, u32, Vec<u8>)> {
        let mut head = [0; 9];
        self.0.read_exact(&mut head).ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let mut payload = vec![0; length];
        self.0.read_exact(&mut payload).ok()?;
        if head[3] == SETTINGS && head[4] == 0 {
            self.send(&frame(SETTINGS, 1, 0, &[]));
        }
        Some((head[3], u32::from_be_bytes([head[5], head[6], head[7], head[8]]), payload))
    }
}

/// The status a header block begins with (RFC 7541, appendix A): in the table, or a literal with its name there. What comes
/// before it, if anything, is a change of the table's size.
fn status(block: &[u8]) -> Option<u16> {
    let start = block.iter().position(|byte| byte & 0xe0 != 0x20)?;
    let indexed = [200, 204, 206, 304, 400, 404, 500];
    match block.get(start)? {
        byte @ 0x88..=0x8e => Some(indexed[usize::from(byte - 0x88)]),
        0x08 | 0x18 | 0x48 => match block.get(start + 1)? {
            3 => std::str::from_utf8(block.get(start + 2..start + 5)?).ok()?.parse().ok(),
            coded => digits(block.get(start + 2..start + 2 + usize::from(coded & 0x7f))?),
        },
        _ => None,
    }
}

/// Three digits in Huffman code (RFC 7541, appendix B): five bits for 0 to 2, six for the others.
fn digits(bytes: &[u8]) -> Option<u16> {
    let bits: Vec<u16> =
        bytes.iter().flat_map(|byte| (0..8).rev().map(move |bit| u16::from(byte >> bit & 1))).collect();
    let (mut at, mut number) = (0, 0);
    let take =
        |at: usize, count: usize| Some(bits.get(at..at + count)?.iter().fold(0, |all, bit| all << 1 | bit));
    for _ in 0..3 {
        let five = take(at, 5)?;
        let digit = if five < 3 {
            at += 5;
            five
        } else {
            let six = take(at, 6)?;
            at += 6;
            six.checked_sub(22)?
        };
        number = number * 10 + digit;
    }
    Some(number)
}
