//! What can be wrong with the bytes of a request.

use crate::problem::{Refusal, kind};

/// Why bytes are not taken for a request. The sections are those of RFC 9112.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    /// Section 2.2 lets a recipient accept it; what is in front may not have.
    #[error("a line of the request ends with LF alone, not with CR LF")]
    BareLf,
    #[error("the request has a CR without LF after it")]
    BareCr,
    #[error("the request's head has a control character")]
    Control,
    #[error(
        "the first line of the request is not a method, a target and HTTP/1.0 or HTTP/1.1, with one space between"
    )]
    RequestLine,
    #[error("the request's target has a fragment, a space, or a byte that is not printable ASCII")]
    Target,
    #[error(
        "the request's target is neither a path nor a URL of http or https, or has a character that belongs in neither"
    )]
    TargetForm,
    /// Section 5.2.
    #[error("a header field goes on in the next line, which has not been allowed since 2014")]
    Fold,
    #[error("a header field has no name, or one that is no token right before its colon")]
    FieldName,
    /// Section 6.3: more than one, a list, a sign, or anything else that is not digits.
    #[error("Content-Length is not one decimal number, given once")]
    Length,
    /// Section 6.1.
    #[error("the request has both Content-Length and Transfer-Encoding")]
    BothLengths,
    #[error("the request has Transfer-Encoding, which HTTP/1.0 does not know")]
    CodingOfOld,
    #[error("Transfer-Encoding is not `chunked`, given once")]
    Coding,
    /// Section 7.1.
    #[error("the size of a chunk is not a hexadecimal number of at most 16 digits")]
    ChunkSize,
    #[error("a chunk does not end where its size says")]
    ChunkEnd,
    #[error(
        "the extensions of chunks have a control character or are longer than {} bytes",
        super::chunks::EXTENSION_BYTES
    )]
    ChunkExtension,
    #[error("what follows the last chunk is not header fields and an empty line")]
    Trailers,
    #[error("the request's head is larger than {0} bytes")]
    HeadBytes(usize),
    #[error("the request has more than {0} header fields")]
    Fields(usize),
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Self {
        let of = |kind| Self::new(kind, fault.to_string());
        match fault {
            Fault::Coding => of(kind::CODING_REFUSED),
            Fault::HeadBytes(limit) => of(kind::HEADERS_TOO_LARGE).limit("header_bytes", limit as u64),
            Fault::Fields(limit) => of(kind::HEADERS_TOO_LARGE).limit("headers", limit as u64),
            _ => of(kind::MESSAGE_REFUSED),
        }
    }
}

impl From<Fault> for std::io::Error {
    fn from(fault: Fault) -> Self {
        Self::new(std::io::ErrorKind::InvalidData, fault)
    }
}
