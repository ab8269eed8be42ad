//! Which pages of other origins may read what a route answers (<https://fetch.spec.whatwg.org/#http-cors-protocol>).

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::manifest::units;

/// The rules of a route. There is at least one origin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cors {
    /// Origins whose pages may; `*` is everybody.
    pub origins: Vec<String>,
    /// Methods; empty means those of the route.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub methods: Vec<String>,
    /// Header fields that pages may send beside those that are always allowed; `*` is any.
    pub headers: Vec<String>,
    /// Header fields of the answer that pages may read beside those that always are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub expose: Vec<String>,
    /// Whether cookies and `Authorization` go along. Never with an origin of `*`.
    pub credentials: bool,
    /// How long a browser may remember the answer to a preflight.
    #[serde(with = "units::duration_text")]
    pub max_age: Duration,
}

impl Cors {
    /// Whether everybody may.
    pub fn is_for_all(&self) -> bool {
        self.origins.iter().any(|origin| origin == "*")
    }

    /// Whether pages of this origin may.
    pub fn allows(&self, origin: &str) -> bool {
        allows(&self.origins, origin)
    }

    /// Whether pages may use the method; `of_route` has the route's, empty for all.
    pub fn allows_method(&self, method: &str, of_route: &[String]) -> bool {
        let named = if self.methods.is_empty() { of_route } else { &self.methods };
        named.is_empty() || named.iter().any(|name| name == method)
    }
}

/// Whether a list of origins has this one; `*` is everybody.
pub(crate) fn allows(origins: &[String], origin: &str) -> bool {
    origins.iter().any(|allowed| allowed == "*" || allowed.eq_ignore_ascii_case(origin))
}
