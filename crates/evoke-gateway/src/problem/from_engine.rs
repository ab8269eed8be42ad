//! Which problem each error of the engine is.

use std::time::Duration;

use evoke_core::body::BodyError;
use evoke_core::id::{FunctionName, RunId};
use evoke_core::manifest::{self, ManifestErrors};
use evoke_core::outcome::{Failure, FailureCode};
use evoke_core::runtime::{InstallError, PrepareError};
use evoke_core::store::StoreError;
use evoke_engine::call::{Bound, CallError};
use evoke_engine::cancel::CancelError;
use evoke_engine::deploy::DeployError;
use evoke_engine::experiment::PromoteError;
use evoke_engine::explain::ExplainError;
use evoke_engine::hook::{HookError, TrialError};
use evoke_engine::ingest::{LaterError, PublishError};
use evoke_engine::removal::RemovalError;
use evoke_engine::replay::{RUNNING_MAX, ReplayError};
use evoke_engine::report::ReportError;
use evoke_engine::rollout::RolloutError;
use evoke_engine::secrets::SecretError;
use evoke_engine::subscription::PauseError;

use super::Refusal;
use super::kind::{self, Kind};
use crate::api::ProblemItem;

/// When to come back to a store that could not be reached.
const STORE_PAUSE: Duration = Duration::from_secs(1);
/// When to come back to a server that shuts down: about as long as a restart takes.
const RESTART_PAUSE: Duration = Duration::from_secs(5);

/// How much a caller is told of a function's own failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failures {
    /// The code and the run; the message stays in the run's record. For callers nobody knows.
    Coded,
    /// The message too. For whoever has the token, and for development.
    Told,
}

impl Refusal {
    /// For an error of a synchronous call.
    pub fn from_call(error: CallError, tell: Failures) -> Self {
        let detail = error.to_string();
        match error {
            CallError::NotFound { .. } => Self::new(kind::UNKNOWN_FUNCTION, detail),
            CallError::NoVersion { .. } => Self::new(kind::UNKNOWN_VERSION, detail),
            CallError::Loop { run, stopped, .. } => {
                Self::new(kind::LOOP_DETECTED, detail).limit(stopped.limit, stopped.allowed).run(&run)
            }
            CallError::Overloaded { bound, retry_after, .. } => {
                let kind = match bound {
                    Bound::Rate(_) => kind::RATE_LIMITED,
                    bound if bound.is_of_node() => kind::SATURATED,
                    _ => kind::OVERLOADED,
                };
                let (name, value) = bound.limit();
                Self::new(kind, detail).limit(name, value).retry_after(retry_after)
            }
            CallError::TooLate { left, .. } => {
                Self::new(kind::TOO_LATE, detail).limit("left_ms", super::whole_ms(left))
            }
            CallError::Failed { run, function, failure, after } => {
                failed(&run, &function, &failure, tell).after(after)
            }
            CallError::TimedOut { run, limit, after, .. } => Self::new(kind::TIMED_OUT, detail)
                .limit("timeout_ms", super::whole_ms(limit))
                .after(after)
                .run(&run),
            CallError::BodyTooLarge { limit_bytes } => body_too_large(BODY_BYTES, limit_bytes),
            CallError::BodyAborted(_) => Self::new(kind::BODY_ABORTED, detail),
            CallError::KeyInUse { .. } => {
                Self::new(kind::KEY_IN_USE, detail).retry_after(Duration::from_secs(1))
            }
            CallError::KeyReused { .. } => Self::new(kind::KEY_REUSED, detail),
            CallError::Draining => draining(),
            CallError::Unknown { run, keyed, .. } => unknown(&run, keyed, KEPT),
            CallError::Store(error) => error.into(),
        }
    }
}

/// How the run of a call tells that its effects were kept.
const KEPT: &str = "is completed";
/// How the run of a call for later tells that it was accepted.
const ACCEPTED: &str = "is there";

/// The store may or may not have kept what `run` did, which is then so in its record.
fn unknown(run: &RunId, keyed: bool, when: &str) -> Refusal {
    let (kind, more) = match keyed {
        true => (kind::STORE_OUTCOME_UNKNOWN, "sending it again with the same Idempotency-Key is safe"),
        false => (kind::EFFECTS_UNKNOWN, "without an Idempotency-Key, sending it again may do it twice"),
    };
    let detail = format!(
        "the store did not say whether the call became durable: if it did, run {run} {when} (evoke runs get {run}); {more}"
    );
    let refusal = Refusal::new(kind, detail).run(run);
    if keyed { refusal.retry_after(STORE_PAUSE) } else { refusal }
}

