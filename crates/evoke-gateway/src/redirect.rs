//! Routes that send the client elsewhere.

use axum::response::{IntoResponse, Response};
use evoke_core::redirect::Redirect;
use http::header::LOCATION;
use http::{HeaderValue, StatusCode};

use crate::problem::{Refusal, kind};

/// The answer: a status and a place, which the client's values cannot lead out of.
pub(crate) fn answer(
    redirect: &Redirect,
    params: &[(String, String)],
    query: Option<&str>,
) -> Result<Response, Refusal> {
    let refused = |reason: String| Refusal::new(kind::PATH_REFUSED, reason);
    let location = redirect.location(params, query).map_err(|climbs| refused(climbs.to_string()))?;
    let location = HeaderValue::from_str(&location)
        .map_err(|_| refused("the request's query cannot stand in a header field".to_owned()))?;
    let status = StatusCode::from_u16(redirect.status).unwrap_or(StatusCode::TEMPORARY_REDIRECT);
    let mut response = status.into_response();
    response.headers_mut().insert(LOCATION, location);
    Ok(response)
}
