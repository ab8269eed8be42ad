//! CloudEvents 1.0 (<https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md>): the event type itself.
//!
//! [`json`] reads and writes the JSON format, [`http`] the three modes of the HTTP binding. An [`Event`] that came
//! through either, or through serde, has passed [`Event::check`].

mod check;
pub mod http;
pub mod json;
mod media;
mod percent;
mod uri;

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;

/// The only `specversion` there is.
pub const SPEC_VERSION: &str = "1.0";

/// Extension attribute: what all events and runs of one cause share
/// (<https://github.com/cloudevents/spec/blob/main/cloudevents/extensions/correlation.md>).
pub const CORRELATION_ID: &str = "correlationid";

/// Extension attribute: the run or event that directly caused this event.
pub const CAUSATION_ID: &str = "causationid";
/// The replay that delivers the event again; only what a function gets has it.
pub const REPLAY: &str = "evokereplay";

/// One event. Attribute rules are those of the specification; [`Event::check`] applies them.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    id: String,
    source: String,
    ty: String,
    subject: Option<String>,
    time: Option<String>,
    data_content_type: Option<String>,
    data_schema: Option<String>,
    extensions: BTreeMap<String, Attribute>,
    data: Option<Data>,
}

/// An extension attribute's value, in the types of the specification that survive the JSON format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attribute {
    /// Boolean.
    Boolean(bool),
    /// A signed 32-bit integer.
    Integer(i32),
    /// String; also URI, URI-reference, Timestamp and base64 Binary, which JSON writes as strings.
    String(String),
}

impl fmt::Display for Attribute {
    /// The canonical string encoding of the specification's type system.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Boolean(value) => value.fmt(f),
            Self::Integer(value) => value.fmt(f),
            Self::String(value) => f.write_str(value),
        }
    }
}

impl From<&str> for Attribute {
    fn from(text: &str) -> Self {
        Self::String(text.to_owned())
    }
}

impl From<String> for Attribute {
    fn from(text: String) -> Self {
        Self::String(text)
    }
}

/// What the event carries.
#[derive(Debug, Clone, PartialEq)]
pub enum Data {
    /// A JSON value (content type absent, `application/json` or `*+json`).
    Json(serde_json::Value),
    /// Text of another content type.
    Text(String),
    /// Anything else; base64 in the JSON format.
    Bytes(Bytes),
}

/// Why something is no CloudEvent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct EventError {
    /// Names the attribute, the value and the rule.
    pub message: String,
}

impl EventError {
    /// An error with this sentence, cut after 400 characters: it may quote what was sent.
    pub fn new(message: impl Into<String>) -> Self {
        let mut message = message.into();
        if let Some((end, _)) = message.char_indices().nth(400) {
            message.truncate(end);
            message.push('…');
        }
        Self { message }
    }
}

/// Names an event for de-duplication: `(source, id)` is unique per distinct event by the specification.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct EventRef {
    /// The `source` attribute.
    pub source: String,
    /// The `id` attribute.
    pub id: String,
}

impl Event {
    /// An event with the three attributes a sender must choose and nothing else.
    pub fn new(id: impl Into<String>, source: impl Into<String>, ty: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            source: source.into(),
            ty: ty.into(),
            subject: None,
            time: None,
            data_content_type: None,
            data_schema: None,
            extensions: BTreeMap::new(),
            data: None,
        }
    }

    /// With JSON data and `datacontenttype: application/json`.
    #[must_use]
    pub fn with_json(mut self, data: serde_json::Value) -> Self {
        self.data = Some(Data::Json(data));
        self.data_content_type = Some("application/json".to_owned());
        self
    }

    /// With data of any content type.
    #[must_use]
    pub fn with_data(mut self, data: Data, content_type: Option<String>) -> Self {
        self.data = Some(data);
        self.data_content_type = content_type;
        self
    }

    /// With this `datacontenttype`, or none; the data stays as it is.
    #[must_use]
    pub fn with_content_type(mut self, content_type: Option<String>) -> Self {
        self.data_content_type = content_type;
        self
    }

    /// Without data.
    #[must_use]
    pub fn without_data(mut self) -> Self {
        self.data = None;
        self
    }

    /// With a `subject`.
    #[must_use]
    pub fn with_subject(mut self, subject: impl Into<String>) -> Self {
        self.subject = Some(subject.into());
        self
    }

    /// With a `time` (RFC 3339).
    #[must_use]
    pub fn with_time(mut self, time: impl Into<String>) -> Self {
        self.time = Some(time.into());
        self
    }

    /// With a `dataschema` URI.
    #[must_use]
    pub fn with_data_schema(mut self, uri: impl Into<String>) -> Self {
        self.data_schema = Some(uri.into());
        self
    }

    /// With an extension attribute; replaces one of the same name.
    #[must_use]
    pub fn with_extension(mut self, name: impl Into<String>, value: Attribute) -> Self {
        self.extensions.insert(name.into(), value);
        self
    }

    /// Applies the attribute rules of the specification, and that data and content type agree: [`Data::Json`] goes
    /// with a JSON content type or none, [`Data::Text`] with one that is not JSON. A name may have 64 characters,
    /// an event 64 extension attributes.
    pub fn check(&self) -> Result<(), EventError> {
        check::event(self)
    }

    /// Bytes of this event in JSON format, without writing it.
    pub fn json_bytes(&self) -> u64 {
        json::len(self)
    }

    /// Refuses an event with more than `limit_bytes` in JSON format ([`crate::limits::Limits::event_bytes`]).
    pub fn check_size(&self, limit_bytes: u64) -> Result<(), EventError> {
        match self.json_bytes() {
            bytes if bytes <= limit_bytes => Ok(()),
            bytes => Err(EventError::new(format!(
                "event {:?} has {bytes} bytes in JSON format, the limit is {limit_bytes}",
                check::shortened(&self.id)
            ))),
        }
    }

    /// The `id` attribute.
    pub fn id(&self) -> &str {
        &self.id
    }
    /// The `source` attribute, a URI-reference.
    pub fn source(&self) -> &str {
        &self.source
    }
    /// The `type` attribute.
    pub fn ty(&self) -> &str {
        &self.ty
    }
    /// The `subject` attribute.
    pub fn subject(&self) -> Option<&str> {
        self.subject.as_deref()
    }
    /// The `time` attribute as given.
    pub fn time(&self) -> Option<&str> {
        self.time.as_deref()
    }
    /// The `datacontenttype` attribute.
    pub fn data_content_type(&self) -> Option<&str> {
        self.data_content_type.as_deref()
    }
    /// The `dataschema` attribute.
    pub fn data_schema(&self) -> Option<&str> {
        self.data_schema.as_deref()
    }
    /// The extension attributes by name.
    pub fn extensions(&self) -> &BTreeMap<String, Attribute> {
        &self.extensions
    }
    /// A string extension by name.
    pub fn extension_str(&self, name: &str) -> Option<&str> {
        match self.extensions.get(name)? {
            Attribute::String(text) => Some(text),
            _ => None,
        }
    }
    /// What the event carries.
    pub fn data(&self) -> Option<&Data> {
        self.data.as_ref()
    }
    /// `(source, id)`.
    pub fn reference(&self) -> EventRef {
        EventRef { source: self.source.clone(), id: self.id.clone() }
    }
}
