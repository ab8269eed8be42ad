//! The data listener: requests that match a route of a deployed app.

use std::sync::Arc;

use axum::body::Body as HttpBody;
use axum::response::{IntoResponse, Response};
use evoke_core::cors::Cors;
use evoke_core::manifest::Route;
use evoke_engine::next::Onward;
use evoke_engine::route::{Destination, NoRoute, RouteMatch};
use http::header::{ALLOW, ORIGIN};
use http::{HeaderValue, Method, Request, StatusCode};

use crate::call::{self, Callee};
use crate::decorate::Line;
use crate::figures::{Key, Series, Timing};
use crate::gateway::Shared;
use crate::problem::{Failures, Refusal, draining, kind};
use crate::report::{self, Reported};
use crate::upstream::{self, Behind};
use crate::{cors, experiment, redirect};

/// Answers one request.
pub(crate) async fn answer(shared: &Arc<Shared>, mut request: Request<HttpBody>) -> Response {
    // Only this server says these.
    for name in [experiment::VARIANT, experiment::SHADOW] {
        request.headers_mut().remove(name);
    }
    let (found, cors) = match find(shared, &request) {
        Ok(found) => found,
        Err(refusal) => return refusal.into_response(),
    };
    let origin = request.headers().get(ORIGIN).cloned();
    let mut response = match found {
        Found::Answer(response) => response,
        Found::Route(route) => {
            let timing = Timing::begin(series(shared, &route));
            let answer = match route.decorators.is_empty() {
                true => reach(shared, route, request, None).await,
                false => Arc::new(Line::new(shared.clone(), route)).go(0, request, None).await,
            };
            let response = answer.unwrap_or_else(Refusal::into_response);
            timing.end(response.status());
            response
        }
    };
    if let Some(cors) = cors {
        cors::apply(&cors, origin.as_ref(), response.headers_mut());
    }
    response
}

/// Answers a request with what is at the end of its route. `from`: the decorator before.
pub(crate) async fn reach(
    shared: &Arc<Shared>,
    route: RouteMatch,
    request: Request<HttpBody>,
    from: Option<Onward>,
) -> Result<Response, Refusal> {
    let for_get = answers_for_get(shared, request.method(), &route);
    if let Destination::Experiment(split) = &route.to {
        let split = split.clone();
        return experiment::reach(shared, route, split, request, from).await;
    }
    let RouteMatch { app, to, params, pattern, .. } = route;
    match to {
        Destination::Function(function) => {
            let method = if for_get { Method::GET } else { request.method().clone() };
            let callee = Callee { app, function, version: None, params, method, path_and_query: None };
            let tell = if shared.tell_failures { Failures::Told } else { Failures::Coded };
            // What is awaited is moved from future to future, so what is large is on the heap.
            Box::pin(call::answer(shared, callee, request, tell, from)).await
        }
        Destination::Upstream(upstream) => {
            let behind = Behind { app, route: pattern, params, upstream };
            Box::pin(upstream::answer(shared, &behind, request)).await
        }
        Destination::Redirect(redirect) => redirect::answer(&redirect, &params, request.uri().query()),
        Destination::Experiment(_) => {
            Err(Refusal::new(kind::INTERNAL, "an experiment leads to an experiment"))
        }
        Destination::Webhook(at) => {
            Box::pin(report::answer(shared, &Reported::Webhook { app, at }, request)).await
        }
        Destination::Beacon(at) => {
            Box::pin(report::answer(shared, &Reported::Beacon { app, at }, request)).await
        }
    }
}

/// Where the answers of a route are counted. Reports have limits of their own, and are none.
fn series(shared: &Shared, route: &RouteMatch) -> Option<Arc<Series>> {
    match route.to {
        Destination::Webhook(_) | Destination::Beacon(_) => None,
        _ => shared.series(&Key { app: route.app.clone(), route: route.id.clone(), variant: None }),
    }
}

enum Found {
    /// Something is behind a route.
    Route(RouteMatch),
    /// The answer to OPTIONS where nothing behind a route has to give it.
    Answer(Response),
}

/// Who answers, and which pages of other origins may read it.
type Rules = Option<Arc<Cors>>;

fn find(shared: &Shared, request: &Request<HttpBody>) -> Result<(Found, Rules), Refusal> {
    let (method, path) = (request.method(), request.uri().path());
    if !shared.engine.is_ready() {
        return Err(draining());
    }
    if method == Method::CONNECT || method == Method::TRACE {
        let detail = format!("{method} is for proxies, and no route can take it");
        return Err(Refusal::new(kind::METHOD_NOT_ALLOWED, detail));
    }
    if let Some(response) = cors::preflight(&shared.engine, request) {
        return Ok((Found::Answer(response), None));
    }
    let allowed = match shared.engine.route(method.as_str(), path) {
        Ok(matched) => return Ok(found(matched)),
        Err(NoRoute::NotFound) => {
            return Err(Refusal::new(kind::NO_ROUTE, format!("no route has the path {path}")));
        }
        Err(NoRoute::MethodNotAllowed(allowed)) => allowed,
    };
    let allowed = with_options(allowed);
    if method == Method::OPTIONS {
        match shared.engine.route("POST", path) {
            Ok(matched @ RouteMatch { to: Destination::Webhook(_) | Destination::Beacon(_), .. }) => {
                return Ok(found(matched));
            }
            _ => return Ok((Found::Answer(methods(&allowed)), None)),
        }
    }
    let detail = format!("the route {path} takes {}, not {method}", allowed.join(", "));
    Err(Refusal::new(kind::METHOD_NOT_ALLOWED, detail).allow(&allowed))
}

fn found(matched: RouteMatch) -> (Found, Rules) {
    let cors = matched.cors.clone();
    (Found::Route(matched), cors)
}

/// What may be asked for.
fn methods(allowed: &[String]) -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    if let Ok(methods) = HeaderValue::from_str(&allowed.join(", ")) {
        response.headers_mut().insert(ALLOW, methods);
    }
    response
}

/// Whether HEAD came to a route that only names GET: its function may rely on that, and sees GET.
fn answers_for_get(shared: &Shared, method: &Method, matched: &RouteMatch) -> bool {
    let names_head = |route: &Route| {
        *route.path == *matched.pattern
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
