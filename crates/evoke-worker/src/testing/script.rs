//! What a hostile worker does, as steps and as the bytes a fuzzer turns over.
//!
//! Any bytes are a script. The first is the conditions, then come steps: a number that says which, then what it needs.

use evoke_core::usage::Usage;
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::frame::message::PROTOCOL;
use crate::frame::{Encoder, Form, FrameError, HEADER_BYTES, Kind, compact};

/// Steps of one script.
const STEPS_MAX: usize = 512;

/// A worker's life.
#[derive(Debug, Clone, Default)]
pub struct Script {
    /// What it meets.
    pub conditions: Conditions,
    /// What it does.
    pub steps: Vec<Step>,
}

/// What the host is asked to do meanwhile.
#[derive(Debug, Clone, Default)]
pub struct Conditions {
    /// It is called with an event, not with a request.
    pub event: bool,
    /// The request has a body larger than the window.
    pub upload: bool,
    /// After its last step it stays, instead of dying.
    pub stays: bool,
    /// It is to be a zygote.
    pub zygote: bool,
    /// Heads are in the compact form, as the process of components writes them.
    pub compact: bool,
    /// It does not wait between its first step and the call.
    pub hasty: bool,
    /// Who reads the response.
    pub reader: Reader,
    /// Who answers platform requests.
    pub platform: Ask,
}

/// Who reads a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reader {
    /// Somebody, at once.
    #[default]
    Reads,
    /// Somebody who never gets to it.
    Stuck,
    /// Nobody.
    Gone,
}

/// How platform requests are answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Ask {
    /// At once.
    #[default]
    Answered,
    /// At once, with 1 MiB.
    AnsweredAtLength,
    /// Not, and nobody will.
    Ignored,
    /// Not before the end.
    KeptWaiting,
}

/// One thing it does.
#[derive(Debug, Clone)]
pub enum Step {
    /// Sends a frame that is as it should be, `times` times.
    Good {
        /// Which.
        frame: Good,
        /// So often.
        times: u8,
    },
    /// Sends a frame whose length is right.
    Frame {
        /// The number of its kind.
        kind: u8,
        /// The call it names.
        call: u32,
        /// Payload.
        payload: Vec<u8>,
    },
    /// Sends a frame's header, and nothing behind it.
    Header {
        /// The length it announces.
        length: u32,
        /// The call it names.
        call: u32,
        /// The number of its kind.
        kind: u8,
    },
    /// Sends bytes.
    Raw(Vec<u8>),
    /// Waits until the host waits.
    Wait,
    /// The same, and reads what the host has sent.
    Read,
    /// Writes to standard output or error.
    Print {
        /// Which.
        stderr: bool,
        /// What.
        bytes: Vec<u8>,
        /// So often.
        times: u8,
    },
    /// Closes its socket and lives on.
    Close,
    /// Dies: a status, or a signal as a negative number.
    Die {
        /// Which.
        exit: i32,
    },
}

/// Frames that are as they should be; whether they may come now is another question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Good {
    /// It is loaded.
    Ready,
    /// It is a zygote.
    Zygote,
    /// It cannot be loaded.
    InitError,
    /// An answer without a body.
    Response,
    /// An answer with one.
    ResponseWithBody,
    /// 64 KiB of it.
    Body,
    /// Its end.
    BodyEnd,
    /// A line.
    Log,
    /// A platform request.
    Platform,
    /// 64 KiB more of the request's body, please.
    Credit,
    /// Done.
    Done,
    /// Done, with an event.
    DoneWithEvent,
    /// Failed.
    Error,
    /// Failed, and about to exit.
    FatalError,
}

impl Good {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::Ready,
        Self::Zygote,
        Self::InitError,
        Self::Response,
        Self::ResponseWithBody,
        Self::Body,
        Self::BodyEnd,
        Self::Log,
        Self::Platform,
        Self::Credit,
        Self::Done,
        Self::DoneWithEvent,
        Self::Error,
        Self::FatalError,
    ];

    /// Kind, call and payload. `nth` tells repeated platform requests apart.
    fn parts(self, form: Form, nth: u32) -> (Kind, u32, Vec<u8>) {
        let json = |kind, value: serde_json::Value| (kind, 1, value.to_string().into_bytes());
        let start = |kind, value: serde_json::Value| (kind, 0, value.to_string().into_bytes());
        let ready = |zygote: bool| serde_json::json!({ "protocol": PROTOCOL, "runtime": "script", "contract": "web", "zygote": zygote });
        let error = |fatal: bool| serde_json::json!({ "type": "E", "message": "m", "fatal": fatal });
        match self {
            Self::Ready => start(Kind::Ready, ready(false)),
            Self::Zygote => start(Kind::Ready, ready(true)),
            Self::InitError => start(Kind::InitError, error(true)),
            Self::Response => (Kind::Response, 1, response(form, false)),
            Self::ResponseWithBody => (Kind::Response, 1, response(form, true)),
            Self::Body => (Kind::Body, 1, vec![b'b'; 64 << 10]),
            Self::BodyEnd => (Kind::BodyEnd, 1, b"end".to_vec()),
            Self::Log => (Kind::Log, 1, b"\x01a line".to_vec()),
            Self::Platform => {
                let head = br#"{"method":"GET","path":"/v1/kv/default/a","headers":[]}"#;
                let mut payload = nth.to_le_bytes().to_vec();
                payload.extend_from_slice(&(head.len() as u32).to_le_bytes());
                payload.extend_from_slice(head);
                (Kind::Platform, 1, payload)
            }
            Self::Credit => (Kind::Credit, 1, (64_u32 << 10).to_le_bytes().to_vec()),
            Self::Done => (Kind::Done, 1, done(form, &[])),
            Self::DoneWithEvent => (Kind::Done, 1, done(form, &[serde_json::json!({ "type": "t" })])),
            Self::Error => json(Kind::Error, error(false)),
            Self::FatalError => json(Kind::Error, error(true)),
        }
    }
}

