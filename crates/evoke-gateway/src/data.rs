//! The data listener: requests that match a route of a deployed app.

use axum::body::Body as HttpBody;
use axum::response::{IntoResponse, Response};
use evoke_engine::route::{NoRoute, RouteMatch};
use http::header::ALLOW;
use http::{HeaderValue, Method, Request, StatusCode};

use crate::call::{self, Callee};
use crate::gateway::Shared;
use crate::problem::{Failures, Refusal, draining, kind};

/// Answers one request.
pub(crate) async fn answer(shared: &Shared, request: Request<HttpBody>) -> Response {
    match find(shared, &request) {
        Ok(Found::Function(callee)) => {
            let tell = if shared.tell_failures { Failures::Told } else { Failures::Coded };
            call::answer(shared, callee, request, tell).await.unwrap_or_else(Refusal::into_response)
        }
        Ok(Found::Methods(methods)) => {
            let mut response = StatusCode::NO_CONTENT.into_response();
            if let Ok(methods) = HeaderValue::from_str(&methods.join(", ")) {
                response.headers_mut().insert(ALLOW, methods);
            }
            response
        }
        Err(refusal) => refusal.into_response(),
    }
}

enum Found {
    Function(Callee),
    /// The answer to OPTIONS where no function wants to give it.
    Methods(Vec<String>),
}

fn find(shared: &Shared, request: &Request<HttpBody>) -> Result<Found, Refusal> {
    let (method, path) = (request.method(), request.uri().path());
    if !shared.engine.is_ready() {
        return Err(draining());
    }
    if method == Method::CONNECT || method == Method::TRACE {
        let detail = format!("{method} is for proxies, and no route can take it");
        return Err(Refusal::new(kind::METHOD_NOT_ALLOWED, detail));
    }
    let found = |matched: RouteMatch, method: &Method| {
        let RouteMatch { app, function, params, .. } = matched;
        let path_and_query = request.uri().path_and_query().map_or("/", |path| path.as_str()).to_owned();
        Found::Function(Callee { app, function, params, method: method.clone(), path_and_query })
    };
    let allowed = match shared.engine.route(method.as_str(), path) {
        Ok(matched) => return Ok(found(matched, method)),
        Err(NoRoute::NotFound) => {
            return Err(Refusal::new(kind::NO_ROUTE, format!("no route has the path {path}")));
        }
        Err(NoRoute::MethodNotAllowed(allowed)) => allowed,
    };
    if method == Method::HEAD
        && let Ok(matched) = shared.engine.route("GET", path)
    {
        return Ok(found(matched, &Method::GET));
    }
    let allowed = with_implied(allowed);
    if method == Method::OPTIONS {
        return Ok(Found::Methods(allowed));
    }
    let detail = format!("the route {path} takes {}, not {method}", allowed.join(", "));
    Err(Refusal::new(kind::METHOD_NOT_ALLOWED, detail).allow(&allowed))
}

/// Adds the methods that are answered without being declared.
fn with_implied(mut allowed: Vec<String>) -> Vec<String> {
    let mut add = |method: &str| {
        if !allowed.iter().any(|known| known == method) {
            allowed.push(method.to_owned());
        }
    };
    add("OPTIONS");
    let gets = allowed.iter().any(|method| method == "GET");
    if gets && !allowed.iter().any(|method| method == "HEAD") {
        allowed.push("HEAD".to_owned());
    }
    allowed.sort_unstable();
    allowed
}
