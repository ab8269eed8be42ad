//! Routes to servers that are no functions: where a request goes, how long that may take, and the seam behind which it is
//! sent ([`Forward`]).

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use serde::{Deserialize, Serialize};

use crate::manifest::units;
use crate::template::{Climbs, Template, climbs};

/// A server behind a route.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upstream {
    /// Scheme, host and port: `https://legacy.example.com:8443`, without a slash at its end.
    pub origin: String,
    /// The path there, without a slash at its end: the base that the request's path is put behind or, when it has parameters,
    /// the whole path.
    pub path: Template,
    /// What is taken off the request's path before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strip_prefix: Option<String>,
    /// Which `Host` it is sent.
    pub host: HostField,
    /// How long connecting may take, TLS included.
    #[serde(with = "units::duration_text")]
    pub connect_timeout: Duration,
    /// How long it may take until the head of the answer is there, counted from the last of the request's body.
    #[serde(with = "units::duration_text")]
    pub timeout: Duration,
    /// How long the answer may pause once it has begun, and a connection that was upgraded.
    #[serde(with = "units::duration_text")]
    pub idle_timeout: Duration,
    /// How long all of it may take.
    #[serde(default, with = "units::optional_duration_text", skip_serializing_if = "Option::is_none")]
    pub total_timeout: Option<Duration>,
    /// How often it is tried again when that is safe.
    pub retries: u32,
    /// Requests at once, and so connections.
    pub concurrency: u32,
}

/// Which `Host` an upstream is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HostField {
    /// Its own.
    #[default]
    Upstream,
    /// What the client asked for.
    Client,
}

impl Upstream {
    /// Path and query of the request to it. `path` and `query` are as they came, `params` decoded.
    pub fn path_and_query(
        &self,
        path: &str,
        query: Option<&str>,
        params: &[(String, String)],
    ) -> Result<String, Climbs> {
        if climbs(path) {
            return Err(Climbs);
        }
        let mut target = self.path.fill(params)?;
        if self.path.parameters().next().is_none() {
            let prefix = self.strip_prefix.as_deref().unwrap_or_default();
            let rest = path.strip_prefix(prefix).unwrap_or(path);
            if !rest.is_empty() && !rest.starts_with('/') {
                target.push('/');
            }
            target.push_str(rest);
        }
        if target.is_empty() {
            target.push('/');
        }
        if let Some(query) = query {
            target.push('?');
            target.push_str(query);
        }
        Ok(target)
    }

    /// How people call it: origin and path.
    pub fn shown(&self) -> String {
        format!("{}{}", self.origin, self.path)
    }
}

/// Why there is no answer of an upstream.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UpstreamError {
    /// As many requests as it may have are under way.
    #[error("{limit} requests to it are under way, as many as there may be")]
    Busy {
        /// [`Upstream::concurrency`].
        limit: u32,
    },
    /// No connection, for this reason.
    #[error("{0}")]
    Unreachable(String),
    /// A connection, but no answer that can be used.
    #[error("{0}")]
    Broken(String),
    /// It took too long.
    #[error("{what} within {} ms", limit.as_millis())]
    TimedOut {
        /// What did not happen: `no answer began`.
        what: &'static str,
        /// How long it might have taken.
        limit: Duration,
    },
    /// The client stopped sending its body.
    #[error("the client sent nothing of its body for {} ms", limit.as_millis())]
    Stalled {
        /// How long it might have taken.
        limit: Duration,
    },
}

/// A body on its way through.
pub type Passing = UnsyncBoxBody<Bytes, Box<dyn std::error::Error + Send + Sync>>;

/// What is waited for after a request was handed over.
pub type Forwarded =
    Pin<Box<dyn Future<Output = Result<http::Response<Passing>, UpstreamError>> + Send + 'static>>;

/// Sends a request to an upstream, and gives the head of the answer as soon as it is there. The request's URI is absolute
/// and its header fields are those that are sent; a copy is marked in its extensions
/// ([`crate::experiment::Copied`]). What a connection needs as long as it is upgraded is in the extensions
/// of the answer.
pub type Forward = Arc<dyn Fn(Arc<Upstream>, http::Request<Passing>) -> Forwarded + Send + Sync>;
