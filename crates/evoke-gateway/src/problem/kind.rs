//! The table of all problems. `docs/reference/http-errors.md` repeats it, and a test compares the two.

use http::StatusCode;

use crate::api::EndedBy;

/// A kind of problem.
#[derive(Debug)]
pub(crate) struct Kind {
    /// For programs; never changes.
    pub code: &'static str,
    /// The status it is answered with.
    pub status: StatusCode,
    /// The same for every occurrence.
    pub title: &'static str,
    /// Whether the same request can succeed later.
    pub retry: bool,
    /// Who ended the call, where it is always the same.
    pub ended_by: Option<EndedBy>,
    /// What it means and what to do, for people.
    pub about: &'static str,
}

macro_rules! kinds {
    ($($name:ident: $status:ident, $retry:literal, $ended_by:expr, $code:literal, $title:literal, $about:literal;)*) => {
        $(pub(crate) const $name: &Kind = &Kind {
            code: $code,
            status: StatusCode::$status,
            title: $title,
            retry: $retry,
            ended_by: $ended_by,
            about: $about,
        };)*

        /// All kinds, by status.
        pub(crate) const ALL: &[&Kind] = &[$($name),*];
    };
}

const CALLER: Option<EndedBy> = Some(EndedBy::Caller);
const FUNCTION: Option<EndedBy> = Some(EndedBy::Function);
const UPSTREAM: Option<EndedBy> = Some(EndedBy::Upstream);
const OPERATOR: Option<EndedBy> = Some(EndedBy::Operator);
const PLATFORM: Option<EndedBy> = Some(EndedBy::Platform);

