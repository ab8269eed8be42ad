//! The two forms in which the heads of a call go over the wire: which members there are, [`message`](super::message) says.

use bytes::Bytes;

use super::message::{self, Done, HeaderBounds, Invoke, ResponseHead};
use super::{Encoder, FrameError, Kind, compact, json};

/// How a worker reads `INVOKE`, and writes `RESPONSE` and `DONE`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// In JSON: interpreters, whose half is written in their language.
    Json,
    /// By [`compact`]: the process of components.
    Compact,
}

impl Form {
    /// Adds `INVOKE`. An error leaves the frames before it as they were.
    pub fn invoke(self, encoder: &mut Encoder, call: u32, invoke: &Invoke<'_>) -> Result<(), FrameError> {
        match self {
            Self::Json => json::invoke(encoder, call, invoke),
            Self::Compact => compact::invoke(encoder, call, invoke),
        }
    }

    /// Reads `RESPONSE`: a head within the bounds, without fields that belong to a connection.
    pub fn response(self, payload: &Bytes, bounds: HeaderBounds) -> Result<ResponseHead, FrameError> {
        match self {
            Self::Json => ResponseHead::parse(payload, bounds),
            Self::Compact => compact::read_response(payload.clone(), bounds),
        }
    }

    /// Reads `DONE`.
    pub fn done(self, payload: &Bytes) -> Result<Done, FrameError> {
        match self {
            Self::Json => message::parse(Kind::Done, payload),
            Self::Compact => compact::read_done(payload.clone()),
        }
    }
}
