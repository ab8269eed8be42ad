//! `runs.body`: what a record says beyond the columns of its row.
//!
//! The first byte says how it is written. `{`: the whole record as JSON, as formats 1 and 2 had it; such rows stay as they are until
//! they change. 1: [`Form`] in the words of postcard (<https://postcard.jamesmunns.com/wire-format>): fields in their order, numbers as
//! varints, texts behind their length. A trigger, a chain or an outcome that not every call has is JSON in it, so that what they learn
//! in later versions needs no other form; a field of its own does, and gets the next number.

use std::borrow::Cow;

use evoke_core::id::{AppName, Correlation, FunctionName, ReplayId, RevisionId, RunId, SubscriptionName};
use evoke_core::outcome::Outcome;
use evoke_core::record::{AttemptRecord, Cause, RunRecord, RunState, Trigger};
use evoke_core::time::Timestamp;
use evoke_core::usage::Usage;
use serde::{Deserialize, Serialize};

/// The number of [`Form`].
const FORM: u8 = 1;
/// What the form of a call takes, with room to spare.
const BYTES: usize = 256;

#[derive(Serialize, Deserialize)]
struct Form<'a> {
    app: &'a str,
    function: &'a str,
    #[serde(borrow)]
    subscription: Option<&'a str>,
    key: Option<&'a str>,
    undecided: bool,
    trigger: How<'a>,
    replay: Option<&'a str>,
    /// Where the column does not say it, and it is not the run itself.
    root: Option<&'a str>,
    parent: Option<&'a str>,
    depth: u32,
    /// JSON, unless it is empty.
    chain: Option<Cow<'a, str>>,
    version: Option<u64>,
    trace: &'a str,
    span: &'a str,
    shadow: bool,
    attempts: Vec<Attempt<'a>>,
}

#[derive(Serialize, Deserialize)]
enum How<'a> {
    Http {
        method: &'a str,
        path: &'a str,
    },
    Call {
        by: &'a str,
    },
    /// Any other, as JSON.
    #[serde(borrow)]
    Other(Cow<'a, str>),
}

#[derive(Serialize, Deserialize)]
struct Attempt<'a> {
    number: u32,
    #[serde(borrow)]
    revision: Option<&'a str>,
    /// Microseconds after the run was accepted; one that is told of in retrospect may be before.
    started: i64,
    /// And until it ended.
    took: i64,
    waited_us: u64,
    ran_us: u64,
    cpu_us: Option<u64>,
    peak_memory_bytes: Option<u64>,
    idle_cpu_us: u64,
    shared: bool,
    cold: bool,
    end: End<'a>,
}

#[derive(Serialize, Deserialize)]
enum End<'a> {
    Completed(Option<u16>),
    /// Any other, as JSON.
    #[serde(borrow)]
    Other(Cow<'a, str>),
}

/// What the columns say, and the body does not.
pub(super) struct Known<'a> {
    pub id: RunId,
    /// `None` when the body has it.
    pub root: Option<&'a str>,
    pub state: RunState,
    pub created_at: Timestamp,
    pub ended_at: Option<Timestamp>,
}

/// The body of a record's row, with its root if no column has that.
pub(super) fn encode(run: &RunRecord, with_root: bool) -> Vec<u8> {
    let Cause { root, parent, depth, chain, version, trace_id, span_id, shadow } = &run.cause;
    let form = Form {
        app: run.app.as_str(),
        function: run.function.as_str(),
        subscription: run.subscription.as_ref().map(SubscriptionName::as_str),
        key: run.key.as_deref(),
        undecided: run.undecided,
        trigger: How::of(&run.trigger),
        replay: run.replay.as_ref().map(ReplayId::as_str),
        root: Some(root.as_str()).filter(|root| with_root && *root != run.id.as_str()),
        parent: parent.as_ref().map(RunId::as_str),
        depth: *depth,
        chain: (!chain.is_empty()).then(|| json(chain)),
        version: *version,
        trace: trace_id,
        span: span_id,
        shadow: *shadow,
        attempts: run.attempts.iter().map(|attempt| Attempt::of(attempt, run.created_at)).collect(),
    };
    let mut body = Vec::with_capacity(BYTES);
    body.push(FORM);
    postcard::to_io(&form, body).expect("memory takes any record")
}