fn failed(run: &RunId, function: &FunctionName, failure: &Failure, tell: Failures) -> Refusal {
    let kind = kind_of(failure.code);
    let detail = match tell {
        // The platform's own words, and whoever is part of a loop has to know which.
        _ if failure.code == FailureCode::LoopDetected => {
            format!("function {function} is part of a loop that was stopped: {}", failure.message)
        }
        Failures::Told => format!("function {function} failed: {failure}"),
        Failures::Coded => {
            format!("function {function} failed: {}; run {run} has the details", failure.code.as_str())
        }
    };
    let refusal = Refusal::new(kind, detail).run(run);
    match failure.code {
        FailureCode::Overloaded | FailureCode::InstanceEnded => refusal.retry_after(STORE_PAUSE),
        FailureCode::Draining => refusal.retry_after(RESTART_PAUSE),
        _ => refusal,
    }
}

fn kind_of(code: FailureCode) -> &'static Kind {
    match code {
        FailureCode::FunctionError => kind::FUNCTION_ERROR,
        FailureCode::InitError => kind::INIT_ERROR,
        FailureCode::Crashed => kind::CRASHED,
        FailureCode::OutOfMemory => kind::OUT_OF_MEMORY,
        FailureCode::ProtocolViolation => kind::PROTOCOL_VIOLATION,
        FailureCode::InstanceEnded => kind::INSTANCE_ENDED,
        FailureCode::StateConflict => kind::STATE_CONFLICT,
        FailureCode::EffectsTooLarge => kind::EFFECTS_TOO_LARGE,
        FailureCode::EmitRefused => kind::EMIT_REFUSED,
        FailureCode::Overloaded => kind::OVERLOADED,
        FailureCode::StoreFailed => kind::STORE_FAILED,
        FailureCode::LoopDetected => kind::LOOP_DETECTED,
        FailureCode::NotDeployed => kind::NOT_DEPLOYED,
        // Of hooks and of deliveries only, which nobody calls.
        FailureCode::Expired
        | FailureCode::Purged
        | FailureCode::Filtered
        | FailureCode::Unreachable
        | FailureCode::BadStatus
        | FailureCode::Gone
        | FailureCode::Disabled => kind::FUNCTION_ERROR,
        FailureCode::Cancelled | FailureCode::CallerEnded => kind::CANCELLED,
        FailureCode::CancelledByOperator => kind::CANCELLED_BY_OPERATOR,
        FailureCode::Draining => kind::DRAINING,
    }
}

impl From<LaterError> for Refusal {
    fn from(error: LaterError) -> Self {
        match error {
            LaterError::NotFound { .. } => Self::new(kind::UNKNOWN_FUNCTION, error.to_string()),
            LaterError::NoVersion { .. } => Self::new(kind::UNKNOWN_VERSION, error.to_string()),
            LaterError::BodyTooLarge { limit_bytes } => body_too_large(BODY_BYTES, limit_bytes),
            LaterError::BodyAborted(detail) => Self::new(kind::BODY_ABORTED, detail),
            LaterError::Draining => draining(),
            LaterError::Unknown { run, keyed, .. } => unknown(&run, keyed, ACCEPTED),
            LaterError::Store(error) => error.into(),
        }
    }
}

impl From<CancelError> for Refusal {
    fn from(error: CancelError) -> Self {
        let detail = error.to_string();
        match error {
            CancelError::NotFound { .. } => Self::new(kind::UNKNOWN_RUN, detail),
            CancelError::Ended { run } => Self::new(kind::RUN_ENDED, detail).run(&run.id),
            CancelError::Store(error) => error.into(),
        }
    }
}

impl From<PublishError> for Refusal {
    fn from(error: PublishError) -> Self {
        match error {
            PublishError::NotFound { .. } => Self::new(kind::UNKNOWN_APP, error.to_string()),
            PublishError::Invalid { .. } => Self::new(kind::INVALID_EVENT, error.to_string()),
            PublishError::TooMany { limit, .. } => {
                Self::new(kind::TOO_LARGE, error.to_string()).limit("publish_events", limit as u64)
            }
            PublishError::TooFar { .. } => Self::new(kind::INVALID_REQUEST, error.to_string()),
            PublishError::TooManyWait { limit } => {
                Self::new(kind::OVERLOADED, error.to_string()).limit("delayed_events", limit as u64)
            }
            PublishError::Draining => draining(),
            PublishError::Store(error) => error.into(),
        }
    }
}

