//! The first frames of a call.

use bytes::Bytes;
use evoke_core::body::Body;
use evoke_core::runtime::{Call, Input};

use super::Exchange;
use super::download::Download;
use super::upload::Upload;
use crate::frame::message::{EventsOut, HeadersOut, Invoke, InvokeRequest};
use crate::frame::{CHUNK_BYTES, FrameError};

/// Takes the request's body out of the call, and says what kind of answer is due.
pub(super) fn split(call: &mut Call) -> (Upload, Download) {
    match &mut call.input {
        Input::Request(request) => (Upload::new(std::mem::take(&mut request.body)), Download::awaited()),
        Input::Event(_) | Input::Events(_) => (Upload::new(Body::Full(Bytes::new())), Download::unwanted()),
    }
}

impl Exchange<'_> {
    pub(super) fn invoke(&mut self) -> Result<(), FrameError> {
        let call = &self.call;
        let mut invoke = Invoke {
            run: call.run.as_str(),
            attempt: call.attempt,
            deadline_ms: call.deadline_at.as_millis(),
            cause: &call.cause,
            hops: call.hops.as_deref(),
            request: None,
            event: None,
        };
        match &call.input {
            Input::Event(event) => invoke.event = Some(EventsOut::One(event)),
            Input::Events(events) => invoke.event = Some(EventsOut::Several(events)),
            Input::Request(request) => {
                invoke.request = Some(InvokeRequest {
                    method: request.method.as_str(),
                    uri: &request.uri,
                    headers: HeadersOut(&request.headers),
                    params: &request.params,
                    client: request.client.as_deref(),
                    body: self.upload.is_open(),
                    next: call.decorates,
                });
            }
        }
        let encoder = &mut self.parts.link.encoder;
        self.terms.form.invoke(encoder, self.id, &invoke)?;
        // A small body goes along in the same write.
        self.upload.send_whole(CHUNK_BYTES, self.id, encoder);
        Ok(())
    }
}
