//! The address of an endpoint.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use url::{Host as UrlHost, Url};

use crate::egress::{Destination, Host};

/// Bytes of an address.
const BYTES_MAX: usize = 2_048;

/// An `https` or `http` URL with a host, and without user name, password and fragment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HookUrl(Url);

/// Why a text is no address of an endpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct HookUrlError {
    /// What is wrong: `has no host`.
    pub reason: String,
    /// What would be right.
    pub help: &'static str,
}

impl HookUrl {
    /// Checks the rules above.
    pub fn parse(text: &str) -> Result<Self, HookUrlError> {
        let wrong = |reason: &str, help| Err(HookUrlError { reason: reason.to_owned(), help });
        const EXAMPLE: &str = "write \"https://partner.example.com/hooks/evoke\"";
        if text.len() > BYTES_MAX {
            return wrong("is longer than 2048 bytes", "a token belongs into a header field: secret_headers");
        }
        let url = match Url::parse(text) {
            Ok(url) => url,
            Err(cause) => return wrong(&format!("is no URL: {cause}"), EXAMPLE),
        };
        if !matches!(url.scheme(), "https" | "http") {
            return wrong("is neither https nor http", EXAMPLE);
        }
        if url.host().is_none() {
            return wrong("has no host", EXAMPLE);
        }
        if !url.username().is_empty() || url.password().is_some() {
            let help = "write secret_headers = { Authorization = \"NAME\" }, with the name of a secret";
            return wrong("has a user name or a password, which would be no secret here", help);
        }
        if url.fragment().is_some() {
            return wrong("has a fragment, which is never sent", "leave out # and what follows it");
        }
        Ok(Self(url))
    }

    /// The whole URL.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// Without the query, in which people put tokens: for logs.
    pub fn shown(&self) -> String {
        let mut url = self.0.clone();
        url.set_query(None);
        url.into()
    }

    /// Whether requests are encrypted.
    pub fn is_https(&self) -> bool {
        self.0.scheme() == "https"
    }

    /// The machine and port to connect to.
    pub fn destination(&self) -> Destination {
        let host = match self.0.host() {
            Some(UrlHost::Ipv4(address)) => Host::Address(IpAddr::V4(address)),
            Some(UrlHost::Ipv6(address)) => Host::Address(IpAddr::V6(address)),
            Some(UrlHost::Domain(name)) => Host::Name(name.trim_end_matches('.').to_ascii_lowercase()),
            None => Host::Name(String::new()),
        };
        Destination { host, port: self.0.port_or_known_default().unwrap_or(443) }
    }
}

impl fmt::Display for HookUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl TryFrom<String> for HookUrl {
    type Error = HookUrlError;

    fn try_from(text: String) -> Result<Self, HookUrlError> {
        Self::parse(&text)
    }
}

impl From<HookUrl> for String {
    fn from(url: HookUrl) -> Self {
        url.0.into()
    }
}
