//! Routes to other servers: a request goes on with the header fields that belong to it, and the answer comes back, both as
//! streams. How it is sent (connections, time limits, tries) is behind [`evoke_core::upstream::Forward`].

mod fields;

use std::sync::Arc;

use axum::body::Body as HttpBody;
use axum::response::Response;
use evoke_core::experiment::Copied;
use evoke_core::id::AppName;
use evoke_core::upstream::{HostField, Passing, Upstream, UpstreamError};
use http::header::{HOST, HeaderValue};
use http::{Method, Request, StatusCode, Uri};
use http_body_util::BodyExt as _;

use crate::api::{PROBLEM_HEADER, RUN_HEADER};
use crate::call::host;
use crate::client::Client;
use crate::gateway::Shared;
use crate::headers::strip_to_pass;
use crate::problem::{Refusal, kind};
use crate::tunnel::Wish;
use fields::Hop;

/// Which upstream a request is for.
pub(crate) struct Behind {
    pub app: AppName,
    /// The route's path as declared.
    pub route: Arc<str>,
    pub params: Vec<(String, String)>,
    pub upstream: Arc<Upstream>,
}

/// Sends the request on and gives back the answer. Dropping the future or the response's body ends it at the upstream too.
pub(crate) async fn answer(
    shared: &Shared,
    to: &Behind,
    request: Request<HttpBody>,
) -> Result<Response, Refusal> {
    let upstream = &to.upstream;
    let (mut parts, body) = request.into_parts();
    let asked_for = host(&parts.uri, &parts.headers).to_owned();
    if fields::has_passed(&parts.headers, &shared.pseudonym) {
        let detail =
            format!("route {} of app {} leads to {} and back here", to.route, to.app, upstream.shown());
        return Err(Refusal::new(kind::LOOP_DETECTED, detail));
    }
    let target = upstream.path_and_query(parts.uri.path(), parts.uri.query(), &to.params);
    let target = target.map_err(|climbs| Refusal::new(kind::PATH_REFUSED, climbs.to_string()))?;
    let uri: Uri = format!("{}{target}", upstream.origin)
        .parse()
        .map_err(|_| Refusal::new(kind::INVALID_REQUEST, "the path cannot stand in a URL"))?;

    let wish = Wish::of(shared, &mut parts)?;
    let hop = Hop {
        version: parts.version,
        client: parts.extensions.get::<Client>(),
        host: &asked_for,
        pseudonym: &shared.pseudonym,
    };
    let mut headers = std::mem::take(&mut parts.headers);
    let trailers = fields::takes_trailers(&headers);
    strip_to_pass(&mut headers);
    hop.sign(&mut headers, trailers);
    let host = match upstream.host {
        HostField::Client => Some(asked_for.as_str()),
        HostField::Upstream => uri.authority().map(|authority| authority.as_str()),
    };
    if let Some(host) = host.and_then(|host| HeaderValue::from_str(host).ok()) {
        headers.insert(HOST, host);
    }
    if let Some(wish) = &wish {
        wish.ask(&mut headers);
    }
    let body = body.map_err(Into::into).boxed_unsync();
    let mut request = Request::new(body);
    *request.method_mut() = parts.method.clone();
    *request.uri_mut() = uri;
    *request.headers_mut() = headers;
    if let Some(copied) = parts.extensions.get::<Copied>() {
        request.extensions_mut().insert(*copied);
    }

    let answered =
        (shared.forward)(upstream.clone(), request).await.map_err(|error| failed(shared, to, &error))?;
    if answered.status() == StatusCode::SWITCHING_PROTOCOLS {
        let odd = || broken(shared, to, "it switched to a protocol that nobody asked for");
        return wish.ok_or_else(odd)?.grant(shared, upstream.idle_timeout, answered).ok_or_else(odd);
    }
    Ok(pass_back(answered, &parts.method))
}

fn pass_back(answered: http::Response<Passing>, method: &Method) -> Response {
    let (mut parts, body) = answered.into_parts();
    strip_to_pass(&mut parts.headers);
    for name in [RUN_HEADER, PROBLEM_HEADER] {
        parts.headers.remove(name);
    }
    // Nothing of the other connection goes along, its end of an upgrade above all.
    let bodiless = method == Method::HEAD || parts.status == StatusCode::NOT_MODIFIED;
    let mut response = Response::new(if bodiless { HttpBody::empty() } else { HttpBody::new(body) });
    *response.status_mut() = parts.status;
    *response.headers_mut() = parts.headers;
    response
}

fn broken(shared: &Shared, to: &Behind, why: &str) -> Refusal {
    failed(shared, to, &UpstreamError::Broken(why.to_owned()))
}

/// The client learns which route and upstream it was; why, only where messages are told: it can name addresses inside.
fn failed(shared: &Shared, to: &Behind, error: &UpstreamError) -> Refusal {
    let Behind { app, route, upstream, .. } = to;
    let shown = upstream.shown();
    let (kind, told) = match error {
        UpstreamError::Busy { .. } => (kind::UPSTREAM_BUSY, true),
        UpstreamError::Unreachable(_) | UpstreamError::Broken(_) => {
            (kind::UPSTREAM_FAILED, shared.tell_failures)
        }
        UpstreamError::TimedOut { .. } => (kind::UPSTREAM_TIMED_OUT, true),
        UpstreamError::Stalled { .. } => (kind::REQUEST_TIMEOUT, true),
    };
    tracing::warn!(%app, %route, upstream = shown, %error, "a request to an upstream failed");
    let why = if told { error.to_string() } else { "the server's log says why".to_owned() };
    let refusal = Refusal::new(kind, format!("route {route} of app {app}: upstream {shown}: {why}"));
    match error {
        UpstreamError::Busy { limit } => {
            refusal.limit("concurrency", (*limit).into()).retry_after(std::time::Duration::from_secs(1))
        }
        UpstreamError::TimedOut { limit, .. } | UpstreamError::Stalled { limit } => refusal.after(*limit),
        _ => refusal,
    }
}
