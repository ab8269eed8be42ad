//! The JSON format (<https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md>).
//!
//! JSON data stands in `data` as a value, text of another content type in `data` as a string, bytes in `data_base64`.
//! Members may come in any order; an attribute that is `null` is absent; a member given twice is refused. Kept exactly
//! are integers of 64 bits and doubles; the order of members within `data` is not.

mod read;
mod write;

use serde::Deserialize;
use serde::de::DeserializeSeed;
use serde_json::Value;

use super::{Event, EventError};

/// The media type of one event in this format.
pub const MEDIA_TYPE: &str = "application/cloudevents+json";
/// The media type of a JSON array of events in this format.
pub const BATCH_MEDIA_TYPE: &str = "application/cloudevents-batch+json";

/// The event as a JSON object.
pub fn to_json(event: &Event) -> Value {
    serde_json::to_value(event).expect("an event has only string keys")
}

/// The event as JSON text.
pub fn to_vec(event: &Event) -> Vec<u8> {
    serde_json::to_vec(event).expect("an event has only string keys, and memory does not fail to be written")
}

/// The events as the text of a JSON array.
pub fn batch_to_vec(events: &[Event]) -> Vec<u8> {
    serde_json::to_vec(events).expect("an event has only string keys, and memory does not fail to be written")
}

/// Reads one event and checks it.
pub fn parse(text: &[u8]) -> Result<Event, EventError> {
    let read::Unchecked(event) = serde_json::from_slice(text).map_err(|error| wrong(&error))?;
    event.check()?;
    Ok(event)
}

/// Takes an event out of a JSON object and checks it.
pub fn parse_value(value: Value) -> Result<Event, EventError> {
    let read::Unchecked(event) = read::Unchecked::deserialize(value).map_err(|error| wrong(&error))?;
    event.check()?;
    Ok(event)
}

/// Reads a JSON array of at most `max_events` events and checks each. The error names the first that is wrong,
/// counted from 0.
pub fn parse_batch(text: &[u8], max_events: usize) -> Result<Vec<Event>, EventError> {
    let mut from = serde_json::Deserializer::from_slice(text);
    let events = read::Batch { max_events }.deserialize(&mut from).map_err(|error| wrong(&error))?;
    from.end().map_err(|error| wrong(&error))?;
    for (at, event) in events.iter().enumerate() {
        event.check().map_err(|error| EventError::new(format!("event {at} of the batch: {error}")))?;
    }
    Ok(events)
}

/// Bytes of the event as JSON text.
pub(super) fn len(event: &Event) -> u64 {
    write::len(event)
}

fn wrong(error: &serde_json::Error) -> EventError {
    match error.classify() {
        serde_json::error::Category::Data => EventError::new(error.to_string()),
        _ => EventError::new(format!("no JSON: {error}")),
    }
}
