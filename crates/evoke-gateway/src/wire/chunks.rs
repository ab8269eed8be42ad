//! Where a chunked body ends, read to the letter of RFC 9112, section 7.1. Nothing is decoded here: hyper does that with the
//! same bytes, once it is sure that both see the same end.

use super::fault::Fault;
use super::head::is_token;

/// Bytes of all chunk extensions of a body. Nobody has a use for any.
pub(super) const EXTENSION_BYTES: u32 = 16 << 10;
/// Hexadecimal digits of a chunk's size.
const DIGITS: u8 = 16;

/// A place in a chunked body.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Chunks {
    at: At,
    extension_bytes: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// In a size that has so many digits.
    Size {
        digits: u8,
        size: u64,
    },
    /// White space between a size and its extension.
    Blank {
        size: u64,
    },
    Extension {
        size: u64,
    },
    SizeLf {
        size: u64,
    },
    /// So much is left of a chunk.
    Data(u64),
    DataCr,
    DataLf,
    /// Where a trailer field or the end may begin.
    Line,
    Name,
    Value,
    ValueLf,
    EndLf,
}

impl Default for At {
    fn default() -> Self {
        Self::Size { digits: 0, size: 0 }
    }
}

impl Chunks {
    /// Goes on through `bytes`. How many of them belong to the body, and whether it ends there.
    pub fn pass(&mut self, bytes: &[u8]) -> Result<(usize, bool), Fault> {
        let mut used = 0;
        while let Some(byte) = bytes.get(used) {
            if let At::Data(left) = self.at {
                let here = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len() - used);
                used += here;
                let left = left - here as u64;
                self.at = if left == 0 { At::DataCr } else { At::Data(left) };
                continue;
            }
            used += 1;
            match self.step(*byte)? {
                Some(at) => self.at = at,
                None => return Ok((used, true)),
            }
        }
        Ok((used, false))
    }

    /// `None`: that was the last byte.
    fn step(&mut self, byte: u8) -> Result<Option<At>, Fault> {
        Ok(Some(match (self.at, byte) {
            (At::Size { digits, size }, _) if byte.is_ascii_hexdigit() && digits < DIGITS => {
                let digit = (byte as char).to_digit(16).unwrap_or_default();
                At::Size { digits: digits + 1, size: size << 4 | u64::from(digit) }
            }
            (At::Size { digits: 1.., size }, b'\r') => At::SizeLf { size },
            (At::Size { digits: 1.., size } | At::Blank { size }, b';') => At::Extension { size },
            (At::Size { digits: 1.., size } | At::Blank { size }, b' ' | b'\t') => {
                self.extension()?;
                At::Blank { size }
            }
            (At::Size { .. }, b'\n') => return Err(Fault::BareLf),
            (At::Size { .. } | At::Blank { .. }, _) => return Err(Fault::ChunkSize),
            (At::Extension { size }, b'\r') => At::SizeLf { size },
            (At::Extension { .. }, b'\n') => return Err(Fault::BareLf),
            (At::Extension { size }, b'\t' | 0x20..=0x7e | 0x80..) => {
                self.extension()?;
                At::Extension { size }
            }
            (At::Extension { .. }, _) => return Err(Fault::ChunkExtension),
            (At::SizeLf { size: 0 }, b'\n') => At::Line,
            (At::SizeLf { size }, b'\n') => At::Data(size),
            (At::SizeLf { .. }, _) => return Err(Fault::BareCr),
            (At::DataCr, b'\r') => At::DataLf,
            (At::DataLf, b'\n') => At::default(),
            (At::Data(_) | At::DataCr | At::DataLf, _) => return Err(Fault::ChunkEnd),
            (At::Line, b'\r') => At::EndLf,
            (At::Line | At::Name, _) if is_token(byte) => At::Name,
            (At::Name, b':') => At::Value,
            (At::Value, b'\t' | 0x20..=0x7e | 0x80..) => At::Value,
            (At::Value, b'\r') => At::ValueLf,
            (At::ValueLf, b'\n') => At::Line,
            (At::EndLf, b'\n') => return Ok(None),
            (At::Line | At::Value, b'\n') => return Err(Fault::BareLf),
            (At::Line | At::Name | At::Value | At::ValueLf | At::EndLf, _) => return Err(Fault::Trailers),
        }))
    }

    fn extension(&mut self) -> Result<(), Fault> {
        self.extension_bytes += 1;
        if self.extension_bytes > EXTENSION_BYTES { Err(Fault::ChunkExtension) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_body_ends_at_its_empty_line_and_not_before_or_after() {
        let body = b"5;a=\"b\"\r\nhello\r\n0005 ;x\r\nworld\r\n0\r\nX-Sum: 1\r\n\r\n";
        let bytes = [body, b"GET / HTTP/1.1\r\n".as_slice()].concat();
        assert_eq!(Chunks::default().pass(&bytes), Ok((body.len(), true)));
    }

    proptest! {
        /// However the bytes are cut into pieces, the end is the same.
        #[test]
        fn cuts_make_no_difference(bytes in proptest::collection::vec(prop_oneof![
            Just(b'\r'), Just(b'\n'), Just(b'0'), Just(b'1'), Just(b';'), Just(b' '), Just(b':'), any::<u8>()
        ], 0..64), cut in 0_usize..64) {
            let whole = Chunks::default().pass(&bytes);
            let cut = cut.min(bytes.len());
            let mut parts = Chunks::default();
            let first = parts.pass(&bytes[..cut]);
            let halves = match first {
                Ok((used, false)) => parts.pass(&bytes[cut..]).map(|(more, end)| (used + more, end)),
                other => other,
            };
            prop_assert_eq!(whole, halves);
        }
    }
}
