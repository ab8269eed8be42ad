//! Log lines: those there are, and those to come.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use evoke_core::id::{AppName, FunctionName, RunId};
use evoke_core::record::LogRecord;
use evoke_core::store::LogQuery;
use futures_util::{Stream, stream};
use http::HeaderMap;
use http::header::{CACHE_CONTROL, HeaderValue};
use serde::Deserialize;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::time::Instant;
use utoipa::IntoParams;

use super::extract::{Params, Segments, invalid, limit, position, wants_stream};
use crate::api::{LogLine, LogList};
use crate::gateway::Shared;
use crate::problem::{Refusal, kind};
use crate::turnover::Stay;

/// A comment keeps a silent connection alive.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// A line is announced a little before the store has it; so long it is looked for again and again.
const CATCH_UP: Duration = Duration::from_secs(2);
const CATCH_UP_PAUSE: Duration = Duration::from_millis(20);
/// Without any announcement the store is looked at so often: other nodes write lines too.
const LOOK: Duration = Duration::from_secs(5);
/// Lines of one look at the store.
const LINES: usize = 500;

/// Which log lines.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Filter {
    /// Of this function.
    #[param(value_type = Option<String>)]
    function: Option<FunctionName>,
    /// Of this run.
    run: Option<String>,
    /// `next` of the page before, or `seq` of a line: what comes after it.
    after: Option<String>,
    /// At most so many; when following, so many of the newest to begin with, also none.
    limit: Option<usize>,
    /// Whether to go on with new lines as a stream of server-sent events.
    follow: Option<bool>,
}

/// Log lines, oldest first; as server-sent events, with new ones as they come.
///
/// Each event has `event: log`, `id: <seq>` and a `LogLine` as data. A client that comes back with `Last-Event-ID` misses
/// nothing.
#[utoipa::path(get, path = "/v1/apps/{app}/logs", tag = "logs", operation_id = "list_logs",
    params(("app" = String, Path), Filter,
        ("last-event-id" = Option<String>, Header, description = "Resume a stream after this event")),
    responses((status = 200, content(
        (LogList = "application/json"),
        (String = "text/event-stream")))))]
pub(super) async fn list(
    State(shared): State<Arc<Shared>>,
    Segments(app): Segments<AppName>,
    Params(filter): Params<Filter>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    shared.app(&app)?;
    let follow = filter.follow.unwrap_or_else(|| wants_stream(&headers));
    let limit = limit(filter.limit, if follow { 0 } else { 1 }, shared.engine.limits().page)?;
    let mut query = LogQuery {
        app: Some(app),
        function: filter.function,
        run: filter.run.map(RunId::from_text),
        after: position("after", filter.after.as_deref())?,
        limit,
    };
    if follow {
        if let Some(last) = headers.get("last-event-id") {
            let last = last.to_str().ok().and_then(|last| last.parse().ok());
            query.after =
                Some(last.ok_or_else(|| invalid("header Last-Event-ID is not an id this stream gave"))?);
        }
        return Ok(stream(shared, query).await?.into_response());
    }
    let lines: Vec<LogLine> = shared.engine.store().logs(&query).await?.into_iter().map(Into::into).collect();
    let next = lines.last().map(|line| line.seq.to_string()).or(filter.after);
    Ok(Json(LogList { lines, next }).into_response())
}

async fn stream(shared: Arc<Shared>, query: LogQuery) -> Result<impl IntoResponse, Refusal> {
    let place = shared.followers.clone().try_acquire_owned().map_err(|_| {
        let limit = shared.bounds.followers as u64;
        let detail = format!("{limit} clients follow logs already, and there is no place for another");
        Refusal::new(kind::OVERLOADED, detail).limit("followers", limit).retry_after(shared.again(
            &shared.follower_turnover,
            1,
            limit,
        ))
    })?;
    // Listening starts before the first look, so that no line falls between the two.
    let announced = shared.engine.tail_logs();
    let follower = Follower::start(shared, query, announced, place).await?;
    let events = Sse::new(follow(follower)).keep_alive(KeepAlive::new().interval(HEARTBEAT));
    Ok(([(CACHE_CONTROL, HeaderValue::from_static("no-store"))], events))
}

