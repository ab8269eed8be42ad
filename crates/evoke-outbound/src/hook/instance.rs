//! One delivery: the request it is, and what its answer means.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use evoke_core::body::Body;
use evoke_core::chain::CDN_LOOP;
use evoke_core::event::Event;
use evoke_core::hook::{Hook, Judged, Message, judge, message};
use evoke_core::outcome::{Failure, FailureCode};
use evoke_core::record::LogStream;
use evoke_core::runtime::{Call, Ended, Input, Instance, InstanceSpec, Report, Response};
use evoke_core::secret::{SecretName, SecretValue};
use evoke_core::webhook::standard;
use http::header::{CONTENT_TYPE, LOCATION, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri};
use http_body_util::Full;
use tokio::time::Instant;

use super::HookRuntime;
use crate::excerpt::Excerpt;

/// What requests call their sender.
const AGENT: &str = concat!("Evoke/", env!("CARGO_PKG_VERSION"));

/// Where the deliveries of a hook go, with its secrets open.
pub(super) struct Endpoint {
    hook: Hook,
    uri: Uri,
    secrets: Vec<SecretValue>,
    headers: HeaderMap,
}

impl Endpoint {
    /// Opens the secrets. The error is a sentence.
    pub fn new(spec: &InstanceSpec) -> Result<Self, String> {
        let name = &spec.function;
        let hook = spec.hook.clone().ok_or_else(|| format!("{name} is no hook"))?;
        let uri = hook.url.as_str().parse().map_err(|cause| format!("hook {name}: {}: {cause}", hook.url))?;
        let open = |secret: &SecretName| {
            let found = spec.env.iter().find(|(name, _)| name == secret.as_str());
            let value = found.and_then(|(_, value)| SecretValue::new(value.as_str()));
            value.ok_or_else(|| format!("hook {name}: secret {secret} is not set"))
        };
        let mut secrets = Vec::with_capacity(hook.secrets.len());
        for secret in &hook.secrets {
            let value = open(secret)?;
            standard::check(&value).map_err(|wrong| format!("hook {name}: secret {secret} {wrong}"))?;
            secrets.push(value);
        }
        let mut headers = HeaderMap::new();
        headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
        let mut put = |field: &str, value: Result<HeaderValue, _>| {
            let found = HeaderName::from_bytes(field.as_bytes()).ok().zip(value.ok());
            let (field, value) = found
                .ok_or_else(|| format!("hook {name}: header {field} has a value that cannot be sent"))?;
            headers.insert(field, value);
            Ok::<(), String>(())
        };
        for (field, value) in &hook.headers {
            put(field, HeaderValue::from_str(value))?;
        }
        for (field, secret) in &hook.secret_headers {
            let mut value = HeaderValue::from_str(open(secret)?.reveal());
            if let Ok(value) = &mut value {
                value.set_sensitive(true);
            }
            put(field, value)?;
        }
        Ok(Self { hook, uri, secrets, headers })
    }

    fn request(&self, message: Message, call: &Call) -> Request<Full<Bytes>> {
        let cause = &call.cause;
        let Message { headers, body } = message;
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.uri.clone();
        let fields = request.headers_mut();
        fields.extend(self.headers.clone());
        fields.extend(headers);
        let traceparent = format!("00-{}-{}-01", cause.trace_id, cause.span_id);
        let hops = call.hops.as_deref().map(|hops| (CDN_LOOP, hops));
        let named = [("traceparent", traceparent.as_str()), ("evoke-run", call.run.as_str())];
        for (name, value) in named.into_iter().chain(hops) {
            if let Ok(value) = HeaderValue::from_str(value) {
                fields.insert(HeaderName::from_static(name), value);
            }
        }
        request
    }
}

/// One of the lanes of a hook: as many as there may be requests at once.
pub(super) struct HookInstance {
    runtime: HookRuntime,
    endpoint: Arc<Endpoint>,
    lanes: u32,
}

impl HookInstance {
    pub fn new(runtime: HookRuntime, endpoint: Arc<Endpoint>, lanes: u32) -> Self {
        Self { runtime, endpoint, lanes }
    }

