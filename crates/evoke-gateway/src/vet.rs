//! What a request must be before anything acts on it, whatever brought it: one host, a target that is a path, no field that
//! another server would take for another. What the bytes of HTTP/1 must be is in [`crate::wire`]; that of HTTP/2 is h2's part.

use http::header::{CONNECTION, COOKIE, EXPECT, HOST, HeaderMap, HeaderValue};
use http::uri::Authority;
use http::{Method, Request, Uri, Version};

use crate::problem::{Refusal, kind};

/// Fields for everybody a request passes, which `Connection` may not take away (RFC 9110, 7.6.1): what is behind would miss
/// who sent it, where to, or where it ends.
const END_TO_END: [&str; 24] = [
    "authorization",
    "cache-control",
    "cdn-loop",
    "content-encoding",
    "content-length",
    "content-range",
    "content-type",
    "cookie",
    "expect",
    "forwarded",
    "host",
    "idempotency-key",
    "max-forwards",
    "origin",
    "prefer",
    "range",
    "traceparent",
    "tracestate",
    "true-client-ip",
    "via",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-real-ip",
];

/// Fields that a name with underscores may not stand for: CGI, WSGI and much else cannot tell `_` from `-`.
const NOT_TO_BE_ALIKE: [&str; 5] = ["connection", "keep-alive", "te", "transfer-encoding", "upgrade"];
const FORWARDED: &str = "x-forwarded-";

/// Refuses what is ambiguous, and makes the same request of what says the same in different words: the host is in `Host`, and
/// cookies are in one field (RFC 9113, 8.2.3).
pub(crate) fn vet<B>(request: &mut Request<B>) -> Result<(), Refusal> {
    if request.method() == Method::CONNECT {
        return Ok(());
    }
    target(request)?;
    host(request)?;
    let headers = request.headers();
    connection(headers)?;
    lookalikes(headers)?;
    expectation(headers)?;
    if request.version() == Version::HTTP_2 {
        join_cookies(request.headers_mut());
    }
    Ok(())
}

fn invalid(detail: impl Into<String>) -> Refusal {
    Refusal::new(kind::INVALID_REQUEST, detail)
}

fn target<B>(request: &Request<B>) -> Result<(), Refusal> {
    let uri = request.uri();
    let path = uri.path();
    let is_all = path == "*" && request.method() == Method::OPTIONS;
    if !is_all && !path.starts_with('/') {
        return Err(invalid("the request's target is neither a path nor a URL with one"));
    }
    match uri.scheme_str() {
        None | Some("http" | "https") => Ok(()),
        Some(scheme) => Err(invalid(format!("the request's target is of the scheme {scheme}, not of http"))),
    }
}

/// RFC 9112, 3.2 and 3.2.2; RFC 9113, 8.3.1.
fn host<B>(request: &mut Request<B>) -> Result<(), Refusal> {
    if request.uri().authority().is_none() && has_plain_host(request.headers()) {
        return Ok(());
    }
    let asked_for = authority(request.version(), request.uri(), request.headers())?;
    let asked_for = asked_for.as_str();
    let said = request.headers().get(HOST);
    // HTTP/1 has the target win, HTTP/2 wants them to be the same.
    if request.version() == Version::HTTP_2
        && said.is_some_and(|said| !said.as_bytes().eq_ignore_ascii_case(asked_for.as_bytes()))
    {
        return Err(invalid("header Host is not what :authority says"));
    }
    let is_said = said.is_some_and(|said| said.as_bytes() == asked_for.as_bytes());
    let is_due = said.is_some() || request.version() == Version::HTTP_2;
    if is_due
        && !is_said
        && let Ok(one) = HeaderValue::from_str(asked_for)
    {
        request.headers_mut().insert(HOST, one);
    }
    Ok(())
}

