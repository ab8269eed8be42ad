//! The payloads of frames.

mod head;

use std::borrow::Cow;

use bytes::{Buf, Bytes};
use evoke_core::event::Event;
use evoke_core::record::{Cause, LogStream};
use evoke_core::usage::Usage;
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};

pub(super) use head::Fields;
pub use head::{HOP_BY_HOP, HeaderBounds, Headers, HeadersOut, header_map, latin1};

use super::{FrameError, Kind};

/// The version both sides must speak.
pub const PROTOCOL: u32 = 1;

/// Payload of `INIT`.
#[derive(Debug, Clone, Serialize)]
pub struct Init<'a> {
    /// [`PROTOCOL`].
    pub protocol: u32,
    /// The file to load, absolute.
    pub source: &'a str,
    /// The folder of the app, absolute.
    pub root: &'a str,
    /// What the file is called for people, relative to the app.
    pub name: &'a str,
    /// The export that the manifest names.
    pub handler: Option<&'a str>,
    /// The app's name.
    pub app: &'a str,
    /// The function's name.
    pub function: &'a str,
    /// The revision.
    pub revision: &'a str,
    /// The memory limit.
    pub memory_mib: u64,
    /// Names of the function's own environment variables.
    pub env: Vec<&'a str>,
    /// Bounds the worker keeps by itself.
    pub limits: InitLimits,
    /// All environment variables, for a process that was not started with them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub variables: Option<&'a [(String, String)]>,
    /// It is to be a zygote, if it can be forked.
    pub zygote: bool,
    /// Calls it is to run at once.
    pub concurrency: u32,
    /// It may send requests over the network.
    pub sends: bool,
    /// Of a component: an instance may serve one call after the other.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub reuse: bool,
}

/// Bounds a well-behaved worker keeps, so that it never meets the host's.
#[derive(Debug, Clone, Serialize)]
pub struct InitLimits {
    /// Of a body held in memory.
    pub body_bytes: u64,
    /// Of one log line.
    pub log_line_bytes: usize,
    /// Platform requests at once.
    pub platform_in_flight: usize,
}

/// Payload of `READY`.
#[derive(Debug, Clone, Deserialize)]
pub struct Ready {
    /// Must be [`PROTOCOL`].
    pub protocol: u32,
    /// Name and version of the interpreter.
    pub runtime: String,
    /// How the function looks: `web`, `lambda`, `asgi`, `wsgi`.
    pub contract: String,
    /// It is a zygote: it takes `FORK`, and no calls.
    #[serde(default)]
    pub zygote: bool,
    /// Calls it runs at once.
    #[serde(default = "one")]
    pub concurrency: u32,
}

const fn one() -> u32 {
    1
}

/// Payload of `INIT_ERROR`.
#[derive(Debug, Clone, Deserialize)]
pub struct InitError {
    /// The exception's type.
    #[serde(rename = "type")]
    pub ty: String,
    /// Its message.
    pub message: String,
    /// Its stack trace.
    #[serde(default)]
    pub stack: Option<String>,
    /// The file it is in, relative to the app.
    #[serde(default)]
    pub file: Option<String>,
    /// The line, from 1.
    #[serde(default)]
    pub line: Option<u32>,
}

/// Payload of `INVOKE`. How it is written: [`Form::invoke`](super::Form::invoke). What is `None` or false by itself is left out in JSON, but `client`.
#[derive(Debug)]
pub struct Invoke<'a> {
    /// Which run.
    pub run: &'a str,
    /// 1 for the first.
    pub attempt: u32,
    /// Milliseconds since 1970.
    pub deadline_ms: u64,
    /// Who caused it.
    pub cause: &'a Cause,
    /// `CDN-Loop` of the requests it sends, if it may send any.
    pub hops: Option<&'a str>,
    /// The request, for a request.
    pub request: Option<InvokeRequest<'a>>,
    /// The event in JSON format, for an event.
    pub event: Option<EventsOut<'a>>,
}

/// The head of a request.
#[derive(Debug)]
pub struct InvokeRequest<'a> {
    /// Method.
    pub method: &'a str,
    /// Absolute URI.
    pub uri: &'a str,
    /// Header fields.
    pub headers: HeadersOut<'a>,
    /// Path parameters.
    pub params: &'a [(String, String)],
    /// Who sent it.
    pub client: Option<&'a str>,
    /// Whether `BODY` frames follow.
    pub body: bool,
    /// Whether the function is a decorator here, which may ask for what is next.
    pub next: bool,
}

/// The event, or several in an array.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(untagged)]
pub enum EventsOut<'a> {
    /// One.
    One(&'a Event),
    /// Those of a batch.
    Several(&'a [Event]),
}

/// Payload of `RESPONSE`, checked.
#[derive(Debug)]
pub struct ResponseHead {
    /// 200 to 599.
    pub status: StatusCode,
    /// Header fields, without those that belong to a connection.
    pub headers: HeaderMap,
    /// Whether `BODY` frames follow.
    pub body: bool,
}

/// The same in JSON.
#[derive(Debug, Deserialize)]
struct ResponseJson<'a> {
    status: u16,
    #[serde(borrow)]
    headers: Headers<'a>,
    body: bool,
}