    async fn deliver(&self, call: &Call, events: &[Event]) -> Ended {
        let Endpoint { hook, secrets, .. } = &*self.endpoint;
        let now = self.runtime.clock.now();
        let message = match message(events, hook.mode, secrets, now) {
            Ok(message) => message,
            Err(error) => return failed(FailureCode::FunctionError, error.to_string(), None),
        };
        let request = self.endpoint.request(message, call);
        let begun = Instant::now();
        let sent = tokio::select! {
            biased;
            sent = self.runtime.client.send(request) => sent,
            () = tokio::time::sleep_until(call.deadline) => return Ended::TimedOut,
            () = call.cancel.cancelled() => return Ended::Cancelled,
        };
        let to = hook.url.shown();
        let answer = match sent {
            Ok(answer) => answer,
            Err(error) => {
                tell(call, format!("POST {to}: {error}")).await;
                return failed(FailureCode::Unreachable, error.to_string(), None);
            }
        };
        let took = begun.elapsed();
        let (head, body) = answer.response.into_parts();
        // What the head says stands, whatever becomes of the body.
        let judged =
            judge(head.status, &head.headers, self.runtime.clock.now(), self.runtime.retry_after_max);
        let excerpt = Excerpt::read(body).await;
        let status = head.status;
        let said = if excerpt.text.is_empty() { String::new() } else { format!(": {excerpt}") };
        tell(call, format!("POST {to}: {status} after {} ms{said}", took.as_millis())).await;
        match judged {
            Judged::Delivered => {
                report(call, status, &head.headers, excerpt).await;
                Ended::Returned { events: Vec::new() }
            }
            Judged::Gone => failed(FailureCode::Gone, format!("the endpoint answered {status}{said}"), None),
            Judged::Failed { retry_after } => {
                let redirected = head.headers.get(LOCATION).filter(|_| status.is_redirection());
                let help = match redirected.and_then(|to| to.to_str().ok()) {
                    Some(to) => format!("; redirects are not followed: if {to} is right, make it the url"),
                    None => String::new(),
                };
                let words = format!("the endpoint answered {status}{said}{help}");
                failed(FailureCode::BadStatus, words, retry_after)
            }
        }
    }
}

#[async_trait]
impl Instance for HookInstance {
    async fn call(&mut self, call: Call) -> Ended {
        match &call.input {
            Input::Event(event) => self.deliver(&call, std::slice::from_ref(event)).await,
            Input::Events(events) => self.deliver(&call, events).await,
            Input::Request(_) => {
                failed(FailureCode::FunctionError, "a hook takes events and no requests".to_owned(), None)
            }
        }
    }

    fn lanes(&mut self) -> Vec<Box<dyn Instance>> {
        let lane = || Self::new(self.runtime.clone(), self.endpoint.clone(), 1);
        (1..self.lanes).map(|_| Box::new(lane()) as Box<dyn Instance>).collect()
    }

    /// Always: the connections are the client's.
    fn is_usable(&self) -> bool {
        true
    }

    async fn gone(&mut self) {
        std::future::pending().await
    }
}

fn failed(code: FailureCode, message: String, retry_after: Option<Duration>) -> Ended {
    let retry_after_ms = retry_after.map(|pause| u64::try_from(pause.as_millis()).unwrap_or(u64::MAX));
    Ended::Failed(Failure { retry_after_ms, ..Failure::new(code, message) })
}

async fn tell(call: &Call, line: String) {
    // Nobody listens when the attempt is over.
    let _ = call.up.send(Report::Log { stream: LogStream::Platform, line }).await;
}

async fn report(call: &Call, status: http::StatusCode, from: &HeaderMap, excerpt: Excerpt) {
    let mut headers = HeaderMap::new();
    if let Some(ty) = from.get(CONTENT_TYPE) {
        headers.insert(CONTENT_TYPE, ty.clone());
    }
    let body = Body::Full(excerpt.to_string().into());
    let _ = call.up.send(Report::Response(Response { status, headers, body })).await;
}
