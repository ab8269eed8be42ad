//! One call: a fresh instance, a request for it, its answer, its end.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use evoke_core::event::{http as binding, json};
use futures_util::FutureExt as _;
use http_body_util::{BodyExt as _, Empty, Full};
use rustix::time::{ClockId, clock_gettime};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use wasmtime::{AsContextMut as _, Store};
use wasmtime_wasi_http::WasiBody;
use wasmtime_wasi_http::handler::{Prepared, Proxy};

use evoke_worker::frame::Kind;
use evoke_worker::frame::message::{self, HeaderBounds, HeadersOut};

use crate::body::{self, Chunk, Incoming};
use crate::failure::Failure;
use crate::function::Function;
use crate::guest::Guest;
use crate::meter::Metered;
use crate::outbox::Outbox;
use crate::output::{Output, Stream};
use crate::platform::Platform;
use crate::ticker::Ticker;
use crate::wire::{Done, Invoke, Response, Usage};

/// Of a request. The host has checked it against smaller ones.
const REQUEST_HEADERS: HeaderBounds = HeaderBounds { fields: 1024, bytes: 1 << 20 };
/// Of a response, as the host will check it.
const RESPONSE_FIELDS: usize = 128;
/// Events that one answer may carry.
const EVENTS_MAX: usize = 1000;

/// What the connection has of a call under way.
#[derive(Debug)]
pub(crate) struct Handle {
    pub chunks: mpsc::UnboundedSender<Chunk>,
    pub credit: Arc<Semaphore>,
    pub platform: Arc<Platform>,
    pub cancel: CancellationToken,
}

/// A call to make.
pub(crate) struct Call {
    number: u32,
    function: Arc<Function>,
    outbox: Arc<Outbox>,
    chunks: mpsc::UnboundedReceiver<Chunk>,
    credit: Arc<Semaphore>,
    platform: Arc<Platform>,
    cancel: CancellationToken,
}

/// What the guest is asked for.
enum Asked {
    Response,
    Events,
}

impl Call {
    /// Call `number` of `function`, which ends with `parent` at the latest.
    pub fn new(
        number: u32,
        function: Arc<Function>,
        outbox: Arc<Outbox>,
        parent: &CancellationToken,
    ) -> (Self, Handle) {
        let (to, chunks) = mpsc::unbounded_channel();
        let credit = Arc::new(body::window());
        let platform = Arc::new(Platform::new(number, Arc::clone(&outbox)));
        let cancel = parent.child_token();
        let handle = Handle {
            chunks: to,
            credit: Arc::clone(&credit),
            platform: Arc::clone(&platform),
            cancel: cancel.clone(),
        };
        (Self { number, function, outbox, chunks, credit, platform, cancel }, handle)
    }

    /// Makes it, and says how it ended. `invoke` is the payload of its `INVOKE`.
    pub async fn run(self, invoke: Bytes, ticker: Ticker) {
        let _ticking = ticker.run();
        let (number, outbox) = (self.number, Arc::clone(&self.outbox));
        let lines = self.function.init.limits.log_line_bytes;
        let output = [Stream::Stdout, Stream::Stderr]
            .map(|stream| Output::new(stream, number, Arc::clone(&outbox), lines));
        let mut usage = Usage::default();
        let ended = self.make(&invoke, output.clone(), &mut usage).await;
        output.iter().for_each(Output::finish);
        let failure = match ended {
            Ok(events) => match outbox.json(Kind::Done, number, &Done { events, usage }) {
                Ok(()) => return,
                Err(cause) => Failure::new("Error", format!("its events cannot be sent: {cause}")),
            },
            Err(failure) => failure,
        };
        outbox
            .json(Kind::Error, number, &failure.payload())
            .expect("texts of a failure are cut to the frame's size");
    }

