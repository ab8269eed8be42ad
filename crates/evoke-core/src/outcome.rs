//! How one attempt ended. A function's failure is data: it is recorded, retried and shown; it is never an `Err`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The end of one attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// The handler answered.
    Completed {
        /// HTTP status of the answer, when the call was a request.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        status: Option<u16>,
    },
    /// The handler, or the instance under it, failed.
    Failed(Failure),
    /// The attempt reached its time limit and was ended.
    TimedOut {
        /// The limit.
        after_ms: u64,
        /// The limit was what its caller had left, which was less than its own.
        #[serde(default, skip_serializing_if = "is_false")]
        of_caller: bool,
    },
    /// It was never started: a limit was reached, or the function cannot run.
    Rejected(Failure),
    /// The server stopped or died while it ran; what it did is unknown, its effects were not kept.
    Lost,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
const fn is_false(flag: &bool) -> bool {
    !*flag
}

/// Who ended an attempt that did not come to an end by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ender {
    /// Its own time limit.
    Timeout,
    /// The deadline of the function that called it.
    CallerDeadline,
    /// The client went away.
    Client,
    /// The function that called it ended before.
    Caller,
    /// Somebody with the token.
    Operator,
    /// The server was stopped.
    Shutdown,
}

impl Ender {
    /// One word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::CallerDeadline => "caller_deadline",
            Self::Client => "client",
            Self::Caller => "caller",
            Self::Operator => "operator",
            Self::Shutdown => "shutdown",
        }
    }
}

/// What went wrong, in words for a person and a code for a program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Stable, for programs.
    pub code: FailureCode,
    /// One sentence: the error's type and message, the signal, the last line of stderr.
    pub message: String,
    /// The guest's own stack trace, when it gave one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stack: Option<String>,
    /// Milliseconds for which whoever failed asked to be left alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
}

/// The kinds of failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureCode {
    /// The handler threw, or returned something that is no answer.
    FunctionError,
    /// The source could not be loaded, or has no handler.
    InitError,
    /// The instance exited or was killed by a signal.
    Crashed,
    /// The instance went over its memory limit.
    OutOfMemory,
    /// The instance broke the worker protocol.
    ProtocolViolation,
    /// The instance was ended because of another call in it. Nothing of this one was kept; it can be made again.
    InstanceEnded,
    /// A state write's precondition no longer held when the attempt was to be settled.
    StateConflict,
    /// The attempt wanted more effects, or larger ones, than one attempt may have.
    EffectsTooLarge,
    /// It emitted an event type that the manifest's `emits` does not name, or an invalid event.
    EmitRefused,
    /// A bound on waiting or on instances was reached.
    Overloaded,
    /// The store did not take the attempt's effects, or did not say whether it did.
    StoreFailed,
    /// The chain that led here has reached a bound: it is a loop, as far as can be told.
    LoopDetected,
    /// The app or function is no longer deployed.
    NotDeployed,
    /// The endpoint of a hook could not be connected to, or the connection broke.
    Unreachable,
    /// The endpoint of a hook answered with a status that is not one of success.
    BadStatus,
    /// The endpoint of a hook answered 410: it wants no more.
    Gone,
    /// The hook is disabled.
    Disabled,
    /// Its event was no longer kept.
    Expired,
    /// Somebody let go of the dead letter.
    Purged,
    /// Somebody with the token cancelled it.
    CancelledByOperator,
    /// The subscription does not take the event. That was found out only when its delivery was due.
    Filtered,
    /// The caller went away.
    Cancelled,
    /// The function that made the call ended before it was answered.
    CallerEnded,
    /// The server is draining.
    Draining,
}

