//! What a call looks like to the one who asked for the next invocation.

use std::mem;

use bytes::Bytes;
use evoke_core::body::Body;
use evoke_core::record::Cause;
use evoke_core::runtime::{Call, Input, Request};
use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::super::Identity;
use super::super::ask::{Invocation, Of};
use super::super::http::INVOCATION_ID;
use crate::aside::aside;
use crate::function_url::{Invoked, payload};

/// The invocation: an event in CloudEvents' JSON format, or a request as a function URL has it, of which the call keeps the method only.
/// `body` is all of the request's.
pub(super) async fn of(call: &mut Call, body: Bytes, identity: &Identity) -> Invocation {
    let at = super::now(call);
    let payload = match &mut call.input {
        Input::Event(event) => serde_json::to_vec(event).expect("an event is JSON"),
        Input::Events(events) => serde_json::to_vec(events).expect("events are JSON"),
        Input::Request(request) => {
            let request = Request {
                method: request.method.clone(),
                uri: mem::take(&mut request.uri),
                headers: mem::take(&mut request.headers),
                params: mem::take(&mut request.params),
                client: request.client.take(),
                body: Body::empty(),
            };
            let (function, run) = (identity.function.clone(), call.run.clone());
            let bytes = body.len();
            let payload = move || {
                payload(&request, &body, Invoked { function: function.as_str(), run: run.as_str(), at })
            };
            aside(bytes, payload).await
        }
    };
    let mut headers = HeaderMap::with_capacity(9);
    let mut put = |name: &'static str, value: &str| {
        // Names and ids of ours are ASCII.
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    };
    put("lambda-runtime-aws-request-id", call.run.as_str());
    put(INVOCATION_ID, &invocation_id(call));
    put("lambda-runtime-deadline-ms", &call.deadline_at.as_millis().to_string());
    put("lambda-runtime-invoked-function-arn", &identity.arn);
    put("lambda-runtime-trace-id", &trace_id(&call.cause));
    put("evoke-attempt", &call.attempt.to_string());
    put("traceparent", &format!("00-{}-{}-01", call.cause.trace_id, call.cause.span_id));
    put(header::CONTENT_TYPE.as_str(), "application/json");
    Invocation { headers, body: Bytes::from(payload) }
}

/// Whether an answer is one to this call.
pub(super) fn is_answered_by(call: &Call, of: &Of) -> bool {
    of.request == call.run.as_str()
        && of.invocation.as_ref().is_none_or(|invocation| *invocation == invocation_id(call))
}

/// Unlike the request id, not the same in another attempt.
fn invocation_id(call: &Call) -> String {
    format!("{}.{}", call.run, call.attempt)
}

/// The trace in the words of X-Ray: `Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1`.
fn trace_id(cause: &Cause) -> String {
    let (time, rest) = cause.trace_id.split_at_checked(8).unwrap_or((&cause.trace_id, ""));
    format!("Root=1-{time}-{rest};Parent={};Sampled=1", cause.span_id)
}