impl From<ExplainError> for Refusal {
    fn from(error: ExplainError) -> Self {
        match error {
            ExplainError::NoApp { .. } => Self::new(kind::UNKNOWN_APP, error.to_string()),
            ExplainError::NoEvent { .. } => Self::new(kind::UNKNOWN_EVENT, error.to_string()),
            ExplainError::Store(error) => error.into(),
        }
    }
}

impl From<ReplayError> for Refusal {
    fn from(error: ReplayError) -> Self {
        let detail = error.to_string();
        match error {
            ReplayError::NotFound { .. } => Self::new(kind::UNKNOWN_SUBSCRIPTION, detail),
            ReplayError::NoReplay { .. } => Self::new(kind::UNKNOWN_REPLAY, detail),
            ReplayError::Empty { .. } => Self::new(kind::NOTHING_TO_REPLAY, detail),
            ReplayError::TooMany { .. } => {
                Self::new(kind::TOO_MANY_REPLAYS, detail).limit("replays", RUNNING_MAX as u64)
            }
            ReplayError::Event(error) => error.into(),
            ReplayError::Draining => draining(),
            ReplayError::Store(error) => error.into(),
        }
    }
}

impl From<ReportError> for Refusal {
    /// Why a report was refused stays in the log: whoever tries to forge one learns nothing.
    fn from(error: ReportError) -> Self {
        match error {
            ReportError::NotFound(_) => Self::new(kind::NO_ROUTE, error.to_string()),
            ReportError::Refused(_) => Self::new(kind::REPORT_REFUSED, "the report was not accepted"),
            ReportError::Invalid(cause) => Self::new(kind::INVALID_EVENT, cause.to_string()),
            ReportError::Unknown { id } => {
                let detail = format!(
                    "the store did not say whether it kept the report; if it did, it is the event {id}, \
                     and a further report is another one"
                );
                Self::new(kind::EFFECTS_UNKNOWN, detail)
            }
            ReportError::Publish(error) => error.into(),
        }
    }
}

impl From<PauseError> for Refusal {
    fn from(error: PauseError) -> Self {
        let detail = error.to_string();
        match error {
            PauseError::NotFound { .. } => Self::new(kind::UNKNOWN_SUBSCRIPTION, detail),
            PauseError::Store(error) => error.into(),
        }
    }
}

impl From<PromoteError> for Refusal {
    fn from(error: PromoteError) -> Self {
        let detail = error.to_string();
        let kind = match error {
            PromoteError::NoApp(_) => kind::UNKNOWN_APP,
            PromoteError::Route(_) => kind::UNKNOWN_ROUTE,
            PromoteError::NoExperiment { .. } | PromoteError::NoVariant { .. } => kind::UNKNOWN_EXPERIMENT,
            PromoteError::Ambiguous { .. } => kind::UNCLEAR_EXPERIMENT,
            PromoteError::Store(error) => return error.into(),
        };
        Self::new(kind, detail)
    }
}

impl From<HookError> for Refusal {
    fn from(error: HookError) -> Self {
        let detail = error.to_string();
        match error {
            HookError::NotFound { .. } => Self::new(kind::UNKNOWN_HOOK, detail),
            HookError::Store(error) => error.into(),
        }
    }
}

impl From<TrialError> for Refusal {
    fn from(error: TrialError) -> Self {
        let detail = error.to_string();
        match error {
            TrialError::NotFound { .. } => Self::new(kind::UNKNOWN_HOOK, detail),
            TrialError::Busy { .. } => Self::new(kind::OVERLOADED, detail).retry_after(STORE_PAUSE),
            TrialError::Draining => draining(),
        }
    }
}

impl From<SecretError> for Refusal {
    fn from(error: SecretError) -> Self {
        let detail = error.to_string();
        match error {
            SecretError::TooLarge { limit, .. } => {
                Self::new(kind::TOO_LARGE, detail).limit("secret_bytes", limit as u64)
            }
            SecretError::TooMany { limit, .. } => {
                Self::new(kind::TOO_LARGE, detail).limit("secrets", limit as u64)
            }
            SecretError::BeingRemoved { .. } => being_removed(detail),
            SecretError::Randomness(_) => Self::new(kind::INTERNAL, detail),
            SecretError::Store(error) => error.into(),
        }
    }
}

