//! The compact form of a call's heads, for the process of components: it is the same executable as the host, so both ends change
//! together, and neither has to read or write JSON for each call.
//!
//! Integers are little endian. A *text* is a u32 length and so many bytes; *fields* are a u16 count, then name and value of each as
//! texts. The host reads what a guest may have written that broken out of its sandbox: every length is checked before it
//! is used, and nothing is allocated by what a payload says of itself.

use bytes::{Buf, Bytes};
use http::header::{HeaderMap, HeaderValue};
use http::{Method, Uri, request};

use evoke_core::usage::Usage;

use super::message::{Done, Fields, HeaderBounds, Invoke, InvokeRequest, ResponseHead, status};
use super::{Encoder, FrameError, Kind};

/// Flags of `INVOKE`.
const IS_REQUEST: u8 = 1;
const HAS_BODY: u8 = 2;
const MAY_SEND: u8 = 4;
/// Flags of `DONE`.
const KNOWS_CPU: u8 = 1;
const KNOWS_MEMORY: u8 = 2;

/// `INVOKE` as the process of components reads it.
#[derive(Debug)]
pub struct Invoked {
    /// Milliseconds since 1970.
    pub deadline_ms: u64,
    /// What the requests that it sends are marked with, if it may send any.
    pub marks: Option<Marks>,
    /// What it is called with.
    pub input: Invocation,
}

/// Whose requests they are.
#[derive(Debug)]
pub struct Marks {
    /// W3C trace id.
    pub trace_id: Bytes,
    /// W3C span id.
    pub span_id: Bytes,
    /// `CDN-Loop`.
    pub hops: Bytes,
}

/// What a component is called with.
#[derive(Debug)]
pub enum Invocation {
    /// A request.
    Request {
        /// Its head.
        head: request::Parts,
        /// Whether `BODY` frames follow.
        body: bool,
    },
    /// An event in JSON format.
    Event(Bytes),
}

/// Writes `INVOKE`: deadline (u64), flags (u8); where it may send, trace id, span id and hops as texts; of a request method and
/// address as texts, and its fields; otherwise the event as JSON.
pub(super) fn invoke(encoder: &mut Encoder, call: u32, invoke: &Invoke<'_>) -> Result<(), FrameError> {
    // What a component is not told is named here, so that a new member is not forgotten.
    let Invoke { run: _, attempt: _, deadline_ms, cause, hops, request, event } = invoke;
    encoder.with(Kind::Invoke, call, |to| {
        to.extend_from_slice(&deadline_ms.to_le_bytes());
        let body = request.as_ref().is_some_and(|request| request.body);
        to.push(flag(request.is_some(), IS_REQUEST) | flag(body, HAS_BODY) | flag(hops.is_some(), MAY_SEND));
        if let Some(hops) = hops {
            [&*cause.trace_id, &*cause.span_id, hops].into_iter().for_each(|part| text(to, part.as_bytes()));
        }
        match request {
            Some(InvokeRequest { method, uri, headers, params: _, client: _, body: _, next: _ }) => {
                text(to, method.as_bytes());
                text(to, uri.as_bytes());
                fields(to, headers.0).map_err(|message| malformed(Kind::Invoke, message))
            }
            None => match event {
                Some(event) => serde_json::to_writer(to, event)
                    .map_err(|cause| malformed(Kind::Invoke, cause.to_string())),
                None => Ok(()),
            },
        }
    })
}

impl Invoked {
    /// Reads what [`Form::invoke`](super::Form::invoke) wrote.
    pub fn read(payload: Bytes, bounds: HeaderBounds) -> Result<Self, FrameError> {
        let mut from = Payload { kind: Kind::Invoke, rest: payload };
        let (deadline_ms, flags) = (from.u64()?, from.u8()?);
        let marks = if flags & MAY_SEND != 0 {
            Some(Marks { trace_id: from.text()?, span_id: from.text()?, hops: from.text()? })
        } else {
            None
        };
        if flags & IS_REQUEST == 0 {
            return Ok(Self { deadline_ms, marks, input: Invocation::Event(from.rest) });
        }
        let (mut head, ()) = http::Request::new(()).into_parts();
        let method = from.text()?;
        head.method = Method::from_bytes(&method).map_err(|_| from.wrong("method", &method))?;
        let uri = from.text()?;
        head.uri = Uri::from_maybe_shared(uri.clone()).map_err(|_| from.wrong("address", &uri))?;
        head.headers = from.fields(bounds)?;
        from.end()?;
        Ok(Self { deadline_ms, marks, input: Invocation::Request { head, body: flags & HAS_BODY != 0 } })
    }
}

/// Writes `RESPONSE`: status (u16), whether a body follows (u8), fields.
pub fn response(
    encoder: &mut Encoder,
    call: u32,
    status: u16,
    headers: &HeaderMap,
    body: bool,
) -> Result<(), FrameError> {
    encoder.with(Kind::Response, call, |to| {
        to.extend_from_slice(&status.to_le_bytes());
        to.push(u8::from(body));
        fields(to, headers).map_err(|message| malformed(Kind::Response, message))
    })
}

