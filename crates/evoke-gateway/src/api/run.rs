//! Runs: one per invocation, with each attempt at it.

use evoke_core::answer;
use evoke_core::destination::PAYLOAD_BYTES;
use evoke_core::id::{AppName, Correlation, FunctionName, ReplayId, RevisionId, RunId, WaitId};
use evoke_core::outcome::Outcome;
use evoke_core::record::{self, AttemptRecord, RunRecord, RunState};
use evoke_engine::result::StoredAnswer;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Time, Usage, Wait};

/// `GET /v1/apps/{app}/runs`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RunList {
    /// Newest first.
    pub runs: Vec<Run>,
    /// There may be more: pass it as `before`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// One invocation: who caused it, how far it is, and each attempt at it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Run {
    /// Its id; sorted as text, ids are sorted by time.
    #[schema(value_type = String)]
    pub id: RunId,
    /// Its app.
    #[schema(value_type = String)]
    pub app: AppName,
    /// Its function.
    #[schema(value_type = String)]
    pub function: FunctionName,
    /// `queued`, `running`, `completed`, `failed` (a sync call nobody tries again) or `dead_lettered`.
    #[schema(value_type = String, example = "completed")]
    pub state: RunState,
    /// What started it.
    pub trigger: Trigger,
    /// The replay that delivered its event again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub replay: Option<ReplayId>,
    /// Shared by everything that goes back to the same start.
    #[schema(value_type = String)]
    pub root: Correlation,
    /// The run that caused this one directly, when one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub parent: Option<RunId>,
    /// How many runs lie between the start and this one.
    pub depth: u32,
    /// Those of them that are known, oldest first; the last is `parent`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub chain: Vec<Link>,
    /// It goes back to a copy of a request, for a variant of an experiment that is a shadow: nobody got its answer.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub shadow: bool,
    /// W3C trace id.
    pub trace_id: String,
    /// When it was accepted.
    pub created_at: Time,
    /// When the next attempt is due, while it waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due_at: Option<Time>,
    /// When it reached its final state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Time>,
    /// Its last attempts, oldest first.
    pub attempts: Vec<Attempt>,
    /// What the function answered to an asynchronous call, while that is kept; only where one run was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<RunResult>,
    /// What it left to wait for and has not come; only where one run was asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waits: Vec<Wait>,
}

/// What a function answered to an asynchronous call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RunResult {
    /// HTTP status.
    pub status: u16,
    /// As the function declared it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// How many bytes it has.
    pub bytes: u64,
    /// Only its beginning is here; more of it may be at `/result`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub truncated: bool,
    /// At most 64 KiB of it: a JSON value if it is one and was declared so, else text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<serde_json::Value>,
    /// The same, where it is no text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body_base64: Option<String>,
    /// Until when it is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Time>,
}

impl From<StoredAnswer> for RunResult {
    fn from(stored: StoredAnswer) -> Self {
        let StoredAnswer { answer, until } = stored;
        let content_type = answer.content_type();
        let mut shown = answer::members(content_type, &answer.body, answer.bytes, PAYLOAD_BYTES);
        let text = |value: Option<serde_json::Value>| value?.as_str().map(str::to_owned);
        Self {
            status: answer.status,
            content_type: content_type.map(str::to_owned),
            bytes: answer.bytes,
            truncated: shown.contains_key("truncated"),
            body: shown.remove("body"),
            body_base64: text(shown.remove("body_base64")),
            expires_at: until.map(Time),
        }
    }
}

/// An invocation that lies before a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Link {
    /// Its app.
    #[schema(value_type = String)]
    pub app: AppName,
    /// Its function.
    #[schema(value_type = String)]
    pub function: FunctionName,
    /// How it came about: `HTTP`, `call`, `event TYPE`, or `wait for TYPE`.
    #[schema(example = "event order_placed")]
    pub by: String,
}

impl From<&evoke_core::chain::Link> for Link {
    fn from(link: &evoke_core::chain::Link) -> Self {
        Self { app: link.app.clone(), function: link.function.clone(), by: link.by.to_string() }
    }
}

impl From<RunRecord> for Run {
    fn from(run: RunRecord) -> Self {
        Self {
            id: run.id,
            app: run.app,
            function: run.function,
            state: run.state,
            trigger: run.trigger.into(),
            replay: run.replay,
            root: run.cause.root,
            parent: run.cause.parent,
            depth: run.cause.depth,
            chain: run.cause.chain.links().iter().map(Link::from).collect(),
            shadow: run.cause.shadow,
            trace_id: run.cause.trace_id,
            created_at: run.created_at.into(),
            due_at: run.due_at.map(Time),
            ended_at: run.ended_at.map(Time),
            attempts: run.attempts.into_iter().map(Attempt::from).collect(),
            result: None,
            waits: Vec::new(),
        }
    }
}

