//! What the handler of an event, or of a batch of them, returned.

use evoke_core::event::{Event, SPEC_VERSION, json};
use evoke_core::id::RunId;
use evoke_core::outcome::{Failure, FailureCode};
use evoke_core::runtime::{Ended, Input};
use serde_json::Value;

/// What it returned.
#[derive(Debug, Default)]
pub(crate) struct Returned {
    /// Events to publish.
    pub events: Vec<Event>,
    /// Of a batch: the ids of the events that are to be tried again.
    pub failed: Vec<String>,
}

impl Returned {
    /// How the call ended.
    pub fn ended(self) -> Ended {
        let Self { events, failed } = self;
        if failed.is_empty() { Ended::Returned { events } } else { Ended::Partly { events, failed } }
    }
}

/// Reads what was returned for `input`. `source` is that of events that name none, `limit` how many there may be.
pub(crate) fn read(
    mut values: Vec<Value>,
    input: &Input,
    run: &RunId,
    source: &str,
    limit: usize,
) -> Result<Returned, Failure> {
    let failed =
        failures(input, &mut values).map_err(|message| Failure::new(FailureCode::FunctionError, message))?;
    Ok(Returned { events: events(values, run, source, limit)?, failed })
}

/// Makes whole events of them. `source` is that of those that name none, `limit` how many there may be.
fn events(values: Vec<Value>, run: &RunId, source: &str, limit: usize) -> Result<Vec<Event>, Failure> {
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

/// Takes out of what the handler of a batch returned which of its events failed, in the form of AWS Lambda:
/// `{"batchItemFailures": [{"itemIdentifier": "<id>"}]}`
/// (<https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html>). A name that is none of the batch's
/// fails the whole: what the handler meant is unknown.
fn failures(input: &Input, values: &mut Vec<Value>) -> Result<Vec<String>, String> {
    let Input::Events(events) = input else { return Ok(Vec::new()) };
    let mut failed = Vec::new();
    let is_report = |value: &mut Value| value.get("batchItemFailures").is_some();
    for report in values.extract_if(.., is_report) {
        let items = report["batchItemFailures"].as_array().ok_or("batchItemFailures is no array")?;
        for item in items {
            let id = item["itemIdentifier"]
                .as_str()
                .ok_or("an item of batchItemFailures has no itemIdentifier")?;
            if !events.iter().any(|event| event.id() == id) {
                return Err(format!("batchItemFailures names {:?}, which is no event of the batch", cut(id)));
            }
            failed.push(id.to_owned());
        }
    }
    Ok(failed)
}

fn cut(text: &str) -> String {
    text.chars().take(80).collect()
}
