//! Text with the parameters of a route's path in it: `/v2/people/{id}`, `https://www.example.com/{*rest}`.
//!
//! A value is always percent-encoded, so that it stays inside the segment it is put in: it cannot begin a query, another
//! host or another header field, and `.` and `..` are refused, because what reads the result would climb by them.

use std::fmt;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde::{Deserialize, Serialize};

/// What stays as it is: the unreserved characters of RFC 3986, 2.3.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
const RESERVED_IN_REST: &AsciiSet = &RESERVED.remove(b'/');

/// Literal text and parameters. As JSON, the text it was written as.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Template {
    text: String,
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Literal(String),
    /// The name; `rest` keeps the slashes of its value.
    Parameter {
        name: String,
        rest: bool,
    },
}

/// Why a text is no template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TemplateError(&'static str);

/// A segment of a path is `.` or `..`, also written as `%2e`, or between encoded slashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a segment of the path is . or .., which whoever gets it may take as a way up")]
pub struct Climbs;

impl Template {
    /// Reads `{name}` and `{*name}`; everything else is literal, and printable ASCII that stands in URLs.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let (literal, after) = rest.split_at(rest.find(['{', '}']).unwrap_or(rest.len()));
            if literal.bytes().any(|b| !b.is_ascii_graphic() || b"\"<>\\^`|".contains(&b)) {
                return Err(TemplateError("has characters that do not stand in a URL"));
            }
            if !literal.is_empty() {
                pieces.push(Piece::Literal(literal.to_owned()));
            }
            let Some(inner) = after.strip_prefix('{') else {
                if after.is_empty() {
                    break;
                }
                return Err(TemplateError("has a } without a {"));
            };
            let Some((name, after)) = inner.split_once('}') else {
                return Err(TemplateError("has a { without a }"));
            };
            let (name, whole) = name.strip_prefix('*').map_or((name, false), |name| (name, true));
            if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
                return Err(TemplateError("has a parameter without a proper name"));
            }
            pieces.push(Piece::Parameter { name: name.to_owned(), rest: whole });
            rest = after;
        }
        Ok(Self { text: text.to_owned(), pieces })
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The parameters as they are written in a route's path: `id`, `*rest`.
    pub fn parameters(&self) -> impl Iterator<Item = String> + use<'_> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Literal(_) => None,
            Piece::Parameter { name, rest } => Some(format!("{}{name}", if *rest { "*" } else { "" })),
        })
    }

    /// Puts in the decoded values of a path's parameters. One that is not there is empty.
    pub fn fill(&self, values: &[(String, String)]) -> Result<String, Climbs> {
        let mut filled = String::with_capacity(self.text.len());
        for piece in &self.pieces {
            match piece {
                Piece::Literal(text) => filled.push_str(text),
                Piece::Parameter { name, rest } => {
                    let value = values.iter().find(|(known, _)| known == name);
                    let value = value.map_or("", |(_, value)| value.as_str());
                    if climbs(value) {
                        return Err(Climbs);
                    }
                    let set = if *rest { RESERVED_IN_REST } else { RESERVED };
                    filled.extend(utf8_percent_encode(value, set));
                }
            }
        }
        // What was harmless by itself may complete a literal: `/.{name}`.
        let path = filled.split(['?', '#']).next().unwrap_or_default();
        if climbs(path) { Err(Climbs) } else { Ok(filled) }
    }
}

/// Whether a path, encoded or not, has a segment by which a careless reader goes up.
pub fn climbs(path: &str) -> bool {
    let decoded = percent_decode_str(path).decode_utf8_lossy();
    // Parameters of segments (RFC 3986, 3.3) are cut off by some before they look: `..;x`.
    let name = |segment: &str| segment.split(';').next().unwrap_or_default().to_owned();
    decoded.split(['/', '\\']).any(|segment| matches!(name(segment).as_str(), "." | ".."))
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

impl TryFrom<String> for Template {
    type Error = TemplateError;

    fn try_from(text: String) -> Result<Self, TemplateError> {
        Self::parse(&text)
    }
}

impl From<Template> for String {
    fn from(template: Template) -> Self {
        template.text
    }
}
