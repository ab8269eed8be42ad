//! A wait: what a run left behind until a particular event arrives or its time is over, and the event that its function
//! is told the end with.
//!
//! **Which events count:** those that match, were accepted after the attempt that asked began (that is, have a later
//! position in the log than the newest known then), and not after the time-out. The event the run was started by does not
//! count, nor do those that tell the end of another wait.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::event::{Attribute, CAUSATION_ID, CORRELATION_ID, Event, EventRef};
use crate::filter::cesql::Expression;
use crate::filter::pattern::Pattern;
use crate::filter::{self, Allowance, Decision};
use crate::id::{AppName, FunctionName, RunId, WaitId};
use crate::manifest::TypePattern;
use crate::record::{Cause, Trigger};
use crate::time::Timestamp;

/// Type of the event that tells a function that what was waited for arrived.
pub const MATCHED: &str = "evoke.wait.matched";
/// Type of the event that tells a function that it did not arrive in time.
pub const TIMED_OUT: &str = "evoke.wait.timed_out";

/// Which events end a wait.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Awaited {
    /// Of this type, or one that begins so.
    pub event: TypePattern,
    /// Only those for which this is true.
    #[serde(rename = "where", default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<Expression>,
    /// Only those that match this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pattern: Option<Pattern>,
}

impl Awaited {
    /// Whether the event may be one of them, as far as what is left of `allowance` can tell.
    pub fn may_take(&self, event: &Event, allowance: &mut Allowance) -> bool {
        let (filter, pattern) = (self.filter.as_ref(), self.pattern.as_ref());
        self.event.matches(event.ty())
            && !matches!(event.ty(), MATCHED | TIMED_OUT)
            && filter::decide(filter, pattern, event, allowance) != Decision::Leaves
    }

    /// Whether the event is one of them.
    pub fn takes(&self, event: &Event) -> bool {
        self.event.matches(event.ty())
            && !matches!(event.ty(), MATCHED | TIMED_OUT)
            && self.filter.as_ref().is_none_or(|filter| filter.passes(event))
            && self.pattern.as_ref().is_none_or(|pattern| pattern.passes(event))
    }
}

/// What a run left behind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Wait {
    /// Its name.
    pub id: WaitId,
    /// The app.
    pub app: AppName,
    /// The function that waits.
    pub by: FunctionName,
    /// In which run.
    pub run: RunId,
    /// What started that run.
    pub trigger: Trigger,
    /// The cause of what it ends in: the run that waits is the parent.
    pub cause: Cause,
    /// For what.
    #[serde(flatten)]
    pub awaited: Awaited,
    /// The function that is called at its end.
    pub then: FunctionName,
    /// What is kept for that function.
    pub data: Value,
    /// When it was asked for.
    pub since: Timestamp,
    /// The newest position of the log when the attempt began.
    pub after_seq: u64,
    /// When its time is over.
    pub until: Timestamp,
}

impl Wait {
    /// How the log names the event that tells its end.
    pub fn reference(app: &AppName, by: &FunctionName, id: &WaitId) -> EventRef {
        EventRef { source: format!("/{app}/{by}"), id: id.to_string() }
    }

    /// Whether this event, which was accepted at `at` with position `seq`, ends it.
    pub fn is_ended_by(&self, event: &Event, seq: u64, at: Timestamp) -> bool {
        seq > self.after_seq && at <= self.until && !self.started_by(event) && self.awaited.takes(event)
    }

    fn started_by(&self, event: &Event) -> bool {
        matches!(&self.trigger, Trigger::Event { event: by, .. } if *by == event.reference())
    }

    /// What starts the function at its end: `event` came, or none did in time.
    pub fn ending(&self, event: Option<&Event>) -> Trigger {
        Trigger::Wait {
            wait: self.id.clone(),
            by: self.by.clone(),
            event: event.map(Event::reference),
            ty: event.map_or_else(|| self.awaited.event.0.clone(), |event| event.ty().to_owned()),
        }
    }

    /// What that function is handed: an event with what was kept, the event that came, and who waited since when.
    pub fn told(&self, event: Option<&Event>, now: Timestamp) -> Event {
        let EventRef { source, id } = Self::reference(&self.app, &self.by, &self.id);
        let ty = if event.is_some() { MATCHED } else { TIMED_OUT };
        let event = event.map(|event| serde_json::to_value(event).expect("an event has only string keys"));
        let trigger = serde_json::to_value(&self.trigger).expect("texts and numbers have a JSON form");
        let told = Event::new(id, source, ty).with_time(now.to_rfc3339()).with_json(json!({
            "data": self.data,
            "event": event,
            "timed_out": event.is_none(),
            "waited": {
                "id": self.id,
                "function": self.by,
                "run": self.run,
                "trigger": trigger,
                "since": self.since.to_rfc3339(),
                "until": self.until.to_rfc3339(),
            },
        }));
        let text = |text: &str| Attribute::String(text.to_owned());
        let told = told.with_extension(CORRELATION_ID, text(self.cause.root.as_str()));
        told.with_extension(CAUSATION_ID, text(self.run.as_str()))
    }
}