/// Reads it.
pub(super) fn read_response(payload: Bytes, bounds: HeaderBounds) -> Result<ResponseHead, FrameError> {
    let mut from = Payload { kind: Kind::Response, rest: payload };
    let head =
        ResponseHead { status: status(from.u16()?)?, body: from.u8()? != 0, headers: from.fields(bounds)? };
    from.end()?;
    Ok(head)
}

/// Writes `DONE`: flags (u8), processor time in microseconds and bytes of memory (u64 each), and the events as JSON, if there are any.
pub fn done(
    encoder: &mut Encoder,
    call: u32,
    events: &[serde_json::Value],
    usage: Usage,
) -> Result<(), FrameError> {
    // A component has its instance for itself.
    let Usage { cpu_us, peak_memory_bytes, idle_cpu_us: _, shared: _ } = usage;
    encoder.with(Kind::Done, call, |to| {
        to.push(flag(cpu_us.is_some(), KNOWS_CPU) | flag(peak_memory_bytes.is_some(), KNOWS_MEMORY));
        to.extend_from_slice(&cpu_us.unwrap_or_default().to_le_bytes());
        to.extend_from_slice(&peak_memory_bytes.unwrap_or_default().to_le_bytes());
        if events.is_empty() {
            return Ok(());
        }
        serde_json::to_writer(to, events).map_err(|cause| malformed(Kind::Done, cause.to_string()))
    })
}

/// Reads it.
pub(super) fn read_done(payload: Bytes) -> Result<Done, FrameError> {
    let mut from = Payload { kind: Kind::Done, rest: payload };
    let (flags, cpu_us, memory) = (from.u8()?, from.u64()?, from.u64()?);
    let usage = Usage {
        cpu_us: (flags & KNOWS_CPU != 0).then_some(cpu_us),
        peak_memory_bytes: (flags & KNOWS_MEMORY != 0).then_some(memory),
        ..Usage::default()
    };
    let events =
        if from.rest.is_empty() { Vec::new() } else { super::message::parse(Kind::Done, &from.rest)? };
    Ok(Done { events, usage })
}

fn flag(is_set: bool, flag: u8) -> u8 {
    if is_set { flag } else { 0 }
}

fn text(to: &mut Vec<u8>, bytes: &[u8]) {
    // Payload bounds are far below 4 GiB; a frame above them is not sent.
    to.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
    to.extend_from_slice(bytes);
}

fn fields(to: &mut Vec<u8>, headers: &HeaderMap) -> Result<(), String> {
    let count =
        u16::try_from(headers.len()).map_err(|_| format!("it has {} header fields", headers.len()))?;
    to.extend_from_slice(&count.to_le_bytes());
    for (name, value) in headers {
        text(to, name.as_str().as_bytes());
        text(to, value.as_bytes());
    }
    Ok(())
}

fn malformed(kind: Kind, message: String) -> FrameError {
    FrameError::Malformed { kind, message }
}

/// A payload that is being read.
struct Payload {
    kind: Kind,
    rest: Bytes,
}

impl Payload {
    fn u8(&mut self) -> Result<u8, FrameError> {
        self.rest.try_get_u8().map_err(|_| self.short())
    }

    fn u16(&mut self) -> Result<u16, FrameError> {
        self.rest.try_get_u16_le().map_err(|_| self.short())
    }

    fn u32(&mut self) -> Result<u32, FrameError> {
        self.rest.try_get_u32_le().map_err(|_| self.short())
    }

    fn u64(&mut self) -> Result<u64, FrameError> {
        self.rest.try_get_u64_le().map_err(|_| self.short())
    }

    fn text(&mut self) -> Result<Bytes, FrameError> {
        let bytes = self.u32()? as usize;
        if bytes > self.rest.len() {
            return Err(self.short());
        }
        Ok(self.rest.split_to(bytes))
    }

    /// Header fields within these bounds, without those that belong to a connection.
    fn fields(&mut self, bounds: HeaderBounds) -> Result<HeaderMap, FrameError> {
        let kind = self.kind;
        let mut fields =
            Fields::new(usize::from(self.u16()?), bounds).map_err(|message| malformed(kind, message))?;
        for _ in 0..fields.count() {
            let (name, value) = (self.text()?, self.text()?);
            fields
                .add(&name, value.len(), || HeaderValue::from_maybe_shared(value).ok())
                .map_err(|message| malformed(kind, message))?;
        }
        Ok(fields.map())
    }

    fn end(&self) -> Result<(), FrameError> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(malformed(self.kind, "it goes on after its end".to_owned()))
        }
    }

    fn short(&self) -> FrameError {
        malformed(self.kind, "it is cut short".to_owned())
    }

    fn wrong(&self, what: &str, text: &[u8]) -> FrameError {
        malformed(self.kind, format!("{what} {:?}", String::from_utf8_lossy(text)))
    }
}