impl ResponseHead {
    /// Reads the JSON payload.
    pub(super) fn parse(payload: &[u8], bounds: HeaderBounds) -> Result<Self, FrameError> {
        let ResponseJson { status: number, headers, body } = parse(Kind::Response, payload)?;
        Ok(Self { status: status(number)?, headers: headers.check(Kind::Response, bounds)?, body })
    }
}

/// Payload of `DONE`.
#[derive(Debug, Default, Deserialize)]
pub struct Done {
    /// What the handler of an event returned. That of several may have an object with `batchItemFailures` among it.
    #[serde(default)]
    pub events: Vec<serde_json::Value>,
    /// What it used: believed of components, whose process the functions have no say in.
    #[serde(default)]
    pub usage: Usage,
}

/// Payload of `ERROR`.
#[derive(Debug, Clone, Deserialize)]
pub struct CallError {
    /// The exception's type.
    #[serde(rename = "type")]
    pub ty: String,
    /// Its message.
    pub message: String,
    /// Its stack trace.
    #[serde(default)]
    pub stack: Option<String>,
    /// `function_error` or `out_of_memory`.
    #[serde(default)]
    pub code: Option<String>,
    /// The worker exits now.
    #[serde(default)]
    pub fatal: bool,
    /// As in [`Done`].
    #[serde(default)]
    pub usage: Usage,
}

/// Payload of `PLATFORM`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Platform {
    /// The worker's number for it.
    pub request: u32,
    /// The head as JSON.
    pub head: Bytes,
    /// The body.
    pub body: Bytes,
}

/// The head of a platform request.
#[derive(Debug, Deserialize)]
pub struct PlatformHead<'a> {
    /// Method.
    #[serde(borrow)]
    pub method: Cow<'a, str>,
    /// Path and query.
    #[serde(borrow)]
    pub path: Cow<'a, str>,
    /// Header fields.
    #[serde(borrow)]
    pub headers: Headers<'a>,
}

/// The head of a platform answer.
#[derive(Debug, Serialize)]
pub struct AnswerHead<'a> {
    /// Status.
    pub status: u16,
    /// Header fields.
    pub headers: HeadersOut<'a>,
}

/// Reads a JSON payload.
pub fn parse<'a, T: Deserialize<'a>>(kind: Kind, payload: &'a [u8]) -> Result<T, FrameError> {
    serde_json::from_slice(payload)
        .map_err(|cause| FrameError::Malformed { kind, message: cause.to_string() })
}

/// Reads the payload of `CREDIT`.
pub fn credit(payload: &[u8]) -> Result<usize, FrameError> {
    let bytes: [u8; 4] = payload.try_into().map_err(|_| FrameError::Malformed {
        kind: Kind::Credit,
        message: format!("it has {} bytes, not 4", payload.len()),
    })?;
    Ok(u32::from_le_bytes(bytes) as usize)
}

/// Reads the payload of `CONNECT` and `CONNECTED`: the worker's number for it, and a text.
pub fn numbered(kind: Kind, payload: &[u8]) -> Result<(u64, &str), FrameError> {
    let malformed = |message: &str| FrameError::Malformed { kind, message: message.to_owned() };
    let (number, text) =
        payload.split_first_chunk().ok_or_else(|| malformed("it is shorter than 8 bytes"))?;
    let text = std::str::from_utf8(text).map_err(|_| malformed("its text is not UTF-8"))?;
    Ok((u64::from_le_bytes(*number), text))
}

/// Reads the payload of `EXITED`: an exit status, or a signal as a negative number; `None` when nothing is known.
pub fn exited(payload: &[u8]) -> Option<i32> {
    payload.try_into().ok().map(i32::from_le_bytes)
}

/// Reads the payload of `LOG`: a stream and a line.
pub fn log(payload: &[u8]) -> Result<(LogStream, String), FrameError> {
    let stream = match payload.first() {
        Some(1) => LogStream::Stdout,
        Some(2) => LogStream::Stderr,
        _ => {
            return Err(FrameError::Malformed {
                kind: Kind::Log,
                message: "it names neither stdout nor stderr".to_owned(),
            });
        }
    };
    Ok((stream, String::from_utf8_lossy(&payload[1..]).into_owned()))
}

impl Platform {
    /// Reads the payload.
    pub fn parse(mut payload: Bytes) -> Result<Self, FrameError> {
        let malformed =
            |message: &str| FrameError::Malformed { kind: Kind::Platform, message: message.to_owned() };
        if payload.len() < 8 {
            return Err(malformed("it is shorter than 8 bytes"));
        }
        let (request, head_bytes) = (payload.get_u32_le(), payload.get_u32_le() as usize);
        if payload.len() < head_bytes {
            return Err(malformed("its head is longer than the frame"));
        }
        Ok(Self { request, head: payload.split_to(head_bytes), body: payload })
    }
}

/// Checks the status of a response.
pub(super) fn status(number: u16) -> Result<StatusCode, FrameError> {
    match StatusCode::from_u16(number) {
        Ok(status) if (200..600).contains(&number) => Ok(status),
        _ => Err(FrameError::Malformed {
            kind: Kind::Response,
            message: format!("status {number} is not within 200 to 599"),
        }),
    }
}
