//! What is made of what a process asks and answers during a call.

use bytes::BytesMut;
use evoke_core::body::Body;
use evoke_core::outcome::{Failure, FailureCode};
use evoke_core::runtime::{Ended, Input, Report, Response};
use http::{Method, StatusCode};
use tokio::sync::oneshot;

use super::super::answering::{self, Answering, Form};
use super::super::ask::{self, Ask, Chunk, Of, Poll};
use super::super::error::GuestError;
use super::super::reply::Reply;
use super::{End, Over, Running, Stage, invocation};
use crate::aside::aside;
use crate::function_url::{self, Prelude, Split};
use crate::instance::problem::problem;
use crate::instance::returned;

impl Running<'_, '_> {
    /// Answers an ask. `Some` when that ended the call.
    pub(super) async fn take(&mut self, ask: Ask) -> Option<Over> {
        match ask {
            Ask::Next(poll) => return self.take_poll(poll).await,
            Ask::Response(response) => self.take_response(response),
            Ask::Error { of, error, reply } => self.take_error(&of, error, reply),
            Ask::InitError { reply, .. } => {
                let refused = Reply::wrong_state("the function has been initialised already");
                self.refuse("reported an error of its initialisation", &refused);
                let _ = reply.send(refused);
            }
            Ask::Platform { request, answer } if !matches!(self.stage, Stage::Waiting(_)) => {
                self.reports.push(Report::Platform { request, answer });
            }
            Ask::Platform { answer, .. } => {
                let detail = "no invocation is under way in whose name the platform could be asked";
                let _ = answer.send(problem(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail));
            }
            Ask::Tell(line) => self.tell(line),
        }
        None
    }

    async fn take_poll(&mut self, poll: Poll) -> Option<Over> {
        match std::mem::replace(&mut self.stage, Stage::Invoked) {
            Stage::Waiting(invocation) => {
                self.stage = Stage::Waiting(invocation);
                self.parts.desk.park(poll);
                self.hand_out();
                None
            }
            Stage::Answered(end) => {
                self.parts.desk.park(poll);
                Some(self.finish(end))
            }
            stage => {
                self.stage = stage;
                let message =
                    format!("asked for the next invocation without having answered {}", self.call.run);
                let _ = poll.send(Err(Reply::wrong_state(message.as_str())));
                let failure = Failure::new(FailureCode::ProtocolViolation, message);
                Some(self.end_by_force(Ended::Failed(failure)).await)
            }
        }
    }

    fn take_response(&mut self, response: ask::Response) {
        if let Some(refused) = self.why_not(&response.of) {
            self.refuse("posted an answer", &refused);
            let _ = response.reply.send(refused);
            return;
        }
        let form = match &self.call.input {
            Input::Request(_) if response.is_streaming => {
                let content_type = response.content_type.as_deref();
                if content_type.is_some_and(Prelude::is_announced) {
                    Form::Prelude(Prelude::new(self.bounds.headers))
                } else {
                    let (status, headers) = answering::plain_head(content_type);
                    self.begin(Split { status, headers, rest: bytes::Bytes::new() })
                }
            }
            _ => Form::Whole(BytesMut::new()),
        };
        self.stage = Stage::Answering(Box::new(Answering::new(response, form)));
    }

    fn take_error(&mut self, of: &Of, error: GuestError, reply: oneshot::Sender<Reply>) {
        if let Some(refused) = self.why_not(of) {
            self.refuse("posted an error", &refused);
            let _ = reply.send(refused);
            return;
        }
        self.stage = Stage::Answered(End::Failed(error.into_failure(FailureCode::FunctionError)));
        let _ = reply.send(Reply::Accepted);
    }

    /// Why an answer is not taken.
    fn why_not(&self, of: &Of) -> Option<Reply> {
        if !invocation::is_answered_by(&self.call, of) || matches!(self.stage, Stage::Waiting(_)) {
            return Some(Reply::wrong_id(&of.request));
        }
        match &self.stage {
            Stage::Invoked => None,
            _ => Some(Reply::wrong_state(format!("invocation {:?} has an answer already", of.request))),
        }
    }

    /// The function's author is to hear of it, whatever the client makes of the answer.
    fn refuse(&mut self, what: &str, refused: &Reply) {
        if let Reply::Refused { status, message, .. } = refused {
            self.tell(format!("the function's client {what}, which was refused with {status}: {message}"));
        }
    }

