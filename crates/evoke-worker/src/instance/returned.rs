//! Events that the handler of an event returned.

use evoke_core::event::{Event, SPEC_VERSION, json};
use evoke_core::id::RunId;
use evoke_core::outcome::{Failure, FailureCode};
use serde_json::Value;

/// Makes whole events of them. `source` is that of those that name none, `limit` how many there may be.
pub(crate) fn events(
    values: Vec<Value>,
    run: &RunId,
    source: &str,
    limit: usize,
) -> Result<Vec<Event>, Failure> {
    let failure = |message: String| Failure::new(FailureCode::FunctionError, message);
    if values.len() > limit {
        let count = values.len();
        return Err(failure(format!("the handler returned {count} events, above the limit of {limit}")));
    }
    let mut events = Vec::with_capacity(values.len());
    for (at, mut value) in values.into_iter().enumerate() {
        if let Some(members) = value.as_object_mut() {
            let mut fill = |name: &str, text: String| {
                let slot = members.entry(name).or_insert(Value::Null);
                if slot.is_null() {
                    *slot = text.into();
                }
            };
            fill("specversion", SPEC_VERSION.to_owned());
            // The same in every attempt, so that an event published twice is one event.
            fill("id", format!("{run}-{at}"));
            fill("source", source.to_owned());
        }
        let event = json::parse_value(value).map_err(|cause| {
            failure(format!("the handler returned something that is no event (number {at}): {cause}"))
        })?;
        events.push(event);
    }
    Ok(events)
}