/// What turned something outside into an invocation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Trigger {
    /// A request that matched a route, or a direct call on the control API.
    Http {
        /// Method.
        method: String,
        /// Path as the client sent it, without the query.
        path: String,
    },
    /// An event that matched a subscription.
    Event {
        /// Its `source`.
        source: String,
        /// Its `id`.
        id: String,
        /// Its `type`.
        r#type: String,
        /// Which of the function's `on` entries matched, counted from 0.
        subscription: u32,
    },
    /// Another function's call.
    Call {
        /// The calling function.
        #[schema(value_type = String)]
        by: FunctionName,
    },
    /// The end of another run, of which it is the destination.
    Destination {
        /// The function that had run.
        #[schema(value_type = String)]
        by: FunctionName,
        /// `success` or `failure`.
        #[schema(example = "success")]
        fate: String,
        /// `source` of the event that tells of it.
        source: String,
        /// Its `id`.
        id: String,
        /// Its `type`.
        r#type: String,
    },
    /// The end of a wait: the event came, or its time was over.
    Wait {
        /// Which wait.
        #[schema(value_type = String)]
        wait: WaitId,
        /// The function that waited.
        #[schema(value_type = String)]
        by: FunctionName,
        /// `source` of the event that came.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        source: Option<String>,
        /// Its `id`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<String>,
        /// Its `type`; after the time-out, the type that was waited for.
        r#type: String,
        /// No event came in time.
        timed_out: bool,
    },
}

impl From<record::Trigger> for Trigger {
    fn from(trigger: record::Trigger) -> Self {
        match trigger {
            record::Trigger::Http { method, path } => Self::Http { method, path },
            record::Trigger::Event { event, ty, subscription } => {
                Self::Event { source: event.source, id: event.id, r#type: ty, subscription }
            }
            record::Trigger::Call { by } => Self::Call { by },
            record::Trigger::Destination { event, ty, by, fate } => Self::Destination {
                by,
                fate: fate.as_str().to_owned(),
                source: event.source,
                id: event.id,
                r#type: ty,
            },
            record::Trigger::Wait { wait, by, event, ty } => {
                let timed_out = event.is_none();
                let (source, id) = event.map(|event| (event.source, event.id)).unzip();
                Self::Wait { wait, by, source, id, r#type: ty, timed_out }
            }
        }
    }
}

/// One execution.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Attempt {
    /// 1 for the first.
    pub number: u32,
    /// The revision that ran, once one was chosen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub revision: Option<RevisionId>,
    /// When it was taken up.
    pub started_at: Time,
    /// When it ended.
    pub ended_at: Time,
    /// How long it waited for an instance.
    pub waited_us: u64,
    /// How long the handler ran: wall time.
    pub ran_us: u64,
    /// What else it used, for an attempt that ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
    /// Whether it had to wait for a new instance.
    pub cold: bool,
    /// `completed`, `failed`, `timed_out`, `rejected` (never started) or `lost` (the server stopped).
    #[schema(example = "completed")]
    pub outcome: String,
    /// HTTP status of the answer, when the handler gave one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// What went wrong: a code for programs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// What went wrong: one sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Who ended it, where it did not come to an end by itself: `timeout` (its own), `caller_deadline`, `client` (went away),
    /// `caller` (the calling function ended), `operator`, `shutdown`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "client")]
    pub ended_by: Option<String>,
    /// The function's own stack trace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stack: Option<String>,
}

impl From<AttemptRecord> for Attempt {
    fn from(attempt: AttemptRecord) -> Self {
        let outcome = attempt.outcome.word().to_owned();
        let ran = !matches!(attempt.outcome, Outcome::Rejected(_) | Outcome::Lost);
        let ended_by = attempt.outcome.ended_by().map(|ender| ender.as_str().to_owned());
        let (status, code, message, stack) = match attempt.outcome {
            Outcome::Completed { status } => (status, None, None, None),
            Outcome::Failed(failure) | Outcome::Rejected(failure) => {
                (None, Some(failure.code.as_str().to_owned()), Some(failure.message), failure.stack)
            }
            ended @ Outcome::TimedOut { .. } => {
                let words = ended.reason();
                let words = words.strip_prefix("timed_out: ").unwrap_or(&words).to_owned();
                (None, Some("timed_out".to_owned()), Some(words), None)
            }
            Outcome::Lost => {
                (None, Some("lost".to_owned()), Some("the server stopped while it ran".to_owned()), None)
            }
        };
        Self {
            number: attempt.number,
            revision: attempt.revision,
            started_at: attempt.started_at.into(),
            ended_at: attempt.ended_at.into(),
            waited_us: attempt.waited_us,
            ran_us: attempt.ran_us,
            usage: ran.then(|| attempt.usage.into()),
            cold: attempt.cold,
            outcome,
            status,
            code,
            message,
            ended_by,
            stack,
        }
    }
}