/// The record of a row; `None` when its body is not as one is written.
pub(super) fn decode(body: &[u8], known: Known<'_>) -> Option<RunRecord> {
    let Known { id, root, state, created_at, ended_at } = known;
    let form = match body.split_first()? {
        (b'{', _) => {
            let record: RunRecord = serde_json::from_slice(body).ok()?;
            return Some(RunRecord { state, ended_at, due_at: None, ..record });
        }
        (&FORM, form) => form,
        _ => return None,
    };
    let (form, rest) = postcard::take_from_bytes::<Form<'_>>(form).ok()?;
    if !rest.is_empty() {
        return None;
    }
    let cause = Cause {
        root: Correlation::from_text(root.or(form.root).unwrap_or(id.as_str())),
        parent: form.parent.map(RunId::from_text),
        depth: form.depth,
        chain: form
            .chain
            .map_or_else(|| Some(Default::default()), |chain| serde_json::from_str(&chain).ok())?,
        version: form.version,
        trace_id: form.trace.to_owned(),
        span_id: form.span.to_owned(),
        shadow: form.shadow,
    };
    let attempts =
        form.attempts.into_iter().map(|attempt| attempt.record(created_at)).collect::<Option<_>>()?;
    Some(RunRecord {
        id,
        app: AppName::new(form.app).ok()?,
        function: FunctionName::new(form.function).ok()?,
        subscription: form.subscription.map(SubscriptionName::from_text),
        key: form.key.map(str::to_owned),
        undecided: form.undecided,
        trigger: form.trigger.record()?,
        replay: form.replay.map(ReplayId::from_text),
        cause,
        state,
        created_at,
        ended_at,
        due_at: None,
        attempts,
    })
}

impl<'a> How<'a> {
    fn of(trigger: &'a Trigger) -> Self {
        match trigger {
            Trigger::Http { method, path } => Self::Http { method, path },
            Trigger::Call { by } => Self::Call { by: by.as_str() },
            other => Self::Other(json(other)),
        }
    }

    fn record(self) -> Option<Trigger> {
        Some(match self {
            Self::Http { method, path } => Trigger::Http { method: method.to_owned(), path: path.to_owned() },
            Self::Call { by } => Trigger::Call { by: FunctionName::new(by).ok()? },
            Self::Other(other) => serde_json::from_str(&other).ok()?,
        })
    }
}

impl<'a> Attempt<'a> {
    fn of(attempt: &'a AttemptRecord, created_at: Timestamp) -> Self {
        let Usage { cpu_us, peak_memory_bytes, idle_cpu_us, shared } = attempt.usage;
        Self {
            number: attempt.number,
            revision: attempt.revision.as_ref().map(RevisionId::as_str),
            started: between(created_at, attempt.started_at),
            took: between(attempt.started_at, attempt.ended_at),
            waited_us: attempt.waited_us,
            ran_us: attempt.ran_us,
            cpu_us,
            peak_memory_bytes,
            idle_cpu_us,
            shared,
            cold: attempt.cold,
            end: match &attempt.outcome {
                Outcome::Completed { status } => End::Completed(*status),
                other => End::Other(json(other)),
            },
        }
    }

    fn record(self, created_at: Timestamp) -> Option<AttemptRecord> {
        let Self { cpu_us, peak_memory_bytes, idle_cpu_us, shared, .. } = self;
        let started_at = later(created_at, self.started);
        Some(AttemptRecord {
            number: self.number,
            revision: self.revision.map(RevisionId::from_text),
            started_at,
            ended_at: later(started_at, self.took),
            waited_us: self.waited_us,
            ran_us: self.ran_us,
            usage: Usage { cpu_us, peak_memory_bytes, idle_cpu_us, shared },
            cold: self.cold,
            outcome: match self.end {
                End::Completed(status) => Outcome::Completed { status },
                End::Other(other) => serde_json::from_str(&other).ok()?,
            },
        })
    }
}

/// From one time to another, which [`later`] finds again, whatever they are.
fn between(from: Timestamp, to: Timestamp) -> i64 {
    to.0.wrapping_sub(from.0).cast_signed()
}

fn later(from: Timestamp, by: i64) -> Timestamp {
    Timestamp(from.0.wrapping_add(by.cast_unsigned()))
}

fn json<'a>(value: &impl Serialize) -> Cow<'a, str> {
    serde_json::to_string(value).expect("a record is JSON").into()
}

#[cfg(test)]
mod tests;
