//! Who is let in: the right host name, and the token.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{AUTHORIZATION, HOST, HeaderValue, WWW_AUTHENTICATE};

use crate::gateway::Shared;
use crate::problem::{Refusal, kind};

/// The host names a control listener answers to.
#[derive(Debug)]
pub(crate) struct Hosts {
    /// `None`: all.
    names: Option<Vec<String>>,
}

impl Hosts {
    /// For a listener bound to `address`. On a loopback address only loopback names and the `configured` ones are
    /// answered: a page of a web site whose name was made to point here (DNS rebinding) still sends that site's name.
    pub fn new(address: SocketAddr, configured: &[String]) -> Self {
        if !address.ip().is_loopback() && configured.is_empty() {
            return Self { names: None };
        }
        let mut names = vec![name_of(address.ip())];
        names.extend(["localhost", "127.0.0.1", "[::1]"].map(str::to_owned));
        names.extend(configured.iter().map(|name| name.to_ascii_lowercase()));
        Self { names: Some(names) }
    }

    fn admit(&self, host: Option<&str>) -> bool {
        let Some(names) = &self.names else { return true };
        let Some(host) = host.and_then(|host| host.parse::<http::uri::Authority>().ok()) else {
            return false;
        };
        names.iter().any(|name| name.eq_ignore_ascii_case(host.host()))
    }
}

fn name_of(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    }
}

/// Refuses requests for other hosts.
pub(crate) async fn check_host(State(hosts): State<Arc<Hosts>>, request: Request, next: Next) -> Response {
    let of_uri = request.uri().authority().map(|authority| authority.as_str());
    let host = of_uri.or_else(|| request.headers().get(HOST)?.to_str().ok());
    if hosts.admit(host) {
        return next.run(request).await;
    }
    let detail = format!("this listener does not answer for host {:?}", host.unwrap_or_default());
    Refusal::new(kind::HOST_REFUSED, detail).into_response()
}

/// What is served to anyone.
fn is_open(path: &str) -> bool {
    matches!(path, "/health" | "/ready" | "/openapi.json" | "/v1/openapi.json")
        || path.starts_with("/problems/")
}

/// Refuses requests without the token.
pub(crate) async fn check_token(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    if is_open(request.uri().path()) {
        return next.run(request).await;
    }
    let (detail, challenge) = match presented(&request) {
        Some(token) if shared.token.admits(token) => return next.run(request).await,
        Some(_) => (
            "the token is not this server's; it is in admin.token in its data directory",
            "Bearer realm=\"evoke\", error=\"invalid_token\"",
        ),
        None => (
            "the control API wants the header Authorization: Bearer with the token in admin.token in the server's data directory",
            "Bearer realm=\"evoke\"",
        ),
    };
    let refusal = Refusal::new(kind::UNAUTHORIZED, detail);
    refusal.header(WWW_AUTHENTICATE, HeaderValue::from_static(challenge)).into_response()
}

fn presented(request: &Request) -> Option<&str> {
    let (scheme, token) = request.headers().get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loopback_listener_answers_to_loopback_names_only() {
        let hosts = Hosts::new("127.0.0.1:7071".parse().unwrap(), &["Evoke.test".to_owned()]);
        for good in ["localhost", "LOCALHOST:7071", "127.0.0.1:1", "[::1]:7071", "evoke.test:80"] {
            assert!(hosts.admit(Some(good)), "{good}");
        }
        for bad in
            ["evil.example:7071", "localhost.evil.example", "127.0.0.2", "", "a b", "localhost@evil.example"]
        {
            assert!(!hosts.admit(Some(bad)), "{bad}");
        }
        assert!(!hosts.admit(None));
    }

    #[test]
    fn another_listener_answers_to_all_names_unless_some_are_configured() {
        let address = "192.0.2.7:7071".parse().unwrap();
        assert!(Hosts::new(address, &[]).admit(Some("evil.example")));
        let hosts = Hosts::new(address, &["evoke.test".to_owned()]);
        assert!(hosts.admit(Some("192.0.2.7:7071")));
        assert!(hosts.admit(Some("evoke.test")));
        assert!(!hosts.admit(Some("evil.example")));
    }
}
