//! One listener: connections come in, each is a task that speaks HTTP, and every request gets an answer.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body as HttpBody;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use http::header::CONNECTION;
use http::{HeaderValue, Request, StatusCode};
use http_body::Body as _;
use hyper::body::Incoming;
use hyper::service::{Service, service_fn};
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::body::Held;
use crate::client::Client;
use crate::connections::{Busy, Connections, Patience, Place, Word};
use crate::data;
use crate::gateway::Shared;
use crate::pace::{Kept, Taken};
use crate::problem::{Refusal, kind};
use crate::serve::Tasks;
use crate::threads::{Seat, Threads};
use crate::tls::{Certificates, redirect};
use crate::tunnel::MaySwitch;
use crate::vet::vet;
use crate::wire::{Fault, Guard, HeadBounds, Verdict};

/// How long to wait when a connection cannot be accepted, usually for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
const CLOSE: HeaderValue = HeaderValue::from_static("close");

/// What a listener is for.
pub(crate) enum Door {
    Data,
    Control(TowerToHyperService<Router>),
    /// Sends to https, on this port.
    Redirect(u16),
}

/// A listener.
pub(crate) struct Listener {
    pub shared: Arc<Shared>,
    pub what: Door,
    pub tls: Option<Certificates>,
    /// Where its connections are served.
    pub threads: Threads,
    pub builder: auto::Builder<Tasks>,
    pub tasks: Tasks,
    pub connections: Connections,
    pub requests: Arc<Semaphore>,
}

/// A connection that requests come over.
#[derive(Clone, Copy)]
struct From {
    peer: SocketAddr,
    tls: bool,
}

impl Listener {
    /// The same as [`Listener::accept`], on its own threads.
    pub async fn accept_there(self, listener: TcpListener) -> io::Result<()> {
        let listener = listener.into_std()?;
        let (tracker, there) = (self.tasks.tracker.clone(), self.threads.first().clone());
        let accepting = async move {
            self.accept(TcpListener::from_std(listener)?).await;
            Ok(())
        };
        let accepted = tracker.spawn_on(accepting, &there).await;
        accepted.unwrap_or_else(|error| Err(io::Error::other(error)))
    }