/// A look at the store after each announcement; what was found and not sent yet waits here.
struct Follower {
    shared: Arc<Shared>,
    query: LogQuery,
    announced: broadcast::Receiver<LogRecord>,
    found: VecDeque<LogLine>,
    /// A line was announced that may not be in the store yet: look again until then.
    expected_until: Option<Instant>,
    _place: OwnedSemaphorePermit,
    _stay: Stay,
}

impl Follower {
    async fn start(
        shared: Arc<Shared>,
        mut query: LogQuery,
        announced: broadcast::Receiver<LogRecord>,
        place: OwnedSemaphorePermit,
    ) -> Result<Self, Refusal> {
        let mut found = VecDeque::new();
        if query.after.is_none() {
            let wanted = query.limit;
            // Also to begin with none, where the end is has to be known.
            query.limit = wanted.max(1);
            found = shared.engine.store().logs(&query).await?.into_iter().map(LogLine::from).collect();
            query.after = Some(found.back().map_or(0, |line: &LogLine| line.seq));
            if wanted == 0 {
                found.clear();
            }
        }
        query.limit = LINES;
        // Lines from between the first look and now have been announced already, or come with the next look.
        let expected_until = Some(Instant::now());
        let stay = shared.follower_turnover.stay();
        Ok(Self { shared, query, announced, found, expected_until, _place: place, _stay: stay })
    }

    /// The next line, once there is one. `None` when the server stops or the store fails: the client comes back.
    async fn next(&mut self) -> Option<LogLine> {
        loop {
            if let Some(line) = self.found.pop_front() {
                return Some(line);
            }
            if !self.look().await? {
                let stop = self.shared.stop.clone();
                stop.run_until_cancelled(self.wait()).await?;
            }
        }
    }

    /// Whether the store had something new.
    async fn look(&mut self) -> Option<bool> {
        match self.shared.engine.store().logs(&self.query).await {
            Ok(lines) => {
                self.found.extend(lines.into_iter().map(LogLine::from));
                let Some(last) = self.found.back() else { return Some(false) };
                self.query.after = Some(last.seq);
                self.expected_until = None;
                Some(true)
            }
            Err(error) => {
                tracing::warn!(%error, "a follower of logs was sent away");
                None
            }
        }
    }

    /// Until it is worth while to look again.
    async fn wait(&mut self) {
        if self.expected_until.is_some_and(|until| Instant::now() < until) {
            return tokio::time::sleep(CATCH_UP_PAUSE).await;
        }
        self.expected_until = None;
        let line_comes = async {
            loop {
                match self.announced.recv().await {
                    Ok(line) if !concerns(&self.query, &line) => {}
                    Ok(_) | Err(RecvError::Lagged(_)) => return,
                    Err(RecvError::Closed) => return std::future::pending().await,
                }
            }
        };
        if tokio::time::timeout(LOOK, line_comes).await.is_ok() {
            self.expected_until = Some(Instant::now() + CATCH_UP);
        }
    }
}

fn concerns(query: &LogQuery, line: &LogRecord) -> bool {
    query.app.as_ref().is_none_or(|app| *app == line.app)
        && query.function.as_ref().is_none_or(|function| *function == line.function)
        && query.run.as_ref().is_none_or(|run| *run == line.run)
}

fn follow(follower: Follower) -> impl Stream<Item = Result<Event, Infallible>> {
    stream::unfold(follower, |mut follower| async move {
        let line = follower.next().await?;
        let event = Event::default().event("log").id(line.seq.to_string());
        let event =
            event.json_data(&line).unwrap_or_else(|_| Event::default().comment("a line that is no JSON"));
        Some((Ok(event), follower))
    })
}
