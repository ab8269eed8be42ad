//! A verified request as an event.

use bytes::Bytes;
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Scheme;
use crate::event::{Data, Event, EventError, http as binding};

/// Characters of what is taken out of a request for an attribute.
const TEXT_CHARS_MAX: usize = 256;

/// What the event's attributes are made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mapping {
    /// The event's type, in which `{type}` stands for what [`Mapping::ty`] finds.
    pub event: String,
    /// The event's source.
    pub source: String,
    /// Where the sender says what kind of thing happened.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub ty: Option<Place>,
    /// Where the sender names the delivery: the same twice is one event. Without it each delivery is an event of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<Place>,
    /// Where the event's subject is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Place>,
}

/// A place in a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// A header field, lower case.
    Header(String),
    /// Members of the JSON body, one in the other.
    Body(Vec<String>),
}

/// The event, or for [`Scheme::Cloudevents`] the events, of a request that [`super::verify`] let through. `fresh_id` makes an
/// id for one that names none.
pub fn to_events(
    scheme: &Scheme,
    mapping: &Mapping,
    headers: &HeaderMap,
    body: Bytes,
    events_max: usize,
    fresh_id: impl FnOnce() -> String,
) -> Result<Vec<Event>, EventError> {
    if *scheme == Scheme::Cloudevents {
        return binding::decode(headers, body, events_max).map(|incoming| incoming.events);
    }
    let (data, content_type) = data(headers, body);
    let json = match &data {
        Some(Data::Json(json)) => Some(json),
        _ => None,
    };
    let find = |from: &Option<Place>| from.as_ref().and_then(|from| from.find(headers, json));
    let ty = match find(&mapping.ty) {
        Some(found) => mapping.event.replace("{type}", &found),
        None if mapping.event.contains("{type}") => {
            return Err(EventError::new("webhook: the request does not say what type of event it is"));
        }
        None => mapping.event.clone(),
    };
    let id = match (find(&mapping.id), &mapping.id) {
        (Some(id), _) => id,
        (None, None) => fresh_id(),
        // An id that is missing would make every repetition an event of its own.
        (None, Some(_)) => return Err(EventError::new("webhook: the request does not name its delivery")),
    };
    let mut event = Event::new(id, mapping.source.clone(), ty);
    if let Some(subject) = find(&mapping.subject) {
        event = event.with_subject(subject);
    }
    event = match data {
        Some(data) => event.with_data(data, content_type),
        None => event,
    };
    event.check()?;
    Ok(vec![event])
}

impl Place {
    fn find(&self, headers: &HeaderMap, json: Option<&Value>) -> Option<String> {
        let text = match self {
            Self::Header(name) => headers.get(name)?.to_str().ok()?.to_owned(),
            Self::Body(path) => {
                let found = path.iter().try_fold(json?, |at, name| match at {
                    Value::Array(items) => items.get(name.parse::<usize>().ok()?),
                    other => other.get(name),
                })?;
                match found {
                    Value::String(text) => text.clone(),
                    Value::Number(number) => number.to_string(),
                    _ => return None,
                }
            }
        };
        let fits =
            !text.is_empty() && text.chars().count() <= TEXT_CHARS_MAX && !text.chars().any(char::is_control);
        fits.then_some(text)
    }
}

/// The body as data. What says that it is JSON, or says nothing and is, becomes a value; GitHub's form has one in `payload`.
fn data(headers: &HeaderMap, body: Bytes) -> (Option<Data>, Option<String>) {
    if body.is_empty() {
        return (None, None);
    }
    let declared = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let media = declared.as_deref().unwrap_or("").split(';').next().unwrap_or("").trim().to_ascii_lowercase();
    let json = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).ok();
    let as_json = |value| (Some(Data::Json(value)), Some("application/json".to_owned()));
    if (media.is_empty() || media == "application/json" || media.ends_with("+json"))
        && let Some(value) = json(&body)
    {
        return as_json(value);
    }
    if media == "application/x-www-form-urlencoded"
        && let Some((_, payload)) = url::form_urlencoded::parse(&body).find(|(name, _)| name == "payload")
        && let Some(value) = json(payload.as_bytes())
    {
        return as_json(value);
    }
    // A body that is not what it says is kept as bytes.
    let lies = media == "application/json" || media.ends_with("+json");
    let content_type = match declared {
        Some(declared) if !lies => declared,
        _ => "application/octet-stream".to_owned(),
    };
    match std::str::from_utf8(&body) {
        Ok(text) if media.starts_with("text/") || media == "application/x-www-form-urlencoded" => {
            (Some(Data::Text(text.to_owned())), Some(content_type))
        }
        _ => (Some(Data::Bytes(body)), Some(content_type)),
    }
}
