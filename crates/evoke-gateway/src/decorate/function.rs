//! A decorator that is a function: it is called with the request, and may ask for what is next.

use std::sync::Arc;

use axum::body::Body as HttpBody;
use axum::response::Response;
use evoke_core::body::{Body, BodyError};
use evoke_core::id::FunctionName;
use evoke_core::record::Trigger;
use evoke_core::runtime;
use evoke_engine::call::CallRequest;
use evoke_engine::next::Onward;
use http::Request;

use super::next::Following;
use super::source::Source;
use super::{BODY, Line};
use crate::call::{host, respond};
use crate::client::Client;
use crate::headers::strip;
use crate::problem::{BODY_BYTES, Failures, Refusal};

/// Calls decorator `at` of the line, the function `name`.
pub(super) async fn answer(
    line: &Arc<Line>,
    at: usize,
    name: FunctionName,
    request: Request<HttpBody>,
    from: Option<Onward>,
) -> Result<Response, Refusal> {
    let shared = &line.shared;
    let (parts, body) = request.into_parts();
    let head = parts.clone();
    let client = parts.extensions.get::<Client>();
    let arrival = shared.engine.arrival(&parts.headers, client.map(|client| client.peer));
    let trigger =
        Trigger::Http { method: parts.method.as_str().to_owned(), path: parts.uri.path().to_owned() };
    let cap = shared.cap(BODY_BYTES, shared.engine.limits().body_bytes);
    let (source, body, mut pump) = Source::new(&parts.headers, body, cap).await?;
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    let scheme = client.map_or("http", Client::scheme);
    let uri = format!("{scheme}://{}{path}", host(&parts.uri, &parts.headers));
    let mut headers = parts.headers;
    strip(&mut headers);
    headers.remove(BODY);
    let request = runtime::Request {
        method: parts.method.clone(),
        uri,
        headers,
        params: line.route.params.clone(),
        client: client.map(|client| client.address.to_string()),
        body,
    };
    let following = Arc::new(Following::new(line.clone(), at + 1, head, source));
    let call = CallRequest {
        app: line.route.app.clone(),
        function: name,
        request,
        trigger,
        from: arrival,
        idempotency_key: None,
    };
    let next = following.clone().into_next();
    let tell = if shared.tell_failures { Failures::Told } else { Failures::Coded };
    match pump.during(Box::pin(shared.engine.call_along(call, from, Some(next)))).await? {
        Ok(mut answered) => match answered.response.headers.remove(BODY) {
            Some(named) => {
                let is_bare = pump.during(is_empty(&mut answered.response.body)).await?;
                following.hand_out(&named, answered, is_bare)
            }
            None => respond(answered, &parts.method, pump).await,
        },
        // What the decorator made of a body that broke off is a consequence; the cause is told.
        Err(error) => Err(match pump.error() {
            Some(error @ BodyError::TooLarge { .. }) => error.clone().into(),
            _ => Refusal::from_call(error, tell),
        }),
    }
}

/// Waits for the first of a body, or its end.
async fn is_empty(body: &mut Body) -> bool {
    match body {
        Body::Full(bytes) => bytes.is_empty(),
        Body::Stream(_) | Body::Watched(_) => body.chunk().await.is_none(),
    }
}
