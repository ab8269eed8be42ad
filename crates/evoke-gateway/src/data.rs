//! The data listener: requests that match a route of a deployed app.

use axum::body::Body as HttpBody;
use axum::response::{IntoResponse, Response};
use evoke_core::manifest::Route;
use evoke_engine::route::{Destination, NoRoute, RouteMatch};
use http::header::ALLOW;
use http::{HeaderValue, Method, Request, StatusCode};

use crate::call::{self, Callee};
use crate::gateway::Shared;
use crate::problem::{Failures, Refusal, draining, kind};
use crate::report::{self, Reported};

/// Answers one request.
pub(crate) async fn answer(shared: &Shared, request: Request<HttpBody>) -> Response {
    match find(shared, &request) {
        Ok(Found::Function(callee)) => {
            let tell = if shared.tell_failures { Failures::Told } else { Failures::Coded };
            call::answer(shared, callee, request, tell).await.unwrap_or_else(Refusal::into_response)
        }
        Ok(Found::Report(to)) => {
            report::answer(shared, &to, request).await.unwrap_or_else(Refusal::into_response)
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
    /// A webhook or a beacon: a report, or OPTIONS to ask whether one may be sent.
    Report(Reported),
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
    let allowed = match shared.engine.route(method.as_str(), path) {
        Ok(RouteMatch { app, to: Destination::Webhook(at), .. }) => {
            return Ok(Found::Report(Reported::Webhook { app, at }));
        }
        Ok(RouteMatch { app, to: Destination::Beacon(at), .. }) => {
            return Ok(Found::Report(Reported::Beacon { app, at }));
        }
        Ok(matched @ RouteMatch { to: Destination::Function(_), .. }) => {
            let method = if answers_for_get(shared, method, &matched) { Method::GET } else { method.clone() };
            let RouteMatch { app, to: Destination::Function(function), params, .. } = matched else {
                unreachable!("the pattern above is of a function")
            };
            let path_and_query = request.uri().path_and_query().map_or("/", |path| path.as_str()).to_owned();
            return Ok(Found::Function(Callee { app, function, params, method, path_and_query }));
        }
        Err(NoRoute::NotFound) => {
            return Err(Refusal::new(kind::NO_ROUTE, format!("no route has the path {path}")));
        }
        Err(NoRoute::MethodNotAllowed(allowed)) => allowed,
    };
    let allowed = with_options(allowed);
    if method == Method::OPTIONS {
        match shared.engine.route("POST", path) {
            Ok(RouteMatch { app, to: Destination::Webhook(at), .. }) => {
                return Ok(Found::Report(Reported::Webhook { app, at }));
            }
            Ok(RouteMatch { app, to: Destination::Beacon(at), .. }) => {
                return Ok(Found::Report(Reported::Beacon { app, at }));
            }
            _ => {}
        }
        return Ok(Found::Methods(allowed));
    }
    let detail = format!("the route {path} takes {}, not {method}", allowed.join(", "));
    Err(Refusal::new(kind::METHOD_NOT_ALLOWED, detail).allow(&allowed))
}

/// Whether HEAD came to a route that only names GET: its function may rely on that, and sees GET.
fn answers_for_get(shared: &Shared, method: &Method, matched: &RouteMatch) -> bool {
    let names_head = |route: &Route| {
        route.path == matched.pattern
            && (route.methods.is_empty() || route.methods.iter().any(|name| name == "HEAD"))
    };
    let deployment = || shared.engine.app(&matched.app);
    method == Method::HEAD && deployment().is_some_and(|app| !app.manifest.routes.iter().any(names_head))
}

/// With the method that is answered without being declared.
fn with_options(mut allowed: Vec<String>) -> Vec<String> {
    if !allowed.iter().any(|method| method == "OPTIONS") {
        allowed.push("OPTIONS".to_owned());
        allowed.sort_unstable();
    }
    allowed
}