    async fn make(
        self,
        invoke: &[u8],
        output: [Output; 2],
        usage: &mut Usage,
    ) -> Result<Vec<serde_json::Value>, Failure> {
        let Self { number, function, outbox, chunks, credit, platform, cancel } = self;
        let invoke: Invoke<'_> =
            message::parse(Kind::Invoke, invoke).map_err(|cause| Failure::new("Error", cause.to_string()))?;
        let left = left_until(invoke.deadline_ms);
        let incoming = Incoming::new(chunks, Arc::clone(&outbox), number);
        let (request, asked) = request(&function.init.function, invoke, incoming)?;
        let memory_bytes = usize::try_from(function.init.memory_mib << 20).unwrap_or(usize::MAX);
        let guest = Guest::new(&function.init.variables, output, platform, memory_bytes);

        let limit = function.init.limits.body_bytes;
        let (to, answer) = futures_channel::oneshot::channel();
        let run = async {
            let (mut store, proxy) = function.instantiate(guest).await;
            let driven = match &proxy {
                Ok(proxy) => drive(&mut store, proxy, request, to).await,
                Err(error) => Err(Failure::of(error, &store.data().memory)),
            };
            // What holds the other end of its answer's body goes with it.
            (driven, store.into_data().memory.peak())
        };
        let has_failed = AtomicBool::new(false);
        let take = async {
            let response = match answer.await {
                Ok(Ok(response)) => response,
                Ok(Err(error)) => return Err(Some(Failure::new("Error", error.root_cause().to_string()))),
                // It ended before; that says why.
                Err(_) => return Err(None),
            };
            match asked {
                Asked::Response => {
                    hand_over(response, &credit, &outbox, number, &has_failed).await.map(|()| Vec::new())
                }
                Asked::Events => events(response, limit).await,
            }
            .map_err(Some)
        };
        let mut cpu_ns = 0;
        let ended = {
            let both = async {
                let (mut run, mut take) = (pin!(run), pin!(take));
                let (taken, (driven, peak)) = tokio::select! {
                    // A trap ends the answer, however far it has come.
                    ran = run.as_mut() => match ran {
                        (Err(failure), peak) => {
                            // What it had said before is sent all the same.
                            has_failed.store(true, Ordering::Relaxed);
                            let _ = take.as_mut().now_or_never();
                            return (Err(failure), peak);
                        }
                        ran => (take.await, ran),
                    },
                    taken = take.as_mut() => (taken, run.await),
                };
                let ended = match (driven, taken) {
                    (Err(failure), _) | (Ok(()), Err(Some(failure))) => Err(failure),
                    (Ok(()), Err(None)) => Err(Failure::new("Error", "it returned without an answer")),
                    (Ok(()), Ok(events)) => Ok(events),
                };
                (ended, peak)
            };
            let both = pin!(both);
            let metered = Metered { inner: both, cpu_ns: &mut cpu_ns };
            tokio::select! {
                () = cancel.cancelled() => Err(Failure::cancelled()),
                () = tokio::time::sleep(left + LATE) => Err(Failure::cancelled()),
                (ended, peak) = metered => {
                    usage.memory_bytes = peak;
                    ended
                }
            }
        };
        usage.cpu_us = cpu_ns / 1000;
        ended
    }
}

/// Runs the guest until its answer is made and nothing of it goes on.
async fn drive(
    store: &mut Store<Guest>,
    proxy: &Proxy,
    request: http::Request<WasiBody>,
    to: futures_channel::oneshot::Sender<wasmtime::Result<http::Response<WasiBody>>>,
) -> Result<(), Failure> {
    let driven = store
        .run_concurrent(async |accessor| {
            let prepared = accessor
                .with(|mut store| Prepared::new(store.as_context_mut(), proxy, request, Guest::view, to))?;
            prepared.run(accessor, std::future::pending()).await?;
            // What it does after its answer is part of the call.
            poll_fn(|cx| accessor.poll_no_interesting_tasks(cx)).await;
            wasmtime::Result::Ok(())
        })
        .await
        .flatten();
    driven.map_err(|error| Failure::of(&error, &store.data().memory))
}

