//! What the guest is handed: a request, or an event as one.

use evoke_core::event::{http as binding, json};
use http_body_util::{BodyExt as _, Empty, Full};
use wasmtime_wasi_http::WasiBody;

use evoke_worker::frame::Kind;
use evoke_worker::frame::message::HeaderBounds;

use crate::body::Incoming;
use crate::failure::Failure;
use crate::wire::Invoke;

/// Of a request. The host has checked it against smaller ones.
const REQUEST_HEADERS: HeaderBounds = HeaderBounds { fields: 1024, bytes: 1 << 20 };

/// What the guest is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    Response,
    Events,
}

/// The request of a call of `function`; `incoming` is its body, if it has one.
pub(crate) fn request(
    function: &str,
    invoke: Invoke<'_>,
    incoming: Incoming,
) -> Result<(http::Request<WasiBody>, Asked), Failure> {
    let malformed = |cause: String| Failure::new("Error", format!("the request cannot be made: {cause}"));
    if let Some(event) = invoke.event {
        let event = json::parse_value(event).map_err(|cause| malformed(cause.to_string()))?;
        let (headers, data) = binding::encode_binary(&event).map_err(|cause| malformed(cause.to_string()))?;
        let body = Full::new(data).map_err(|never| match never {}).boxed_unsync();
        let mut request = http::Request::new(body);
        *request.method_mut() = http::Method::POST;
        *request.uri_mut() =
            format!("http://{function}.internal/").parse().map_err(|_| malformed("its host".to_owned()))?;
        *request.headers_mut() = headers;
        return Ok((request, Asked::Events));
    }
    let Some(head) = invoke.request else {
        return Err(malformed("it is neither request nor event".to_owned()));
    };
    let headers =
        head.headers.check(Kind::Invoke, REQUEST_HEADERS).map_err(|cause| malformed(cause.to_string()))?;
    let body = if head.body {
        incoming.boxed_unsync()
    } else {
        Empty::new().map_err(|never| match never {}).boxed_unsync()
    };
    let mut request = http::Request::new(body);
    *request.method_mut() =
        head.method.parse().map_err(|_| malformed(format!("method {:?}", head.method)))?;
    *request.uri_mut() = head.uri.parse().map_err(|_| malformed(format!("address {:?}", head.uri)))?;
    *request.headers_mut() = headers;
    Ok((request, Asked::Response))
}
