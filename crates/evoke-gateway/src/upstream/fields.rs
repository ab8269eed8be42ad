//! What a request says of the way it came: `Via` (RFC 9110, 7.6.3), `Forwarded` (RFC 7239) with the `X-Forwarded-` fields that
//! many read instead, and `CDN-Loop` (RFC 8586).
//!
//! **What is believed:** nothing but what trusted proxies say ([`crate::client`]). What a client says of hops before is
//! replaced by what is known here, so that an upstream can trust it; `Via` and `CDN-Loop` are only added to, as their specifications want.

use std::net::IpAddr;

use http::Version;
use http::header::{EXPECT, FORWARDED, HeaderMap, HeaderName, HeaderValue, TE, VIA};

use crate::client::Client;

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
    pub client: Option<&'r Client>,
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
        let client = self.client;
        let hops: Vec<IpAddr> = client
            .iter()
            .flat_map(|client| [client.address].into_iter().chain(client.through.clone()))
            .collect();
        let shown: Vec<String> = hops.iter().map(IpAddr::to_string).collect();
        if !shown.is_empty() {
            set(headers, "x-forwarded-for", &shown.join(", "));
        }
        let host = client.and_then(|client| client.host.as_deref()).unwrap_or(self.host);
        let scheme = client.map_or("http", Client::scheme);
        set(headers, "x-forwarded-host", host);
        set(headers, "x-forwarded-proto", scheme);
        // What the client said is said of the first hop.
        let mut elements = hops.iter().map(named);
        let first = elements.next().map(|named| format!("{named};")).unwrap_or_default();
        let rest: String = elements.map(|named| format!(", {named}")).collect();
        set(headers, FORWARDED.as_str(), &format!("{first}host=\"{host}\";proto={scheme}{rest}"));
        add(headers, VIA, &format!("{version} {}", self.pseudonym));
        add(headers, CDN_LOOP, self.pseudonym);
    }
}

/// A hop as RFC 7239 writes it.
fn named(hop: &IpAddr) -> String {
    match hop {
        IpAddr::V4(address) => format!("for={address}"),
        IpAddr::V6(address) => format!("for=\"[{address}]\""),
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