fn request(
    function: &str,
    invoke: Invoke<'_>,
    incoming: Incoming,
) -> Result<(http::Request<WasiBody>, Asked), Failure> {
    let malformed = |cause: String| Failure::new("Error", format!("the request cannot be made: {cause}"));
    if let Some(event) = invoke.event {
        let event = json::parse_value(event).map_err(|cause| malformed(cause.to_string()))?;
        let (headers, data) = binding::encode_binary(&event).map_err(|cause| malformed(cause.to_string()))?;
        let body = Full::new(data).map_err(|never| match never {}).boxed_unsync();
        let mut request = http::Request::new(body);
        *request.method_mut() = http::Method::POST;
        *request.uri_mut() =
            format!("http://{function}.internal/").parse().map_err(|_| malformed("its host".to_owned()))?;
        *request.headers_mut() = headers;
        return Ok((request, Asked::Events));
    }
    let Some(head) = invoke.request else {
        return Err(malformed("it is neither request nor event".to_owned()));
    };
    let headers =
        head.headers.check(Kind::Invoke, REQUEST_HEADERS).map_err(|cause| malformed(cause.to_string()))?;
    let body = if head.body {
        incoming.boxed_unsync()
    } else {
        Empty::new().map_err(|never| match never {}).boxed_unsync()
    };
    let mut request = http::Request::new(body);
    *request.method_mut() =
        head.method.parse().map_err(|_| malformed(format!("method {:?}", head.method)))?;
    *request.uri_mut() = head.uri.parse().map_err(|_| malformed(format!("address {:?}", head.uri)))?;
    *request.headers_mut() = headers;
    Ok((request, Asked::Response))
}

async fn hand_over(
    response: http::Response<WasiBody>,
    credit: &Semaphore,
    outbox: &Outbox,
    number: u32,
    has_failed: &AtomicBool,
) -> Result<(), Failure> {
    let (head, body) = response.into_parts();
    let fields = head.headers.len();
    if fields > RESPONSE_FIELDS {
        let words = format!("its response has {fields} header fields, above the limit of {RESPONSE_FIELDS}");
        return Err(Failure::new("Error", words));
    }
    let status = head.status.as_u16();
    if !(200..600).contains(&status) {
        return Err(Failure::new(
            "Error",
            format!("its response has status {status}, not within 200 to 599"),
        ));
    }
    let has_body = !http_body::Body::is_end_stream(&body);
    let head = Response { status, headers: HeadersOut(&head.headers), body: has_body };
    outbox
        .json(Kind::Response, number, &head)
        .map_err(|cause| Failure::new("Error", format!("its response cannot be sent: {cause}")))?;
    if has_body {
        let sent = body::send(body, credit, outbox, number, has_failed).await;
        sent.map_err(|cause| Failure::new("Error", format!("it broke off its response: {cause}")))?;
    }
    Ok(())
}

/// The events that a handler answers an event with: a response with a status of success that carries any, by the HTTP binding.
async fn events(response: http::Response<WasiBody>, limit: usize) -> Result<Vec<serde_json::Value>, Failure> {
    let (head, body) = response.into_parts();
    let status = head.status;
    let body = body::collect(body, limit)
        .await
        .map_err(|cause| Failure::new("Error", format!("it broke off its response: {cause}")))?
        .ok_or_else(|| Failure::new("Error", format!("its response is larger than {limit} bytes")))?;
    if !status.is_success() {
        let start = String::from_utf8_lossy(&body[..body.len().min(1000)]).into_owned();
        let words = format!("it answered the event with status {}: {start}", status.as_u16());
        return Err(Failure::new("Status", words.trim_end_matches([':', ' ']).to_owned()));
    }
    let is_event = |name: &http::HeaderName| name.as_str() == "ce-specversion";
    let is_structured = head
        .headers
        .get(http::header::CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(b"application/cloudevents"));
    if !is_structured && !head.headers.keys().any(is_event) {
        return Ok(Vec::new());
    }
    let incoming = binding::decode(&head.headers, body, EVENTS_MAX).map_err(|cause| {
        Failure::new("Error", format!("the events it answered with are malformed: {cause}"))
    })?;
    Ok(incoming.events.iter().map(json::to_json).collect())
}

/// The host ends a call at its deadline and says why. This is for one that cannot; earlier it would be taken for the end of
/// the handler.
const LATE: Duration = Duration::from_secs(1);

fn left_until(deadline_ms: u64) -> Duration {
    let now = clock_gettime(ClockId::Realtime);
    let now_ms = now.tv_sec as u64 * 1000 + now.tv_nsec as u64 / 1_000_000;
    Duration::from_millis(deadline_ms.saturating_sub(now_ms))
}
