//! What a request says of the way it came: `Via` (RFC 9110, 7.6.3), `Forwarded` (RFC 7239) with the `X-Forwarded-` fields that
//! many read instead, and `CDN-Loop` (RFC 8586).
//!
//! **What is believed:** nothing. What a client says of hops before this one is replaced by what is known here, so that an
//! upstream can trust it; `Via` and `CDN-Loop` are only added to, as their specifications want.

use std::net::IpAddr;

use http::Version;
use http::header::{EXPECT, FORWARDED, HeaderMap, HeaderName, HeaderValue, TE, VIA};

const CDN_LOOP: HeaderName = HeaderName::from_static("cdn-loop");

/// What only this server says to upstreams.
const REPLACED: [&str; 11] = [
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-prefix",
    "x-forwarded-proto",
    "x-forwarded-scheme",
    "x-forwarded-server",
    "x-forwarded-ssl",
    "x-real-ip",
    "true-client-ip",
];

/// The step of a request through this server.
pub(super) struct Hop<'r> {
    pub version: Version,
    pub client: Option<IpAddr>,
    /// The host the client asked for.
    pub host: &'r str,
    pub pseudonym: &'r str,
}

impl Hop<'_> {
    /// Writes it into the fields that go on.
    pub fn sign(&self, headers: &mut HeaderMap, trailers: bool) {
        for name in REPLACED {
            headers.remove(name);
        }
        // It is answered here, when the body is wanted.
        headers.remove(EXPECT);
        if trailers {
            headers.insert(TE, HeaderValue::from_static("trailers"));
        }
        let version = match self.version {
            Version::HTTP_10 => "1.0",
            Version::HTTP_2 => "2.0",
            _ => "1.1",
        };
        let mut forwarded = String::new();
        if let Some(client) = self.client.map(|client| client.to_canonical()) {
            set(headers, "x-forwarded-for", &client.to_string());
            forwarded = match client {
                IpAddr::V4(client) => format!("for={client};"),
                IpAddr::V6(client) => format!("for=\"[{client}]\";"),
            };
        }
        set(headers, "x-forwarded-host", self.host);
        set(headers, "x-forwarded-proto", "http");
        set(headers, FORWARDED.as_str(), &format!("{forwarded}host=\"{}\";proto=http", self.host));
        add(headers, VIA, &format!("{version} {}", self.pseudonym));
        add(headers, CDN_LOOP, self.pseudonym);
    }
}

/// Whether the request has passed through here before. That it comes from a function of this server, which is known by its
/// span, does not count: that is another thing, and has bounds of its own ([`evoke_core::chain`]).
pub(super) fn has_passed(headers: &HeaderMap, pseudonym: &str) -> bool {
    let values = headers.get_all(CDN_LOOP).iter().filter_map(|value| value.to_str().ok());
    let mut entries = values.flat_map(|value| value.split(','));
    entries.any(|entry| entry.trim().eq_ignore_ascii_case(pseudonym))
}

/// Whether the client wants to know what follows a body.
pub(super) fn takes_trailers(headers: &HeaderMap) -> bool {
    let values = headers.get_all(TE).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|coding| coding.trim().eq_ignore_ascii_case("trailers"))
}

fn set(headers: &mut HeaderMap, name: &str, text: &str) {
    if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), HeaderValue::from_str(text)) {
        headers.insert(name, value);
    }
}

fn add(headers: &mut HeaderMap, name: HeaderName, text: &str) {
    if let Ok(value) = HeaderValue::from_str(text) {
        headers.append(name, value);
    }
}
