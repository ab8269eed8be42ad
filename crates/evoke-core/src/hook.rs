//! Hooks: where this server sends events to, signed by Standard Webhooks
//! (<https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>).
//!
//! A hook is a target of subscriptions beside a function. What is here is pure: the request a delivery is
//! ([`message()`]), and what an answer means ([`judge`]).

mod answer;
mod message;
mod url;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::secret::SecretName;

pub use answer::{Judged, judge};
pub use message::{Message, MessageError, message};
pub use url::{HookUrl, HookUrlError};

/// Where deliveries go, and in which form.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hook {
    /// The endpoint.
    pub url: HookUrl,
    /// The secrets that sign, the newest first: one signature each, so that a receiver may know only one of them.
    pub secrets: Vec<SecretName>,
    /// Header fields that go with each request.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// Header fields whose values are secrets.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub secret_headers: BTreeMap<String, SecretName>,
    /// How an event travels.
    #[serde(default)]
    pub mode: ContentMode,
}

impl Hook {
    /// All secrets it needs, each once.
    pub fn all_secrets(&self) -> Vec<SecretName> {
        let mut names: Vec<SecretName> = self.secrets.clone();
        names.extend(self.secret_headers.values().cloned());
        names.sort();
        names.dedup();
        names
    }
}

/// How an event travels in a request. Batches always go in batched mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ContentMode {
    /// As one JSON object, which is signed as a whole.
    #[default]
    Structured,
    /// Its data as the body, which is what is signed; its attributes as `ce-` header fields.
    Binary,
}

/// Whether requests have a header field of this name (lower case) of their own, which a manifest cannot set.
pub fn is_own_header(name: &str) -> bool {
    const OWN: [&str; 13] = [
        "cdn-loop",
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "evoke-run",
        "expect",
        "host",
        "te",
        "traceparent",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ];
    OWN.contains(&name) || name.starts_with("webhook-") || name.starts_with("ce-")
}
