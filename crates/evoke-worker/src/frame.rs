//! The frames between host and worker: kinds, bounds, reading, writing. `docs/reference/worker-protocol.md` is the
//! description; [`message`] has the payloads.

pub mod compact;
mod form;
mod json;
pub mod message;

use bytes::{Buf, Bytes, BytesMut};
use serde::Serialize;

pub use form::Form;

/// Bytes before each payload: length, call, kind.
pub const HEADER_BYTES: usize = 9;
/// Bytes of a body either side may send before the other has granted more.
pub const WINDOW_BYTES: usize = 256 << 10;
/// Bytes the host puts into one `BODY` frame.
pub const CHUNK_BYTES: usize = 64 << 10;
/// Platform requests of one call under way at once.
pub const PLATFORM_IN_FLIGHT: usize = 64;
/// Bytes of those requests together.
pub const PLATFORM_BYTES_IN_FLIGHT: usize = 16 << 20;
/// Bytes that may wait to be read by a worker before it gets further answers. It may ask meanwhile, up to
/// [`PLATFORM_IN_FLIGHT`].
pub const UNREAD_BYTES: usize = 1 << 20;
/// Bytes that may wait to be read by a worker that is still listened to: the largest `INVOKE` and `ANSWER` with room to spare.
pub const UNREAD_BYTES_MAX: usize = 32 << 20;
/// Connections of one call that are asked for at once.
pub const CONNECTS_IN_FLIGHT: usize = 64;
/// Bytes of the text of `BODY_ABORT` and `CANCEL`, and of a destination.
pub const REASON_BYTES: usize = 1 << 10;

/// What a frame is. The numbers are those on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// Load a function.
    Init = 1,
    /// Start a call.
    Invoke = 2,
    /// A part of a body.
    Body = 3,
    /// The last part of a body.
    BodyEnd = 4,
    /// The rest of a request body will not come.
    BodyAbort = 5,
    /// More of a body may be sent.
    Credit = 6,
    /// Nobody waits for this call any more.
    Cancel = 7,
    /// Answers a platform request.
    Answer = 8,
    /// End cleanly.
    Stop = 9,
    /// To a zygote: make an instance.
    Fork = 10,
    /// To a zygote: how did a dead one end?
    Reap = 11,
    /// To a Wasm worker: serve one more function, at the socket that comes along.
    Open = 12,
    /// To a Wasm worker: here is the connection that it asked for.
    Lend = 13,
    /// What became of a connection that was asked for.
    Connected = 14,
    /// The function is loaded.
    Ready = 17,
    /// The function cannot be loaded.
    InitError = 18,
    /// Status and header fields.
    Response = 19,
    /// The handler is done.
    Done = 20,
    /// The handler failed.
    Error = 21,
    /// A line of output.
    Log = 22,
    /// A request to the platform API.
    Platform = 23,
    /// Of a forked instance: here it is.
    Hello = 24,
    /// Of a zygote: so it ended.
    Exited = 25,
    /// Of a component: a connection is wanted.
    Connect = 26,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 24] = [
        Self::Init,
        Self::Invoke,
        Self::Body,
        Self::BodyEnd,
        Self::BodyAbort,
        Self::Credit,
        Self::Cancel,
        Self::Answer,
        Self::Stop,
        Self::Fork,
        Self::Reap,
        Self::Open,
        Self::Lend,
        Self::Connected,
        Self::Ready,
        Self::InitError,
        Self::Response,
        Self::Done,
        Self::Error,
        Self::Log,
        Self::Platform,
        Self::Hello,
        Self::Exited,
        Self::Connect,
    ];

    /// The kind with this number.
    pub fn from_wire(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == number)
    }

    /// Whether it is the last that a worker says of a call.
    pub const fn ends_call(self) -> bool {
        matches!(self, Self::Done | Self::Error)
    }

    /// Bytes of payload at most.
    pub const fn payload_max(self) -> usize {
        match self {
            Self::Stop | Self::Reap | Self::Open | Self::Hello => 0,
            Self::Credit | Self::Exited => 4,
            Self::Lend => 8,
            Self::BodyAbort | Self::Cancel | Self::Connect | Self::Connected => REASON_BYTES,
            // A path.
            Self::Fork => (4 << 10) - 1,
            Self::Ready | Self::Log => 64 << 10,
            Self::Body | Self::BodyEnd => WINDOW_BYTES,
            Self::InitError | Self::Error => 256 << 10,
            Self::Response => 512 << 10,
            Self::Init => 1 << 20,
            Self::Invoke => 8 << 20,
            Self::Answer | Self::Done | Self::Platform => 9 << 20,
        }
    }
}

/// One frame as received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// What it is.
    pub kind: Kind,
    /// Which call it belongs to; 0 is the connection.
    pub call: u32,
    /// The rest.
    pub payload: Bytes,
}