fn response(form: Form, body: bool) -> Vec<u8> {
    match form {
        Form::Json => {
            let head = serde_json::json!({ "status": 200, "headers": [["a", "b"]], "body": body });
            head.to_string().into_bytes()
        }
        Form::Compact => {
            let headers =
                HeaderMap::from_iter([(HeaderName::from_static("a"), HeaderValue::from_static("b"))]);
            payload(|to| compact::response(to, 1, 200, &headers, body))
        }
    }
}

fn done(form: Form, events: &[serde_json::Value]) -> Vec<u8> {
    match form {
        Form::Json if events.is_empty() => b"{}".to_vec(),
        Form::Json => serde_json::json!({ "events": events }).to_string().into_bytes(),
        Form::Compact => payload(|to| compact::done(to, 1, events, Usage::default())),
    }
}

/// Of the one frame that `write` adds.
fn payload(write: impl FnOnce(&mut Encoder) -> Result<(), FrameError>) -> Vec<u8> {
    let mut encoder = Encoder::default();
    write(&mut encoder).expect("a small frame");
    encoder.unwritten()[HEADER_BYTES..].to_vec()
}

impl Step {
    /// What it puts on the socket, and how often. `asked` counts platform requests, which have numbers.
    pub(super) fn wire(&self, form: Form, asked: &mut u32) -> (Vec<u8>, u8) {
        match self {
            Self::Good { frame: Good::Platform, times } => {
                let mut all = Vec::new();
                for _ in 0..*times {
                    let (kind, call, payload) = Good::Platform.parts(form, *asked);
                    all.extend(on_wire(kind as u8, call, &payload));
                    *asked += 1;
                }
                (all, 1)
            }
            Self::Good { frame, times } => {
                let (kind, call, payload) = frame.parts(form, 0);
                (on_wire(kind as u8, call, &payload), *times)
            }
            Self::Frame { kind, call, payload } => (on_wire(*kind, *call, payload), 1),
            Self::Header { length, call, kind } => (header(*length, *call, *kind), 1),
            Self::Raw(bytes) => (bytes.clone(), 1),
            Self::Wait | Self::Read | Self::Print { .. } | Self::Close | Self::Die { .. } => (Vec::new(), 0),
        }
    }
}

fn on_wire(kind: u8, call: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = header(payload.len() as u32, call, kind);
    bytes.extend_from_slice(payload);
    bytes
}

fn header(length: u32, call: u32, kind: u8) -> Vec<u8> {
    let mut bytes = length.to_le_bytes().to_vec();
    bytes.extend_from_slice(&call.to_le_bytes());
    bytes.push(kind);
    bytes
}

impl Script {
    /// Reads any bytes as a script.
    pub fn parse(bytes: &[u8]) -> Self {
        let mut from = Bytes(bytes);
        let (flags, more) = (from.byte(), from.byte());
        let conditions = Conditions {
            event: flags & 1 != 0,
            upload: flags & 2 != 0,
            stays: flags & 4 != 0,
            zygote: flags & 8 != 0,
            hasty: flags & 32 != 0,
            compact: flags & 64 != 0,
            reader: [Reader::Reads, Reader::Stuck, Reader::Gone][usize::from(more & 15) % 3],
            platform: [Ask::Answered, Ask::AnsweredAtLength, Ask::Ignored, Ask::KeptWaiting]
                [usize::from(more >> 4) % 4],
        };
        let mut steps = Vec::new();
        // So that most of what a fuzzer finds gets past the start.
        if flags & 16 == 0 {
            steps.push(Step::Good { frame: Good::Ready, times: 1 });
        }
        while !from.0.is_empty() && steps.len() < STEPS_MAX {
            steps.push(from.step());
        }
        Self { conditions, steps }
    }
}

/// What is left to read; zeros follow.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    fn u32(&mut self) -> u32 {
        u32::from_le_bytes([self.byte(), self.byte(), self.byte(), self.byte()])
    }

    /// So many bytes, or what is left.
    fn some(&mut self, bytes: usize) -> Vec<u8> {
        let (some, rest) = self.0.split_at(bytes.min(self.0.len()));
        self.0 = rest;
        some.to_vec()
    }

    /// Mostly the call that is running, or the connection.
    fn call(&mut self) -> u32 {
        match self.byte() {
            0..=127 => 1,
            128..=191 => 0,
            192..=223 => 2,
            _ => self.u32(),
        }
    }

    fn step(&mut self) -> Step {
        match self.byte() % 10 {
            0..=3 => {
                let frame = Good::ALL[usize::from(self.byte()) % Good::ALL.len()];
                Step::Good { frame, times: self.byte().max(1) }
            }
            4 => {
                let (kind, call) = (self.byte() % 32, self.call());
                let bytes = usize::from(self.byte()) | usize::from(self.byte()) << 8;
                Step::Frame { kind, call, payload: self.some(bytes) }
            }
            5 => Step::Header { length: self.u32(), call: self.call(), kind: self.byte() },
            6 => {
                let bytes = usize::from(self.byte());
                Step::Raw(self.some(bytes))
            }
            7 if self.byte() & 1 == 0 => Step::Read,
            7 => Step::Wait,
            8 => {
                let (which, bytes, times) = (self.byte(), usize::from(self.byte()), self.byte());
                Step::Print { stderr: which & 1 != 0, bytes: self.some(bytes), times }
            }
            _ => match self.byte() {
                0..=127 => Step::Close,
                _ => Step::Die { exit: i32::from(self.byte() as i8) },
            },
        }
    }
}
