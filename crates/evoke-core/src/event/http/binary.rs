//! Binary mode: attributes as `ce-` header fields.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};

use crate::event::{Attribute, Data, Event, EventError, SPEC_VERSION, json, media, percent};

const PREFIX: &str = "ce-";

/// Header fields and body of a message in binary mode. JSON data without a content type is declared as JSON, because
/// only the JSON format implies it. Header fields carry text: the types of extension attributes do not survive.
/// Fails only for an event that [`Event::check`] would refuse.
pub fn encode_binary(event: &Event) -> Result<(HeaderMap, Bytes), EventError> {
    let mut headers = HeaderMap::with_capacity(8 + event.extensions().len());
    headers
        .insert(const { HeaderName::from_static("ce-specversion") }, HeaderValue::from_static(SPEC_VERSION));
    let context = [
        (const { HeaderName::from_static("ce-id") }, Some(event.id())),
        (const { HeaderName::from_static("ce-source") }, Some(event.source())),
        (const { HeaderName::from_static("ce-type") }, Some(event.ty())),
        (const { HeaderName::from_static("ce-subject") }, event.subject()),
        (const { HeaderName::from_static("ce-time") }, event.time()),
        (const { HeaderName::from_static("ce-dataschema") }, event.data_schema()),
    ];
    for (name, value) in context {
        if let Some(value) = value {
            headers.insert(name, header_value(value)?);
        }
    }
    for (name, value) in event.extensions() {
        let header = HeaderName::from_bytes(format!("{PREFIX}{name}").as_bytes())
            .map_err(|_| EventError::new(format!("extension attribute {name:?} cannot be a header name")))?;
        let value = match value {
            Attribute::String(text) => header_value(text)?,
            other => header_value(&other.to_string())?,
        };
        headers.insert(header, value);
    }
    let implied = matches!(event.data(), Some(Data::Json(_))).then_some("application/json");
    if let Some(given) = event.data_content_type().or(implied) {
        let value = HeaderValue::from_str(given).map_err(|_| {
            EventError::new(format!("attribute datacontenttype: {given:?} cannot be a header value"))
        })?;
        headers.insert(CONTENT_TYPE, value);
    }
    let body = match event.data() {
        None => Bytes::new(),
        Some(Data::Json(value)) => {
            serde_json::to_vec(value).map_err(|e| EventError::new(e.to_string()))?.into()
        }
        Some(Data::Text(text)) => Bytes::copy_from_slice(text.as_bytes()),
        Some(Data::Bytes(bytes)) => bytes.clone(),
    };
    Ok((headers, body))
}

/// Reads and checks the event.
pub(super) fn decode(
    headers: &HeaderMap,
    content_type: Option<&str>,
    body: Bytes,
) -> Result<Event, EventError> {
    if !headers.keys().any(|name| name.as_str().starts_with(PREFIX)) {
        return Err(EventError::new(format!(
            "no CloudEvent: there are neither ce- header fields nor the content type {}",
            json::MEDIA_TYPE
        )));
    }
    let required = |name: &str| match attribute(headers, name)? {
        Some(value) => Ok(value),
        None => Err(EventError::new(format!("header ce-{name} is missing"))),
    };
    let version = required("specversion")?;
    if version != SPEC_VERSION {
        return Err(EventError::new(format!("header ce-specversion is {version:?}, only \"1.0\" is known")));
    }
    let mut event = Event::new(required("id")?, required("source")?, required("type")?);
    for name in headers.keys() {
        let Some(name) = name.as_str().strip_prefix(PREFIX) else { continue };
        let value = |name| attribute(headers, name);
        match name {
            "specversion" | "id" | "source" | "type" => {}
            "subject" => event.subject = value(name)?,
            "time" => event.time = value(name)?,
            "dataschema" => event.data_schema = value(name)?,
            "datacontenttype" => {
                return Err(EventError::new(
                    "header ce-datacontenttype: that attribute travels as content-type",
                ));
            }
            _ => {
                let value = value(name)?.map(Attribute::String);
                event.extensions.extend(value.map(|value| (name.to_owned(), value)));
            }
        }
    }
    event.data_content_type = content_type.map(str::to_owned);
    event.data = data(content_type, body)?;
    event.check()?;
    Ok(event)
}

fn data(content_type: Option<&str>, body: Bytes) -> Result<Option<Data>, EventError> {
    let Some(content_type) = content_type else {
        return Ok((!body.is_empty()).then_some(Data::Bytes(body)));
    };
    if body.is_empty() {
        return Ok(None);
    }
    if media::is_json(content_type) {
        return match serde_json::from_slice(&body) {
            Ok(value) => Ok(Some(Data::Json(value))),
            Err(error) => Err(EventError::new(format!(
                "content type is {content_type}, but the body is no JSON: {error}"
            ))),
        };
    }
    if media::is_utf8_text(content_type) {
        // Takes over the buffer when nobody else holds it.
        return match String::from_utf8(Vec::from(body)) {
            Ok(text) => Ok(Some(Data::Text(text))),
            Err(error) => Ok(Some(Data::Bytes(error.into_bytes().into()))),
        };
    }
    Ok(Some(Data::Bytes(body)))
}

fn attribute(headers: &HeaderMap, name: &str) -> Result<Option<String>, EventError> {
    let mut values = headers.get_all(format!("{PREFIX}{name}")).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(EventError::new(format!("header ce-{name} is there twice")));
    }
    match percent::decode(value.as_bytes()) {
        Some(text) => Ok(Some(text)),
        None => Err(EventError::new(format!("header ce-{name} is no UTF-8 once percent-decoded"))),
    }
}

fn header_value(text: &str) -> Result<HeaderValue, EventError> {
    HeaderValue::from_str(&percent::encode(text))
        .map_err(|_| EventError::new(format!("{text:?} cannot be a header value")))
}
