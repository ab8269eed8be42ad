//! Copies of a request for variants that are shadows: each is sent, its answer compared with the one the client gets, and dropped.
//!
//! It happens in a task of its own. The client's request is never held up: its bodies are kept while they pass (`tee`), and what
//! would go over a bound, of copies at once, of bytes, of time, is left out and counted.

use std::time::Duration;

use axum::body::Body as HttpBody;
use axum::response::{IntoResponse as _, Response};
use bytes::{Bytes, BytesMut};
use evoke_core::experiment::Copied;
use evoke_core::experiment::compare::{Answer, compare};
use evoke_core::id::RunId;
use evoke_engine::next::Onward;
use futures_util::future::join_all;
use http::header::{CONTENT_LENGTH, EXPECT, HeaderMap, HeaderName, HeaderValue, UPGRADE};
use http::request::Parts;
use http::{Extensions, Request, StatusCode};
use http_body_util::BodyExt as _;
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::time::{Instant, timeout, timeout_at};

use super::tee::{Kept, Tee};
use super::{Crossing, SHADOW};
use crate::api::{PROBLEM_HEADER, RUN_HEADER};
use crate::client::Client;
use crate::figures::{LeftOut, Sample};
use crate::headers::take_respond_async;
use crate::problem::Refusal;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Problems that say that there was no room, and nothing of the variant.
const NO_ROOM: [&str; 4] = ["overloaded", "upstream_busy", "saturated", "draining"];

/// Copies that are under way, as the client's own request sees them.
pub(super) struct Copying {
    limit_bytes: u64,
    to: oneshot::Sender<Answered>,
}

/// What the client was answered.
struct Answered {
    status: StatusCode,
    headers: HeaderMap,
    /// None where there was a refusal, whose words are compared with nothing.
    body: Option<oneshot::Receiver<Kept>>,
}

impl Copying {
    /// Begins to copy a request for the variants at `shadows`, if that may be. Its body goes on as the one that is returned.
    pub fn begin(
        crossing: &Crossing,
        shadows: Vec<usize>,
        parts: &Parts,
        body: HttpBody,
        from: Option<&Onward>,
    ) -> (HttpBody, Option<Self>) {
        let shared = &crossing.line.shared;
        let left_out = |why| {
            let series = shadows.iter().filter_map(|at| crossing.series(*at));
            series.for_each(|series| series.left_out(why));
        };
        let mut headers = parts.headers.clone();
        if headers.contains_key(UPGRADE) || take_respond_async(&mut headers).is_some() {
            left_out(LeftOut::Unsuitable);
            return (body, None);
        }
        let copies = &crossing.split.experiment.copies;
        // The request's body, the client's answer, and those of the shadows.
        let bodies = shadows.len() as u64 + 2;
        let kib = u32::try_from((copies.max_body * bodies).div_ceil(1 << 10)).unwrap_or(u32::MAX);
        let place = shared.copyists(&crossing.split).try_acquire_owned();
        let (Ok(place), Ok(room)) = (place, shared.copied_kib.clone().try_acquire_many_owned(kib)) else {
            left_out(LeftOut::Busy);
            return (body, None);
        };
        let (body, kept) = Tee::keep_of(body, copies.max_body);
        let (to, answered) = oneshot::channel();
        for name in [IDEMPOTENCY_KEY, EXPECT, CONTENT_LENGTH] {
            headers.remove(name);
        }
        let client = parts.extensions.get::<Client>();
        let arrival = shared.engine.arrival(&headers, client.map(|client| client.peer));
        let mut head = Request::new(()).into_parts().0;
        (head.method, head.uri, head.version) = (parts.method.clone(), parts.uri.clone(), parts.version);
        (head.headers, head.extensions) = (headers, Extensions::new());
        head.extensions.insert(Copied);
        if let Some(client) = client {
            head.extensions.insert(client.clone());
        }
        let task = Task {
            from: Onward::of_copy(&shared.engine, from, &arrival, copies.timeout),
            timeout: copies.timeout,
            limit_bytes: copies.max_body,
            crossing: crossing.clone(),
            shadows,
            head,
            _held: (place, room),
        };
        let stop = shared.stop.clone();
        let copying = async move { stop.run_until_cancelled(task.run(kept, answered)).await };
        // Comparing takes its time.
        shared.tracker.spawn_on(copying, &shared.home);
        (body, Some(Self { limit_bytes: copies.max_body, to }))
    }

    /// The client's answer, which is kept while it passes.
    pub fn watch(self, response: Response) -> Response {
        let (parts, body) = response.into_parts();
        let (body, kept) = Tee::keep_of(body, self.limit_bytes);
        let answered = Answered { status: parts.status, headers: parts.headers.clone(), body: Some(kept) };
        // The task may have given up.
        let _ = self.to.send(answered);
        Response::from_parts(parts, body)
    }

    /// The client was refused.
    pub fn refused(self, status: StatusCode) {
        let _ = self.to.send(Answered { status, headers: HeaderMap::new(), body: None });
    }
}