    /// Takes a part of the answer. `Some` when that ended the call.
    pub(super) async fn take_chunk(&mut self, chunk: Option<Chunk>) -> Option<Over> {
        let Stage::Answering(mut answering) = std::mem::replace(&mut self.stage, Stage::Invoked) else {
            unreachable!("parts come of an answer that has begun");
        };
        match chunk {
            Some(Chunk::Data(bytes)) => match &mut answering.form {
                Form::Whole(all) if (all.len() + bytes.len()) as u64 > self.bounds.body_bytes => {
                    let limit = self.bounds.body_bytes;
                    answering.end(Reply::too_large(limit));
                    self.fail(format!("the answer is larger than the limit of {limit} bytes"));
                    return None;
                }
                Form::Whole(all) => all.extend_from_slice(&bytes),
                Form::Prelude(prelude) => match prelude.take(&bytes) {
                    Ok(None) => {}
                    Ok(Some(split)) => answering.form = self.begin(split),
                    Err(message) => {
                        answering.end(Reply::Accepted);
                        self.fail(message);
                        return None;
                    }
                },
                Form::Stream(stream) => stream.push(bytes),
            },
            Some(Chunk::End(error)) => {
                let end = match error {
                    Some(error) => End::Failed(error.into_failure(FailureCode::FunctionError)),
                    None => self.concluded(&mut answering).await,
                };
                if let End::Failed(failure) = &end {
                    answering.abort(&failure.message);
                }
                answering.end(Reply::Accepted);
                self.stage = Stage::Answered(end);
                return None;
            }
            // It can be posted again as long as nobody has seen a part of it.
            None if matches!(answering.form, Form::Whole(_)) => {
                self.tell("the function's client broke off in the middle of an answer".to_owned());
                return None;
            }
            None => {
                self.stage = Stage::Answering(answering);
                let message = "broke off in the middle of a streamed answer";
                let failure = Failure::new(FailureCode::ProtocolViolation, message);
                return Some(self.end_by_force(Ended::Failed(failure)).await);
            }
        }
        self.stage = Stage::Answering(answering);
        None
    }

    fn fail(&mut self, message: String) {
        self.stage = Stage::Answered(End::Failed(Failure::new(FailureCode::FunctionError, message)));
    }

    /// Reports the head of a streamed answer.
    fn begin(&mut self, split: Split) -> Form {
        let (stream, response) = answering::begin(split, self.is_head_request());
        self.reports.push(Report::Response(response));
        Form::Stream(stream)
    }

    /// What an answer means now that all of it is there.
    async fn concluded(&mut self, answering: &mut Answering) -> End {
        let said = match &mut answering.form {
            Form::Whole(all) => std::mem::take(all).freeze(),
            Form::Stream(_) => return End::Done(returned::Returned::default()),
            Form::Prelude(_) => {
                let message = "the streamed answer ended before its prelude did";
                return End::Failed(Failure::new(FailureCode::FunctionError, message));
            }
        };
        let concluded = match &self.call.input {
            Input::Event(_) | Input::Events(_) => {
                function_url::events(&said).map_err(wrong).and_then(|values| {
                    let (run, limit) = (&self.call.run, self.bounds.publish_events);
                    returned::read(values, &self.call.input, run, &self.identity.source, limit)
                })
            }
            Input::Request(_) => {
                let bounds = self.bounds.headers;
                let answer = aside(said.len(), move || function_url::answer(said, bounds)).await;
                answer.map_err(wrong).map(|answer| {
                    let function_url::Answer { status, headers, body } = answer;
                    let is_head = self.is_head_request();
                    let headers = answering::counted_here(headers, status, is_head);
                    let body = if is_head { Body::empty() } else { Body::Full(body) };
                    self.reports.push(Report::Response(Response { status, headers, body }));
                    returned::Returned::default()
                })
            }
        };
        match concluded {
            Ok(returned) => End::Done(returned),
            Err(failure) => End::Failed(failure),
        }
    }

    fn is_head_request(&self) -> bool {
        matches!(&self.call.input, Input::Request(request) if request.method == Method::HEAD)
    }
}

fn wrong(message: String) -> Failure {
    Failure::new(FailureCode::FunctionError, message)
}