    /// Accepts connections until it is told to stop.
    pub async fn accept(self, listener: TcpListener) {
        let this = Arc::new(self);
        let Tasks { stop, end, tracker } = &this.tasks;
        let bounds = &this.shared.bounds;
        let patience = Patience { head: bounds.head_timeout, idle: bounds.idle_timeout };
        let (connections, stopped, ended) = (this.connections.clone(), stop.clone(), end.clone());
        tracker.spawn(async move { connections.look_after(patience, stopped, ended).await });
        loop {
            let next = async {
                let accepted = listener.accept().await;
                if accepted.is_ok() {
                    this.connections.room().await;
                }
                accepted
            };
            let Some(accepted) = stop.run_until_cancelled(next).await else { return };
            match accepted {
                Ok((stream, peer)) => match this.connections.take(peer.ip()) {
                    Ok(place) => this.clone().admit(stream, peer, place),
                    Err(_) => tracing::debug!(%peer, "a client has as many connections as it may"),
                },
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// Begins to serve a connection on one of the threads.
    fn admit(self: Arc<Self>, stream: TcpStream, peer: SocketAddr, place: Arc<Place>) {
        let (tracker, seat) = (self.tasks.tracker.clone(), self.threads.seat());
        if seat.runtime.id() == Handle::current().id() {
            tracker.spawn(Box::pin(self.connection(stream, peer, place, seat)));
            return;
        }
        // Each runtime watches its own sockets.
        let stream = stream.into_std();
        let runtime = seat.runtime.clone();
        let connection = Box::pin(async move {
            match stream.and_then(TcpStream::from_std) {
                Ok(stream) => self.connection(stream, peer, place, seat).await,
                Err(error) => tracing::warn!(%peer, %error, "a connection could not be handed to its thread"),
            }
        });
        tracker.spawn_on(connection, &runtime);
    }

    async fn connection(
        self: Arc<Self>,
        stream: TcpStream,
        peer: SocketAddr,
        place: Arc<Place>,
        _seat: Seat,
    ) {
        // Answers are written in one piece; waiting for more to send only delays them.
        let _ = stream.set_nodelay(true);
        let stream = Taken::new(stream, self.shared.bounds.pace);
        let Some(certificates) = &self.tls else {
            return self.speak(stream, From { peer, tls: false }, place).await;
        };
        let handshake = timeout(self.shared.bounds.handshake_timeout, certificates.accept(stream));
        tokio::select! {
            done = handshake => match done {
                Ok(Ok(Some(stream))) => self.clone().speak(stream, From { peer, tls: true }, place.clone()).await,
                // A question of an ACME server, which is answered with the handshake.
                Ok(Ok(None)) => {}
                Ok(Err(error)) => tracing::debug!(%peer, %error, "a TLS handshake failed"),
                Err(_) => tracing::debug!(%peer, "a TLS handshake took too long"),
            },
            _ = place.told(Word::Stay) => {}
        }
    }

    /// Speaks HTTP until the connection ends, or is told to.
    async fn speak<S>(self: Arc<Self>, stream: S, from: From, place: Arc<Place>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let verdict = Verdict::default();
        let limits = self.shared.engine.limits();
        let bounds = HeadBounds { bytes: limits.header_bytes.max(8 << 10), fields: limits.headers };
        let stream = Guard::new(stream, bounds, verdict.clone());
        let begun = AtomicU64::new(0);
        let service = service_fn(|request: Request<Incoming>| {
            let nth = begun.fetch_add(1, Ordering::Relaxed);
            let (listener, verdict, busy) = (self.clone(), verdict.clone(), place.busy(request.version()));
            Box::pin(
                async move { Ok::<_, Infallible>(listener.judge(request, nth, from, &verdict, busy).await) },
            )
        });
        place.listen();
        let mut connection = pin!(self.builder.serve_connection_with_upgrades(TokioIo::new(stream), service));
        let mut told = Word::Stay;
        loop {
            tokio::select! {
                biased;
                done = connection.as_mut() => {
                    if let Err(error) = done {
                        tracing::debug!(peer = %from.peer, error, "a connection ended badly");
                    }
                    return;
                }
                word = place.told(told) => told = word,
            }
            match told {
                Word::Stay => {}
                Word::Finish => connection.as_mut().graceful_shutdown(),
                Word::Leave => {
                    tracing::debug!(peer = %from.peer, "a connection had to end");
                    return;
                }
            }
        }
    }

    /// Answers the nth request of a connection, or says what is wrong with its bytes.
    async fn judge(
        &self,
        request: Request<Incoming>,
        nth: u64,
        from: From,
        verdict: &Verdict,
        busy: Busy,
    ) -> Response {
        if let Some(fault) = verdict.on(nth) {
            return refuse(fault, from.peer);
        }
        let may_switch = verdict.is_last(nth);
        // Known by the body, where there is one.
        let slow = (!request.body().is_end_stream()).then(|| Arc::new(AtomicBool::new(false)));
        let mut response = self.answer(request, from, may_switch, slow.as_ref()).await;
        // What anybody made of a body that is none, or is late, is a consequence; the cause is told.
        if response.status().as_u16() >= 400 {
            if let Some(fault) = verdict.on_body(nth) {
                return refuse(fault, from.peer);
            }
            if slow.is_some_and(|slow| slow.load(Ordering::Relaxed)) {
                response = self.too_slow();
            }
        }
        // Nobody has looked at what the client sent after it.
        if may_switch && response.status() != StatusCode::SWITCHING_PROTOCOLS {
            response.headers_mut().insert(CONNECTION, CLOSE);
        }
        Held::until_sent(response, busy)
    }

    fn too_slow(&self) -> Response {
        let bytes = self.shared.bounds.pace.bytes;
        let detail = format!("the request's body came at fewer than {bytes} bytes a second");
        Refusal::new(kind::REQUEST_TIMEOUT, detail).limit("min_rate", bytes).into_response()
    }

    /// Whatever happens, the client gets an answer. `may_switch`: nothing is known of the bytes that follow.
    async fn answer(
        &self,
        mut request: Request<Incoming>,
        from: From,
        may_switch: bool,
        slow: Option<&Arc<AtomicBool>>,
    ) -> Response {
        let Ok(_place) = self.requests.try_acquire() else {
            let limit = self.shared.bounds.requests as u64;
            let detail = format!("{limit} requests are being answered, and there is no place for another");
            let refusal = Refusal::new(kind::OVERLOADED, detail).limit("requests", limit);
            let again = self.shared.again(&self.shared.request_turnover, 1, limit);
            return refusal.retry_after(again).into_response();
        };
        let _stay = self.shared.request_turnover.stay();
        let limit = self.shared.engine.limits().headers;
        if request.headers().len() > limit {
            let detail = format!("the request has more than {limit} header fields");
            return Refusal::new(kind::HEADERS_TOO_LARGE, detail)
                .limit("headers", limit as u64)
                .into_response();
        }
        if let Err(refusal) = vet(&mut request) {
            return refusal.into_response();
        }
        let client = Client::of(from.peer, from.tls, request.headers(), &self.shared.proxies);
        let mut request = match slow {
            None => request.map(|_| HttpBody::empty()),
            Some(slow) => {
                let pace = self.shared.bounds.pace;
                request.map(|body| HttpBody::new(Kept::new(body, pace, slow.clone())))
            }
        };
        let extensions = request.extensions_mut();
        extensions.insert(client);
        if may_switch {
            extensions.insert(MaySwitch);
        }
        let answer = async {
            match &self.what {
                Door::Data => data::answer(&self.shared, request).await,
                Door::Redirect(port) => redirect::answer(&request, *port, self.shared.certificates.as_ref()),
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

/// What is no request ends the connection.
fn refuse(fault: Fault, peer: SocketAddr) -> Response {
    tracing::info!(%peer, %fault, "a request was refused for its form");
    let mut response = Refusal::from(fault).into_response();
    response.headers_mut().insert(CONNECTION, CLOSE);
    response
}
