//! What the guest is handed: a request, or an event as one.

use std::sync::Arc;

use evoke_core::event::{http as binding, json};
use http_body_util::{BodyExt as _, Full};
use wasmtime_wasi_http::WasiBody;

use evoke_worker::frame::compact::Invocation;

use crate::body::Body;
use crate::failure::Failure;
use crate::outbox::Outbox;

/// What the guest is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    Response,
    Events,
}

/// The request of call `number` of `function`, which has `body`.
pub(crate) fn request(
    function: &str,
    input: Invocation,
    body: Body,
    outbox: &Arc<Outbox>,
    number: u32,
) -> Result<(http::Request<WasiBody>, Asked), Failure> {
    let event = match input {
        Invocation::Request { head, body: _ } => {
            let body = body.of_request(outbox, number);
            return Ok((http::Request::from_parts(head, body), Asked::Response));
        }
        Invocation::Event(event) => event,
    };
    let malformed = |cause: String| Failure::new("Error", format!("the request cannot be made: {cause}"));
    let event = serde_json::from_slice(&event).map_err(|cause| malformed(cause.to_string()))?;
    let event = json::parse_value(event).map_err(|cause| malformed(cause.to_string()))?;
    let (headers, data) = binding::encode_binary(&event).map_err(|cause| malformed(cause.to_string()))?;
    let body = Full::new(data).map_err(|never| match never {}).boxed_unsync();
    let mut request = http::Request::new(body);
    *request.method_mut() = http::Method::POST;
    *request.uri_mut() =
        format!("http://{function}.internal/").parse().map_err(|_| malformed("its host".to_owned()))?;
    *request.headers_mut() = headers;
    Ok((request, Asked::Events))
}
