//! The control API, from the caller's side: one place that builds requests and reads answers.
//!
//! Types are those the server writes ([`evoke_gateway::api`]). Plain HTTP only; proxies of the environment are not used.

use std::time::Duration;

use evoke_gateway::api::{PROBLEM_HEADER, Problem, ProblemItem};
use reqwest::header::{ACCEPT, AUTHORIZATION};
use reqwest::{Method, RequestBuilder, Response, StatusCode, Url};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::exit::{Detail, Error, Exit, Result};

/// Bytes of an answer that is held in memory.
pub const ANSWER_BYTES_MAX: usize = 64 << 20;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A server's control listener.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    base: Url,
    token: Option<String>,
    data: Option<String>,
}

impl Client {
    /// A client for the control listener at `base`; `data` is the URL of the data listener, where it is known.
    pub fn new(base: Url, token: Option<String>, data: Option<String>) -> Result<Self> {
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("evoke/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|cause| Error::failed("client", format!("the HTTP client cannot be set up: {cause}")))?;
        Ok(Self { http, base, token, data })
    }

    /// The URL of the data listener, without a slash at its end, when the server is a local one.
    pub fn data_url(&self) -> Option<&str> {
        self.data.as_deref()
    }

    /// A request to `/v1/<segments>`; segments are escaped here.
    pub fn request(&self, method: Method, segments: &[&str]) -> RequestBuilder {
        self.at(method, self.url(segments))
    }

    /// A request to a URL of this server.
    pub fn at(&self, method: Method, url: Url) -> RequestBuilder {
        let request = self.http.request(method, url);
        match &self.token {
            Some(token) => request.header(AUTHORIZATION, format!("Bearer {token}")),
            None => request,
        }
    }

    /// `/v1/<segments>` on this server.
    pub fn url(&self, segments: &[&str]) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.clear().push("v1").extend(segments);
        }
        url
    }

    /// Asks for a value.
    pub async fn get<T: DeserializeOwned>(&self, segments: &[&str], query: &[(&str, &str)]) -> Result<T> {
        let mut url = self.url(segments);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        read(self.send(self.at(Method::GET, url)).await?).await
    }

    /// Sends a JSON value and reads one.
    pub async fn post<T: DeserializeOwned>(&self, segments: &[&str], body: &impl Serialize) -> Result<T> {
        read(self.send(self.request(Method::POST, segments).json(body)).await?).await
    }

    /// Sends a request; the answer may be anything the server says, a problem too.
    pub async fn send_any(&self, request: RequestBuilder) -> Result<Response> {
        request.send().await.map_err(|cause| self.unreachable(&cause))
    }

    /// Sends a request; a problem is an error.
    pub async fn send(&self, request: RequestBuilder) -> Result<Response> {
        let answer = self.send_any(request).await?;
        if answer.status().is_success() { Ok(answer) } else { Err(self.refusal(answer).await) }
    }

    /// Opens the event stream at a URL of this server, going on after `last`.
    pub async fn stream(&self, url: Url, last: Option<u64>) -> Result<Response> {
        let request = self.at(Method::GET, url).header(ACCEPT, "text/event-stream");
        let request = match last {
            Some(seq) => request.header("last-event-id", seq),
            None => request,
        };
        self.send(request).await
    }

    /// What an answer that is no success says.
    pub async fn refusal(&self, answer: Response) -> Error {
        let status = answer.status();
        let is_problem = answer.headers().contains_key(PROBLEM_HEADER);
        let body = match collect(answer).await {
            Ok(body) => body,
            Err(error) => return error,
        };
        match serde_json::from_slice::<Problem>(&body) {
            Ok(problem) => self.problem(&problem),
            Err(_) => {
                let kind = if is_problem { "an unreadable problem" } else { "no answer of Evoke" };
                Error::failed("not_evoke", format!("{} answered {status}, {kind}", self.base))
                    .help("check --admin: the control listener is meant, 127.0.0.1:7071 by default")
            }
        }
    }

    /// What a problem of the server means for the command.
    pub fn problem(&self, problem: &Problem) -> Error {
        let exit = match (problem.status, problem.code.as_str()) {
            (_, "draining") => Exit::Unreachable,
            (_, "key_reused") => Exit::Refused,
            (400 | 405 | 415, _) => Exit::Usage,
            (404, _) => Exit::NotFound,
            (401 | 403 | 409 | 413 | 421 | 429, _) => Exit::Refused,
            _ => Exit::Failed,
        };
        let mut error = Error::new(exit, problem.code.as_str(), problem.detail.as_str());
        error.details = problem.errors.iter().map(detail).collect();
        if let Some(run) = &problem.run {
            error = error.detail(format!("run {run}"));
        }
        match problem.status {
            401 => {
                error.help("pass the token in EVOKE_TOKEN, or name the server's data folder with --data-dir")
            }
            _ => error,
        }
    }

    fn unreachable(&self, cause: &reqwest::Error) -> Error {
        let base = self.base.as_str().trim_end_matches('/');
        let why = innermost(cause);
        if cause.is_builder() {
            return Error::usage(format!("the request cannot be made: {why}"));
        }
        Error::new(Exit::Unreachable, "unreachable", format!("no server answers at {base}: {why}"))
            .help("start one with `evoke serve` or `evoke dev`, or say where it is with --admin")
    }
}

/// Reads a JSON answer.
pub async fn read<T: DeserializeOwned>(answer: Response) -> Result<T> {
    let body = collect(answer).await?;
    serde_json::from_slice(&body).map_err(|cause| {
        Error::failed("not_evoke", format!("the server's answer is not what was expected: {cause}"))
            .help("the server may be of another version than this executable: compare `evoke --version`")
    })
}

/// Reads an answer to its end.
pub async fn collect(mut answer: Response) -> Result<Vec<u8>> {
    let mut body = Vec::new();
    while let Some(chunk) = next_chunk(&mut answer).await? {
        if body.len() + chunk.len() > ANSWER_BYTES_MAX {
            return Err(Error::failed(
                "answer_too_large",
                format!("the answer is larger than {ANSWER_BYTES_MAX} bytes"),
            ));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// The next part of an answer.
pub async fn next_chunk(answer: &mut Response) -> Result<Option<bytes::Bytes>> {
    answer.chunk().await.map_err(|cause| {
        Error::failed("answer_cut", format!("the answer ended early: {}", innermost(&cause)))
    })
}

fn detail(item: &ProblemItem) -> Detail {
    let message = match &item.function {
        Some(function) if item.file.is_none() => format!("function {function}: {}", item.message),
        _ => item.message.clone(),
    };
    // A stack of one line is the message again.
    let help = item.help.clone().filter(|help| !item.message.contains(help.trim()));
    Detail {
        message,
        file: item.file.clone(),
        line: item.line,
        column: item.column,
        help,
        output: item.output.clone(),
        excerpt: None,
    }
}

/// Whether a problem says that the server is of no use at this moment but may be again.
pub fn may_come_back(error: &Error) -> bool {
    error.exit == Exit::Unreachable || &*error.code == "answer_cut"
}

/// The first cause, which says what happened; what is around it says only that something did.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut inner = error;
    while let Some(cause) = inner.source() {
        inner = cause;
    }
    inner.to_string()
}

/// Whether the answer is Evoke's own, not the function's.
pub fn is_problem(answer: &Response) -> bool {
    answer.headers().contains_key(PROBLEM_HEADER) || answer.status() == StatusCode::UNAUTHORIZED
}