kinds! {
    INVALID_REQUEST: BAD_REQUEST, false, None, "invalid_request", "invalid request",
        "A part of the request is malformed: the path, the query, a header field or the JSON of the body. The detail names it.";
    MESSAGE_REFUSED: BAD_REQUEST, false, CALLER, "message_refused", "not HTTP to the letter",
        "The bytes of the request are not HTTP/1.1 to the letter, so that another server could take them for another request, or for two. The detail names the rule. The connection is closed.";
    INVALID_EVENT: BAD_REQUEST, false, None, "invalid_event", "not a CloudEvent",
        "What was published breaks a rule of CloudEvents 1.0, or is over the size of one event. The detail names the attribute and the rule; none of a batch was accepted.";
    BODY_ABORTED: BAD_REQUEST, true, CALLER, "body_aborted", "request body ended early",
        "The client stopped sending before the end of the body.";
    UNAUTHORIZED: UNAUTHORIZED, false, None, "unauthorized", "no valid token",
        "The control API wants `Authorization: Bearer evoke_…` with the token in `admin.token` in the server's data directory.";
    UNAUTHENTICATED: UNAUTHORIZED, false, None, "unauthenticated", "who is it?",
        "A decorator of the route lets only those pass who present a name with its password, a token or a key it knows; `WWW-Authenticate` says which.";
    REPORT_REFUSED: UNAUTHORIZED, false, None, "report_refused", "not accepted",
        "What came to a webhook was not signed as it must be, or too long ago. The server's log says what was wrong; the sender is not told.";
    ORIGIN_REFUSED: FORBIDDEN, false, None, "origin_refused", "origin refused",
        "A beacon takes reports of pages of the origins its `origins` names only.";
    PATH_REFUSED: BAD_REQUEST, false, CALLER, "path_refused", "path refused",
        "The path has a segment that is `.` or `..`, also as `%2e`; what is behind the route could take it as a way up.";
    NOT_FOUND: NOT_FOUND, false, None, "not_found", "no such path",
        "The control API has nothing at this path.";
    NO_ROUTE: NOT_FOUND, false, None, "no_route", "no route",
        "No app has a route with this path. `evoke functions ls` lists the routes there are.";
    UNKNOWN_APP: NOT_FOUND, false, None, "unknown_app", "unknown app",
        "No app of this name is deployed.";
    UNKNOWN_FUNCTION: NOT_FOUND, false, None, "unknown_function", "unknown function",
        "The app has no function of this name.";
    UNKNOWN_VERSION: NOT_FOUND, false, None, "unknown_version", "unknown version",
        "No version of this number is kept, or it does no work. `evoke versions` lists those there are.";
    NO_CANARY: NOT_FOUND, false, None, "no_canary", "no canary",
        "The app has no canary: it was promoted or withdrawn, or there never was one.";
    UNKNOWN_RUN: NOT_FOUND, false, None, "unknown_run", "unknown run",
        "The app has no run of this id, or it is older than runs are kept.";
    UNKNOWN_SUBSCRIPTION: NOT_FOUND, false, None, "unknown_subscription", "unknown subscription",
        "The function has no subscription of this name. `evoke subscriptions ls` lists those there are.";
    UNKNOWN_HOOK: NOT_FOUND, false, None, "unknown_hook", "unknown hook",
        "The app has no hook of this name. `evoke hooks ls` lists those there are.";
    UNKNOWN_SECRET: NOT_FOUND, false, None, "unknown_secret", "unknown secret",
        "The app has no secret of this name.";
    UNKNOWN_EVENT: NOT_FOUND, false, None, "unknown_event", "unknown event",
        "The app has no event of this id, or it is older than events are kept.";
    UNKNOWN_WAIT: NOT_FOUND, false, None, "unknown_wait", "unknown wait",
        "The app has no wait of this id: its event came, its time was over, or it was taken back.";
    UNKNOWN_REPLAY: NOT_FOUND, false, None, "unknown_replay", "unknown replay",
        "The app has no replay of this id, or it ended long ago. `evoke replays ls` lists those there are.";
    NO_RESULT: NOT_FOUND, false, None, "no_result", "no result",
        "What the function answered is kept for asynchronous calls that were completed, for a time. The detail says why there is none.";
    NOT_DEPLOYED: NOT_FOUND, false, PLATFORM, "not_deployed", "no longer deployed",
        "The function was removed by a deployment while the call waited for it.";
    METHOD_NOT_ALLOWED: METHOD_NOT_ALLOWED, false, None, "method_not_allowed", "method not allowed",
        "The path exists, but not with this method; `Allow` lists those it has.";
    REQUEST_TIMEOUT: REQUEST_TIMEOUT, true, CALLER, "request_timeout", "request body came too slowly",
        "A body that has to be whole before it is used did not arrive within the time limit.";
    STATE_CONFLICT: CONFLICT, true, PLATFORM, "state_conflict", "state conflict",
        "Other calls kept changing a key this call wrote after it had read it. Nothing of the call was kept; the same request can succeed. Evoke makes such a call again by itself where that is safe, up to eight times in all.";
    NOTHING_BESIDE: CONFLICT, false, None, "nothing_beside", "nothing to be beside",
        "A canary is a version beside the current one, and the app was never deployed.";
    OTHER_CANARY: CONFLICT, false, None, "other_canary", "another canary",
        "The app's canary is another version than the one that was named. Nothing was changed.";
    NOTHING_BEFORE: CONFLICT, false, None, "nothing_before", "nothing to go back to",
        "No version that is kept was current before this one and differs from it. `evoke versions` lists those there are.";
    ALREADY_CURRENT: CONFLICT, false, None, "already_current", "already current",
        "The version to go back to is the one that does the work.";
    CONCURRENT_DEPLOY: CONFLICT, true, None, "concurrent_deploy", "concurrent deployment",
        "Somebody else deployed the same app at the same moment. Nothing was changed; look at what is deployed, and deploy again.";
    APP_BEING_REMOVED: CONFLICT, true, None, "app_being_removed", "app being removed",
        "An app of this name is being removed, and something of it is still there. Nothing was changed; it can be deployed again when that is done.";
    WORK_PENDING: CONFLICT, false, None, "work_pending", "work pending",
        "The app has queued invocations, events that wait for their time, or waits. Nothing was removed. Let them be done, or say that they are to be dropped: `drop_pending`.";
    RUN_PENDING: CONFLICT, true, None, "run_pending", "run has not ended",
        "The run waits or is being attempted, so that there is no result yet. Try again after `Retry-After`, or wait in the request: `?wait=30s`.";
    RUN_ENDED: CONFLICT, false, None, "run_ended", "run has ended",
        "The run came to an end by itself before it could be cancelled; the detail says to which. Nothing was changed.";
    ROUTE_TAKEN: CONFLICT, false, None, "route_taken", "route taken",
        "Another app has a route with the same path and method. Nothing was changed.";
    UNKNOWN_ROUTE: NOT_FOUND, false, None, "unknown_route", "unknown route",
        "The app has no route of that name, or several with that path; the detail says which. `evoke routes ls` lists them.";
    UNKNOWN_EXPERIMENT: NOT_FOUND, false, None, "unknown_experiment", "unknown experiment",
        "The route has no such experiment, or none of its experiments has such a variant; the detail names what there is.";
    UNCLEAR_EXPERIMENT: CONFLICT, false, None, "unclear_experiment", "unclear experiment",
        "Several experiments on the route could be meant. Nothing was changed; say which.";
    NEXT_REFUSED: CONFLICT, false, None, "next_refused", "not passed on",
        "Told to a decorator: the request's body cannot be handed on again, or it has gone on as often as it may. The detail says which.";
    KEY_IN_USE: CONFLICT, true, None, "key_in_use", "idempotency key in use",
        "The first call with this `Idempotency-Key` is still running. Ask again for its answer.";
    TOO_LARGE: PAYLOAD_TOO_LARGE, false, PLATFORM, "too_large", "too large",
        "The body, or what was published, is over a limit; `limit` names it.";
    UNSUPPORTED_MEDIA_TYPE: UNSUPPORTED_MEDIA_TYPE, false, None, "unsupported_media_type", "unsupported media type",
        "The body is not of the type this path takes; the detail names it.";
    HOST_REFUSED: MISDIRECTED_REQUEST, false, None, "host_refused", "host refused",
        "A control listener on a loopback address answers only requests for that address, so that a web page whose host name was rebound to this machine gets nothing.";
    TOO_MANY_REPLAYS: CONFLICT, true, None, "too_many_replays", "too many replays",
        "As many replays of the app are under way as may be. `evoke replays ls` lists them; wait for one to end, or cancel one.";
    NOTHING_TO_REPLAY: UNPROCESSABLE_ENTITY, false, None, "nothing_to_replay", "nothing to replay",
        "No event that is still kept was accepted in the range. `evoke events ls` lists those there are.";
    KEY_REUSED: UNPROCESSABLE_ENTITY, false, None, "key_reused", "idempotency key reused",
        "The `Idempotency-Key` was used within the last day for a different request. Choose another one.";
    EXPECTATION_REFUSED: EXPECTATION_FAILED, false, CALLER, "expectation_refused", "expectation refused",
        "The request has an `Expect` other than `100-continue`.";
    INVALID_BUNDLE: UNPROCESSABLE_ENTITY, false, None, "invalid_bundle", "unusable bundle",
        "The deployed archive is not a usable tar, or over a limit. Nothing was changed.";
    INVALID_MANIFEST: UNPROCESSABLE_ENTITY, false, None, "invalid_manifest", "invalid manifest",
        "`evoke.toml` has problems; `errors` lists each with its place. Nothing was changed.";
    OTHER_APP: UNPROCESSABLE_ENTITY, false, None, "other_app", "manifest of another app",
        "The manifest names another app than the path. Nothing was changed.";
    INVALID_SOURCE: UNPROCESSABLE_ENTITY, false, None, "invalid_source", "invalid source",
        "A source file is missing or cannot be translated; `errors` has its place. Nothing was changed.";
    SECRETS_MISSING: UNPROCESSABLE_ENTITY, false, None, "secrets_missing", "secrets are not set",
        "The manifest names secrets that have no value yet; the detail lists them. Set each with `evoke secrets set`. Nothing was changed.";
    INSTALL_FAILED: UNPROCESSABLE_ENTITY, true, None, "install_failed", "packages not installed",
        "Packages that a `requirements.txt` or `package.json` asks for could not be installed; `errors` has the file, its line and the tool's last lines. Nothing was changed.";
    FUNCTIONS_DO_NOT_LOAD: UNPROCESSABLE_ENTITY, false, None, "functions_do_not_load", "functions do not load",
        "Functions were loaded once to see whether they can be, and could not; `errors` lists each. Nothing was changed.";
    DOES_NOT_FIT: UNPROCESSABLE_ENTITY, false, PLATFORM, "does_not_fit", "does not fit on this node",
        "A function's `memory`, or all `min_instances` together, are more than the node has for instances. Nothing was changed.";
    LOOP_DECLARED: UNPROCESSABLE_ENTITY, false, PLATFORM, "loop_declared", "functions call each other in a circle",
        "The manifest has `loops = \"deny\"` and its functions can lead to each other in a circle, by `emits` and `on` or by `calls`; the detail names it. Nothing was changed.";
    INVALID_BODY: UNPROCESSABLE_ENTITY, false, None, "invalid_body", "invalid body",
        "A decorator of the route has a JSON Schema, and the body is not valid by it. `errors` lists what is wrong, each with the `pointer` to its place.";
    OVERLOADED: TOO_MANY_REQUESTS, true, PLATFORM, "overloaded", "overloaded",
        "A bound of the function, of its app or of the path on what is done or waits at the same time was reached; `limit` names it. Or more calls came than could be taken for some time, or the call would have waited longer than it may. Try again after `Retry-After`.";
    RATE_LIMITED: TOO_MANY_REQUESTS, true, PLATFORM, "rate_limited", "too many requests",
        "The function's `rate` was reached, or that of a decorator of the route. Try again after `Retry-After`.";
    HEADERS_TOO_LARGE: REQUEST_HEADER_FIELDS_TOO_LARGE, false, PLATFORM, "headers_too_large", "header fields too large",
        "The request has too many header fields. Over HTTP/1.1 this, and header fields that are too long, are answered without a body.";
    INTERNAL: INTERNAL_SERVER_ERROR, false, PLATFORM, "internal", "internal error",
        "A mistake in Evoke itself. The server's log has more; please report it.";
    STORE_CORRUPT: INTERNAL_SERVER_ERROR, false, PLATFORM, "store_corrupt", "stored record is damaged",
        "A record on disk does not have the checksum it was written with. The server's log names it.";
    STORE_INVALID_CALL: INTERNAL_SERVER_ERROR, false, PLATFORM, "store_invalid_call", "internal error",
        "Evoke used its store in a way the store refuses: a mistake in Evoke itself. The server's log has more; please report it.";
    CODING_REFUSED: NOT_IMPLEMENTED, false, CALLER, "coding_refused", "transfer coding refused",
        "The request has a `Transfer-Encoding` other than `chunked`. The connection is closed.";
    FUNCTION_ERROR: BAD_GATEWAY, false, FUNCTION, "function_error", "function failed",
        "The handler threw, or returned something that is no answer. The run has the message and the logs.";
    INIT_ERROR: BAD_GATEWAY, false, FUNCTION, "init_error", "function could not be loaded",
        "The function's source could not be loaded by a new instance, or has no handler.";
    CRASHED: BAD_GATEWAY, true, FUNCTION, "crashed", "function crashed",
        "The instance exited or was killed by a signal while it ran the call. It has been replaced.";
    OUT_OF_MEMORY: BAD_GATEWAY, true, PLATFORM, "out_of_memory", "function ran out of memory",
        "The instance went over the function's memory limit and was ended. It has been replaced.";
    PROTOCOL_VIOLATION: BAD_GATEWAY, true, PLATFORM, "protocol_violation", "function broke the protocol",
        "The instance sent something that is no answer in HTTP or in the worker protocol, and was ended.";
    EFFECTS_TOO_LARGE: BAD_GATEWAY, false, PLATFORM, "effects_too_large", "too many effects",
        "The call published or wrote more than one attempt may. Nothing of it was kept.";
    EMIT_REFUSED: BAD_GATEWAY, false, PLATFORM, "emit_refused", "event refused",
        "The function published an event whose type its manifest's `emits` does not name, or one that is invalid. Nothing of the call was kept.";
    CANCELLED_BY_OPERATOR: BAD_GATEWAY, false, OPERATOR, "cancelled_by_operator", "cancelled by the operator",
        "Somebody with the token cancelled the run; the detail has the reason that was given. Nothing of it was kept unless it had answered before.";
    UPSTREAM_FAILED: BAD_GATEWAY, true, UPSTREAM, "upstream_failed", "upstream failed",
        "The server behind the route could not be reached, may not be, or gave no answer that is HTTP. The server's log says which.";
    UPSTREAM_BUSY: SERVICE_UNAVAILABLE, true, PLATFORM, "upstream_busy", "upstream busy",
        "As many requests as the route's `concurrency` allows are under way to the server behind it.";
    INSTANCE_ENDED: SERVICE_UNAVAILABLE, true, PLATFORM, "instance_ended", "instance was ended",
        "The call's instance was ended because another call in it did not stop at its time limit. Nothing of this one was kept unless it had answered before.";
    SATURATED: SERVICE_UNAVAILABLE, true, PLATFORM, "saturated", "node saturated",
        "A bound of the node was reached, which all its apps share; `limit` names it. Try again after `Retry-After`; another node may have room.";
    CANCELLED: SERVICE_UNAVAILABLE, true, CALLER, "cancelled", "cancelled",
        "The call was cancelled because its caller went away.";
    DRAINING: SERVICE_UNAVAILABLE, true, PLATFORM, "draining", "shutting down",
        "The server takes no new work because it is shutting down.";
    STORE_UNAVAILABLE: SERVICE_UNAVAILABLE, true, PLATFORM, "store_unavailable", "store unavailable",
        "What is durable cannot be reached at the moment. Nothing was done.";
    STORE_OUTCOME_UNKNOWN: SERVICE_UNAVAILABLE, true, PLATFORM, "store_outcome_unknown", "outcome unknown",
        "The store did not say whether the write became durable: it may have happened. Sending the same again is safe: its event ids or its `Idempotency-Key` tell that it is the same, or doing it twice does no more than doing it once.";
    EFFECTS_UNKNOWN: SERVICE_UNAVAILABLE, false, PLATFORM, "effects_unknown", "outcome unknown, and not to be repeated",
        "The store did not say whether the write became durable, and nothing would tell the same request, sent again, from a new one. The detail says how to find out. With an `Idempotency-Key` it would be safe to repeat.";
    STORE_FAILED: SERVICE_UNAVAILABLE, false, PLATFORM, "store_failed", "effects not kept",
        "The store did not take what the call wrote and published, or did not say whether it did; the run says which.";
    STORE_CLOSED: SERVICE_UNAVAILABLE, true, PLATFORM, "store_closed", "store closed",
        "The store refuses further work, because it is shutting down or because a write to disk failed. The server must be started again.";
    NOT_CACHED: GATEWAY_TIMEOUT, false, CALLER, "not_cached", "nothing kept",
        "The request has `Cache-Control: only-if-cached`, and the cache that stands before has no fresh answer.";
    TIMED_OUT: GATEWAY_TIMEOUT, true, PLATFORM, "timed_out", "function timed out",
        "The call reached the function's time limit and was ended; nothing of it was kept unless it had answered before.";
    TOO_LATE: GATEWAY_TIMEOUT, true, PLATFORM, "too_late", "no time left",
        "The calling function had less time left than this one usually takes; it was not started.";
    UPSTREAM_TIMED_OUT: GATEWAY_TIMEOUT, true, UPSTREAM, "upstream_timed_out", "upstream timed out",
        "The server behind the route did not connect or begin its answer within the route's limits; it may have done what was asked all the same.";
    STORE_FULL: INSUFFICIENT_STORAGE, true, PLATFORM, "store_full", "no space left",
        "The disk under the data directory is full. Nothing was done.";
    LOOP_DETECTED: LOOP_DETECTED, false, PLATFORM, "loop_detected", "loop stopped",
        "The chain of calls and events that led to this call has reached a bound: `depth`, `reentries` or `invocations`. The detail has the whole chain, the part that goes round, and what closed it. Or a request for an upstream already went through this server (`CDN-Loop`): the server behind the route leads back here.";
}

/// The kind with this code.
pub(crate) fn by_code(code: &str) -> Option<&'static Kind> {
    ALL.iter().copied().find(|kind| kind.code == code)
}
