//! Who passes: names and passwords, tokens, keys. What was presented is not passed on.

use axum::body::Body as HttpBody;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use evoke_core::decorator::{Check, Credential};
use http::header::{AUTHORIZATION, HeaderValue, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderName, Request};

use crate::decorate::Line;
use crate::problem::{Refusal, kind};

/// Lets the request pass, without what it presented, or refuses it.
pub(super) fn admit(line: &Line, check: &Check, request: &mut Request<HttpBody>) -> Result<(), Refusal> {
    let (app, headers) = (&line.route.app, request.headers_mut());
    let admits = |known: &[Credential], presented: &str| line.shared.engine.admits(app, known, presented);
    let (field, is_known, challenge) = match check {
        Check::Basic(users) => {
            let presented = authorization(headers, "basic").and_then(|text| user_and_password(&text));
            let is_known = presented.is_some_and(|(user, password)| {
                // A user nobody knows takes as long as one with a wrong password.
                let known = users.get(&user).map(std::slice::from_ref);
                admits(known.unwrap_or(&[Credential::Sha256(String::new())]), &password) && known.is_some()
            });
            (AUTHORIZATION, is_known, format!("Basic realm=\"{app}\", charset=\"UTF-8\""))
        }
        Check::Bearer(tokens) => {
            let presented = authorization(headers, "bearer");
            let is_known = presented.is_some_and(|token| admits(tokens, &token));
            (AUTHORIZATION, is_known, format!("Bearer realm=\"{app}\""))
        }
        Check::ApiKey { header, keys } => {
            let presented = only(headers, header).map(str::to_owned);
            let is_known = presented.is_some_and(|key| admits(keys, &key));
            let challenge = format!("ApiKey realm=\"{app}\", header=\"{header}\"");
            let field = header.parse::<HeaderName>().unwrap_or(AUTHORIZATION);
            (field, is_known, challenge)
        }
    };
    if is_known {
        headers.remove(field);
        return Ok(());
    }
    let refusal =
        Refusal::new(kind::UNAUTHENTICATED, format!("{} in {field} is missing or not known", what(check)));
    Err(match HeaderValue::from_str(&challenge) {
        Ok(challenge) => refusal.header(WWW_AUTHENTICATE, challenge),
        Err(_) => refusal,
    })
}

fn what(check: &Check) -> &'static str {
    match check {
        Check::Basic(_) => "a user name with its password",
        Check::Bearer(_) => "a bearer token",
        Check::ApiKey { .. } => "a key",
    }
}

/// A field that is there once.
fn only<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

/// What follows the scheme in `Authorization` (RFC 9110, 11.4).
fn authorization(headers: &HeaderMap, scheme: &str) -> Option<String> {
    let (found, rest) = only(headers, AUTHORIZATION.as_str())?.split_once(' ')?;
    found.eq_ignore_ascii_case(scheme).then(|| rest.trim().to_owned())
}

/// RFC 7617: base64 of name, colon, password.
fn user_and_password(text: &str) -> Option<(String, String)> {
    let pair = String::from_utf8(STANDARD.decode(text).ok()?).ok()?;
    pair.split_once(':').map(|(user, password)| (user.to_owned(), password.to_owned()))
}