impl From<DeployError> for Refusal {
    fn from(error: DeployError) -> Self {
        let detail = error.to_string();
        match error {
            DeployError::Bundle(_) => Self::new(kind::INVALID_BUNDLE, detail),
            DeployError::Manifest(errors) => Self::new(kind::INVALID_MANIFEST, detail).errors(items(&errors)),
            DeployError::OtherApp { .. } => Self::new(kind::OTHER_APP, detail),
            DeployError::Prepare(PrepareError::Archive(_)) => Self::new(kind::INVALID_BUNDLE, detail),
            DeployError::Prepare(PrepareError::Io(cause)) => {
                tracing::error!(cause, "a bundle could not be unpacked");
                Self::new(kind::INTERNAL, "the bundle could not be unpacked; the server's log says why")
            }
            DeployError::Prepare(PrepareError::Source { file, line, column, message }) => {
                let item = ProblemItem { line: Some(line), column: Some(column), ..source(file, message) };
                Self::new(kind::INVALID_SOURCE, detail).errors(vec![item])
            }
            DeployError::Prepare(PrepareError::Component { file, message }) => {
                Self::new(kind::INVALID_SOURCE, detail).errors(vec![source(file, message)])
            }
            DeployError::Prepare(PrepareError::Missing(file)) => {
                let item = ProblemItem {
                    help: Some("check `source` in evoke.toml, and that the file is not ignored".to_owned()),
                    ..source(file, detail.clone())
                };
                Self::new(kind::INVALID_SOURCE, detail).errors(vec![item])
            }
            DeployError::Prepare(PrepareError::Install(error)) => {
                Self::new(kind::INSTALL_FAILED, detail).errors(vec![not_installed(error)])
            }
            DeployError::Functions(failures) => {
                let errors =
                    failures.into_iter().map(|(function, failure)| does_not_load(&function, failure));
                Self::new(kind::FUNCTIONS_DO_NOT_LOAD, detail).errors(errors.collect())
            }
            DeployError::Secrets(_) => Self::new(kind::SECRETS_MISSING, detail),
            DeployError::DoesNotFit(_) => Self::new(kind::DOES_NOT_FIT, detail),
            DeployError::Schema { file, reason, .. } => Self::new(kind::INVALID_SOURCE, detail)
                .errors(vec![source(file.display().to_string(), reason)]),
            DeployError::Loops(_) => Self::new(kind::LOOP_DECLARED, detail),
            DeployError::RouteTaken { .. } => Self::new(kind::ROUTE_TAKEN, detail),
            DeployError::NothingBeside(_) => Self::new(kind::NOTHING_BESIDE, detail),
            DeployError::Concurrent(_) => Self::new(kind::CONCURRENT_DEPLOY, detail),
            DeployError::BeingRemoved(_) => being_removed(detail),
            DeployError::Draining => draining(),
            DeployError::Store(error) => error.into(),
        }
    }
}

fn being_removed(detail: String) -> Refusal {
    Refusal::new(kind::APP_BEING_REMOVED, detail).retry_after(STORE_PAUSE)
}

impl From<RolloutError> for Refusal {
    fn from(error: RolloutError) -> Self {
        let detail = error.to_string();
        match error {
            RolloutError::NotFound { .. } => Self::new(kind::UNKNOWN_APP, detail),
            RolloutError::NoCanary { .. } => Self::new(kind::NO_CANARY, detail),
            RolloutError::OtherCanary { .. } => Self::new(kind::OTHER_CANARY, detail),
            RolloutError::NoVersion { .. } => Self::new(kind::UNKNOWN_VERSION, detail),
            RolloutError::NothingBefore { .. } => Self::new(kind::NOTHING_BEFORE, detail),
            RolloutError::IsCurrent { .. } => Self::new(kind::ALREADY_CURRENT, detail),
            RolloutError::Deploy(error) => error.into(),
            RolloutError::Store(error) => error.into(),
        }
    }
}

impl From<RemovalError> for Refusal {
    fn from(error: RemovalError) -> Self {
        let detail = error.to_string();
        match error {
            RemovalError::NotFound { .. } => Self::new(kind::UNKNOWN_APP, detail),
            RemovalError::Pending { .. } => Self::new(kind::WORK_PENDING, detail),
            RemovalError::Concurrent { .. } => Self::new(kind::CONCURRENT_DEPLOY, detail),
            RemovalError::Draining => draining(),
            RemovalError::Store(error) => error.into(),
        }
    }
}

fn items(errors: &ManifestErrors) -> Vec<ProblemItem> {
    let item = |problem: &manifest::Problem| ProblemItem {
        message: problem.message.clone(),
        code: problem.code.to_string(),
        help: problem.help.clone(),
        file: Some(problem.file.clone()),
        line: Some(problem.line),
        column: Some(problem.column),
        ..ProblemItem::default()
    };
    errors.problems().iter().map(item).collect()
}

fn source(file: String, message: String) -> ProblemItem {
    ProblemItem {
        message,
        code: kind::INVALID_SOURCE.code.to_owned(),
        file: Some(file),
        ..ProblemItem::default()
    }
}

