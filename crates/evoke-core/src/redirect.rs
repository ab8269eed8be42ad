//! Routes that answer with another place.

use serde::{Deserialize, Serialize};

use crate::template::{Climbs, Template};

/// Where to, and with which status.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Redirect {
    /// An `http(s)://` URL, or a path of the same server. Parameters are in its path or behind, never in its host.
    pub to: Template,
    /// 301, 302, 303, 307 or 308.
    pub status: u16,
}

impl Redirect {
    /// [`Redirect::status`] where the manifest gives none: the method is kept, and nobody remembers it for ever.
    pub const STATUS_DEFAULT: u16 = 307;
    /// All there are.
    pub const STATUSES: [u16; 5] = [301, 302, 303, 307, 308];

    /// The value of `Location`. The request's query goes along unless `to` has one.
    pub fn location(&self, params: &[(String, String)], query: Option<&str>) -> Result<String, Climbs> {
        let mut location = self.to.fill(params)?;
        // An empty first segment would make a path the name of a host (RFC 3986, 4.2).
        if location.starts_with('/') {
            let path = location.trim_start_matches('/').len();
            location.replace_range(..location.len() - path, "/");
        }
        if let Some(query) = query.filter(|_| !location.contains('?')) {
            let fragment = location.find('#').unwrap_or(location.len());
            location.insert_str(fragment, &format!("?{query}"));
        }
        Ok(location)
    }
}