impl FailureCode {
    /// The code as text, the same as in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::FunctionError => "function_error",
            Self::InitError => "init_error",
            Self::Crashed => "crashed",
            Self::OutOfMemory => "out_of_memory",
            Self::ProtocolViolation => "protocol_violation",
            Self::InstanceEnded => "instance_ended",
            Self::StateConflict => "state_conflict",
            Self::EffectsTooLarge => "effects_too_large",
            Self::EmitRefused => "emit_refused",
            Self::Overloaded => "overloaded",
            Self::StoreFailed => "store_failed",
            Self::LoopDetected => "loop_detected",
            Self::NotDeployed => "not_deployed",
            Self::Unreachable => "unreachable",
            Self::BadStatus => "bad_status",
            Self::Gone => "gone",
            Self::Disabled => "disabled",
            Self::Expired => "expired",
            Self::Purged => "purged",
            Self::CancelledByOperator => "cancelled_by_operator",
            Self::Filtered => "filtered",
            Self::Cancelled => "cancelled",
            Self::CallerEnded => "caller_ended",
            Self::Draining => "draining",
        }
    }
}

impl Failure {
    /// A failure without a stack.
    pub fn new(code: FailureCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), stack: None, retry_after_ms: None }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.code.as_str(), self.message)
    }
}

impl Outcome {
    /// Whether the function did well; `None` when the end of the attempt says nothing of it. An answer below 500 is well:
    /// what is wrong with a request is not the function's doing.
    pub fn is_well(&self) -> Option<bool> {
        match self {
            Self::Completed { status } => Some(status.is_none_or(|status| status < 500)),
            // Its caller had too little time.
            Self::TimedOut { of_caller: true, .. } => None,
            Self::TimedOut { .. } => Some(false),
            Self::Failed(failure) | Self::Rejected(failure) => match failure.code {
                FailureCode::FunctionError
                | FailureCode::InitError
                | FailureCode::Crashed
                | FailureCode::OutOfMemory
                | FailureCode::ProtocolViolation
                | FailureCode::EffectsTooLarge
                | FailureCode::EmitRefused => Some(false),
                _ => None,
            },
            Self::Lost => None,
        }
    }

    /// Whether the handler answered.
    pub const fn is_completed(&self) -> bool {
        matches!(self, Self::Completed { .. })
    }

    /// Whether it failed only because state changed under it: made again, it may well succeed.
    pub fn is_state_conflict(&self) -> bool {
        matches!(self, Self::Failed(failure) if failure.code == FailureCode::StateConflict)
    }

    /// One word, the same as the JSON tag.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Completed { .. } => "completed",
            Self::Failed(_) => "failed",
            Self::TimedOut { .. } => "timed_out",
            Self::Rejected(_) => "rejected",
            Self::Lost => "lost",
        }
    }

    /// What went wrong, where somebody said so.
    pub const fn failure(&self) -> Option<&Failure> {
        match self {
            Self::Failed(failure) | Self::Rejected(failure) => Some(failure),
            Self::Completed { .. } | Self::TimedOut { .. } | Self::Lost => None,
        }
    }

    /// How long whoever failed asked to be left alone.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Failed(failure) | Self::Rejected(failure) => {
                failure.retry_after_ms.map(Duration::from_millis)
            }
            _ => None,
        }
    }

    /// Who ended it, where it did not come to an end by itself.
    pub const fn ended_by(&self) -> Option<Ender> {
        match self {
            Self::TimedOut { of_caller: false, .. } => Some(Ender::Timeout),
            Self::TimedOut { of_caller: true, .. } => Some(Ender::CallerDeadline),
            Self::Failed(failure) | Self::Rejected(failure) => match failure.code {
                FailureCode::Cancelled => Some(Ender::Client),
                FailureCode::CallerEnded => Some(Ender::Caller),
                FailureCode::Draining => Some(Ender::Shutdown),
                FailureCode::Purged | FailureCode::NotDeployed | FailureCode::CancelledByOperator => {
                    Some(Ender::Operator)
                }
                _ => None,
            },
            Self::Completed { .. } | Self::Lost => None,
        }
    }

    /// Why it was not completed, as one sentence; empty when it was.
    pub fn reason(&self) -> String {
        match self {
            Self::Completed { .. } => String::new(),
            Self::Failed(failure) | Self::Rejected(failure) => failure.to_string(),
            Self::TimedOut { after_ms, of_caller: false } => {
                format!("timed_out: ended after the limit of {after_ms} ms")
            }
            Self::TimedOut { after_ms, of_caller: true } => {
                format!("timed_out: ended after {after_ms} ms, when the time of its caller was over")
            }
            Self::Lost => "lost: the server stopped while it ran".to_owned(),
        }
    }
}