fn not_installed(error: InstallError) -> ProblemItem {
    ProblemItem {
        message: error.message,
        code: kind::INSTALL_FAILED.code.to_owned(),
        help: error.help,
        output: error.output,
        file: Some(error.file),
        line: error.line,
        ..ProblemItem::default()
    }
}

fn does_not_load(function: &FunctionName, failure: Failure) -> ProblemItem {
    ProblemItem {
        message: failure.message,
        code: failure.code.as_str().to_owned(),
        help: failure.stack,
        function: Some(function.to_string()),
        ..ProblemItem::default()
    }
}

impl From<StoreError> for Refusal {
    /// The cause stays in the log: paths, SQL and addresses are nobody's business outside.
    fn from(error: StoreError) -> Self {
        tracing::error!(%error, code = error.code(), "the store failed a request");
        let (kind, detail, pause) = match error {
            StoreError::Outcome(_) => (
                kind::STORE_OUTCOME_UNKNOWN,
                "the store did not say whether the write became durable: it may have happened; sending the same again is safe",
                Some(STORE_PAUSE),
            ),
            StoreError::Full(_) => {
                (kind::STORE_FULL, "the disk under the data directory is full; nothing was done", None)
            }
            StoreError::Invalid(_) => {
                (kind::STORE_INVALID_CALL, "the server made a mistake; its log has more", None)
            }
            StoreError::Unavailable(_) => {
                (kind::STORE_UNAVAILABLE, "the store cannot be reached; nothing was done", Some(STORE_PAUSE))
            }
            StoreError::Corrupt(_) => {
                (kind::STORE_CORRUPT, "a stored record is damaged; the server's log names it", None)
            }
            StoreError::Closed(_) => (
                kind::STORE_CLOSED,
                "the store takes no more work; the server must be started again",
                Some(RESTART_PAUSE),
            ),
        };
        let refusal = Self::new(kind, detail);
        match pause {
            Some(pause) => refusal.retry_after(pause),
            None => refusal,
        }
    }
}

impl From<BodyError> for Refusal {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::TooLarge { limit_bytes } => body_too_large(BODY_BYTES, limit_bytes),
            BodyError::Aborted(_) | BodyError::HandedOn => Self::new(kind::BODY_ABORTED, error.to_string()),
        }
    }
}

/// The name of the limit of bodies that go to functions.
pub(crate) const BODY_BYTES: &str = "body_bytes";

/// The body has more bytes than the limit of this name.
pub(crate) fn body_too_large(name: &str, limit_bytes: u64) -> Refusal {
    let detail = BodyError::TooLarge { limit_bytes }.to_string();
    Refusal::new(kind::TOO_LARGE, format!("request {detail}")).limit(name, limit_bytes)
}

pub(crate) fn draining() -> Refusal {
    Refusal::new(kind::DRAINING, "the server is shutting down").retry_after(RESTART_PAUSE)
}

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse;
    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test]
    async fn nothing_of_a_store_errors_cause_gets_out() {
        let cause = || "/secret/path: EIO".to_owned();
        for (error, status) in [
            (StoreError::Outcome(cause()), 503),
            (StoreError::Full(cause()), 507),
            (StoreError::Invalid(cause()), 500),
            (StoreError::Unavailable(cause()), 503),
            (StoreError::Corrupt(cause()), 500),
            (StoreError::Closed(cause()), 503),
        ] {
            let (code, retryable) = (error.code(), error.retryable());
            let refusals =
                [error.clone().into(), Refusal::from_call(CallError::Store(error), Failures::Told)];
            for refusal in refusals {
                let response = refusal.into_response();
                assert_eq!(response.status().as_u16(), status, "{code}");
                let body = response.into_body().collect().await.unwrap().to_bytes();
                let problem: serde_json::Value = serde_json::from_slice(&body).unwrap();
                assert_eq!(problem["code"], code);
                assert!(problem["retry"] == retryable || code == "store_closed", "{code}");
                assert!(!problem.to_string().contains("secret"), "{problem}");
            }
        }
    }

    #[test]
    fn every_failure_code_is_a_problem_of_the_same_code() {
        use FailureCode as Code;
        for code in [
            Code::FunctionError,
            Code::InitError,
            Code::Crashed,
            Code::OutOfMemory,
            Code::ProtocolViolation,
            Code::InstanceEnded,
            Code::StateConflict,
            Code::EffectsTooLarge,
            Code::EmitRefused,
            Code::Overloaded,
            Code::StoreFailed,
            Code::LoopDetected,
            Code::NotDeployed,
            Code::Cancelled,
            Code::Draining,
        ] {
            assert_eq!(kind_of(code).code, code.as_str());
        }
    }
}
