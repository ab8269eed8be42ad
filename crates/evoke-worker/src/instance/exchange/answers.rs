//! Platform requests under way.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use evoke_core::runtime::{PlatformRequest, PlatformResponse, Report};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use http::{Method, StatusCode};
use tokio::sync::oneshot;

use crate::frame::message::{self, AnswerHead, HeaderBounds, HeadersOut, Platform, PlatformHead};
use crate::frame::{Encoder, FrameError, Kind, PLATFORM_BYTES_IN_FLIGHT, PLATFORM_IN_FLIGHT};
use crate::instance::problem::{NOBODY, problem};

/// The requests that have not been answered.
#[derive(Debug, Default)]
pub(super) struct Answers {
    /// Made for the first one: most calls ask nothing.
    open: Option<FuturesUnordered<Open>>,
    bytes: usize,
}

#[derive(Debug)]
struct Open {
    request: u32,
    bytes: usize,
    answer: oneshot::Receiver<PlatformResponse>,
}

/// A request with its answer.
#[derive(Debug)]
pub(super) struct Answered {
    request: u32,
    response: PlatformResponse,
}

impl Answers {
    pub(super) fn is_empty(&self) -> bool {
        self.open.as_ref().is_none_or(FuturesUnordered::is_empty)
    }

    /// Turns a frame into a report for whoever answers.
    pub(super) fn ask(&mut self, platform: Platform, bounds: HeaderBounds) -> Result<Report, FrameError> {
        let malformed = |message: String| FrameError::Malformed { kind: Kind::Platform, message };
        let Platform { request, head, body } = platform;
        let open = self.open.get_or_insert_default();
        if open.len() >= PLATFORM_IN_FLIGHT {
            return Err(malformed(format!("{PLATFORM_IN_FLIGHT} requests are under way already")));
        }
        let bytes = body.len();
        if self.bytes + bytes > PLATFORM_BYTES_IN_FLIGHT && !open.is_empty() {
            return Err(malformed(format!(
                "the requests under way have more than {PLATFORM_BYTES_IN_FLIGHT} bytes"
            )));
        }
        if open.iter().any(|open| open.request == request) {
            return Err(malformed(format!("request number {request} is under way already")));
        }
        let head: PlatformHead<'_> = message::parse(Kind::Platform, &head)?;
        let method = Method::from_bytes(head.method.as_bytes()).map_err(|_| {
            malformed(format!("{:?} is not a method", head.method.chars().take(40).collect::<String>()))
        })?;
        if !head.path.starts_with('/') {
            return Err(malformed("its path does not start with /".to_owned()));
        }
        let headers = head.headers.check(Kind::Platform, bounds)?;
        let (answer, answered) = oneshot::channel();
        self.bytes += bytes;
        open.push(Open { request, bytes, answer: answered });
        let request = PlatformRequest { method, path: head.path.into_owned(), headers, body };
        Ok(Report::Platform { request, answer })
    }

    /// The next answer. Safe to drop and call again. Waits for ever when nothing was asked.
    pub(super) async fn next(&mut self) -> Answered {
        let answered = match &mut self.open {
            Some(open) => open.next().await,
            None => None,
        };
        match answered {
            Some((answered, bytes)) => {
                self.bytes -= bytes;
                answered
            }
            None => std::future::pending().await,
        }
    }
}

impl Future for Open {
    type Output = (Answered, usize);

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = std::task::ready!(Pin::new(&mut self.answer).poll(context));
        let response =
            answer.unwrap_or_else(|_| problem(StatusCode::SERVICE_UNAVAILABLE, "unavailable", NOBODY));
        Poll::Ready((Answered { request: self.request, response }, self.bytes))
    }
}

impl Answered {
    /// Sends the answer to the worker.
    pub(super) fn write(self, call: u32, encoder: &mut Encoder) {
        let Self { request, mut response } = self;
        let mut head = head_of(&response);
        if 8 + head.len() + response.body.len() > Kind::Answer.payload_max() {
            let detail = "the answer is larger than a worker may be sent";
            response = problem(StatusCode::BAD_GATEWAY, "too_large", detail);
            head = head_of(&response);
        }
        // Below the bound just checked.
        let head_bytes = (head.len() as u32).to_le_bytes();
        encoder.parts(Kind::Answer, call, &[&request.to_le_bytes(), &head_bytes, &head, &response.body]);
    }
}

fn head_of(response: &PlatformResponse) -> Vec<u8> {
    let head = AnswerHead { status: response.status.as_u16(), headers: HeadersOut(&response.headers) };
    serde_json::to_vec(&head).expect("a status and header fields are always JSON")
}