/// Whether there is one host, of letters, digits, `-` and `.` without a port or with one: mostly, and then nothing else can be in it.
fn has_plain_host(headers: &HeaderMap) -> bool {
    let mut hosts = headers.get_all(HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else { return false };
    let mut parts = host.as_bytes().splitn(2, |byte| *byte == b':');
    let is_name = |name: &[u8]| {
        !name.is_empty() && name.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(byte))
    };
    let is_port = |port: &[u8]| std::str::from_utf8(port).is_ok_and(|port| port.parse::<u16>().is_ok());
    parts.next().is_some_and(is_name) && parts.next().is_none_or(is_port)
}

/// What a request is addressed to, where that is said in one way and well.
pub(crate) fn authority(version: Version, uri: &Uri, headers: &HeaderMap) -> Result<Authority, Refusal> {
    let refused = |what: &str| invalid(format!("header Host {what}"));
    let mut hosts = headers.get_all(HOST).iter();
    let host = hosts.next();
    // More than one is refused also where the target names the host (RFC 9112, 3.2).
    if hosts.next().is_some() {
        return Err(refused("is given more than once"));
    }
    let of_field = |host: &HeaderValue| Authority::try_from(host.as_bytes()).ok();
    let named = match (uri.authority(), host) {
        (Some(authority), _) => Some(authority.clone()),
        (None, Some(host)) => of_field(host),
        (None, None) if version < Version::HTTP_11 => return Ok(Authority::from_static("localhost")),
        (None, None) => return Err(refused("is missing")),
    };
    named.filter(is_host).ok_or_else(|| refused("is not a host name with an optional port"))
}

/// Whether it is nothing but a host and a port: a user's name there is a way to look like another host (RFC 9110, 4.2.4).
fn is_host(authority: &Authority) -> bool {
    let text = authority.as_str();
    let port = text.strip_prefix(authority.host()).map(|port| port.strip_prefix(':').unwrap_or(port));
    let is_port = |port: &str| port.is_empty() || port.parse::<u16>().is_ok();
    !authority.host().is_empty() && !text.contains('@') && port.is_some_and(is_port)
}

fn connection(headers: &HeaderMap) -> Result<(), Refusal> {
    let options = headers.get_all(CONNECTION).iter().flat_map(|value| value.as_bytes().split(|b| *b == b','));
    for option in options.map(<[u8]>::trim_ascii) {
        let taken = END_TO_END.iter().find(|name| option.eq_ignore_ascii_case(name.as_bytes()));
        if let Some(name) = taken {
            let detail = format!("header Connection names {name}, which is for everybody the request passes");
            return Err(invalid(detail));
        }
    }
    Ok(())
}

fn lookalikes(headers: &HeaderMap) -> Result<(), Refusal> {
    for name in headers.keys().map(http::HeaderName::as_str).filter(|name| name.contains('_')) {
        let alike = name.replace('_', "-");
        let known = END_TO_END.iter().chain(&NOT_TO_BE_ALIKE).any(|known| *known == alike);
        if known || alike.starts_with(FORWARDED) {
            let detail = format!("header {name} could be taken for {alike}, which it is not");
            return Err(invalid(detail));
        }
    }
    Ok(())
}

/// RFC 9110, 10.1.1.
fn expectation(headers: &HeaderMap) -> Result<(), Refusal> {
    let mut expected = headers.get_all(EXPECT).iter();
    let (Some(first), more) = (expected.next(), expected.next()) else { return Ok(()) };
    if more.is_none() && first.as_bytes().eq_ignore_ascii_case(b"100-continue") {
        return Ok(());
    }
    let detail = "header Expect is not 100-continue, the only expectation there is";
    Err(Refusal::new(kind::EXPECTATION_REFUSED, detail))
}

fn join_cookies(headers: &mut HeaderMap) {
    let cookies: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if cookies.len() < 2 {
        return;
    }
    if let Ok(one) = HeaderValue::from_bytes(&cookies.join(b"; ".as_slice())) {
        headers.insert(COOKIE, one);
    }
}
