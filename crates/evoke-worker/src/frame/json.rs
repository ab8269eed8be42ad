//! `INVOKE` in JSON, member by member. It is written for each call of an interpreter, and nearly all of its texts can be copied as they
//! are: a general serialiser looks at each character, at four times the price.

use serde::Serialize;

use super::message::{HeadersOut, Invoke, InvokeRequest, latin1};
use super::{Encoder, FrameError, Kind};

/// Adds the frame.
pub(super) fn invoke(encoder: &mut Encoder, call: u32, invoke: &Invoke<'_>) -> Result<(), FrameError> {
    let Invoke { run, attempt, deadline_ms, cause, hops, request, event } = invoke;
    let write = |to: &mut Vec<u8>| {
        let mut object = Object::begin(to);
        object.text("run", run)?;
        object.json("attempt", attempt)?;
        object.json("deadline_ms", deadline_ms)?;
        object.json("cause", cause)?;
        if let Some(hops) = hops {
            object.text("hops", hops)?;
        }
        if let Some(head) = request {
            request_of(object.member("request"), head)?;
        }
        if let Some(event) = event {
            object.json("event", event)?;
        }
        object.end();
        Ok(())
    };
    encoder.with(Kind::Invoke, call, |to| {
        write(to).map_err(|cause: serde_json::Error| FrameError::Malformed {
            kind: Kind::Invoke,
            message: cause.to_string(),
        })
    })
}

fn request_of(to: &mut Vec<u8>, head: &InvokeRequest<'_>) -> serde_json::Result<()> {
    let InvokeRequest { method, uri, headers, params, client, body, next } = head;
    let mut object = Object::begin(to);
    object.text("method", method)?;
    object.text("uri", uri)?;
    fields(object.member("headers"), *headers)?;
    object.json("params", params)?;
    match client {
        Some(client) => object.text("client", client)?,
        None => object.json("client", &())?,
    }
    object.json("body", body)?;
    if *next {
        object.json("next", next)?;
    }
    object.end();
    Ok(())
}

/// As [`HeadersOut`] is in JSON.
fn fields(to: &mut Vec<u8>, HeadersOut(headers): HeadersOut<'_>) -> serde_json::Result<()> {
    to.push(b'[');
    for (at, (name, value)) in headers.iter().enumerate() {
        to.extend_from_slice(if at == 0 { b"[" } else { b",[" });
        for part in [name.as_str().as_bytes(), value.as_bytes()] {
            if !plain(to, part) {
                serde_json::to_writer(&mut *to, &latin1(part))?;
            }
            to.push(b',');
        }
        to.pop();
        to.push(b']');
    }
    to.push(b']');
    Ok(())
}

/// Adds a string that is the same in JSON; false if it is not, and nothing was added.
fn plain(to: &mut Vec<u8>, text: &[u8]) -> bool {
    let is_special = |byte: u8| !(0x20..0x7f).contains(&byte) || byte == b'"' || byte == b'\\';
    // Without a way out half-way, so that many bytes are looked at at once.
    if text.iter().fold(false, |found, &byte| found | is_special(byte)) {
        return false;
    }
    to.push(b'"');
    to.extend_from_slice(text);
    to.push(b'"');
    true
}

/// An object that is being written.
struct Object<'a> {
    to: &'a mut Vec<u8>,
    is_empty: bool,
}

impl<'a> Object<'a> {
    fn begin(to: &'a mut Vec<u8>) -> Self {
        to.push(b'{');
        Self { to, is_empty: true }
    }

    /// Begins a member, whose value comes next. Its name must be plain.
    fn member(&mut self, name: &str) -> &mut Vec<u8> {
        self.to.extend_from_slice(if std::mem::take(&mut self.is_empty) { b"\"" } else { b",\"" });
        self.to.extend_from_slice(name.as_bytes());
        self.to.extend_from_slice(b"\":");
        self.to
    }

    fn text(&mut self, name: &str, value: &str) -> serde_json::Result<()> {
        let to = self.member(name);
        if plain(to, value.as_bytes()) { Ok(()) } else { serde_json::to_writer(to, value) }
    }

    fn json<T: Serialize + ?Sized>(&mut self, name: &str, value: &T) -> serde_json::Result<()> {
        serde_json::to_writer(self.member(name), value)
    }

    fn end(self) {
        self.to.push(b'}');
    }
}
