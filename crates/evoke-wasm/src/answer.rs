//! What the guest answers: a response, handed over as it comes, or the events it carries.

use std::sync::atomic::AtomicBool;

use evoke_core::event::{http as binding, json};
use wasmtime_wasi_http::WasiBody;

use evoke_worker::frame::compact;

use crate::body;
use crate::failure::Failure;
use crate::outbox::Outbox;
use crate::tie::Tie;

/// Of a response, as the host will check it.
const RESPONSE_FIELDS: usize = 100;
/// Events that one answer may carry.
const EVENTS_MAX: usize = 1000;

/// Sends the response of a call, its body as far as there is credit.
pub(crate) async fn hand_over(
    response: http::Response<WasiBody>,
    tie: &Tie,
    outbox: &Outbox,
    has_failed: &AtomicBool,
) -> Result<(), Failure> {
    let (head, body) = response.into_parts();
    let fields = head.headers.len();
    if fields > RESPONSE_FIELDS {
        let words = format!("its response has {fields} header fields, above the limit of {RESPONSE_FIELDS}");
        return Err(Failure::new("Error", words));
    }
    let status = head.status.as_u16();
    if !(200..600).contains(&status) {
        return Err(Failure::new(
            "Error",
            format!("its response has status {status}, not within 200 to 599"),
        ));
    }
    let has_body = !http_body::Body::is_end_stream(&body);
    outbox
        .add(|to| compact::response(to, tie.call, status, &head.headers, has_body))
        .map_err(|cause| Failure::new("Error", format!("its response cannot be sent: {cause}")))?;
    if has_body {
        let sent = body::send(body, tie, outbox, has_failed).await;
        sent.map_err(|cause| Failure::new("Error", format!("it broke off its response: {cause}")))?;
    }
    Ok(())
}

/// The events that a handler answers an event with: a response with a status of success that carries any, by the HTTP binding.
pub(crate) async fn events(
    response: http::Response<WasiBody>,
    limit: usize,
) -> Result<Vec<serde_json::Value>, Failure> {
    let (head, body) = response.into_parts();
    let status = head.status;
    let body = body::collect(body, limit)
        .await
        .map_err(|cause| Failure::new("Error", format!("it broke off its response: {cause}")))?
        .ok_or_else(|| Failure::new("Error", format!("its response is larger than {limit} bytes")))?;
    if !status.is_success() {
        let start = String::from_utf8_lossy(&body[..body.len().min(1000)]).into_owned();
        let words = format!("it answered the event with status {}: {start}", status.as_u16());
        return Err(Failure::new("Status", words.trim_end_matches([':', ' ']).to_owned()));
    }
    let is_event = |name: &http::HeaderName| name.as_str() == "ce-specversion";
    let is_structured = head
        .headers
        .get(http::header::CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(b"application/cloudevents"));
    if !is_structured && !head.headers.keys().any(is_event) {
        return Ok(Vec::new());
    }
    let incoming = binding::decode(&head.headers, body, EVENTS_MAX).map_err(|cause| {
        Failure::new("Error", format!("the events it answered with are malformed: {cause}"))
    })?;
    Ok(incoming.events.iter().map(json::to_json).collect())
}
