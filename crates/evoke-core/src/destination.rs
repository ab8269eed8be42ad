//! What a destination is told of work that has ended: the data of an event. `docs/reference/async.md` has its members.
//!
//! It never grows with what the function was given or answered: of either at most [`PAYLOAD_BYTES`] are in it, and it says where
//! that is not all.

use serde_json::{Map, Value, json};

use crate::answer::{Answer, members};
use crate::event::{Data, Event};
use crate::lifecycle::SOURCE;
use crate::manifest::Fate;
use crate::outcome::{FailureCode, Outcome};
use crate::record::{RunRecord, Trigger};
use crate::store::StoredInput;
use crate::time::Timestamp;

/// Bytes of what it was given, and of what it answered, that are in the record.
pub const PAYLOAD_BYTES: usize = 64 << 10;
/// Bytes of what went wrong in words.
const MESSAGE_BYTES: usize = 8 << 10;

/// Type of the event that a function or a hook is given when work was completed. Nobody can subscribe to it.
pub const SUCCEEDED: &str = "evoke.run.succeeded";
/// The same when it was given up or cancelled.
pub const FAILED: &str = "evoke.run.failed";

/// Work that has ended.
#[derive(Debug)]
pub struct Ended<'a> {
    /// Its record, with its last attempt.
    pub run: &'a RunRecord,
    /// How it ended.
    pub fate: Fate,
    /// What it was given, where that is at hand.
    pub input: Option<&'a StoredInput>,
    /// What it answered.
    pub answer: Option<&'a Answer>,
    /// When.
    pub at: Timestamp,
}

impl Ended<'_> {
    /// The event that tells of it; `ty` is that of the destination, if it is one. It has the source of the platform's own, so that
    /// nobody else can publish it.
    pub fn event(&self, ty: Option<&str>) -> Event {
        let (own, id) = match self.fate {
            Fate::Success => (SUCCEEDED, format!("{}.success", self.run.id)),
            // One that is redriven can fail again, which is another end.
            Fate::Failure => (FAILED, format!("{}.failure.{}", self.run.id, self.at.as_millis())),
        };
        Event::new(id, SOURCE, ty.unwrap_or(own)).with_subject(self.run.id.as_str()).with_json(self.record())
    }

    /// Its data.
    pub fn record(&self) -> Value {
        let Self { run, fate, .. } = self;
        let last = run.attempts.last();
        let mut record = Map::new();
        let mut put = |name: &str, value: Value| drop(record.insert(name.to_owned(), value));
        put("version", "1".into());
        put("outcome", fate.as_str().into());
        put("condition", self.condition().into());
        put("app", run.app.as_str().into());
        put("function", run.function.as_str().into());
        put("run", run.id.as_str().into());
        if let Some(subscription) = &run.subscription {
            put("subscription", subscription.as_str().into());
        }
        if let Some(revision) = last.and_then(|attempt| attempt.revision.as_ref()) {
            put("revision", revision.as_str().into());
        }
        put("attempts", last.map_or(0, |attempt| attempt.number).into());
        put("accepted_at", run.created_at.to_rfc3339().into());
        put("ended_at", self.at.to_rfc3339().into());
        if let Some(ender) = last.and_then(|attempt| attempt.outcome.ended_by()) {
            put("ended_by", ender.as_str().into());
        }
        if let Some(error) = last.and_then(|attempt| error(&attempt.outcome)) {
            put("error", error);
        }
        if let Some(event) = self.given_event() {
            put("event", event);
        }
        if let Some(request) = self.given_request() {
            put("request", request);
        }
        if let Some(answer) = self.answer {
            let mut response = members(answer.content_type(), &answer.body, answer.bytes, PAYLOAD_BYTES);
            response.insert("status".to_owned(), answer.status.into());
            put("response", Value::Object(response));
            if *fate == Fate::Success {
                put("result", format!("/v1/apps/{}/runs/{}/result", run.app, run.id).into());
            }
        }
        Value::Object(record)
    }

    fn condition(&self) -> &'static str {
        let last = self.run.attempts.last().map(|attempt| &attempt.outcome);
        match (self.fate, last.and_then(Outcome::failure).map(|failure| failure.code)) {
            (Fate::Success, _) => "completed",
            (_, Some(FailureCode::CancelledByOperator)) => "cancelled",
            (
                _,
                Some(
                    FailureCode::NotDeployed
                    | FailureCode::LoopDetected
                    | FailureCode::Gone
                    | FailureCode::Disabled,
                ),
            ) => "not_retried",
            _ => "retries_exhausted",
        }
    }

    fn given_event(&self) -> Option<Value> {
        let (reference, ty) = match &self.run.trigger {
            Trigger::Event { event, ty, .. } | Trigger::Destination { event, ty, .. } => (event, ty),
            Trigger::Http { .. } | Trigger::Call { .. } | Trigger::Wait { .. } => return None,
        };
        let mut event = Map::new();
        event.insert("source".to_owned(), reference.source.as_str().into());
        event.insert("id".to_owned(), reference.id.as_str().into());
        event.insert("type".to_owned(), ty.as_str().into());
        if let Some(StoredInput::Event(given)) = self.input {
            event.extend(given.subject().map(|subject| ("subject".to_owned(), subject.into())));
            event.extend(data(given));
        }
        Some(Value::Object(event))
    }

    fn given_request(&self) -> Option<Value> {
        let mut request = Map::new();
        match (&self.run.trigger, self.input) {
            (_, Some(StoredInput::Request(given))) => {
                let ty = given.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-type"));
                let ty = ty.map(|(_, value)| value.as_str());
                request = members(ty, &given.body, given.body.len() as u64, PAYLOAD_BYTES);
                request.insert("method".to_owned(), given.method.as_str().into());
                request.insert("uri".to_owned(), given.uri.as_str().into());
            }
            (Trigger::Http { method, path }, None) => {
                request.insert("method".to_owned(), method.as_str().into());
                request.insert("path".to_owned(), path.as_str().into());
            }
            _ => return None,
        }
        Some(Value::Object(request))
    }
}

/// What went wrong.
fn error(outcome: &Outcome) -> Option<Value> {
    let (code, message) = match outcome {
        Outcome::Completed { .. } => return None,
        Outcome::Failed(failure) | Outcome::Rejected(failure) => {
            (failure.code.as_str(), failure.message.clone())
        }
        Outcome::TimedOut { .. } | Outcome::Lost => {
            let reason = outcome.reason();
            (outcome.word(), reason.split_once(": ").map_or(reason.clone(), |(_, words)| words.to_owned()))
        }
    };
    let end = message.floor_char_boundary(MESSAGE_BYTES);
    Some(json!({ "outcome": outcome.word(), "code": code, "message": &message[..end] }))
}

/// The data of an event that was given, if it is not too long: whoever wants all of it finds the event.
fn data(event: &Event) -> Map<String, Value> {
    let (ty, body) = match event.data() {
        None => return Map::new(),
        Some(Data::Json(value)) => (Some("application/json"), value.to_string().into_bytes()),
        Some(Data::Text(text)) => (event.data_content_type(), text.clone().into_bytes()),
        Some(Data::Bytes(bytes)) => (event.data_content_type(), bytes.to_vec()),
    };
    let mut all = members(ty, &body, body.len() as u64, PAYLOAD_BYTES);
    for (member, name) in [("body", "data"), ("body_base64", "data_base64")] {
        if let Some(value) = all.remove(member) {
            all.insert(name.to_owned(), value);
        }
    }
    all
}