/// What sends copies and compares.
struct Task {
    crossing: Crossing,
    shadows: Vec<usize>,
    head: Parts,
    from: Onward,
    timeout: Duration,
    limit_bytes: u64,
    _held: (OwnedSemaphorePermit, OwnedSemaphorePermit),
}

impl Task {
    async fn run(self, kept: oneshot::Receiver<Kept>, answered: oneshot::Receiver<Answered>) {
        let body = match timeout(self.timeout, kept).await {
            Ok(Ok(Kept::Whole(body))) => body,
            Ok(Ok(Kept::TooLong | Kept::CutOff) | Err(_)) => return self.left_out(LeftOut::Body),
            Err(_) => return self.left_out(LeftOut::Late),
        };
        let deadline = Instant::now() + self.timeout;
        let from = self.from.until(deadline);
        let asked = self.shadows.iter().map(|at| self.ask(*at, body.clone(), from.clone(), deadline));
        let (answers, client) = futures_util::join!(join_all(asked), told(answered, deadline));
        for (at, answer) in self.shadows.iter().zip(answers) {
            let Some(answer) = answer else { continue };
            match &client {
                Ok(client) => self.compare(*at, client, &answer),
                Err(why) => self.count_left_out(*at, *why),
            }
        }
    }

    /// Sends the copy to one variant. `None` when there is nothing to compare, which is counted.
    async fn ask(&self, at: usize, body: Bytes, from: Onward, deadline: Instant) -> Option<Answer> {
        let mut request = Request::from_parts(self.head.clone(), HttpBody::from(body));
        let name = format!("{}={}", self.crossing.split.name, self.crossing.split.variant(at));
        if let Ok(name) = HeaderValue::from_str(&name) {
            request.headers_mut().insert(SHADOW, name);
        }
        self.crossing.name_variant(at, request.headers_mut());
        let began = Instant::now();
        let answer = self.crossing.way(at).go(0, request, Some(from));
        // What it is answered because its time is over is late as well.
        let answer = timeout_at(deadline, answer).await.ok().filter(|_| Instant::now() < deadline);
        let Some(answer) = answer else {
            self.count_left_out(at, LeftOut::Late);
            return None;
        };
        let (parts, body) = answer.unwrap_or_else(Refusal::into_response).into_parts();
        let problem = parts.headers.get(PROBLEM_HEADER).and_then(|code| code.to_str().ok());
        if problem.is_some_and(|code| NO_ROOM.contains(&code)) {
            self.count_left_out(at, LeftOut::Busy);
            return None;
        }
        if let Some(series) = self.crossing.series(at) {
            series.answered(parts.status, began.elapsed());
        }
        let Ok(body) = timeout_at(deadline, read(body, self.limit_bytes)).await else {
            self.count_left_out(at, LeftOut::Late);
            return None;
        };
        Some(Answer { status: parts.status, headers: parts.headers, body })
    }

    fn compare(&self, at: usize, client: &Answer, shadow: &Answer) {
        let compared = compare(&self.crossing.split.experiment.compare, client, shadow);
        let run = |answer: &Answer| {
            let run = answer.headers.get(RUN_HEADER).and_then(|run| run.to_str().ok());
            run.map(RunId::from_text)
        };
        let sample = (!compared.differences.is_empty()).then(|| Sample {
            at: self.crossing.line.shared.engine.now(),
            method: self.head.method.to_string(),
            path: self.head.uri.path().chars().take(200).collect(),
            differences: compared.differences,
            answered_by: run(client),
            shadow_by: run(shadow),
        });
        if let Some(series) = self.crossing.series(at) {
            series.compared(compared.is_cut, sample);
        }
    }

    fn left_out(&self, why: LeftOut) {
        self.shadows.iter().for_each(|at| self.count_left_out(*at, why));
    }

    fn count_left_out(&self, at: usize, why: LeftOut) {
        if let Some(series) = self.crossing.series(at) {
            series.left_out(why);
        }
    }
}

/// What the client was answered, when all of it is there in time.
async fn told(answered: oneshot::Receiver<Answered>, deadline: Instant) -> Result<Answer, LeftOut> {
    let Answered { status, headers, body } =
        timeout_at(deadline, answered).await.map_err(|_| LeftOut::Late)?.map_err(|_| LeftOut::Gone)?;
    let body = match body {
        None => None,
        Some(kept) => match timeout_at(deadline, kept).await.map_err(|_| LeftOut::Late)? {
            Ok(Kept::Whole(body)) => Some(body),
            Ok(Kept::TooLong) => None,
            Ok(Kept::CutOff) | Err(_) => return Err(LeftOut::Gone),
        },
    };
    Ok(Answer { status, headers, body })
}

/// The body, unless it is too long or breaks off.
async fn read(mut body: HttpBody, limit_bytes: u64) -> Option<Bytes> {
    let mut all = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.ok()?.into_data() else { continue };
        if (all.len() + data.len()) as u64 > limit_bytes {
            return None;
        }
        all.extend_from_slice(&data);
    }
    Some(all.freeze())
}