/// What breaks the protocol.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// No such kind.
    #[error("frame of unknown kind {0}")]
    Kind(u8),
    /// Larger than its kind allows.
    #[error("{kind:?} frame of {bytes} bytes is above the limit of {limit}", limit = kind.payload_max())]
    TooLarge {
        /// Of this kind.
        kind: Kind,
        /// Its payload.
        bytes: usize,
    },
    /// A payload that is not what its kind demands.
    #[error("{kind:?} frame is malformed: {message}")]
    Malformed {
        /// Of this kind.
        kind: Kind,
        /// What is wrong.
        message: String,
    },
    /// A frame that may not come now.
    #[error("{kind:?} frame of call {call} {message}")]
    Unexpected {
        /// Of this kind.
        kind: Kind,
        /// Which call it names.
        call: u32,
        /// Why it may not come.
        message: &'static str,
    },
}

/// Cuts a byte stream into frames. Holds at most one frame more than what was read at once.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: BytesMut,
}

impl Decoder {
    /// Where to put what arrives next: the room left over from the last read, or `bytes` when that is small.
    pub fn space(&mut self, bytes: usize) -> &mut BytesMut {
        if self.buffer.capacity() - self.buffer.len() < bytes / 8 {
            self.buffer.reserve(bytes);
        }
        &mut self.buffer
    }

    /// The next whole frame, or `None` when more bytes are needed. After an error the stream is of no use.
    pub fn take(&mut self) -> Result<Option<Frame>, FrameError> {
        if self.buffer.len() < HEADER_BYTES {
            return Ok(None);
        }
        let mut header = &self.buffer[..HEADER_BYTES];
        let (bytes, call, number) = (header.get_u32_le() as usize, header.get_u32_le(), header.get_u8());
        let kind = Kind::from_wire(number).ok_or(FrameError::Kind(number))?;
        if bytes > kind.payload_max() {
            return Err(FrameError::TooLarge { kind, bytes });
        }
        if self.buffer.len() < HEADER_BYTES + bytes {
            return Ok(None);
        }
        self.buffer.advance(HEADER_BYTES);
        Ok(Some(Frame { kind, call, payload: self.buffer.split_to(bytes).freeze() }))
    }
}

/// Frames waiting to be written, in one buffer that is used again and again.
#[derive(Debug, Default)]
pub struct Encoder {
    buffer: Vec<u8>,
    written: usize,
}

impl Encoder {
    /// Adds a frame. The payload must be within the bounds of its kind.
    pub fn frame(&mut self, kind: Kind, call: u32, payload: &[u8]) {
        self.parts(kind, call, &[payload]);
    }

    /// Adds a frame whose payload is JSON. An error leaves the frames before it as they were.
    pub fn json<T: Serialize>(&mut self, kind: Kind, call: u32, payload: &T) -> Result<(), FrameError> {
        self.with(kind, call, |to| {
            serde_json::to_writer(to, payload)
                .map_err(|cause| FrameError::Malformed { kind, message: cause.to_string() })
        })
    }

    /// Adds a frame whose payload `write` appends. An error, or a payload above the bound of its kind, leaves the frames before it as
    /// they were.
    pub(crate) fn with(
        &mut self,
        kind: Kind,
        call: u32,
        write: impl FnOnce(&mut Vec<u8>) -> Result<(), FrameError>,
    ) -> Result<(), FrameError> {
        let start = self.buffer.len();
        self.header(kind, call, 0);
        let written = write(&mut self.buffer);
        let bytes = self.buffer.len() - start - HEADER_BYTES;
        let result = match written {
            Ok(()) if bytes > kind.payload_max() => Err(FrameError::TooLarge { kind, bytes }),
            result => result,
        };
        match result {
            Ok(()) => self.buffer[start..start + 4].copy_from_slice(&length(bytes)),
            Err(_) => self.buffer.truncate(start),
        }
        result
    }

    /// Adds a frame whose payload is these parts, one after the other.
    pub fn parts(&mut self, kind: Kind, call: u32, parts: &[&[u8]]) {
        let bytes = parts.iter().map(|part| part.len()).sum();
        debug_assert!(bytes <= kind.payload_max(), "the host keeps its own bounds");
        self.header(kind, call, bytes);
        for part in parts {
            self.buffer.extend_from_slice(part);
        }
    }

    /// Adds whole frames that another encoder has made.
    pub fn whole(&mut self, frames: &[u8]) {
        self.buffer.extend_from_slice(frames);
    }

    /// Forgets what is to be written.
    pub fn clear(&mut self) {
        self.advance(self.unwritten().len());
    }

    /// What is to be written next.
    pub fn unwritten(&self) -> &[u8] {
        &self.buffer[self.written..]
    }

    /// `bytes` of it have been written.
    pub fn advance(&mut self, bytes: usize) {
        self.written += bytes;
        if self.written == self.buffer.len() {
            self.buffer.clear();
            self.written = 0;
            // One large event should not be held for ever by a warm instance.
            self.buffer.shrink_to(WINDOW_BYTES);
        }
    }

    fn header(&mut self, kind: Kind, call: u32, bytes: usize) {
        self.buffer.extend_from_slice(&length(bytes));
        self.buffer.extend_from_slice(&call.to_le_bytes());
        self.buffer.push(kind as u8);
    }
}

fn length(bytes: usize) -> [u8; 4] {
    // Payload bounds are far below 4 GiB.
    (bytes as u32).to_le_bytes()
}
