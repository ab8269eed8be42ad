//! Two listeners, their connections, and their end.
//!
//! Every connection and every HTTP/2 stream is a task on one tracker. On stop: no connection is accepted any more, those
//! there are finish their requests, and what is left after the grace period is cut.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body as HttpBody;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use http::header::CONNECTION;
use http::{HeaderValue, Request, StatusCode};
use hyper::body::Incoming;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::control::{self, Hosts};
use crate::data;
use crate::gateway::{Gateway, Peer, Shared};
use crate::problem::{Refusal, kind};
use crate::tunnel::MaySwitch;
use crate::vet::vet;
use crate::wire::{Fault, Guard, HeadBounds, Verdict};

const CLOSE: HeaderValue = HeaderValue::from_static("close");

/// How long to wait when a connection cannot be accepted, usually for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

impl Gateway {
    /// Answers requests on both listeners until `stop` fires, then finishes those it has, at most for
    /// [`Bounds::grace`](crate::Bounds::grace). The engine is not drained: that comes after.
    pub async fn serve(
        self,
        data: TcpListener,
        control: TcpListener,
        stop: CancellationToken,
    ) -> io::Result<()> {
        let hosts = Hosts::new(control.local_addr()?, &self.control_hosts);
        let (bounds, limits) = (self.bounds.clone(), self.engine.limits().clone());
        let tasks = Tasks { tracker: TaskTracker::new(), stop: stop.clone(), end: CancellationToken::new() };
        let shared = Arc::new(Shared::new(self, stop, tasks.tracker.clone()));
        let builder = builder(&tasks, &bounds, &limits);
        let door = |what, connections| Listener {
            shared: shared.clone(),
            what,
            builder: builder.clone(),
            tasks: tasks.clone(),
            connections: Arc::new(Semaphore::new(connections)),
            requests: Arc::new(Semaphore::new(bounds.requests)),
        };
        let router = control::router(shared.clone(), hosts);
        tokio::join!(
            door(Door::Data, bounds.data_connections).accept(data),
            door(Door::Control(TowerToHyperService::new(router)), bounds.control_connections).accept(control),
        );
        tasks.tracker.close();
        if timeout(bounds.grace, tasks.tracker.wait()).await.is_err() {
            tracing::warn!(
                connections = tasks.tracker.len(),
                "requests were cut at the end of the grace period"
            );
            tasks.end.cancel();
            tasks.tracker.wait().await;
        }
        Ok(())
    }
}

#[derive(Clone)]
struct Tasks {
    tracker: TaskTracker,
    /// Accept nothing more, finish.
    stop: CancellationToken,
    /// Cut what is left.
    end: CancellationToken,
}

/// HTTP/2 streams run on the tracker too.
impl<F> hyper::rt::Executor<F> for Tasks
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, stream: F) {
        let end = self.end.clone();
        self.tracker.spawn(async move { end.run_until_cancelled(stream).await });
    }
}

fn builder(
    tasks: &Tasks,
    bounds: &crate::Bounds,
    limits: &evoke_core::limits::Limits,
) -> auto::Builder<Tasks> {
    let mut builder = auto::Builder::new(tasks.clone());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(bounds.head_timeout)
        .max_headers(limits.headers)
        .max_buf_size(limits.header_bytes.max(8 << 10));
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(bounds.streams)
        .max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(u32::MAX))
        .keep_alive_interval(bounds.head_timeout)
        .keep_alive_timeout(bounds.head_timeout);
    builder
}

#[derive(Clone)]
enum Door {
    Data,
    Control(TowerToHyperService<Router>),
}

#[derive(Clone)]
struct Listener {
    shared: Arc<Shared>,
    what: Door,
    builder: auto::Builder<Tasks>,
    tasks: Tasks,
    connections: Arc<Semaphore>,
    requests: Arc<Semaphore>,
}

impl Listener {
    async fn accept(self, listener: TcpListener) {
        let stop = self.tasks.stop.clone();
        loop {
            let next = async {
                let place =
                    self.connections.clone().acquire_owned().await.expect("the semaphore is never closed");
                (place, listener.accept().await)
            };
            let Some((place, accepted)) = stop.run_until_cancelled(next).await else { return };
            match accepted {
                Ok((stream, peer)) => {
                    self.tasks.tracker.spawn(Box::pin(self.clone().connection(stream, peer, place)));
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    async fn connection(self, stream: TcpStream, peer: SocketAddr, place: OwnedSemaphorePermit) {
        // Answers are written in one piece; waiting for more to send only delays them.
        let _ = stream.set_nodelay(true);
        let verdict = Verdict::default();
        let limits = self.shared.engine.limits();
        let bounds = HeadBounds { bytes: limits.header_bytes.max(8 << 10), fields: limits.headers };
        let stream = Guard::new(stream, bounds, verdict.clone());
        let begun = AtomicU64::new(0);
        let service = service_fn(|request| {
            let nth = begun.fetch_add(1, Ordering::Relaxed);
            let (listener, verdict) = (self.clone(), verdict.clone());
            Box::pin(async move {
                Ok::<_, Infallible>(match verdict.on(nth) {
                    Some(fault) => listener.refuse(fault, peer),
                    None => {
                        let response = listener.clone().answer(request, peer, verdict.is_last(nth)).await;
                        // What anybody made of a body that is none is a consequence; the cause is told.
                        let fault = verdict.on_body(nth).filter(|_| response.status().as_u16() >= 400);
                        fault.map_or(response, |fault| listener.refuse(fault, peer))
                    }
                })
            })
        });
        // hyper's own timer starts when it knows the version, which needs bytes from the client.
        let silent = async {
            tokio::time::sleep(self.shared.bounds.head_timeout).await;
            if begun.load(Ordering::Relaxed) > 0 {
                std::future::pending::<()>().await;
            }
        };
        let mut connection = pin!(self.builder.serve_connection_with_upgrades(TokioIo::new(stream), service));
        let mut stopping = false;
        let mut silent = pin!(silent);
        loop {
            tokio::select! {
                biased;
                () = self.tasks.end.cancelled() => break,
                () = self.tasks.stop.cancelled(), if !stopping => {
                    stopping = true;
                    connection.as_mut().graceful_shutdown();
                }
                done = connection.as_mut() => {
                    if let Err(error) = done {
                        tracing::debug!(%peer, error, "a connection ended badly");
                    }
                    break;
                }
                () = &mut silent => break,
            }
        }
        drop(place);
    }

    /// What is no request ends the connection.
    fn refuse(&self, fault: Fault, peer: SocketAddr) -> Response {
        tracing::info!(%peer, %fault, "a request was refused for its form");
        let mut response = Refusal::from(fault).into_response();
        response.headers_mut().insert(CONNECTION, CLOSE);
        response
    }

    /// Whatever happens, the client gets an answer. `may_switch`: nothing is known of the bytes that follow.
    async fn answer(self, mut request: Request<Incoming>, peer: SocketAddr, may_switch: bool) -> Response {
        if may_switch {
            request.extensions_mut().insert(MaySwitch);
        }
        let mut response = match vet(&mut request) {
            Ok(()) => self.answer_vetted(request, peer).await,
            Err(refusal) => refusal.into_response(),
        };
        // Nobody has looked at what the client sent after it.
        if may_switch && response.status() != StatusCode::SWITCHING_PROTOCOLS {
            response.headers_mut().insert(CONNECTION, CLOSE);
        }
        response
    }

    async fn answer_vetted(self, request: Request<Incoming>, peer: SocketAddr) -> Response {
        let Ok(_place) = self.requests.try_acquire() else {
            let limit = self.shared.bounds.requests as u64;
            let detail = format!("{limit} requests are being answered, and there is no place for another");
            let refusal = Refusal::new(kind::OVERLOADED, detail).limit("requests", limit);
            return refusal.retry_after(Duration::from_secs(1)).into_response();
        };
        let limit = self.shared.engine.limits().headers;
        if request.headers().len() > limit {
            let detail = format!("the request has more than {limit} header fields");
            return Refusal::new(kind::HEADERS_TOO_LARGE, detail)
                .limit("headers", limit as u64)
                .into_response();
        }
        let mut request = request.map(HttpBody::new);
        request.extensions_mut().insert(Peer(peer));
        let answer = async {
            match &self.what {
                Door::Data => data::answer(&self.shared, request).await,
                Door::Control(router) => match router.call(request).await {
                    Ok(response) => response,
                    Err(never) => match never {},
                },
            }
        };
        match AssertUnwindSafe(answer).catch_unwind().await {
            Ok(response) => response,
            Err(_) => {
                tracing::error!("a request ended in a panic; its message is on standard error");
                Refusal::new(kind::INTERNAL, "the server made a mistake; its log has more").into_response()
            }
        }
    }
}
